"""`stfc3_tf.load` needs no preparation for paths of an object store."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest
import s3_server
from small_encoders import make_encoder

from stfc3_tf.serving import export

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec('tensorflow_io') is None, reason='needs tensorflow-io'
)
ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = """
import sys
import numpy as np
import stfc3_tf
for path in sys.argv[1:]:
    print(stfc3_tf.load(path).features(np.zeros((1, 24, 40, 3), np.uint8)).shape)
"""


@pytest.mark.slow
def test_folders_and_files(tmp_path):
    encoder = make_encoder()
    for name in ('saved_model', 'onnx'):
        export.export(encoder, str(tmp_path / 'models' / name), name)
    with s3_server.running() as server:
        server.upload(tmp_path / 'models', 'models')
        store = f's3://{s3_server.BUCKET}/models'
        paths = [f'{store}/saved_model', f'{store}/onnx', f'{store}/onnx/model.onnx']
        done = subprocess.run(
            [sys.executable, '-c', PROGRAM, *paths],
            cwd=ROOT,
            env={**os.environ, **server.environment},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ['(1, 3, 5, 16)'] * 3
