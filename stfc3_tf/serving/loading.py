"""The loading of encoders of any format; TensorFlow is imported only if the format needs it."""

from __future__ import annotations

from collections.abc import Callable
import glob
import importlib
import itertools
import os
from typing import Any

from stfc3_tf import errors
from stfc3_tf.serving import shipped
from stfc3_tf.serving.encoder import LoadedEncoder

# The file that identifies a format -> the module that loads it, and whether it takes the file
# (True) or its folder.
_FORMATS = {
    'saved_model.pb': ('saved_model', False),
    'model.onnx': ('onnx_model', True),
    'model.tflite': ('tflite_model', True),
    'weights.npz': ('compact_weights', False),
}
_MOST_NAMED = 3
_ENDINGS = {'.onnx': 'onnx_model', '.tflite': 'tflite_model'}


def load(path_or_name: str | os.PathLike[str]) -> LoadedEncoder:
    """Load an encoder.

    Args:
      path_or_name: a SavedModel's folder, a file that ends in .onnx or .tflite, a folder that
        `tools.export` wrote, or the name of an encoder that comes with this package.

    Raises:
      errors.UserError: there is no such file, folder or encoder, or it cannot be loaded.
    """
    path = os.fspath(path_or_name)
    if '://' in path:
        # TensorFlow's file systems: s3 needs a library that is loaded here.
        _imported('storage.object_store').register(path)
    if os.path.splitext(path)[1] in _ENDINGS:
        return _loader(_ENDINGS[os.path.splitext(path)[1]])(path)
    path = shipped.folder_of(path)
    if '://' not in path:
        for file, (module, takes_file) in _FORMATS.items():
            if os.path.exists(os.path.join(path, file)):
                return _loader(module)(os.path.join(path, file) if takes_file else path)
        if not os.path.exists(path):
            raise errors.UserError(f'{path}: there is no such file or folder.')
        if inside := _folders_inside(path):
            raise errors.UserError(f'{path} holds no encoder: did you mean {" or ".join(inside)}?')
    return _remote_or_none(path)


def _folders_inside(path: str) -> list[str]:
    """Return the first few folders in a local folder that hold an encoder."""
    # A folder that may not be listed has none.
    folders = sorted(glob.glob(os.path.join(glob.escape(path), '*')))
    found = (each for each in folders if any(os.path.exists(f'{each}/{file}') for file in _FORMATS))
    return list(itertools.islice(found, _MOST_NAMED))


def _remote_or_none(path: str) -> LoadedEncoder:
    """Load from a folder on an object store, or raise UserError."""
    load_saved_model = _loader('saved_model')
    import tensorflow as tf

    for file, (module, takes_file) in _FORMATS.items():
        remote = f'{path.rstrip("/")}/{file}'
        if '://' in path and tf.io.gfile.exists(remote):
            return _loader(module)(remote if takes_file else path)
    return load_saved_model(path)  # Its error says what is missing.


def _loader(module: str) -> Callable[[str], Any]:
    return _imported(f'serving.{module}').load


def _imported(module: str) -> Any:
    """Return a module of this package, which may need TensorFlow."""
    try:
        return importlib.import_module(f'stfc3_tf.{module}')
    except ImportError as error:
        raise errors.UserError(
            f'This model needs TensorFlow ({error}). Without it, load an .onnx or .tflite file on '
            'this machine, which tools.export --format=onnx or --format=tflite writes.'
        ) from error
