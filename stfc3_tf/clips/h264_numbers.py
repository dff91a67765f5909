"""The numbers that H.264 gives to its reference frames, which tell that some are missing.

Each slice states `frame_num` (ITU-T H.264, 7.4.3). It grows by one after each frame that others
depend on. A decoder conceals a missing one without an error, by a copy of the frame before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_SLICE, _KEY_SLICE, _SEQUENCE, _PICTURE = 1, 5, 7, 8
_START = b'\0\0\1'
# Bytes that hold the beginning of a slice, and parameters up to the last one that is read here.
_HEAD, _PARAMETERS = 24, 1024
# Profiles whose sequence parameters state the colour format.
_WITH_FORMAT = frozenset((44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 144, 244))
_SEPARATE_PLANES = 3
# After a reset within a stream, which is written behind what is read here, numbers begin again.
# Then the step is, as a rule, greater than that of a few lost frames.
_AFTER_RESET, _LOST_AT_RESET = (0, 1), 3
_AVCC_HEAD = 5


class _Sequence(NamedTuple):
    """Parameters of a sequence: the bits of frame_num, whether it may skip, bits before it."""

    bits: int
    may_skip: bool
    plane_bits: int


class FrameNumbers:
    """Follows the numbers of the frames, packet by packet in the order decoded.

    Args:
      extradata: of the codec: the parameters, in one of the two forms of H.264.
    """

    def __init__(self, extradata: bytes):
        self._sequences: dict[int, _Sequence] = {}
        self._sequence_of_picture: dict[int, int] = {}
        self._previous: int | None = None
        self._resets = False
        # Bytes that state the length of a unit; 0 where start codes part units.
        self._length_bytes = 0
        if extradata[:1] == b'\1' and len(extradata) > _AVCC_HEAD:
            self._length_bytes = extradata[4] % 4 + 1
            units = _of_avcc(extradata)
        else:
            units = _between_start_codes(extradata)
        for unit in units:
            self._read_parameters(unit)

    def skips(self, packet: bytes | memoryview, is_key: bool) -> bool:
        """Return whether frames that this packet's depend on are missing before it.

        Args:
          packet: with one frame or one field.
          is_key: whether it depends on none.
        """
        try:
            return self._skips(packet, is_key)
        except (IndexError, KeyError):
            self._previous = None  # Whatever this is, a decoder judges it.
            return False

    def _skips(self, packet: bytes | memoryview, is_key: bool) -> bool:
        for unit in self._units(packet):
            kind = unit[0] & 31
            if kind in (_SEQUENCE, _PICTURE):
                self._read_parameters(unit)
            elif kind in (_SLICE, _KEY_SLICE):
                return self._slice_skips(unit, is_key or kind == _KEY_SLICE)
        return False

    def _units(self, packet: bytes | memoryview) -> Iterator[bytes]:
        if not self._length_bytes:
            return _between_start_codes(bytes(packet))
        return _by_length(packet, self._length_bytes)

    def _slice_skips(self, unit: bytes, is_key: bool) -> bool:
        bits = _Bits(unit[:_HEAD])
        bits.golomb()  # The place of the slice in the picture.
        bits.golomb()  # Its type.
        sequence = self._sequences[self._sequence_of_picture[bits.golomb()]]
        bits.number(sequence.plane_bits)
        number, previous = bits.number(sequence.bits), self._previous
        # Frames on which no other depends are not counted.
        self._previous = number if unit[0] >> 5 & 3 else previous
        if previous is None or is_key or sequence.may_skip:
            return False
        lost = (number - previous) % (1 << sequence.bits) - 1
        self._resets = self._resets or number in _AFTER_RESET and lost > _LOST_AT_RESET
        return lost > 0 and not self._resets

    def _read_parameters(self, unit: bytes) -> None:
        try:
            if unit[0] & 31 == _SEQUENCE:
                number, sequence = _sequence(unit)
                self._sequences[number] = sequence
            elif unit[0] & 31 == _PICTURE:
                bits = _Bits(unit)
                number = bits.golomb()
                self._sequence_of_picture[number] = bits.golomb()
        except IndexError:
            pass  # Damaged; slices that need it are not judged.


class _Bits:
    """Reads bits of a unit behind its first byte."""

    def __init__(self, unit: bytes):
        # A byte 3 is put behind two zeros where they would look like a start code.
        contents = unit[1:_PARAMETERS].replace(b'\0\0\3', b'\0\0')
        self._bits = ''.join(f'{byte:08b}' for byte in contents)
        self._at = 0

    def number(self, count: int) -> int:
        """Return an unsigned number of this many bits."""
        begin, self._at = self._at, self._at + count
        if self._at > len(self._bits):
            raise IndexError
        return int(self._bits[begin : self._at] or '0', 2)

    def golomb(self) -> int:
        """Return an unsigned number in the exponential code of Golomb."""
        zeros = 0
        while not self.number(1):
            zeros += 1
        return (1 << zeros) - 1 + self.number(zeros)


def _sequence(unit: bytes) -> tuple[int, _Sequence]:
    """Return the number and the parameters of a sequence."""
    bits, plane_bits = _Bits(unit), 0
    profile = bits.number(8)
    bits.number(16)
    number = bits.golomb()
    if profile in _WITH_FORMAT:
        plane_bits = _skip_format(bits)
    frame_bits = bits.golomb() + 4
    _skip_order(bits)
    bits.golomb()  # How many frames are kept.
    return number, _Sequence(frame_bits, bool(bits.number(1)), plane_bits)


def _skip_format(bits: _Bits) -> int:
    """Read over the colour format and the scaling; return the bits that name a slice's plane."""
    chroma, plane_bits = bits.golomb(), 0
    if chroma == _SEPARATE_PLANES:
        plane_bits = 2 * bits.number(1)
    bits.golomb()
    bits.golomb()
    bits.number(1)
    if bits.number(1):
        for k in range(12 if chroma == _SEPARATE_PLANES else 8):
            if bits.number(1):
                _skip_scaling(bits, 16 if k < 6 else 64)
    return plane_bits


def _skip_scaling(bits: _Bits, count: int) -> None:
    scale = 8
    for _ in range(count):
        code = bits.golomb()
        scale = (scale + (code + 1) // 2 * (1 if code % 2 else -1)) % 256
        if not scale:
            return


def _skip_order(bits: _Bits) -> None:
    """Read over what says in which order frames are shown."""
    kind = bits.golomb()
    if kind == 0:
        bits.golomb()
    elif kind == 1:
        bits.number(1)
        bits.golomb()
        bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()


def _between_start_codes(data: bytes) -> Iterator[bytes]:
    at = data.find(_START)
    while at >= 0 and at + len(_START) < len(data):
        begin = at + len(_START)
        at = data.find(_START, begin)
        yield data[begin : min(begin + _PARAMETERS, at if at >= 0 else len(data))]


def _by_length(data: bytes | memoryview, length_bytes: int) -> Iterator[bytes]:
    at = 0
    while at + length_bytes < len(data):
        begin = at + length_bytes
        at = begin + int.from_bytes(data[at:begin], 'big')
        yield bytes(data[begin : min(at, begin + _PARAMETERS)])


def _of_avcc(extradata: bytes) -> Iterator[bytes]:
    """Yield the units of parameters in the form that MP4 and Matroska have."""
    at = _AVCC_HEAD
    for mask in (31, 255):
        if at >= len(extradata):
            return
        count, at = extradata[at] & mask, at + 1
        for _ in range(count):
            begin = at + 2
            at = begin + int.from_bytes(extradata[at:begin], 'big')
            yield extradata[begin:at]
