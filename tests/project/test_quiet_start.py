"""What holds before a command's own first line: silence, and threads for NumPy."""

import os
import pathlib
import subprocess
import sys

import pytest

from stfc3_tf import stack

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = """
import sys
import stfc3_tf
import tensorflow as tf
from absl import app, flags, logging

def main(_):
    tf.constant(1) + 1
    tf.train.Checkpoint(step=tf.Variable(1)).save(sys.argv[-1])
    logging.info('Ours.')

app.run(main)
"""


def lines_of_errors(tmp_path, *flags):
    script = tmp_path / 'command.py'
    script.write_text(SCRIPT)
    environment = {name: os.environ[name] for name in os.environ if name != 'TF_CPP_MIN_LOG_LEVEL'}
    result = subprocess.run(
        [sys.executable, script, *flags, tmp_path / 'checkpoint'],
        capture_output=True,
        text=True,
        env={**environment, 'PYTHONPATH': str(ROOT)},
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stderr.splitlines()


@pytest.mark.slow
def test_only_the_commands_own_lines_are_shown_and_all_on_request(tmp_path):
    (line,) = lines_of_errors(tmp_path)
    assert 'command.py:' in line and line.endswith('] Ours.')
    assert any('tensorflow' in each.lower() for each in lines_of_errors(tmp_path, '--verbosity=1'))


def test_a_number_of_threads_that_a_person_set_stays(monkeypatch):
    monkeypatch.setenv('OPENBLAS_NUM_THREADS', '4')
    stack.use_one_blas_thread()
    assert os.environ['OPENBLAS_NUM_THREADS'] == '4'
    monkeypatch.delenv('OPENBLAS_NUM_THREADS')
    stack.use_one_blas_thread()
    assert os.environ['OPENBLAS_NUM_THREADS'] == '1'
