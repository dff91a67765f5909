"""Between a benchmark's labels and soft label maps, by each protocol's own resizing rules."""

import dataclasses

import gin
import numpy as np

from stfc3_tf import checks
from stfc3_tf import labels
from stfc3_tf.tracking import Geometry


@gin.configurable
@dataclasses.dataclass(frozen=True)
class MaskCodec:
    """Index masks, [height, width] of object numbers 1, 2, ... on background 0.

    Attributes:
      shrink: 'bilinear' (CRW: one-hot, then resized) or 'nearest' (VFS, DINO).
      normalise: 'none'; 'per_label' (VFS, DINO): each label is stretched to [0, 1] over the
        enlarged image before the largest is taken; or 'per_pixel' (CRW's norm_mask): each cell is
        stretched to [0, 1] over its labels before they are enlarged.
      decide_at: 'label' (VFS: labels are enlarged to the size of the mask, then the largest is
        taken) or 'input' (CRW, DINO: at the encoder's input size, then the nearest pixel).
    """

    shrink: str = 'bilinear'
    normalise: str = 'none'
    decide_at: str = 'label'

    def __post_init__(self):
        checks.one_of('MaskCodec.shrink', self.shrink, ('bilinear', 'nearest'))
        checks.one_of('MaskCodec.normalise', self.normalise, ('none', 'per_label', 'per_pixel'))
        checks.one_of('MaskCodec.decide_at', self.decide_at, ('label', 'input'))

    def encode(self, label: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Returns float32 [rows, columns, 1 + largest object number], channel 0 the background."""
        shrink = labels.mask_to_labels if self.shrink == 'bilinear' else labels.mask_to_hard_labels
        whole = shrink(label, range(1, int(label.max()) + 1), geometry.whole_grid_size)
        return _within(whole, geometry)

    def decode(self, soft: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Returns the mask, [label height, label width] of object numbers."""
        soft = _all_over(soft, geometry)
        size = geometry.label_size if self.decide_at == 'label' else geometry.input_size
        if self.normalise == 'per_label':
            soft = labels.minimum_to_maximum(labels.resize_bilinear(soft, size), (0, 1))
        elif self.normalise == 'per_pixel':
            soft = labels.minimum_to_maximum(soft, 2)
        mask = labels.labels_to_mask(soft, range(1, soft.shape[-1]), size)
        return labels.resize_nearest(mask, geometry.label_size)


@gin.configurable
@dataclasses.dataclass(frozen=True)
class PointCodec:
    """Key points, float [points, 2], (x, y), 0-based pixels; NaN for a point without a position.

    Attributes:
      convention: 'crw' (a stamp on a whole cell, pixel = cell * stride; what published PCKs were
        computed with) or 'exact' (a Gaussian at the true sub-cell position).
      sigma: of the Gaussian, in cells.
      top: with 'crw', how many of the largest cells are averaged.
      reach: with 'exact', how many cells around the largest are averaged.
    """

    convention: str = 'crw'
    sigma: float = 0.5
    top: int = 3
    reach: int = 2

    def __post_init__(self):
        checks.one_of('PointCodec.convention', self.convention, ('crw', 'exact'))
        checks.positive_number('PointCodec.sigma', self.sigma)
        checks.whole_number('PointCodec.top', self.top)
        checks.whole_number('PointCodec.reach', self.reach, least=0)

    def encode(self, label: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Returns float32 [rows, columns, points]; a point outside the image, or far from any cell, has an empty map."""
        if self.convention == 'crw':
            cells = label * _scale(geometry) / geometry.cell_grid.stride
            whole = labels.stamp_maps(cells, geometry.whole_grid_size, self.sigma)
            return _within(whole, geometry)
        points = (label + 0.5) * _scale(geometry) - 0.5
        return labels.gaussian_maps(points, geometry.grid_size, geometry.cell_grid, self.sigma)

    def decode(self, soft: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Returns float64 [points, 2], within the image; NaN where a map is empty."""
        if self.convention == 'crw':
            found = labels.stamp_peaks(soft, self.top) + geometry.margin
            points = found * geometry.cell_grid.stride / _scale(geometry)
        else:
            found = labels.locate(soft, geometry.cell_grid, self.reach)
            points = (found + 0.5) / _scale(geometry) - 0.5
        last_pixel = np.array(geometry.label_size[::-1]) - 1
        empty = ~soft.any(axis=(0, 1))[:, np.newaxis]
        return np.where(empty, np.nan, np.clip(points, 0, last_pixel))


def _within(whole: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The part of maps over all of the image that feature cells stand on."""
    rows, columns = geometry.grid_size
    margin = geometry.margin
    return whole[margin : margin + rows, margin : margin + columns]


def _all_over(maps: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Maps over all of the image: where no feature cell stands, the nearest one's labels."""
    margins = [
        (geometry.margin, whole - geometry.margin - inner)
        for whole, inner in zip(geometry.whole_grid_size, geometry.grid_size)
    ]
    return np.pad(maps, [*margins, (0, 0)], mode='edge')


def _scale(geometry: Geometry) -> np.ndarray:
    """Pixels of the encoder's input per pixel of the label image, (x, y)."""
    return np.array(geometry.input_size[::-1]) / np.array(geometry.label_size[::-1])
