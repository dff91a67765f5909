"""Errors of landmarks against hand-computed values."""

import numpy as np
import pytest

from stfc3_tf.benchmarks import metrics


def test_landmark_errors_by_hand():
    truth = np.zeros((1, 2, 2))
    prediction = np.array([[[3.0, 4.0], [0.0, 1.0]]])
    np.testing.assert_allclose(metrics.point_errors(truth, prediction), [[5, 1]])
    np.testing.assert_allclose(metrics.mean_point_error(truth, prediction), [3])
    np.testing.assert_allclose(metrics.root_mean_square_error(truth, prediction), [np.sqrt(13)])


def test_interocular_distance_is_between_the_outer_corners():
    face = np.random.default_rng(0).uniform(0, 100, (2, 68, 2))
    face[:, 36], face[:, 45] = [10, 20], [40, 60]
    np.testing.assert_allclose(metrics.interocular_distance(face), [50, 50])
    with pytest.raises(ValueError, match='68 landmarks'):
        metrics.interocular_distance(face[:, :49])


def test_box_diagonal():
    assert metrics.box_diagonal(np.array([[1.0, 2.0], [4.0, 3.0], [2.0, 6.0]])) == 5


def test_cumulative_error_and_its_area():
    errors = np.array([0.02, 0.04, 0.04, np.nan])
    shares = metrics.cumulative_error(errors, np.array([0.01, 0.02, 0.03, 0.04, 1e9]))
    np.testing.assert_allclose(shares, [0, 0.25, 0.25, 0.75, 0.75])
    # Steps of a quarter at 0.02 and two at 0.04 of a limit of 0.08: (0.06 + 2 * 0.04) / 0.08 / 4.
    assert metrics.area_under_cumulative_error(errors, 0.08) == pytest.approx(0.4375)
    fine = np.linspace(0, 0.08, 80_001)
    area = np.mean(metrics.cumulative_error(errors, fine))
    assert metrics.area_under_cumulative_error(errors, 0.08) == pytest.approx(area, abs=1e-4)
    assert metrics.failure_rate(errors, 0.03) == 0.75
    assert metrics.failure_rate(errors, 0.04) == 0.25
