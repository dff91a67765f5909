"""Files and folders that are either whole or absent, on any file system TensorFlow knows.

On object stores a file appears once it is whole, but a folder cannot: it is only a common beginning
of names. There a folder is first made on this machine; then a mark is written beside the place it
goes to, what was there is removed, and the files are sent, the decisive one last. The mark goes
when all are there.
"""

from __future__ import annotations

from collections.abc import Callable
import posixpath
import tempfile

import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf import object_store


def check_file(path: str) -> None:
    """Makes sure that a file can be written, before there is work to lose; what is there stays.

    Raises:
      errors.UserError: it cannot be, or is a folder.
    """
    try:
        if tf.io.gfile.isdir(path):
            raise errors.UserError(f'{path} is a folder: name a file to write.')
        tf.io.gfile.makedirs(posixpath.dirname(path) or '.')
        _write(f'{path}.partial', b'The file comes here.\n')
        remove(f'{path}.partial')
    except (tf.errors.OpError, OSError) as error:
        raise errors.UserError(
            f'{path} cannot be written: {error}. Choose a folder that can be written and has room.'
        ) from error


def write_bytes(path: str, contents: bytes) -> None:
    """Writes a file, replacing an older one."""
    if object_store.is_object_store(path):
        _write(path, contents)
    else:
        write_whole(path, lambda partial: _write(partial, contents))


def write_text(path: str, text: str) -> None:
    """Writes a file in UTF-8, replacing an older one."""
    write_bytes(path, text.encode())


def write_whole(path: str, write: Callable[[str], None], decisive: str | None = None) -> None:
    """Calls `write(temporary path)`, then moves the file or folder it wrote to `path`.

    An older file or folder there stays until the new one is finished.

    Args:
      path: where it goes.
      write: makes the file or folder at the path it is called with.
      decisive: path, within a folder, of the file without which it is of no use to anyone.

    Raises:
      errors.UserError: an object store does not answer. A folder of which a part was sent lacks its
        decisive file and `is_unfinished`.
    """
    path = path.rstrip('/')
    if object_store.is_object_store(path):
        with tempfile.TemporaryDirectory() as folder:
            partial = posixpath.join(folder, posixpath.basename(path))
            write(partial)
            _send(partial, path, decisive)
        return
    partial, replaced = f'{path}.partial', f'{path}.replaced'
    remove(partial)
    remove(replaced)
    tf.io.gfile.makedirs(posixpath.dirname(path) or '.')
    write(partial)
    if tf.io.gfile.exists(path) and (tf.io.gfile.isdir(partial) or tf.io.gfile.isdir(path)):
        # Only a file can be renamed onto what is there.
        tf.io.gfile.rename(path, replaced)
    tf.io.gfile.rename(partial, path, overwrite=True)
    remove(replaced)


def is_unfinished(path: str) -> bool:
    """Whether a folder on an object store was broken off while it was sent there."""
    return object_store.is_object_store(path) and tf.io.gfile.exists(_mark(path))


def remove(path: str) -> None:
    """Removes a file or a folder, if there is one."""
    if tf.io.gfile.isdir(path):
        tf.io.gfile.rmtree(path)
    elif tf.io.gfile.exists(path):
        tf.io.gfile.remove(path)


def _send(local: str, path: str, decisive: str | None) -> None:
    """Moves a file or folder of this machine to an object store."""
    if not tf.io.gfile.isdir(local):
        _copy(local, path)
        return
    names = [
        posixpath.relpath(posixpath.join(folder, name), local)
        for folder, _, files in tf.io.gfile.walk(local)
        for name in files
    ]
    _write(_mark(path), b'This folder is being written.\n')
    if decisive is not None:
        remove(posixpath.join(path, decisive))
    remove(path)
    for name in sorted(names, key=lambda name: (name == decisive, name)):
        _copy(posixpath.join(local, name), posixpath.join(path, name))
    remove(_mark(path))


def _mark(path: str) -> str:
    return f'{path}.unfinished'


def _copy(local: str, path: str) -> None:
    with object_store.reporting(path):
        tf.io.gfile.copy(local, path, overwrite=True)


def _write(path: str, contents: bytes) -> None:
    with object_store.reporting(path), tf.io.gfile.GFile(path, 'wb') as file:
        file.write(contents)
