"""Files and folders that are either whole or absent, on any file system TensorFlow knows.

On this machine they are made in a `workplace` beside their place and then moved. On object stores a
file appears once it is whole. A folder does not, because it is only a common prefix of names. So a
folder for an object store is first made on this machine. Then a mark is written beside its place,
what was there is removed, and the files are sent, the decisive one last. At the end the mark is
removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import os
import posixpath
import tempfile

import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.storage import object_store, workplace
from stfc3_tf.storage.workplace import Workplace

# Seconds to wait while another process writes the same file, which takes it moments.
_PATIENCE = 60.0


def check_file(path: str) -> None:
    """Check that a file can be written, before there is work to lose; make its folder.

    Raises:
      errors.UserError: it cannot be, or is a folder.
    """
    object_store.check_text(path)
    _refuse_folder(path)
    _check_place(path)


def check_folder(path: str) -> None:
    """Check that a folder can be written, before there is work to lose; make the one above it.

    Raises:
      errors.UserError: it cannot be.
    """
    _check_place(path.rstrip('/'))


def write_bytes(path: str, contents: bytes) -> None:
    """Write a file, replacing an older one.

    Raises:
      errors.UserError: it cannot be written, or is a folder.
    """
    if _is_local(path):
        _refuse_folder(path)
        with _converted(path), Workplace(path, _PATIENCE) as place:
            _write(place.partial, contents)
            place.commit()
    elif object_store.is_object_store(path):
        _write(path, contents)
    else:
        write_whole(path, lambda partial: _write(partial, contents))


def write_text(path: str, text: str) -> None:
    """Write a file in UTF-8, replacing an older one; raise UserError like `write_bytes`."""
    write_bytes(path, text.encode())


def write_whole(path: str, write: Callable[[str], None], decisive: str | None = None) -> None:
    """Call `write(temporary path)`, then move the file or folder it wrote to `path`.

    An older file or folder stays until the new one is finished. If `path` is a link, it stays a
    link, and what it points at is replaced.

    Args:
      path: where it goes.
      write: makes the file or folder at the path it is called with.
      decisive: path within the folder of the file that readers look for first; it is sent last.

    Raises:
      errors.UserError: the disk is full, another process writes to `path`, or an object store does
        not answer. A folder that was sent in part has no decisive file, and `is_unfinished`.
    """
    path = path.rstrip('/')
    if _is_local(path):
        with _full_disk_named(path), _place(path) as place:
            write(place.partial)
            with _converted(path):
                place.commit()
    elif object_store.is_object_store(path):
        with tempfile.TemporaryDirectory() as folder:
            partial = posixpath.join(folder, posixpath.basename(path))
            write(partial)
            _send(partial, path, decisive)
    else:
        _write_and_rename(path, write)


def _write_and_rename(path: str, write: Callable[[str], None]) -> None:
    """Do it on file systems such as hdfs://, which can rename folders but have no locks."""
    partial, old = (f'{path}.stfc3-{part}' for part in ('new', 'old'))
    if tf.io.gfile.exists(old) and not tf.io.gfile.exists(path):
        # An earlier process was killed between the two renames.
        tf.io.gfile.rename(old, path)
    remove(partial)
    remove(old)
    tf.io.gfile.makedirs(posixpath.dirname(path) or '.')
    write(partial)
    if tf.io.gfile.exists(path) and (tf.io.gfile.isdir(partial) or tf.io.gfile.isdir(path)):
        # Renaming replaces an existing file, but not a folder.
        tf.io.gfile.rename(path, old)
    tf.io.gfile.rename(partial, path, overwrite=True)
    remove(old)


def is_unfinished(path: str) -> bool:
    """Return whether a folder on an object store was sent there only in part."""
    return object_store.is_object_store(path) and tf.io.gfile.exists(_mark(path))


def clear_remains(folder: str) -> None:
    """Remove what killed processes left below a local folder of files that they were writing.

    Nothing that another process is writing is touched, and nothing under a name of the user's own.
    """
    if _is_local(folder):
        workplace.clear(folder)


def remove(path: str) -> None:
    """Remove a file or a folder, if there is one; of a link, only the link."""
    if _is_local(path) and os.path.islink(path):
        os.unlink(path)
        return
    if tf.io.gfile.isdir(path):
        tf.io.gfile.rmtree(path)
    elif tf.io.gfile.exists(path):
        tf.io.gfile.remove(path)


def _is_local(path: str) -> bool:
    return '://' not in path


def _refuse_folder(path: str) -> None:
    with _converted(path):
        is_folder = tf.io.gfile.isdir(path)
    if is_folder:
        raise errors.UserError(f'{path} is a folder: name a file to write.')


def _check_place(path: str) -> None:
    object_store.check_text(path)
    with _converted(path):
        if _is_local(path):
            with Workplace(path, _PATIENCE) as place:
                _write(place.partial, b'The file comes here.\n')
        else:
            _write(f'{path}.stfc3-check', b'The file comes here.\n')
            remove(f'{path}.stfc3-check')


def _place(path: str) -> Workplace:
    with _converted(path):
        return Workplace(path)


@contextlib.contextmanager
def _converted(path: str) -> Iterator[None]:
    """Raise UserError for what goes wrong in the block, which writes `path` and nothing else."""
    try:
        yield
    except (tf.errors.OpError, OSError, ValueError) as error:
        raise errors.UserError(
            f'{path} cannot be written: {errors.one_line(error)}. Choose a folder that can be '
            'written and has room.'
        ) from error


@contextlib.contextmanager
def _full_disk_named(path: str) -> Iterator[None]:
    """Raise UserError if the disk is full; the block may also fail for other reasons."""
    try:
        yield
    except (tf.errors.OpError, OSError, errors.UserError) as error:
        # The block may write files with functions of this module, which name the temporary path.
        cause = error.__cause__ or error
        if not errors.is_no_room(cause):
            raise
        raise errors.UserError(
            f'{path} cannot be written: there is no room left ({errors.one_line(cause)}). What was '
            'there before is unchanged; make room, or choose another folder.'
        ) from error


def _send(local: str, path: str, decisive: str | None) -> None:
    """Move a file or folder of this machine to an object store."""
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
