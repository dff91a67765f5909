"""The one contract of encoders: unit length, and an identity for encoders that state none."""

import numpy as np
import pytest

from stfc3_tf import errors
from stfc3_tf.propagation import extractor, propagator, tracker
from stfc3_tf.views.geometry import CellGrid

FRAMES = np.zeros((2, 16, 24, 3), np.uint8)


class Bare:
    """Has `features` and `cell_grid` alone."""

    cell_grid = CellGrid(3.5, 8)

    def __init__(self, maps):
        self.maps = maps

    def features(self, frames):
        return self.maps


def test_vectors_get_unit_length_and_zeros_stay():
    maps = np.float32([[3, 4], [0, 0], [0, -0.5], [1e-3, 0]])
    expected = [[0.6, 0.8], [0, 0], [0, -1], [1, 0]]
    np.testing.assert_allclose(extractor.unit_length(maps), expected, rtol=1e-6)


@pytest.mark.parametrize('length', [0.99, 1.01])
def test_lengths_near_one_are_made_one(length):
    maps = np.float32([[0.6, 0.8], [1, 0]]) * np.float32(length)
    np.testing.assert_allclose(extractor.unit_length(maps), [[0.6, 0.8], [1, 0]], rtol=1e-6)


def test_features_of_unit_length_stay_as_they_are_to_the_last_bit():
    maps = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32)
    maps /= np.sqrt((maps**2).sum(-1, keepdims=True))
    np.testing.assert_array_equal(extractor.unit_length(maps), maps)


@pytest.mark.parametrize(
    'shape, problem',
    [((2, 3, 4), r'\[2, 3, 4\] for 2 frames'), ((1, 2, 3, 4), r'\[1, 2, 3, 4\] for 2 frames')],
)
def test_something_else_than_a_map_per_frame_is_refused(shape, problem):
    with pytest.raises(errors.UserError, match=problem):
        extractor.unit_features(Bare(np.ones(shape)), FRAMES)


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(value):
    maps = np.ones((2, 3, 4, 5), np.float32)
    maps[1, 2, 3, 4] = value
    with pytest.raises(errors.UserError, match='not finite'):
        extractor.unit_features(Bare(maps), FRAMES)


def test_an_encoder_without_an_identity_is_known_by_its_class_and_grid():
    found = extractor.identity(Bare(None))
    assert found == {'class': 'Bare', 'cell_grid': {'first': 3.5, 'stride': 8}}


def test_the_length_of_features_does_not_change_what_is_tracked():
    class Whole:
        """A label map is the label."""

        def encode(self, label, geometry):
            return label

        def decode(self, soft, geometry):
            return soft

    rng = np.random.default_rng(1)
    maps = rng.standard_normal((1, 4, 5, 6)).astype(np.float32)
    first = rng.random((4, 5, 2)).astype(np.float32)
    results = []
    for length in (1, 25):
        tracked = tracker.PropagationTracker(
            Bare(length * maps), propagator.PropagationSettings(context=2), tracker.InputSize()
        )
        assert tracked.settings()['model']['class'].endswith('Bare')
        results.append(list(tracked.track(FRAMES, first, Whole(), (16, 24)))[1])
    np.testing.assert_allclose(*results, atol=1e-5)
