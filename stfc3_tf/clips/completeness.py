"""Checks that a video file has all frames that its packets and its header announce."""

from __future__ import annotations

import array
from collections.abc import Sequence
import functools
import heapq
from typing import Protocol

import av
from av.container import InputContainer

from stfc3_tf.clips import avi_chunks, clock, h264_numbers, jumps, source

# Codecs whose packets give one frame each. Others have packets that are never shown.
_FRAME_PER_PACKET = frozenset(
    (
        *('h264', 'hevc', 'mpeg1video', 'mpeg2video', 'vp9', 'libdav1d', 'av1', 'mjpeg', 'ffv1'),
        *('prores', 'huffyuv', 'ffvhuff', 'utvideo', 'png', 'jpeg2000', 'dvvideo', 'dnxhd'),
        *('flv', 'h263', 'wmv1', 'wmv2', 'msmpeg4v2', 'msmpeg4', 'cinepak', 'svq1', 'qtrle'),
    )
)
# A video may end earlier than its header says by this many seconds, frames, or share of its length:
# headers round, and sound may be longer than the pictures.
_EARLY_SECONDS, _EARLY_FRAMES, _EARLY_SHARE, _EARLY_SHARE_OF_FILE = 1.0, 3.0, 0.01, 0.1
# Matroska and WebM state the length of each stream to the millisecond.
_EARLY_SECONDS_EXACT = 0.25
# Likewise for the number of frames.
_MISSING_FRAMES, _MISSING_SHARE = 2, 0.01


class Announced(Protocol):
    """The facts about a video before it is decoded; see `decoder.Video`."""

    path: str
    container: InputContainer
    stream: av.VideoStream
    clock: clock.Clock
    interval: float
    seekable: bool
    stated_seconds: float
    states_stream: bool

    def seconds(self, stamp: int) -> float:
        """Return the time of a stamp."""
        ...

    def first_packet_stamp(self) -> int | None:
        """Return the stamp of the first packet."""
        ...


class LostFrames:
    """Finds frames that the decoder drops or conceals because packets are damaged or missing."""

    def __init__(self, video: Announced, needed_from: int | None = None):
        self._video = video
        self._needed_from = needed_from
        codec = video.stream.codec_context
        known_times = video.clock is clock.Clock.PRESENTED or video.seekable
        self._active = known_times and codec.name in _FRAME_PER_PACKET
        self._numbers = (
            h264_numbers.FrameNumbers(bytes(codec.extradata or b''))
            if codec.name == 'h264'
            else None
        )
        self._expected: list[int] = []
        self._started = False
        self._latest_dts: int | None = None
        self._corrupt: set[int] = set()
        self._packets = 0

    def packet(self, packet: av.Packet) -> None:
        """Register a packet before it is decoded; raise UnreadableVideo if frames are missing."""
        self._check_number(packet)
        dts, latest = packet.dts, self._latest_dts
        self._latest_dts = latest if dts is None else dts
        if dts is not None and latest is not None and dts < latest:
            self._active = False  # The times start again, as in files that were joined.
        if packet.is_corrupt and packet.pts is not None:
            self._corrupt.add(packet.pts)
        if self._active and packet.size and packet.pts is not None and not packet.is_discard:
            heapq.heappush(self._expected, packet.pts)

    def frame(self, frame: av.VideoFrame) -> None:
        """Raise UnreadableVideo if frames before this one are missing."""
        if self._started and frame.pts is not None and frame.pts in self._corrupt:
            seconds = self._video.seconds(frame.pts)
            raise source.UnreadableVideo(
                self._video.path, f'corrupt at {seconds:.3f} s', everywhere=False
            )
        # The two fields of an interlaced frame may come in two packets.
        self._active = self._active and not frame.interlaced_frame
        if self._active and frame.pts is not None:
            self._check_before(frame.pts)
        self._started = True

    def end(self) -> None:
        """Check after the last frame; raise UnreadableVideo if frames are missing."""
        if self._active and self._expected:
            self._check(self._expected[0])

    def _check_number(self, packet: av.Packet) -> None:
        """Check that the frames are there on which the frame of a packet depends."""
        if self._numbers is None or not packet.size:
            return
        if self._numbers.skips(memoryview(packet), packet.is_keyframe):
            counted = self._video.clock is clock.Clock.COUNTED
            stamp = self._packets if counted else clock.stamp_of(packet, self._video.clock)
            place = '' if stamp is None else f' before {self._video.seconds(stamp):.3f} s'
            raise source.UnreadableVideo(
                self._video.path,
                f'frames are missing{place}, on which later ones depend',
                everywhere=False,
            )
        self._packets += 1

    def _check_before(self, stamp: int) -> None:
        while self._expected and self._expected[0] < stamp:
            self._check(heapq.heappop(self._expected))
        if self._expected and self._expected[0] == stamp:
            heapq.heappop(self._expected)

    def _check(self, lost: int) -> None:
        wanted = self._needed_from is None or lost >= self._needed_from
        if self._started and wanted:
            seconds = self._video.seconds(lost)
            raise source.UnreadableVideo(
                self._video.path,
                f'its frame at {seconds:.3f} s cannot be decoded',
                everywhere=False,
            )


class Watch:
    """Compares the contents of a file, from start to end, with what its header says."""

    def __init__(self, video: Announced):
        self._video = video
        self._lost = LostFrames(video)
        self._begin = self._end = video.first_packet_stamp()
        self._packets = 0
        self._stamps = array.array('q')
        self.started = False

    def packet(self, packet: av.Packet) -> None:
        """Register a packet before it is decoded."""
        self._lost.packet(packet)
        stamp = clock.stamp_of(packet, self._video.clock)
        if stamp is None:
            return
        self._packets += 1
        self._end = max(stamp + (packet.duration or 0), stamp if self._end is None else self._end)

    def frame(self, stamp: int, frame: av.VideoFrame) -> None:
        """Register a frame; raise UnreadableVideo if frames before it are missing."""
        self.started = True
        self._lost.frame(frame)
        self._stamps.append(stamp)
        end = stamp + (frame.duration or 0)
        self._end = end if self._end is None else max(end, self._end)

    def end(self) -> None:
        """Check after the last frame; raise UnreadableVideo if the file ends too early."""
        if not self.started:
            raise source.UnreadableVideo(self._video.path, 'holds no frames')
        self._lost.end()
        seconds = self._video.seconds((self._end or 0) - (self._begin or 0))
        times = [self._video.seconds(stamp) for stamp in self._stamps]
        # The last of all packets may be shown for long, which it does not say in every codec.
        if not 0 < self._video.stream.frames <= self._packets:
            self._check_seconds(seconds, times)
        self._check_count(seconds)
        jumps.warn(self._video.path, self._video.container.format.name, times)

    def _check_seconds(self, seconds: float, times: Sequence[float]) -> None:
        stated = self._video.stated_seconds
        share = _EARLY_SHARE if self._video.states_stream else _EARLY_SHARE_OF_FILE
        exact = self._video.states_stream and 'matroska' in self._video.container.format.name
        least = _EARLY_SECONDS_EXACT if exact else _EARLY_SECONDS
        # A recording of a screen may end with a pause as long as the others in it.
        pause = max((after - before for before, after in zip(times, times[1:])), default=0.0)
        early = max(least, _EARLY_FRAMES * self._video.interval, share * stated, pause)
        if stated - seconds > early:
            raise source.UnreadableVideo(
                self._video.path,
                f'ends after {seconds:.2f} s, its header says {stated:.2f} s: it seems cut off',
                everywhere=False,
            )

    def _check_count(self, seconds: float) -> None:
        # Formats with a constant rate may leave out packets of frames that are shown again.
        found = max(self._packets, round(seconds / self._video.interval))
        check_count(self._video, found)


def check_count(video: Announced, found: int) -> None:
    """Check the number of frames in a file that was read to its end against its header.

    Args:
      video: what is announced.
      found: number of frames.

    Raises:
      source.UnreadableVideo: some are missing.
    """
    stated = video.stream.frames
    if stated <= found:
        return
    loss = avi_chunks.first_loss(video.path, video.stream.index) if _is_avi(video) else None
    if loss is not None or stated - found > max(_MISSING_FRAMES, _MISSING_SHARE * stated):
        raise source.UnreadableVideo(
            video.path,
            f'holds {found} frames, its header says {stated}: some are missing'
            f'{_from_where(video, loss)}',
            everywhere=False,
        )


def check_for_holes(video: Announced, found: int = 0) -> None:
    """Check a file of which a part is to be read, as far as that takes no time.

    An AVI without some of its chunks gives wrong times to all frames after them. In other formats
    each frame has its own time.

    Args:
      video: what is announced.
      found: number of its frames, or 0 if they were not counted: then only what the lengths in the
        file tell is found.

    Raises:
      source.UnreadableVideo: frames are missing within the file.
    """
    if not _is_avi(video):
        return
    loss = _hole(video.path, video.stream.index, 0 < found < video.stream.frames)
    stated = video.stream.frames
    if loss is not None and loss.found < stated:
        raise source.UnreadableVideo(
            video.path,
            f'some of the {stated} frames that its header states are missing'
            f'{_from_where(video, loss)}',
        )


@functools.lru_cache(maxsize=1 << 16)  # Training opens each file many times.
def _hole(path: str, stream: int, suspected: bool) -> avi_chunks.Loss | None:
    if not suspected and avi_chunks.lengths_agree(path):
        return None
    loss = avi_chunks.first_loss(path, stream)
    # Of a file that is cut off, what is left is right.
    return None if loss is None or loss.cut_off else loss


def _is_avi(video: Announced) -> bool:
    return video.container.format.name == 'avi'


def _from_where(video: Announced, loss: avi_chunks.Loss | None) -> str:
    if loss is None or loss.first is None:
        return ''
    return f', from {loss.first * video.interval:.3f} s on'
