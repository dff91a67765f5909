"""Conversion of users' labels to soft label maps and back, at the true centres of the cells."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stfc3_tf import errors, wording
from stfc3_tf.propagation import cell_centres, codecs
from stfc3_tf.propagation.label_geometry import Geometry

_NOTHING = np.float32(1e-6)
# Of the cells for which the size of a point's map was chosen, in pixels.
_USUAL_STRIDE = 8
# A point with at least this confidence counts as visible.
VISIBLE_ABOVE = 0.2


class MaskLabel(NamedTuple):
    """Objects in one frame.

    Attributes:
      mask: unsigned [height, width] of object numbers, 0 the background.
      confidence: 0 to 1 for each object, by number: its mean soft label in the cells where it is
        the largest, 0 if there are none; 1 in the labelled frame. It is not a probability: it falls
        where the context frames disagree.
    """

    mask: np.ndarray
    confidence: dict[int, float]


class PointLabel(NamedTuple):
    """Points in one frame.

    Attributes:
      points: float64 [points, 2], (x, y) in pixels, pixel centres at integers; NaN for a lost
        point.
      confidence: float64 [points], 0 to 1: the largest soft label of the point, divided by that of
        a new label at this position; 1 in the labelled frame. It is not a probability: it falls
        where the point is occluded or its surroundings look alike.
    """

    points: np.ndarray
    confidence: np.ndarray

    def visible(self, above: float = VISIBLE_ABOVE) -> np.ndarray:
        """Return which points count as visible: bool [points], confidence of `above` or more."""
        return np.isfinite(self.points).all(axis=-1) & (self.confidence >= above)


class MaskCodec:
    """Converts between `MaskLabel` and soft label maps, with channel 0 for the background.

    The label of a cell is the mean over the pixels around its centre. The label of a pixel is
    interpolated between the true centres of the cells. (The benchmarks' codec does so with
    `shrink='exact'`; otherwise it follows published scripts.)

    Channels are resampled one by one, so memory does not grow with the number of objects.
    """

    first_channel = 1

    def __init__(self, numbers: list[int]):
        self._numbers = numbers

    def encode(self, label: MaskLabel, geometry: Geometry) -> np.ndarray:
        """Return `maps`; raise UserError if an object is the largest in no cell, and so lost."""
        soft = self.maps(label, geometry)
        for number in set(self._numbers) - self.winners(soft):
            raise too_small(number, int(np.sum(label.mask == number)), geometry)
        return soft

    def maps(self, label: MaskLabel, geometry: Geometry) -> np.ndarray:
        """Return float32 [rows, columns, 1 + objects]; other objects are background."""
        soft = np.empty((*geometry.grid_size, 1 + len(self._numbers)), np.float32)
        for channel, number in enumerate([0, *self._numbers]):
            soft[..., channel] = cell_centres.means(label.mask == number, geometry)
        return soft

    def winners(self, soft: np.ndarray) -> set[int]:
        """Return the objects that have the largest label of a cell."""
        channels = np.unique(soft.argmax(axis=-1)).tolist()
        return {self._numbers[channel - 1] for channel in channels if channel}

    def decode(self, soft: np.ndarray, geometry: Geometry) -> MaskLabel:
        """Return the mask at the size of the frames."""
        mask = np.zeros(geometry.label_size, np.min_scalar_type(self._numbers[-1]))
        most = np.full(geometry.label_size, -np.inf, np.float32)
        for channel, number in enumerate([0, *self._numbers]):
            share = cell_centres.enlarged(soft[..., channel], geometry)
            mask[share > most] = number
            np.maximum(most, share, out=most)
        return MaskLabel(mask, self._confidence(soft))

    def _confidence(self, soft: np.ndarray) -> dict[int, float]:
        """Return the mean soft label of each object in the cells where it is the largest."""
        winner = soft.argmax(axis=-1)
        won = {
            number: soft[winner == channel, channel]
            for channel, number in enumerate(self._numbers, 1)
        }
        return {
            number: min(1.0, float(cells.mean())) if len(cells) else 0.0
            for number, cells in won.items()
        }

    def meet(self, forward: np.ndarray, backward: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Return the labels of a frame between two labelled ones, from both sides.

        Args:
          forward: float32 [rows, columns, 1 + objects], propagated from the earlier frame.
          backward: float32 [rows, columns, 1 + objects], propagated from the later frame.
          share: of the earlier frame, 0 to 1, float64 [1 + objects].

        Returns:
          float32 [rows, columns, 1 + objects].
        """
        mixed = (share * forward + (1 - share) * backward).astype(np.float32)
        # What no object takes is background, whichever side the objects come from.
        mixed[..., 0] = np.maximum(1 - mixed[..., 1:].sum(axis=-1), 0)
        return _distribution(mixed)

    def finished(self, soft: np.ndarray) -> np.ndarray:
        """Return labels from one side only, normalised to the sum 1."""
        return _distribution(soft)


def _distribution(soft: np.ndarray) -> np.ndarray:
    """Return labels normalised to the sum 1 in every cell; empty cells become background."""
    total = soft.sum(axis=-1, keepdims=True)
    background = np.eye(soft.shape[-1], dtype=np.float32)[0]
    return np.where(total > _NOTHING, soft / np.maximum(total, _NOTHING), background)


def too_small(number: int, pixels: int, geometry: Geometry) -> errors.UserError:
    """Return the error for an object that is lost between the cells.

    Args:
      number: of the object.
      pixels: how many it has.
      geometry: of the frame.

    Returns:
      The error.
    """
    extent = cell_centres.extent(geometry)
    return errors.UserError(
        f'Object {number} of the mask, {wording.counted(pixels, "pixel")}, is lost between '
        f'feature cells of {extent[0]}x{extent[1]} pixels: mark more of it, leave it out, or '
        'raise short_side.'
    )


class PointCodec:
    """Converts between `PointLabel` and soft label maps, one channel per point, sub-cell exact."""

    first_channel = 0

    def encode(self, label: PointLabel, geometry: Geometry) -> np.ndarray:
        """Return float32 [rows, columns, points]."""
        return self._codec(geometry).encode(label.points, geometry)

    maps = encode

    def decode(self, soft: np.ndarray, geometry: Geometry) -> PointLabel:
        """Return the points in pixels of the frames."""
        codec = self._codec(geometry)
        points = codec.decode(soft, geometry)
        largest = codec.encode(points, geometry).max(axis=(0, 1)).astype(np.float64)
        share = soft.max(axis=(0, 1)) / np.where(largest > 0, largest, np.inf)
        return PointLabel(points, np.minimum(share, 1))

    def _codec(self, geometry: Geometry) -> codecs.PointCodec:
        """Return the codec of cells of this size; a point is not smaller in finer cells."""
        finer = max(_USUAL_STRIDE / geometry.cell_grid.stride, 1.0)
        return codecs.PointCodec(convention='exact', sigma=0.75 * finer, reach=round(2 * finer))

    def meet(self, forward: np.ndarray, backward: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Return the labels of a frame between two labelled ones, from both sides.

        Args:
          forward: float32 [rows, columns, points], propagated from the earlier frame.
          backward: float32 [rows, columns, points], propagated from the later frame.
          share: of the earlier frame, 0 to 1, float64 [points].

        Returns:
          float32 [rows, columns, points].
        """
        return (share * forward + (1 - share) * backward).astype(np.float32)

    def finished(self, soft: np.ndarray) -> np.ndarray:
        """Return labels from one side only, which need no normalisation."""
        return soft
