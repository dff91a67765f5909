"""Frames of coloured noise that moves: no part is plain, and no two parts are alike."""

import cv2
import numpy as np

SIZE = 96, 128  # (height, width)
STEP = 3, 1  # pixels (x, y) from one frame to the next


def frames():
    """Return four frames, uint8 [height, width, 3]."""
    noise = np.random.default_rng(1).integers(0, 256, (40, 48, 3), np.uint8)
    noise = cv2.resize(noise, (192, 160), interpolation=cv2.INTER_CUBIC)
    return [noise[20 - t : 116 - t, 30 - 3 * t : 158 - 3 * t] for t in range(4)]
