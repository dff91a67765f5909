"""One video into encoded pictures, a segment at a time: memory does not grow with its length."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import av
import cv2
import numpy as np
import tensorflow as tf

from stfc3_tf import errors, object_store
from stfc3_tf.clips import shards, source, video
from stfc3_tf.preparation import settings as settings_lib

# A record is read as a whole, whatever of it is wanted, and a Protocol Buffer ends at 2^31 bytes.
MAX_SEGMENT_BYTES = 64_000_000
# How much earlier than its header says a video may end without being called damaged, in seconds
# and in frames: sound may be longer than the pictures, and headers round.
_EARLY_SECONDS, _EARLY_FRAMES = 1.0, 3.0

_FAULTS_OF_A_FILE = (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.OutOfRangeError,
)
_CLOCK_TICK = 1e-3  # Seconds; containers round time stamps to their clock.


class Frame(NamedTuple):
    """A decoded frame, not yet converted.

    Attributes:
      seconds: since the first frame.
      image: makes uint8 RGB [height, width, 3], upright, its shorter side no longer than the
        argument says; 0 for any length.
    """

    seconds: float
    image: Callable[[int], np.ndarray]


class SegmentedVideo:
    """A video, read in segments as far as it can be.

    Args:
      path: a video file, or a folder of pictures.
      settings: how it is prepared.

    Attributes:
      problem: what is wrong with the video, once its segments are read; None if nothing is.

    Raises (as it is read):
      errors.UserError: not the video is at fault but the store it is in.
    """

    def __init__(self, path: str, settings: settings_lib.Settings):
        self._path = path
        self._settings = settings
        self.problem: str | None = None

    def segments(self) -> Iterator[list[shards.Picture]]:
        """Reads the video to its end, or to where it is damaged, and cuts it.

        Yields:
          At least two pictures each, of one size, in the order of their times.
        """
        for segment in cut(self._pictures(), self._settings.segment_seconds, MAX_SEGMENT_BYTES):
            if len(segment) > 1:
                yield segment

    def _pictures(self) -> Iterator[shards.Picture]:
        try:
            yield from self._checked_pictures()
        except source.UnreadableVideo as error:
            _check_store(self._path, error.__cause__)
            self.problem = error.reason

    def _checked_pictures(self) -> Iterator[shards.Picture]:
        settings = self._settings
        if tf.io.gfile.isdir(self._path):
            frames = _frames_of_folder(self._path, settings.frame_folder_rate)
        else:
            frames = frames_of_file(self._path)
        size = None
        for frame in sampled(frames, settings.frame_rate):
            with video.translated_errors(self._path):
                image = frame.image(settings.short_side)
                picture = shards.encoded(image, frame.seconds, settings.quality)
            size = size or image.shape
            if image.shape != size:
                raise source.UnreadableVideo(
                    self._path, f'its pictures change size at {frame.seconds:.3f} s'
                )
            yield picture


def _check_store(path: str, cause: BaseException | None) -> None:
    """Tells a store that fails from a video that is bad: the one must not be noted as the other."""
    if isinstance(cause, tf.errors.NotFoundError):
        object_store.check(path)
    elif isinstance(cause, tf.errors.OpError) and not isinstance(cause, _FAULTS_OF_A_FILE):
        raise errors.UserError(
            f'{path}: its file system failed: {cause.message}. Run the same command again: what is '
            'finished is kept.'
        ) from cause


def cut(
    pictures: Iterator[shards.Picture], seconds: float, most_bytes: int
) -> Iterator[list[shards.Picture]]:
    """Cuts a video into segments, none of them a scrap.

    A segment ends before the picture that is `seconds` after its first. What is left at the end, if
    less than half of that, is joined to the segment before it, and both are shared out evenly.

    Args:
      pictures: in the order of their times.
      seconds: none is longer.
      most_bytes: a segment also ends with the picture that brings it to this size.

    Yields:
      The segments; only the last two are ever held at a time.
    """
    held, current, size = [], [], 0
    for picture in pictures:
        if current and (picture.seconds - current[0].seconds >= seconds or size >= most_bytes):
            if held:
                yield held
            held, current, size = current, [], 0
        current.append(picture)
        size += len(picture.jpeg)
    if held and current[-1].seconds - current[0].seconds < seconds / 2 and size < most_bytes / 2:
        both = held + current
        middle = (both[0].seconds + both[-1].seconds) / 2
        held = [picture for picture in both if picture.seconds < middle]
        current = [picture for picture in both if picture.seconds >= middle]
    yield from filter(None, (held, current))


def sampled(frames: Iterator[Frame], frame_rate: float) -> Iterator[Frame]:
    """Chooses the frame nearest to each of the times 0, 1 / rate, 2 / rate, ..., none twice.

    Args:
      frames: in the order of their times.
      frame_rate: a second; 0 for all frames.
    """
    if not frame_rate:
        yield from frames
        return
    following, previous, chosen = 0, None, None
    for frame in frames:
        # The times after `previous`, up to this frame's: the first may be nearer to the one, the
        # last to the other.
        last = math.floor((frame.seconds + _CLOCK_TICK) * frame_rate)
        if last >= following:
            first_time, last_time = following / frame_rate, last / frame_rate
            near = previous and first_time - previous.seconds <= abs(frame.seconds - first_time)
            if near and previous is not chosen:
                yield previous
            if not previous or last_time - previous.seconds > abs(frame.seconds - last_time):
                chosen = frame
                yield frame
            following = last + 1
        previous = frame


def shrunk_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Height and width once the shorter is no more than `short_side`; 0 leaves them be."""
    scale = short_side / min(height, width)
    if not 0 < scale < 1:
        return height, width
    return max(1, round(height * scale)), max(1, round(width * scale))


def _frames_of_folder(path: str, frame_rate: float) -> Iterator[Frame]:
    for number, file in enumerate(video.pictures_in(path)):
        yield Frame(number / frame_rate, functools.partial(_image_of_file, file))


def _image_of_file(path: str, short_side: int) -> np.ndarray:
    image = video.read_picture(path)
    height, width = shrunk_size(*image.shape[:2], short_side)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def frames_of_file(path: str) -> Iterator[Frame]:
    """Decodes a video file on one core: each of them has a video of its own.

    Raises:
      source.UnreadableVideo: at the first thing that is wrong with it.
    """
    with video.translated_errors(path), video.opened(path) as (container, stream):
        stream.codec_context.thread_count = 1
        stated, interval = video.stated_seconds(container, stream), video.frame_interval(stream)
        # One for all frames: setting it up takes as long as using it once.
        converter = av.video.reformatter.VideoReformatter()
        first = latest = None
        for frame in container.decode(stream):
            now = video.time_of(path, video.intact(path, frame))
            first = now if first is None else first
            if latest is not None and now <= latest:
                raise source.UnreadableVideo(path, f'its time stamps go back after {latest:.3f} s')
            latest = now
            yield Frame(now - first, functools.partial(_image_of_frame, frame, converter))
        end = latest - first if latest is not None else 0.0
        if end + interval < stated - max(_EARLY_SECONDS, _EARLY_FRAMES * interval):
            raise source.UnreadableVideo(
                path, f'ends after {end + interval:.3f} s, its header says {stated:.3f} s'
            )


def _image_of_frame(
    frame: av.VideoFrame, converter: av.video.reformatter.VideoReformatter, short_side: int
) -> np.ndarray:
    """Converts, shrinks and turns a frame."""
    height, width = shrunk_size(frame.height, frame.width, short_side)
    small = converter.reformat(frame, width, height, 'rgb24', interpolation='AREA')
    return np.ascontiguousarray(np.rot90(small.to_ndarray(), round(frame.rotation / 90) % 4))
