"""Exported encoders that can be rebuilt: SavedModels and compact weights."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.model.resnet import Encoder
from stfc3_tf.serving import compact_weights, saved_model, shipped
from stfc3_tf.storage import files


def folder_of(path_or_name: str) -> str:
    """Return the folder of an encoder.

    Args:
      path_or_name: a folder, or the name of an encoder that comes with this package.

    Raises:
      errors.UserError: there is no encoder of that name.
    """
    return shipped.folder(path_or_name) if shipped.is_name(path_or_name) else path_or_name


def digest(folder: str) -> str:
    """Return the SHA-256 of an encoder's files: its weights, and its graph or its metadata.

    Args:
      folder: of a SavedModel or of compact weights.

    Raises:
      errors.UserError: it holds neither, or a file is missing or cannot be read.
    """
    if _holds(folder, saved_model.MODEL_FILE):
        return saved_model.digest(folder)
    if _holds(folder, compact_weights.MODEL_FILE):
        names = compact_weights.MODEL_FILE, compact_weights.METADATA_FILE
        digests = [files.digest(os.path.join(folder, name)) for name in names]
        return hashlib.sha256(b''.join(digests)).hexdigest()
    raise errors.UserError(
        f'{folder}: this folder holds neither a SavedModel nor weights.npz. Give one that a '
        f'training or tools.export wrote, or the name of an encoder: {", ".join(shipped.names())}.'
    )


def _holds(folder: str, name: str) -> bool:
    return tf.io.gfile.exists(os.path.join(folder, name))


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
    path = folder_of(path_or_name)
    if _holds(path, compact_weights.MODEL_FILE) and not _holds(path, saved_model.MODEL_FILE):
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
