"""What every place that clips come from has in common: videos by number, read by time stamp.

A source knows how to read a clip of one of its videos; which clip to read is decided in
`stfc3_tf.clips.dataset`. Time is in seconds throughout.
"""

from __future__ import annotations

import abc
import threading

from absl import logging
import numpy as np

from stfc3_tf import errors


class UnreadableVideo(errors.UserError):
    """A video that cannot give the clip asked of it: corrupt, empty, too short.

    Attributes:
      name: which video, as `Source.name` gives it.
      reason: what is wrong with it.
      everywhere: True where no position in this video can succeed; False where only the part
        asked for failed.
    """

    def __init__(self, name: str, reason: str, everywhere: bool = True):
        super().__init__(f'{name}: {reason}')
        self.name = name
        self.reason = reason
        self.everywhere = everywhere


class Source(abc.ABC):
    """Videos by number, 0 ... len - 1, in an order that does not change between runs.

    Attributes:
      assumed_frame_rate: frames per second of videos that do not tell themselves; None where all do.
    """

    assumed_frame_rate: float | None = None

    @abc.abstractmethod
    def __len__(self) -> int:
        """How many videos there are, readable or not."""

    @abc.abstractmethod
    def name(self, video: int) -> str:
        """The path (or the shard and record) of a video, for messages."""

    @abc.abstractmethod
    def read(self, video: int, position: float, count: int, frame_rate: float) -> np.ndarray:
        """Reads one clip.

        Args:
          video: number of the video.
          position: in [0, 1), where the clip starts within the range in which all of it fits.
          count: frames in the clip.
          frame_rate: frames per second of the clip, whatever the video's own rate: each frame of
            the clip is the video's frame nearest in time.

        Returns:
          uint8 RGB [time, height, width, 3].

        Raises:
          UnreadableVideo: the clip cannot be read.
        """


class SkippedVideos:
    """The videos a run could not read, and why. Safe to share between threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._reasons: dict[str, str] = {}

    def add(self, name: str, reason: str) -> None:
        """Registers a video; the first time, a warning is logged."""
        with self._lock:
            if name in self._reasons:
                return
            self._reasons[name] = reason
        logging.warning('Skipping %s: %s', name, reason)

    @property
    def count(self) -> int:
        """How many different videos were skipped."""
        with self._lock:
            return len(self._reasons)

    def reasons(self) -> dict[str, str]:
        """A copy of name -> reason, in the order in which the videos were met."""
        with self._lock:
            return dict(self._reasons)

    def report(self, limit: int = 10) -> str:
        """Says how many videos were skipped and names the first `limit` of them, a line each."""
        reasons = self.reasons()
        lines = [f'{len(reasons)} videos could not be read and were skipped.']
        lines += [f'  {name}: {reason}' for name, reason in list(reasons.items())[:limit]]
        if len(reasons) > limit:
            lines.append(f'  ... and {len(reasons) - limit} more')
        return '\n'.join(lines)


def clip_times(
    name: str, first: float, last: float, position: float, count: int, frame_rate: float
) -> np.ndarray:
    """Places a clip within a video.

    Args:
      name: the video, for the message.
      first: time of the video's first frame.
      last: time of its last frame.
      position: in [0, 1), where the clip starts within the range in which all of it fits.
      count: frames in the clip.
      frame_rate: frames per second of the clip.

    Returns:
      float64 [time], the times of the clip's frames, none before `first` or after `last`.

    Raises:
      UnreadableVideo: the video is shorter than the clip.
    """
    span = (count - 1) / frame_rate
    room = last - first - span
    # Time stamps are rounded to the container's clock; a clip exactly as long as the video fits.
    if room < -1e-3:
        raise UnreadableVideo(
            name,
            f'too short: {last - first:.3f} s between its first and last frame, '
            f'{count} frames at {frame_rate:g} a second span {span:.3f} s',
        )
    start = first + position * max(room, 0.0)
    return np.minimum(start + np.arange(count) / frame_rate, last)


def nearest(times: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Finds the frame nearest in time to each target; of two equally near, the earlier.

    Args:
      times: [frames], ascending.
      targets: [time].

    Returns:
      int [time], indices into `times`.
    """
    after = np.clip(np.searchsorted(times, targets), 1, max(len(times) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(times) - 1)
    return np.where(targets - times[before] <= times[after] - targets, before, after)
