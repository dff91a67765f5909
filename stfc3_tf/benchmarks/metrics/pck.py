"""PCK: the share of key points that are predicted close enough to the truth."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import numpy as np

from stfc3_tf.benchmarks.metrics.points import is_lost, point_errors, point_pair

PCK_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)
# PCK measures errors in this share of the diagonal of the joints' box (videowalk, eval_pck.py).
PCK_BOX_SHARE = 0.6


@dataclasses.dataclass
class PckTally:
    """Counts of correct joints; PCK is taken from their sum over all videos.

    Attributes:
      correct: int [thresholds, joints], joints within the threshold.
      counted: int [joints], joints that could have been correct.
      visible: int [joints], joints that the truth shows (in the scored frames).
      placed: int [joints], the visible ones to which the method gave a position.
    """

    correct: np.ndarray
    counted: np.ndarray
    visible: np.ndarray
    placed: np.ndarray

    def __add__(self, other: PckTally) -> PckTally:
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
    truth: np.ndarray,
    prediction: np.ndarray,
    visible: np.ndarray | None = None,
    thresholds: Sequence[float] = PCK_THRESHOLDS,
) -> PckTally:
    """Return PCK as CRW and later work compute it: joints that the method lost do not count.

    So a lost joint costs nothing; read this together with its `coverage`, or use `pck_visible`.
    Errors are measured against 0.6 of the diagonal of the box of the counted joints' true
    positions. The first frame, whose joints are given, is skipped (videowalk, eval_pck.py).

    Args:
      truth: float [time, joints, 2], pixels of the frame, 0-based.
      prediction: float [time, joints, 2], the same pixels; lost joints have negative x or NaN.
      visible: bool [time, joints], for the coverage only; all if None.
      thresholds: shares of the size; an error equal to the threshold is correct.

    Returns:
      The counts, from which PCK follows.
    """
    return _pck(truth, prediction, ~is_lost(prediction), visible, thresholds)


def pck_visible(
    truth: np.ndarray,
    prediction: np.ndarray,
    visible: np.ndarray | None = None,
    thresholds: Sequence[float] = PCK_THRESHOLDS,
) -> PckTally:
    """Return PCK over the joints that the truth shows: a lost joint is a wrong joint.

    Box, thresholds and the skipped first frame are as in `pck_crw`, but the box is that of the
    visible joints and so does not depend on the method.

    Args:
      truth: see `pck_crw`.
      prediction: see `pck_crw`.
      visible: bool [time, joints]; all if None.
      thresholds: see `pck_crw`.

    Returns:
      The counts, from which PCK follows.
    """
    counted = np.ones(np.shape(truth)[:-1], bool) if visible is None else np.asarray(visible, bool)
    return _pck(truth, prediction, counted, visible, thresholds)


def pck_sizes(truth: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Return the unit of PCK's errors: 0.6 of the diagonal of the box of the counted joints.

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


def _pck(
    truth: np.ndarray,
    prediction: np.ndarray,
    counted: np.ndarray,
    visible: np.ndarray | None,
    thresholds: Sequence[float],
) -> PckTally:
    truth, prediction = point_pair(truth, prediction)
    visible = np.ones_like(counted) if visible is None else np.asarray(visible, bool)
    lost = is_lost(prediction)
    errors = np.where(lost, np.inf, point_errors(truth, prediction))[1:]
    sizes = pck_sizes(truth, counted)[1:, None]
    right = [(errors <= threshold * sizes) & counted[1:] for threshold in thresholds]
    return PckTally(
        correct=np.sum(right, axis=1),
        counted=counted[1:].sum(axis=0),
        visible=visible[1:].sum(axis=0),
        placed=(visible & ~lost)[1:].sum(axis=0),
    )
