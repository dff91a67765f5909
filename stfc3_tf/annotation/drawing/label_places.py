"""Places for names in a picture: beside what they name, free of each other, inside the picture.

Boxes are (left, top, right, bottom) in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Where a name may stand: shares of its width and height from a point to its box's nearest corner.
_SIDES = ((0, -1), (0, 0), (-1, -1), (-1, 0), (-0.5, -1), (-0.5, 0))
_DISTANCES = (1, 3, 5)


def around(point: np.ndarray, radius: float) -> np.ndarray:
    """Return the box around a point, float64 [4].

    Args:
      point: (x, y).
      radius: half of the sides.
    """
    return np.concatenate([point - radius, point + radius])


def beside(
    point: np.ndarray,
    box: Sequence[int],
    gap: float,
    taken: Sequence[np.ndarray],
    size: Sequence[int],
    first: int = 0,
) -> tuple[int, tuple[int, int]]:
    """Return a place for a name beside a point.

    Args:
      point: (x, y).
      box: of the name, from its place.
      gap: between point and name, in pixels.
      taken: boxes [4] that it should not cover.
      size: (height, width) of the picture.
      first: the choice of the frame before; it is kept while it is free, so that names do not jump.

    Returns:
      The choice, and the place (x, y): the first choice that covers nothing, or the one that covers
      the least; always inside the picture if the name is not larger.
    """
    choices = [(side, distance) for distance in _DISTANCES for side in _SIDES]
    order = [first, *(number for number in range(len(choices)) if number != first)]
    best: tuple[float, int, tuple[int, int]] | None = None
    for number in order:
        place = _placed(point, box, *choices[number], gap, size)
        covered = _covered(np.array(box) + [*place, *place], taken)
        if best is None or covered < best[0]:
            best = covered, number, place
        if not covered:
            break
    assert best is not None
    return best[1], best[2]


def _placed(
    point: np.ndarray,
    box: Sequence[int],
    side: tuple[float, float],
    distance: int,
    gap: float,
    size: Sequence[int],
) -> tuple[int, int]:
    """Return the place of a choice, moved into the picture."""
    extent = np.array([box[2] - box[0], box[3] - box[1]])
    away = np.where(np.array(side) == 0, 1, np.where(np.array(side) == -1, -1, 0)) * gap * distance
    corner = point + away + np.array(side) * extent
    corner = np.clip(corner, 0, np.maximum(0, np.array(size[::-1]) - extent))
    x, y = np.rint(corner - box[:2]).astype(int).tolist()
    return x, y


def _covered(box: np.ndarray, taken: Sequence[np.ndarray]) -> float:
    """Return how many pixels of other boxes a box covers."""
    if not taken:
        return 0.0
    others = np.array(taken)
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return float(np.prod(np.maximum(sides, 0), axis=1).sum())


def freest_corner(taken: np.ndarray, size: tuple[int, int]) -> tuple[bool, bool]:
    """Return the corner of a picture in which a box covers the least.

    Args:
      taken: bool [height, width].
      size: (height, width) of the box.

    Returns:
      Whether it is at the bottom, and whether it is at the right.
    """
    height, width = size
    parts = {
        (False, False): taken[:height, :width],
        (False, True): taken[:height, -width:],
        (True, False): taken[-height:, :width],
        (True, True): taken[-height:, -width:],
    }
    return min(parts, key=lambda corner: int(parts[corner].sum()))
