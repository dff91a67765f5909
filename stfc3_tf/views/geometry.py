"""Crops and flips as matrices, and features warped from the grid of one view to that of another.

Conventions of the whole project:

* A matrix is 3x3, acts on homogeneous column vectors (x, y, 1), x to the right and y down, and is
  named `target_from_source`: `view_from_frame` takes frame coordinates to view coordinates.
  Composition is a matrix product.
* Coordinates are normalised to the image box: -1 is the left edge of the left pixel, +1 the right
  edge of the right pixel. Pixel p of W has its centre at (2p + 1) / W - 1. So a matrix means the
  same at frame, view and feature resolution.
* The position of a feature cell is the centre of its receptive field (`CellGrid`). Cell i of a
  padded stride-8 ResNet is centred on pixel 8i, not in the middle of pixels 8i .. 8i+7. A warp that
  ignores this is wrong by up to 7/8 of a cell when one of the two views is flipped.

Crops and flips are axis-aligned, so a bilinear warp is separable: two small interpolation matrices,
R_y F R_x^T. Its gradient is exact; neither a gather nor a custom operation is needed.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.views.cell_grid import CellGrid

EXACT = 'exact'
RELEASED = 'released'


class CellCentres(NamedTuple):
    """Cells along one axis in normalised coordinates: cell i is centred at `first + step * i`."""

    count: int  # type: ignore[assignment]  # hides tuple.count
    first: float
    step: float


def receptive_field_centres(count: int, image_size: int, grid: CellGrid) -> CellCentres:
    """Return the centres of the receptive fields of cells in an image.

    Args:
      count: number of cells along the axis.
      image_size: pixels along the axis.
      grid: the pixels on which the cells are centred.

    Returns:
      The centres in normalised coordinates.
    """
    return CellCentres(count, (2 * grid.first + 1) / image_size - 1, 2 * grid.stride / image_size)


def corner_aligned_centres(count: int) -> CellCentres:
    """Return cells from -1 to +1 (`align_corners=True`), as in the authors' code."""
    return CellCentres(count, -1.0, 2 / max(count - 1, 1))


def cell_centres(convention: str, count: int, image_size: int, grid: CellGrid) -> CellCentres:
    """Return the cells along one axis under a warp convention.

    Args:
      convention: the setting `warp_convention`: 'exact' or 'released'.
      count: number of cells along the axis.
      image_size: pixels along the axis.
      grid: the pixels on which the cells are centred.

    Returns:
      The centres in normalised coordinates.

    Raises:
      errors.UserError: the convention is another.
    """
    if convention == EXACT:
        return receptive_field_centres(count, image_size, grid)
    if convention == RELEASED:
        return corner_aligned_centres(count)
    raise errors.UserError(
        f"Learner.warp_convention = '{convention}': choose '{EXACT}' (cells at their "
        f"receptive-field centres) or '{RELEASED}' (the authors' align_corners grid)."
    )


def view_from_frame(box: tf.Tensor, flip: tf.Tensor) -> tf.Tensor:
    """Return the matrix of a crop and a horizontal flip after it (B_theta of the paper).

    Args:
      box: float32 [..., 4], (left, top, right, bottom) of the crop in normalised frame coordinates.
      flip: bool [...], True to flip.

    Returns:
      float32 [..., 3, 3]: takes the box to [-1, 1] x [-1, 1].
    """
    left, top, right, bottom = tf.unstack(tf.cast(box, tf.float32), axis=-1)
    x_scale = tf.where(flip, -2.0, 2.0) / (right - left)
    y_scale = 2.0 / (bottom - top)
    return axis_aligned(
        x_scale, y_scale, -x_scale * (left + right) / 2, -y_scale * (top + bottom) / 2
    )


def axis_aligned(
    x_scale: tf.Tensor, y_scale: tf.Tensor, x_shift: tf.Tensor, y_shift: tf.Tensor
) -> tf.Tensor:
    """Return the matrices that scale, then shift.

    Args:
      x_scale: float32 [...].
      y_scale: float32 [...].
      x_shift: float32 [...], added after the scaling.
      y_shift: float32 [...].

    Returns:
      float32 [..., 3, 3].
    """
    zero, one = tf.zeros_like(x_scale), tf.ones_like(x_scale)
    entries = [x_scale, zero, x_shift, zero, y_scale, y_shift, zero, zero, one]
    return tf.reshape(tf.stack(entries, axis=-1), tf.concat([tf.shape(x_scale), [3, 3]], axis=0))


def inverse(matrix: tf.Tensor) -> tf.Tensor:
    """Return the inverses of axis-aligned matrices [..., 3, 3], in closed form."""
    x_scale, y_scale = matrix[..., 0, 0], matrix[..., 1, 1]
    return axis_aligned(
        1 / x_scale, 1 / y_scale, -matrix[..., 0, 2] / x_scale, -matrix[..., 1, 2] / y_scale
    )


def backward_from_forward(
    backward_from_frame: tf.Tensor, forward_from_frame: tf.Tensor
) -> tf.Tensor:
    """Return B_fb = B_b B_f^-1 (section 3.3) of matrices [..., 3, 3]."""
    return tf.matmul(backward_from_frame, inverse(forward_from_frame))


def _interpolation_weights(position: tf.Tensor, count: int) -> tf.Tensor:
    """Return bilinear weights [..., targets, count] for fractional cell indices [..., targets].

    Beyond the last cell the weights fall linearly to zero: what is outside counts as zero.
    """
    cells = tf.range(count, dtype=position.dtype)
    return tf.nn.relu(1 - tf.abs(position[..., tf.newaxis] - cells))


def _mapped_position(scale: tf.Tensor, shift: tf.Tensor, centres: CellCentres) -> tf.Tensor:
    """Return fractional cell indices [batch, cells] of the cells mapped by x -> scale x + shift."""
    position = centres.first + centres.step * tf.range(centres.count, dtype=tf.float32)
    mapped = scale[:, tf.newaxis] * position + shift[:, tf.newaxis]
    return (mapped - centres.first) / centres.step


def _axis_weights(source_from_target: tf.Tensor, rows: CellCentres, columns: CellCentres):
    """Return the interpolation matrices R_y [batch, rows, rows], R_x [batch, columns, columns]."""
    y = _mapped_position(source_from_target[:, 1, 1], source_from_target[:, 1, 2], rows)
    x = _mapped_position(source_from_target[:, 0, 0], source_from_target[:, 0, 2], columns)
    return _interpolation_weights(y, rows.count), _interpolation_weights(x, columns.count)


def warp(
    features: tf.Tensor, source_from_target: tf.Tensor, rows: CellCentres, columns: CellCentres
) -> tf.Tensor:
    """Return the source map read bilinearly at each target cell, T_B(F) of equation (9).

    Args:
      features: float32 [batch, rows, columns, channels] of the source view.
      source_from_target: float32 [batch, 3, 3], axis-aligned; to warp with B_fb pass its inverse.
      rows: positions of the rows, in both views.
      columns: positions of the columns, in both views.

    Returns:
      float32 [batch, rows, columns, channels]; zero outside of the source. It falls to zero within
      one cell.
    """
    row_weights, column_weights = _axis_weights(source_from_target, rows, columns)
    shape = tf.shape(features)
    lines = tf.reshape(features, [shape[0], rows.count, columns.count * features.shape[-1]])
    lines = tf.reshape(tf.matmul(row_weights, lines), shape)
    return tf.matmul(column_weights[:, tf.newaxis], lines)


def visibility(
    source_from_target: tf.Tensor, rows: CellCentres, columns: CellCentres, threshold: float = 0.5
) -> tf.Tensor:
    """Return which target cells are inside the source view, M_b of equation (11).

    Args:
      source_from_target: float32 [batch, 3, 3], axis-aligned.
      rows: positions of the rows, in both views.
      columns: positions of the columns, in both views.
      threshold: of the warp of a map of ones.

    Returns:
      bool [batch, rows, columns].
    """
    row_weights, column_weights = _axis_weights(source_from_target, rows, columns)
    row_mass = tf.reduce_sum(row_weights, axis=-1)
    column_mass = tf.reduce_sum(column_weights, axis=-1)
    return row_mass[:, :, tf.newaxis] * column_mass[:, tf.newaxis, :] > threshold


def nearest_cells(
    target_from_source: tf.Tensor, rows: CellCentres, columns: CellCentres
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the target cell on which each source cell falls: its position mapped, and rounded.

    Args:
      target_from_source: float32 [batch, 3, 3], axis-aligned.
      rows: positions of the rows, in both views.
      columns: positions of the columns, in both views.

    Returns:
      int32 [batch, rows * columns], the flat index row * columns + column of the target cell; 0
      where there is none. bool [batch, rows * columns], whether there is one: the source cell falls
      on the target's grid, or at most half a cell beside it.
    """
    y = _mapped_position(target_from_source[:, 1, 1], target_from_source[:, 1, 2], rows)
    x = _mapped_position(target_from_source[:, 0, 0], target_from_source[:, 0, 2], columns)
    row, row_inside = _rounded(y, rows.count)
    column, column_inside = _rounded(x, columns.count)
    cell = row[:, :, tf.newaxis] * columns.count + column[:, tf.newaxis]
    inside = row_inside[:, :, tf.newaxis] & column_inside[:, tf.newaxis]
    nodes = [-1, rows.count * columns.count]
    inside = tf.reshape(inside, nodes)
    return tf.where(inside, tf.reshape(cell, nodes), 0), inside


def _rounded(position: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the cells nearest to fractional indices, and whether they are among `count` cells."""
    # Compared before the cast: a strong magnification gives positions beyond int32.
    nearest = tf.floor(position + 0.5)
    inside = (nearest >= 0) & (nearest < count)
    return tf.cast(tf.where(inside, nearest, 0.0), tf.int32), inside
