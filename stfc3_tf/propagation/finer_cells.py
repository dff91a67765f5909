"""Features at half the stride, from an encoder that was not trained for it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from stfc3_tf import errors
from stfc3_tf.propagation import extractor
from stfc3_tf.propagation.extractor import FeatureExtractor
from stfc3_tf.propagation.settings import PropagationSettings
from stfc3_tf.views.cell_grid import CellGrid


class FinerCells:
    """An encoder with cells of half the size, an `extractor.FeatureExtractor`.

    Each frame is encoded four times: as it is, and without its first half cell of columns, of rows,
    and of both. Cells of the four are centred half a cell apart, and are interleaved. So features
    take four times as long, and a frame has four times as many cells. Settings in cells, such as
    `PropagationSettings.radius`, count these smaller cells.

    Attributes:
      cell_grid: positions of the feature cells in the frames.
    """

    def __init__(self, encoder: FeatureExtractor):
        """Wrap an encoder.

        Args:
          encoder: from `stfc3_tf.load(path)`, or any `FeatureExtractor`.

        Raises:
          errors.UserError: it is no encoder, or its stride is odd.
        """
        extractor.check(encoder)
        grid = encoder.cell_grid
        if grid.stride % 2:
            raise errors.UserError(
                f'Finer cells need an encoder with an even stride, and this one has {grid.stride}.'
            )
        self._encoder = encoder
        self.cell_grid = CellGrid(grid.first, grid.stride // 2)

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Return the features of frames.

        Args:
          frames: uint8 [batch, height, width, 3], RGB; half a cell larger than the smallest that
            the encoder takes.

        Returns:
          float32 [batch, rows, columns, channels], about twice as many rows and columns as the
          encoder returns.
        """
        half = self.cell_grid.stride
        # [y][x], the features of frames without the first y and x half cells.
        moved = [
            [np.asarray(self._encoder.features(frames[:, y:, x:]), np.float32) for x in (0, half)]
            for y in (0, half)
        ]
        rows = sum(part[0].shape[1] for part in moved)
        columns = sum(part.shape[2] for part in moved[0])
        finer = np.empty((len(frames), rows, columns, moved[0][0].shape[3]), np.float32)
        for y in (0, 1):
            for x in (0, 1):
                finer[:, y::2, x::2] = moved[y][x]
        return finer

    def identity(self) -> dict[str, Any]:
        """Return what identifies the encoder, and the finer cell grid, ready for JSON."""
        grid = {'first': float(self.cell_grid.first), 'stride': int(self.cell_grid.stride)}
        return {**extractor.identity(self._encoder), 'cell_grid': grid}


def settings_for(settings: PropagationSettings, finer: bool) -> PropagationSettings:
    """Return settings whose window has as many pixels with finer cells as without.

    Args:
      settings: with a radius in cells of the encoder itself.
      finer: whether the cells are finer.
    """
    return dataclasses.replace(settings, radius=2 * settings.radius) if finer else settings


def of(encoder: FeatureExtractor, finer: bool) -> FeatureExtractor:
    """Return an encoder with finer cells, or the encoder itself."""
    return FinerCells(encoder) if finer else encoder
