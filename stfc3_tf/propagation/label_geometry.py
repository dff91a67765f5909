"""The sizes at which a label is represented, and the interface of codecs."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from stfc3_tf.views.cell_grid import CellGrid


class Geometry(NamedTuple):
    """The sizes at which a label is represented, each (height, width).

    Attributes:
      label_size: of the image that the labels are drawn on, in pixels.
      input_size: of the image that the encoder sees, in pixels.
      grid_size: of its feature map, in cells.
      cell_grid: cell i is centred at pixel index first + stride * i of the encoder's input.
    """

    label_size: tuple[int, int]
    input_size: tuple[int, int]
    grid_size: tuple[int, int]
    cell_grid: CellGrid

    @property
    def margin(self) -> int:
        """How many whole cells fit before the first one; 0 for encoders with padding."""
        return max(0, int(self.cell_grid.first // self.cell_grid.stride))

    @property
    def whole_grid_size(self) -> tuple[int, int]:
        """Size, in cells, of a grid over all of the encoder's input."""
        if not self.margin:
            return self.grid_size
        rows, columns = (
            max(-(-side // self.cell_grid.stride), self.margin + cells)
            for side, cells in zip(self.input_size, self.grid_size)
        )
        return rows, columns


class Codec(Protocol):
    """Converts labels to soft label maps and back."""

    def encode(self, label: Any, geometry: Geometry) -> np.ndarray:
        """Return float32 [rows, columns, labels]."""

    def decode(self, soft: np.ndarray, geometry: Geometry) -> Any:
        """Return a label of the kind that `encode` takes."""
