"""Exported encoders as SavedModels, which load with TensorFlow alone.

Signatures:

    features          frames uint8 [batch, height, width, 3], RGB
                      -> features float32 [batch, rows, columns, channels], L2-normalised
    features_encoded  images string [batch], PNG or JPEG files of one size
                      -> features_bytes string [batch], the float32 features of a frame in C order;
                         shape int32 [batch, 3], their (rows, columns, channels)
    propagate         query [rows, columns, channels],
                      context_features [frames, rows, columns, channels],
                      context_labels [frames, rows, columns, labels], unrestricted bool [frames]
                      -> labels float32 [rows, columns, labels]
    describe          ask bool [batch], any values -> metadata string [batch], JSON
    serving_default   features

An export has its metadata three times: in `description.METADATA_FILE` beside the model, for people
and scripts; as the function `metadata` of the loaded object; and, for clients of a server, as the
signature `describe`. `MODEL_CARD.md` beside the model says the same in words.
"""

from __future__ import annotations

from collections.abc import Mapping
import hashlib
import posixpath
import re
from typing import Any

import numpy as np
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.model.resnet import Encoder
from stfc3_tf.propagation.propagator import PropagationSettings
from stfc3_tf.serving import description, signatures, tensorflow_messages, third_party_model
from stfc3_tf.serving.encoder import LoadedEncoder
from stfc3_tf.storage import files, object_store

MODEL_FILE = 'saved_model.pb'


def export(
    encoder: Encoder,
    output_dir: str,
    layer: str = 'stage3',
    metadata: Mapping[str, Any] | None = None,
    settings: PropagationSettings | None = None,
    overwrite: bool = False,
) -> None:
    """Write an encoder as a SavedModel; `output_dir` is either complete afterwards or as before.

    Features are computed in float32 with batch normalisation in inference mode, whatever precision
    the encoder was trained in. Only the layers that `layer` needs are written.

    Args:
      encoder: with the weights to export.
      output_dir: on any file system TensorFlow knows; an older export there is replaced.
      layer: the output that becomes `features`: 'stage3', 'stage4' or 'head'.
      metadata: further entries of the metadata, ready for JSON; 'licence' and 'training_data' are
        shown in the model card.
      settings: of the signature `propagate`; by default those of the gin configuration.
      overwrite: whether to replace a folder even if it does not hold an export.

    Raises:
      errors.UserError: there is no such layer, or `output_dir` holds something else or cannot be
        written.
    """
    description.check_layer(encoder, layer)
    settings = settings or PropagationSettings()
    described = description.describe(encoder, layer, settings, metadata)
    text = description.as_text(described)
    module, functions = signatures.exportable(encoder, layer, settings, text)

    def save(folder: str) -> None:
        with tensorflow_messages.hide_logged():
            tf.saved_model.save(module, folder, signatures=functions)

    description.write(output_dir, save, described, MODEL_FILE, overwrite)


class SavedModelEncoder(LoadedEncoder):
    """A loaded SavedModel.

    Args:
      module: the loaded object.
      metadata: see `LoadedEncoder`.
      identity: see `LoadedEncoder`.
    """

    def __init__(self, module: Any, metadata: Mapping[str, Any], identity: Mapping[str, str]):
        super().__init__(self._features, metadata, identity)
        self._module = module  # Its functions hold its variables only weakly.
        self._signatures = module.signatures

    @property
    def variables(self) -> list[tf.Variable]:
        """The weights, in the order of the Keras model that was exported."""
        return list(self._module.variables_in_use)

    def _features(self, frames: np.ndarray) -> tf.Tensor:
        return self._call('features', frames=tf.constant(frames))['features']

    def propagate(
        self,
        query: np.ndarray,
        context_features: np.ndarray,
        context_labels: np.ndarray,
        unrestricted: np.ndarray,
    ) -> np.ndarray:
        """Return the soft labels of a frame, with the settings of the export.

        Args:
          query: see `one_frame.propagate`, as for the other arguments.
          context_features: float32 [frames, rows, columns, channels].
          context_labels: float32 [frames, rows, columns, labels].
          unrestricted: bool [frames].

        Returns:
          float32 [rows, columns, labels].

        Raises:
          errors.UserError: the model has no such signature, or the arguments do not fit together.
        """
        if 'propagate' not in self._signatures:
            raise errors.UserError('This SavedModel has no signature `propagate`: export it again.')
        labels = self._call(
            'propagate',
            query=query,
            context_features=context_features,
            context_labels=context_labels,
            unrestricted=unrestricted,
        )['labels']
        return labels.numpy()

    def _call(self, signature: str, **inputs: Any) -> dict[str, tf.Tensor]:
        try:
            return self._signatures[signature](
                **{name: tf.convert_to_tensor(value) for name, value in inputs.items()}
            )
        except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
            # Only the message of a check in the graph, without its place in the graph.
            failed = re.search('(assertion failed|Shape of tensor).*', str(error))
            reason = failed.group() if failed else error
            raise errors.UserError(f'{signature}: {reason}') from error


def load(path: str) -> SavedModelEncoder:
    """Load an encoder from the folder of a SavedModel.

    Any SavedModel with the signature `features` is usable. The positions of its cells are read from
    `description.METADATA_FILE`, a JSON object with `cell_grid`: {"first": pixels, "stride":
    pixels}. Without that file the stride is measured and cell 0 is assumed to be centred on pixel
    0, with a warning.

    Args:
      path: the folder, on any file system TensorFlow knows.

    Raises:
      errors.UserError: `path` holds no SavedModel, or one without usable features.
    """
    _check_folder(path)
    try:
        with object_store.fetched(path) as folder:
            module = tf.saved_model.load(folder)
            identity = {'saved_model_sha256': digest(folder)}
    # TensorFlow has no error of its own for a damaged SavedModel.
    except Exception as error:
        reason = errors.one_line(error)
        raise errors.UserError(f'{path} cannot be loaded, is it complete? {reason}') from error
    if 'features' not in module.signatures:
        raise errors.UserError(
            f'{path} has no signature `features`, only: {", ".join(module.signatures) or "none"}. '
            'Export the encoder with tools.export or tools.import_torch.'
        )
    third_party_model.check_features(module, path)
    return SavedModelEncoder(module, third_party_model.metadata(module, path), identity)


def _check_folder(path: str) -> None:
    """Raise UserError unless there is a SavedModel."""
    if tf.io.gfile.exists(posixpath.join(path, MODEL_FILE)):
        return
    object_store.check(path)
    inside = posixpath.join(path, 'saved_model')
    if tf.io.gfile.exists(posixpath.join(inside, MODEL_FILE)):
        raise errors.UserError(f'{path} holds no SavedModel ({MODEL_FILE}): did you mean {inside}?')
    raise errors.UserError(
        f'{path} holds no SavedModel ({MODEL_FILE}). tools.export and tools.import_torch write '
        'one, and training writes one at its end.'
    )


def digest(path: str) -> str:
    """Return the SHA-256 of a SavedModel's graph and variables.

    Args:
      path: its folder.

    Raises:
      errors.UserError: a file is missing, empty or cannot be read.
    """
    variables = posixpath.join(path, 'variables')
    paths = [posixpath.join(path, MODEL_FILE)]
    if tf.io.gfile.isdir(variables):
        names = sorted(tf.io.gfile.listdir(variables))
        paths += [posixpath.join(variables, name) for name in names]
    whole = hashlib.sha256()
    for file in paths:
        whole.update(files.digest(file))
    return whole.hexdigest()
