"""The labels of all frames of a video, as the writers of formats get them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Video(NamedTuple):
    """What formats say of a video.

    Attributes:
      name: its path.
      size: (height, width) of its frames.
      frame_rate: frames per second.
    """

    name: str
    size: tuple[int, int]
    frame_rate: float


class MaskFrame(NamedTuple):
    """The objects of a frame.

    Attributes:
      number: of the frame.
      time: in seconds.
      mask: unsigned [height, width] of object numbers, 0 the background.
      confidence: 0 to 1 for each object that may be there.
    """

    number: int
    time: float
    mask: np.ndarray
    confidence: Mapping[int, float]


class PointFrame(NamedTuple):
    """The points of a frame.

    Attributes:
      number: of the frame.
      time: in seconds.
      points: float64 [points, 2], (x, y) in pixels, pixel centres at integers; NaN for a lost one.
      confidence: float64 [points], 0 to 1.
      visible: bool [points].
    """

    number: int
    time: float
    points: np.ndarray
    confidence: np.ndarray
    visible: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Which points have a position, bool [points]."""
        return np.isfinite(self.points).all(axis=-1)

    @property
    def flags(self) -> np.ndarray:
        """The v of COCO and YOLO, int [points]: 2 visible, 1 occluded, 0 without a position."""
        return np.where(self.known, np.where(self.visible, 2, 1), 0)


class MaskResults(NamedTuple):
    """The objects of a video.

    Attributes:
      video: the video.
      names: object number -> name.
      frames: in the order of time; read from disk each time that they are iterated over.
    """

    video: Video
    names: Mapping[int, str]
    frames: Iterable[MaskFrame]


class PointResults(NamedTuple):
    """The points of a video.

    Attributes:
      video: the video.
      names: one for each point.
      frames: in the order of time; read from disk each time that they are iterated over.
    """

    video: Video
    names: Sequence[str]
    frames: Iterable[PointFrame]


def objects_of(frame: MaskFrame, found: MaskResults) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield place in `names`, number and mask, bool [height, width], of the objects of a frame."""
    for place, number in enumerate(found.names):
        mask = frame.mask == number
        if mask.any():
            yield place, number, mask


def file_name(number: int) -> str:
    """Return the name that formats with a picture per frame give to a frame's picture."""
    return f'{number:06d}.jpg'


def box_around(points: np.ndarray) -> tuple[float, float, float, float]:
    """Return the box (x, y, width, height) around points [points, 2]; pixel edges at integers."""
    low, high = points.min(axis=0), points.max(axis=0) + 1
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])
