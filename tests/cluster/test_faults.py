"""Two workers, one of which is killed or stopped, and the restart after it.

`STFC3_KILLS=10 pytest -s tests/cluster/test_faults.py -k random` kills 10 times.
"""

import os
import random
import signal
import time

import clusters
import numpy as np
import pytest

pytestmark = pytest.mark.slow

WORKERS, DEVICES = 2, 1
KILLS = int(os.environ.get('STFC3_KILLS', '1'))
# How long workers of a run that is to be killed wait for each other, and longer than which no
# ending takes, in seconds.
PATIENCE, LONGEST_END = 60, 120


def train(model_dir, hooks=None):
    return clusters.Run(model_dir, WORKERS, DEVICES, hooks=hooks).finish()


def checkpoints_of(model_dir):
    return sorted(path.stem for path in (model_dir / 'checkpoints' / 'last').glob('*.index'))


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
    """Return the final values of a run on the same two devices that was never stopped."""
    model_dir = tmp_path_factory.mktemp('unbroken') / 'run'
    for status, output in clusters.Run(model_dir, 1, WORKERS * DEVICES).finish():
        assert status == 0, output
    return clusters.final_values(model_dir)


def assert_as_unbroken(model_dir, unbroken):
    values = clusters.final_values(model_dir)
    assert values.keys() == unbroken.keys()
    assert values['clips_seen/.ATTRIBUTES/VARIABLE_VALUE'] == 8 * clusters.STEPS
    for name, value in values.items():
        np.testing.assert_allclose(value, unbroken[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_a_worker_is_killed_and_both_go_on_from_the_last_checkpoint(unbroken, tmp_path):
    model_dir = tmp_path / 'run'
    hooks = {1: {'number': int(signal.SIGKILL), 'step': 3}}
    (chief, output), (killed, _) = train(model_dir, hooks)
    assert killed == -signal.SIGKILL
    assert chief == 1
    assert 'error: Worker 1 (127.0.0.1:' in output and 'Start every worker again' in output
    assert checkpoints_of(model_dir) == ['step-2']  # nothing of the unfinished step is kept
    for status, output in train(model_dir):
        assert status == 0, output
        assert 'Resuming from step 2' in output
    assert (model_dir / 'saved_model' / 'saved_model.pb').exists()
    assert_as_unbroken(model_dir, unbroken)


def test_a_signal_to_one_worker_stops_both_and_a_truncated_checkpoint_is_passed_over_by_both(
    unbroken, tmp_path
):
    model_dir = tmp_path / 'run'
    hooks = {1: {'number': int(signal.SIGTERM), 'step': 3}}
    for status, output in train(model_dir, hooks):
        assert status == 128 + signal.SIGTERM, output
        assert 'the checkpoint is written, at step 3' in output
    assert checkpoints_of(model_dir) == ['step-2', 'step-3']
    assert not (model_dir / 'saved_model').exists()
    data = model_dir / 'checkpoints' / 'last' / 'step-3.data-00000-of-00001'
    data.write_bytes(data.read_bytes()[:1000])
    for status, output in train(model_dir):
        assert status == 0, output
        assert 'the one before it is tried' in output and 'Resuming from step 2' in output
    assert_as_unbroken(model_dir, unbroken)


def test_without_its_chief_a_worker_ends_too(tmp_path):
    hooks = {0: {'number': int(signal.SIGKILL), 'step': 3}}
    (chief, _), (other, output) = train(tmp_path / 'run', hooks)
    assert chief == -signal.SIGKILL
    assert other == 1 and 'Start every worker again' in output


def killed_after(seconds, victim, model_dir, saved):
    """Train, and kill one worker after some seconds, or so long after the first checkpoint.

    Returns:
      The exit status and the output of each worker, and the seconds from the kill to the end.
    """
    patience = [f'MultiWorker.patience_minutes = {PATIENCE / 60}']
    run = clusters.Run(model_dir, WORKERS, DEVICES, patience)
    while saved and not checkpoints_of(model_dir) and run.processes[victim].poll() is None:
        time.sleep(0.1)
    time.sleep(seconds)
    run.processes[victim].kill()
    began = time.monotonic()
    return run.finish(), time.monotonic() - began


def assert_told(status, output):
    """The worker that was not killed says what to do, or had taken its last step before."""
    assert status in (0, 1) and 'Traceback' not in output, output
    assert status == 0 or 'tart every worker' in output, output


def test_a_worker_that_is_killed_at_a_random_moment_changes_no_result(tmp_path):
    began = time.monotonic()
    for status, output in train(tmp_path / 'unbroken'):
        assert status == 0, output
    longest, unbroken = time.monotonic() - began, clusters.final_values(tmp_path / 'unbroken')
    saves = (tmp_path / 'unbroken/checkpoints/last').glob('*.index')
    rest = time.time() - min(path.stat().st_mtime for path in saves)
    print(f'an unbroken run takes {longest:.0f} s, {rest:.0f} s with checkpoints', flush=True)
    moments, kills, runs = random.Random(KILLS), 0, 0
    while kills < KILLS:
        victim, model_dir = moments.randrange(WORKERS), tmp_path / str(runs)
        saved = kills % 2 == 0  # Most of such a short run is its start.
        moment = moments.uniform(0, rest if saved else longest)
        results, seconds = killed_after(moment, victim, model_dir, saved)
        runs += 1
        if results[victim][0] == 0:  # It was faster than the unbroken run.
            continue
        kills += 1
        assert results[victim][0] == -signal.SIGKILL, results[victim][1]
        assert_told(*results[1 - victim])
        assert seconds < PATIENCE + LONGEST_END
        kept = checkpoints_of(model_dir)
        for status, output in train(model_dir):
            assert status == 0, output
        assert_same(clusters.final_values(model_dir), unbroken)
        assert (model_dir / 'saved_model' / 'saved_model.pb').exists()
        print(
            f'kill {kills} of {"chief" if not victim else "other worker"} at {moment:.0f} s, '
            f'with checkpoints {kept}; the end came after {seconds:.0f} s',
            flush=True,
        )


def assert_same(values, others):
    assert values.keys() == others.keys()
    for name, value in values.items():
        np.testing.assert_array_equal(value, others[name], err_msg=name)
