"""Read files on any file system: bytes, lists, MATLAB arrays, digests.

A file that cannot be read raises a UserError that names it and what was expected.
"""

import hashlib
import io
import posixpath
from typing import Any

import numpy as np
import scipy.io
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.storage import (
    folders,
    frame_names,
    mat_size,
    object_store,
    state,
    text,
    writing,
)

# Bytes read at once where a file need not be in memory as a whole.
_PIECE = 1 << 20


def exists(path: str) -> bool:
    """Return whether there is such a file or folder."""
    return folders.exists(path)


def read_bytes(path: str) -> bytes:
    """Return a file's contents; raise UserError if it is missing, empty or unreadable."""
    try:
        contents = object_store.read(path)
    except tf.errors.OpError as error:
        raise errors.UserError(f'{path} is missing or cannot be read: {error.message}') from error
    if not contents:
        raise _empty(path)
    return contents


def digest(path: str) -> bytes:
    """Return the SHA-256 of a file, read in pieces; raise UserError like `read_bytes`."""
    sha256, size = hashlib.sha256(), 0
    try:
        with object_store.reporting(path), object_store.File(path) as file:
            while piece := file.read(_PIECE):
                sha256.update(piece)
                size += len(piece)
    except tf.errors.OpError as error:
        raise errors.UserError(f'{path} is missing or cannot be read: {error.message}') from error
    if not size:
        raise _empty(path)
    return sha256.digest()


def read_json(path: str, schema: Any, remedy: str) -> Any:
    """Return what a JSON file holds, checked.

    Args:
      path: the file.
      schema: the type that the contents must have, see `state.parse_json`.
      remedy: what the user can do about a damaged file, for messages.

    Returns:
      A value of the type of `schema`.

    Raises:
      errors.UserError: the file cannot be read, or its contents do not fit the schema.
    """
    return state.parse_json(read_bytes(path), schema, path, remedy)


def read_lines(path: str, expected: str) -> list[str]:
    """Return the stripped, non-empty lines of a list file; `expected` says what it should hold."""
    if not exists(path):
        raise errors.UserError(f'{path}: there is no such file; expected {expected}.')
    lines = [line.strip() for line in text.decode(read_bytes(path), path).splitlines()]
    if not any(lines):
        raise errors.UserError(f'{path} has no lines; expected {expected}.')
    return [line for line in lines if line]


def list_files(folder: str, suffixes: tuple[str, ...], expected: str) -> list[str]:
    """Return the files in a folder with given endings, in natural order, without hidden files.

    Args:
      folder: the folder.
      suffixes: the endings, in lower case.
      expected: what the files should be, for the message.

    Returns:
      Their paths.

    Raises:
      errors.UserError: there are none.
    """
    names = [name for name in _names(folder) if name.lower().endswith(suffixes)]
    return _paths(folder, sorted(names, key=folders.natural_order), suffixes, expected)


def list_frames(folder: str, suffixes: tuple[str, ...], expected: str) -> list[str]:
    """Return the frames in a folder in the order of their numbers, see `frame_names.choose`.

    Args:
      folder: the folder.
      suffixes: the endings of pictures, in lower case.
      expected: what the files should be, for the message.

    Returns:
      Their paths.

    Raises:
      errors.UserError: there are none, or pictures of several kinds.
    """
    names = frame_names.choose(folder, _names(folder), suffixes)
    return _paths(folder, names, suffixes, expected)


def names_in(folder: str) -> list[str]:
    """Return the names of files and folders in a folder, sorted; see `folders.names_in`.

    Raises:
      errors.UserError: there is no such folder, or it cannot be listed.
    """
    try:
        return folders.names_in(folder)
    except tf.errors.OpError as error:
        reason = error.message.removeprefix(f'{folder}: ')
        raise errors.UserError(
            f'{folder} cannot be listed ({reason}): make it readable, or name another folder.'
        ) from error


def _names(folder: str) -> list[str]:
    return names_in(folder) if folders.is_folder(folder) else []


def _paths(folder: str, names: list[str], suffixes: tuple[str, ...], expected: str) -> list[str]:
    if not names:
        raise errors.UserError(
            f'{folder} holds no {" or ".join(suffixes)} files; expected {expected}.'
        )
    return [posixpath.join(folder, name) for name in names]


def stem(path: str) -> str:
    """Return a path's last part without its ending."""
    return posixpath.splitext(posixpath.basename(path))[0]


def read_mat(path: str, name: str, axes: int) -> np.ndarray:
    """Return an array of a MATLAB 5 file.

    Args:
      path: the file.
      name: of the array.
      axes: how many axes it must have.

    Returns:
      The array: numbers or booleans.

    Raises:
      errors.UserError: the file cannot be read, would unpack to too much memory, or has no such
        array.
    """
    contents = read_bytes(path)
    try:
        mat_size.check(contents)
        # Only this variable: objects and functions of MATLAB are not needed.
        array = scipy.io.loadmat(io.BytesIO(contents), variable_names=[name]).get(name)
    # A damaged file fails anywhere in the reader.
    except Exception as error:
        raise errors.UserError(
            f'{path} is not a readable MATLAB 5 file: {errors.one_line(error)}'
        ) from error
    if not isinstance(array, np.ndarray) or array.ndim != axes or array.dtype.kind not in 'biuf':
        raise errors.UserError(
            f"{path}: expected an array '{name}' with {axes} axes, found "
            f'{"none" if array is None else f"shape {np.shape(array)}"}.'
        )
    return array


def write_mat(path: str, **arrays: Any) -> None:
    """Write arrays as a compressed MATLAB 5 file."""
    contents = io.BytesIO()
    scipy.io.savemat(contents, arrays, do_compression=True)
    writing.write_bytes(path, contents.getvalue())


def _empty(path: str) -> errors.UserError:
    return errors.UserError(f'{path} is empty; copy or unpack it again.')
