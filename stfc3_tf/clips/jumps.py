"""Jumps in the times of a video whose frames otherwise follow each other evenly.

Matroska, WebM, FLV, ASF and MPEG streams do not state how many frames they hold. Where packets are
lost, only the times tell. Recorders leave frames out, too, so a jump is no error; and if the rate
varies, or there are many jumps, they mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
import functools

from absl import logging
import numpy as np

from stfc3_tf import wording

# Parts of the names of formats that state no number of frames.
_UNCOUNTED = ('matroska', 'flv', 'asf', 'mpegts', 'mpeg')
_FEWEST_INTERVALS = 10
# Relative to the median interval: what is even, and what is a jump. Times are rounded to _TICK.
_EVEN, _JUMP, _TICK = 0.25, 1.6, 0.0015
# At most this many jumps, or this share of the intervals if that is more, mean something.
_MOST, _MOST_SHARE = 3, 0.01


def find(times: Sequence[float]) -> list[int]:
    """Return the numbers of the frames after which times jump.

    Args:
      times: of all frames, ascending, in seconds.

    Returns:
      The numbers; none if the frames do not follow each other evenly.
    """
    intervals = np.diff(times)
    if len(intervals) < _FEWEST_INTERVALS:
        return []
    middle = float(np.median(intervals))
    jumps = np.flatnonzero(intervals > _JUMP * middle + _TICK)
    even = np.abs(intervals - middle) <= _EVEN * middle + _TICK
    most = max(_MOST, int(_MOST_SHARE * len(intervals)))
    if even.sum() + len(jumps) < len(intervals) or len(jumps) > most:
        return []
    return [int(number) for number in jumps]


def warn(path: str, container_format: str, times: Sequence[float]) -> None:
    """Warn, once per file, where frames seem to be missing.

    Args:
      path: of the video.
      container_format: FFmpeg's name of it.
      times: see `find`.
    """
    if any(name in container_format.split(',') for name in _UNCOUNTED):
        found = find(times)
        if found:
            _warn(path, len(found), times[found[0]], times[found[0] + 1])


@functools.lru_cache(maxsize=1024)  # A file is read more than once.
def _warn(path: str, count: int, before: float, after: float) -> None:
    logging.warning(
        '%s: its times jump in %s, first from %.3f s to %.3f s, and are even otherwise: frames may '
        'be missing there, and what follows up to the next key frame may be wrong.',
        path,
        wording.counted(count, 'place'),
        before,
        after,
    )
