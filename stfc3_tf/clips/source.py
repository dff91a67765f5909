"""The interface of all sources of clips: videos by number, read by time.

A source reads a clip of one of its videos. `stfc3_tf.clips.dataset` decides which clip. All times
are in seconds.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
import threading

from absl import logging
import numpy as np

from stfc3_tf import errors, wording


class UnreadableVideo(errors.UserError):
    """A video from which the requested clip cannot be read: corrupt, empty, too short.

    Args:
      name: of the video, as `Source.name` returns it.
      reason: what is wrong with it.
      everywhere: True if every position in this video fails, False if another position may succeed.
    """

    def __init__(self, name: str, reason: str, everywhere: bool = True):
        super().__init__(f'{name}: {reason}')
        self.name = name
        self.reason = reason
        self.everywhere = everywhere


class Source(abc.ABC):
    """Videos by number, 0 ... len - 1, in an order that does not change between runs.

    Attributes:
      assumed_frame_rate: frames per second of videos that do not state it; None if all state it.
    """

    assumed_frame_rate: float | None = None

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of videos, readable or not."""

    @abc.abstractmethod
    def name(self, video: int) -> str:
        """Return the path (or the shard and record) of a video, for messages."""

    def files(self) -> list[str]:
        """Return the files or folders that hold the videos; none if they are computed."""
        return []

    @abc.abstractmethod
    def read(self, video: int, position: float, count: int, frame_rate: float) -> np.ndarray:
        """Read one clip.

        Args:
          video: number of the video.
          position: in [0, 1), the start of the clip as a share of the range of possible starts.
          count: frames in the clip.
          frame_rate: frames per second of the clip. Each frame of the clip is the frame of the
            video that is nearest in time, whatever the video's own rate.

        Returns:
          uint8 RGB [time, height, width, 3].

        Raises:
          UnreadableVideo: the clip cannot be read.
        """


class PathSource(Source):
    """A source in which every path is a video.

    Args:
      paths: of the videos, on any file systems TensorFlow knows.
    """

    def __init__(self, paths: Sequence[str]):
        self._paths = list(paths)

    def __len__(self) -> int:
        """See `Source`."""
        return len(self._paths)

    def name(self, video: int) -> str:
        """See `Source.name`."""
        return self._paths[video]

    def files(self) -> list[str]:
        """See `Source.files`."""
        return list(self._paths)


class SkippedVideos:
    """The videos that a run could not read, with the reasons. Threads may share it."""

    def __init__(self):
        self._lock = threading.Lock()
        self._reasons: dict[str, str] = {}

    def add(self, name: str, reason: str) -> None:
        """Register a video and log a warning the first time."""
        with self._lock:
            if name in self._reasons:
                return
            self._reasons[name] = reason
        logging.warning('Skipping %s: %s', name, reason)

    @property
    def count(self) -> int:
        """Number of different videos that were skipped."""
        with self._lock:
            return len(self._reasons)

    def reasons(self) -> dict[str, str]:
        """Return a copy of name -> reason, in the order in which the videos were skipped."""
        with self._lock:
            return dict(self._reasons)

    def report(self, limit: int = 10) -> str:
        """Return how many videos were skipped, and the first `limit` of them in a line each."""
        reasons = self.reasons()
        lines = [f'Skipped {wording.counted(len(reasons), "video")} that could not be read:']
        lines += [f'  {name}: {reason}' for name, reason in list(reasons.items())[:limit]]
        if len(reasons) > limit:
            lines.append(f'  ... and {len(reasons) - limit} more')
        return '\n'.join(lines)


def clip_times(
    name: str, first: float, last: float, position: float, count: int, frame_rate: float
) -> np.ndarray:
    """Place a clip within a video.

    Args:
      name: of the video, for the message.
      first: time of the video's first frame.
      last: time of its last frame.
      position: in [0, 1), the start of the clip as a share of the range of possible starts.
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
            f'{count} frames at {frame_rate:g} per second span {span:.3f} s',
        )
    start = first + position * max(room, 0.0)
    return np.minimum(start + np.arange(count) / frame_rate, last)


def nearest(times: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Find the frame nearest in time to each target; of two equally near, the earlier.

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
