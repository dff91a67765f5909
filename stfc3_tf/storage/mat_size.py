"""The size of the arrays in a MATLAB 5 file, found before they are unpacked."""

from __future__ import annotations

from collections.abc import Iterator
import struct
import zlib

_HEADER = 128
_TAG = 8
_COMPRESSED = 15
# The largest file of the benchmarks unpacks to some 20 MB.
_MOST_BYTES = 1 << 29


def check(contents: bytes) -> None:
    """Check that a file does not unpack to more bytes than any annotation needs.

    Raises:
      ValueError: it would.
    """
    total = sum(_sizes(contents))
    if total > _MOST_BYTES:
        raise ValueError(f'it would unpack to {total} bytes')


def _sizes(contents: bytes) -> Iterator[int]:
    """Yield the bytes of each element, unpacked."""
    order = '>' if contents[126:128] == b'MI' else '<'
    place = _HEADER
    while place + _TAG <= len(contents):
        kind, size = struct.unpack_from(f'{order}II', contents, place)
        place += _TAG
        if kind == _COMPRESSED:
            # The tag inside states the unpacked size of the element.
            inside = zlib.decompressobj().decompress(contents[place : place + size], _TAG)
            yield struct.unpack(f'{order}II', inside)[1] if len(inside) == _TAG else 0
        else:
            yield size
        place += size
