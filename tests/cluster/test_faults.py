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
# The longest wait of workers for each other, and how long the rest of an ending may take.
PATIENCE_MINUTES, LONGEST_END = 2.0, 60.0


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


def killed_at(seconds, victim, model_dir):
    """Train, and kill one worker after some seconds.

    Returns:
      The exit status and the output of each worker, and the seconds from the kill to the end.
    """
    patience = [f'MultiWorker.patience_minutes = {PATIENCE_MINUTES}']
    run = clusters.Run(model_dir, WORKERS, DEVICES, patience)
    time.sleep(seconds)
    run.processes[victim].kill()
    began = time.monotonic()
    return run.finish(), time.monotonic() - began


def assert_told(output, status):
    """The worker that was not killed says what to do, or had taken its last step before."""
    assert status in (0, 1) and 'Traceback' not in output, output
    assert status == 0 or 'tart every worker' in output, output


def test_a_worker_that_is_killed_at_a_random_moment_ends_the_other(unbroken, tmp_path):
    began = time.monotonic()
    for status, output in train(tmp_path / 'whole'):
        assert status == 0, output
    longest, moments = time.monotonic() - began, random.Random(KILLS)
    print(f'an unbroken run takes {longest:.0f} s', flush=True)
    kills, runs = 0, 0
    while kills < KILLS:
        victim, model_dir = moments.randrange(WORKERS), tmp_path / str(runs)
        results, seconds = killed_at(moments.uniform(0, longest), victim, model_dir)
        runs += 1
        if results[victim][0] == 0:  # It was faster than the first run.
            continue
        kills += 1
        assert results[victim][0] == -signal.SIGKILL
        assert seconds < 60 * PATIENCE_MINUTES + LONGEST_END
        status, output = results[1 - victim]
        assert_told(output, status)
        print(f'kill {kills}, of worker {victim}: status {status} in {seconds:.0f} s', flush=True)
        for status, output in train(model_dir):
            assert status == 0, output
        assert_as_unbroken(model_dir, unbroken)
        assert (model_dir / 'saved_model' / 'saved_model.pb').exists()
