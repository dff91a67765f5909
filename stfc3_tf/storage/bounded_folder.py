"""Arrays kept in a folder within a set size."""

from __future__ import annotations

import io
import os
import pathlib
import threading

from absl import logging
import numpy as np

from stfc3_tf import errors
from stfc3_tf.storage import writing

# Bytes of a temporary folder, at most.
MOST_TEMPORARY = 4 << 30
# NumPy parses the head of a file as Python. In Python 3.11, two threads that do so at once fail now
# and then with "SystemError: AST constructor recursion depth mismatch".
_READING = threading.Lock()


class BoundedFolder:
    """Arrays by name, each in a file of its own.

    Those that were used longest ago make room for new ones. A damaged file is dropped, and a full
    disk ends the keeping, not the work.
    """

    def __init__(self, folder: str, most_bytes: int):
        """Look at what is there.

        Args:
          folder: made if needed; it can be removed at any time.
          most_bytes: the size of all files together; 0 to keep nothing.
        """
        self._folder, self._most = pathlib.Path(folder), most_bytes
        self._sizes = _by_age(self._folder)
        self._size = sum(self._sizes.values())
        self._is_full = False

    def get(self, name: str) -> np.ndarray | None:
        """Return the array of this name, None if it is not there."""
        name = f'{name}.npy'
        if name not in self._sizes:
            return None
        self._sizes[name] = self._sizes.pop(name)  # It is now the one used last.
        try:
            with _READING:
                found = np.load(self._folder / name)
            os.utime(self._folder / name)
            return found
        except (OSError, ValueError, EOFError):
            self._drop(name)
            return None

    def put(self, name: str, array: np.ndarray) -> None:
        """Keep an array, unless it is larger than everything may be."""
        contents = io.BytesIO()
        np.save(contents, array)
        size = contents.getbuffer().nbytes
        if self._is_full or size > self._most:
            return
        while self._sizes and self._size + size > self._most:
            self._drop(next(iter(self._sizes)))
        name = f'{name}.npy'
        try:
            writing.write_bytes(str(self._folder / name), contents.getvalue())
            self._size += size - self._sizes.pop(name, 0)
            self._sizes[name] = size
        except errors.UserError as error:
            logging.warning('Nothing more is kept in %s: %s', self._folder, error)
            self._is_full = True

    def _drop(self, name: str) -> None:
        self._size -= self._sizes.pop(name)
        (self._folder / name).unlink(missing_ok=True)


def _by_age(folder: pathlib.Path) -> dict[str, int]:
    """Return the sizes of files by name, first those that were used longest ago."""
    found = [(path.stat(), path.name) for path in folder.glob('*.npy')]
    found.sort(key=lambda each: each[0].st_mtime_ns)
    return {name: stat.st_size for stat, name in found}
