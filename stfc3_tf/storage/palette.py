"""The palette of DAVIS and PASCAL VOC for index masks, in files and in pictures."""

from __future__ import annotations

import numpy as np


def _davis() -> np.ndarray:
    """Return the 256 colours: uint8 [256, 3].

    Bits 0, 3, 6 of an index are the high bits of red, beginning with the highest; bits 1, 4, 7 are
    those of green, and bits 2, 5 those of blue.
    """
    index = np.arange(256)[:, np.newaxis]
    channel = np.arange(3)
    colours = np.zeros((256, 3), np.int64)
    for level in range(3):
        colours |= (index >> (3 * level + channel) & 1) << (7 - level)
    return colours.astype(np.uint8)


DAVIS = _davis()
# The largest object number that a mask with a palette, or of one byte per pixel, holds.
MOST_NUMBER = len(DAVIS) - 1
# What a mask holds where it is not scored: pixels of no object, and not of the background.
VOID = 255
# The colours that people are shown: the first after Okabe and Ito, all twelve distinct with every
# kind of colour vision, and bright enough for dark videos.
SHOWN = (
    *('#e69f00', '#56b4e9', '#00c08b', '#f0e442', '#ff6a3d', '#d98cc3', '#4c7dff', '#ffffff'),
    *('#b4ff87', '#a53c96', '#00785a', '#782dff'),
)


def _distinct() -> np.ndarray:
    """Return 256 colours, uint8 [256, 3]: black, those of `SHOWN`, then those of DAVIS."""
    colours = DAVIS.copy()
    colours[1 : 1 + len(SHOWN)] = [list(bytes.fromhex(code[1:])) for code in SHOWN]
    return colours


DISTINCT = _distinct()


def davis_index(colours: np.ndarray) -> np.ndarray | None:
    """Return the index of each colour in the palette.

    Args:
      colours: uint8 [..., 3].

    Returns:
      uint8 [...]; None if some colour is not in the palette.
    """
    packed, known = packed_colours(colours), packed_colours(DAVIS)
    order = np.argsort(known)
    index = order[np.minimum(np.searchsorted(known, packed, sorter=order), len(known) - 1)]
    return index.astype(np.uint8) if np.all(known[index] == packed) else None


def packed_colours(colours: np.ndarray) -> np.ndarray:
    """Return colours, uint8 [..., 3], as numbers 0xRRGGBB, int64 [...]."""
    return colours.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
