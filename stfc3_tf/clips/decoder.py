"""The decoder of video files for all readers of this package.

Frames come in the order shown, each with an ascending stamp in ticks of the video's clock.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import fractions
import functools
import io
import itertools
import re
from typing import IO, NamedTuple, cast

from absl import logging
import av
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
import numpy as np
import tensorflow as tf

from stfc3_tf import wording
from stfc3_tf.clips import animations, completeness, frame_colours, orientation, source, unopened
from stfc3_tf.clips import clock as clock_lib
from stfc3_tf.clips.frame import Frame, shrunk_size
from stfc3_tf.storage import object_store

ASSUMED_RATE = 24.0
# A remote file of up to this size is read at once, because each of a decoder's many small reads
# would be a request. Larger files are read where the decoder asks for them.
_READ_WHOLE_BYTES = 1 << 26
# Decoders that can switch the skipping of frames on and off between packets.
_SKIP_UNREFERENCED = frozenset(('h264', 'hevc', 'mpeg1video', 'mpeg2video', 'mpeg4', 'vp8', 'vp9'))
# The first key frame is searched for in at most this many packets.
_MOST_LEADING_PACKETS = 1000
# Errors that occur whenever the file is opened.
_LASTING = (av.InvalidDataError, FileNotFoundError, tf.errors.NotFoundError)


class Decoded(NamedTuple):
    """A frame as it leaves the decoder.

    Attributes:
      stamp: ticks of the clock; ascends.
      frame: not yet converted.
    """

    stamp: int
    frame: av.VideoFrame


class Video:
    """An opened video file, positioned at its start; made by `opened`.

    Args:
      path: for messages.
      container: opened.
      stream: which of its streams is decoded.
      assumed_rate: frames per second if the file has no times.

    Attributes:
      clock: where times come from; see `clock`.
      tick: seconds per tick.
      interval: mean seconds between frames, as stated.
      seekable: whether seeking leads to the same frames as decoding from the start.
      stated_seconds: length of the video according to the header; 0 if it is not stated.
      states_stream: whether that is the length of the pictures alone; sound may be longer.
      stated_count: number of frames according to the header, or None.
    """

    def __init__(
        self, path: str, container: InputContainer, stream: av.VideoStream, assumed_rate: float
    ):
        self.path, self.container, self.stream = path, container, stream
        self._packets = container.demux(stream)
        self._leading = list(_until_key_packet(self._packets))
        self.clock = clock_lib.clock_of(container, stream, self._leading)
        counted = self.clock is clock_lib.Clock.COUNTED
        stated_tick = stream.time_base or fractions.Fraction(1)
        self.tick = 1 / fractions.Fraction(assumed_rate) if counted else stated_tick
        rate = stream.average_rate or stream.guessed_rate
        self.interval = 1 / assumed_rate if counted or not rate else float(1 / rate)
        stated = (0.0, True) if counted else _stated_seconds(container, stream)
        self.stated_seconds, self.states_stream = stated
        self.stated_count = stream.frames or round(self.stated_seconds / self.interval) or None
        # PyAV 17 dies where it is asked for the name of a format that a cut file does not state.
        pixels = stream.codec_context.format
        palette = pixels is not None and pixels.name == 'pal8'
        self.seekable = not palette and clock_lib.survives_seeking(
            stream, self.clock, self._leading
        )

    def seconds(self, stamp: int) -> float:
        """Return the time of a stamp."""
        return stamp * self.tick.numerator / self.tick.denominator

    def stated_start(self) -> int:
        """Return the stamp of the start according to the header, or else of the first packet."""
        stated = self.stream.start_time
        return (self.first_packet_stamp() or 0) if stated is None else stated

    def start_stamp(self) -> int:
        """Return the stamp of the first frame: of the first key packet, or the stated start."""
        key = clock_lib.stamp_of(self._leading[-1], self.clock) if len(self._leading) > 1 else None
        return self.stated_start() if key is None else key

    def packet_stamps(self) -> list[int]:
        """Return the sorted stamps of all frames without decoding them; afterwards, open again."""
        packets = [packet for packet in self._from_first_key() if packet.size]
        if self.clock is clock_lib.Clock.COUNTED:
            return list(range(len(packets)))
        return sorted(
            stamp for p in packets if (stamp := clock_lib.stamp_of(p, self.clock)) is not None
        )

    def frames(self) -> Iterator[Decoded]:
        """Decode the file from its start to its end.

        A stream that begins in the middle of a group of pictures starts at its first key frame.

        Raises:
          source.UnreadableVideo: damaged, without times, or shorter than its header says.
        """
        watch = completeness.Watch(self)
        stamper = clock_lib.Stamper(self.path, self.clock, self.tick)
        for packet in self._from_first_key():
            watch.packet(packet)
            stamper.packet(packet)
            for frame in packet.decode():
                stamp = stamper.stamp(frame)
                if not watch.started and (frame.is_corrupt or self._precedes_key(stamp)):
                    continue
                watch.frame(stamp, intact(self.path, frame, self.seconds(stamp)))
                yield Decoded(stamp, frame)
        watch.end()

    def frames_near(self, stamp: int, needed_from: int | None = None) -> Iterator[Decoded]:
        """Decode from the key frame before `stamp`, in ticks; only where `seekable`.

        Args:
          stamp: where to seek.
          needed_from: frames before this stamp may be left out if no other depends on them.

        Yields:
          Frames as they are decoded. The first may lie before or, with a poor index, after `stamp`.
        """
        self.container.seek(stamp, stream=self.stream)
        lost = completeness.LostFrames(self, needed_from)
        skips = needed_from is not None and self.stream.codec_context.name in _SKIP_UNREFERENCED
        for packet in self.container.demux(self.stream):
            if skips:
                early = packet.pts is not None and packet.pts < (needed_from or 0)
                self.stream.codec_context.skip_frame = 'NONREF' if early else 'DEFAULT'
            lost.packet(packet)
            for frame in packet.decode():
                # Right after a seek some containers give frames without a time.
                if frame.pts is not None:
                    lost.frame(frame)
                    yield Decoded(frame.pts, frame)

    def _precedes_key(self, stamp: int) -> bool:
        """Return whether a frame depends on frames that the file does not have."""
        key = self._leading[-1]
        h264 = self.stream.codec_context.name == 'h264'
        if self.clock is not clock_lib.Clock.PRESENTED or not key.is_keyframe or key.pts is None:
            return False
        return (h264 or len(self._leading) > 1) and stamp < key.pts

    def _from_first_key(self) -> Iterator[av.Packet]:
        keyed = any(packet.is_keyframe for packet in self._leading)
        skipped = len(self._leading) - 1 if keyed else 0
        if skipped > 0:
            _warn_of_skipped(self.path, skipped)
        return itertools.chain(self._leading[max(0, skipped) :], self._packets)

    def first_packet_stamp(self) -> int | None:
        """Return the stamp of the first packet, key frame or not."""
        stamps = [s for p in self._leading if (s := clock_lib.stamp_of(p, self.clock)) is not None]
        return min(stamps, default=None)


@contextlib.contextmanager
def opened(path: str, assumed_rate: float = ASSUMED_RATE, threads: int = 0) -> Iterator[Video]:
    """Open a video file.

    The cover picture of an audio file does not count as a video.

    Args:
      path: in any container and codec that FFmpeg knows; on any file system TensorFlow knows.
      assumed_rate: frames per second of streams without times.
      threads: of the decoder; 0 for as many as are useful.

    Yields:
      The video.

    Raises:
      source.UnreadableVideo: missing, not a video, or (also inside the block) damaged.
    """
    with contextlib.ExitStack() as stack:
        with translated_errors(path, opening=True):
            # 'file:' keeps a colon in a name from being read as the name of a protocol.
            file = stack.enter_context(_remote(path)) if '://' in path else f'file:{path}'
            container = cast(InputContainer, stack.enter_context(av.open(file)))
            stream = _video_stream(path, container)
            animations.check(path, container.format.name)
            if stream.codec_context.name == 'mjpeg':
                # Otherwise the decoder hides damage.
                stream.codec_context.options = {'err_detect': 'explode'}
            if threads:
                stream.codec_context.thread_count = threads
            else:
                stream.thread_type = 'AUTO'
            video = Video(path, container, stream, assumed_rate)
        with translated_errors(path):
            yield video


def _video_stream(path: str, container: InputContainer) -> av.VideoStream:
    cover = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not streams:
        raise source.UnreadableVideo(path, 'has no video stream')
    return streams[0]


def read_frames(path: str, assumed_rate: float = ASSUMED_RATE, threads: int = 0) -> Iterator[Frame]:
    """Read all frames of a video file.

    Args:
      path: see `opened`.
      assumed_rate: see `opened`.
      threads: see `opened`.

    Yields:
      The frames in the order shown.

    Raises:
      source.UnreadableVideo: at the first fault in the file.
    """
    # One converter for all frames, because setting it up takes as long as using it once.
    converter = VideoReformatter()
    first = None
    with opened(path, assumed_rate, threads) as video:
        for number, (stamp, frame) in enumerate(video.frames()):
            first = stamp if first is None else first
            pixels = functools.partial(_converted, frame, converter)
            yield Frame(number, video.seconds(stamp) - video.seconds(first), pixels)


@contextlib.contextmanager
def translated_errors(path: str, opening: bool = False) -> Iterator[None]:
    """Convert errors of FFmpeg and of file systems to `source.UnreadableVideo`.

    Args:
      path: of the video.
      opening: whether the block opens the file. A file that is missing or not a video then fails at
        every position; any other error may pass, or concern one position only.
    """
    try:
        with object_store.reporting(path):
            yield
    except (av.FFmpegError, tf.errors.OpError, OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or getattr(error, 'message', None) or str(error)
        if opening and isinstance(error, av.InvalidDataError):
            reason = f'{reason} ({unopened.cause(path)})'
        everywhere = opening and isinstance(error, _LASTING)
        raise source.UnreadableVideo(path, reason, everywhere) from error


def intact(path: str, frame: av.VideoFrame, seconds: float) -> av.VideoFrame:
    """Return a frame if the decoder does not report it as damaged.

    Args:
      path: of the video, for the message.
      frame: decoded.
      seconds: its time, for the message.

    Returns:
      The frame.

    Raises:
      source.UnreadableVideo: it is damaged.
    """
    if frame.is_corrupt:
        raise source.UnreadableVideo(path, f'corrupt at {seconds:.3f} s', everywhere=False)
    return frame


@functools.lru_cache(maxsize=1024)  # A file is opened more than once.
def _warn_of_skipped(path: str, packets: int) -> None:
    logging.warning(
        '%s begins in the middle of a group of pictures: the first %s before a key frame cannot be '
        'used.',
        path,
        wording.counted(packets, 'packet'),
    )


def _remote(path: str) -> IO[bytes]:
    if tf.io.gfile.stat(path).length > _READ_WHOLE_BYTES:
        return cast(IO[bytes], object_store.File(path))
    return io.BytesIO(object_store.read(path))


def _until_key_packet(packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
    """Yield packets up to the first that decoding can start from."""
    for packet in itertools.islice(packets, _MOST_LEADING_PACKETS):
        yield packet
        if packet.is_keyframe:
            return


def _stated_seconds(container: InputContainer, stream: av.VideoStream) -> tuple[float, bool]:
    """Return the length of the stream, or else of the file, according to the header.

    Returns:
      Seconds, 0 if they are not stated, and whether they are those of the stream alone.
    """
    if stream.duration is not None:
        return float(stream.duration * (stream.time_base or 0)), True
    tag = re.fullmatch(r'(\d+):(\d+):(\d+(?:\.\d+)?)', stream.metadata.get('DURATION', '').strip())
    duration = float(container.duration or 0)
    if tag:
        hours, minutes, seconds = map(float, tag.groups())
        duration = (3600 * hours + 60 * minutes + seconds) * av.time_base
    if 'matroska' in container.format.name:
        # Matroska counts from 0, whatever the time of the first frame.
        duration -= max(0, container.start_time or 0)
    return max(0.0, duration) / av.time_base, bool(tag) or len(container.streams) == 1


def _converted(
    frame: av.VideoFrame, converter: VideoReformatter, short_side: int | None
) -> np.ndarray:
    """Return a frame upright, in full size or reduced, see `Frame.pixels`."""
    if short_side is None:
        return orientation.upright_rgb(frame)
    height, width = shrunk_size(frame.height, frame.width, short_side)
    colours = frame_colours.to_rgb(frame)
    small = converter.reformat(frame, width, height, interpolation='AREA', **colours)
    return orientation.orientation_of(frame).upright(small.to_ndarray())
