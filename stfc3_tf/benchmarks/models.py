"""Exported encoders as feature extractors for the benchmarks."""

import hashlib
import posixpath
from typing import Any

import numpy as np
import tensorflow as tf

from stfc3_tf import serving
from stfc3_tf.benchmarks import files


class SavedEncoder:
    """Any SavedModel with the signature `features`.

    Attributes:
      cell_grid: where its feature cells lie.
    """

    def __init__(self, path: str):
        """Loads the model.

        Raises:
          errors.UserError: no SavedModel there, or one without the signature.
        """
        self._encoder = serving.load(path)
        self._digest = saved_model_digest(path)
        self.cell_grid = self._encoder.cell_grid

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Returns float32 [batch, rows, columns, channels], of unit length, of uint8 RGB frames."""
        # A SavedModel made elsewhere may leave its features at any length.
        return tf.math.l2_normalize(self._encoder.features(frames), axis=-1).numpy()

    def settings(self) -> dict[str, Any]:
        """Returns the digest of the model's files, wherever they lie, and where its cells are."""
        return {'saved_model_sha256': self._digest, 'cell_grid': self.cell_grid._asdict()}


def saved_model_digest(path: str) -> str:
    """Returns the SHA-256 of a SavedModel's graph and variables."""
    variables = posixpath.join(path, 'variables')
    paths = [posixpath.join(path, 'saved_model.pb')]
    if tf.io.gfile.isdir(variables):
        paths += [
            posixpath.join(variables, name) for name in sorted(tf.io.gfile.listdir(variables))
        ]
    digest = hashlib.sha256()
    for file in paths:
        digest.update(files.digest(file))
    return digest.hexdigest()
