"""The exported encoder: a SavedModel that needs nothing but TensorFlow, and how to load one.

Signatures:

    features    frames uint8 [batch, height, width, 3], RGB, any size
                -> features float32 [batch, rows, columns, channels], unit length per cell
    propagate   query float32 [rows, columns, channels], context_features float32 [frames, rows, columns, channels],
                context_labels float32 [frames, rows, columns, labels], unrestricted bool [frames]
                -> labels float32 [rows, columns, labels]
    metadata    -> json string []: layer, stride, first_cell, statistics, step, versions, config, propagation

With padding there are ceil(height / 8) rows. Preprocessing is inside; batch normalisation is in inference mode.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import json
from typing import Any
import uuid

import numpy as np
import tensorflow as tf

import stfc3_tf
from stfc3_tf import encoder as encoders
from stfc3_tf import errors, geometry, propagation

METADATA_NAME = 'metadata.json'
_FRAMES = tf.TensorSpec([None, None, None, 3], tf.uint8, name='frames')
_PROPAGATE = {
    'query': tf.TensorSpec([None, None, None], tf.float32, name='query'),
    'context_features': tf.TensorSpec([None, None, None, None], tf.float32, name='context_features'),
    'context_labels': tf.TensorSpec([None, None, None, None], tf.float32, name='context_labels'),
    'unrestricted': tf.TensorSpec([None], tf.bool, name='unrestricted')}


class ExportedEncoder(tf.Module):
    """What a SavedModel is made of."""

    def __init__(self, encoder: encoders.Encoder, layer: str, settings: propagation.PropagationSettings,
                 metadata: Mapping[str, Any]):
        """Takes the encoder up to `layer`; layers after it are not exported."""
        super().__init__(name='stfc3_encoder')
        self._network = tf.keras.Model(encoder.inputs, encoder.output[layer])
        self._statistics = encoder.statistics
        self._settings = settings
        self._metadata = json.dumps(metadata)

    @tf.function(input_signature=[_FRAMES])
    def features(self, frames: tf.Tensor) -> dict[str, tf.Tensor]:
        """See the module."""
        normalised = encoders.normalise_frames(frames, self._statistics)
        features = tf.cast(self._network(normalised, training=False), tf.float32)
        return {'features': tf.math.l2_normalize(features, axis=-1)}

    @tf.function(input_signature=list(_PROPAGATE.values()))
    def propagate(self, query: tf.Tensor, context_features: tf.Tensor, context_labels: tf.Tensor,
                  unrestricted: tf.Tensor) -> dict[str, tf.Tensor]:
        """See the module."""
        return {'labels': propagation.propagate(query, context_features, context_labels, unrestricted, self._settings)}

    @tf.function(input_signature=[])
    def metadata(self) -> dict[str, tf.Tensor]:
        """See the module."""
        return {'json': tf.constant(self._metadata)}


def export(encoder: encoders.Encoder, output_dir: str, layer: str = 'stage3',
           settings: propagation.PropagationSettings | None = None, metadata: Mapping[str, Any] | None = None) -> None:
    """Writes an encoder as a SavedModel; `output_dir` appears, or is replaced, only once it is whole.

    Args:
      encoder: see `stfc3_tf.encoder`.
      output_dir: a folder on any file system TensorFlow knows; for TensorFlow Serving end it in a version number.
      layer: 'stage3' (the paper's choice: no head), 'stage4' or 'head'.
      settings: of the signature `propagate`; the defaults of `PropagationSettings` if None.
      metadata: more to record, such as the configuration and the step.

    Raises:
      errors.UserError: there is no such layer, or `output_dir` holds something that is not a SavedModel.
    """
    if layer not in encoders.OUTPUTS:
        raise errors.UserError(f"layer = '{layer}': choose one of {', '.join(encoders.OUTPUTS)}.")
    if tf.io.gfile.exists(output_dir) and tf.io.gfile.listdir(output_dir) and not tf.saved_model.contains_saved_model(output_dir):
        raise errors.UserError(f'{output_dir} exists and holds no SavedModel: choose another folder, or empty it.')
    settings = settings or propagation.PropagationSettings()
    facts = {**describe(encoder, layer, settings), **(metadata or {})}
    module = ExportedEncoder(encoder, layer, settings, facts)
    partial = f'{output_dir.rstrip("/")}.partial-{uuid.uuid4().hex[:8]}'
    signatures = {name: getattr(module, name) for name in ('features', 'propagate', 'metadata')}
    tf.saved_model.save(module, partial, signatures=signatures)
    _write(tf.io.gfile.join(partial, 'assets.extra', METADATA_NAME), json.dumps(facts, indent=1))
    if tf.io.gfile.exists(output_dir):
        tf.io.gfile.rmtree(output_dir)
    tf.io.gfile.rename(partial, output_dir)


def describe(encoder: encoders.Encoder, layer: str, settings: propagation.PropagationSettings) -> dict[str, Any]:
    """What a user of the exported features has to know."""
    grid = encoder.cell_grid[layer]
    return {'encoder': encoder.name, 'layer': layer, 'stride': grid.stride, 'first_cell': grid.first,
            'channels': encoder.output[layer].shape[-1], 'statistics': encoder.statistics._asdict(),
            'propagation': dataclasses.asdict(settings),
            'versions': {'stfc3_tf': stfc3_tf.__version__, 'tensorflow': tf.__version__}}


def _write(path: str, text: str) -> None:
    tf.io.gfile.makedirs(path.rsplit('/', 1)[0])
    with tf.io.gfile.GFile(path, 'w') as file:
        file.write(text)


class LoadedEncoder:
    """A SavedModel's encoder.

    Attributes:
      metadata: what was recorded at export; {} for a SavedModel made elsewhere.
      cell_grid: where the cells stand. A SavedModel made elsewhere is taken to be a padded stride-8 encoder.
    """

    def __init__(self, module: Any):
        signatures = module.signatures
        self._module = module  # signatures do not keep their variables alive
        self._features = signatures['features']
        self.metadata: dict[str, Any] = {}
        if 'metadata' in signatures:
            self.metadata = json.loads(signatures['metadata']()['json'].numpy())
        self.cell_grid = geometry.CellGrid(self.metadata.get('first_cell', 0.0), self.metadata.get('stride', 8))

    def features(self, frames: np.ndarray | tf.Tensor) -> tf.Tensor:
        """Embeds frames.

        Args:
          frames: uint8 [batch, height, width, 3], RGB.

        Returns:
          float32 [batch, rows, columns, channels], unit length per cell.

        Raises:
          errors.UserError: the frames are of another type or shape.
        """
        if frames.dtype != np.uint8 or len(frames.shape) != 4 or frames.shape[-1] != 3:
            raise errors.UserError('Frames must be uint8 [batch, height, width, 3] in RGB; these are '
                                   f'{np.dtype(getattr(frames.dtype, "as_numpy_dtype", frames.dtype)).name} '
                                   f'{list(frames.shape)}.')
        return self._features(frames=tf.convert_to_tensor(frames))['features']


def load(path: str) -> LoadedEncoder:
    """Loads a SavedModel that has the signature `features`.

    Raises:
      errors.UserError: there is no SavedModel, it cannot be read, or it has no such signature.
    """
    if not tf.saved_model.contains_saved_model(path):
        raise errors.UserError(f'{path} is no SavedModel: give the folder that holds saved_model.pb '
                               '(after training, MODEL_DIR/saved_model).')
    try:
        module = tf.saved_model.load(path)
    except (tf.errors.OpError, OSError, ValueError) as error:
        raise errors.UserError(f'{path} cannot be read as a SavedModel: {str(error).splitlines()[0]}') from error
    if 'features' not in module.signatures:
        raise errors.UserError(f'{path} has no signature "features" but {", ".join(module.signatures) or "none"}: '
                               'export an encoder with tools.export or tools.import_torch.')
    return LoadedEncoder(module)
