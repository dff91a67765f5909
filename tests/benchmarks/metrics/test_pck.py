"""PCK against hand-computed values and the results of CRW's script."""

import pathlib

import numpy as np
import pytest

from stfc3_tf.benchmarks import metrics

GOLDEN = pathlib.Path(__file__).parents[2] / 'golden'


@pytest.fixture(scope='module')
def pose():
    return np.load(GOLDEN / 'pose_pck.npz')


def pose_of(pose, video):
    truth = pose[f'pck_gt{video}'].transpose(2, 1, 0) - 1
    cell = np.array([pose['width'] / 40, pose['height'] / 40])
    return truth, pose[f'pck_pred{video}'].transpose(2, 1, 0) * cell


def test_pck_equals_crw(pose):
    tally = metrics.pck_crw(*pose_of(pose, 0)) + metrics.pck_crw(*pose_of(pose, 1))
    percent = 100 * np.concatenate([tally.per_joint, tally.mean[:, None]], axis=1)
    np.testing.assert_allclose(percent, pose['pck_per_joint_and_mean'], atol=1e-10)


@pytest.mark.parametrize('video', [0, 1])
def test_pck_sizes_equal_crw(pose, video):
    truth, prediction = pose_of(pose, video)
    sizes = metrics.pck_sizes(truth, ~metrics.is_lost(prediction))
    np.testing.assert_allclose(sizes, pose[f'pck_boxes{video}'], rtol=1e-12)


@pytest.fixture
def walk():
    """Two frames; joints span 30 x 40, so the size of the scored frame is 0.6 * 50 = 30 pixels."""
    frame = np.array([[10.0, 10.0], [40.0, 10.0], [40.0, 50.0]])
    prediction = np.stack([frame, frame + [[3.0, 0.0], [0.0, 3.1], [8.0, 0.0]]])
    return np.stack([frame, frame]), prediction


def test_pck_by_hand(walk):
    tally = metrics.pck_visible(*walk, thresholds=(0.1, 0.2, 0.3))
    np.testing.assert_array_equal(tally.per_joint, [[1, 0, 0], [1, 1, 0], [1, 1, 1]])
    np.testing.assert_allclose(tally.mean, [1 / 3, 2 / 3, 1])
    assert tally.coverage == 1


def test_losing_a_joint_is_free_for_crw_only(walk):
    truth, prediction = walk
    prediction[1, 1] = -1
    crw = metrics.pck_crw(truth, prediction, thresholds=(0.5,))
    strict = metrics.pck_visible(truth, prediction, thresholds=(0.5,))
    np.testing.assert_array_equal(crw.per_joint, [[1, np.nan, 1]])
    np.testing.assert_array_equal(strict.per_joint, [[1, 0, 1]])
    assert crw.mean == 1 and strict.mean == pytest.approx(2 / 3)
    assert crw.coverage == strict.coverage == pytest.approx(2 / 3)


def test_a_joint_hidden_in_truth_neither_counts_nor_widens_the_box(walk):
    truth, prediction = walk
    visible = np.array([[True, True, True], [True, True, False]])
    tally = metrics.pck_visible(truth, prediction, visible, thresholds=(0.17,))
    # Box 30 x 0: size 18, threshold 3.06 pixels.
    np.testing.assert_array_equal(tally.correct, [[1, 0, 0]])
    np.testing.assert_array_equal(tally.counted, [1, 1, 0])


def test_frames_without_any_joint_count_for_nothing(walk):
    truth, prediction = walk
    prediction[1] = -1
    tally = metrics.pck_crw(truth, prediction)
    assert tally.correct.sum() == tally.counted.sum() == 0 and tally.coverage == 0
