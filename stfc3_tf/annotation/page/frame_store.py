"""The frames of a video as JPEGs by number, fast enough to play and to scrub.

A first pass over the video, in a thread of its own, counts its frames, notes their times and makes
small pictures for the time line. Until it is done, frames are decoded from the start; after that,
reading seeks.
"""

from __future__ import annotations

import array
import collections
from collections.abc import Callable, Iterator
import threading

import cv2
import numpy as np

from stfc3_tf import errors
from stfc3_tf.clips.footage import Footage
from stfc3_tf.clips.frame import Frame

_CACHE_BYTES = 64 << 20
_QUALITY, _SMALL_QUALITY = 90, 70
_SMALL_SIDE = 54
_MOST_SMALL = 80
# A frame at most this far ahead is decoded rather than sought. Before a sought frame, so many are
# kept too.
_NEAR, _KEPT_BEFORE = 32, 6


class FrameStore:
    """Frames of one video. Several threads may use it."""

    def __init__(self, reopen: Callable[[], Footage]):
        """Open the video and begin the first pass.

        Args:
          reopen: opens the video.

        Raises:
          errors.UserError: it cannot be opened.
        """
        self._reopen = reopen
        self._early = reopen()
        self._scanned = reopen()
        self._lock = threading.Lock()
        self._cache: collections.OrderedDict[int, bytes] = collections.OrderedDict()
        self._cached_bytes = 0
        self._frames: Iterator[Frame] = iter(())
        self._at = -_NEAR  # Nothing is read yet.
        self._closed = threading.Event()
        self.seen = 0
        self.count: int | None = None
        self.trouble = ''
        self.small: dict[int, bytes] = {}
        self._times = array.array('d')
        threading.Thread(target=self._scan_all, daemon=True).start()

    @property
    def footage(self) -> Footage:
        """The opened video, for a look at its size and rate."""
        return self._early

    def to_read(self) -> Footage:
        """Return an opened video for one more reader; it seeks if the first pass is done."""
        return self._scanned if self._is_whole() else self._reopen()

    def times(self) -> np.ndarray:
        """Return the times of all frames in seconds, float64 [frames]; none until the count."""
        return np.array(self._times if self.count is not None else [], np.float64)

    def jpeg(self, number: int) -> bytes:
        """Return a frame as JPEG.

        Raises:
          errors.UserError: there is no such frame, or it cannot be read.
        """
        with self._lock:
            if number in self._cache:
                self._cache.move_to_end(number)
                return self._cache[number]
            if self.count is not None and number >= self.count:
                raise errors.UserError(f'There is no frame {number}: the last is {self.count - 1}.')
            return self._read(number)

    def close(self) -> None:
        """End the first pass, and forget the frames."""
        self._closed.set()
        with self._lock:
            self._cache.clear()

    def _is_whole(self) -> bool:
        return self.count is not None and not self.trouble

    def _read(self, number: int) -> bytes:
        """Go on to a frame, or seek it."""
        if not self._at <= number < self._at + _NEAR:
            self._at = max(0, number - _KEPT_BEFORE)
            self._frames = (self._scanned if self._is_whole() else self._early).frames(self._at)
        # If reading fails, these frames are at their end, and the next request begins again.
        self._at = -_NEAR
        for frame in self._frames:
            if frame.number >= number - _KEPT_BEFORE:
                self._keep(frame)
            if frame.number == number:
                self._at = number + 1
                return self._cache[number]
        raise errors.UserError(f'There is no frame {number} in {self._early.name}.')

    def _keep(self, frame: Frame) -> None:
        contents = _encoded(frame.image, _QUALITY)
        self._cached_bytes += len(contents) - len(self._cache.pop(frame.number, b''))
        self._cache[frame.number] = contents
        while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= len(self._cache.popitem(last=False)[1])

    def _scan_all(self) -> None:
        try:
            for frame in self._scanned.frames():
                self._look_at(frame)
                if self._closed.is_set():
                    return
        except Exception as error:  # noqa: BLE001 Whatever it is, the frames before can be used.
            self.trouble = str(error)
        self.count = self.seen

    def _look_at(self, frame: Frame) -> None:
        """Keep a small picture of every frame, or of every second, fourth, ... of a long video."""
        step = self._step()
        if frame.number % step == 0:
            self.small[frame.number] = _encoded(frame.pixels(_SMALL_SIDE), _SMALL_QUALITY)
        if len(self.small) > _MOST_SMALL:
            self.small = {n: each for n, each in self.small.items() if n % (2 * step) == 0}
        self._times.append(frame.time)
        self.seen = frame.number + 1

    def _step(self) -> int:
        numbers = sorted(self.small)[:2]
        return numbers[1] - numbers[0] if len(numbers) > 1 else 1


def _encoded(image: np.ndarray, quality: int) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
