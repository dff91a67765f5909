"""Checks that a video file has all frames that its packets and its header announce."""

from __future__ import annotations

import heapq
from typing import Protocol

import av
from av.container import InputContainer

from stfc3_tf.clips import clock, source

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
    """Finds frames that the decoder drops or conceals because their packets are damaged."""

    def __init__(self, video: Announced, needed_from: int | None = None):
        self._video = video
        self._needed_from = needed_from
        codec = video.stream.codec_context.name
        known_times = video.clock is clock.Clock.PRESENTED or video.seekable
        self._active = known_times and codec in _FRAME_PER_PACKET
        self._expected: list[int] = []
        self._started = False
        self._latest_dts: int | None = None
        self._corrupt: set[int] = set()

    def packet(self, packet: av.Packet) -> None:
        """Register a packet before it is decoded."""
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
        self._latest: int | None = None
        self._longest_pause = 0
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
        self._longest_pause = max(self._longest_pause, stamp - (self._latest or stamp))
        self._latest = stamp
        end = stamp + (frame.duration or 0)
        self._end = end if self._end is None else max(end, self._end)

    def end(self) -> None:
        """Check after the last frame; raise UnreadableVideo if the file ends too early."""
        if not self.started:
            raise source.UnreadableVideo(self._video.path, 'holds no frames')
        self._lost.end()
        seconds = self._video.seconds((self._end or 0) - (self._begin or 0))
        # The last of all packets may be shown for long, which it does not say in every codec.
        if not 0 < self._video.stream.frames <= self._packets:
            self._check_seconds(seconds)
        self._check_count(seconds)

    def _check_seconds(self, seconds: float) -> None:
        stated = self._video.stated_seconds
        share = _EARLY_SHARE if self._video.states_stream else _EARLY_SHARE_OF_FILE
        exact = self._video.states_stream and 'matroska' in self._video.container.format.name
        least = _EARLY_SECONDS_EXACT if exact else _EARLY_SECONDS
        # A recording of a screen may end with a pause as long as the others in it.
        pause = self._video.seconds(self._longest_pause)
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
        stated = self._video.stream.frames
        if stated - found > max(_MISSING_FRAMES, _MISSING_SHARE * stated):
            raise source.UnreadableVideo(
                self._video.path,
                f'holds {found} frames, its header says {stated}: some are missing',
                everywhere=False,
            )
