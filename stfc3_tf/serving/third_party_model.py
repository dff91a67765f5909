"""Checks and cell grids of SavedModels that were not written by this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from absl import logging
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.serving import encoder
from stfc3_tf.serving.description import METADATA_FILE
from stfc3_tf.storage import files
from stfc3_tf.views.cell_grid import CellGrid

_SIDE = 256  # Side of the blank frame that measures the stride, in pixels.


def check_features(module: Any, path: str) -> None:
    """Raise UserError unless the signature `features` is that of an encoder.

    Args:
      module: the loaded SavedModel, which has the signature.
      path: its folder, for the message.
    """
    signature = module.signatures['features']
    takes, gives = signature.structured_input_signature[1], signature.structured_outputs
    frames, maps = takes.get('frames'), gives.get('features')
    if len(takes) > 1 or not frames or frames.dtype != tf.uint8 or not maps:
        raise errors.UserError(
            f'{path}: its signature `features` maps {_listed(takes)} to {_listed(gives)}, not '
            'frames uint8 [batch, height, width, 3] to features float32 [batch, rows, columns, '
            'channels]. Export the encoder with tools.export or tools.import_torch.'
        )


def _listed(specs: Mapping[str, tf.TensorSpec]) -> str:
    return ', '.join(f'{name} {spec.dtype.name} {spec.shape}' for name, spec in specs.items())


def metadata(module: Any, path: str) -> dict[str, Any]:
    """Return the metadata of a model; 'cell_grid' is measured if it is not stated.

    Args:
      module: the loaded SavedModel, which has the signature `features`.
      path: its folder.

    Raises:
      errors.UserError: the metadata cannot be read, or the cells cannot be measured.
    """
    found = _stated(module, path)
    if 'cell_grid' in found:
        return found
    grid = _measured_grid(module, path)
    logging.warning(
        '%s does not state the positions of its feature cells: cell i is assumed to be centred on '
        'pixel index %d i. If that is wrong, give "cell_grid": {"first": ..., "stride": %d} in its '
        '%s.',
        path,
        grid.stride,
        grid.stride,
        METADATA_FILE,
    )
    return {**found, 'cell_grid': grid._asdict()}


def _stated(module: Any, path: str) -> dict[str, Any]:
    """Return the metadata of the model or of the file beside it."""
    if hasattr(module, 'metadata'):
        contents = module.metadata().numpy()
        return encoder.read_metadata(contents, path)
    file_name = tf.io.gfile.join(path, METADATA_FILE)
    if not tf.io.gfile.exists(file_name):
        return {}
    return encoder.read_metadata(files.read_bytes(file_name), file_name)


def _measured_grid(module: Any, path: str) -> CellGrid:
    """Return the grid of an encoder, measured on the features of a blank frame."""
    frames = tf.zeros([1, _SIDE, _SIDE, 3], tf.uint8)
    try:
        shape = module.signatures['features'](frames=frames)['features'].shape.as_list()
    except (tf.errors.OpError, TypeError, ValueError) as error:
        reason = str(error).split('\n')[0]
        raise errors.UserError(
            f'{path}: its signature `features` fails on a blank frame of {_SIDE}x{_SIDE} pixels: '
            f'{reason}'
        ) from error
    if len(shape) != 4 or shape[1] != shape[2] or not shape[1] or _SIDE % shape[1]:
        raise errors.UserError(
            f'{path}: {_SIDE}x{_SIDE} pixels give features of shape {shape}, which is not a whole '
            'number of pixels per cell; give "cell_grid": {"first": ..., "stride": ...} in its '
            f'{METADATA_FILE}.'
        )
    return CellGrid(0.0, _SIDE // shape[1])
