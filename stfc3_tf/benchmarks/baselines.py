"""Baseline encoders: colours, random weights, ImageNet.

The baseline without motion is `propagation.tracker.CopyFirst`.
"""

from __future__ import annotations

import shutil
import tempfile
from typing import Any

import gin
import numpy as np
import tensorflow as tf

from stfc3_tf import checks, errors
from stfc3_tf.model import resnet
from stfc3_tf.propagation import extractor
from stfc3_tf.serving import description
from stfc3_tf.storage import object_store
from stfc3_tf.views import geometry

_STRIDE = 8
# The module of each network also has its preprocessing.
_KERAS_MODULES = {
    'ResNet50': tf.keras.applications.resnet,
    'ResNet101': tf.keras.applications.resnet,
    'ResNet152': tf.keras.applications.resnet,
}


class ColourFeatures:
    """The mean colour of every 8x8 block as features: inner products fall with colour distance.

    Each channel c in [0, 1] becomes (cos pi c, sin pi c), so that the inner product of two colours
    is the mean over the channels of cos(pi difference).

    Attributes:
      cell_grid: block i is centred on pixel 8 i + 3.5.
    """

    cell_grid = geometry.CellGrid((_STRIDE - 1) / 2, _STRIDE)

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Return float32 [batch, rows, columns, 6] of uint8 RGB [batch, height, width, 3]."""
        height, width = frames.shape[1:3]
        margins = [(0, 0), (0, -height % _STRIDE), (0, -width % _STRIDE), (0, 0)]
        blocks = np.pad(frames, margins, mode='edge')
        blocks = blocks.reshape(len(frames), blocks.shape[1] // _STRIDE, _STRIDE, -1, _STRIDE, 3)
        angles = blocks.mean(axis=(2, 4), dtype=np.float32) * np.float32(np.pi / 255)
        return np.concatenate([np.cos(angles), np.sin(angles)], axis=-1) / np.float32(np.sqrt(3))

    def identity(self) -> dict[str, Any]:
        """Return what identifies the baseline."""
        return {'baseline': 'colour'}


@gin.configurable
class RandomFeatures:
    """Stage 3 of this library's ResNet-18 before training.

    Attributes:
      cell_grid: of the encoder.
    """

    def __init__(self, seed: int = 0, padding: str = 'reflect'):
        """Draw the weights.

        Args:
          seed: of the weights.
          padding: of the convolutions, see `resnet.resnet18`.
        """
        self._model = resnet.resnet18(padding=padding, statistics='imagenet', seed=seed)
        self._settings = {
            'baseline': 'random',
            'seed': seed,
            'padding': padding,
            'weights_sha256': description.weights_digest(self._model),
            # Weights depend neither on the strides nor on the precision.
            'cell_grid': self._model.cell_grid['stage3']._asdict(),
            'compute_dtypes': sorted({layer.compute_dtype for layer in self._model.layers}),
        }
        self.cell_grid = self._model.cell_grid['stage3']
        self._apply = tf.function(
            self._stage3, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)]
        )

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Return unit-length features of frames.

        uint8 RGB [batch, height, width, 3] -> float32 [batch, rows, columns, 256].
        """
        return extractor.unit_length(self._apply(frames).numpy())

    def identity(self) -> dict[str, Any]:
        """Return what identifies the baseline."""
        return dict(self._settings)

    def _stage3(self, frames):
        normalised = resnet.normalise_frames(frames, self._model.statistics)
        return self._model(normalised, training=False)['stage3']


@gin.configurable
class ImageNetFeatures:
    """A layer of a network of keras.applications that was trained with labels on ImageNet.

    Attributes:
      cell_grid: cell i is centred on pixel stride * i, because these ResNets pad explicitly.
    """

    def __init__(
        self, network: str = 'ResNet50', layer: str = 'conv3_block4_out', weights: str = 'imagenet'
    ):
        """Load the network.

        Args:
          network: 'ResNet50', 'ResNet101' or 'ResNet152'.
          layer: name of the layer whose output is used; conv3 has stride 8, conv4 stride 16.
          weights: 'imagenet' (Keras downloads them) or the path of the network's weights file
            without the classifier ('..._notop.h5').

        Raises:
          errors.UserError: no such network, layer or weights.
        """
        checks.one_of('ImageNetFeatures.network', network, _KERAS_MODULES)
        self._settings = {'baseline': 'imagenet', 'network': network, 'layer': layer}
        self._preprocess = _KERAS_MODULES[network].preprocess_input
        whole = _load(network, weights)
        if layer not in [item.name for item in whole.layers]:
            raise errors.UserError(
                f"ImageNetFeatures.layer='{layer}': {network} has no such layer."
            )
        self._model = tf.keras.Model(whole.input, whole.get_layer(layer).output)
        self._settings['weights_sha256'] = description.weights_digest(self._model)
        side = 256
        self.cell_grid = geometry.CellGrid(
            0.0, side // self._model.compute_output_shape((1, side, side, 3))[1]
        )
        self._apply = tf.function(
            self._normalised, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)]
        )

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Return unit-length features of frames.

        uint8 RGB [batch, height, width, 3] -> float32 [batch, rows, columns, channels].
        """
        return extractor.unit_length(self._apply(frames).numpy())

    def identity(self) -> dict[str, Any]:
        """Return what identifies the baseline, weights included."""
        return dict(self._settings)

    def _normalised(self, frames):
        return self._model(self._preprocess(tf.cast(frames, tf.float32)), training=False)


def _load(network: str, weights: str) -> tf.keras.Model:
    make = getattr(tf.keras.applications, network)
    if weights == 'imagenet':
        try:
            return make(include_top=False, weights='imagenet')
        except Exception as error:  # What Keras raises when it cannot download.
            raise _not_loaded(network, weights, error) from error
    model = make(include_top=False, weights=None)
    try:
        with tempfile.NamedTemporaryFile(suffix='.h5') as local:
            with object_store.File(weights) as remote:
                shutil.copyfileobj(remote, local)
            local.flush()
            model.load_weights(local.name)
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise _not_loaded(network, weights, error) from error
    return model


def _not_loaded(network: str, weights: str, error: Exception) -> errors.UserError:
    return errors.UserError(
        f"ImageNetFeatures.weights='{weights}' cannot be loaded into {network} ({error}). "
        'Without internet access, give the path of its ..._notop.h5 file.'
    )
