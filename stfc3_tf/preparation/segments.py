"""The segments of a video as encoded pictures, one at a time, so that memory is bounded."""

from __future__ import annotations

from collections.abc import Iterator
import functools
import math

import numpy as np
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.clips import decoder, shard_writer, source, video
from stfc3_tf.clips.frame import Frame
from stfc3_tf.preparation import settings as settings_lib
from stfc3_tf.storage import object_store

# Records are always read as a whole, and a protocol buffer holds less than 2^31 bytes.
MAX_SEGMENT_BYTES = 64_000_000
_FAULTS_OF_A_FILE = (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.OutOfRangeError,
)
_CLOCK_TICK = 1e-3  # Seconds; containers round time stamps to their clock.


class SegmentedVideo:
    """A video, read in segments as far as it can be.

    Args:
      path: a video file, or a folder of pictures.
      settings: how it is prepared.

    Attributes:
      problem: the fault of the video, set when its segments are read; None if there is none.
    """

    def __init__(self, path: str, settings: settings_lib.Settings):
        self._path = path
        self._settings = settings
        self.problem: str | None = None

    def segments(self) -> Iterator[list[shard_writer.Picture]]:
        """Read the video to its end, or to where it is damaged, and cut it.

        Yields:
          At least two pictures each, of one size, in the order of their times.

        Raises:
          errors.UserError: the file system fails, whatever the state of the video.
        """
        for segment in cut(self._pictures(), self._settings.segment_seconds, MAX_SEGMENT_BYTES):
            if len(segment) > 1:
                yield segment

    def _pictures(self) -> Iterator[shard_writer.Picture]:
        try:
            yield from self._checked_pictures()
        except source.UnreadableVideo as error:
            _check_store(self._path, error.__cause__)
            self.problem = error.reason

    def _checked_pictures(self) -> Iterator[shard_writer.Picture]:
        settings = self._settings
        frames = _frames_of(self._path, settings.frame_folder_rate)
        size = None
        for frame in sampled(frames, settings.frame_rate):
            with decoder.translated_errors(self._path):
                image = frame.pixels(settings.short_side)
                picture = shard_writer.encoded(image, frame.time, settings.quality)
            size = size or image.shape
            if image.shape != size:
                raise source.UnreadableVideo(
                    self._path, f'its pictures change size at {frame.time:.3f} s'
                )
            yield picture


def _check_store(path: str, cause: BaseException | None) -> None:
    """Raise UserError if not the video is damaged but its file system fails."""
    if isinstance(cause, tf.errors.NotFoundError):
        object_store.check(path)
    elif isinstance(cause, tf.errors.OpError) and not isinstance(cause, _FAULTS_OF_A_FILE):
        raise errors.UserError(
            f'{path}: its file system failed: {cause.message}. Run the same command again: '
            'finished tasks are kept.'
        ) from cause


def cut(
    pictures: Iterator[shard_writer.Picture], seconds: float, most_bytes: int
) -> Iterator[list[shard_writer.Picture]]:
    """Cut a video into segments of similar length.

    A segment ends before the picture that is `seconds` after its first. A last segment of less than
    half that length is joined to the one before it, and the two are divided evenly.

    Args:
      pictures: in the order of their times.
      seconds: the longest that a segment may be.
      most_bytes: a segment also ends with the picture that brings it to this size.

    Yields:
      The segments. At most two are in memory at a time.
    """
    held: list[shard_writer.Picture] = []
    current: list[shard_writer.Picture] = []
    size = 0
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
    """Choose the frames nearest to the times 0, 1 / rate, 2 / rate, …, each at most once.

    Args:
      frames: in the order of their times.
      frame_rate: frames per second; 0 for all frames.

    Yields:
      The chosen frames, in order.
    """
    if not frame_rate:
        yield from frames
        return
    following = 0
    previous: Frame | None = None
    chosen: Frame | None = None
    for frame in frames:
        # Of the times after `previous` and up to this frame's, the first may be nearer to
        # `previous`, and the last to this frame.
        last = math.floor((frame.time + _CLOCK_TICK) * frame_rate)
        if last >= following:
            first_time, last_time = following / frame_rate, last / frame_rate
            near = previous and first_time - previous.time <= abs(frame.time - first_time)
            if previous is not None and near and previous is not chosen:
                yield previous
            if previous is None or last_time - previous.time > abs(frame.time - last_time):
                chosen = frame
                yield frame
            following = last + 1
        previous = frame


def _frames_of(path: str, assumed_rate: float) -> Iterator[Frame]:
    """Read a folder or a video file; on one core, because each core reads another video."""
    if tf.io.gfile.isdir(path):
        return _frames_of_folder(path, assumed_rate)
    return decoder.read_frames(path, assumed_rate, threads=1)


def _frames_of_folder(path: str, frame_rate: float) -> Iterator[Frame]:
    for number, file in enumerate(video.pictures_in(path)):
        yield Frame(number, number / frame_rate, functools.partial(_pixels_of_file, file))


def _pixels_of_file(path: str, short_side: int | None) -> np.ndarray:
    return Frame.of_image(0, 0.0, video.read_picture(path)).pixels(short_side)
