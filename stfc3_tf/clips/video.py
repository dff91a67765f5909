"""Frames with their times, from one video file or one folder of pictures."""

from collections.abc import Iterator, Sequence
import contextlib
import io
import re
from typing import BinaryIO

import av
import numpy as np
import tensorflow as tf

from stfc3_tf import object_store
from stfc3_tf.clips import source

PICTURE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp')
# Up to this many seconds before a clip, frames that no other frame is decoded from are skipped.
_FULL_DECODING_LEAD = 0.5
# Up to this many bytes a file on another file system is read at once: each of a decoder's many
# small steps through it would be a request. Larger files are read where the decoder wants them.
_READ_WHOLE_BYTES = 1 << 26


def frames_of_video(path: str) -> Iterator[tuple[float, np.ndarray]]:
    """Reads all frames of a video file, in the order shown and upright.

    Args:
      path: a file in any container and codec FFmpeg knows, on any file system TensorFlow knows.

    Yields:
      Seconds since the first frame, and the frame, uint8 RGB [height, width, 3].

    Raises:
      source.UnreadableVideo: the file is missing, not a video, or corrupt.
    """
    with translated_errors(path), opened(path) as (container, stream):
        stream.thread_type = 'AUTO'
        first = None
        for frame in container.decode(stream):
            first = time_of(path, frame) if first is None else first
            yield time_of(path, frame) - first, upright_rgb(intact(path, frame))
        if first is None:
            raise source.UnreadableVideo(path, 'holds no frames')


def read_clip(path: str, position: float, count: int, frame_rate: float) -> np.ndarray:
    """Reads a clip of a video file; arguments, result and errors as of `source.Source.read`.

    What the container says of the video's length is believed and the key frame before the clip
    sought; only where that fails is the whole file looked through and decoded from its start.
    """
    with contextlib.suppress(source.UnreadableVideo):
        return _read_sought(path, position, count, frame_rate)
    with translated_errors(path), opened(path) as (container, stream):
        first, last = _true_range(path, container, stream)
    times = source.clip_times(path, first, last, position, count, frame_rate)
    with translated_errors(path, everywhere=False), opened(path) as (container, stream):
        return _frames_at(path, container, stream, times)


def _read_sought(path: str, position: float, count: int, frame_rate: float) -> np.ndarray:
    """Reads a clip by its container's word for the video's length, from the key frame before it."""
    with translated_errors(path), opened(path) as (container, stream):
        first, last = _stated_range(container, stream)
        times = source.clip_times(path, first, last, position, count, frame_rate)
        container.seek(int(times[0] / stream.time_base), stream=stream)
        return _frames_at(path, container, stream, times)


def pictures_in(folder: str) -> list[str]:
    """Paths of the pictures of a folder, in the order of the numbers in their names.

    Raises:
      source.UnreadableVideo: there are none.
    """
    try:
        with object_store.reporting(folder):
            names = tf.io.gfile.listdir(folder)
    except tf.errors.OpError as error:
        raise source.UnreadableVideo(folder, error.message) from error
    names = sorted(filter(is_picture, names), key=_numeric_order)
    if not names:
        raise source.UnreadableVideo(folder, f'holds no pictures ({", ".join(PICTURE_SUFFIXES)})')
    return [tf.io.gfile.join(folder, name) for name in names]


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a picture; hidden files are not."""
    return name.lower().endswith(PICTURE_SUFFIXES) and not name.startswith('.')


def read_picture(path: str) -> np.ndarray:
    """Reads a picture.

    Returns:
      uint8 RGB [height, width, 3].

    Raises:
      source.UnreadableVideo: the file cannot be read or decoded.
    """
    try:
        with tf.device('/cpu:0'):
            content = object_store.read(path)
            return tf.io.decode_image(content, channels=3, expand_animations=False).numpy()
    except tf.errors.OpError as error:
        reason = f'cannot be decoded ({error.message})'
        raise source.UnreadableVideo(path, reason, everywhere=False) from error


def _numeric_order(name: str) -> list[tuple[int, str]]:
    """Sorts 'frame_9' before 'frame_10'."""
    texts_and_numbers = re.split(r'(\d+)', name)
    return [(int(part), '') if part.isdecimal() else (-1, part) for part in texts_and_numbers]


@contextlib.contextmanager
def opened(path: str) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Opens a file and its first video stream; other file systems are read through TensorFlow.

    The cover picture of a piece of music is no video.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(_remote(path)) if '://' in path else path
        container = stack.enter_context(av.open(file))
        cover = av.stream.Disposition.attached_pic
        streams = [stream for stream in container.streams.video if not stream.disposition & cover]
        if not streams:
            raise source.UnreadableVideo(path, 'has no video stream')
        yield container, streams[0]


def _remote(path: str) -> BinaryIO:
    if tf.io.gfile.stat(path).length > _READ_WHOLE_BYTES:
        return object_store.File(path)
    return io.BytesIO(object_store.read(path))


@contextlib.contextmanager
def translated_errors(path: str, everywhere: bool = True) -> Iterator[None]:
    """Says in our own error what FFmpeg or the file system reports."""
    try:
        with object_store.reporting(path):
            yield
    except (av.FFmpegError, tf.errors.OpError, OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or getattr(error, 'message', None) or str(error)
        raise source.UnreadableVideo(path, reason, everywhere) from error


def _stated_range(
    container: av.container.InputContainer, stream: av.VideoStream
) -> tuple[float, float]:
    """Times of the first and the last frame according to the header."""
    first = float((stream.start_time or 0) * stream.time_base)
    return first, first + stated_seconds(container, stream) - frame_interval(stream)


def stated_seconds(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    """How long the header says that the stream lasts, or else all of the file; 0 where it says nothing."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    duration = container.duration or 0
    if 'matroska' in container.format.name:
        # It counts from 0, wherever the first frame stands.
        duration -= max(0, container.start_time or 0)
    return max(0, duration) / av.time_base


def _true_range(
    path: str, container: av.container.InputContainer, stream: av.VideoStream
) -> tuple[float, float]:
    """Times of the first and the last frame, found by looking through the file without decoding."""
    stamps = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
    if not stamps:
        raise source.UnreadableVideo(path, 'holds no frames with time stamps')
    return float(min(stamps) * stream.time_base), float(max(stamps) * stream.time_base)


def frame_interval(stream: av.VideoStream) -> float:
    """Mean seconds between frames, as stated."""
    return float(1 / stream.average_rate) if stream.average_rate else 1 / 24


def _frames_at(
    path: str,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    times: Sequence[float],
) -> np.ndarray:
    """Decodes from where the container stands and keeps the frame nearest to each of the times."""
    tolerance = 0.51 * frame_interval(stream)
    chosen, previous = [], None
    for frame in _decoded(container, stream, times[0] - _FULL_DECODING_LEAD):
        now = time_of(path, frame)
        if previous is None and now > times[0] + tolerance:
            raise source.UnreadableVideo(path, f'no frame before {now:.3f} s', everywhere=False)
        while len(chosen) < len(times) and now >= times[len(chosen)]:
            target = times[len(chosen)]
            earlier = previous is not None and target - previous.time <= now - target
            chosen.append(intact(path, previous if earlier else frame))
        if len(chosen) == len(times):
            break
        previous = frame
    if len(chosen) < len(times):
        if previous is None or times[-1] > previous.time + tolerance:
            end = 'at once' if previous is None else f'at {previous.time:.3f} s'
            raise source.UnreadableVideo(path, f'decoding ends {end}', everywhere=False)
        chosen += [intact(path, previous)] * (len(times) - len(chosen))
    return np.stack([upright_rgb(frame) for frame in chosen])


def _decoded(
    container: av.container.InputContainer, stream: av.VideoStream, needed_from: float
) -> Iterator[av.VideoFrame]:
    """Decodes, leaving out frames before `needed_from` seconds that nothing else depends on."""
    context = stream.codec_context
    context.thread_count = 1  # Clips are read in parallel; each is too short to gain from threads.
    for packet in container.demux(stream):
        early = packet.pts is not None and packet.pts * stream.time_base < needed_from
        context.skip_frame = 'NONREF' if early else 'DEFAULT'
        yield from packet.decode()


def time_of(path: str, frame: av.VideoFrame) -> float:
    """Seconds on the container's clock; raises UnreadableVideo where there is none."""
    if frame.time is None:
        raise source.UnreadableVideo(path, 'its frames have no time stamps')
    return frame.time


def intact(path: str, frame: av.VideoFrame) -> av.VideoFrame:
    """The frame itself; raises UnreadableVideo if the decoder says that it is damaged."""
    if frame.is_corrupt:
        raise source.UnreadableVideo(path, f'corrupt at {frame.time:.3f} s', everywhere=False)
    return frame


def upright_rgb(frame: av.VideoFrame) -> np.ndarray:
    """uint8 RGB [height, width, 3], turned as the container asks it to be shown."""
    image = frame.to_ndarray(format='rgb24')
    quarter_turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image
