"""File names made from names that a data set gives: they never lead out of a folder.

Ordinary names stay as they are. In others, what some file system does not allow is replaced by a
percent sign and hexadecimal digits, as in web addresses. Different names stay different.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
import hashlib
import posixpath
import re
import unicodedata

from absl import logging

from stfc3_tf import errors

# File systems allow 255 bytes; the rest is for endings and for the names of temporary files.
_LONGEST = 160
_LONGEST_ENDING = 16
_DIGITS = 32
# Deeper paths become one name.
_DEEPEST = 8
# What Windows does not have in names: characters, the last character, names of devices.
_FORBIDDEN = '%/\\<>:"|?*'
_FORBIDDEN_AT_END = '. '
_DEVICE = re.compile(r'(con|prn|aux|nul|(com|lpt)[0-9])(\.|$)', re.IGNORECASE)


def file_name(name: str) -> str:
    """Return a name for a file or folder that stands for `name`; it has no slash."""
    if name in ('', '.', '..'):
        return '%' + name.replace('.', '%2E')
    safe = ''.join(map(_safe, name))
    if safe[-1] in _FORBIDDEN_AT_END:
        safe = f'{safe[:-1]}{_code(safe[-1])}'
    if _DEVICE.match(safe):
        safe = f'{_code(safe[0])}{safe[1:]}'
    if len(safe.encode()) <= _LONGEST:
        return safe
    digest = hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:_DIGITS]
    ending = posixpath.splitext(safe)[1]
    ending = ending if len(ending.encode()) <= _LONGEST_ENDING else ''
    begin = safe.encode()[: _LONGEST - len(digest) - len(ending) - 1].decode(errors='ignore')
    return f'{begin}%{digest}{ending}'


def path_inside(name: str) -> str:
    """Return a relative path that stands for a name; each of its parts is a `file_name`."""
    parts = name.split('/')
    return '/'.join(map(file_name, parts)) if len(parts) <= _DEEPEST else file_name(name)


def check_apart(paths: Iterable[str]) -> None:
    """Check that no path is the folder of another one, so that files do not replace each other.

    Paths that differ only in capital letters are logged: some file systems keep only one of them.

    Raises:
      errors.UserError: two paths are the same, or one lies within another.
    """
    known: set[str] = set()
    paths = list(paths)
    _warn_of_case(paths)
    for path in sorted(paths):
        parts = path.split('/')
        parents = {'/'.join(parts[:end]) for end in range(1, len(parts) + 1)}
        if known & parents:
            raise errors.UserError(
                f'The names {min(known & parents)!r} and {path!r} stand for the same file or '
                'folder of the results; rename one of them in the data set.'
            )
        known.add(path)


def _warn_of_case(paths: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for path in paths:
        other = first.setdefault(path.casefold(), path)
        if other != path:
            logging.warning(
                'The names %r and %r differ only in capital letters: write the results to a file '
                'system that tells them apart, as those of Linux do.',
                other,
                path,
            )
            return


def _safe(character: str) -> str:
    """Return a character if it may be in a file name, otherwise its code in hexadecimal digits."""
    if character not in _FORBIDDEN and unicodedata.category(character)[0] != 'C':
        return character
    return _code(character)


def _code(character: str) -> str:
    return ''.join(f'%{byte:02X}' for byte in character.encode(errors='surrogatepass'))
