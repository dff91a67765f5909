"""TAP-Vid's measures of tracked points with occlusion (Doersch et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses

import numpy as np

from stfc3_tf.benchmarks.metrics.points import point_errors, point_pair

TAPVID_THRESHOLDS = (1, 2, 4, 8, 16)
TAPVID_SIZE = 256


@dataclasses.dataclass(frozen=True)
class TapVidScores:
    """The measures of one video, all in [0, 1].

    * Occlusion accuracy: share of evaluated points whose occlusion flag is right.
    * Position accuracy: of the evaluated points that are visible in truth, the share closer than
      the threshold (strictly), whatever the predicted flag is; averaged over the thresholds.
    * Jaccard: true positives / (visible points + false positives). A true positive is visible in
      truth, predicted visible and close enough; a false positive is predicted visible, but occluded
      in truth or too far; visible points are the true positives and the false negatives.

    Attributes:
      average_jaccard: mean of `jaccard`.
      position_accuracy: mean of `within`; TAP-Vid calls it "< delta, averaged".
      occlusion_accuracy: share of right occlusion flags.
      jaccard: float [thresholds], in the order of `TAPVID_THRESHOLDS`.
      within: float [thresholds], share of visible points closer than each threshold.
    """

    average_jaccard: float
    position_accuracy: float
    occlusion_accuracy: float
    jaccard: np.ndarray
    within: np.ndarray


def tapvid_scores(
    truth: np.ndarray,
    occluded: np.ndarray,
    prediction: np.ndarray,
    predicted_occluded: np.ndarray,
    query_frames: np.ndarray,
    query_mode: str,
) -> TapVidScores:
    """Return the measures of one video; `mean_scores` averages videos.

    The evaluated frames are those after the query ('first') or all except the query's ('strided').

    Args:
      truth: float [points, time, 2], pixels of the video resized to 256x256.
      occluded: bool [points, time].
      prediction: as `truth`; positions of occluded points are never read.
      predicted_occluded: bool [points, time].
      query_frames: int [points].
      query_mode: 'first' or 'strided'.

    Returns:
      The measures.

    Raises:
      ValueError: shapes disagree, the query mode is unknown, or no visible point is evaluated.
    """
    truth, prediction = point_pair(truth, prediction)
    occluded, predicted_occluded = np.asarray(occluded, bool), np.asarray(predicted_occluded, bool)
    if not truth.shape[:-1] == occluded.shape == predicted_occluded.shape:
        raise ValueError(
            f'Occlusion flags of shapes {occluded.shape} and {predicted_occluded.shape} do not fit '
            f'points of shape {truth.shape}.'
        )
    evaluated = _evaluated_frames(np.asarray(query_frames), truth.shape[1], query_mode)
    visible = ~occluded & evaluated
    if not visible.any():
        raise ValueError('No visible point can be evaluated; leave this video out.')
    distance = point_errors(truth, prediction)
    shown = ~predicted_occluded & evaluated
    within, jaccard = zip(*(_tapvid_at(distance < t, visible, shown) for t in TAPVID_THRESHOLDS))
    return TapVidScores(
        average_jaccard=float(np.mean(jaccard)),
        position_accuracy=float(np.mean(within)),
        occlusion_accuracy=float(np.mean((occluded == predicted_occluded)[evaluated])),
        jaccard=np.array(jaccard),
        within=np.array(within),
    )


def mean_scores(videos: Iterable[TapVidScores]) -> TapVidScores:
    """Return the mean over videos; each has the same weight, whatever its number of points."""
    videos = list(videos)
    names = [field.name for field in dataclasses.fields(TapVidScores)]
    return TapVidScores(*(np.mean([getattr(v, name) for v in videos], axis=0) for name in names))


def _tapvid_at(close: np.ndarray, visible: np.ndarray, shown: np.ndarray) -> tuple[float, float]:
    """Return (share of visible points that are close, Jaccard) of bool arrays [points, time]."""
    close_and_visible = close & visible
    true_positives = np.count_nonzero(close_and_visible & shown)
    false_positives = np.count_nonzero(shown & ~close_and_visible)
    visible_count = np.count_nonzero(visible)
    return np.count_nonzero(close_and_visible) / visible_count, (
        true_positives / (visible_count + false_positives)
    )


def _evaluated_frames(query_frames: np.ndarray, frame_count: int, query_mode: str) -> np.ndarray:
    """Return the frames that count for each point, bool [points, time]."""
    frames = np.arange(frame_count)
    if query_mode == 'first':
        return frames > query_frames[:, None]
    if query_mode == 'strided':
        return frames != query_frames[:, None]
    raise ValueError(f"query_mode must be 'first' or 'strided', not {query_mode!r}.")
