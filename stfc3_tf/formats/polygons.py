"""Polygons around masks, and masks from polygons.

Coordinates are (x, y) in pixels with pixel edges at integers, as in COCO, YOLO, CVAT and LabelMe:
the centre of the top left pixel is (0.5, 0.5). A pixel is inside if its centre is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from scipy import spatial

# A pixel as 2x2, so that its outline has an area, and lies a quarter of a pixel inside its edge.
_FINER = 2
# Vertices that are farther away, in pixels, are drawn nearer.
_FAR = 1e6


def outline(mask: np.ndarray) -> np.ndarray:
    """Return one polygon around an object, float64 [vertices, 2].

    Parts and holes are joined by lines that go there and back, as tools for YOLO do it; `fill`
    gives back exactly the mask, and so does rounding down and `cv2.fillPoly`, except for the lines
    between parts.

    Args:
      mask: bool [height, width] with at least one pixel.
    """
    finer = mask.astype(np.uint8).repeat(_FINER, axis=0).repeat(_FINER, axis=1)
    rings, _ = cv2.findContours(finer, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return (_joined([ring[:, 0] for ring in rings]) + 0.5) / _FINER


def _joined(rings: list[np.ndarray]) -> np.ndarray:
    """Return one polygon that goes through all rings, from each to the next where it is nearest."""
    whole, *others = sorted(rings, key=len, reverse=True)
    for ring in others:
        distances, places = spatial.cKDTree(whole).query(ring)
        start = int(distances.argmin())
        place = int(places[start])
        loop = np.roll(ring, -start, axis=0)
        whole = np.concatenate([whole[: place + 1], loop, loop[:1], whole[place:]])
    return whole.astype(np.float64)


def fill(polygons: Iterable[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Return the mask inside of polygons; what lies in an even number of them is outside.

    Args:
      polygons: float [vertices, 2] each; parts outside the picture are cut off.
      size: (height, width).

    Returns:
      bool [height, width].

    Raises:
      ValueError: a vertex is not finite.
    """
    height, width = size
    # How often the border is crossed between a pixel's centre and the one to its left.
    crossings = np.zeros((height, width + 1), np.int64)
    for polygon in polygons:
        if not np.isfinite(polygon).all():
            raise ValueError('a polygon whose vertices are not finite')
        polygon = np.clip(polygon, -_FAR, _FAR)
        for (x, y), (next_x, next_y) in zip(polygon, np.roll(polygon, -1, axis=0)):
            if y == next_y:
                continue
            low, high = sorted((y, next_y))
            ends = np.clip(np.ceil(np.array([low, high]) - 0.5), 0, height).astype(int)
            rows = np.arange(*ends)
            at = x + (rows + 0.5 - y) * ((next_x - x) / (next_y - y))
            columns = np.clip(np.ceil(at - 0.5), 0, width).astype(int)
            crossings[rows, columns] += 1
    return np.cumsum(crossings[:, :width], axis=1) % 2 == 1


def rectangle(corner: np.ndarray, opposite: np.ndarray) -> np.ndarray:
    """Return the corners, float64 [4, 2], of a rectangle with two opposite corners [2]."""
    (left, top), (right, bottom) = corner, opposite
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


def from_runs(runs: Any, size: tuple[int, int]) -> np.ndarray:
    """Return the mask of run lengths, row by row, that begin with the background.

    Args:
      runs: whole numbers, an array or a list [runs].
      size: (height, width).

    Returns:
      bool [height, width].

    Raises:
      ValueError: the runs are not as long as the mask.
    """
    runs = np.asarray(runs)
    if len(runs) == 0 or runs.min() < 0 or runs.max() > size[0] * size[1]:
        raise ValueError('run lengths that are not those of a mask')
    if int(runs.sum()) != size[0] * size[1]:
        raise ValueError(f'run lengths for {int(runs.sum())} pixels, not {size[0] * size[1]}')
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(size)
