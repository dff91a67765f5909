"""Clips and frames of video files, and frames of folders of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import contextlib

import av
import numpy as np
import tensorflow as tf

from stfc3_tf.clips import completeness, decoder, orientation, source
from stfc3_tf.storage import folders, frame_names, images, object_store

VIDEO_SUFFIXES = (
    *('.mp4', '.webm', '.mkv', '.avi', '.mov', '.mpg', '.mpeg', '.m4v', '.wmv', '.flv', '.3gp'),
    *('.ts', '.mts', '.m2ts', '.ogv', '.h264', '.264', '.h265', '.265', '.hevc'),
    *('.asf', '.divx', '.vob', '.m2v', '.m1v', '.mpe', '.mxf', '.dv', '.3g2', '.f4v', '.rm'),
    *('.y4m', '.ivf', '.obu', '.mjpeg', '.mjpg', '.nut'),
)
# The mask of clip.mp4 may be called clip.png, clip_mask.png, or clip_masks, a folder.
MASK_ADDITIONS = ('', '_mask', '_masks')
PICTURE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
# Frames on which no other frame depends are skipped until this many seconds before a clip.
_FULL_DECODING_LEAD = 0.5


def frames_of_video(path: str) -> Iterator[tuple[float, np.ndarray]]:
    """Read all frames of a video file.

    Args:
      path: a file in any container and codec FFmpeg knows, on any file system TensorFlow knows.

    Yields:
      Seconds since the first frame, and the frame, uint8 RGB [height, width, 3], upright.

    Raises:
      source.UnreadableVideo: the file is missing, not a video, or damaged.
    """
    for frame in decoder.read_frames(path):
        yield frame.time, frame.image


def read_clip(
    path: str,
    position: float,
    count: int,
    frame_rate: float,
    assumed_rate: float = decoder.ASSUMED_RATE,
) -> np.ndarray:
    """Read a clip of a video file.

    The length is taken from the container, and the decoder seeks to the key frame before the clip.
    If that fails, the whole file is searched for times and decoded from its start.

    Args:
      path: see `frames_of_video`.
      position: see `source.Source.read`.
      count: see `source.Source.read`.
      frame_rate: see `source.Source.read`.
      assumed_rate: frames per second of a file without times.

    Returns:
      uint8 RGB [time, height, width, 3].

    Raises:
      source.UnreadableVideo: the clip cannot be read.
    """
    with contextlib.suppress(source.UnreadableVideo):
        return _read_sought(path, position, count, frame_rate)
    with decoder.opened(path, assumed_rate, threads=1) as video:
        first = video.seconds(next(video.frames()).stamp)
    with decoder.opened(path, assumed_rate, threads=1) as video:
        stamps = video.packet_stamps()
        completeness.check_for_holes(video, len(stamps))
        last = max(first, video.seconds(stamps[-1])) if stamps else first
    try:
        return _read_from_start(path, (first, last), position, count, frame_rate, assumed_rate)
    except _EndsBefore as error:
        # Packets of frames that cannot be shown, such as those before the first key frame, count.
        last = error.last
    return _read_from_start(path, (first, last), position, count, frame_rate, assumed_rate)


class _EndsBefore(source.UnreadableVideo):
    """A file was decoded to its end, which is before that of a clip.

    Attributes:
      last: seconds of the last frame.
    """

    def __init__(self, path: str, last: float):
        super().__init__(path, f'decoding ends at {last:.3f} s', everywhere=False)
        self.last = last


def _read_from_start(
    path: str,
    between: tuple[float, float],
    position: float,
    count: int,
    frame_rate: float,
    assumed_rate: float,
) -> np.ndarray:
    """Read a clip; decode everything before it.

    Args:
      path: see `read_clip`.
      between: seconds of the first and of the last frame.
      position: see `read_clip`.
      count: see `read_clip`.
      frame_rate: see `read_clip`.
      assumed_rate: see `read_clip`.

    Returns:
      See `read_clip`.
    """
    times = source.clip_times(path, *between, position, count, frame_rate)
    with decoder.opened(path, assumed_rate, threads=1) as video:
        return _frames_at(video, video.frames(), times)


def _read_sought(path: str, position: float, count: int, frame_rate: float) -> np.ndarray:
    """Read a clip from the key frame before it, with the length that the header states."""
    with decoder.opened(path, threads=1) as video:
        if not video.seekable:
            raise source.UnreadableVideo(path, 'seeking is not exact')
        completeness.check_for_holes(video)
        first = video.seconds(video.start_stamp())
        begin = video.seconds(video.stated_start())
        last = begin + video.stated_seconds - video.interval
        times = source.clip_times(path, first, last, position, count, frame_rate)
        needed_from = round((times[0] - _FULL_DECODING_LEAD) / float(video.tick))
        frames = video.frames_near(int(times[0] / float(video.tick)), needed_from)
        return _frames_at(video, frames, times)


def pictures_in(folder: str) -> list[str]:
    """Return the paths of the frames in a folder, in the order of the numbers in their names.

    Raises:
      source.UnreadableVideo: there are none, or they are not those of one video.
    """
    try:
        names = frame_names.choose(folder, folders.names_in(folder), PICTURE_SUFFIXES)
    except tf.errors.OpError as error:
        raise source.UnreadableVideo(folder, error.message) from error
    except frame_names.SeveralKindsError as error:
        raise source.UnreadableVideo(folder, error.reason) from error
    if not names:
        raise source.UnreadableVideo(folder, f'holds no pictures ({", ".join(PICTURE_SUFFIXES)})')
    return [tf.io.gfile.join(folder, name) for name in names]


def is_picture(name: str) -> bool:
    """Return whether a file's name is that of a picture; hidden files are not."""
    return name.lower().endswith(PICTURE_SUFFIXES) and not folders.is_added(name)


def is_video_file(name: str) -> bool:
    """Return whether a file's name is that of a video file; hidden files are not."""
    return name.lower().endswith(VIDEO_SUFFIXES) and not folders.is_added(name)


def read_picture(path: str) -> np.ndarray:
    """Read a picture.

    Returns:
      uint8 RGB [height, width, 3], upright.

    Raises:
      source.UnreadableVideo: the file cannot be read or decoded.
    """
    try:
        return images.decode_frame(object_store.read(path), path)
    except images.UnreadablePicture as error:
        reason = f'cannot be decoded ({error.reason})'
        raise source.UnreadableVideo(path, reason, everywhere=False) from error
    except tf.errors.OpError as error:
        reason = f'cannot be read ({error.message})'
        raise source.UnreadableVideo(path, reason, everywhere=False) from error


def _frames_at(
    video: decoder.Video, frames: Iterator[decoder.Decoded], times: Sequence[float] | np.ndarray
) -> np.ndarray:
    """Keep the frame nearest to each of the times: uint8 RGB [time, height, width, 3]."""
    path, tolerance = video.path, 0.51 * video.interval
    chosen: list[av.VideoFrame] = []
    previous: tuple[float, av.VideoFrame] | None = None
    for stamp, frame in frames:
        now = video.seconds(stamp)
        if previous is None and now > times[0] + tolerance:
            raise source.UnreadableVideo(path, f'no frame before {now:.3f} s', everywhere=False)
        while len(chosen) < len(times) and now >= times[len(chosen)]:
            target = times[len(chosen)]
            earlier = previous is not None and target - previous[0] <= now - target
            nearest = previous if previous is not None and earlier else (now, frame)
            chosen.append(decoder.intact(path, nearest[1], nearest[0]))
        if len(chosen) == len(times):
            break
        previous = now, frame
    if len(chosen) < len(times):
        if previous is None:
            reason = 'decoding ends at the first frame'
            raise source.UnreadableVideo(path, reason, everywhere=False)
        if times[-1] > previous[0] + tolerance:
            raise _EndsBefore(path, previous[0])
        last = decoder.intact(path, previous[1], previous[0])
        chosen += [last] * (len(times) - len(chosen))
    return np.stack([orientation.upright_rgb(frame) for frame in chosen])
