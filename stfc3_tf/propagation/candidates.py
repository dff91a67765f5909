"""The context cells most similar to each cell of a frame, which do not depend on any labels.

They are what takes the time of propagation. Kept, they serve again when other labels are given.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from stfc3_tf.propagation import whole_search, window_search
from stfc3_tf.propagation.compared import Compared, compared
from stfc3_tf.propagation.settings import PropagationSettings

_ALL = slice(None)


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
      settings: `radius`, `window`, `top_k` and `precision` are used.

    Returns:
      At most `top_k` candidates per cell over all frames together.
    """
    rows, columns, _ = query.shape
    if window_search.covers(settings.radius, settings.window, rows, columns):
        return anywhere(query, context, settings)
    return _unpacked(_window_search(settings)(query, context))


def anywhere(query: np.ndarray, frame: np.ndarray, settings: PropagationSettings) -> Candidates:
    """Return the most similar cells of one or several whole frames.

    Args:
      query: float32 [rows, columns, channels], L2-normalised over channels.
      frame: float32 [..., rows, columns, channels], likewise.
      settings: `top_k` and `precision` are used.

    Returns:
      `top_k` candidates per cell, or all cells if there are fewer.
    """
    return _unpacked(
        _whole_search(settings.top_k, settings.precision)(query, frame.reshape(-1, *query.shape))
    )


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
        """Search strip by strip; return what `_packed` does."""
        cells, features = _compared(query, context, settings.precision)
        rows, count = tf.shape(query)[0], tf.constant(features.count(settings.top_k))

        def strip(columns: slice, within_window: window_search.Best) -> tf.Tensor:
            kept = features.ranked(within_window(count), columns, settings.top_k)
            return _packed(*kept, rows)

        return window_search.by_strips(
            strip, features.query, cells, features.read, settings.radius, settings.window
        )

    signature = [tf.TensorSpec([None] * 3), tf.TensorSpec([None] * 4)]
    return tf.function(search, input_signature=signature, autograph=False)


@functools.cache
def _whole_search(top_k: int, precision: str):
    """Return `anywhere` as one graph for all sizes."""

    def search(query: tf.Tensor, frames: tf.Tensor) -> tf.Tensor:
        cells, features = _compared(query, frames, precision)
        keys, queries = whole_search.keys_of(cells, features.read), features.of_columns(_ALL)
        found = whole_search.most_similar(queries, keys, tf.constant(features.count(top_k)))
        return _packed(*features.ranked(found, _ALL, top_k), tf.shape(query)[0])

    signature = [tf.TensorSpec([None] * 3), tf.TensorSpec([None] * 4)]
    return tf.function(search, input_signature=signature, autograph=False)


def _compared(query: tf.Tensor, context: tf.Tensor, precision: str) -> tuple[tf.Tensor, Compared]:
    """Return the cells of context features, int32 [frames, rows, columns], and the comparison."""
    shape = tf.shape(context)
    cells = tf.reshape(tf.range(tf.reduce_prod(shape[:3])), shape[:3])
    return cells, compared(query, tf.reshape(context, [-1, shape[3]]), precision)
