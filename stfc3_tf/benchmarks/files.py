"""Frames, masks and .mat files of data sets, read and written through tf.io.gfile.

Whatever cannot be read raises a UserError that names the file and what was expected of it.
"""

from collections.abc import Iterable, Iterator
import hashlib
import io
import posixpath
from typing import Any

import numpy as np
from PIL import Image
import scipy.io
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf import object_store
from stfc3_tf import palette
from stfc3_tf import writing

# Bytes read at once where a file is only looked through.
_PIECE = 1 << 20


def exists(path: str) -> bool:
    """Whether there is such a file or folder."""
    return tf.io.gfile.exists(path)


def read_bytes(path: str) -> bytes:
    """Returns a file's contents; raises UserError if it is missing, empty or unreadable."""
    try:
        contents = object_store.read(path)
    except tf.errors.OpError as error:
        raise errors.UserError(f'{path} is missing or cannot be read: {error.message}') from error
    if not contents:
        raise _empty(path)
    return contents


def digest(path: str) -> bytes:
    """Returns the SHA-256 of a file, read in pieces; errors as of `read_bytes`."""
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


def read_lines(path: str, expected: str) -> list[str]:
    """Returns the stripped, non-empty lines of a list file; `expected` says what it should hold."""
    if not exists(path):
        raise errors.UserError(f'{path}: there is no such file; expected {expected}.')
    lines = [line.strip() for line in read_bytes(path).decode().splitlines()]
    if not any(lines):
        raise errors.UserError(f'{path} holds no line; expected {expected}.')
    return [line for line in lines if line]


def list_files(folder: str, suffixes: tuple[str, ...], expected: str) -> list[str]:
    """Returns the sorted paths in `folder` whose names end so; UserError if there are none."""
    names = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    found = sorted(name for name in names if name.lower().endswith(suffixes))
    if not found:
        raise errors.UserError(
            f'{folder} holds no {" or ".join(suffixes)} files; expected {expected}.'
        )
    return [posixpath.join(folder, name) for name in found]


def stem(path: str) -> str:
    """Returns a path's last part without its ending."""
    return posixpath.splitext(posixpath.basename(path))[0]


def read_frame(path: str) -> np.ndarray:
    """Returns an image file as uint8 [height, width, 3] RGB."""
    return np.asarray(_decoded(path).convert('RGB'))


def read_frames(paths: Iterable[str]) -> Iterator[np.ndarray]:
    """Yields image files one by one as uint8 [height, width, 3] RGB."""
    return map(read_frame, paths)


def check_frames(paths: Iterable[str]) -> tuple[int, int]:
    """Decodes every image file; returns the (height, width) that all of them must have."""
    size = None
    for path in paths:
        found = read_frame(path).shape[:2]
        size = size or found
        check_size(path, found, size)
    return size


def check_clip(name: str, frames: Iterable[np.ndarray]) -> int:
    """Counts frames, [height, width, 3]; raises UserError unless all have one size."""
    count, size = 0, None
    for count, frame in enumerate(frames, 1):
        size = size or frame.shape[:2]
        check_size(f'{name}: frame {count}', frame.shape[:2], size)
    return count


def check_size(path: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raises UserError unless an image has the (height, width) expected of it."""
    if tuple(found) != tuple(expected):
        raise errors.UserError(
            f'{path} is {found[1]}x{found[0]} (width x height), expected '
            f'{expected[1]}x{expected[0]} as the first of its sequence.'
        )


def read_index_mask(path: str) -> np.ndarray:
    """Returns an annotation as stored numbers, uint8 [height, width].

    Palette images give their indices, grey images (of up to 32 bits) their values. Colour images (some
    copies of DAVIS are) give the index of each colour in the DAVIS palette, but 0 and 255 if they are black
    and white.

    Raises:
      errors.UserError: unreadable, a number above 255, or a colour that is not in the palette.
    """
    image = _decoded(path)
    if image.mode in ('P', 'L', '1'):
        return np.asarray(image if image.mode != '1' else image.convert('L'))
    if image.mode.startswith('I'):
        return _small_numbers(path, np.asarray(image))
    channels = np.asarray(image.convert('RGB'))
    if np.all((channels == channels[..., :1]) & ((channels == 0) | (channels == 255))):
        return channels[..., 0]
    colours = channels.astype(np.int64) @ [1 << 16, 1 << 8, 1]
    known = palette.DAVIS.astype(np.int64) @ [1 << 16, 1 << 8, 1]
    order = np.argsort(known)
    index = order[np.minimum(np.searchsorted(known, colours, sorter=order), len(known) - 1)]
    if np.any(known[index] != colours):
        raise errors.UserError(
            f'{path} is a {image.mode} image with colours that are not in the DAVIS palette; '
            'expected a palette PNG whose indices are object numbers.'
        )
    return index.astype(np.uint8)


def _small_numbers(path: str, numbers: np.ndarray) -> np.ndarray:
    if numbers.min() < 0 or numbers.max() > 255:
        raise errors.UserError(
            f'{path} holds {numbers.min()} to {numbers.max()}: object numbers are 0 to 255.'
        )
    return numbers.astype(np.uint8)


def write_palette_mask(path: str, mask: np.ndarray) -> None:
    """Writes an index mask, uint8 [height, width], as a PNG with the DAVIS palette."""
    image = Image.fromarray(mask.astype(np.uint8), mode='P')
    image.putpalette(palette.DAVIS.tobytes())
    contents = io.BytesIO()
    image.save(contents, format='PNG')
    writing.write_bytes(path, contents.getvalue())


def read_mat(path: str, name: str, axes: int) -> np.ndarray:
    """Returns the array called `name`, with so many axes, of a MATLAB file."""
    contents = read_bytes(path)
    try:
        arrays = scipy.io.loadmat(io.BytesIO(contents))
    except (ValueError, TypeError, NotImplementedError, OSError, EOFError, KeyError) as error:
        raise errors.UserError(f'{path} is not a readable MATLAB 5 file: {error}') from error
    array = arrays.get(name)
    if array is None or array.ndim != axes:
        raise errors.UserError(
            f"{path}: expected an array '{name}' with {axes} axes, found "
            f'{"none" if array is None else f"shape {array.shape}"}.'
        )
    return array


def write_mat(path: str, **arrays: Any) -> None:
    """Writes arrays as a compressed MATLAB 5 file."""
    contents = io.BytesIO()
    scipy.io.savemat(contents, arrays, do_compression=True)
    writing.write_bytes(path, contents.getvalue())


def _empty(path: str) -> errors.UserError:
    return errors.UserError(f'{path} is empty; unpack the data set again.')


def _decoded(path: str) -> Image.Image:
    contents = read_bytes(path)
    try:
        image = Image.open(io.BytesIO(contents))
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise errors.UserError(
            f'{path} is not a readable image ({error}); unpack the data set again.'
        ) from error
    return image
