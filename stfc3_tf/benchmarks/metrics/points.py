"""Functions that the metrics of points share."""

from __future__ import annotations

import numpy as np


def is_lost(points: np.ndarray) -> np.ndarray:
    """Return whether points have no position: x is negative or not a number.

    Args:
      points: float [..., 2], (x, y).

    Returns:
      bool [...].
    """
    x = np.asarray(points)[..., 0]
    return np.isnan(x) | (x < 0)


def point_errors(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance of each point: two float [..., points, 2] -> [..., points].

    Raises:
      ValueError: the shapes differ.
    """
    truth, prediction = point_pair(truth, prediction)
    return np.linalg.norm(prediction - truth, axis=-1)


def point_pair(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float64; raise ValueError unless both are [..., 2] of one shape."""
    truth, prediction = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    if truth.shape != prediction.shape or truth.shape[-1] != 2:
        raise ValueError(
            f'Points of shapes {truth.shape} and {prediction.shape} cannot be compared.'
        )
    return truth, prediction
