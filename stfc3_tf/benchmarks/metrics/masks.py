"""Region similarity J, boundary accuracy F and their statistics, as DAVIS-2017 defines them."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

BOUNDARY_TOLERANCE = 0.008


def region_similarity(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Return J, the intersection over union of two masks.

    Args:
      truth: bool [height, width] (anything else is compared with zero).
      prediction: the same shape.

    Returns:
      J in [0, 1]; 1 if both masks are empty.

    Raises:
      ValueError: the shapes differ.
    """
    truth, prediction = _mask_pair(truth, prediction)
    union = np.count_nonzero(truth | prediction)
    return np.count_nonzero(truth & prediction) / union if union else 1.0


def boundary_accuracy(
    truth: np.ndarray, prediction: np.ndarray, tolerance: float = BOUNDARY_TOLERANCE
) -> float:
    """Return F, the harmonic mean of precision and recall of the boundary pixels.

    A boundary pixel is right if the other mask has a boundary pixel at most
    ceil(tolerance * diagonal) pixels away (Euclidean), the reach of a disk as structuring element.

    Args:
      truth: bool [height, width] (anything else is compared with zero).
      prediction: the same shape.
      tolerance: share of the image diagonal; DAVIS uses 0.008.

    Returns:
      F in [0, 1]; 1 if neither mask has a boundary, 0 if only one has.

    Raises:
      ValueError: the shapes differ.
    """
    truth, prediction = _mask_pair(truth, prediction)
    height, width = truth.shape
    radius = int(np.ceil(tolerance * np.hypot(height, width)))
    truth_edge, prediction_edge = boundary(truth), boundary(prediction)
    window = _bounding_window(truth_edge | prediction_edge)
    truth_edge, prediction_edge = truth_edge[window], prediction_edge[window]
    if not truth_edge.any() or not prediction_edge.any():
        return float(truth_edge.any() == prediction_edge.any())
    precision = np.mean(_within(truth_edge, radius)[prediction_edge])
    recall = np.mean(_within(prediction_edge, radius)[truth_edge])
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def boundary(mask: np.ndarray) -> np.ndarray:
    """Mark the pixels that differ from the pixel to the right, below, or below to the right.

    The last row is compared only to the right, the last column only downwards, and the last pixel
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
    """The statistics of DAVIS for one object's J or F over the frames of a sequence.

    Attributes:
      mean: over the frames.
      recall: share of the frames above 0.5.
      decay: mean of the first quarter of the frames minus mean of the last quarter.
    """

    mean: float
    recall: float
    decay: float


def sequence_statistics(scores: np.ndarray) -> SequenceStatistics:
    """Return mean, recall and decay of the scores of one object.

    The quarters are [b0, b1] and [b3, b4] of the bounds b = round(linspace(1, time, 5)) - 1, both
    ends included, so neighbouring quarters share a frame.

    Args:
      scores: float [time], of the frames that count (see `scored_frames`).

    Raises:
      ValueError: `scores` is not a vector, or is empty.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1 or not scores.size:
        raise ValueError(f'scores must be a non-empty vector, not of shape {scores.shape}.')
    # The toolkit adds a little to halves before it rounds them to even.
    bounds = np.round(np.linspace(1, len(scores), 5) + 1e-10).astype(int) - 1
    first, last = scores[bounds[0] : bounds[1] + 1], scores[bounds[3] : bounds[4] + 1]
    return SequenceStatistics(
        mean=float(np.mean(scores)),
        recall=float(np.mean(scores > 0.5)),
        decay=float(np.mean(first) - np.mean(last)),
    )


def scored_frames(frame_count: int) -> slice:
    """Return the frames that DAVIS scores: all but the first, which is given, and the last.

    Raises:
      ValueError: fewer than three frames leave nothing to score.
    """
    if frame_count < 3:
        raise ValueError(
            f'{frame_count} frames: the first and the last do not count, so none is left to score.'
        )
    return slice(1, frame_count - 1)


def _mask_pair(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, prediction = np.asarray(truth) != 0, np.asarray(prediction) != 0
    if truth.shape != prediction.shape or truth.ndim != 2:
        raise ValueError(
            f'Masks of shapes {truth.shape} and {prediction.shape} cannot be compared.'
        )
    return truth, prediction


def _bounding_window(pixels: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    if not rows.size:
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _within(pixels: np.ndarray, radius: int) -> np.ndarray:
    """Mark the pixels at most `radius` away from one that is set."""
    distance = cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Squared distances are whole numbers; the half keeps rounded float32 roots on the right side.
    return np.square(distance) < radius**2 + 0.5
