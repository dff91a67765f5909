"""The positions of the feature cells of an encoder in its frames."""

from __future__ import annotations

from typing import NamedTuple


class CellGrid(NamedTuple):
    """Cell i is centred on pixel index `first + stride * i`, along rows and along columns."""

    first: float
    stride: int
