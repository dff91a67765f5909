"""A grid cut into equal tiles of static shape, each with the context around it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from stfc3_tf.propagation import grids

# Rows and columns of a tile, at most. Larger ones compare more cells beyond the windows, smaller
# ones make smaller matrix products.
_LARGEST = 12


class _Axis(NamedTuple):
    """Rows or columns.

    Attributes:
      length: of the grid.
      tiles: how many.
      size: of a tile.
      reach: how far windows go from their middle.
    """

    length: int
    tiles: int
    size: int
    reach: int

    @property
    def around(self) -> int:
        """Cells of the context that a tile is compared with."""
        return self.size + 2 * self.reach

    @property
    def beyond(self) -> int:
        """Cells of the last tile beyond the grid."""
        return self.tiles * self.size - self.length

    def offsets(self) -> np.ndarray:
        """Return the offsets of context from query, float32 [size, around]."""
        offsets = np.arange(self.around) - self.reach - np.arange(self.size)[:, None]
        return offsets.astype(np.float32)


class Tiles:
    """The tiles of a grid; the last ones may go beyond it.

    Attributes:
      number: of rows of tiles.
    """

    def __init__(self, rows: int, columns: int, radius: float, window: str):
        """Choose the sizes.

        Args:
          rows: of the grid.
          columns: of the grid.
          radius: of the windows, in cells; infinite for no window.
          window: 'disc' or 'square', see `grids.inside`.
        """
        reach = grids.reach(radius, window)
        self._rows, self._columns = _axis(rows, reach), _axis(columns, reach)
        self._window = radius, window
        self.number = self._rows.tiles

    def of(self, query: tf.Tensor) -> tf.Tensor:
        """Cut a grid.

        Args:
          query: float32 [videos, rows, columns, channels].

        Returns:
          float32 [number, videos, tiles, cells of a tile, channels].
        """
        videos, _, _, channels = query.shape
        down, right = self._rows, self._columns
        cut = tf.pad(query, [[0, 0], [0, down.beyond], [0, right.beyond], [0, 0]])
        cut = tf.reshape(cut, [videos, down.tiles, down.size, right.tiles, right.size, channels])
        cut = tf.transpose(cut, [1, 0, 3, 2, 4, 5])
        return tf.reshape(cut, [down.tiles, videos, right.tiles, down.size * right.size, channels])

    def joined(self, parts: tf.Tensor) -> tf.Tensor:
        """Return values of the grid, [videos, rows columns, values], of those of its tiles.

        Args:
          parts: [number, videos, tiles, cells of a tile, values].
        """
        _, videos, _, _, values = parts.shape
        down, right = self._rows, self._columns
        parts = tf.reshape(parts, [down.tiles, videos, right.tiles, down.size, right.size, values])
        parts = tf.transpose(parts, [1, 0, 3, 2, 4, 5])
        whole = [videos, down.tiles * down.size, right.tiles * right.size, values]
        grid = tf.reshape(parts, whole)[:, : down.length, : right.length]
        return tf.reshape(grid, [videos, down.length * right.length, values])

    def padded(self, context: tf.Tensor) -> tf.Tensor:
        """Return the context with zeros around it, as `around` needs it.

        Args:
          context: float32 [frames, videos, rows, columns, channels].
        """
        sides = [[axis.reach, axis.reach + axis.beyond] for axis in (self._rows, self._columns)]
        return tf.pad(context, [[0, 0], [0, 0], *sides, [0, 0]])

    def around(self, padded: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        """Return what is around each tile of a row of tiles.

        Args:
          padded: what `padded` returned.
          number: int32 [], which row of tiles.

        Returns:
          float32 [videos, tiles, frames, cells around a tile, channels].
        """
        frames, videos, _, columns, channels = padded.shape
        down, right = self._rows, self._columns
        begin = [0, 0, number * down.size, 0, 0]
        band = tf.slice(padded, begin, [frames, videos, down.around, columns, channels])
        lefts = range(0, right.tiles * right.size, right.size)
        tiles = tf.stack([band[:, :, :, left : left + right.around] for left in lefts])
        tiles = tf.transpose(tiles, [2, 0, 1, 3, 4, 5])
        area = down.around * right.around
        return tf.reshape(tiles, [videos, right.tiles, frames, area, channels])

    def allowed(self, number: tf.Tensor) -> tf.Tensor:
        """Return which cells around a tile are in the windows of its cells.

        Args:
          number: int32 [], which row of tiles.

        Returns:
          bool [tiles, cells of a tile, cells around a tile].
        """
        down, right = self._rows, self._columns
        vertical, horizontal = down.offsets()[:, None, :, None], right.offsets()[:, None]
        near = grids.inside(vertical, horizontal, *self._window)
        near = near.reshape(down.size * right.size, down.around * right.around)
        places = tf.range(down.around * right.around)
        row, column = self._positions(places, number, tf.range(right.tiles)[:, None])
        on_grid = (row >= 0) & (row < down.length) & (column >= 0) & (column < right.length)
        return near & on_grid[:, None]

    def cell(self, place: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        """Return the numbers of cells of the context, through frames, rows and columns.

        Args:
          place: int32 [videos, tiles, queries, candidates], numbered through frames and the cells
            around a tile.
          number: int32 [], which row of tiles.
        """
        down, right = self._rows, self._columns
        tile = tf.range(right.tiles)[:, None, None]
        area = down.around * right.around
        row, column = self._positions(place % area, number, tile)
        return (place // area * down.length + row) * right.length + column

    def _positions(
        self, place: tf.Tensor, number: tf.Tensor, tile: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the row and column of a place around a tile."""
        row = number * self._rows.size - self._rows.reach + place // self._columns.around
        column = tile * self._columns.size - self._columns.reach + place % self._columns.around
        return row, column


def _axis(length: int, reach: int) -> _Axis:
    tiles = -(-length // _LARGEST)
    return _Axis(length, tiles, -(-length // tiles), min(reach, length - 1))
