"""Part of a video, and frames chosen from it, for figures."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.benchmarks import files
from stfc3_tf.clips import footage, video


@dataclasses.dataclass(frozen=True)
class Stretch:
    """A part of a video; it is decoded anew for every use, so that few frames are ever held.

    Attributes:
      path: video file or folder of pictures.
      start: in seconds.
      duration: in seconds; None for all that follows.
    """

    path: str
    start: float = 0.0
    duration: float | None = None

    def frames(self) -> Iterator[footage.Frame]:
        """Yields the frames of the part.

        Raises:
          errors.UserError: the video cannot be read, or ends before the part does.
        """
        opened = footage.open_footage(self.path)
        end = np.inf if self.duration is None else self.start + self.duration
        for frame in opened.frames():
            if frame.time > end:
                return
            if frame.time >= self.start:
                yield frame
        # The last frame is shown until the next would be.
        shown_until = frame.time + 1 / opened.frame_rate
        if frame.time < self.start or shown_until < end < np.inf:
            until = '' if self.duration is None else f' to {end:g} s'
            raise errors.UserError(
                f'{self.path} ends at {frame.time:.3f} s; frames from {self.start:g} s{until} are '
                'asked of it.'
            )

    @functools.cached_property
    def times(self) -> np.ndarray:
        """Seconds of all frames, float [frames]; errors as of `frames`."""
        return np.array([frame.time for frame in self.frames()])

    @property
    def frame_rate(self) -> float:
        """Mean frames per second; of a single frame, 1."""
        return (len(self.times) - 1) / np.ptp(self.times) if len(self.times) > 1 else 1.0

    def spread(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads frames at even distances, the first and the last among them.

        Returns:
          Seconds, float [count], and frames, uint8 [count, height, width, 3].

        Raises:
          errors.UserError: as of `frames`, or there are not as many.
        """
        if len(self.times) < count:
            raise errors.UserError(
                f'{self.path}: {len(self.times)} frames in the part asked for, {count} are wanted.'
            )
        chosen = evenly(len(self.times), count)
        numbered = enumerate(frame.image for frame in self.frames())
        return self.times[chosen], np.stack([image for n, image in numbered if n in chosen])


def evenly(available: int, count: int) -> list[int]:
    """`count` numbers at even distances from 0 to `available` - 1."""
    return np.rint(np.linspace(0, available - 1, count)).astype(int).tolist()


def frame_names(path: str) -> list[str]:
    """Names of a video's frames: of pictures without ending, of a video file 000000, 000001, ..."""
    if tf.io.gfile.isdir(path):
        return [files.stem(picture) for picture in video.pictures_in(path)]
    return [f'{frame.number:06d}' for frame in footage.open_footage(path).frames()]


def read_named(path: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads frames by the names that `frame_names` gives them, uint8 [height, width, 3] each."""
    frames = zip(frame_names(path), footage.open_footage(path).frames())
    return {name: frame.image for name, frame in frames if name in names}
