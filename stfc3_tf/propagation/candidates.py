"""The context cells most similar to each cell of a frame, which do not depend on any labels.

They are what takes the time of propagation. Kept, they serve again when other labels are given.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from stfc3_tf.propagation import window_search
from stfc3_tf.propagation.settings import PropagationSettings


class Candidates(NamedTuple):
    """The most similar context cells of each cell of a frame, best first.

    Attributes:
      similarity: float32 [cells, candidates], -inf where there are fewer.
      cell: int32 [cells, candidates], numbered through frames, rows and columns of the context.
    """

    similarity: np.ndarray
    cell: np.ndarray


def within_window(
    query: np.ndarray, context: np.ndarray, settings: PropagationSettings
) -> Candidates:
    """Return the most similar cells within the spatial window.

    Args:
      query: float32 [rows, columns, channels], L2-normalised over channels.
      context: float32 [frames, rows, columns, channels], likewise.
      settings: `radius`, `window` and `top_k` are used.

    Returns:
      At most `top_k` candidates per cell over all frames together.
    """
    return _unpacked(_window_search(settings)(query, context))


def anywhere(query: np.ndarray, frame: np.ndarray, settings: PropagationSettings) -> Candidates:
    """Return the most similar cells of a whole frame.

    Args:
      query: float32 [rows, columns, channels], L2-normalised over channels.
      frame: float32 [rows, columns, channels], likewise.
      settings: `top_k` is used.

    Returns:
      `top_k` candidates per cell, or all cells if there are fewer.
    """
    return _unpacked(_whole_search(settings.top_k)(query, frame))


def _unpacked(packed: tf.Tensor) -> Candidates:
    """Return candidates of [rows, columns, 2 candidates], see `_packed`."""
    similarity, cell = np.split(packed.numpy().reshape(-1, packed.shape[2]), 2, axis=1)
    return Candidates(similarity, cell.view(np.int32))


def _packed(similarity: tf.Tensor, cell: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Return similarities and the bits of cells side by side, [rows, columns, 2 candidates]."""
    both = tf.concat([similarity, tf.bitcast(cell, tf.float32)], 1)
    return tf.reshape(both, [rows, -1, tf.shape(both)[1]])


@functools.cache
def _window_search(settings: PropagationSettings):
    """Return `within_window` as one graph for all sizes."""

    def search(query: tf.Tensor, context: tf.Tensor) -> tf.Tensor:
        frames, rows, columns, channels = tf.unstack(tf.shape(context))
        cells = tf.reshape(tf.range(frames * rows * columns), [frames, rows, columns])
        read = functools.partial(tf.gather, tf.reshape(context, [-1, channels]))

        def tile(tile_rows: slice, tile_columns: slice, keys: window_search.Keys) -> tf.Tensor:
            queries = tf.reshape(query[tile_rows, tile_columns], [-1, channels])
            found = window_search.most_similar(queries, keys, tf.constant(settings.top_k))
            return _packed(*found, tile_rows.stop - tile_rows.start)

        return window_search.by_windows(tile, cells, read, settings.radius, settings.window)

    signature = [tf.TensorSpec([None] * 3), tf.TensorSpec([None] * 4)]
    return tf.function(search, input_signature=signature, autograph=False)


@functools.cache
def _whole_search(top_k: int):
    """Return `anywhere` as one graph for all sizes."""

    def search(query: tf.Tensor, frame: tf.Tensor) -> tf.Tensor:
        rows, columns, channels = tf.unstack(tf.shape(frame))
        groups = [-1, window_search.group_rows(rows), columns]
        cells = tf.reshape(tf.range(rows * columns), groups)
        keys = window_search.Keys(tf.reshape(frame, [*groups, channels]), cells)

        def part(top: tf.Tensor, bottom: tf.Tensor) -> tf.Tensor:
            queries = tf.reshape(query[top:bottom], [-1, channels])
            found = window_search.most_similar(queries, keys, tf.constant(top_k))
            return _packed(*found, bottom - top)

        return window_search.tile_by_tile(part, rows)

    signature = [tf.TensorSpec([None] * 3)] * 2
    return tf.function(search, input_signature=signature, autograph=False)
