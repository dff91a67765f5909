"""A check for missing parts of an AVI file.

An AVI is a chain of chunks, each with its length, within lists that state theirs. Headers of intact
files may promise one or two frames more than there are. Only where the chain is broken too are
frames lost.
"""

from __future__ import annotations

from collections.abc import Iterator
import io
import os
import re
import struct
from typing import IO, NamedTuple

from stfc3_tf.storage import object_store

_HEAD = struct.Struct('<4sI')
_ENTRY = struct.Struct('<4sIII')  # Of the index: tag, flags, place, length.
_RIFF, _LIST, _INDEX, _MOVIE, _GROUP = b'RIFF', b'LIST', b'idx1', b'movi', b'rec '
# A chunk of a stream begins with the number of the stream.
_OF_STREAM = re.compile(rb'[0-9]{2}[a-zA-Z]{2}')
# Beside those, a list of frames may hold parts of an index, and padding.
_OTHERS = re.compile(rb'ix[0-9]{2}|JUNK')
_NAME = re.compile(rb'[ -~]{4}')
_NAME_BEHIND = re.compile(rb'[a-zA-Z_][ -~]{3}')


class Loss(NamedTuple):
    """A place at which the chain of chunks is broken.

    Attributes:
      first: number of the first frame that may be lost, in the order decoded, or None if the file
        does not say which.
      found: number of frames, some without contents, up to the place that cannot be read.
      cut_off: whether the file ends within a chunk.
    """

    first: int | None
    found: int
    cut_off: bool


class _Chunk(NamedTuple):
    """A chunk: its name, that of its list or b'', and where its contents begin and end."""

    tag: bytes
    kind: bytes
    begin: int
    end: int


def lengths_agree(path: str) -> bool:
    """Return whether the lists of frames end where they say, which takes a few short reads."""
    with _opened(path) as file:
        size = file.seek(0, os.SEEK_END)
        return all(_ends_as_stated(file, movie, size) for movie in _movies(file))


def first_loss(path: str, stream: int) -> Loss | None:
    """Return where the chain of chunks is broken.

    Args:
      path: of the file.
      stream: number of the stream of pictures.

    Returns:
      The loss, or None if the chain is whole.
    """
    with _opened(path) as file:
        size = file.seek(0, os.SEEK_END)
        lengths: list[int] = []
        for movie in _movies(file):
            end, before = movie.begin, len(lengths)
            for chunk in _frames_within(file, movie):
                end, before = chunk.end, len(lengths)
                if _OF_STREAM.match(chunk.tag) and int(chunk.tag[:2]) == stream:
                    lengths.append(chunk.end - chunk.begin)
            if _padded(end) < movie.end or not _ends_as_stated(file, movie, size):
                if end > max(size, movie.end):  # The length of the last chunk is damaged.
                    return Loss(before, before, cut_off=False)
                first = _first_lost(file, _padded(end), size, stream, lengths)
                return Loss(first, len(lengths), cut_off=end > size)
    return None


def _opened(path: str) -> io.BufferedReader:
    return io.BufferedReader(object_store.File(path)) if '://' in path else open(path, 'rb')


def _movies(file: IO[bytes]) -> Iterator[_Chunk]:
    """Yield the lists of frames: one, or one per gigabyte."""
    for part in _chunks(file, 0):
        if part.tag != _RIFF:
            return
        for chunk in _chunks(file, part.begin):
            if chunk.kind == _MOVIE:
                yield chunk
                break


def _chunks(file: IO[bytes], at: int) -> Iterator[_Chunk]:
    """Yield chunks that follow each other, up to something else."""
    while True:
        file.seek(at)
        head = file.read(_HEAD.size + 4)
        if len(head) < _HEAD.size or not _NAME.match(head):
            return
        tag, length = _HEAD.unpack_from(head)
        begin, kind = at + _HEAD.size, b''
        if tag in (_RIFF, _LIST):
            kind = head[_HEAD.size :]
        yield _Chunk(tag, kind, begin + len(kind), begin + length)
        # Of groups of chunks, only the chunks count.
        at = begin + len(kind) if kind == _GROUP else _padded(begin + length)


def _frames_within(file: IO[bytes], movie: _Chunk) -> Iterator[_Chunk]:
    """Yield the chunks of streams in a list, as far as the chain goes."""
    for chunk in _chunks(file, movie.begin):
        if chunk.begin > movie.end:
            return
        if _OF_STREAM.fullmatch(chunk.tag) or _OTHERS.fullmatch(chunk.tag):
            yield chunk
        elif chunk.kind != _GROUP:
            return


def _ends_as_stated(file: IO[bytes], movie: _Chunk, size: int) -> bool:
    """Return whether a list is followed by the end of the file or by what may follow it."""
    if movie.end <= movie.begin:
        return True  # A recorder that was stopped leaves no length.
    file.seek(_padded(movie.end))
    tag = file.read(4)
    return movie.end <= size and (not tag or _NAME_BEHIND.fullmatch(tag) is not None)


def _first_lost(file: IO[bytes], at: int, size: int, stream: int, lengths: list[int]) -> int | None:
    """Return the first frame that may be lost where a chain ends at `at`, or None if unknown."""
    file.seek(at)
    tag, length = _HEAD.unpack_from(file.read(_HEAD.size).ljust(_HEAD.size))
    if at >= size:
        return None
    if tag != _INDEX:
        return len(lengths)
    pairs = enumerate(zip(lengths, _indexed(file.read(length), stream)))
    return next((number for number, (found, stated) in pairs if found != stated), None)


def _indexed(table: bytes, stream: int) -> Iterator[int]:
    """Yield the lengths of a stream's chunks according to an index."""
    for tag, _, _, length in _ENTRY.iter_unpack(table[: len(table) // _ENTRY.size * _ENTRY.size]):
        if _OF_STREAM.match(tag) and int(tag[:2]) == stream:
            yield length


def _padded(place: int) -> int:
    return place + place % 2
