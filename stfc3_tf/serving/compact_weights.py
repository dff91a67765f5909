"""Encoders as compact weights: half the size of a SavedModel's, and no graph.

    FOLDER/weights.npz    one array per weight, 'LAYER/NAME'; kernels float16, all others float32
    FOLDER/stfc3.json     the arguments of `resnet18`, cell grid, settings, licence, SHA-256
    FOLDER/MODEL_CARD.md

The encoders that come with this package have this form. `python -m tools.export --format=compact`
writes a folder from a training run or a SavedModel.
"""

from __future__ import annotations

from collections.abc import Mapping
import hashlib
import io
import os
from typing import Any

import numpy as np
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.model import resnet
from stfc3_tf.serving import encoder as encoder_lib
from stfc3_tf.serving import local_file, network
from stfc3_tf.serving.encoder import LoadedEncoder
from stfc3_tf.storage import writing

MODEL_FILE = 'weights.npz'
METADATA_FILE = 'stfc3.json'
DIGEST = 'weights_file_sha256'


def save(encoder: resnet.Encoder, layer: str, description: dict[str, Any], folder: str) -> None:
    """Write the weights of an encoder into a folder, and add their digest to the description.

    Args:
      encoder: made by `resnet18`.
      layer: the output that becomes the features.
      description: see `description.describe`.
      folder: an existing folder.

    Raises:
      errors.UserError: the encoder is of another kind.
    """
    if not encoder.arguments:
        raise errors.UserError(
            f'Only a resnet18 has a compact form, and this encoder is a {encoder.name}: use '
            'another --format.'
        )
    part = network.inference_model(encoder, layer)
    file = io.BytesIO()
    np.savez(file, **{name: _shortened(value) for name, value in weights_by_name(part).items()})
    description[DIGEST] = hashlib.sha256(file.getvalue()).hexdigest()
    writing.write_bytes(os.path.join(folder, MODEL_FILE), file.getvalue())


def weights_by_name(model: tf.keras.Model) -> dict[str, tf.Variable]:
    """Return the variables of a model by 'LAYER/NAME'."""
    return {
        f'{layer.name}/{variable.name.split("/")[-1].split(":")[0]}': variable
        for layer in model.layers
        for variable in layer.weights
    }


def _shortened(variable: tf.Variable) -> np.ndarray:
    """Return kernels as float16; norms and biases, which are few, as float32."""
    return variable.numpy().astype(np.float32 if len(variable.shape) == 1 else np.float16)


def read(folder: str) -> tuple[resnet.Encoder, dict[str, Any]]:
    """Build the encoder that a folder holds.

    Args:
      folder: on this machine, or on any file system TensorFlow knows.

    Returns:
      An encoder whose output `metadata['layer']` has the weights of the folder, and the metadata.

    Raises:
      errors.UserError: a file is missing or damaged, or the files do not fit together.
    """
    metadata = read_metadata(folder)
    path = os.path.join(folder, MODEL_FILE)
    contents = local_file.read(path)
    if hashlib.sha256(contents).hexdigest() != metadata.get(DIGEST):
        raise errors.UserError(f'{path} is damaged: its SHA-256 is not that of {METADATA_FILE}.')
    try:
        encoder = build(metadata['arguments'], metadata['layer'])
        part = encoder.part(metadata['layer'])
        with np.load(io.BytesIO(contents), allow_pickle=False) as arrays:
            for name, variable in weights_by_name(part).items():
                variable.assign(arrays[name].astype(np.float32))
    # A damaged archive or wrong metadata fail anywhere in their readers.
    except Exception as error:
        raise errors.UserError(
            f'{path} does not fit its {METADATA_FILE}: {errors.one_line(error)}'
        ) from error
    return encoder, metadata


def read_metadata(folder: str) -> dict[str, Any]:
    """Return the metadata of an export that is not a SavedModel.

    Args:
      folder: of the export.

    Raises:
      errors.UserError: the file is missing or is not JSON.
    """
    path = os.path.join(folder, METADATA_FILE)
    return encoder_lib.read_metadata(local_file.read(path), path)


def build(arguments: Mapping[str, Any], layer: str) -> resnet.Encoder:
    """Return the smallest `resnet18` that has an output, with initial weights.

    Args:
      arguments: of `resnet18`, as an export records them.
      layer: the output; layers that it does not need are left out.
    """
    given = {**arguments, 'stage_strides': tuple(arguments['stage_strides'])}
    given['head_widths'] = tuple(arguments['head_widths']) if layer == 'head' else (1, 1)
    if layer == 'stage3':
        given['stage_strides'] = given['stage_strides'][:3]
    return resnet.resnet18(**given, dtype_policy='float32', synchronised_norm=False, seed=0)


def load(folder: str) -> LoadedEncoder:
    """Load an encoder from compact weights.

    Args:
      folder: see `read`.

    Raises:
      errors.UserError: see `read`; when features are computed: frames are too small.
    """
    from stfc3_tf.serving import frame_sizes

    encoder, metadata = read(folder)
    compute = network.unit_features(network.inference_model(encoder, metadata['layer']), encoder)
    frames_spec = tf.TensorSpec([None, None, None, 3], tf.uint8)
    compiled = tf.function(compute, input_signature=[frames_spec])

    def run(frames: np.ndarray) -> np.ndarray:
        frame_sizes.check(frames, metadata, folder)
        return compiled(frames).numpy()

    return LoadedEncoder(run, metadata, {DIGEST: metadata[DIGEST]})
