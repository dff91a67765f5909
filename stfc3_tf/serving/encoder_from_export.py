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


def check(folder: str) -> None:
    """Raise UserError unless a folder holds a SavedModel or compact weights; nothing is read."""
    if _model_file(folder) is None:
        raise errors.UserError(
            f'{folder}: this folder holds neither a SavedModel nor weights.npz. Give one that a '
            'training or tools.export wrote, or the name of an encoder: '
            f'{", ".join(shipped.names())}.'
        )


def digest(folder: str) -> str:
    """Return the SHA-256 of an encoder's files: its weights, and its graph or its metadata.

    Args:
      folder: of a SavedModel or of compact weights.

    Raises:
      errors.UserError: it holds neither, or a file is missing or cannot be read.
    """
    check(folder)
    if _model_file(folder) == saved_model.MODEL_FILE:
        return saved_model.digest(folder)
    names = compact_weights.MODEL_FILE, compact_weights.METADATA_FILE
    digests = [files.digest(os.path.join(folder, name)) for name in names]
    return hashlib.sha256(b''.join(digests)).hexdigest()


def _model_file(folder: str) -> str | None:
    """Return the file that tells the format, as `loading` chooses it; None for other folders."""
    names = saved_model.MODEL_FILE, compact_weights.MODEL_FILE
    found = (name for name in names if tf.io.gfile.exists(os.path.join(folder, name)))
    return next(found, None)


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
    path = shipped.folder_of(path_or_name)
    if _model_file(path) == compact_weights.MODEL_FILE:
        return compact_weights.read(path)
    loaded = saved_model.load(path)
    if not loaded.metadata.get('arguments'):
        raise errors.UserError(
            f'{path} does not record how its encoder was built: export it again from its training '
            'run (--model_dir).'
        )
    layer = loaded.metadata['layer']
    encoder = compact_weights.build(loaded.metadata['arguments'], layer)
    part = encoder.part(layer)
    part.set_weights([variable.numpy() for variable in loaded.variables])
    return encoder, loaded.metadata
