"""Both stacks give the same numbers, and each reads what the other wrote.

The files in tests/golden/stacks were made by tests/support/stack_numbers.py, on each stack.
"""

import pathlib
import tarfile

import numpy as np
import pytest
import stack_numbers

from stfc3_tf.serving import loading
from stfc3_tf.training import reload
from stfc3_tf.training.run_folder import RunFolder

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'stacks'
STACKS = ['2.15', 'current']
# Name -> the largest difference, in the unit of the number.
TOLERANCES = {
    'features': 2e-6,
    'loss': 1e-5,
    'gradients': 1e-3,
    'points': 1e-3,
    'scores': 1e-6,
}


def unpacked(stack, name, folder):
    with tarfile.open(GOLDEN / stack / f'{name}.tar.gz') as archive:
        archive.extractall(folder)
    return folder / name


def assert_same(found, expected):
    assert set(found) == set(expected) == {*TOLERANCES, 'masks'}
    np.testing.assert_array_equal(found['masks'], expected['masks'])
    for name, tolerance in TOLERANCES.items():
        scale = max(1.0, np.abs(expected[name]).max())
        difference = np.abs(found[name] - expected[name]).max() / scale
        assert difference <= tolerance, f'{name}: {difference}'


def test_what_the_two_stacks_recorded_is_the_same():
    one, other = (dict(np.load(GOLDEN / stack / 'numbers.npz')) for stack in STACKS)
    assert_same(one, other)


@pytest.mark.slow
def test_this_stack_gives_the_recorded_numbers(tmp_path):
    found = stack_numbers.numbers(tmp_path)
    for stack in STACKS:
        assert_same(found, dict(np.load(GOLDEN / stack / 'numbers.npz')))


@pytest.mark.parametrize('stack', STACKS)
def test_an_export_of_either_stack_gives_its_features(stack, tmp_path):
    model = loading.load(str(unpacked(stack, 'saved_model', tmp_path)))
    expected = np.load(GOLDEN / stack / 'numbers.npz')['features']
    np.testing.assert_allclose(model.features(stack_numbers.FRAMES), expected, atol=2e-6)


def weights_of_run(folder):
    encoder, step = reload.encoder_of_run(RunFolder(str(folder)))
    return step, np.concatenate([np.ravel(variable) for variable in encoder.trainable_variables])


def test_checkpoints_of_both_stacks_hold_the_same_weights(tmp_path):
    (step, one), (same, other) = (weights_of_run(unpacked(s, 'run', tmp_path / s)) for s in STACKS)
    assert step == same == 3
    assert np.abs(one - other).max() < 1e-3 < np.abs(one).max()


@pytest.mark.slow
def test_a_run_of_either_stack_is_resumed(tmp_path):
    weights = []
    for stack in STACKS:
        folder = unpacked(stack, 'run', tmp_path / stack)
        # The learning rate now ends at step 5.
        stack_numbers.train(folder, 5, '--allow_changes')
        step, trained = weights_of_run(folder)
        assert step == 5
        weights.append(trained)
    assert np.abs(weights[0] - weights[1]).max() < 2e-3
