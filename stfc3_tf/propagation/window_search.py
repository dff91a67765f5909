"""The context cells most similar to each query cell, compared only within the spatial window.

The query grid is cut into tiles, and one matrix product compares a tile with its surroundings in
all context frames. The candidates are then grouped, and a group is searched only if its maximum is
among the k largest maxima. This is exact, because k values are then at least as large as all values
of the other groups.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# Rows and columns of a query tile. Smaller tiles compare fewer cells outside the window, larger
# ones make faster matrix products; the times for 8 to 16 differ by a tenth.
TILE = 12
# All windows that cover the grid are equal; no grid has so many rows or columns.
_LARGEST = 1_000_000.0


class Keys(NamedTuple):
    """Context cells to compare a tile with. A group is everything along `members`.

    Attributes:
      features: float32 [outer, members, inner, channels].
      cell: int32 [outer, members, inner], their rows in the flattened context.
      allowed: bool [outer, inner, queries], the groups that a query may use; None for all.
    """

    features: tf.Tensor
    cell: tf.Tensor
    allowed: tf.Tensor | None = None


def rows_around(
    strip: Keys, near: tf.Tensor, top: tf.Tensor, bottom: tf.Tensor, reach: tf.Tensor
) -> Keys:
    """Return the part of a strip of the context that one tile of the query may use.

    Slices along the first axis are not copied.

    Args:
      strip: features [rows, frames, columns, channels] of the strip around the tile.
      near: bool [rows around, columns around, tile rows, tile columns], see `nearby`; its columns
        are those of the strip and of the tile.
      top: int32, the first row of the tile.
      bottom: int32, the row after the last one of the tile.
      reach: see `reach_of`.

    Returns:
      The keys of the tile.
    """
    first = tf.maximum(top - reach, 0)
    features, cell = strip.features[first : bottom + reach], strip.cell[first : bottom + reach]
    height, width = tf.shape(cell)[0], tf.shape(cell)[2]
    row = first - top + reach
    allowed = near[row : row + height, :width, : bottom - top]
    return Keys(features, cell, tf.reshape(allowed, [height, width, -1]))


def group_rows(rows: tf.Tensor) -> tf.Tensor:
    """Return how many rows form a group in a frame that is compared as a whole.

    It is the divisor of `rows` nearest to 16 among 8 ... 32, where finding the best groups takes
    about as long as searching them; `rows` itself if there is none.
    """
    sizes = tf.concat([[rows], tf.range(8, 33)], 0)
    distance = tf.where(rows % sizes == 0, tf.abs(sizes - 16), tf.int32.max)
    return sizes[tf.argmin(distance)]


def reach_of(radius: float, window: str, largest: tf.Tensor) -> tf.Tensor:
    """Return the largest difference of rows or columns within the window, int32.

    Args:
      radius: in cells; infinite for no window.
      window: 'disc' or 'square'.
      largest: int32, the longer side of the grid, which bounds the result.

    Returns:
      int32 [].
    """
    radius = min(radius, _LARGEST)
    reach = np.ceil(radius) - 1 if window == 'disc' else np.floor(radius)
    return tf.minimum(tf.constant(int(reach)), largest)


def nearby(radius: float, window: str, reach: tf.Tensor) -> tf.Tensor:
    """Return which cells around a tile each cell of the tile may use.

    Args:
      radius: in cells; infinite for no window.
      window: 'disc' (Euclidean distance < radius) or 'square' (rows and columns <= radius apart).
      reach: see `reach_of`.

    Returns:
      bool [rows around, columns around, tile rows, tile columns]. There are tile + 2 reach rows
      and columns around; the first lies `reach` before the tile's first.
    """
    radius = min(radius, _LARGEST)
    offset = tf.range(-reach, TILE + reach)[:, None] - tf.range(TILE)
    offset = tf.cast(tf.abs(offset), tf.float32)
    vertical, horizontal = offset[:, None, :, None], offset[None, :, None, :]
    if window == 'disc':
        return vertical**2 + horizontal**2 < radius**2
    return tf.maximum(vertical, horizontal) <= radius


def tile_by_tile(part: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], length: tf.Tensor) -> tf.Tensor:
    """Compute an axis tile by tile, so that memory is bounded.

    Args:
      part: maps the first index of a tile and the index after its last one to float32
        [tile, ..., ...].
      length: int32, the length of the axis; it is cut into the fewest nearly equal tiles.

    Returns:
      The parts, joined along their first axis.
    """
    tiles = (length + TILE - 1) // TILE
    parts = tf.TensorArray(tf.float32, tiles, infer_shape=False, element_shape=[None, None, None])

    def body(tile, parts):
        start, end = tile * length // tiles, (tile + 1) * length // tiles
        return tile + 1, parts.write(tile, part(start, end))

    start = (tf.constant(0), parts)
    _, parts = tf.while_loop(lambda tile, _: tile < tiles, body, start, parallel_iterations=1)
    return parts.concat()


def by_windows(
    part: Callable[[slice, slice, Keys], tf.Tensor],
    cells: tf.Tensor,
    read: Callable[[tf.Tensor], tf.Tensor],
    radius: float,
    window: str,
) -> tf.Tensor:
    """Compute a grid tile by tile, each from the context cells around it.

    Args:
      part: maps the rows and columns of a tile, and the keys around it, to float32
        [rows, columns, ...].
      cells: int32 [frames, rows, columns], the context cells.
      read: maps cells, int32 [...], to their features, float32 [..., channels].
      radius: in cells; infinite for no window.
      window: 'disc' or 'square'.

    Returns:
      The parts, joined to float32 [rows, columns, ...].
    """
    _, rows, columns = tf.unstack(tf.shape(cells))
    reach = reach_of(radius, window, tf.maximum(rows, columns))
    nearby_cells = nearby(radius, window, reach)

    def strip(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        """Compute columns left ... right - 1: [right - left, rows, ...]."""
        first = tf.maximum(left - reach, 0)
        strip_cells = tf.transpose(cells[:, :, first : right + reach], [1, 0, 2])
        around = Keys(read(strip_cells), strip_cells)
        near = nearby_cells[:, first - left + reach :, :, : right - left]

        def tile(top: tf.Tensor, bottom: tf.Tensor) -> tf.Tensor:
            """Compute rows top ... bottom - 1 of the strip: [rows, columns, ...]."""
            keys = rows_around(around, near, top, bottom, reach)
            return part(slice(top, bottom), slice(left, right), keys)

        return tf.transpose(tile_by_tile(tile, rows), [1, 0, 2])

    return tf.transpose(tile_by_tile(strip, columns), [1, 0, 2])


def most_similar(queries: tf.Tensor, keys: Keys, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the `count` most similar keys of each query, or all if there are fewer.

    Args:
      queries: float32 [queries, channels].
      keys: see `Keys`.
      count: int32 scalar.

    Returns:
      Similarities, float32 [queries, <= count], descending, -inf where a key is not allowed; and
      their cells, int32 [queries, <= count].
    """
    outer, members, inner = tf.unstack(tf.shape(keys.cell))
    number, channels = tf.unstack(tf.shape(queries))
    similarity = tf.matmul(tf.reshape(keys.features, [-1, channels]), queries, transpose_b=True)
    largest = tf.reduce_max(tf.reshape(similarity, [outer, members, inner * number]), 1)
    if keys.allowed is not None:
        largest = tf.where(keys.allowed, tf.reshape(largest, [outer, inner, number]), -np.inf)
    largest = tf.transpose(tf.reshape(largest, [outer * inner, number]))
    largest, group = tf.math.top_k(largest, tf.minimum(count, outer * inner))
    key = (group // inner * members * inner + group % inner)[:, :, None] + inner * tf.range(members)
    flat = key * number + tf.range(number)[:, None, None]
    candidates = tf.gather(tf.reshape(similarity, [-1]), flat)
    candidates = tf.where(largest[:, :, None] > -np.inf, candidates, -np.inf)
    shape = [number, tf.shape(group)[1] * members]
    similarity, key = top(tf.reshape(candidates, shape), tf.reshape(key, shape), count)
    return similarity, tf.gather(tf.reshape(keys.cell, [-1]), key)


def top(values: tf.Tensor, companions: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the `count` largest values of each row, or all, with their companions.

    Args:
      values: float32 [rows, columns].
      companions: int32 [rows, columns].
      count: int32 scalar.

    Returns:
      Both as [rows, <= count], the values descending.
    """
    values, position = tf.math.top_k(values, tf.minimum(count, tf.shape(values)[1]))
    return values, tf.gather(companions, position, batch_dims=1)
