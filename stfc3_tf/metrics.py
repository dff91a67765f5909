"""The numbers a benchmark prints, each defined once: masks, key points, landmarks, tracked points.

NumPy in, NumPy out; nothing here knows about models, files or data sets. Points are (x, y) in
pixels. A share is a fraction in [0, 1]. "Lost": a method gave a point no position (`is_lost`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
import dataclasses

import cv2
import numpy as np

PCK_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)
# Share of the diagonal of the joints' box that PCK measures errors in (videowalk, eval_pck.py).
PCK_BOX_SHARE = 0.6
BOUNDARY_TOLERANCE = 0.008
TAPVID_THRESHOLDS = (1, 2, 4, 8, 16)
TAPVID_SIZE = 256


# Masks: J, F and their statistics, as DAVIS-2017 defines them.


def region_similarity(truth: np.ndarray, prediction: np.ndarray) -> float:
    """J: intersection over union of two masks.

    Args:
      truth: bool [height, width] (anything else is compared with zero).
      prediction: the same shape.

    Returns:
      J in [0, 1]; 1 where both masks are empty.
    """
    truth, prediction = _mask_pair(truth, prediction)
    union = np.count_nonzero(truth | prediction)
    return np.count_nonzero(truth & prediction) / union if union else 1.0


def boundary_accuracy(
    truth: np.ndarray, prediction: np.ndarray, tolerance: float = BOUNDARY_TOLERANCE
) -> float:
    """F: harmonic mean of precision and recall of the boundary pixels.

    A boundary pixel is right if the other mask has a boundary pixel no further away than
    ceil(tolerance * diagonal) pixels (Euclidean), the reach of a disk as structuring element.

    Args:
      truth: bool [height, width] (anything else is compared with zero).
      prediction: the same shape.
      tolerance: share of the image diagonal; DAVIS uses 0.008.

    Returns:
      F in [0, 1]; 1 where neither mask has a boundary, 0 where only one has.
    """
    truth, prediction = _mask_pair(truth, prediction)
    radius = int(np.ceil(tolerance * np.hypot(*truth.shape)))
    truth_edge, prediction_edge = boundary(truth), boundary(prediction)
    window = _bounding_window(truth_edge | prediction_edge)
    truth_edge, prediction_edge = truth_edge[window], prediction_edge[window]
    if not truth_edge.any() or not prediction_edge.any():
        return float(truth_edge.any() == prediction_edge.any())
    precision = np.mean(_within(truth_edge, radius)[prediction_edge])
    recall = np.mean(_within(prediction_edge, radius)[truth_edge])
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def boundary(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask that differ from the pixel to the right, below, or below to the right.

    The last row is compared to the right only, the last column downwards only, and the last pixel
    is never a boundary (the rule of the DAVIS toolkit's boundary map at the mask's own size).

    Args:
      mask: bool [height, width].

    Returns:
      bool [height, width].
    """
    padded = np.pad(mask, ((0, 1), (0, 1)), mode='edge')
    right, below, diagonal = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return (mask != right) | (mask != below) | (mask != diagonal)


@dataclasses.dataclass(frozen=True)
class SequenceStatistics:
    """What DAVIS reports of one object's J or F over the frames of a sequence."""

    mean: float
    recall: float  # share of frames above 0.5
    decay: float  # mean of the first quarter of the frames minus mean of the last


def sequence_statistics(scores: np.ndarray) -> SequenceStatistics:
    """Mean, recall and decay of the scores of one object.

    The quarters are [b0, b1] and [b3, b4] of the bounds b = round(linspace(1, time, 5)) - 1, both
    ends included, hence neighbouring quarters share a frame.

    Args:
      scores: float [time], the frames that count (see `scored_frames`).
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1 or not scores.size:
        raise ValueError(f'scores must be a non-empty vector, not of shape {scores.shape}.')
    # The toolkit nudges halves upwards before it rounds them to even.
    bounds = np.round(np.linspace(1, len(scores), 5) + 1e-10).astype(int) - 1
    first, last = scores[bounds[0] : bounds[1] + 1], scores[bounds[3] : bounds[4] + 1]
    return SequenceStatistics(
        mean=float(np.mean(scores)),
        recall=float(np.mean(scores > 0.5)),
        decay=float(np.mean(first) - np.mean(last)),
    )


def scored_frames(frame_count: int) -> slice:
    """The frames that DAVIS scores: all but the first, which is given, and the last.

    Raises:
      ValueError: fewer than three frames leave nothing to score.
    """
    if frame_count < 3:
        raise ValueError(f'{frame_count} frames: the first and last do not count, nothing is left.')
    return slice(1, frame_count - 1)


def _mask_pair(truth, prediction):
    truth, prediction = np.asarray(truth) != 0, np.asarray(prediction) != 0
    if truth.shape != prediction.shape or truth.ndim != 2:
        raise ValueError(f'Masks of shapes {truth.shape} and {prediction.shape} do not compare.')
    return truth, prediction


def _bounding_window(pixels):
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    if not rows.size:
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _within(pixels, radius):
    distance = cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Squared distances are whole numbers; the half keeps float32 roots on the right side.
    return np.square(distance) < radius**2 + 0.5


# Key points: PCK.


def is_lost(points: np.ndarray) -> np.ndarray:
    """Whether points have no position: x negative or not a number.

    Args:
      points: [..., 2].

    Returns:
      bool [...].
    """
    x = np.asarray(points)[..., 0]
    return np.isnan(x) | (x < 0)


@dataclasses.dataclass
class PckTally:
    """Counts of correct joints, from which PCK is taken once every video is in.

    Attributes:
      correct: int [thresholds, joints], joints within the threshold.
      counted: int [joints], joints that could have been.
      visible: int [joints], joints that the truth shows (in the scored frames).
      placed: int [joints], those of them that the method gave a position.
    """

    correct: np.ndarray
    counted: np.ndarray
    visible: np.ndarray
    placed: np.ndarray

    def __add__(self, other: 'PckTally') -> 'PckTally':
        names = [field.name for field in dataclasses.fields(self)]
        return PckTally(*(getattr(self, name) + getattr(other, name) for name in names))

    @property
    def per_joint(self) -> np.ndarray:
        """PCK of each joint: float [thresholds, joints], NaN for one that never counted."""
        with np.errstate(invalid='ignore'):
            return self.correct / self.counted

    @property
    def mean(self) -> np.ndarray:
        """Mean over the joints (not over the points): float [thresholds]."""
        return np.nanmean(self.per_joint, axis=-1)

    @property
    def coverage(self) -> float:
        """Share of the visible joints that have a predicted position."""
        return float(self.placed.sum() / max(self.visible.sum(), 1))


def pck_crw(
    truth: np.ndarray, prediction: np.ndarray, visible: np.ndarray | None = None,
    thresholds: Sequence[float] = PCK_THRESHOLDS,
) -> PckTally:
    """PCK as CRW and the work after it computes it: joints that the method lost do not count.

    Losing a joint is therefore free; read it beside its `coverage`, or use `pck_visible`.
    The size of a frame is 0.6 of the diagonal of the box of the counted joints' true positions; the
    first frame, whose joints are given, is skipped (videowalk, eval_pck.py).

    Args:
      truth: float [time, joints, 2], pixels of the frame, 0-based.
      prediction: float [time, joints, 2], the same pixels; lost joints have negative x.
      visible: bool [time, joints], for the coverage only; all if None.
      thresholds: shares of the size; an error equal to the threshold is correct.
    """
    return _pck(truth, prediction, ~is_lost(prediction), visible, thresholds)


def pck_visible(
    truth: np.ndarray, prediction: np.ndarray, visible: np.ndarray | None = None,
    thresholds: Sequence[float] = PCK_THRESHOLDS,
) -> PckTally:
    """PCK over the joints that the truth shows: a lost joint is a wrong joint.

    Box, thresholds and the skipped first frame as in `pck_crw`, but the box is that of the visible
    joints and so does not depend on the method.

    Args:
      truth: float [time, joints, 2], pixels of the frame, 0-based.
      prediction: float [time, joints, 2], the same pixels; lost joints have negative x.
      visible: bool [time, joints]; all if None.
      thresholds: shares of the size; an error equal to the threshold is correct.
    """
    counted = np.ones(np.shape(truth)[:-1], bool) if visible is None else np.asarray(visible, bool)
    return _pck(truth, prediction, counted, visible, thresholds)


def pck_sizes(truth: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """What PCK measures errors in: 0.6 of the diagonal of the box around the counted joints.

    Args:
      truth: float [time, joints, 2].
      counted: bool [time, joints].

    Returns:
      float [time], pixels; NaN in frames without a counted joint.
    """
    points = np.where(counted[..., None], truth, np.nan)
    sizes = np.full(len(points), np.nan)
    filled = counted.any(axis=1)
    extent = np.nanmax(points[filled], axis=1) - np.nanmin(points[filled], axis=1)
    sizes[filled] = PCK_BOX_SHARE * np.linalg.norm(extent, axis=-1)
    return sizes


def _pck(truth, prediction, counted, visible, thresholds):
    truth, prediction = _point_pair(truth, prediction)
    visible = np.ones_like(counted) if visible is None else np.asarray(visible, bool)
    lost = is_lost(prediction)
    errors = np.where(lost, np.inf, np.linalg.norm(prediction - truth, axis=-1))[1:]
    sizes = pck_sizes(truth, counted)[1:, None]
    right = [(errors <= threshold * sizes) & counted[1:] for threshold in thresholds]
    return PckTally(
        correct=np.sum(right, axis=1),
        counted=counted[1:].sum(axis=0),
        visible=visible[1:].sum(axis=0),
        placed=(visible & ~lost)[1:].sum(axis=0),
    )


def _point_pair(truth, prediction):
    truth, prediction = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    if truth.shape != prediction.shape or truth.shape[-1] != 2:
        raise ValueError(f'Points of shapes {truth.shape} and {prediction.shape} do not compare.')
    return truth, prediction


# Landmarks: errors a frame, their distribution, failures.


def point_errors(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Euclidean distance of each point: [..., points, 2] twice -> float [..., points]."""
    truth, prediction = _point_pair(truth, prediction)
    return np.linalg.norm(prediction - truth, axis=-1)


def root_mean_square_error(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Root of the points' mean squared distance: [..., points, 2] twice -> float [...]."""
    return np.sqrt(np.mean(np.square(point_errors(truth, prediction)), axis=-1))


def mean_point_error(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Mean distance over the points: [..., points, 2] twice -> float [...].

    Divided by the distance of the outer eye corners this is the measure of the 300-W and 300VW
    challenges, which their papers call point-to-point (RMS) error.
    """
    return np.mean(point_errors(truth, prediction), axis=-1)


def interocular_distance(landmarks: np.ndarray) -> np.ndarray:
    """Distance of the outer eye corners, points 37 and 46 (1-based) of the 68 of the 300-W markup.

    Args:
      landmarks: float [..., 68, 2].

    Returns:
      float [...], pixels.
    """
    if landmarks.shape[-2:] != (68, 2):
        raise ValueError(f'Expected 68 landmarks (x, y), not an array of shape {landmarks.shape}.')
    return np.linalg.norm(landmarks[..., 36, :] - landmarks[..., 45, :], axis=-1)


def box_diagonal(points: np.ndarray) -> np.ndarray:
    """Diagonal of the tight box around the points: [..., points, 2] -> float [...], pixels."""
    return np.linalg.norm(np.max(points, axis=-2) - np.min(points, axis=-2), axis=-1)


def cumulative_error(errors: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Share of frames whose error is at most each level (an error that is NaN exceeds every level).

    Args:
      errors: float [frames].
      levels: float [levels].

    Returns:
      float [levels].
    """
    errors = np.asarray(errors, np.float64)
    if errors.ndim != 1 or not errors.size:
        raise ValueError(f'errors must be a non-empty vector, not of shape {errors.shape}.')
    ordered = np.sort(np.where(np.isnan(errors), np.inf, errors))
    return np.searchsorted(ordered, levels, side='right') / errors.size


def area_under_cumulative_error(errors: np.ndarray, limit: float) -> float:
    """Area under the cumulative error curve from 0 to `limit`, divided by `limit`; no binning.

    The area is the mean over the frames of how far below the limit the error stays.
    """
    errors = np.nan_to_num(np.asarray(errors, np.float64), nan=np.inf)
    return float(np.mean(np.clip(1 - errors / limit, 0, 1)))


def failure_rate(errors: np.ndarray, limit: float) -> float:
    """Share of frames whose error exceeds `limit` or is NaN."""
    return 1.0 - float(cumulative_error(errors, np.array([limit]))[0])


# Tracked points with occlusion: TAP-Vid.


@dataclasses.dataclass(frozen=True)
class TapVidScores:
    """One video's numbers, all in [0, 1]; the vectors follow `TAPVID_THRESHOLDS`."""

    average_jaccard: float
    position_accuracy: float  # "< delta, averaged"
    occlusion_accuracy: float
    jaccard: np.ndarray
    within: np.ndarray


def tapvid_scores(
    truth: np.ndarray, occluded: np.ndarray, prediction: np.ndarray, predicted_occluded: np.ndarray,
    query_frames: np.ndarray, query_mode: str,
) -> TapVidScores:
    """TAP-Vid's measures of one video (Doersch et al. 2022); `mean_scores` averages videos.

    Evaluated are the frames after the query ('first') or all frames but the query's ('strided').

    * Occlusion accuracy: share of evaluated points whose occlusion flag is right.
    * Position accuracy: of the evaluated points that are visible in truth, the share closer than
      the threshold (strictly), whatever the predicted flag says; averaged over the thresholds.
    * Jaccard: true positives / (visible points + false positives). A true positive is visible in
      truth, predicted visible and close enough; a false positive is predicted visible, but occluded
      in truth or too far; visible points are the true positives and the false negatives.

    Args:
      truth: float [points, time, 2], pixels of the video resized to 256x256.
      occluded: bool [points, time].
      prediction: as `truth`; positions of occluded points are never read.
      predicted_occluded: bool [points, time].
      query_frames: int [points].
      query_mode: 'first' or 'strided'.

    Raises:
      ValueError: shapes disagree, the query mode is unknown, or no visible point is evaluated.
    """
    truth, prediction = _point_pair(truth, prediction)
    occluded, predicted_occluded = np.asarray(occluded, bool), np.asarray(predicted_occluded, bool)
    if not truth.shape[:-1] == occluded.shape == predicted_occluded.shape:
        raise ValueError(
            f'Occlusion flags of shapes {occluded.shape}, {predicted_occluded.shape} do not belong '
            f'to points of shape {truth.shape}.'
        )
    evaluated = _evaluated_frames(np.asarray(query_frames), truth.shape[1], query_mode)
    visible = ~occluded & evaluated
    if not visible.any():
        raise ValueError('No visible point is evaluated; leave this video out.')
    distance = np.linalg.norm(prediction - truth, axis=-1)
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
    """Mean over videos, each with the same weight however many points it has."""
    videos = list(videos)
    names = [field.name for field in dataclasses.fields(TapVidScores)]
    return TapVidScores(*(np.mean([getattr(v, name) for v in videos], axis=0) for name in names))


def _tapvid_at(close, visible, shown):
    close_and_visible = close & visible
    true_positives = np.count_nonzero(close_and_visible & shown)
    false_positives = np.count_nonzero(shown & ~close_and_visible)
    visible_count = np.count_nonzero(visible)
    return np.count_nonzero(close_and_visible) / visible_count, (
        true_positives / (visible_count + false_positives)
    )


def _evaluated_frames(query_frames, frame_count, query_mode):
    frames = np.arange(frame_count)
    if query_mode == 'first':
        return frames > query_frames[:, None]
    if query_mode == 'strided':
        return frames != query_frames[:, None]
    raise ValueError(f"query_mode is 'first' or 'strided', not {query_mode!r}.")
