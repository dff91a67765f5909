"""Checks of animated pictures.

GIF and PNG do not state their length, and the decoder stops anywhere without an error. So the end
of the file is searched for here. FFmpeg does not decode animated WebP, and does not say why.
"""

from __future__ import annotations

from collections.abc import Callable
import struct

from stfc3_tf.clips import source
from stfc3_tf.storage import object_store

_GIF_TRAILER, _GIF_IMAGE, _GIF_EXTENSION = 0x3B, 0x2C, 0x21
# Bytes within which an animated WebP announces its animation.
_WEBP_HEADER = 64
_PNG_CHUNK = struct.Struct('>I4s')


def check(path: str, container_format: str) -> None:
    """Raise an error if a GIF or a PNG is cut off, or a WebP is animated.

    Args:
      path: of the file.
      container_format: its FFmpeg name; other formats are accepted.

    Raises:
      source.UnreadableVideo: it cannot be read, or not whole.
    """
    if container_format == 'webp_pipe' and b'ANIM' in _beginning(path):
        raise source.UnreadableVideo(
            path,
            'FFmpeg does not decode animated WebP; convert it, for example to GIF by '
            '`magick in.webp out.gif`',
        )
    if container_format in _IS_WHOLE and not _is_whole(path, container_format):
        raise source.UnreadableVideo(path, 'its end is missing: it seems cut off')


def _beginning(path: str) -> bytes:
    with object_store.reporting(path), object_store.File(path) as file:
        return file.read(_WEBP_HEADER)


def _is_whole(path: str, container_format: str) -> bool:
    try:
        return _IS_WHOLE[container_format](object_store.read(path))
    except (IndexError, struct.error):
        return False


def _is_whole_gif(contents: bytes) -> bool:
    """Walk through the blocks; raise IndexError where the file ends inside one."""
    place = 13 + _colours(contents[10])
    while contents[place] != _GIF_TRAILER:
        if contents[place] == _GIF_IMAGE:
            place += 11 + _colours(contents[place + 9])
        elif contents[place] == _GIF_EXTENSION:
            place += 2
        else:
            return False
        while contents[place]:
            place += 1 + contents[place]
        place += 1
    return True


def _colours(flags: int) -> int:
    """Return the bytes of a table of colours."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _is_whole_png(contents: bytes) -> bool:
    """Walk through the chunks; raise struct.error where the file ends before the last."""
    place, name = 8, b''
    while name != b'IEND':
        length, name = _PNG_CHUNK.unpack_from(contents, place)
        place += 12 + length
    return place <= len(contents)


_IS_WHOLE: dict[str, Callable[[bytes], bool]] = {'gif': _is_whole_gif, 'apng': _is_whole_png}
