"""Parts run one after another: states, estimates, signals, the lock on the folder."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import tracemalloc

import pytest
from small_reproduction import ROOT, making, python_part, run_parts
from training_runs import environment
from waiting import until

from stfc3_tf import errors
from stfc3_tf.reproduction import running


def test_the_status_of_commands_is_the_state_of_parts(tmp_path):
    good = python_part(tmp_path, 'good', making(tmp_path / 'good/train/saved_model'))
    bad = python_part(tmp_path, 'bad', "import sys; print('why it failed'); sys.exit(3)")
    killed = python_part(tmp_path, 'killed', 'import os; os.kill(os.getpid(), 9)')
    needing = python_part(tmp_path, 'x', 'assert False', kind='scenes', needs=bad.name)
    outcomes, stopped_by = run_parts(tmp_path, [good, bad, killed, needing])
    assert stopped_by == 0
    states = [outcomes[part.name].state for part in (good, bad, killed, needing)]
    assert states == ['finished', 'failed', 'failed', 'not run']
    assert 'status 3' in outcomes[bad.name].why and 'why it failed' in outcomes[bad.name].why
    assert 'SIGKILL' in outcomes[killed.name].why
    assert running.outcomes_on_disk([good, bad, killed, needing]) == outcomes


def test_a_command_that_leaves_no_result_is_not_finished(tmp_path):
    part = python_part(tmp_path, 'empty', 'pass')
    run_parts(tmp_path, [part])
    assert running.outcomes_on_disk([part])[part.name].state == 'not run'


def test_a_failing_note_ends_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(running, '_NOTE_SECONDS', 0.2)
    folder, pid = tmp_path / 'slow', tmp_path / 'pid'
    # A file takes the place of the folder of records, so that no note can be written.
    code = (
        'import os, pathlib, time\n'
        f'pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\n'
        f'folder = pathlib.Path({str(folder)!r})\n'
        'folder.rename(folder.with_name("moved")); folder.touch()\n'
        'time.sleep(30)'
    )
    part = python_part(tmp_path, 'slow', code)
    with pytest.raises(errors.UserError, match=part.record.name):
        run_parts(tmp_path, [part])
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_of_a_long_log_the_end_is_read(tmp_path):
    code = "import sys; print('x' * 20_000_000); print('why it failed'); sys.exit(3)"
    part = python_part(tmp_path, 'long', code)
    tracemalloc.start()
    outcomes, _ = run_parts(tmp_path, [part])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert outcomes[part.name].why.endswith('why it failed') and most < 5_000_000


def test_what_is_left_is_estimated_from_what_was_measured(tmp_path):
    code = making(tmp_path / 'a/train/saved_model')
    first = python_part(tmp_path, 'a', code)
    second = python_part(tmp_path, 'b', code)
    waiting = {part.name: running.Outcome('not run') for part in (first, second)}
    assert running.seconds_left([first, second], waiting) == 240
    one_done = {**waiting, first.name: running.Outcome('finished', 30.0)}
    assert running.seconds_left([first, second], one_done) == 30


def test_sigterm_reaches_the_command_and_ends_the_program(tmp_path):
    ready = tmp_path / 'ready'
    code = (
        'import pathlib, signal, sys, time\n'
        'signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n'
        f'pathlib.Path({str(ready)!r}).touch(); time.sleep(60)'
    )
    slow = python_part(tmp_path, 'slow', code)
    later = python_part(tmp_path, 'later', 'assert False')

    def stop():
        until(ready.exists, 60)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    outcomes, stopped_by = run_parts(tmp_path, [slow, later])
    thread.join()
    assert stopped_by == signal.SIGTERM
    assert [outcomes[part.name].state for part in (slow, later)] == ['not run', 'not run']
    assert not later.log.exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.slow
def test_the_folder_stays_locked_while_a_command_outlives_its_program(tmp_path):
    ready, go = tmp_path / 'ready', tmp_path / 'go'
    code = (
        f'import pathlib, time; pathlib.Path({str(ready)!r}).touch()\n'
        f'while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.02)'
    )
    script = (
        'import pathlib, sys; sys.path.insert(0, sys.argv[1]); import small_reproduction as t; '
        f't.run_parts(pathlib.Path({str(tmp_path)!r}), '
        f't.python_part(pathlib.Path({str(tmp_path)!r}), "a", {code!r}) and '
        f'[t.python_part(pathlib.Path({str(tmp_path)!r}), "a", {code!r})])'
    )
    program = subprocess.Popen(
        [sys.executable, '-c', script, str(ROOT / 'tests' / 'support')],
        cwd=ROOT,
        env={**environment(), 'PYTHONPATH': str(ROOT)},
    )
    until(ready.exists, 120)
    program.kill()
    program.wait()
    with open(tmp_path / 'lock', 'w') as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        go.touch()
        fcntl.flock(lock, fcntl.LOCK_EX)  # as soon as the command has ended
