"""Metrics against hand-computed values, brute force, and the official tools' stored results."""

import dataclasses
import pathlib

import numpy as np
import pytest

from stfc3_tf import metrics

GOLDEN = pathlib.Path(__file__).parent / 'golden'


@pytest.fixture(scope='module')
def davis():
    return np.load(GOLDEN / 'davis_jf.npz')


@pytest.fixture(scope='module')
def pose():
    return np.load(GOLDEN / 'pose_pck.npz')


def square(top, left, side, shape=(40, 60)):
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def statistics(scores):
    scored = scores[metrics.scored_frames(len(scores))]
    return dataclasses.astuple(metrics.sequence_statistics(scored))


# J


def test_region_similarity_of_shifted_squares():
    # Two 4x4 squares two columns apart share 8 of 24 pixels.
    assert metrics.region_similarity(square(3, 3, 4), square(3, 5, 4)) == 8 / 24


def test_region_similarity_of_empty_masks():
    empty = square(0, 0, 0)
    assert metrics.region_similarity(empty, empty) == 1
    assert metrics.region_similarity(square(3, 3, 4), empty) == 0


def test_masks_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match='do not compare'):
        metrics.region_similarity(np.ones((3, 4)), np.ones((4, 3)))


# F


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


# The official DAVIS toolkit


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


@pytest.mark.parametrize('measure, letter', [
    (metrics.region_similarity, 'J'), (metrics.boundary_accuracy, 'F')
])
def test_several_objects_equal_the_official_toolkit(davis, measure, letter):
    for index, identity in enumerate(davis['multi_ids']):
        truth, prediction = davis['multi_truth'] == identity, davis['multi_prediction'] == identity
        scores = np.array([measure(*pair) for pair in zip(truth, prediction)])
        np.testing.assert_allclose(scores, davis[f'multi_{letter}'][index], atol=1e-9)
        expected = davis[f'multi_{letter}_statistics'][index]
        np.testing.assert_allclose(statistics(scores), expected, atol=1e-9)


# Statistics


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


# PCK


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


# Landmarks


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


# TAP-Vid


def loops_tapvid(truth, occluded, prediction, predicted_occluded, query_frames, query_mode):
    """The definitions, one point and frame at a time."""
    flags, jaccards, accuracies = [], [], []
    for threshold in (1, 2, 4, 8, 16):
        visible = near = true_positive = false_positive = 0
        for n, t in np.ndindex(occluded.shape):
            if t == query_frames[n] or (query_mode == 'first' and t < query_frames[n]):
                continue
            close = np.sum((prediction[n, t] - truth[n, t]) ** 2) < threshold**2
            flags.append(occluded[n, t] == predicted_occluded[n, t])
            visible += not occluded[n, t]
            near += close and not occluded[n, t]
            true_positive += close and not occluded[n, t] and not predicted_occluded[n, t]
            false_positive += not predicted_occluded[n, t] and (occluded[n, t] or not close)
        jaccards.append(true_positive / (visible + false_positive))
        accuracies.append(near / visible)
    return np.mean(jaccards), np.mean(accuracies), np.mean(flags)


@pytest.mark.parametrize('query_mode', ['first', 'strided'])
def test_tapvid_scores_equal_loops(query_mode):
    rng = np.random.default_rng(1)
    truth = rng.uniform(0, 256, (6, 9, 2))
    prediction = truth + rng.normal(0, 5, truth.shape)
    occluded, predicted_occluded = rng.random((2, 6, 9)) < 0.3
    queries = rng.integers(0, 6, 6)
    arguments = truth, occluded, prediction, predicted_occluded, queries, query_mode
    result = metrics.tapvid_scores(*arguments)
    values = result.average_jaccard, result.position_accuracy, result.occlusion_accuracy
    np.testing.assert_allclose(values, loops_tapvid(*arguments), rtol=1e-12)


@pytest.fixture
def tracks():
    """One point, four frames, asked for in frame 1; occluded in frame 2."""
    truth = np.array([[[9.0, 9.0], [10.0, 10.0], [11.0, 11.0], [12.0, 12.0]]])
    prediction = truth + [[[50.0, 0.0], [0.0, 0.0], [0.0, 0.0], [3.0, 0.0]]]
    return truth, np.array([[False, False, True, False]]), prediction, np.zeros((1, 4), bool)


def test_tapvid_first_by_hand(tracks):
    scores = metrics.tapvid_scores(*tracks, query_frames=[1], query_mode='first')
    # Frames 2 and 3 count: frame 2 is a false positive always, frame 3 is 3 pixels off.
    np.testing.assert_array_equal(scores.within, [0, 0, 1, 1, 1])
    np.testing.assert_allclose(scores.jaccard, [0, 0, 1 / 2, 1 / 2, 1 / 2])
    assert scores.position_accuracy == pytest.approx(0.6)
    assert scores.average_jaccard == pytest.approx(0.3)
    assert scores.occlusion_accuracy == 0.5


def test_tapvid_strided_by_hand(tracks):
    scores = metrics.tapvid_scores(*tracks, query_frames=[1], query_mode='strided')
    # Frame 0 counts too, 50 pixels off: visible points 2, false positives 2 (or 3 below 4 pixels).
    np.testing.assert_allclose(scores.within, [0, 0, 1 / 2, 1 / 2, 1 / 2])
    np.testing.assert_allclose(scores.jaccard, [0, 0, 1 / 4, 1 / 4, 1 / 4])
    assert scores.occlusion_accuracy == pytest.approx(2 / 3)


def test_tapvid_distance_equal_to_the_threshold_is_too_far(tracks):
    truth, occluded, _, flags = tracks
    scores = metrics.tapvid_scores(truth, occluded, truth + [4.0, 0.0], flags, [1], 'first')
    np.testing.assert_array_equal(scores.within, [0, 0, 0, 1, 1])


def test_tapvid_positions_where_occluded_are_never_read(tracks):
    truth, occluded, prediction, flags = tracks
    lost = prediction.copy()
    lost[0, 2] = np.nan
    expected = metrics.tapvid_scores(truth, occluded, prediction, flags, [1], 'first')
    result = metrics.tapvid_scores(truth, occluded, lost, flags, [1], 'first')
    assert result.average_jaccard == expected.average_jaccard


def test_tapvid_refuses_what_it_cannot_score(tracks):
    with pytest.raises(ValueError, match='query_mode'):
        metrics.tapvid_scores(*tracks, query_frames=[1], query_mode='last')
    with pytest.raises(ValueError, match='No visible point'):
        metrics.tapvid_scores(*tracks, query_frames=[3], query_mode='first')


def test_videos_weigh_the_same_however_many_points_they_have(tracks):
    one = metrics.tapvid_scores(*tracks, query_frames=[1], query_mode='first')
    truth, occluded, _, flags = (np.repeat(part, 9, axis=0) for part in tracks)
    queries = np.ones(9, int)
    perfect = metrics.tapvid_scores(truth, occluded, truth, flags | occluded, queries, 'first')
    mean = metrics.mean_scores([one, perfect])
    assert perfect.average_jaccard == perfect.occlusion_accuracy == 1
    assert mean.average_jaccard == pytest.approx((0.3 + 1) / 2)
    assert mean.occlusion_accuracy == pytest.approx((0.5 + 1) / 2)
    np.testing.assert_allclose(mean.jaccard, [0.5, 0.5, 0.75, 0.75, 0.75])
