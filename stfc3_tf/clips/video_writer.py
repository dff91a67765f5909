"""Videos that every browser plays: H.264 in MP4, 4:2:0, BT.709, with the index in front."""

from __future__ import annotations

from collections.abc import Iterable
import fractions
import tempfile
from typing import cast

import av
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace
import numpy as np
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.storage import writing

# BT.709 as H.264 numbers matrix, primaries and transfer function; without it players guess.
_BT709 = 1
# Seconds; the intervals of all usual frame rates are multiples of it.
_TICK = fractions.Fraction(1, 90000)
_SQUARE = fractions.Fraction(1)
_ENCODER = 'libx264'
# No visible loss at a fraction of the size of lossless video, and key frames that are near enough
# for players to seek without delay. Without x264's macroblock tree: where the processor has AVX-512
# it reads memory that was never written, and the file differs from run to run.
_QUALITY = {'crf': '18', 'preset': 'medium', 'g': '48', 'mbtree': '0'}


def check_encoder() -> None:
    """Raise UserError if PyAV lacks the encoder; call it before hours of work."""
    if _ENCODER not in av.codecs_available:
        raise errors.UserError(
            f'This PyAV has no {_ENCODER}, so no video can be written; the wheels on PyPI have it: '
            'pip install --force-reinstall --no-deps av'
        )


def write_timed_video(
    path: str,
    frames: Iterable[tuple[float, np.ndarray]],
    frame_rate: float,
    pixel_aspect: fractions.Fraction = _SQUARE,
) -> int:
    """Write frames with their times as a video, which appears at `path` only when it is complete.

    Args:
      path: ends in '.mp4'; on any file system TensorFlow knows.
      frames: seconds at which a frame is shown, ascending, and the frame, uint8 RGB [height, width,
        3], all of one size. 4:2:0 needs even sides, so the last row or column of an odd side is
        repeated.
      frame_rate: frames per second; the mean if the times vary.
      pixel_aspect: width / height of a pixel as players are to show it.

    Returns:
      The number of frames.

    Raises:
      errors.UserError: there is no frame, a frame has another size than the first, or `path`
        cannot be written.
    """
    count = 0

    def write(partial: str) -> None:
        """Encode under a preliminary path; one on an object store gets a copy of a local file."""
        nonlocal count
        if '://' not in partial:
            count = _encode(path, partial, frames, frame_rate, pixel_aspect)
            return
        # Moving the index to the front needs a file that can be read again.
        with tempfile.NamedTemporaryFile(suffix='.mp4') as local:
            count = _encode(path, local.name, frames, frame_rate, pixel_aspect)
            tf.io.gfile.copy(local.name, partial, overwrite=True)

    try:
        writing.write_whole(path, write)
    except (av.FFmpegError, OSError, tf.errors.OpError) as error:
        raise errors.UserError(f'{path} cannot be written: {error}') from error
    return count


def _encode(
    path: str,
    file: str,
    frames: Iterable[tuple[float, np.ndarray]],
    frame_rate: float,
    pixel_aspect: fractions.Fraction,
) -> int:
    """Encode into a local file; `path` is for messages."""
    count, tick = 0, -1
    size: tuple[int, ...] | None = None
    # 'file:' keeps a colon in a name from being read as the name of a protocol.
    options = {'movflags': 'faststart'}
    with av.open(f'file:{file}', 'w', format='mp4', options=options) as container:
        for count, (time, image) in enumerate(frames, 1):
            if size is None:
                size = image.shape
                stream = _add_stream(container, size, frame_rate, pixel_aspect)
            if image.shape != size:
                raise errors.UserError(
                    f'{path}: frame {count} is {image.shape[1]}x{image.shape[0]} (width x height), '
                    f'the first {size[1]}x{size[0]}; all frames of a video must have one size.'
                )
            # Frames less than a tick apart must have different times.
            tick = max(tick + 1, round(time / _TICK))
            container.mux(stream.encode(_video_frame(image, tick)))
        if not count:
            raise errors.UserError(f'{path}: there are no frames to write.')
        container.mux(stream.encode(None))
    return count


def _add_stream(
    container: OutputContainer,
    size: tuple[int, ...],
    frame_rate: float,
    pixel_aspect: fractions.Fraction,
) -> av.VideoStream:
    rate = _as_fraction(frame_rate)
    stream = cast(av.VideoStream, container.add_stream(_ENCODER, rate=rate, options=_QUALITY))
    stream.height, stream.width = (side + side % 2 for side in size[:2])
    stream.pix_fmt = 'yuv420p'
    context = stream.codec_context
    context.time_base = _TICK
    if pixel_aspect != _SQUARE:
        context.sample_aspect_ratio = pixel_aspect
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = ColorRange.MPEG
    return stream


def _as_fraction(frame_rate: float) -> fractions.Fraction:
    """Return the near fraction with small numbers, such as 30000/1001 or 1/3600."""
    if frame_rate < 1:
        return 1 / fractions.Fraction(1 / frame_rate).limit_denominator(1001)
    return fractions.Fraction(frame_rate).limit_denominator(1001)


def _video_frame(image: np.ndarray, tick: int) -> av.VideoFrame:
    height, width = image.shape[:2]
    even = np.pad(image, [(0, height % 2), (0, width % 2), (0, 0)], mode='edge')
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format='rgb24')
    frame = frame.reformat(
        format='yuv420p', dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
    frame.pts, frame.time_base = tick, _TICK
    return frame
