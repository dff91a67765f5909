"""The metadata of exports, and the writing of export folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import hashlib
import json
from typing import Any

from absl import logging
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.model.resnet import Encoder
from stfc3_tf.propagation.propagator import PropagationSettings
from stfc3_tf.serving import model_card, network
from stfc3_tf.storage import files, writing
from stfc3_tf.version import __version__

# `assets.extra` is the place for further files in a SavedModel; other formats have one folder.
METADATA_FILE = 'assets.extra/stfc3.json'
_METADATA_FILES = (METADATA_FILE, 'stfc3.json')
# The signature `propagate` uses these settings; the caller chooses the context.
_PROPAGATE = ('radius', 'window', 'top_k', 'temperature', 'keep_ties', 'precision')


def check_layer(encoder: Encoder, layer: str) -> None:
    """Raise UserError unless the encoder has such an output."""
    if layer not in encoder.cell_grid:
        raise errors.UserError(f'layer = {layer!r}: choose one of {", ".join(encoder.cell_grid)}.')


def describe(
    encoder: Encoder,
    layer: str,
    settings: PropagationSettings,
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what an export records, ready for JSON.

    Args:
      encoder: with the weights to export.
      layer: the output that becomes `features`.
      settings: of the propagation.
      metadata: further entries.

    Returns:
      The entries by name.
    """
    grid = encoder.cell_grid[layer]
    return {
        'encoder': encoder.name,
        'arguments': dict(encoder.arguments),
        'layer': layer,
        'channels': encoder.output[layer].shape[-1],
        'stride': grid.stride,
        'cell_grid': grid._asdict(),
        'least_side': network.least_side(grid),
        'statistics': encoder.statistics._asdict(),
        'weights_sha256': weights_digest(encoder),
        'propagate': {name: getattr(settings, name) for name in _PROPAGATE},
        'versions': {'stfc3_tf': __version__, 'tensorflow': tf.__version__},
        **(metadata or {}),
    }


def weights_digest(model: tf.keras.Model) -> str:
    """Return the SHA-256 of a model's weights, which distinguishes models of one architecture."""
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(weights.tobytes())
    return digest.hexdigest()


def as_text(description: Mapping[str, Any]) -> str:
    """Return a description as JSON text."""
    return json.dumps(description, indent=2)


def write(
    output_dir: str,
    save: Callable[[str], None],
    description: Mapping[str, Any],
    decisive: str,
    overwrite: bool = False,
) -> None:
    """Write an export with its metadata and model card; the folder is complete or as before.

    Args:
      output_dir: on any file system TensorFlow knows; an older export there is replaced.
      save: writes the model into the folder that it is called with.
      description: see `describe`.
      decisive: the name of the model's file.
      overwrite: whether to replace also a folder that holds something else.

    Raises:
      errors.UserError: `output_dir` holds something else or cannot be written.
    """
    output_dir = output_dir.rstrip('/')

    def fill(folder: str) -> None:
        """Write the model, its description and its card into a folder."""
        tf.io.gfile.makedirs(folder)
        save(folder)
        place = _METADATA_FILES[decisive != 'saved_model.pb']
        writing.write_text(tf.io.gfile.join(folder, place), as_text(description) + '\n')
        digest = files.digest(tf.io.gfile.join(folder, decisive)).hex()
        card = model_card.fill(description, decisive, digest)
        writing.write_text(tf.io.gfile.join(folder, model_card.FILE), card)

    try:
        older = _is_taken(output_dir)
        if older and not overwrite:
            _check_replaceable(output_dir)
        writing.write_whole(output_dir, fill, decisive=decisive)
    except (tf.errors.OpError, OSError) as error:
        raise errors.UserError(f'Cannot write an export to {output_dir}: {error}') from error
    if older:
        logging.info('The older contents of %s were replaced.', output_dir)


def _is_taken(output_dir: str) -> bool:
    """Return whether there is a file, or a folder that is not empty."""
    if not tf.io.gfile.exists(output_dir):
        return False
    return not tf.io.gfile.isdir(output_dir) or bool(tf.io.gfile.listdir(output_dir))


def _check_replaceable(output_dir: str) -> None:
    """Raise UserError if the path holds something else than an export."""
    if tf.io.gfile.isdir(output_dir) and (
        any(tf.io.gfile.exists(tf.io.gfile.join(output_dir, file)) for file in _METADATA_FILES)
        or writing.is_unfinished(output_dir)
    ):
        return
    raise errors.UserError(
        f'{output_dir} exists and is not an export of an encoder, so it is not replaced. Choose '
        'another folder, or remove it (tools.export: --overwrite).'
    )
