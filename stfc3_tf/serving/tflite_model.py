"""Exported encoders as LiteRT (TensorFlow Lite) files, run one frame at a time.

The metadata are in a zip archive at the end of the file, where LiteRT expects the files of a model:
`unzip model.tflite` extracts them. The comment of the archive is the SHA-256 of what
stands before it: LiteRT does not check a model, and a damaged one can end the process.
"""

from __future__ import annotations

from collections.abc import Mapping
import hashlib
import io
import json
import os
from typing import TYPE_CHECKING, Any
import zipfile

import numpy as np

from stfc3_tf import errors
from stfc3_tf.serving import frame_sizes, local_file, tensorflow_messages
from stfc3_tf.serving.encoder import LoadedEncoder, read_metadata

if TYPE_CHECKING:
    from stfc3_tf.model.resnet import Encoder

MODEL_FILE = 'model.tflite'
_METADATA = 'stfc3.json'


def save(encoder: Encoder, layer: str, description: Mapping[str, Any], folder: str) -> None:
    """Write the LiteRT file of an encoder into a folder.

    Args:
      encoder: with the weights to export.
      layer: the output that becomes the features.
      description: recorded in the file; 'frame_size' is (height, width) or None for any size.
      folder: an existing folder.
    """
    import tensorflow as tf

    from stfc3_tf.serving import network
    from stfc3_tf.storage import writing

    model = network.inference_model(encoder, layer)
    frames = tf.TensorSpec([1, *(description['frame_size'] or (None, None)), 3], tf.uint8, 'frames')
    function = tf.function(network.unit_features(model, encoder), input_signature=[frames])
    concrete = function.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], model)
    with tensorflow_messages.hide_logged(), tensorflow_messages.hide_printed():
        converted = converter.convert()
    contents = _with_metadata(converted, description)
    writing.write_bytes(os.path.join(folder, MODEL_FILE), contents)


def _with_metadata(model: bytes, description: Mapping[str, Any]) -> bytes:
    """Return a LiteRT file with the description at its end."""
    file = io.BytesIO(model)
    with zipfile.ZipFile(file, 'a') as archive:
        # With a fixed date, the same encoder gives the same file.
        entry = zipfile.ZipInfo(_METADATA, (1980, 1, 1, 0, 0, 0))
        archive.writestr(entry, json.dumps(description))
        archive.comment = hashlib.sha256(model).hexdigest().encode()
    return file.getvalue()


def load(path: str) -> LoadedEncoder:
    """Load an encoder from a LiteRT file that `export` wrote.

    Args:
      path: the file.

    Raises:
      errors.UserError: the file cannot be read or is not an export, or no interpreter is
        installed.
    """
    contents = local_file.read(path)
    try:
        with zipfile.ZipFile(io.BytesIO(contents)) as archive:
            stated = archive.read(_METADATA)
            _check_whole(contents[: archive.getinfo(_METADATA).header_offset], archive.comment)
        with tensorflow_messages.hide_printed():
            interpreter = _interpreter()(model_content=contents, num_threads=os.cpu_count())
    except errors.UserError:
        raise
    # A damaged archive fails anywhere in its reader.
    except Exception as error:
        raise errors.UserError(
            f'{path} was not written by tools.export --format=tflite, or is damaged: '
            f'{errors.one_line(error)}'
        ) from error
    metadata = read_metadata(stated, path)
    run = _Runner(interpreter, metadata, path)
    return LoadedEncoder(run, metadata, {'tflite_sha256': hashlib.sha256(contents).hexdigest()})


def _check_whole(model: bytes, digest: bytes) -> None:
    """Raise ValueError where a model is not that of its digest; older exports have none."""
    if digest and digest != hashlib.sha256(model).hexdigest().encode():
        raise ValueError('its SHA-256 is not the one that was written with it')


def _interpreter() -> Any:
    """Return LiteRT's interpreter, or the one that comes with TensorFlow."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            # TensorFlow loads it only when it is asked for, so `tensorflow.lite` is no module yet.
            from tensorflow import lite
        except ImportError as error:
            raise errors.UserError(
                'LiteRT models need the package ai-edge-litert: pip install "stfc3-tf[tflite]".'
            ) from error
        return lite.Interpreter
    return Interpreter


class _Runner:
    """Runs an interpreter on each frame."""

    def __init__(self, interpreter: Any, metadata: Mapping[str, Any], path: str):
        self._interpreter, self._metadata, self._path = interpreter, metadata, path
        self._size: tuple[int, ...] | None = None
        self._input = interpreter.get_input_details()[0]['index']
        self._output = interpreter.get_output_details()[0]['index']

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Return features, float32 [batch, rows, columns, channels]."""
        frame_sizes.check(frames, self._metadata, self._path)
        return np.concatenate([self._features(frame[np.newaxis]) for frame in frames])

    def _features(self, frame: np.ndarray) -> np.ndarray:
        if frame.shape != self._size:
            self._interpreter.resize_tensor_input(self._input, frame.shape)
            with tensorflow_messages.hide_printed():
                self._interpreter.allocate_tensors()
            self._size = frame.shape
        self._interpreter.set_tensor(self._input, frame)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)
