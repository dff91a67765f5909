"""Conversion of masks and key points to soft label maps at the resolution of features, and back.

A label map is float32 [rows, columns, labels], one channel per label, on the grid of a feature map;
propagation carries it from frame to frame. A mask is the largest label at each pixel of the
enlarged maps, a key point the weighted mean position of cells.

There are two families of functions for key points. `stamp_maps` and `stamp_peaks` follow the
conventions of CRW's scripts, for numbers that compare with published ones: cells count from 0, a
pixel is its cell times the stride, and the peak is on a whole cell. `gaussian_maps` and `locate`
use the true centres of the cells, without rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from stfc3_tf.views.cell_grid import CellGrid

LOST = -1.0

# Masks.


def one_hot(mask: np.ndarray, identities: Sequence[int]) -> np.ndarray:
    """Return one channel per object, after one for the background, which is all the rest.

    Args:
      mask: int [height, width] of object numbers.
      identities: the objects to keep, channel 1 onwards.

    Returns:
      float32 [height, width, 1 + objects].
    """
    objects = np.asarray(mask)[..., None] == np.asarray(identities, int)
    background = ~objects.any(axis=-1, keepdims=True)
    return np.concatenate([background, objects], axis=-1).astype(np.float32)


def mask_to_labels(
    mask: np.ndarray, identities: Sequence[int], size: tuple[int, int]
) -> np.ndarray:
    """Return soft labels of a mask as CRW makes them: one-hot, then bilinear, not anti-aliased.

    Args:
      mask: int [height, width] of object numbers.
      identities: the objects, channel 1 onwards; channel 0 is the background.
      size: (rows, columns) of the grid; CRW's is (ceil(height / 8), ceil(width / 8)).

    Returns:
      float32 [rows, columns, 1 + objects].
    """
    return resize_bilinear(one_hot(mask, identities), size)


def mask_to_hard_labels(
    mask: np.ndarray, identities: Sequence[int], size: tuple[int, int]
) -> np.ndarray:
    """Return labels of a mask as VFS and DINO make them: each cell's nearest pixel, then one-hot.

    Args:
      mask: int [height, width] of object numbers.
      identities: the objects, channel 1 onwards; channel 0 is the background.
      size: (rows, columns) of the grid; DINO's is (height // patch, width // patch).

    Returns:
      float32 [rows, columns, 1 + objects].
    """
    return one_hot(resize_nearest(mask, size), identities)


def labels_to_mask(
    labels: np.ndarray, identities: Sequence[int], size: tuple[int, int]
) -> np.ndarray:
    """Return the object with the largest label at each pixel; labels are enlarged bilinearly.

    Args:
      labels: float [rows, columns, 1 + objects], channel 0 the background.
      identities: object numbers of channels 1 onwards.
      size: (height, width) of the mask.

    Returns:
      [height, width] of the smallest unsigned type that holds the object numbers; ties go to the
      earlier channel.

    Raises:
      ValueError: the numbers of labels and objects do not fit.
    """
    numbers = np.concatenate([[0], np.asarray(identities, int)])
    if labels.shape[-1] != len(numbers):
        raise ValueError(f'{labels.shape[-1]} labels for background and {len(identities)} objects.')
    numbers = numbers.astype(np.min_scalar_type(numbers.max()))
    return numbers[np.argmax(resize_bilinear(labels, size), axis=-1)]


def minimum_to_maximum(labels: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """Stretch labels to [0, 1], as `norm_mask` of the published scripts does.

    Args:
      labels: float [height, width, labels].
      axis: (0, 1) to stretch each label over the image (DINO and VFS, after enlarging), or 2 to
        stretch each pixel over its labels (CRW, before enlarging).

    Returns:
      The same shape; labels that are constant, or positive nowhere, are unchanged.
    """
    low, high = labels.min(axis=axis, keepdims=True), labels.max(axis=axis, keepdims=True)
    stretched = (high > low) & (high > 0)
    return np.where(stretched, (labels - low) / np.where(stretched, high - low, 1), labels)


def resize_bilinear(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize bilinearly: half-pixel centres, edges repeated, no anti-aliasing.

    Args:
      maps: float32 [height, width, channels].
      size: (height, width) of the result.

    Returns:
      float32 [height, width, channels].
    """
    height, width = size
    maps = np.asarray(maps, np.float32)
    resized = cv2.resize(maps, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized.reshape(height, width, maps.shape[-1])


def resize_nearest(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a mask: each new pixel is the old one under its centre.

    Args:
      mask: int [height, width], values below 2^31.
      size: (height, width) of the result.

    Returns:
      The mask's type, [height, width].
    """
    image = Image.fromarray(np.asarray(mask, np.int32))
    return np.asarray(image.resize(size[::-1], Image.Resampling.NEAREST)).astype(mask.dtype)


# Key points by the conventions of CRW's scripts.


def stamp_maps(cells: np.ndarray, size: tuple[int, int], sigma: float = 0.5) -> np.ndarray:
    """Return a small Gaussian for each point; its peak is 1, on a whole cell.

    With s = 6 sigma + 1 rounded down, the stamp covers the offsets -(s//2) ... s - 1 - s//2 from
    the cell s//2 + int(position - 3 sigma). `int` rounds towards zero: a point nearer than 3 sigma
    to the left or top edge moves inwards (videowalk, jhmdb.py, draw_labelmap_np). Parts outside the
    map are cut off.

    Args:
      cells: float [points, 2], (x, y) in cells: the 0-based pixel divided by the stride.
      size: (rows, columns).
      sigma: in cells.

    Returns:
      float32 [rows, columns, points]; zero where the stamp misses the map.
    """
    rows, columns = size
    cells = np.asarray(cells, np.float64).reshape(-1, 2)
    across, down = (_stamp(cells[:, i], extent, sigma) for i, extent in enumerate((columns, rows)))
    return np.einsum('pr,pc->rcp', down, across).astype(np.float32)


def _stamp(positions: np.ndarray, extent: int, sigma: float) -> np.ndarray:
    """Return one axis of the stamps, [points, extent]."""
    start = np.trunc(positions - 3 * sigma)
    stop = np.trunc(positions + 3 * sigma + 1)
    cell = np.arange(extent)
    offset = cell - (start + int(6 * sigma + 1) // 2)[:, None]
    covered = (cell >= start[:, None]) & (cell < stop[:, None])
    return np.where(covered, np.exp(-np.square(offset) / (2 * sigma**2)), 0)


def stamp_peaks(maps: np.ndarray, count: int = 3) -> np.ndarray:
    """Return the mean position of the `count` largest cells of each map, weighted by value.

    Among equal values the cell further up, then further left, comes first. A clean stamp has four
    tied neighbours, two of which are taken, so its position is 0.1065 cell up and left of its peak;
    that is CRW's number on the CPU (videowalk, test_utils.py, process_pose).

    Args:
      maps: float [rows, columns, points], not negative; without the background channel.
      count: how many cells.

    Returns:
      float64 [points, 2], (x, y) in cells; (-1, -1) for a map that is zero everywhere.
    """
    rows, columns, points = maps.shape
    values = np.ascontiguousarray(maps.reshape(rows * columns, points).T)
    best = _largest(values, min(count, rows * columns))
    weights = np.take_along_axis(values, best, axis=1).astype(np.float64)
    moments = np.stack([best % columns * weights, best // columns * weights], axis=-1)
    return _where_mass(moments.sum(axis=1), weights.sum(axis=1))


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the largest values of each row, [rows, count]; ties by index."""
    values = values.copy()
    best = np.empty((len(values), count), int)
    for place in range(count):
        best[:, place] = values.argmax(axis=1)
        np.put_along_axis(values, best[:, place : place + 1], -np.inf, axis=1)
    return best


def _where_mass(moments: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Return moments [points, 2] divided by mass [points], `LOST` where there is no mass."""
    found = (mass > 0)[:, None]
    return np.where(found, moments / np.where(found, mass[:, None], 1), LOST)


# Key points at their true positions.


def gaussian_maps(
    points: np.ndarray, size: tuple[int, int], grid: CellGrid, sigma: float = 0.75
) -> np.ndarray:
    """Return the Gaussian about each point, evaluated at the true centres of the cells.

    Args:
      points: float [points, 2], (x, y), 0-based pixels of the image the features were made from.
      size: (rows, columns) of the feature map.
      grid: positions of the cells in that image.
      sigma: in cells; with a narrower Gaussian, `locate` is less exact for points between cells
        (error 0.01 cell at 0.75, 0.03 at 0.5, 0.08 at 0.4).

    Returns:
      float32 [rows, columns, points], 1 where a point meets a cell's centre; zero beyond 3 sigma
      along either axis and for lost points (NaN).
    """
    cells = (np.asarray(points, np.float64).reshape(-1, 2) - grid.first) / grid.stride
    across, down = (_gaussian(cells[:, i], extent, sigma) for i, extent in enumerate(size[::-1]))
    return np.einsum('pr,pc->rcp', down, across).astype(np.float32)


def _gaussian(positions: np.ndarray, extent: int, sigma: float) -> np.ndarray:
    """Return one axis of the Gaussians, [points, extent]."""
    offset = np.arange(extent) - positions[:, None]
    near = np.abs(offset) <= 3 * sigma
    return np.where(near, np.exp(-np.square(np.where(near, offset, 0)) / (2 * sigma**2)), 0)


def locate(maps: np.ndarray, grid: CellGrid, reach: int = 2) -> np.ndarray:
    """Return the mean centre of the cells around each map's largest, weighted by value.

    It recovers the points that `gaussian_maps` was given to 0.012 cell at its default sigma, if
    they are at least `reach` cells inside the outermost centres. Nearer to the edge a part of the
    Gaussian is missing and the mean moves inwards, at the outermost centres by a third of a cell.

    Args:
      maps: float [rows, columns, points], not negative.
      grid: positions of the cells in the image.
      reach: the square of 2 * reach + 1 cells around the largest is used.

    Returns:
      float64 [points, 2], (x, y), pixels of the image; (-1, -1) for a map that is zero everywhere.
    """
    rows, columns, points = maps.shape
    peak = np.argmax(maps.reshape(rows * columns, points), axis=0)
    in_rows = np.abs(np.arange(rows)[:, None] - peak // columns) <= reach
    in_columns = np.abs(np.arange(columns)[:, None] - peak % columns) <= reach
    near = maps * in_rows[:, None] * in_columns
    across, down = near.sum(axis=0, dtype=np.float64), near.sum(axis=1, dtype=np.float64)
    x = grid.first + grid.stride * np.arange(columns)
    y = grid.first + grid.stride * np.arange(rows)
    return _where_mass(np.stack([x @ across, y @ down], axis=-1), across.sum(axis=0))
