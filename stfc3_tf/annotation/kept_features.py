"""Features of frames, kept on disk so that the encoder sees each frame once.

They have unit length and half precision, a file per frame, and are found again by the pixels that
the encoder sees: a file's name is the checksum of these and of the encoder. Those that were used
longest ago make room for new ones. A damaged file is dropped, and a full disk ends the keeping, not
the work.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import hashlib
import json
import tempfile

import numpy as np

from stfc3_tf.propagation import extractor
from stfc3_tf.propagation.extractor import FeatureExtractor
from stfc3_tf.storage.bounded_folder import MOST_TEMPORARY, BoundedFolder
from stfc3_tf.views.cell_grid import CellGrid

_LENGTH = 'unit length'


class KeptFeatures:
    """An encoder whose features are kept in a folder.

    Features are brought to unit length and rounded to half precision whether they were kept or not,
    so results do not depend on what was kept. At unit length none is too large for half precision.
    """

    def __init__(self, encoder: FeatureExtractor, folder: str, most_bytes: int):
        """Look at what is kept.

        Args:
          encoder: computes what is not kept.
          folder: made if needed; it can be removed at any time.
          most_bytes: the size of all files together; 0 to keep nothing.
        """
        self._encoder, self._kept = encoder, BoundedFolder(folder, most_bytes)
        # Earlier versions kept features of any length under names without this text.
        identity = [_LENGTH, extractor.identity(encoder)]
        self._salt = json.dumps(identity, sort_keys=True).encode()

    @property
    def cell_grid(self) -> CellGrid:
        """See `FeatureExtractor`."""
        return self._encoder.cell_grid

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Return the features of frames at unit length; see `extractor.unit_features`."""
        digest = hashlib.sha256(self._salt + repr(frames.shape).encode())
        digest.update(np.ascontiguousarray(frames).tobytes())
        name = digest.hexdigest()[:40]
        found = self._kept.get(name)
        if found is None:
            found = extractor.unit_features(self._encoder, frames).astype(np.float16)
            self._kept.put(name, found)
        return found.astype(np.float32)


@contextlib.contextmanager
def kept_for_now(encoder: FeatureExtractor) -> Iterator[KeptFeatures]:
    """Keep the features of an encoder until the block ends, at most 4 GiB."""
    with tempfile.TemporaryDirectory() as folder:
        yield KeptFeatures(encoder, folder, MOST_TEMPORARY)
