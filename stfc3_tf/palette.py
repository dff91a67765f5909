"""The colours of DAVIS and PASCAL VOC, in which index masks are written and drawn."""

import numpy as np


def _davis() -> np.ndarray:
    """The 256 colours: uint8 [256, 3].

    Bits 0, 3, 6 of an index are the high bits of red, from the highest downwards; bits 1, 4, 7
    those of green, bits 2, 5 those of blue.
    """
    index = np.arange(256)[:, np.newaxis]
    channel = np.arange(3)
    colours = np.zeros((256, 3), np.int64)
    for level in range(3):
        colours |= (index >> (3 * level + channel) & 1) << (7 - level)
    return colours.astype(np.uint8)


DAVIS = _davis()
