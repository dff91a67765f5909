"""Encoders that are rebuilt from their exports, to export them in another format."""

from __future__ import annotations

import os
from typing import Any

import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.model.resnet import Encoder
from stfc3_tf.serving import compact_weights, saved_model, shipped


def rebuild(path_or_name: str) -> tuple[Encoder, dict[str, Any]]:
    """Build the encoder of an export again.

    Args:
      path_or_name: the folder of a SavedModel or of compact weights, or the name of an encoder that
        comes with this package.

    Returns:
      An encoder whose output `metadata['layer']` has the weights of the export, and the metadata
      of the export.

    Raises:
      errors.UserError: it cannot be loaded, or does not record how it was built.
    """
    path = shipped.folder(path_or_name) if shipped.is_name(path_or_name) else path_or_name
    if tf.io.gfile.exists(os.path.join(path, compact_weights.MODEL_FILE)):
        return compact_weights.read(path)
    loaded = saved_model.load(path)
    if not loaded.metadata.get('arguments'):
        raise errors.UserError(
            f'{path} does not record how its encoder was built: export it again from its training '
            'run (--model_dir).'
        )
    layer = loaded.metadata['layer']
    encoder = compact_weights.build(loaded.metadata['arguments'], layer)
    part = tf.keras.Model(encoder.input, encoder.output[layer])
    part.set_weights([variable.numpy() for variable in loaded.variables])
    return encoder, loaded.metadata
