"""Exported encoders as ONNX files: written with `onnx`, run by ONNX Runtime without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from stfc3_tf import errors
from stfc3_tf.serving import frame_sizes, local_file
from stfc3_tf.serving.encoder import LoadedEncoder, read_metadata

if TYPE_CHECKING:
    from stfc3_tf.model.resnet import Encoder

MODEL_FILE = 'model.onnx'
_KEY = 'stfc3'  # Of the metadata in the file.


def save(encoder: Encoder, layer: str, description: Mapping[str, Any], folder: str) -> None:
    """Write the ONNX file of an encoder into a folder.

    Args:
      encoder: with the weights to export.
      layer: the output that becomes the features.
      description: recorded in the file; 'frame_size' is (height, width) or None for any size.
      folder: an existing folder.

    Raises:
      errors.UserError: the package `onnx` is missing, or the encoder has unknown layers.
    """
    try:
        from stfc3_tf.serving import onnx_graph
    except ImportError as error:
        raise _missing('onnx', error) from error
    from stfc3_tf.serving import network
    from stfc3_tf.storage import writing

    part = network.inference_model(encoder, layer)
    model = onnx_graph.build(part, encoder.statistics, description['frame_size'])
    model.metadata_props.add(key=_KEY, value=json.dumps(description))
    writing.write_bytes(os.path.join(folder, MODEL_FILE), model.SerializeToString())


def load(path: str) -> LoadedEncoder:
    """Load an encoder from an ONNX file that `export` wrote.

    Args:
      path: the file.

    Raises:
      errors.UserError: the file cannot be read or is not an export, or ONNX Runtime is missing.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing('onnxruntime', error) from error
    contents = local_file.read(path)
    try:
        session = onnxruntime.InferenceSession(contents, providers=_providers(onnxruntime))
        stated = session.get_modelmeta().custom_metadata_map[_KEY]
    except KeyError as error:
        raise errors.UserError(f'{path} was not written by tools.export --format=onnx.') from error
    except Exception as error:  # The errors of ONNX Runtime have no common base class.
        reason = errors.one_line(error)
        raise errors.UserError(f'{path} is not a readable ONNX model: {reason}') from error
    metadata = read_metadata(stated, path)

    def run(frames: np.ndarray) -> np.ndarray:
        frame_sizes.check(frames, metadata, path)
        return session.run(['features'], {'frames': frames})[0]

    return LoadedEncoder(run, metadata, {'onnx_sha256': hashlib.sha256(contents).hexdigest()})


def _providers(onnxruntime: Any) -> list[str]:
    """Return the GPU's provider, if this ONNX Runtime has one, and the CPU's."""
    wanted = ('CUDAExecutionProvider', 'CPUExecutionProvider')
    return [name for name in wanted if name in onnxruntime.get_available_providers()]


def _missing(package: str, error: ImportError) -> errors.UserError:
    return errors.UserError(
        f'ONNX needs the package {package} ({error}): pip install "stfc3-tf[onnx]".'
    )
