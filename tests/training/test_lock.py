"""Two training runs never write to one folder."""

import os
import signal

import forked_programs
import pytest
from training_runs import UNWATCHED, run

from stfc3_tf import errors
from stfc3_tf.training.run_folder import RunFolder

HOLD = """
import signal, sys
from stfc3_tf.training.run_folder import RunFolder
with RunFolder(sys.argv[1]).locked():
    print('held', flush=True)
    signal.pause()
"""


@pytest.fixture
def holder(tmp_path):
    """Yield a process that holds the lock of `tmp_path`."""
    with forked_programs.Program(HOLD, str(tmp_path)) as program:
        assert program.output.readline() == 'held\n'
        yield program


def test_a_second_training_is_refused_and_the_holder_named(holder, tmp_path):
    with (
        pytest.raises(errors.UserError, match=f'another training .*process {holder.pid} on '),
        RunFolder(str(tmp_path)).locked(),
    ):
        pass


def test_a_killed_training_leaves_no_lock(holder, tmp_path):
    holder.signal(signal.SIGKILL)
    assert holder.end() == -signal.SIGKILL
    with RunFolder(str(tmp_path)).locked():
        assert str(os.getpid()) in (tmp_path / 'training.lock').read_text()
    with RunFolder(str(tmp_path)).locked():  # The lock is also released at the end of the block.
        pass


def test_object_stores_cannot_be_locked():
    with RunFolder('s3://bucket/run').locked(), RunFolder('s3://bucket/run').locked():
        pass


@pytest.mark.slow
def test_two_trainings_at_a_time(holder, tmp_path):
    status, output = run(tmp_path, bindings=UNWATCHED)
    assert status == 1 and f'process {holder.pid}' in output and 'Traceback' not in output
    assert not (tmp_path / 'checkpoints').exists() and not (tmp_path / 'config.gin').exists()
    holder.signal(signal.SIGKILL)
    holder.end()
    status, output = run(tmp_path, bindings=UNWATCHED)
    assert status == 0, output
