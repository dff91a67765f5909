"""The contents of folders on any file system: names in natural order, trees, globs.

Files that systems add to folders are left out: hidden files, `._` files of macOS, thumbnails. Names
that are not UTF-8 cannot be passed to TensorFlow; they are left out with a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
import os
import posixpath
import re

from absl import logging
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.storage import object_store

_ADDED_FILES = ('thumbs.db', 'desktop.ini')
_ADDED_FOLDERS = ('__macosx', '@eadir')
_MAGIC = re.compile(r'[*?\[]')


def is_remote(path: str) -> bool:
    """Return whether TensorFlow's file systems are needed to read a path."""
    return '://' in path


def exists(path: str) -> bool:
    """Return whether there is a file or folder.

    Raises:
      errors.UserError: the path is an address that TensorFlow cannot open, such as https://.
    """
    return _asked(tf.io.gfile.exists, path) if is_remote(path) else os.path.exists(path)


def is_folder(path: str) -> bool:
    """Return whether there is a folder; raise UserError like `exists`."""
    return _asked(tf.io.gfile.isdir, path) if is_remote(path) else os.path.isdir(path)


def _asked(question: Callable[[str], bool], path: str) -> bool:
    try:
        with object_store.reporting(path):
            return question(path)
    except tf.errors.UnimplementedError as error:
        scheme = path.partition('://')[0]
        raise errors.UserError(
            f'{path}: files at {scheme}:// cannot be read. Download the file, and give its path.'
        ) from error
    except tf.errors.OpError as error:
        raise errors.UserError(f'{path}: {error.message}') from error


def is_added(name: str) -> bool:
    """Return whether a name is hidden, or is one that systems and viewers give to their files."""
    return name.startswith('.') or name.lower() in _ADDED_FILES


def names_in(folder: str) -> list[str]:
    """Return the names of files and folders in a folder, sorted.

    Raises:
      errors.UserError: the folder's store does not answer.
      tf.errors.OpError: there is no such folder.
    """
    with object_store.reporting(folder):
        if is_remote(folder):
            names = [name.rstrip('/') for name in tf.io.gfile.listdir(folder)]
        else:
            names = _local_names(folder)
    return sorted(name for name in names if not is_added(name) and _is_text(folder, name))


def _local_names(folder: str) -> list[str]:
    try:
        return os.listdir(folder or '.')
    except OSError as error:
        raise tf.errors.NotFoundError(None, None, f'{folder}: {error.strerror}') from error


def natural_order(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts 'frame_9' before 'frame_10'."""
    return [
        _number_key(part) if part.isdecimal() else (-1, part) for part in re.split(r'(\d+)', name)
    ]


def _number_key(digits: str) -> tuple[int, str]:
    """Return a key that sorts digits by their number; Python refuses to convert very long ones."""
    significant = digits.lstrip('0')
    return len(significant), significant


def files_under(path: str) -> list[str]:
    """Return the files in a folder and in all folders in it; of a file, the file itself.

    Links are followed. A file that several links lead to is returned once.
    """
    if not is_folder(path):
        return [path]
    return _remote_tree(path) if is_remote(path) else _local_tree(path)


def _remote_tree(path: str) -> list[str]:
    return [
        tf.io.gfile.join(folder, name)
        for folder, _, names in tf.io.gfile.walk(path)
        for name in names
        if not is_added(name) and not _is_added_tree(folder[len(path) :])
    ]


def _local_tree(root: str) -> list[str]:
    """Walk without links first, so that a file is found by its own name before links lead to it."""
    found: dict[str, str] = {}
    visited: set[str] = set()
    waiting = [root]
    while waiting:
        links: list[str] = []
        for folder in waiting:
            _visit(folder, found, visited, links)
        waiting = sorted(links)
    return list(found.values())


def _visit(root: str, found: dict[str, str], visited: set[str], links: list[str]) -> None:
    """Add the files under a folder to `found`, by real path, and the links to `links`."""
    if os.path.isfile(root):
        found.setdefault(os.path.realpath(root), root)
        return
    folders = [root]
    while folders:
        folder = folders.pop()
        real = os.path.realpath(folder)
        if real in visited or not os.path.isdir(folder):
            continue
        visited.add(real)
        for name in names_in(folder):
            path = posixpath.join(folder, name)
            if os.path.islink(path):
                links.append(path)
            elif os.path.isdir(path):
                if not _is_added_tree(name):
                    folders.append(path)
            else:
                found.setdefault(os.path.realpath(path), path)


def _is_added_tree(relative: str) -> bool:
    parts = [part for part in relative.split('/') if part]
    return any(part.startswith('.') or part.lower() in _ADDED_FOLDERS for part in parts)


def each_once(paths: Iterable[str]) -> list[str]:
    """Return paths without those that lead, through links, to the same file as another path."""
    found: dict[str, str] = {}
    for path in sorted(set(paths), key=lambda path: (path != _real(path), path)):
        found.setdefault(_real(path), path)
    return sorted(found.values())


def _real(path: str) -> str:
    return path if is_remote(path) else os.path.realpath(path)


def _is_text(folder: str, name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(posixpath.join(folder, name)).decode(errors='backslashreplace')
        logging.warning('%s is left out: its name is not in UTF-8. Rename it.', shown)
        return False
    return True


def matches(glob: str) -> list[str]:
    """Return the files and folders that match a glob; `**` matches any folders.

    A path that exists is returned as it is, even with glob characters in it.

    Raises:
      errors.UserError: the glob is not valid.
      tf.errors.OpError: a folder cannot be listed.
    """
    if exists(glob):
        return [glob]
    parts = glob.split('/')
    if '**' not in parts:
        return _plain_matches(glob)
    begin = parts.index('**')
    bases = _plain_matches('/'.join(parts[:begin])) if begin else ['.']
    bases = ['/'] if bases == [''] or parts[:begin] == [''] else bases
    try:
        pattern = re.compile(_regex(parts[begin:]))
    except re.error as error:
        raise errors.UserError(f'{glob} is not a valid glob: {error}.') from error
    return [path for base in bases for path in _deep_matches(base, pattern, not begin)]


def _plain_matches(glob: str) -> list[str]:
    if not _MAGIC.search(glob) and not is_remote(glob):
        return [glob] if os.path.exists(glob) else []
    try:
        with object_store.reporting(glob):
            return tf.io.gfile.glob(glob)
    except UnicodeDecodeError:
        # A name there is not in UTF-8, which TensorFlow's glob cannot return.
        return list(_glob_by_names(glob))


def _glob_by_names(glob: str) -> Iterator[str]:
    folder, last = posixpath.split(glob)
    folders = _plain_matches(folder) if _MAGIC.search(folder) else [folder]
    pattern = re.compile(_regex([last]))
    for place in folders:
        for name in names_in(place or '.'):
            if pattern.fullmatch(name):
                yield posixpath.join(place, name)


def _deep_matches(base: str, pattern: re.Pattern[str], bare: bool) -> Iterable[str]:
    """Yield the files under a folder whose path relative to it matches."""
    for path in files_under(base) if is_folder(base) else []:
        relative = path[len(base) :].lstrip('/')
        if pattern.fullmatch(relative):
            yield relative if bare else path


def _regex(parts: list[str]) -> str:
    """Return a regular expression for the parts of a glob, of which some are '**'."""
    last = len(parts) - 1
    texts = []
    for number, part in enumerate(parts):
        if part == '**':
            texts.append('.*' if number == last else '(?:[^/]+/)*')
        else:
            texts.append(_part_regex(part) + ('' if number == last else '/'))
    return ''.join(texts)


def _part_regex(part: str) -> str:
    text, place = '', 0
    while place < len(part):
        character = part[place]
        end = part.find(']', place + 2) if character == '[' else -1
        if end > 0:
            inside = part[place + 1 : end].replace('\\', '\\\\')
            text += f'[{"^" + inside[1:] if inside[0] in "!^" else inside}]'
            place = end
        else:
            text += {'*': '[^/]*', '?': '[^/]'}.get(character, re.escape(character))
        place += 1
    return text
