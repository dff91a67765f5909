"""The most similar context cells, found with static shapes, as XLA needs them.

It finds what `window_search` and `whole_search` find, in the same order. The sizes of their strips
and the lengths of their loops are known only when they run. Here all sizes are known when the graph
is made. A loop of fixed length takes one row of tiles of all videos at a time, and compares them
with all context frames. Cells beyond the windows, and frames that do not count, are masked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from stfc3_tf.propagation import grids
from stfc3_tf.propagation.settings import PropagationSettings
from stfc3_tf.propagation.tiles import Tiles

# Similarities with whole frames that are in memory at once, unless one query has more.
_SIMILARITIES = 2**24


class Found(NamedTuple):
    """The most similar context cells of each query cell, best first.

    Attributes:
      similarity: float32 [videos, queries, candidates], -inf where there is none.
      cell: int32 [videos, queries, candidates], numbered through frames, rows and columns of the
        context; 0 where there is none.
    """

    similarity: tf.Tensor
    cell: tf.Tensor


def within_window(
    query: tf.Tensor, context: tf.Tensor, counts: tf.Tensor, settings: PropagationSettings
) -> Found:
    """Return the most similar cells within the spatial window, of all frames together.

    Args:
      query: float32 [videos, rows, columns, channels], of static shape.
      context: float32 [frames, videos, rows, columns, channels], of static shape.
      counts: bool [frames], whether a frame counts.
      settings: `top_k`, `radius` and `window` are used.
    """
    _, rows, columns, _ = query.shape
    tiles = Tiles(rows, columns, settings.radius, settings.window)
    padded = tiles.padded(context)

    def row_of_tiles(number: tf.Tensor, queries: tf.Tensor) -> Found:
        similarity = _products(queries, tiles.around(padded, number))
        allowed = tiles.allowed(number)[:, :, None] & counts[:, None]
        best = _best(tf.where(allowed, similarity, -np.inf)[..., None, :, :], settings.top_k)
        return Found(best.similarity, tiles.cell(best.cell, number))

    return _cleared(*(tiles.joined(each) for each in _stacked(row_of_tiles, tiles.of(query))))


def anywhere(
    query: tf.Tensor, context: tf.Tensor, counts: tf.Tensor, settings: PropagationSettings
) -> Found:
    """Return the most similar cells of whole frames together.

    Args:
      query: float32 [videos, rows, columns, channels], of static shape.
      context: float32 [frames, videos, rows, columns, channels], of static shape.
      counts: bool [frames], whether a frame counts.
      settings: `top_k` is used.
    """
    frames, videos, rows, columns, channels = context.shape
    cells, members = rows * columns, grids.group_rows(rows)
    keys = tf.transpose(tf.reshape(context, [frames, videos, cells, channels]), [1, 0, 2, 3])

    def part(_: tf.Tensor, queries: tf.Tensor) -> Found:
        similarity = _products(queries, keys)
        similarity = tf.where(counts[:, None], similarity, -np.inf)
        grouped = [*queries.shape[:2], frames * rows // members, members, columns]
        return _best(tf.reshape(similarity, grouped), settings.top_k)

    parts = -(-cells // max(1, _SIMILARITIES // (videos * frames * cells)))
    found = _stacked(part, _in_parts(tf.reshape(query, [videos, cells, channels]), parts))
    return _cleared(*(_joined(each, cells) for each in found))


def _products(queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """Return scalar products of features.

    Args:
      queries: float32 [..., queries, channels].
      keys: float32 [..., frames, cells, channels].

    Returns:
      float32 [..., queries, frames, cells].
    """
    *outer, frames, cells, channels = keys.shape
    # A product that TensorFlow 2.15 too keeps in float32 where TensorFloat-32 is switched off,
    # unlike `tf.einsum`.
    keys = tf.reshape(keys, [*outer, frames * cells, channels])
    products = tf.matmul(queries, keys, transpose_b=True)
    return tf.reshape(products, [*products.shape[:-1], frames, cells])


def _in_parts(queries: tf.Tensor, parts: int) -> tf.Tensor:
    """Return queries [videos, queries, channels] as [parts, videos, size, channels], padded."""
    videos, number, channels = queries.shape
    size = -(-number // parts)
    queries = tf.pad(queries, [[0, 0], [0, parts * size - number], [0, 0]])
    return tf.transpose(tf.reshape(queries, [videos, parts, size, channels]), [1, 0, 2, 3])


def _joined(values: tf.Tensor, number: int) -> tf.Tensor:
    """Return values [parts, videos, size, values] as [videos, number, values]."""
    parts, videos, size, last = values.shape
    values = tf.transpose(values, [1, 0, 2, 3])
    return tf.reshape(values, [videos, parts * size, last])[:, :number]


def _stacked(part: Callable[[tf.Tensor, tf.Tensor], Found], queries: tf.Tensor) -> Found:
    """Return what is found for each part of the queries, stacked; a part also gets its number."""
    signature = Found(tf.float32, tf.int32)
    numbered = tf.range(queries.shape[0]), queries
    return tf.map_fn(lambda each: part(*each), numbered, fn_output_signature=signature)


def _best(similarity: tf.Tensor, count: int) -> Found:
    """Return the largest similarities of each query, at most `count`, and their places.

    A group is everything along `members`. It is searched only if its maximum is among the `count`
    largest maxima.

    Args:
      similarity: float32 [..., outer, members, inner].
      count: how many, at most.

    Returns:
      [..., candidates]; `cell` holds the places, numbered through outer, members and inner.
    """
    *queries, outer, members, inner = similarity.shape
    similarity = tf.reshape(similarity, [-1, outer, members, inner])
    largest = tf.reshape(tf.reduce_max(similarity, 2), [-1, outer * inner])
    _, group = tf.math.top_k(largest, min(count, outer * inner))
    place = (group // inner * members * inner + group % inner)[:, :, None]
    place = tf.reshape(place + inner * tf.range(members), [-1, group.shape[1] * members])
    values = tf.gather(tf.reshape(similarity, [-1, outer * members * inner]), place, batch_dims=1)
    values, best = tf.math.top_k(values, min(count, place.shape[1]))
    place = tf.gather(place, best, batch_dims=1)
    return Found(*(tf.reshape(each, [*queries, values.shape[1]]) for each in (values, place)))


def _cleared(similarity: tf.Tensor, cell: tf.Tensor) -> Found:
    """Return what was found, without the cells that stand where there is none."""
    return Found(similarity, tf.where(similarity > -np.inf, cell, 0))
