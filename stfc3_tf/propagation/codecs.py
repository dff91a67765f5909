"""Conversion of a benchmark's labels to soft label maps and back, as each protocol does it."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses

import gin
import numpy as np

from stfc3_tf import checks
from stfc3_tf.propagation import cell_centres, label_maps
from stfc3_tf.propagation.label_geometry import Geometry

# Cells. A Gaussian ends at three sigma: with less, a point half-way between cells has no label.
_SIGMAS = (1 / 6, 1000)


@gin.configurable
@dataclasses.dataclass(frozen=True)
class MaskCodec:
    """Converts index masks, [height, width] of object numbers 1, 2, … on background 0.

    Attributes:
      shrink: 'bilinear' (CRW: one-hot, then resized), 'nearest' (VFS, DINO) or 'exact' (the mean
        around the true centre of each cell; labels are also enlarged from these centres. The
        others take cells for tiles of the image, which is wrong by half a cell).
      normalise: 'none'; 'per_label' (VFS, DINO): each label is stretched to [0, 1] over the
        enlarged image before the largest label is taken; or 'per_pixel' (CRW's norm_mask): each
        cell is stretched to [0, 1] over its labels before they are enlarged.
      decide_at: 'label' (VFS: labels are enlarged to the size of the mask, then the largest label
        is taken) or 'input' (CRW, DINO: the same at the encoder's input size, then the nearest
        pixel).
    """

    shrink: str = 'bilinear'
    normalise: str = 'none'
    decide_at: str = 'label'

    def __post_init__(self) -> None:
        checks.one_of('MaskCodec.shrink', self.shrink, ('bilinear', 'nearest', 'exact'))
        checks.one_of('MaskCodec.normalise', self.normalise, ('none', 'per_label', 'per_pixel'))
        checks.one_of('MaskCodec.decide_at', self.decide_at, ('label', 'input'))

    def encode(self, label: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Return the soft label maps of a mask.

        Args:
          label: int [height, width] of object numbers.
          geometry: the sizes of mask and maps.

        Returns:
          float32 [rows, columns, 1 + largest object number], channel 0 the background.
        """
        objects = range(1, int(label.max()) + 1)
        if self.shrink == 'exact':
            return _each_channel(cell_centres.means, label_maps.one_hot(label, objects), geometry)
        shrink = (
            label_maps.mask_to_labels
            if self.shrink == 'bilinear'
            else label_maps.mask_to_hard_labels
        )
        return _within(shrink(label, objects, geometry.whole_grid_size), geometry)

    def decode(self, soft: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Return the mask of soft label maps.

        Args:
          soft: float32 [rows, columns, 1 + objects].
          geometry: the sizes of mask and maps.

        Returns:
          Unsigned [label height, label width] of object numbers.
        """
        size = geometry.label_size if self.decide_at == 'label' else geometry.input_size
        if self.normalise == 'per_pixel':
            soft = label_maps.minimum_to_maximum(soft, 2)
        soft = self._enlarged(soft, geometry._replace(label_size=size))
        if self.normalise == 'per_label':
            soft = label_maps.minimum_to_maximum(soft, (0, 1))
        mask = label_maps.labels_to_mask(soft, range(1, soft.shape[-1]), size)
        return label_maps.resize_nearest(mask, geometry.label_size)

    def _enlarged(self, soft: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Return soft labels at `label_size`."""
        if self.shrink == 'exact':
            return _each_channel(cell_centres.enlarged, soft, geometry)
        return label_maps.resize_bilinear(_all_over(soft, geometry), geometry.label_size)


@gin.configurable
@dataclasses.dataclass(frozen=True)
class PointCodec:
    """Converts key points, float [points, 2], (x, y), 0-based pixels, NaN without a position.

    Attributes:
      convention: 'crw' (a stamp on a whole cell, pixel = cell * stride, as for published PCKs) or
        'exact' (a Gaussian at the true sub-cell position).
      sigma: of the Gaussian, in cells.
      top: with 'crw', how many of the largest cells are averaged.
      reach: with 'exact', how many cells around the largest are averaged.
    """

    convention: str = 'crw'
    sigma: float = 0.5
    top: int = 3
    reach: int = 2

    def __post_init__(self) -> None:
        checks.one_of('PointCodec.convention', self.convention, ('crw', 'exact'))
        checks.between('PointCodec.sigma', self.sigma, *_SIGMAS)
        checks.whole_number('PointCodec.top', self.top)
        checks.whole_number('PointCodec.reach', self.reach, least=0)

    def encode(self, label: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Return one map per point; it is zero for a point outside the image or far from all cells.

        Args:
          label: float [points, 2], (x, y).
          geometry: the sizes of image and maps.

        Returns:
          float32 [rows, columns, points].
        """
        if self.convention == 'crw':
            cells = label * _scale(geometry) / geometry.cell_grid.stride
            whole = label_maps.stamp_maps(cells, geometry.whole_grid_size, self.sigma)
            return _within(whole, geometry)
        points = (label + 0.5) * _scale(geometry) - 0.5
        return label_maps.gaussian_maps(points, geometry.grid_size, geometry.cell_grid, self.sigma)

    def decode(self, soft: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Return the points of soft label maps.

        Args:
          soft: float32 [rows, columns, points].
          geometry: the sizes of image and maps.

        Returns:
          float64 [points, 2], (x, y), within the image; NaN if a map is zero.
        """
        if self.convention == 'crw':
            found = label_maps.stamp_peaks(soft, self.top) + geometry.margin
            points = found * geometry.cell_grid.stride / _scale(geometry)
        else:
            found = label_maps.locate(soft, geometry.cell_grid, self.reach)
            points = (found + 0.5) / _scale(geometry) - 0.5
        last_pixel = np.array(geometry.label_size[::-1]) - 1
        empty = ~soft.any(axis=(0, 1))[:, np.newaxis]
        return np.where(empty, np.nan, np.clip(points, 0, last_pixel))


def _each_channel(
    resample: Callable[[np.ndarray, Geometry], np.ndarray], maps: np.ndarray, geometry: Geometry
) -> np.ndarray:
    """Resample maps [height, width, channels] channel by channel."""
    return np.stack([resample(channel, geometry) for channel in np.moveaxis(maps, -1, 0)], axis=-1)


def _within(whole: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Crop maps of the whole image to the feature cells."""
    rows, columns = geometry.grid_size
    margin = geometry.margin
    return whole[margin : margin + rows, margin : margin + columns]


def _all_over(maps: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Extend maps to the whole image by repeating the nearest feature cells."""
    margins = [
        (geometry.margin, whole - geometry.margin - inner)
        for whole, inner in zip(geometry.whole_grid_size, geometry.grid_size)
    ]
    return np.pad(maps, [*margins, (0, 0)], mode='edge')


def _scale(geometry: Geometry) -> np.ndarray:
    """Return pixels of the encoder's input per pixel of the label image, (x, y)."""
    return np.array(geometry.input_size[::-1]) / np.array(geometry.label_size[::-1])
