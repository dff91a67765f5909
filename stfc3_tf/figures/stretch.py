"""Parts of videos, and frames chosen from them, for figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import dataclasses
import fractions
import functools

import numpy as np
import tensorflow as tf

from stfc3_tf import errors, wording
from stfc3_tf.clips import footage, video
from stfc3_tf.storage import files


@dataclasses.dataclass(frozen=True)
class Stretch:
    """A part of a video, decoded again for each use, so that few frames are in memory.

    Attributes:
      path: video file or folder of pictures.
      start: in seconds.
      duration: in seconds; None to go to the end of the video.
    """

    path: str
    start: float = 0.0
    duration: float | None = None

    def frames(self) -> Iterator[footage.Frame]:
        """Yield the frames of the part.

        Raises:
          errors.UserError: the video cannot be read, ends before the part, or has no frame in it.
        """
        opened = footage.open_footage(self.path)
        end = np.inf if self.duration is None else self.start + self.duration
        before = None
        for frame in opened.frames():
            if frame.time > end:
                if before is None or before < self.start:
                    raise self._empty(before, end, frame.time)
                return
            if frame.time >= self.start:
                yield frame
            before = frame.time
        # The last frame is shown for as long as any other.
        shown_until = frame.time + 1 / opened.frame_rate
        if frame.time < self.start or shown_until < end < np.inf:
            until = '' if self.duration is None else f' to {end:g} s'
            raise errors.UserError(
                f'{self.path} ends at {frame.time:.3f} s, but frames from {self.start:g} s{until} '
                'are needed.'
            )

    def _empty(self, before: float | None, end: float, after: float) -> errors.UserError:
        """Return the error of a part between two frames."""
        times = ' and '.join(f'{time:.3f} s' for time in (before, after) if time is not None)
        return errors.UserError(
            f'{self.path} has no frame from {self.start:g} s to {end:g} s; those beside are at '
            f'{times}: choose a longer part.'
        )

    @functools.cached_property
    def times(self) -> np.ndarray:
        """Times of all frames in seconds, float [frames]; raises the errors of `frames`."""
        return np.array([frame.time for frame in self.frames()])

    @property
    def frame_rate(self) -> float:
        """Mean frames per second; 1 for a single frame."""
        return (len(self.times) - 1) / np.ptp(self.times) if len(self.times) > 1 else 1.0

    @property
    def pixel_aspect(self) -> fractions.Fraction:
        """Width / height of a pixel as players show it."""
        return footage.open_footage(self.path).pixel_aspect

    def spread(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Read frames at equal distances, the first and the last included.

        Returns:
          Times in seconds, float [count], and frames, uint8 [count, height, width, 3].

        Raises:
          errors.UserError: see `frames`; or the part has fewer frames.
        """
        if len(self.times) < count:
            raise errors.UserError(
                f'{self.path}: the chosen part has '
                f'{wording.counted(len(self.times), "frame")}, but {count} are needed.'
            )
        chosen = evenly(len(self.times), count)
        numbered = enumerate(frame.image for frame in self.frames())
        return self.times[chosen], np.stack([image for n, image in numbered if n in chosen])


def evenly(available: int, count: int) -> list[int]:
    """Return `count` whole numbers at about equal distances from 0 to `available` - 1."""
    return np.rint(np.linspace(0, available - 1, count)).astype(int).tolist()


def frame_names(path: str) -> list[str]:
    """Return the names of frames: those of pictures without ending, or 000000, 000001, ..."""
    if tf.io.gfile.isdir(path):
        return [files.stem(picture) for picture in video.pictures_in(path)]
    return [f'{frame.number:06d}' for frame in footage.open_footage(path).frames()]


def read_named(path: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read the frames with these names (see `frame_names`), uint8 [height, width, 3] each."""
    frames = zip(frame_names(path), footage.open_footage(path).frames())
    return {name: frame.image for name, frame in frames if name in names}
