"""The context cells most similar to each query cell, looked for only where they may be.

The query grid is cut into tiles, and one matrix product compares a tile with its surroundings in
all context frames. The candidates are then grouped, and a group is looked through only if its
maximum is among the k largest maxima. Nothing is lost: a value in another group has k maxima above
it (or equal to it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# Cells a side of a query tile. Smaller tiles compare less outside the window, larger ones make
# better matrix products; 8 to 16 differ by a tenth.
TILE = 12


class Keys(NamedTuple):
    """Context cells to compare a tile with. A group is everything along `members`.

    Attributes:
      features: float32 [outer, members, inner, channels].
      cell: int32 [outer, members, inner], their rows in the flattened context.
      allowed: bool [outer, inner, queries], which groups a query may use; None for all.
    """

    features: tf.Tensor
    cell: tf.Tensor
    allowed: tf.Tensor | None = None


def rows_around(
    strip: Keys, near: tf.Tensor, top: tf.Tensor, bottom: tf.Tensor, reach: tf.Tensor
) -> Keys:
    """The rows of a strip that surround its tile [top, bottom), and what is in the window of what.

    Slices along the first axis are not copied.
    """
    first = tf.maximum(top - reach, 0)
    features, cell = strip.features[first : bottom + reach], strip.cell[first : bottom + reach]
    height, width = tf.shape(cell)[0], tf.shape(cell)[2]
    row = first - top + reach
    allowed = near[row : row + height, :width, : bottom - top]
    return Keys(features, cell, tf.reshape(allowed, [height, width, -1]))


def group_rows(rows: tf.Tensor) -> tf.Tensor:
    """How many rows of a frame compared as a whole form a group: a divisor of `rows`.

    The nearest to 16 of those in [8, 32], where finding the best groups costs about as much as
    looking through them; `rows` itself if there is none.
    """
    sizes = tf.concat([[rows], tf.range(8, 33)], 0)
    distance = tf.where(rows % sizes == 0, tf.abs(sizes - 16), tf.int32.max)
    return sizes[tf.argmin(distance)]


def reach_of(radius: float, window: str, largest: tf.Tensor) -> tf.Tensor:
    """Largest difference of rows or columns in the window, at most the grid's `largest` side."""
    if np.isinf(radius):
        return largest
    reach = np.ceil(radius) - 1 if window == 'disc' else np.floor(radius)
    return tf.minimum(tf.constant(int(reach)), largest)


def nearby(radius: float, window: str, reach: tf.Tensor) -> tf.Tensor:
    """Which cells around a tile are in the window of which cells of the tile.

    Args:
      radius: in cells; infinite for no window.
      window: 'disc' (Euclidean distance < radius) or 'square' (rows and columns <= radius apart).
      reach: see `reach_of`.

    Returns:
      bool [tile + 2 reach, tile + 2 reach, tile, tile]: row and column around the tile, the first
      being `reach` before the tile's own; row and column within the tile.
    """
    offset = tf.range(-reach, TILE + reach)[:, None] - tf.range(TILE)
    offset = tf.cast(tf.abs(offset), tf.float32)
    vertical, horizontal = offset[:, None, :, None], offset[None, :, None, :]
    if window == 'disc':
        return vertical**2 + horizontal**2 < radius**2
    return tf.maximum(vertical, horizontal) <= radius


def tile_by_tile(part: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], length: tf.Tensor) -> tf.Tensor:
    """Cuts range(length) into the fewest (nearly) equal tiles and joins `part(start, end)` of each,
    float32 of rank 3, along the first axis. One at a time, so that memory is bounded."""
    tiles = (length + TILE - 1) // TILE
    parts = tf.TensorArray(tf.float32, tiles, infer_shape=False, element_shape=[None, None, None])

    def body(tile, parts):
        start, end = tile * length // tiles, (tile + 1) * length // tiles
        return tile + 1, parts.write(tile, part(start, end))

    start = (tf.constant(0), parts)
    _, parts = tf.while_loop(lambda tile, _: tile < tiles, body, start, parallel_iterations=1)
    return parts.concat()


def most_similar(queries: tf.Tensor, keys: Keys, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The `count` most similar of the keys (all, if there are fewer), for each query.

    Args:
      queries: float32 [queries, channels].
      keys: see `Keys`.
      count: int32 scalar.

    Returns:
      similarities, float32 [queries, <= count], descending, -inf where a key is not allowed; and
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
    """The `count` largest of each row (or all of them), descending, and their companions."""
    values, position = tf.math.top_k(values, tf.minimum(count, tf.shape(values)[1]))
    return values, tf.gather(companions, position, batch_dims=1)
