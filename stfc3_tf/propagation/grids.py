"""Windows on the grid of cells, and groups of its rows; for NumPy and TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np

# All windows that cover the grid are equal; no grid has so many rows or columns.
_LARGEST = 1_000_000.0


def inside(vertical: Any, horizontal: Any, radius: float, window: str) -> Any:
    """Return whether offsets are within the window, bool.

    Args:
      vertical: float32, offsets in rows, an array or a tensor.
      horizontal: float32, offsets in columns, likewise.
      radius: in cells; infinite for no window.
      window: 'disc' (Euclidean distance < radius) or 'square' (rows and columns <= radius apart).
    """
    radius = min(radius, _LARGEST)
    if window == 'disc':
        return vertical**2 + horizontal**2 < radius**2
    return (abs(vertical) <= radius) & (abs(horizontal) <= radius)


def reach(radius: float, window: str) -> int:
    """Return by how many rows or columns cells of a window differ at most, see `inside`."""
    radius = min(radius, _LARGEST)
    return int(np.ceil(radius) - 1 if window == 'disc' else np.floor(radius))


def group_rows(rows: int) -> int:
    """Return how many rows form a group where whole frames are searched.

    It is the divisor of `rows` nearest to 16 among 8 ... 32, where finding the best groups takes
    about as long as searching them; `rows` itself if there is none.
    """
    divisors = [size for size in range(8, 33) if rows % size == 0] or [rows]
    return min(divisors, key=lambda size: abs(size - 16))
