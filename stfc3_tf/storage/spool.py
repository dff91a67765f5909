"""Arrays of one shape, stored on disk while a program runs."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np

from stfc3_tf import errors


class Spool:
    """Arrays of one shape and type by their place, in a file without a name.

    The file is in the folder for temporary files ($TMPDIR) and is deleted with the object.
    """

    def __init__(self, dtype: Any = np.float32):
        """Make an empty file.

        Args:
          dtype: of the arrays.
        """
        self._dtype = np.dtype(dtype)
        self._shape: tuple[int, ...] = ()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115, it lives as long as this object

    def put(self, place: int, array: Any) -> None:
        """Store an array; all must have the shape of the first one.

        Args:
          place: its number, from 0; what was there is replaced.
          array: the array.

        Raises:
          errors.UserError: the folder for temporary files is full, or cannot be written.
        """
        array = np.asarray(array, self._dtype)
        self._shape = self._shape or array.shape
        if array.shape != self._shape:
            raise ValueError(f'An array of shape {array.shape} among those of {self._shape}.')
        try:
            self._file.seek(place * array.nbytes)
            self._file.write(array.tobytes())
            self._file.flush()  # What does not fit is found here rather than by who reads.
        except OSError as error:
            raise errors.UserError(
                f'{tempfile.gettempdir()}, the folder for temporary files, cannot be written '
                f'({errors.one_line(error)}): free room there, or set TMPDIR to another folder.'
            ) from None  # `writing` takes a full disk as cause for one of its own.

    def get(self, place: int) -> np.ndarray:
        """Return the array that was put at a place; it cannot be written to."""
        size = int(np.prod(self._shape)) * self._dtype.itemsize
        self._file.seek(place * size)
        return np.frombuffer(self._file.read(size), self._dtype).reshape(self._shape)
