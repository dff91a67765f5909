"""Files and folders that are either whole or absent, on any file system TensorFlow knows."""

from collections.abc import Callable
import posixpath

import tensorflow as tf


def write_bytes(path: str, contents: bytes) -> None:
    """Writes a file, replacing an older one."""
    write_whole(path, lambda partial: _write(partial, contents))


def write_text(path: str, text: str) -> None:
    """Writes a file in UTF-8, replacing an older one."""
    write_bytes(path, text.encode())


def write_whole(path: str, write: Callable[[str], None]) -> None:
    """Calls `write(temporary path)`, then moves the file or folder it wrote to `path`.

    An older file or folder there stays until the new one is finished.
    """
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


def remove(path: str) -> None:
    """Removes a file or a folder, if there is one."""
    if tf.io.gfile.isdir(path):
        tf.io.gfile.rmtree(path)
    elif tf.io.gfile.exists(path):
        tf.io.gfile.remove(path)


def _write(path: str, contents: bytes) -> None:
    with tf.io.gfile.GFile(path, 'wb') as file:
        file.write(contents)
