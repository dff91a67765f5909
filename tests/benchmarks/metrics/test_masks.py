"""J and F of masks against hand-computed values, brute force and the official toolkit."""

import dataclasses
import pathlib

import numpy as np
import pytest

from stfc3_tf.benchmarks import metrics

GOLDEN = pathlib.Path(__file__).parents[2] / 'golden'


@pytest.fixture(scope='module')
def davis():
    return np.load(GOLDEN / 'davis_jf.npz')


def square(top, left, side, shape=(40, 60)):
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def statistics(scores):
    scored = scores[metrics.scored_frames(len(scores))]
    return dataclasses.astuple(metrics.sequence_statistics(scored))


def test_region_similarity_of_shifted_squares():
    # Two 4x4 squares two columns apart share 8 of 24 pixels.
    assert metrics.region_similarity(square(3, 3, 4), square(3, 5, 4)) == 8 / 24


def test_region_similarity_of_empty_masks():
    empty = square(0, 0, 0)
    assert metrics.region_similarity(empty, empty) == 1
    assert metrics.region_similarity(square(3, 3, 4), empty) == 0


def test_masks_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match='cannot be compared'):
        metrics.region_similarity(np.ones((3, 4)), np.ones((4, 3)))


def test_boundary_of_one_pixel():
    # The pixel differs from its three neighbours; those above, left and above-left see it.
    mask = np.zeros((4, 5), bool)
    mask[2, 2] = True
    expected = np.zeros((4, 5), bool)
    expected[1:3, 1:3] = True
    np.testing.assert_array_equal(metrics.boundary(mask), expected)


def test_boundary_at_the_last_row_and_column():
    mask = np.zeros((3, 4), bool)
    mask[2, 3] = True
    expected = np.zeros((3, 4), bool)
    expected[1, 2] = expected[1, 3] = expected[2, 2] = True
    np.testing.assert_array_equal(metrics.boundary(mask), expected)


def brute_force_f(truth, prediction, radius):
    def matched(pixels, others):
        offsets = pixels[:, None].astype(int) - others[None].astype(int)
        return np.mean((np.square(offsets).sum(-1) <= radius**2).any(axis=1))

    truth_pixels = np.argwhere(metrics.boundary(truth))
    prediction_pixels = np.argwhere(metrics.boundary(prediction))
    precision = matched(prediction_pixels, truth_pixels)
    recall = matched(truth_pixels, prediction_pixels)
    return 2 * precision * recall / max(precision + recall, 1e-9)


@pytest.mark.parametrize('radius', [1, 3, 5])
def test_boundary_accuracy_counts_pixels_within_the_radius(radius):
    rng = np.random.default_rng(radius)
    shape = (40, 60)
    tolerance = (radius - 0.5) / np.hypot(*shape)
    for _ in range(5):
        truth = square(*rng.integers(2, 20, 2), 15) | square(*rng.integers(2, 20, 2), 9)
        prediction = square(*rng.integers(2, 20, 2), 15) | (rng.random(shape) < 0.002)
        expected = brute_force_f(truth, prediction, radius)
        result = metrics.boundary_accuracy(truth, prediction, tolerance)
        assert result == pytest.approx(expected, abs=1e-12)


def test_boundary_accuracy_reaches_exactly_the_radius():
    # Straight edges 8 columns apart at 480p, where ceil(0.008 * 979.7) = 8; 9 columns are too far.
    truth, at_8, at_9 = (np.zeros((480, 854), bool) for _ in range(3))
    truth[:, :300] = at_8[:, :308] = at_9[:, :309] = True
    assert metrics.boundary_accuracy(truth, at_8) == 1
    assert metrics.boundary_accuracy(truth, at_9) == 0


def test_boundary_accuracy_of_masks_without_boundary():
    empty, full, some = np.zeros((20, 30), bool), np.ones((20, 30), bool), square(3, 3, 4, (20, 30))
    assert metrics.boundary_accuracy(empty, empty) == 1
    assert metrics.boundary_accuracy(empty, full) == 1
    assert metrics.boundary_accuracy(some, empty) == 0
    assert metrics.boundary_accuracy(empty, some) == 0


def test_single_object_equals_the_official_toolkit(davis):
    shape = davis['single_shape']
    truth, prediction = (
        np.unpackbits(davis[name])[: np.prod(shape)].reshape(shape)
        for name in ('single_truth', 'single_prediction')
    )
    j = np.array([metrics.region_similarity(*pair) for pair in zip(truth, prediction)])
    f = np.array([metrics.boundary_accuracy(*pair) for pair in zip(truth, prediction)])
    np.testing.assert_allclose(j, davis['single_J'], atol=1e-9)
    np.testing.assert_allclose(f, davis['single_F'], atol=1e-9)
    np.testing.assert_allclose(statistics(j), davis['single_J_statistics'], atol=1e-9)
    np.testing.assert_allclose(statistics(f), davis['single_F_statistics'], atol=1e-9)


@pytest.mark.parametrize(
    'measure, letter', [(metrics.region_similarity, 'J'), (metrics.boundary_accuracy, 'F')]
)
def test_several_objects_equal_the_official_toolkit(davis, measure, letter):
    for index, identity in enumerate(davis['multi_ids']):
        truth, prediction = davis['multi_truth'] == identity, davis['multi_prediction'] == identity
        scores = np.array([measure(*pair) for pair in zip(truth, prediction)])
        np.testing.assert_allclose(scores, davis[f'multi_{letter}'][index], atol=1e-9)
        expected = davis[f'multi_{letter}_statistics'][index]
        np.testing.assert_allclose(statistics(scores), expected, atol=1e-9)


def test_statistics_by_hand():
    # Eight frames: bounds round(1, 2.75, 4.5, 6.25, 8) - 1 = 0, 2, 4, 5, 7 (4.5 is nudged up to 5),
    # so the first quarter is frames 0..2 and the last 5..7.
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    result = metrics.sequence_statistics(scores)
    assert result.mean == pytest.approx(0.55)
    assert result.recall == 4 / 8
    assert result.decay == pytest.approx(0.8 - 0.3)


def test_statistics_of_more_frames_than_a_byte_counts():
    scores = np.concatenate([np.full(500, 0.9), np.full(500, 0.1)])
    assert metrics.sequence_statistics(scores).decay == pytest.approx(0.8)


def test_first_and_last_frame_are_not_scored():
    assert list(range(5)[metrics.scored_frames(5)]) == [1, 2, 3]
    with pytest.raises(ValueError, match='2 frames'):
        metrics.scored_frames(2)
