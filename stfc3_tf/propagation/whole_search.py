"""The context cells most similar to each query cell, among all cells of whole frames.

The candidates are grouped, and a group is searched only if its maximum is among the k largest
maxima. This is exact, because k values are then at least as large as all values of the other
groups.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

# Similarities that are in memory at once, if those of `_FEWEST` queries are not more.
_SIMILARITIES = 2**22
_FEWEST = 128


class Keys(NamedTuple):
    """Context cells. A group is everything along `members`.

    Attributes:
      features: float32 or bfloat16 [outer, members, inner, channels].
      cell: int32 [outer, members, inner], their rows in the flattened context.
    """

    features: tf.Tensor
    cell: tf.Tensor


def keys_of(cells: tf.Tensor, read: Callable[[tf.Tensor], tf.Tensor]) -> Keys:
    """Return the cells of whole frames in groups of a few rows of one column.

    Args:
      cells: int32 [frames, rows, columns].
      read: maps cells, int32 [...], to their features, float32 or bfloat16 [..., channels].
    """
    _, rows, columns = tf.unstack(tf.shape(cells))
    grouped = tf.reshape(cells, [-1, _group_rows(rows), columns])
    return Keys(read(grouped), grouped)


def _group_rows(rows: tf.Tensor) -> tf.Tensor:
    """Return `grids.group_rows` of a number that is known only when the graph runs."""
    sizes = tf.concat([[rows], tf.range(8, 33)], 0)
    distance = tf.where(rows % sizes == 0, tf.abs(sizes - 16), tf.int32.max)
    return sizes[tf.argmin(distance)]


def most_similar(queries: tf.Tensor, keys: Keys, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the `count` most similar keys of each query, or all if there are fewer.

    Queries are compared a part at a time, so that memory is bounded.

    Args:
      queries: float32 or bfloat16 [queries, channels].
      keys: see `Keys`, with features of the same type.
      count: int32 scalar.

    Returns:
      Similarities, float32 [queries, <= count], descending; and their cells, int32
      [queries, <= count].
    """
    number = tf.shape(queries)[0]
    most = tf.maximum(_FEWEST, _SIMILARITIES // tf.maximum(tf.size(keys.cell), 1))
    count_of_parts = (number + most - 1) // most
    parts = [
        tf.TensorArray(kind, count_of_parts, infer_shape=False, element_shape=[None, None])
        for kind in (tf.float32, tf.int32)
    ]

    def body(place, similarities, cells):
        start, end = place * number // count_of_parts, (place + 1) * number // count_of_parts
        similarity, cell = _most_similar(queries[start:end], keys, count)
        return place + 1, similarities.write(place, similarity), cells.write(place, cell)

    start = (tf.constant(0), *parts)
    _, *parts = tf.while_loop(
        lambda place, *_: place < count_of_parts, body, start, parallel_iterations=1
    )
    return parts[0].concat(), parts[1].concat()


def _most_similar(queries: tf.Tensor, keys: Keys, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """See `most_similar`."""
    outer, members, inner = tf.unstack(tf.shape(keys.cell))
    number, channels = tf.unstack(tf.shape(queries))
    similarity = tf.matmul(tf.reshape(keys.features, [-1, channels]), queries, transpose_b=True)
    largest = largest_members(tf.reshape(similarity, [outer, members, inner * number]))
    largest = tf.transpose(tf.reshape(largest, [outer * inner, number]))
    _, group = tf.math.top_k(largest, tf.minimum(count, outer * inner))
    key = (group // inner * members * inner + group % inner)[:, :, None] + inner * tf.range(members)
    candidates = tf.gather(
        tf.reshape(similarity, [-1]), key * number + tf.range(number)[:, None, None]
    )
    shape = [number, tf.shape(group)[1] * members]
    similarity, key = top(tf.reshape(candidates, shape), tf.reshape(key, shape), count)
    return similarity, tf.gather(tf.reshape(keys.cell, [-1]), key)


def largest_members(similarity: tf.Tensor) -> tf.Tensor:
    """Return the maxima of groups.

    Args:
      similarity: float32 or bfloat16 [outer, members, inner].

    Returns:
      float32 [outer, inner].
    """
    # Maxima of bfloat16 take three times as long as those of float32.
    return tf.reduce_max(tf.cast(similarity, tf.float32), 1)


def top(values: tf.Tensor, companions: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the `count` largest values of each row, or all, with their companions.

    Args:
      values: float32 or bfloat16 [rows, columns].
      companions: int32 [rows, columns].
      count: int32 scalar.

    Returns:
      Both as [rows, <= count], the values descending, in float32.
    """
    values = tf.cast(values, tf.float32)
    values, position = tf.math.top_k(values, tf.minimum(count, tf.shape(values)[1]))
    return values, tf.gather(companions, position, batch_dims=1)
