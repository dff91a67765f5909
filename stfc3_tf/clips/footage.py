"""One video as a whole: every frame with its number and time, onwards and backwards from any frame.

Memory does not depend on the video's length in either direction, but for a time and a checksum a
frame, and nothing is put on disk.
Decoders only go onwards; backwards, a chunk of frames that fits into `CHUNK_BYTES` is decoded at a
time, from the key frame before it, and handed out last frame first. A chunk costs itself and what
lies between it and its key frame; where seeking does not lead to exactly the frames that decoding
from the start gave, it is decoded from the start.
"""

from __future__ import annotations

import contextlib
import itertools
import zlib
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import av
import numpy as np
import tensorflow as tf

from stfc3_tf import checks, errors
from stfc3_tf.clips import source, video

CHUNK_BYTES = 256 << 20
# Seconds before the wanted frame at which it is tried to seek: where a container's index is only
# roughly right, a little earlier often is right enough.
_LEADS = (0, 2, 10)
# Seconds by which headers are wrong without anything missing.
_CUT_OFF = 1.0


class Frame(NamedTuple):
    """A frame of a video.

    Attributes:
      number: 0, 1, ... in the order shown.
      time: seconds since the first frame.
      image: uint8 RGB [height, width, 3], upright.
    """

    number: int
    time: float
    image: np.ndarray


class Footage(Protocol):
    """A video file or a folder of pictures.

    Attributes:
      name: its path, for messages.
      size: (height, width) of its frames.
      frame_rate: frames per second, where they vary their mean.
      stated_count: how many frames it should have; of a video file what its header says, which may
        be wrong, or None where that says nothing.
    """

    name: str
    size: tuple[int, int]
    frame_rate: float
    stated_count: int | None

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Yields the frames from number `start` to the last.

        Raises:
          errors.UserError: there are no more than `start` frames.
          source.UnreadableVideo: on reaching what cannot be decoded or has another size, or the end
            of a file that is cut off.
        """

    def backwards(self, stop: int) -> Iterator[Frame]:
        """Yields the frames `stop` - 1, ..., 0; frame `stop` must have been read before.

        Raises:
          source.UnreadableVideo: as of `frames`.
        """


def open_footage(path: str, folder_rate: float = 24.0) -> Footage:
    """Opens a video and decodes its first frame.

    Args:
      path: a video file in any container and codec FFmpeg knows, or a folder of pictures in the
        order of the numbers in their names; on any file system TensorFlow knows.
      folder_rate: pictures per second of a folder.

    Raises:
      errors.UserError: it is not there, or not a video, or has no frame that can be decoded.
    """
    checks.positive_number('frame_rate', folder_rate)
    if not tf.io.gfile.exists(path):
        raise errors.UserError(f'{path}: there is no such video file or folder of pictures.')
    try:
        return _Folder(path, folder_rate) if tf.io.gfile.isdir(path) else _File(path)
    except source.UnreadableVideo as error:
        raise errors.UserError(
            f'{path} cannot be read as a video: {error.reason}. Give a video file or a folder of '
            f'pictures ({", ".join(video.PICTURE_SUFFIXES)}).'
        ) from error


class _Folder:
    """Footage of a folder of pictures."""

    def __init__(self, path: str, frame_rate: float):
        self.name = path
        self.frame_rate = frame_rate
        self._paths = video.pictures_in(path)
        self.stated_count = len(self._paths)
        self.size = video.read_picture(self._paths[0]).shape[:2]

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See `Footage.frames`."""
        _check_start(self.name, start, len(self._paths))
        return map(self._read, range(start, len(self._paths)))

    def backwards(self, stop: int) -> Iterator[Frame]:
        """See `Footage.backwards`."""
        return map(self._read, reversed(range(stop)))

    def _read(self, number: int) -> Frame:
        path = self._paths[number]
        image = _of_size(path, video.read_picture(path), self.size)
        return Frame(number, number / self.frame_rate, image)


class _File:
    """Footage of a video file."""

    def __init__(self, path: str):
        self.name = path
        self.size = None
        # Time in ticks of the stream, and checksum, of every frame decoded so far.
        self._stamps: list[tuple[int, int]] = []
        with video.translated_errors(path), video.opened(path) as (container, stream):
            self._tick = float(stream.time_base)
            self.frame_rate = float(stream.average_rate or 24)
            # Sound may be longer than the pictures.
            known = stream.duration is not None or len(container.streams) == 1
            self._seconds = video.stated_seconds(container, stream) if known else 0.0
            self.stated_count = stream.frames or round(self._seconds * self.frame_rate) or None
        first = next(self._decoded(0), None)
        if first is None:
            raise source.UnreadableVideo(path, 'holds no frames')
        self.size = video.upright_rgb(first).shape[:2]
        frame_bytes = sum(plane.buffer_size for plane in first.planes)
        self._chunk = max(1, CHUNK_BYTES // frame_bytes)

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See `Footage.frames`; frames before `start` are decoded too."""
        frame = None
        for number, frame in enumerate(self._decoded(start), start):
            yield self._shown(number, frame)
        _check_start(self.name, start, len(self._stamps))
        self._check_end(frame)

    def backwards(self, stop: int) -> Iterator[Frame]:
        """See `Footage.backwards`."""
        while stop > 0:
            start = max(0, stop - self._chunk)
            chunk = self._sought(start, stop)
            if chunk is None:
                chunk = list(itertools.islice(self._decoded(start), stop - start))
            while chunk:
                stop -= 1
                yield self._shown(stop, chunk.pop())

    def _decoded(self, start: int) -> Iterator[av.VideoFrame]:
        """Decodes from the first frame, yields from frame `start`, notes every frame's stamp."""
        with video.translated_errors(self.name), video.opened(self.name) as (container, stream):
            stream.thread_type = 'AUTO'
            for number, frame in enumerate(container.decode(stream)):
                if number == len(self._stamps):
                    video.time_of(self.name, frame)
                    self._stamps.append(_stamp(frame))
                if number >= start:
                    yield video.intact(self.name, frame)

    def _sought(self, start: int, stop: int) -> list[av.VideoFrame] | None:
        """Frames start ... stop - 1 by seeking, or None if that does not lead to exactly these."""
        wanted = self._stamps[start:stop]
        for lead in _LEADS:
            with contextlib.suppress(source.UnreadableVideo):
                frames = self._alike(wanted, wanted[0][0] - round(lead / self._tick))
                if [_stamp(frame) for frame in frames] == wanted:
                    return frames
        return None

    def _alike(self, wanted: list[tuple[int, int]], sought: int) -> list[av.VideoFrame]:
        """Frames within the times of those wanted, decoded from the key frame before `sought`."""
        first, last = wanted[0][0], wanted[-1][0]
        with video.translated_errors(self.name), video.opened(self.name) as (container, stream):
            stream.thread_type = 'AUTO'
            container.seek(sought, stream=stream)
            decoded = _timed(container, stream)
            decoded = itertools.takewhile(lambda frame: frame.pts <= last, decoded)
            found = (video.intact(self.name, frame) for frame in decoded if frame.pts >= first)
            return list(itertools.islice(found, len(wanted)))

    def _check_end(self, frame: av.VideoFrame) -> None:
        """A file that is cut off often just ends, without an error."""
        end = (frame.pts - self._stamps[0][0] + (frame.duration or 0)) * self._tick
        if self._seconds - end > max(_CUT_OFF, 0.01 * self._seconds):
            raise source.UnreadableVideo(
                self.name,
                f'ends after {end:.2f} s, its header says {self._seconds:.2f} s: it seems cut off',
                everywhere=False,
            )

    def _shown(self, number: int, frame: av.VideoFrame) -> Frame:
        time = (frame.pts - self._stamps[0][0]) * self._tick
        image = _of_size(f'{self.name}: frame {number}', video.upright_rgb(frame), self.size)
        return Frame(number, time, image)


def _stamp(frame: av.VideoFrame) -> tuple[int, int]:
    """What tells a frame from others: seeking may give the right time with the wrong picture."""
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    # What lies behind the width of a row may be anything.
    return frame.pts, zlib.crc32(np.ascontiguousarray(rows[:, : plane.width]))


def _timed(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.VideoFrame]:
    """Decodes; right after a seek some containers give frames whose time they do not know."""
    return (frame for frame in container.decode(stream) if frame.pts is not None)


def _check_start(name: str, start: int, count: int) -> None:
    if start >= count:
        raise errors.UserError(
            f'{name} has no frame {start}: its {count} frames are numbered from 0 to {count - 1}.'
        )


def _of_size(name: str, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if image.shape[:2] != size:
        raise source.UnreadableVideo(
            name,
            f'is {image.shape[1]}x{image.shape[0]} (width x height), the first frame '
            f'{size[1]}x{size[0]}; all frames of a video must have one size',
            everywhere=False,
        )
    return image
