"""Reasons why FFmpeg cannot open a file; it says only that the data are invalid."""

from __future__ import annotations

from collections.abc import Iterator
import os
import struct

_ATOM = struct.Struct('>I4s')
_LONG = struct.Struct('>Q')
_MOST_ATOMS = 1000


def cause(path: str) -> str:
    """Return what is wrong with a file, for a message."""
    if '://' not in path and os.path.isfile(path):
        if not os.path.getsize(path):
            return 'it is empty'
        atoms = list(_atoms(path))
        if atoms[:1] == [b'ftyp'] and b'moov' not in atoms:
            return 'its index, the moov atom, is missing: the recording or the copy was cut off'
    return 'it is not a video, or its beginning is damaged'


def _atoms(path: str) -> Iterator[bytes]:
    """Yield the names of the outermost parts of an MP4 or MOV file."""
    place = 0
    with open(path, 'rb') as file:
        for _ in range(_MOST_ATOMS):
            file.seek(place)
            head = file.read(_ATOM.size + _LONG.size)
            if len(head) < _ATOM.size:
                return
            length, name = _ATOM.unpack_from(head)
            if length == 1 and len(head) == _ATOM.size + _LONG.size:
                (length,) = _LONG.unpack_from(head, _ATOM.size)
            yield name
            if not _ATOM.size <= length < 1 << 62:
                return
            place += length
