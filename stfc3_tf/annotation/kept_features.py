"""Features of frames, kept on disk so that the encoder sees each frame once.

They are in half precision, a file per frame, and are found again by the pixels that the encoder
sees: a file's name is the checksum of these and of the encoder. Those that were used longest ago
make room for new ones. A damaged file is dropped, and a full disk ends the keeping, not the work.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import hashlib
import io
import json
import os
import pathlib
import tempfile

from absl import logging
import numpy as np

from stfc3_tf import errors
from stfc3_tf.propagation import extractor
from stfc3_tf.propagation.extractor import FeatureExtractor
from stfc3_tf.storage import writing
from stfc3_tf.views.cell_grid import CellGrid

_MOST_FOR_NOW = 4 << 30


class KeptFeatures:
    """An encoder whose features are kept in a folder.

    Features are rounded to half precision whether they were kept or not, so results do not depend
    on what was kept.
    """

    def __init__(self, encoder: FeatureExtractor, folder: str, most_bytes: int):
        """Look at what is kept.

        Args:
          encoder: computes what is not kept.
          folder: made if needed; it can be removed at any time.
          most_bytes: the size of all files together; 0 to keep nothing.
        """
        self._encoder, self._folder, self._most = encoder, pathlib.Path(folder), most_bytes
        self._salt = json.dumps(extractor.identity(encoder), sort_keys=True).encode()
        self._sizes = _by_age(self._folder)

    @property
    def cell_grid(self) -> CellGrid:
        """See `FeatureExtractor`."""
        return self._encoder.cell_grid

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Return the features of frames, float32 [batch, rows, columns, channels]."""
        digest = hashlib.sha256(self._salt + repr(frames.shape).encode())
        digest.update(np.ascontiguousarray(frames).tobytes())
        name = f'{digest.hexdigest()[:40]}.npy'
        found = self._get(name)
        if found is None:
            found = np.asarray(self._encoder.features(frames)).astype(np.float16)
            self._put(name, found)
        return found.astype(np.float32)

    def _get(self, name: str) -> np.ndarray | None:
        if name not in self._sizes:
            return None
        self._sizes[name] = self._sizes.pop(name)  # It is now the one used last.
        try:
            found = np.load(self._folder / name)
            os.utime(self._folder / name)
            return found
        except (OSError, ValueError, EOFError):
            self._drop(name)
            return None

    def _put(self, name: str, features: np.ndarray) -> None:
        contents = io.BytesIO()
        np.save(contents, features)
        size = contents.getbuffer().nbytes
        while self._sizes and sum(self._sizes.values()) + size > self._most:
            self._drop(next(iter(self._sizes)))
        if size > self._most:
            return
        try:
            writing.write_bytes(str(self._folder / name), contents.getvalue())
            self._sizes[name] = size
        except errors.UserError as error:
            logging.warning('Features are not kept any more: %s', error)
            self._most = 0

    def _drop(self, name: str) -> None:
        del self._sizes[name]
        (self._folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def kept_for_now(encoder: FeatureExtractor) -> Iterator[KeptFeatures]:
    """Keep the features of an encoder until the block ends, at most 4 GiB."""
    with tempfile.TemporaryDirectory() as folder:
        yield KeptFeatures(encoder, folder, _MOST_FOR_NOW)


def _by_age(folder: pathlib.Path) -> dict[str, int]:
    """Return the sizes of files by name, first those that were used longest ago."""
    found = [(path.stat(), path.name) for path in folder.glob('*.npy')]
    found.sort(key=lambda each: each[0].st_mtime_ns)
    return {name: stat.st_size for stat, name in found}
