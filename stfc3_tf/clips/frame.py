"""A frame of a video from any source."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import functools

import cv2
import numpy as np


@dataclasses.dataclass(frozen=True)
class Frame:
    """A frame whose pixels are converted when they are first used.

    Attributes:
      number: 0, 1, ... in the order shown.
      time: seconds since the first frame.
      pixels: returns the upright frame, uint8 RGB [height, width, 3]. Its argument is the largest
        length of the shorter side, in pixels, to which the frame is averaged down; 0 for any
        length, None for the frame as decoded.
    """

    number: int
    time: float
    pixels: Callable[[int | None], np.ndarray]

    @classmethod
    def of_image(cls, number: int, time: float, image: np.ndarray) -> Frame:
        """Return a frame of an image that is already converted.

        Args:
          number: see `Frame`.
          time: see `Frame`.
          image: uint8 RGB [height, width, 3].

        Returns:
          The frame.
        """
        return cls(number, time, functools.partial(_resized, image))

    @functools.cached_property
    def image(self) -> np.ndarray:
        """The frame in full size, upright: uint8 RGB [height, width, 3]."""
        return self.pixels(None)


def shrunk_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Return the size of an image whose shorter side is made no longer than `short_side`.

    Args:
      height: in pixels.
      width: in pixels.
      short_side: in pixels; 0 for any length.

    Returns:
      Height and width in pixels.
    """
    scale = short_side / min(height, width)
    if not 0 < scale < 1:
        return height, width
    return max(1, round(height * scale)), max(1, round(width * scale))


def _resized(image: np.ndarray, short_side: int | None) -> np.ndarray:
    if short_side is None:
        return image
    height, width = shrunk_size(image.shape[0], image.shape[1], short_side)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
