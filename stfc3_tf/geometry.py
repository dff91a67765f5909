"""Where things are: crops and flips as matrices, and features moved from one view's grid to another's.

Conventions, kept by the whole project:

* A matrix is 3x3, acts on homogeneous column vectors (x, y, 1), x to the right and y down, and is
  named `target_from_source`. `view_from_frame` takes frame coordinates to view coordinates;
  composition is a matrix product.
* Coordinates are normalised to the image box: -1 is the left edge of the left pixel, +1 the right edge
  of the right one; pixel p of W has its centre at (2p + 1) / W - 1. A matrix therefore means the
  same at frame, view and feature resolution.
* A feature cell stands where its receptive field is centred (`CellGrid`). Cell i of a padded stride-8
  ResNet is centred on pixel 8i, not in the middle of pixels 8i .. 8i+7: a warp that ignores this
  is wrong by up to 7/8 of a cell as soon as one of the two views is flipped.

Crops and flips are axis-aligned, so a bilinear warp is separable: two small interpolation matrices,
R_y F R_x^T. Its gradient is exact, and it needs no gather and no custom op.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from stfc3_tf import errors

EXACT = 'exact'
RELEASED = 'released'


class CellGrid(NamedTuple):
    """Where an encoder's cells stand: cell i is centred at pixel index `first + stride * i`."""

    first: float
    stride: int


class CellCentres(NamedTuple):
    """Cells along one axis in normalised coordinates: cell i is centred at `first + step * i`."""

    count: int
    first: float
    step: float


def receptive_field_centres(count: int, image_size: int, grid: CellGrid) -> CellCentres:
    """Places `count` cells where their receptive fields are centred, in an image of `image_size` pixels."""
    return CellCentres(count, (2 * grid.first + 1) / image_size - 1, 2 * grid.stride / image_size)


def corner_aligned_centres(count: int) -> CellCentres:
    """Places the first and last cell at -1 and +1 (`align_corners=True`), as the authors' code does."""
    return CellCentres(count, -1.0, 2 / max(count - 1, 1))


def cell_centres(convention: str, count: int, image_size: int, grid: CellGrid) -> CellCentres:
    """Places cells by the `warp_convention` setting: 'exact' or 'released'.

    Raises:
      errors.UserError: the convention is neither.
    """
    if convention == EXACT:
        return receptive_field_centres(count, image_size, grid)
    if convention == RELEASED:
        return corner_aligned_centres(count)
    raise errors.UserError(
        f"warp_convention = '{convention}': choose '{EXACT}' (cells at their receptive-field "
        f"centres) or '{RELEASED}' (the authors' align_corners grid)."
    )


def view_from_frame(box: tf.Tensor, flip: tf.Tensor) -> tf.Tensor:
    """Makes the matrix of a crop, followed by a horizontal flip where asked (B_theta of the paper).

    Args:
      box: float32 [..., 4], (left, top, right, bottom) of the crop in normalised frame coordinates.
      flip: bool [...].

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
    """Assembles matrices [..., 3, 3] that scale, then shift; the arguments are [...]."""
    zero, one = tf.zeros_like(x_scale), tf.ones_like(x_scale)
    entries = [x_scale, zero, x_shift, zero, y_scale, y_shift, zero, zero, one]
    return tf.reshape(tf.stack(entries, axis=-1), tf.concat([tf.shape(x_scale), [3, 3]], axis=0))


def inverse(matrix: tf.Tensor) -> tf.Tensor:
    """Inverts axis-aligned matrices [..., 3, 3] in closed form (exact, and compiled by XLA)."""
    x_scale, y_scale = matrix[..., 0, 0], matrix[..., 1, 1]
    return axis_aligned(
        1 / x_scale, 1 / y_scale, -matrix[..., 0, 2] / x_scale, -matrix[..., 1, 2] / y_scale
    )


def backward_from_forward(
    backward_from_frame: tf.Tensor, forward_from_frame: tf.Tensor
) -> tf.Tensor:
    """B_fb = B_b B_f^-1 (section 3.3): forward-view to backward-view coordinates, [..., 3, 3]."""
    return tf.matmul(backward_from_frame, inverse(forward_from_frame))


def transform_points(matrix: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Applies matrices [..., 3, 3] to points [..., points, 2] of (x, y) in normalised coordinates."""
    return tf.matmul(points, matrix[..., :2, :2], transpose_b=True) + matrix[..., tf.newaxis, :2, 2]


def _interpolation_weights(position: tf.Tensor, count: int) -> tf.Tensor:
    """Bilinear weights [..., targets, count] of `count` cells at fractional cell indices [..., targets].

    A position beyond the last cell loses weight linearly to nothing: what lies outside counts as zero.
    """
    cells = tf.range(count, dtype=position.dtype)
    return tf.nn.relu(1 - tf.abs(position[..., tf.newaxis] - cells))


def _source_position(scale: tf.Tensor, shift: tf.Tensor, centres: CellCentres) -> tf.Tensor:
    """Fractional source cell index [batch, targets] of each target cell under x -> scale x + shift."""
    target = centres.first + centres.step * tf.range(centres.count, dtype=tf.float32)
    source = scale[:, tf.newaxis] * target + shift[:, tf.newaxis]
    return (source - centres.first) / centres.step


def _axis_weights(source_from_target: tf.Tensor, rows: CellCentres, columns: CellCentres):
    """Interpolation matrices R_y [batch, rows, rows] and R_x [batch, columns, columns]."""
    y = _source_position(source_from_target[:, 1, 1], source_from_target[:, 1, 2], rows)
    x = _source_position(source_from_target[:, 0, 0], source_from_target[:, 0, 2], columns)
    return _interpolation_weights(y, rows.count), _interpolation_weights(x, columns.count)


def warp(
    features: tf.Tensor, source_from_target: tf.Tensor, rows: CellCentres, columns: CellCentres
) -> tf.Tensor:
    """Reads each target cell's feature bilinearly from the source map, T_B(F) of equation (9).

    Args:
      features: float32 [batch, rows, columns, channels] of the source view.
      source_from_target: float32 [batch, 3, 3], axis-aligned; to warp with B_fb pass its inverse.
      rows: where the rows stand, in both views.
      columns: where the columns stand, in both views.

    Returns:
      float32 [batch, rows, columns, channels]; zero outside the source, fading over the last cell.
    """
    row_weights, column_weights = _axis_weights(source_from_target, rows, columns)
    shape = tf.shape(features)
    lines = tf.reshape(features, [shape[0], rows.count, columns.count * features.shape[-1]])
    lines = tf.reshape(tf.matmul(row_weights, lines), shape)
    return tf.matmul(column_weights[:, tf.newaxis], lines)


def visibility(
    source_from_target: tf.Tensor, rows: CellCentres, columns: CellCentres, threshold: float = 0.5
) -> tf.Tensor:
    """Says which target cells exist in the source view, M_b of equation (11): warp(1) > threshold.

    Returns:
      bool [batch, rows, columns].
    """
    row_weights, column_weights = _axis_weights(source_from_target, rows, columns)
    row_mass = tf.reduce_sum(row_weights, axis=-1)
    column_mass = tf.reduce_sum(column_weights, axis=-1)
    return row_mass[:, :, tf.newaxis] * column_mass[:, tf.newaxis, :] > threshold


def warp_affine(
    features: tf.Tensor, source_from_target: tf.Tensor, rows: CellCentres, columns: CellCentres
) -> tf.Tensor:
    """Does what `warp` does for any affine matrix (rotation, shear), by gathering four neighbours.

    Shapes are those of `warp`. The sampler is a custom op: float32 only, not compiled by XLA.
    """
    y = rows.first + rows.step * tf.range(rows.count, dtype=tf.float32)
    x = columns.first + columns.step * tf.range(columns.count, dtype=tf.float32)
    target = tf.reshape(tf.stack(tf.meshgrid(x, y), axis=-1), [1, -1, 2])
    source = transform_points(source_from_target, target)
    first, step = [columns.first, rows.first], [columns.step, rows.step]
    cells = tf.reshape((source - first) / step, [-1, rows.count, columns.count, 2])
    return _tensorflow_addons().image.resampler(features, cells)


def _tensorflow_addons():
    """Imports TensorFlow Addons without its end-of-life notice."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        import tensorflow_addons
    return tensorflow_addons
