"""Conversion of maps between pixels and the true centres of feature cells.

Cell i is centred at pixel `cell_grid.first + cell_grid.stride * i` of the encoder's input.
Published scripts take cells for tiles of the image instead. That is wrong by half a cell for
encoders with padding, and by more for those without.
"""

from __future__ import annotations

import cv2
import numpy as np

from stfc3_tf.propagation.label_geometry import Geometry


def means(pixels: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return the mean over the pixels around the centre of each cell, one cell wide.

    Args:
      pixels: float [label height, label width].
      geometry: the sizes of image and cells.

    Returns:
      float32 [rows, columns].
    """
    # OpenCV reads only contiguous maps.
    mean = cv2.blur(np.ascontiguousarray(pixels, np.float32), extent(geometry))
    return _resample(mean, _pixels_from_cells(geometry), geometry.grid_size)


def enlarged(cells: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Interpolate bilinearly between the centres of the cells; outside, edge values are repeated.

    Args:
      cells: float [rows, columns].
      geometry: the sizes of image and cells.

    Returns:
      float32 [label height, label width].
    """
    cells = np.ascontiguousarray(cells, np.float32)
    return _resample(cells, np.linalg.inv(_pixels_from_cells(geometry)), geometry.label_size)


def extent(geometry: Geometry) -> list[int]:
    """Return the (width, height) of a cell in pixels, made odd to be symmetric about its centre."""
    return (_pixels_from_cells(geometry).diagonal()[:2].astype(int) | 1).tolist()


def _pixels_from_cells(geometry: Geometry) -> np.ndarray:
    """Return float64 [3, 3], which maps the (column, row, 1) of a cell to its centre in pixels."""
    pixels = np.array(geometry.label_size[::-1]) / np.array(geometry.input_size[::-1])
    offset = (geometry.cell_grid.first + 0.5) * pixels - 0.5
    return np.array(
        [
            [geometry.cell_grid.stride * pixels[0], 0, offset[0]],
            [0, geometry.cell_grid.stride * pixels[1], offset[1]],
            [0, 0, 1],
        ]
    )


def _resample(
    maps: np.ndarray, source_from_target: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Interpolate a float32 map [height, width] bilinearly; outside, edge values are repeated.

    Args:
      maps: the map.
      source_from_target: float64 [3, 3], acts on (column, row, 1).
      size: (height, width) of the result.
    """
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_REPLICATE
    return cv2.warpAffine(maps, source_from_target[:2], size[::-1], flags=flags, borderMode=border)
