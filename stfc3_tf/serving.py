"""Exported encoders: a SavedModel that loads with TensorFlow alone, and what it says about itself.

Signatures:

    features          frames uint8 [batch, height, width, 3], RGB
                      -> features float32 [batch, rows, columns, channels], L2-normalised
    features_encoded  images string [batch], PNG or JPEG files of one size
                      -> features_bytes string [batch], the float32 of a frame's features, C order;
                         shape int32 [batch, 3], their (rows, columns, channels)
    propagate         query [rows, columns, channels],
                      context_features [frames, rows, columns, channels],
                      context_labels [frames, rows, columns, labels], unrestricted bool [frames]
                      -> labels float32 [rows, columns, labels]
    describe          ask bool [batch], of any value -> metadata string [batch], JSON
    serving_default   features

An export carries its metadata three times: in `METADATA_FILE` beside the model, for people and
scripts; as the function `metadata` of the loaded object; and, for clients of a server, as the
signature `describe`.
"""

from __future__ import annotations

from collections.abc import Mapping
import hashlib
import json
import re
from typing import Any

from absl import logging
import tensorflow as tf

import stfc3_tf
from stfc3_tf import errors
from stfc3_tf import object_store
from stfc3_tf import signatures
from stfc3_tf import writing
from stfc3_tf.encoder import CellGrid, Encoder
from stfc3_tf.propagation import PropagationSettings

METADATA_FILE = 'assets.extra/stfc3.json'
_MODEL_FILE = 'saved_model.pb'


def export(
    encoder: Encoder,
    output_dir: str,
    layer: str = 'stage3',
    metadata: Mapping[str, Any] | None = None,
    settings: PropagationSettings | None = None,
) -> None:
    """Writes an encoder as a SavedModel; `output_dir` is either complete afterwards or as before.

    Features are computed in float32 with batch normalisation in inference mode, whatever precision
    the encoder was trained in. Only the layers that `layer` needs are written.

    Args:
      encoder: with the weights to export.
      output_dir: on any file system TensorFlow knows; an older export there is replaced.
      layer: which output becomes `features`: 'stage3', 'stage4' or 'head'.
      metadata: added to what is recorded; JSON-ready.
      settings: of the signature `propagate`; by default those the configuration gives.

    Raises:
      errors.UserError: there is no such layer, or `output_dir` holds something else or cannot be
        written.
    """
    if layer not in encoder.cell_grid:
        raise errors.UserError(f'layer = {layer!r}: choose one of {", ".join(encoder.cell_grid)}.')
    settings = settings or PropagationSettings()
    described = json.dumps({**_description(encoder, layer, settings), **(metadata or {})}, indent=2)
    module, functions = signatures.exportable(encoder, layer, settings, described)
    output_dir = output_dir.rstrip('/')

    def save(partial):
        tf.saved_model.save(module, partial, signatures=functions)
        writing.write_text(tf.io.gfile.join(partial, METADATA_FILE), described + '\n')

    try:
        _check_replaceable(output_dir)
        writing.write_whole(output_dir, save, decisive=_MODEL_FILE)
    except (tf.errors.OpError, OSError) as error:
        raise errors.UserError(f'Cannot write a SavedModel to {output_dir}: {error}') from error


def _description(encoder: Encoder, layer: str, settings: PropagationSettings) -> dict[str, Any]:
    grid = encoder.cell_grid[layer]
    return {
        'encoder': encoder.name,
        'layer': layer,
        'channels': encoder.output[layer].shape[-1],
        'stride': grid.stride,
        'cell_grid': grid._asdict(),
        'statistics': encoder.statistics._asdict(),
        'weights_sha256': weights_digest(encoder),
        # What the signature `propagate` uses of its settings; the caller chooses the context.
        'propagate': {
            name: getattr(settings, name)
            for name in ('radius', 'window', 'top_k', 'temperature', 'keep_ties')
        },
        'versions': {'stfc3_tf': stfc3_tf.__version__, 'tensorflow': tf.__version__},
    }


def weights_digest(model: tf.keras.Model) -> str:
    """The SHA-256 of a model's weights, which tells it from others of its architecture."""
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(weights.tobytes())
    return digest.hexdigest()


def _check_replaceable(output_dir: str) -> None:
    """Refuses to replace a folder that is neither empty nor a SavedModel."""
    if not tf.io.gfile.exists(output_dir):
        return
    is_folder = tf.io.gfile.isdir(output_dir)
    if is_folder and (
        not tf.io.gfile.listdir(output_dir)
        or tf.io.gfile.exists(tf.io.gfile.join(output_dir, _MODEL_FILE))
        or writing.is_unfinished(output_dir)
    ):
        return
    raise errors.UserError(
        f'{output_dir} exists and is not a SavedModel: it will not be replaced, choose another '
        'folder.'
    )


class LoadedEncoder:
    """An exported encoder.

    Attributes:
      metadata: what `export` recorded: 'layer', 'channels', 'statistics', 'weights_sha256',
        'versions', and, if it came from a training run, 'config' and 'step'.
      cell_grid: where its feature cells lie in the frames.
    """

    def __init__(self, module: Any, metadata: Mapping[str, Any]):
        self.metadata = dict(metadata)
        self.cell_grid = CellGrid(**metadata['cell_grid'])
        self._module = module  # Its functions hold its variables only weakly.
        self._signatures = module.signatures
        # What `export` wrote is of unit length as it is.
        self._exported = 'weights_sha256' in metadata

    def features(self, frames: tf.Tensor) -> tf.Tensor:
        """Features of frames.

        Args:
          frames: uint8 [batch, height, width, 3], RGB. Sides of 9 pixels or more at stride 8;
            without padding, those of a receptive field.

        Returns:
          float32 [batch, rows, columns, channels], L2-normalised.

        Raises:
          errors.UserError: the frames are of another type or shape, or too small.
        """
        frames = tf.convert_to_tensor(frames)
        if frames.dtype != tf.uint8 or frames.shape.rank != 4 or frames.shape[-1] != 3:
            raise errors.UserError(
                'features: frames must be uint8 [batch, height, width, 3], not '
                f'{frames.dtype.name} {frames.shape.as_list()}.'
            )
        found = self._run('features', frames=frames)['features']
        return found if self._exported else tf.math.l2_normalize(found, axis=-1)

    def propagate(
        self,
        query: tf.Tensor,
        context_features: tf.Tensor,
        context_labels: tf.Tensor,
        unrestricted: tf.Tensor,
    ) -> tf.Tensor:
        """Soft labels of a frame, as `propagation.propagate` with the settings exported.

        Raises:
          errors.UserError: the model has no such signature, or the arguments do not fit together.
        """
        if 'propagate' not in self._signatures:
            raise errors.UserError('This SavedModel has no signature `propagate`: export it anew.')
        return self._run(
            'propagate',
            query=query,
            context_features=context_features,
            context_labels=context_labels,
            unrestricted=unrestricted,
        )['labels']

    def _run(self, signature: str, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        try:
            return self._signatures[signature](**inputs)
        except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
            # The line of an assertion in the graph, without where in the graph it stands.
            failed = re.search('assertion failed: .*', str(error))
            reason = failed.group() if failed else error
            raise errors.UserError(f'{signature}: {reason}') from error


def load(path: str) -> LoadedEncoder:
    """Loads an exported encoder.

    A SavedModel made by other means will do if it has the signature `features`. Where its cells are
    is read from `METADATA_FILE`, a JSON object with `cell_grid`: {"first": pixels, "stride":
    pixels}; without it the stride is measured and cell 0 taken to be centred on pixel 0, with a
    warning.

    Raises:
      errors.UserError: `path` holds no SavedModel, or one without usable features.
    """
    if not tf.io.gfile.exists(tf.io.gfile.join(path, _MODEL_FILE)):
        object_store.check(path)
        raise errors.UserError(
            f'{path} holds no SavedModel ({_MODEL_FILE}). tools.export and tools.import_torch '
            'write one, and training does at its end.'
        )
    try:
        with object_store.fetched(path) as folder:
            module = tf.saved_model.load(folder)
    except (tf.errors.OpError, OSError, ValueError) as error:
        reason = str(error).split('\n')[0]
        raise errors.UserError(f'{path} cannot be loaded, is it complete? {reason}') from error
    if 'features' not in module.signatures:
        raise errors.UserError(
            f'{path} has no signature `features`, only: {", ".join(module.signatures) or "none"}. '
            'Export the encoder with tools.export or tools.import_torch.'
        )
    _check_features(module, path)
    metadata = _metadata(module, path)
    if 'cell_grid' not in metadata:
        grid = _measured_grid(module, path)
        logging.warning(
            '%s does not say where its feature cells lie: cell i is taken to be centred on pixel '
            'index %d i. If it is not, give "cell_grid": {"first": ..., "stride": %d} in its %s.',
            path,
            grid.stride,
            grid.stride,
            METADATA_FILE,
        )
        metadata = {**metadata, 'cell_grid': grid._asdict()}
    return LoadedEncoder(module, metadata)


def _check_features(module: Any, path: str) -> None:
    """Raises UserError unless the signature `features` takes and gives what an encoder does."""
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


def _measured_grid(module: Any, path: str) -> CellGrid:
    """The grid of an encoder that does not tell, from the features of a blank frame."""
    side = 256
    frames = tf.zeros([1, side, side, 3], tf.uint8)
    try:
        maps = module.signatures['features'](frames=frames)['features']
        stride = side / maps.shape[1]
    except (tf.errors.OpError, TypeError, ValueError, IndexError) as error:
        reason = str(error).split('\n')[0]
        raise errors.UserError(
            f'{path}: its signature `features` fails on a blank frame of {side}x{side} pixels: '
            f'{reason}'
        ) from error
    if maps.shape.rank != 4 or maps.shape[1] != maps.shape[2] or stride != round(stride):
        raise errors.UserError(
            f'{path}: {side}x{side} pixels give features of shape {maps.shape.as_list()}, no whole '
            'number of pixels a cell; give "cell_grid": {"first": ..., "stride": ...} in its '
            f'{METADATA_FILE}.'
        )
    return CellGrid(0.0, round(stride))


def _metadata(module: Any, path: str) -> dict[str, Any]:
    if hasattr(module, 'metadata'):
        return json.loads(module.metadata().numpy())
    file_name = tf.io.gfile.join(path, METADATA_FILE)
    if not tf.io.gfile.exists(file_name):
        return {}
    with tf.io.gfile.GFile(file_name) as file:
        try:
            return json.loads(file.read())
        except ValueError as error:
            raise errors.UserError(f'{file_name} is not JSON: {error}') from error
