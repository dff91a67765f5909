"""The share of cells that features find again in the same frame, moved or magnified.

Every second cell that is at least `MARGIN` cells away from the border of the feature map is
searched for in the moved frame: the most similar cell (cosine) at most `REACH` cells from the true
position is chosen. It is right if it is at most `RIGHT` cells off. Repetition is the mean cosine
between cells at distances of 1 to 6 cells: high values mean that features repeat along an axis.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from stfc3_tf.propagation.extractor import FeatureExtractor, unit_features
from stfc3_tf.views import cell_grid

MARGIN, REACH, RIGHT = 14, 8, 1.5
DISTANCES = (1, 2, 3, 4, 5, 6)  # cells
# Magnification about the top left pixel's centre, then pixels of shift to the left and upwards.
MOVES = {'2 pixels': (1.0, 2), '4 pixels': (1.0, 4), 'x 1.25': (1.25, 0), 'x 0.8': (0.8, 0)}
HEADINGS = [*MOVES, *(f'{way} {cells}' for way in ('down', 'right') for cells in DISTANCES)]


def features(encoder: FeatureExtractor, frame: np.ndarray) -> np.ndarray:
    """Return unit-length features: [height, width, 3] -> float32 [rows, columns, channels]."""
    return unit_features(encoder, frame[np.newaxis])[0]


def moved(frame: np.ndarray, zoom: float, shift: float) -> np.ndarray:
    """Return a frame whose pixel p shows the pixel (p + shift) / zoom of the given frame.

    Args:
      frame: uint8 [height, width, 3]; it is mirrored beyond its border.
      zoom: magnification; above 1 enlarges.
      shift: to the left and upwards, in pixels.

    Returns:
      uint8 [height, width, 3].
    """
    frame_from_moved = [1 / zoom, 0, shift / zoom, 0, 1 / zoom, shift / zoom, 0, 0]
    image = tf.raw_ops.ImageProjectiveTransformV3(
        images=frame[np.newaxis].astype('f4'),
        transforms=[frame_from_moved],
        output_shape=frame.shape[:2],
        fill_value=0.0,
        interpolation='BILINEAR',
        fill_mode='REFLECT',
    )
    return tf.cast(tf.round(image[0]), tf.uint8).numpy()


def found(
    before: np.ndarray, after: np.ndarray, grid: cell_grid.CellGrid, zoom: float, shift: float
) -> float:
    """Return the share of cells whose most similar cell in `after` is where they moved to.

    Args:
      before: float32 [rows, columns, channels], features of the frame.
      after: features of the moved frame, the same shape.
      grid: positions of the cells in pixels.
      zoom: see `moved`.
      shift: see `moved`.

    Returns:
      The share, in [0, 1].
    """
    rows, columns = before.shape[:2]
    distances = []
    for row in range(MARGIN, rows - MARGIN, 2):
        for column in range(MARGIN, columns - MARGIN, 2):
            pixel = grid.first + grid.stride * np.array([row, column])
            target = (pixel * zoom - shift - grid.first) / grid.stride
            corner = np.round(target).astype(int) - REACH
            if np.any(corner < 0) or np.any(corner + 2 * REACH >= (rows, columns)):
                continue
            window = after[
                corner[0] : corner[0] + 2 * REACH + 1, corner[1] : corner[1] + 2 * REACH + 1
            ]
            likeliest = np.unravel_index(np.argmax(window @ before[row, column]), window.shape[:2])
            distances.append(np.hypot(*(corner + likeliest - target)))
    return float(np.mean(np.array(distances) <= RIGHT))


def repetition(cells: np.ndarray, axis: int) -> list[float]:
    """Return the mean cosine of cells at each of `DISTANCES` along an axis (0: downwards)."""
    cells = np.moveaxis(cells, axis, 0)
    inner = slice(MARGIN, -MARGIN)
    return [
        float(
            np.mean(
                np.sum(cells[inner, inner] * np.roll(cells, -distance, 0)[inner, inner], axis=-1)
            )
        )
        for distance in DISTANCES
    ]


def measure(encoder: FeatureExtractor, frames: Sequence[np.ndarray]) -> np.ndarray:
    """Return the means over frames: a share per move, then repetition along both axes.

    Args:
      encoder: gives the features.
      frames: uint8 [height, width, 3], 480 pixels high or more.

    Returns:
      float64 [moves + 2 * distances], in the order of `HEADINGS`.
    """
    rows = []
    for frame in frames:
        cells = features(encoder, frame)
        shares = [
            found(cells, features(encoder, moved(frame, *move)), encoder.cell_grid, *move)
            for move in MOVES.values()
        ]
        rows.append(shares + repetition(cells, 0) + repetition(cells, 1))
    return np.mean(rows, axis=0)
