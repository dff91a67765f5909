"""The reading of a file, without TensorFlow if it is on this machine."""

from __future__ import annotations

import pathlib

from stfc3_tf import errors


def read(path: str) -> bytes:
    """Return a file's contents.

    Args:
      path: on this machine, or on any file system TensorFlow knows.

    Raises:
      errors.UserError: the file is missing, empty or cannot be read.
    """
    if '://' in path:
        from stfc3_tf.storage import files

        return files.read_bytes(path)
    try:
        contents = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise errors.UserError(f'{path} cannot be read: {error.strerror}.') from error
    if not contents:
        raise errors.UserError(f'{path} is empty.')
    return contents
