"""The clocks that give the frames of a video their times.

Three clocks exist:

    presented  the container states when each frame is shown: most of them do
    ordered    it states when each frame is decoded (AVI; ASF; raw MPEG-2; MPEG-4 with packed
               B-frames): the frames, in the order shown, get the sorted times of the packets
    counted    it states nothing (raw streams): frames follow each other at an assumed rate

Seeking to a key frame gives the same times as decoding from the start only if frames are shown in
the order of their packets, or the container states when they are shown.
"""

from __future__ import annotations

import enum
import fractions
import heapq
import re

import av
from av.container import InputContainer

from stfc3_tf.clips import source

# Elementary streams without times; the rates that FFmpeg reports for them are its own defaults.
_RAW_FORMATS = frozenset(
    ('h261', 'h263', 'h264', 'hevc', 'vvc', 'evc', 'm4v', 'mjpeg', 'vc1', 'dirac', 'obu', 'dnxhd')
)
# AVI and ASF state when packets are decoded; so does FFmpeg of raw MPEG-1 and -2 streams.
_DECODING_TIMES = frozenset(('avi', 'asf', 'mpegvideo'))
# More frames in a row with one time: the times mean nothing.
_MOST_EQUAL = 16
# Encoders write this into MPEG-4 streams in which two frames share a packet.
_PACKED = re.compile(rb'DivX\d+(?:b|Build)\d+p')


class Clock(enum.Enum):
    """The source of the times of frames; see the module."""

    PRESENTED = 'presented'
    ORDERED = 'ordered'
    COUNTED = 'counted'


def clock_of(container: InputContainer, stream: av.VideoStream, leading: list[av.Packet]) -> Clock:
    """Return the clock of a stream.

    Args:
      container: of the stream.
      stream: of video.
      leading: its first packets, at least up to the first key frame.

    Returns:
      The clock.
    """
    timed = any(p.pts is not None or p.dts is not None for p in leading)
    if not timed or container.format.name in _RAW_FORMATS:
        return Clock.COUNTED
    if container.format.name in _DECODING_TIMES or _is_packed(stream, leading):
        return Clock.ORDERED
    return Clock.PRESENTED


def _is_packed(stream: av.VideoStream, leading: list[av.Packet]) -> bool:
    """Return whether two frames share a packet: then packets do not have the times of frames."""
    if stream.codec_context.name != 'mpeg4':
        return False
    heads = [bytes(stream.codec_context.extradata or b''), bytes(leading[-1])]
    return any(_PACKED.search(head) for head in heads)


def survives_seeking(stream: av.VideoStream, clock: Clock, leading: list[av.Packet]) -> bool:
    """Return whether a seek leads to the same times as decoding from the start.

    Args:
      stream: of video.
      clock: see `clock_of`.
      leading: see `clock_of`.

    Returns:
      Whether they are the same.
    """
    if clock is Clock.ORDERED:
        # Frames are shown in the order of their packets only without B-frames.
        in_order = all(packet.pts == packet.dts for packet in leading)
        raw = stream.container.format.name == 'mpegvideo'
        return in_order and not raw and not _is_packed(stream, leading)
    return clock is Clock.PRESENTED


def stamp_of(packet: av.Packet, clock: Clock) -> int | None:
    """Return the time, in ticks, that a clock takes from a packet, or None."""
    if clock is Clock.ORDERED and packet.dts is not None:
        return packet.dts
    return packet.pts


class Stamper:
    """Gives each frame, in the order shown, its stamp: its time in ticks.

    Args:
      path: of the video, for messages.
      clock: see `clock_of`.
      tick: seconds per tick.
    """

    def __init__(self, path: str, clock: Clock, tick: fractions.Fraction):
        self._path, self._clock, self._tick = path, clock, tick
        self._count = -1
        self._pending: list[int] = []
        self._stated: int | None = None
        self._given: int | None = None
        self._equal = 0

    def packet(self, packet: av.Packet) -> None:
        """Register a packet before it is decoded."""
        stamp = stamp_of(packet, self._clock)
        if packet.size and stamp is not None:
            heapq.heappush(self._pending, stamp)

    def stamp(self, frame: av.VideoFrame) -> int:
        """Return the stamp of the next frame; raise UnreadableVideo if it has none."""
        self._count += 1
        stated = self._of_clock(frame)
        if self._stated is not None and stated < self._stated:
            seconds = float(self._stated * self._tick)
            raise source.UnreadableVideo(
                self._path, f'its time stamps go back after {seconds:.3f} s', everywhere=False
            )
        self._check_equal(stated)
        # Frames with equal times get stamps that differ by one tick.
        given = stated if self._given is None else max(stated, self._given + 1)
        self._stated, self._given = stated, given
        return given

    def _check_equal(self, stated: int) -> None:
        self._equal = self._equal + 1 if stated == self._stated else 0
        if self._equal >= _MOST_EQUAL:
            seconds = float(stated * self._tick)
            raise source.UnreadableVideo(
                self._path,
                f'more than {_MOST_EQUAL} frames in a row have the time {seconds:.3f} s: write the '
                'video with right times',
            )

    def _of_clock(self, frame: av.VideoFrame) -> int:
        if self._clock is Clock.COUNTED:
            return self._count
        if self._clock is Clock.ORDERED and self._pending:
            return heapq.heappop(self._pending)
        if frame.pts is None:
            raise source.UnreadableVideo(self._path, 'its frames have no time stamps')
        return frame.pts
