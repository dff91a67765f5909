"""A bilinear warp by any affine matrix, also with rotation and shear, which the authors' code has.

The library's own warp takes crops and flips only. Golden files hold both.
"""

import tensorflow as tf


def warp_affine(features, source_from_target, rows, columns):
    """Return what `geometry.warp` returns, for any affine matrix; shapes are the same."""
    y = rows.first + rows.step * tf.range(rows.count, dtype=tf.float32)
    x = columns.first + columns.step * tf.range(columns.count, dtype=tf.float32)
    target = tf.reshape(tf.stack(tf.meshgrid(x, y), axis=-1), [1, -1, 2])
    source = transform_points(source_from_target, target)
    first, step = [columns.first, rows.first], [columns.step, rows.step]
    cells = tf.reshape((source - first) / step, [-1, rows.count, columns.count, 2])
    return gather(features, cells)


def transform_points(matrix: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Return points [..., points, 2] of (x, y), normalised, mapped by matrices [..., 3, 3]."""
    return tf.matmul(points, matrix[..., :2, :2], transpose_b=True) + matrix[..., tf.newaxis, :2, 2]


def gather(features: tf.Tensor, cells: tf.Tensor) -> tf.Tensor:
    """Return features at fractional cells, by gathering four neighbours.

    Args:
      features: float32 [batch, rows, columns, channels].
      cells: float32 [batch, target rows, target columns, 2], positions (column, row).

    Returns:
      float32 [batch, target rows, target columns, channels]; outside the map features are zero.
    """
    # Zeros around the map: points outside it are moved into them.
    padded = tf.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]])
    last = tf.cast(tf.stack([tf.shape(features)[2], tf.shape(features)[1]]), tf.float32)
    cells = tf.clip_by_value(cells, -1.0, last) + 1.0
    corner = tf.minimum(tf.floor(cells), last)
    right, down = tf.split(cells - corner, 2, axis=-1)
    column, row = tf.unstack(tf.cast(corner, tf.int32), axis=-1)

    def at(rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
        return tf.gather_nd(padded, tf.stack([rows, columns], axis=-1), batch_dims=1)

    above = (1 - right) * at(row, column) + right * at(row, column + 1)
    below = (1 - right) * at(row + 1, column) + right * at(row + 1, column + 1)
    return (1 - down) * above + down * below
