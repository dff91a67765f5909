"""Errors of landmarks per frame, their cumulative curve and failures, as 300VW reports them."""

from __future__ import annotations

import numpy as np

from stfc3_tf.benchmarks.metrics.points import point_errors


def root_mean_square_error(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the root of the mean squared distance: two float [..., points, 2] -> [...]."""
    return np.sqrt(np.mean(np.square(point_errors(truth, prediction)), axis=-1))


def mean_point_error(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the mean distance over the points: two float [..., points, 2] -> [...].

    Divided by the distance of the outer eye corners this is the measure of the 300-W and 300VW
    challenges, which their papers call point-to-point (RMS) error.
    """
    return np.mean(point_errors(truth, prediction), axis=-1)


def interocular_distance(landmarks: np.ndarray) -> np.ndarray:
    """Return the distance of the outer eye corners, points 37 and 46 of the 68 (1-based).

    Args:
      landmarks: float [..., 68, 2], the markup of 300-W.

    Returns:
      float [...], pixels.

    Raises:
      ValueError: there are not 68 landmarks.
    """
    if landmarks.shape[-2:] != (68, 2):
        raise ValueError(f'Expected 68 landmarks (x, y), not an array of shape {landmarks.shape}.')
    return np.linalg.norm(landmarks[..., 36, :] - landmarks[..., 45, :], axis=-1)


def box_diagonal(points: np.ndarray) -> np.ndarray:
    """Return the diagonal of the tight box around the points: [..., points, 2] -> [...], pixels."""
    return np.linalg.norm(np.max(points, axis=-2) - np.min(points, axis=-2), axis=-1)


def cumulative_error(errors: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return the share of frames whose error is at most each level; NaN exceeds every level.

    Args:
      errors: float [frames].
      levels: float [levels].

    Returns:
      float [levels].

    Raises:
      ValueError: `errors` is not a vector, or is empty.
    """
    errors = np.asarray(errors, np.float64)
    if errors.ndim != 1 or not errors.size:
        raise ValueError(f'errors must be a non-empty vector, not of shape {errors.shape}.')
    ordered = np.sort(np.where(np.isnan(errors), np.inf, errors))
    return np.searchsorted(ordered, levels, side='right') / errors.size


def area_under_cumulative_error(errors: np.ndarray, limit: float) -> float:
    """Return the exact area under the cumulative error curve from 0 to `limit`, over `limit`.

    This is the mean over the frames of max(0, 1 - error / limit).
    """
    errors = np.nan_to_num(np.asarray(errors, np.float64), nan=np.inf)
    return float(np.mean(np.clip(1 - errors / limit, 0, 1)))


def failure_rate(errors: np.ndarray, limit: float) -> float:
    """Return the share of frames whose error exceeds `limit` or is NaN."""
    return 1.0 - float(cumulative_error(errors, np.array([limit]))[0])
