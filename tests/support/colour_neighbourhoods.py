"""Features of colours around each cell, which follow objects well without any training."""

from typing import NamedTuple

import cv2
import numpy as np


class Grid(NamedTuple):
    first: float
    stride: int


GRID = Grid(0, 8)


def neighbourhoods(frames):
    """Return blurred colours at and around each cell's centre, minus their mean over the image."""
    maps = []
    for frame in frames:
        blurred = [cv2.GaussianBlur(frame.astype(np.float32), (0, 0), sigma) for sigma in (2, 4, 8)]
        shifts = [(y, x) for y in (-8, 0, 8) for x in (-8, 0, 8)]
        parts = [np.roll(image, shift, (0, 1))[::8, ::8] for image in blurred for shift in shifts]
        features = np.concatenate(parts, -1)
        features -= features.mean((0, 1))
        maps.append(features / np.linalg.norm(features, axis=-1, keepdims=True))
    return np.stack(maps)
