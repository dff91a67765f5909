"""A whole video: every frame with its number and time, forwards and backwards from any frame.

In both directions, memory grows with the video's length only by a time and a checksum per frame,
and nothing is written to disk. After a file was read whole, reading from a frame seeks, and several
threads may read at the same time. Decoders only go forwards. To go backwards, a chunk of frames
that fits into `CHUNK_BYTES` is decoded from the key frame before it, and its frames are yielded in
reverse order. If seeking does not lead to exactly the frames that decoding from the start gave, the
chunk is decoded from the start. If frames differ from the first pass, because the file changed
since then, it is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import fractions
import itertools
import posixpath
from typing import NamedTuple, Protocol
import zlib

import av
import numpy as np

from stfc3_tf import checks, errors, wording
from stfc3_tf.clips import decoder, orientation, source, video
from stfc3_tf.clips.frame import Frame
from stfc3_tf.storage import files, folders, images

CHUNK_BYTES = 256 << 20
# The decoder seeks to these times, in seconds before the wanted frame, one after the other: if a
# container's index is only roughly right, a slightly earlier time is often enough.
_LEADS = (0, 2, 10)


class Footage(Protocol):
    """A video file or a folder of pictures.

    Attributes:
      name: its path, for messages.
      size: (height, width) of its frames.
      frame_rate: frames per second; the mean if it varies.
      pixel_aspect: width / height of a pixel as players show it; not 1 for anamorphic video.
    """

    name: str
    size: tuple[int, int]
    frame_rate: float
    pixel_aspect: fractions.Fraction

    @property
    def stated_count(self) -> int | None:
        """How many frames it should have.

        For a video file this is what its header says, which may be wrong, or None where the header
        does not say it.
        """

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Yield the frames from number `start` to the last.

        Raises:
          errors.UserError: the video has `start` frames or fewer.
          source.UnreadableVideo: at a frame that cannot be decoded or has another size, at the end
            of a file that is cut off, or if the file changed since it was first read.
        """

    def backwards(self, stop: int) -> Iterator[Frame]:
        """Yield the frames `stop` - 1, ..., 0; frame `stop` must have been read before.

        Raises:
          source.UnreadableVideo: see `frames`.
        """


class FolderOfVideos(errors.UserError):
    """A folder of videos is given as one video.

    Args:
      folder: its path.
      names: of the videos in it.
    """

    def __init__(self, folder: str, names: list[str]):
        found = f'{folder} holds {wording.counted(len(names), "video")}, not the frames of one'
        self._start = f'{found}: give one, such as {posixpath.join(folder, min(names))}'
        self._folder = folder
        super().__init__(f'{self._start}.')

    def or_all(self, flag: str) -> errors.UserError:
        """Return the error of a command that takes all videos of a folder with a flag."""
        return errors.UserError(f'{self._start}, or all with {flag}={self._folder}.')


def open_footage(path: str, assumed_rate: float = decoder.ASSUMED_RATE) -> Footage:
    """Open a video and decode its first frame.

    Args:
      path: a video file in any container and codec FFmpeg knows, or a folder of pictures in the
        order of the numbers in their names; on any file system TensorFlow knows.
      assumed_rate: frames per second of a folder of pictures, or of a stream without times.

    Raises:
      FolderOfVideos: a folder of videos.
      errors.UserError: missing, not a video, or without a frame that can be decoded.
    """
    checks.frame_rate('frame_rate', assumed_rate)
    if not folders.exists(path):
        raise errors.UserError(f'{path}: there is no such video file or folder of pictures.')
    is_folder = folders.is_folder(path)
    if is_folder:
        _check_folder(path)
    try:
        return _Folder(path, assumed_rate) if is_folder else _File(path, assumed_rate)
    except source.UnreadableVideo as error:
        # What is said of a folder lists these endings.
        endings = '' if is_folder else f' ({", ".join(video.PICTURE_SUFFIXES)})'
        raise errors.UserError(
            f'{path} cannot be read as a video: {error.reason}. Give a video file or a folder of '
            f'pictures{endings}.'
        ) from error


def _check_folder(path: str) -> None:
    """Raise FolderOfVideos if a folder holds videos instead of the frames of one."""
    names = files.names_in(path)
    videos = [name for name in names if video.is_video_file(name)]
    # Their masks may be beside them.
    masks = {files.stem(name) + addition for name in videos for addition in video.MASK_ADDITIONS}
    frames = (name for name in names if video.is_picture(name) and files.stem(name) not in masks)
    if videos and not any(frames):
        raise FolderOfVideos(path, videos)


class _Folder:
    """Footage of a folder of pictures."""

    def __init__(self, path: str, frame_rate: float):
        self.name = path
        self.frame_rate = frame_rate
        self.pixel_aspect = fractions.Fraction(1)
        self._paths = video.pictures_in(path)
        self.stated_count: int | None = len(self._paths)
        self.size = images.size_of(video.read_picture(self._paths[0]))

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See `Footage.frames`."""
        _check_start(self.name, start, len(self._paths))
        return map(self._read, range(start, len(self._paths)))

    def backwards(self, stop: int) -> Iterator[Frame]:
        """See `Footage.backwards`."""
        return map(self._read, reversed(range(stop)))

    def _read(self, number: int) -> Frame:
        path = self._paths[number]
        image = video.read_picture(path)
        return _frame(number, number / self.frame_rate, image, path, self.size)


class _File:
    """Footage of a video file."""

    def __init__(self, path: str, assumed_rate: float):
        self.name = path
        self._assumed_rate = assumed_rate
        # Stamp and checksum of every frame decoded so far, and whether these are all frames.
        self._known: list[_Identity] = []
        self._all_known = False
        with decoder.opened(path, assumed_rate) as video:
            self._tick = float(video.tick)
            self._seekable = video.seekable
            self.frame_rate = 1 / video.interval
            self.stated_count = video.stated_count
            first = next(video.frames()).frame
            shown = orientation.orientation_of(first)
            self.pixel_aspect = orientation.pixel_aspect(video.stream, shown)
        self.size = images.size_of(orientation.upright_rgb(first))
        self._chunk = max(1, CHUNK_BYTES // sum(abs(plane.buffer_size) for plane in first.planes))

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See `Footage.frames`.

        Frames before `start` are decoded too, unless the whole file was read before and seeking
        leads to exactly the frames that were found then.
        """
        number = start
        for frame in self._resumed(start):
            yield self._shown(number, frame)
            number += 1
        if self._all_known and start < number == len(self._known):
            return
        for frame in self._decoded(number):
            yield self._shown(number, frame)
            number += 1
        _check_start(self.name, start, len(self._known))

    def _resumed(self, start: int) -> Iterator[av.VideoFrame]:
        """Yield frames from `start` on by seeking, as long as they are those that are known."""
        if not self._all_known or not self._seekable or not 0 < start < len(self._known):
            return
        number = start
        for lead in _LEADS:
            with contextlib.suppress(source.UnreadableVideo):
                for frame in self._from(start, round(lead / self._tick)):
                    yield frame
                    number += 1
            if number > start:
                return

    def _from(self, start: int, lead: int) -> Iterator[av.VideoFrame]:
        """Yield known frames from `start` on, decoded from `lead` ticks before; stop at others."""
        stamp, wanted = self._known[start].stamp, iter(self._known[start:])
        with decoder.opened(self.name, self._assumed_rate) as video:
            for found in video.frames_near(stamp - lead):
                if found.stamp < stamp:
                    continue
                if _identity(found.stamp, found.frame) != next(wanted, None):
                    return
                yield found.frame

    def backwards(self, stop: int) -> Iterator[Frame]:
        """See `Footage.backwards`."""
        while stop > 0:
            start = max(0, stop - self._chunk)
            chunk = self._sought(start, stop)
            if chunk is None:
                chunk = list(itertools.islice(self._decoded(start), stop - start))
            if len(chunk) != stop - start:
                raise self._changed(start + len(chunk))
            while chunk:
                stop -= 1
                yield self._shown(stop, chunk.pop())

    def _decoded(self, start: int) -> Iterator[av.VideoFrame]:
        """Decode from the first frame and yield from frame `start`; compare or remember each."""
        count = 0
        with decoder.opened(self.name, self._assumed_rate) as video:
            for stamp, frame in video.frames():
                self._check(count, _identity(stamp, frame))
                count += 1
                if count > start:
                    yield frame
        if count < len(self._known):
            raise self._changed(count)
        self._all_known = True

    def _check(self, number: int, found: _Identity) -> None:
        """Remember a new frame; raise if a known one differs from the earlier pass."""
        if number < len(self._known):
            if found != self._known[number]:
                raise self._changed(number)
        elif self._all_known:
            raise self._changed(number)
        else:
            self._known.append(found)

    def _changed(self, number: int) -> source.UnreadableVideo:
        return source.UnreadableVideo(
            self.name,
            f'frame {number} differs from the first time it was read: the file changed',
            everywhere=False,
        )

    def _sought(self, start: int, stop: int) -> list[av.VideoFrame] | None:
        """Return frames start ... stop - 1 by seeking, or None if seeking finds others."""
        wanted = self._known[start:stop]
        for lead in _LEADS if self._seekable else ():
            with contextlib.suppress(source.UnreadableVideo):
                found = self._within(wanted, wanted[0].stamp - round(lead / self._tick))
                if [identity for identity, _ in found] == wanted:
                    return [frame for _, frame in found]
        return None

    def _within(
        self, wanted: list[_Identity], sought: int
    ) -> list[tuple[_Identity, av.VideoFrame]]:
        """Decode from the key frame before `sought`; return frames in the time of the wanted."""
        first, last = wanted[0].stamp, wanted[-1].stamp
        with decoder.opened(self.name, self._assumed_rate) as video:
            decoded = video.frames_near(sought)
            decoded = itertools.takewhile(lambda frame: frame.stamp <= last, decoded)
            found = (
                (_identity(stamp, decoder.intact(self.name, frame, stamp * self._tick)), frame)
                for stamp, frame in decoded
                if stamp >= first
            )
            return list(itertools.islice(found, len(wanted)))

    def _shown(self, number: int, frame: av.VideoFrame) -> Frame:
        time = (self._known[number].stamp - self._known[0].stamp) * self._tick
        image = orientation.upright_rgb(frame)
        return _frame(number, time, image, f'{self.name}: frame {number}', self.size)


class _Identity(NamedTuple):
    """The identity of a frame; seeking may give the right time with the wrong picture."""

    stamp: int
    checksum: int


def _identity(stamp: int, frame: av.VideoFrame) -> _Identity:
    return _Identity(stamp, zlib.crc32(np.ascontiguousarray(_identifying_pixels(frame)).data))


def _identifying_pixels(frame: av.VideoFrame) -> np.ndarray:
    plane = frame.planes[0]
    width = plane.width * frame.format.components[0].bits // 8
    # A palette is outside the plane. Rows that are stored upwards have a negative size.
    if frame.format.name == 'pal8' or plane.line_size < width:
        return frame.to_ndarray(format='rgb24')
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, :width]  # The padding after the width of a row is undefined.


def _check_start(name: str, start: int, count: int) -> None:
    if start >= count:
        raise errors.UserError(
            f'{name} has no frame {start}: its last frame has the number {count - 1}.'
        )


def _frame(number: int, time: float, image: np.ndarray, name: str, size: tuple[int, int]) -> Frame:
    """Return a frame of an image, which must have the size (height, width)."""
    if images.size_of(image) != size:
        raise source.UnreadableVideo(
            name,
            f'is {image.shape[1]}x{image.shape[0]} (width x height), the first frame '
            f'{size[1]}x{size[0]}; all frames of a video must have one size',
            everywhere=False,
        )
    return Frame.of_image(number, time, image)
