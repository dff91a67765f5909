"""TAP-Vid's measures against hand-computed values and loops over points and frames."""

import numpy as np
import pytest

from stfc3_tf.benchmarks import metrics


def loops_tapvid(truth, occluded, prediction, predicted_occluded, query_frames, query_mode):
    """Compute the definitions, one point and frame at a time."""
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
    """One point, four frames: the query is in frame 1; occluded in frame 2."""
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
