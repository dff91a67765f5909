"""The newcomer's first command, shortened: train, export and score on built-in scenes."""

import os
import pathlib
import re
import subprocess
import sys

from PIL import Image
import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).parents[2]
# What tools/setup.sh reads: a choice of the tester would change the quickstart's environment.
CHOICES = ('PYTHON', 'STACK', 'VENV', 'EXTRAS')
STACK = '2.15' if tf.__version__.startswith('2.15.') else 'current'


@pytest.fixture
def checkout(tmp_path):
    """A folder that looks like a checkout whose environment is complete."""
    folder = tmp_path / 'a checkout'
    folder.mkdir()
    for name in ('stfc3_tf', 'tools', 'gin', 'setup.py', f'requirements-{STACK}.lock'):
        (folder / name).symlink_to(ROOT / name)
    venv = folder / '.venv'
    (venv / 'bin').mkdir(parents=True)
    python = venv / 'bin' / 'python'
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (venv / 'stack').write_text(STACK)
    (venv / 'extras').write_text('addons,s3,train,web')
    versions = (ROOT / f'requirements-{STACK}.lock').read_text() + (ROOT / 'setup.py').read_text()
    (venv / 'versions').write_text(versions)
    return folder


@pytest.mark.slow
def test_quickstart_trains_exports_and_scores(checkout):
    environment = {k: v for k, v in os.environ.items() if k not in CHOICES}
    done = subprocess.run(
        ['bash', str(checkout / 'tools' / 'quickstart.sh'), '--gin_bindings=STEPS = 60'],
        cwd=checkout.parent,
        env={**environment, 'PYTHONPATH': str(checkout), 'CUDA_VISIBLE_DEVICES': '-1'},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = checkout / 'runs' / 'quickstart'
    assert (run / 'saved_model' / 'saved_model.pb').exists()
    rows = {}
    for line in done.stdout.splitlines():
        row = re.fullmatch(r'(\S.*?)  +(\d\.\d{3}) +(\d\.\d{3})(?: +([\d.]+) x)?', line.rstrip())
        if row:
            rows[row[1]] = [float(number) for number in row.groups()[1:] if number]
    assert list(rows) == [
        'trained, step 60',
        'copying the first label',
        'the same encoder untrained',
    ]
    trained, copied, untrained = rows.values()
    assert len(trained) == len(untrained) == 3 and len(copied) == 2
    # J: even a short training gives features that carry masks better.
    assert trained[0] > untrained[0] + 0.1
    for name in ('features', 'affinity', 'masks'):
        with Image.open(run / 'score' / f'{name}.png') as picture:
            assert min(picture.size) > 100
