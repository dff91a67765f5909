"""Videos that every browser plays: H.264 in MP4, 4:2:0, BT.709, with the index in front."""

from __future__ import annotations

import fractions
import tempfile
from collections.abc import Iterable

import av
import numpy as np
import tensorflow as tf
from av.video.reformatter import ColorRange, Colorspace

from stfc3_tf import errors, writing

# BT.709 as H.264 numbers matrix, primaries and transfer function; without it players guess.
_BT709 = 1
# Seconds; the usual rates are whole numbers of it.
_TICK = fractions.Fraction(1, 90000)
_ENCODER = 'libx264'
# Its options: no difference is seen, at a fraction of the size of lossless; key frames at distances
# that let players seek at once.
_QUALITY = {'crf': '18', 'preset': 'medium', 'g': '48'}


def check_encoder() -> None:
    """Raises UserError where PyAV has no encoder: better known before hours of work."""
    if _ENCODER not in av.codecs_available:
        raise errors.UserError(
            f'This PyAV has no {_ENCODER}, so no video can be written; the wheels on PyPI have it: '
            'pip install --force-reinstall --no-deps av'
        )


def write_video(path: str, frames: Iterable[np.ndarray], frame_rate: float) -> int:
    """Writes frames at a constant rate; arguments, result and errors as of `write_timed_video`."""
    timed = ((number / frame_rate, image) for number, image in enumerate(frames))
    return write_timed_video(path, timed, frame_rate)


def write_timed_video(
    path: str, frames: Iterable[tuple[float, np.ndarray]], frame_rate: float
) -> int:
    """Writes frames as they come as a video, which appears at `path` only when whole.

    Args:
      path: ends in '.mp4'; on any file system TensorFlow knows.
      frames: seconds at which a frame is shown, and the frame, uint8 RGB [height, width, 3], all of
        one size. An odd side loses nothing: its last row or column is repeated, as 4:2:0 has even
        sides only. Times ascend, at any distances.
      frame_rate: frames per second, where the times vary their mean.

    Returns:
      The number of frames.

    Raises:
      errors.UserError: there is no frame, a frame is of another size than the first, or `path`
        cannot be written.
    """
    count = 0

    def write(partial: str) -> None:
        nonlocal count
        if '://' not in partial:
            count = _encode(path, partial, frames, frame_rate)
            return
        # The index is moved to the front at the end, which needs a file that can be read back.
        with tempfile.NamedTemporaryFile(suffix='.mp4') as local:
            count = _encode(path, local.name, frames, frame_rate)
            tf.io.gfile.copy(local.name, partial, overwrite=True)

    try:
        writing.write_whole(path, write)
    except (av.FFmpegError, OSError, tf.errors.OpError) as error:
        writing.remove(f'{path}.partial')
        raise errors.UserError(f'{path} cannot be written: {error}') from error
    except errors.UserError:
        writing.remove(f'{path}.partial')
        raise
    return count


def _encode(
    path: str, file: str, frames: Iterable[tuple[float, np.ndarray]], frame_rate: float
) -> int:
    """Encodes into a local file; `path` is for messages."""
    count, size, tick = 0, None, -1
    with av.open(file, 'w', format='mp4', options={'movflags': 'faststart'}) as container:
        for count, (time, image) in enumerate(frames, 1):
            if size is None:
                size = image.shape
                stream = _add_stream(container, size, frame_rate)
            if image.shape != size:
                raise errors.UserError(
                    f'{path}: frame {count} is {image.shape[1]}x{image.shape[0]} (width x height), '
                    f'the first {size[1]}x{size[0]}; all frames of a video must have one size.'
                )
            # Two frames less than a tick apart stay two frames.
            tick = max(tick + 1, round(time / _TICK))
            container.mux(stream.encode(_video_frame(image, tick)))
        if not count:
            raise errors.UserError(f'{path}: there are no frames to write.')
        container.mux(stream.encode(None))
    return count


def _add_stream(container, size: tuple[int, ...], frame_rate: float) -> av.VideoStream:
    rate = fractions.Fraction(frame_rate).limit_denominator(1001)
    stream = container.add_stream(_ENCODER, rate=rate, options=_QUALITY)
    stream.height, stream.width = (side + side % 2 for side in size[:2])
    stream.pix_fmt = 'yuv420p'
    context = stream.codec_context
    context.time_base = _TICK
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = ColorRange.MPEG
    return stream


def _video_frame(image: np.ndarray, tick: int) -> av.VideoFrame:
    height, width = image.shape[:2]
    even = np.pad(image, [(0, height % 2), (0, width % 2), (0, 0)], mode='edge')
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format='rgb24')
    frame = frame.reformat(
        format='yuv420p', dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
    frame.pts, frame.time_base = tick, _TICK
    return frame
