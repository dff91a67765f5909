"""The context cells most similar to each query cell, among those within the spatial window.

The query grid is cut into strips of a few columns. One batched matrix product compares each context
row with the rows of the strip whose windows reach it. So a strip is compared with few cells beyond
its windows. The candidates are then grouped: a group is one position in all context frames, and it
is searched only if its maximum is among the k largest maxima. This is exact, because k values are
then at least as large as all values of the other groups.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from stfc3_tf.propagation import grids
from stfc3_tf.propagation.whole_search import largest_members, top

# Queries of a strip that one context row is compared with. Fewer make slower matrix products, more
# compare more cells beyond the windows.
_QUERIES_PER_ROW = 140

# Maps how many candidates there are to be, int32, to similarities, float32 [queries, candidates],
# descending, -inf for none; and to their cells, int32 [queries, candidates].
Best = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def covers(radius: float, window: str, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Return whether the window of every cell is the whole grid.

    Args:
      radius: in cells; infinite for no window.
      window: 'disc' or 'square', see `by_strips`.
      rows: int32, of the grid.
      columns: int32, of the grid.

    Returns:
      bool [].
    """
    corner = tf.cast(tf.stack([rows - 1, columns - 1]), tf.float32)
    return grids.inside(corner[0], corner[1], radius, window)


def by_strips(
    part: Callable[[slice, Best], tf.Tensor],
    query: tf.Tensor,
    cells: tf.Tensor,
    read: Callable[[tf.Tensor], tf.Tensor],
    radius: float,
    window: str,
) -> tf.Tensor:
    """Compute a grid strip by strip, each from the context cells around it.

    Args:
      part: maps the columns of a strip, and what finds candidates for its cells (row by row), to
        float32 [rows, columns, ...].
      query: float32 or bfloat16 [rows, columns, channels].
      cells: int32 [frames, rows, columns], the context cells.
      read: maps cells, int32 [...], to their features [..., channels], of the same type.
      radius: in cells; infinite for no window.
      window: 'disc' (Euclidean distance < radius) or 'square' (rows and columns <= radius apart).

    Returns:
      The parts, joined to float32 [rows, columns, ...].
    """
    sizes = _sizes(cells, radius, window)
    columns = tf.shape(cells)[2]
    places = _places(sizes)
    count = (columns + sizes.width - 1) // sizes.width
    parts = tf.TensorArray(tf.float32, count, infer_shape=False, element_shape=[None, None, None])

    def body(strip, parts):
        """Compute a strip."""
        # The last strip overlaps the one before it, so all have the same width.
        left = tf.minimum(strip * sizes.width, columns - sizes.width)
        first = tf.clip_by_value(left - sizes.right, 0, columns - sizes.around)
        allowed = _allowed(sizes, first - left, radius, window) & places.inside
        shown = slice(left, left + sizes.width)
        around = tf.transpose(cells[:, :, first : first + sizes.around], [1, 0, 2])
        found = _Strip(query[:, shown], around, read(around), allowed, places, sizes)
        return strip + 1, parts.write(strip, part(shown, found.most_similar))

    start = (tf.constant(0), parts)
    _, parts = tf.while_loop(lambda strip, _: strip < count, body, start, parallel_iterations=1)
    return _joined(parts.stack(), columns)


def _joined(parts: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Return [rows, columns, ...] of strips [strips, rows, width, ...]."""
    count, rows, width, size = tf.unstack(tf.shape(parts))
    parts = tf.reshape(tf.transpose(parts, [1, 0, 2, 3]), [rows, count * width, size])
    column = tf.range(columns)
    last = (count - 1) * width
    place = tf.where(column < last, column, column - columns + count * width)
    return tf.gather(parts, place, axis=1)


class _Sizes(NamedTuple):
    """Sizes of strips, int32 [].

    Attributes:
      rows: of the grid.
      width: columns of a strip.
      around: context columns that a strip is compared with.
      down: by how many rows a window reaches up and down.
      right: by how many columns a window reaches left and right.
      height: rows of a window.
    """

    rows: tf.Tensor
    width: tf.Tensor
    around: tf.Tensor
    down: tf.Tensor
    right: tf.Tensor
    height: tf.Tensor


def _sizes(cells: tf.Tensor, radius: float, window: str) -> _Sizes:
    frames, rows, columns = tf.unstack(tf.shape(cells))
    reach = tf.constant(grids.reach(radius, window))
    width = _QUERIES_PER_ROW // (2 * tf.minimum(reach, rows - 1) + 1)
    width = tf.clip_by_value(width, 1, columns)
    # Without frames there is nothing to reach, and no table of windows is needed.
    reach = tf.where(frames > 0, reach, 0)
    down, right = tf.minimum(reach, rows - 1), tf.minimum(reach, columns - 1)
    around = tf.minimum(width + 2 * right, columns)
    return _Sizes(rows, width, around, down, right, 2 * down + 1)


class _Places(NamedTuple):
    """Where the windows of a strip's cells are.

    Attributes:
      inside: bool [rows, 1, height, 1], whether a row of a window is one of the grid.
      group: int32 [rows, width, height, around], the places in a strip's maxima
        [rows, around, height, width], of which the first is the context's row.
    """

    inside: tf.Tensor
    group: tf.Tensor


def _places(sizes: _Sizes) -> _Places:
    row = tf.range(sizes.rows)[:, None, None, None]
    column = tf.range(sizes.width)[None, :, None, None]
    window_row = tf.range(sizes.height)[None, None, :, None]
    around = tf.range(sizes.around)
    context_row, query = _meeting(row, window_row, sizes)
    group = ((context_row * sizes.around + around) * sizes.height + query) * sizes.width + column
    return _Places(context_row == row - sizes.down + window_row, group)


def _meeting(row: tf.Tensor, window_row: tf.Tensor, sizes: _Sizes) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the context row of a row of a query's window, and the query's place for that row.

    Args:
      row: int32, the query's row.
      window_row: int32, from 0, the row of its window.
      sizes: of strips.

    Returns:
      int32, the context row, or one of the window if that is beyond the grid; and int32, which of
      the `height` query rows that this context row is compared with is the query's.
    """
    context_row = tf.clip_by_value(row - sizes.down + window_row, 0, sizes.rows - 1)
    return context_row, row - context_row + sizes.down


def _allowed(sizes: _Sizes, first: tf.Tensor, radius: float, window: str) -> tf.Tensor:
    """Return which cells around a strip are in the windows, bool [1, width, height, around].

    Args:
      sizes: of strips.
      first: int32, the first column around the strip, from the strip's first.
      radius: in cells.
      window: 'disc' or 'square'.
    """
    vertical = tf.range(sizes.height) - sizes.down
    horizontal = first + tf.range(sizes.around) - tf.range(sizes.width)[:, None]
    vertical, horizontal = tf.cast(vertical, tf.float32), tf.cast(horizontal, tf.float32)
    return grids.inside(vertical[:, None], horizontal[:, None], radius, window)[None]


class _Strip:
    """A strip of the query, compared with the context around it."""

    def __init__(
        self,
        query: tf.Tensor,
        cells: tf.Tensor,
        features: tf.Tensor,
        allowed: tf.Tensor,
        places: _Places,
        sizes: _Sizes,
    ):
        """Compare all cells of the strip.

        Args:
          query: float32 or bfloat16 [rows, width, channels].
          cells: int32 [rows, frames, around].
          features: [rows, frames, around, channels], of these cells and of the same type.
          allowed: bool [rows, width, height, around], see `_Places`.
          places: of the strip's windows.
          sizes: of strips.
        """
        self._cells, self._sizes, self._frames = cells, sizes, tf.shape(cells)[1]
        rows, channels = sizes.rows, tf.shape(query)[2]
        reaching = tf.range(rows)[:, None] - sizes.down + tf.range(sizes.height)
        queries = tf.gather(query, tf.clip_by_value(reaching, 0, rows - 1))
        queries = tf.reshape(queries, [rows, sizes.height * sizes.width, channels])
        keys = tf.reshape(features, [rows, self._frames * sizes.around, channels])
        # [rows, frames around, height width], the context's rows.
        self._similarity = tf.matmul(keys, queries, transpose_b=True)
        by_frame = [rows, self._frames, sizes.around * sizes.height * sizes.width]
        largest = largest_members(tf.reshape(self._similarity, by_frame))
        largest = tf.gather(tf.reshape(largest, [-1]), places.group)
        largest = tf.where(allowed, largest, -np.inf)
        self._largest = tf.reshape(largest, [rows * sizes.width, sizes.height * sizes.around])

    def most_similar(self, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Best`; queries are numbered through rows and columns of the strip."""
        sizes, groups = self._sizes, tf.shape(self._largest)[1]
        largest, group = tf.math.top_k(self._largest, tf.minimum(count, groups))
        query = tf.range(sizes.rows * sizes.width)[:, None]
        row, place = _meeting(query // sizes.width, group // sizes.around, sizes)
        key = (row * self._frames * sizes.around + group % sizes.around)[:, :, None]
        key += sizes.around * tf.range(self._frames)
        column = (place * sizes.width + query % sizes.width)[:, :, None]
        candidates = tf.gather(
            tf.reshape(self._similarity, [-1]), key * sizes.height * sizes.width + column
        )
        candidates = tf.where(largest[:, :, None] > -np.inf, candidates, -np.inf)
        shape = [sizes.rows * sizes.width, tf.shape(group)[1] * self._frames]
        similarity, key = top(tf.reshape(candidates, shape), tf.reshape(key, shape), count)
        return similarity, tf.gather(tf.reshape(self._cells, [-1]), key)
