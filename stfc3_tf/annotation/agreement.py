"""A choice of side between two labelled frames, by agreement with their known labels.

The labels that came to a frame from one side are carried in one step to both labelled frames, by
features alone, and compared with the labels given there. The side that agrees more is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stfc3_tf.propagation.settings import PropagationSettings

# So many cells of a labelled frame are compared, at most: enough to tell two label maps apart.
_MOST_CELLS = 1000
# By so much per frame must one side agree more than the other to move the change of sides away
# from the middle. It decides where both agree equally.
_LEAST = 0.01
# Frames before and after the change of sides in which both count.
_HALF_BLEND = 4


class Known(NamedTuple):
    """A labelled frame.

    Attributes:
      features: float32 [rows, columns, channels], of unit length.
      labels: float32 [rows, columns, labels].
    """

    features: np.ndarray
    labels: np.ndarray


def agreement(
    features: np.ndarray,
    sides: Sequence[np.ndarray],
    known: Sequence[Known],
    settings: PropagationSettings,
) -> np.ndarray:
    """Return how well labels of a frame agree with the labelled frames.

    Args:
      features: float32 [rows, columns, channels] of the frame, of unit length.
      sides: the labels that it got from each side, float32 [rows, columns, labels].
      known: the labelled frames.
      settings: `top_k` and `temperature` are used.

    Returns:
      float64 [sides, labels], 0 to 1: the intersection of carried and given labels in all labelled
      frames together, divided by their union.
    """
    labels = np.stack(sides)
    common, whole = np.zeros((2, len(sides), labels.shape[-1]))
    for each in known:
        step = int(np.ceil(np.sqrt(each.features[..., 0].size / _MOST_CELLS)))
        given = each.labels[::step, ::step].reshape(-1, labels.shape[-1])
        cells = each.features[::step, ::step].reshape(len(given), -1)
        carried = _carried(cells, features, labels, settings)
        common += np.minimum(carried, given).sum(axis=1)
        whole += np.maximum(carried, given).sum(axis=1)
    return common / np.maximum(whole, np.finfo(float).tiny)


def _carried(
    cells: np.ndarray, features: np.ndarray, labels: np.ndarray, settings: PropagationSettings
) -> np.ndarray:
    """Return the labels of cells of one frame from those of all cells of another frame.

    Args:
      cells: float32 [cells, channels].
      features: float32 [rows, columns, channels].
      labels: float32 [sides, rows, columns, labels].
      settings: see `agreement`.

    Returns:
      float32 [sides, cells, labels].
    """
    similarity = cells @ features.reshape(-1, features.shape[-1]).T
    count = min(settings.top_k, similarity.shape[1])
    best = np.argpartition(similarity, -count, axis=1)[:, -count:]
    similarity = np.take_along_axis(similarity, best, axis=1)
    largest = similarity.max(axis=1, keepdims=True)
    weights = np.exp((similarity - largest) / settings.temperature)
    weights /= weights.sum(axis=1, keepdims=True)
    flat = labels.reshape(len(labels), -1, labels.shape[-1])
    return np.einsum('ck,sckl->scl', weights, flat[:, best])


def shares(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """Return how much the labels from the earlier frame count in the frames between.

    Each label changes sides once, where the sum of the agreement of all frames is the largest. A
    few frames around it are blended, so that labels do not jump; so are those at a labelled frame
    next to the change.

    Args:
      forward: [frames, labels], the agreement of labels from the earlier frame, in order of time.
      backward: the same of those from the later frame.

    Returns:
      float64 [frames, labels], from 1 to 0; the rest counts for the later frame.
    """
    count = len(forward)
    # The change may lie between two frames or at one, so that equal sides meet in the middle.
    gain = np.cumsum(np.repeat((forward - backward) / 2, 2, axis=0), axis=0)
    gain = np.concatenate([np.zeros((1, gain.shape[1])), gain])
    places = np.arange(2 * count + 1) / 2
    gain -= _LEAST * np.abs(places - count / 2)[:, np.newaxis]
    change = 0.5 + places[gain.argmax(axis=0)]
    first = np.maximum(change - _HALF_BLEND, 0)
    last = np.minimum(change + _HALF_BLEND, count + 1)
    frames = np.arange(1, count + 1)[:, np.newaxis]
    return np.clip((last - frames) / (last - first), 0, 1)
