"""Two workers, one of which is killed or stopped, and the restart after it."""

import signal

import clusters
import numpy as np
import pytest

pytestmark = pytest.mark.slow

WORKERS, DEVICES = 2, 1


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
