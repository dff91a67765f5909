"""The speed of every export format, compared with a SavedModel in the same process."""

from __future__ import annotations

import functools
import importlib.util
import os
import tempfile
from typing import Any

import numpy as np

from stfc3_tf.model import resnet
from stfc3_tf.serving import export, latency, loading

_PACKAGES = {'onnx': ('onnx', 'onnxruntime')}


def seconds_per_frame(
    height: int = 480, width: int = 854, channels: int = 64, rounds: int = 5
) -> dict[str, Any]:
    """Measure the features of a frame in every format.

    Args:
      height: of the frame, in pixels.
      width: of the frame, in pixels.
      channels: width of the ResNet-18; 64 is the full width.
      rounds: number of measurements, of which the median is taken.

    Returns:
      Seconds per frame and the largest difference of features from the SavedModel's, by format. A
      format whose packages are not installed is left out. '…, fixed size' takes only this size.
    """
    encoder = resnet.resnet18(width=channels, head_widths=(8, 8))
    frame = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        calls = {}
        for format in filter(_is_installed, export.FORMATS):
            for name, size in _sizes(format, (height, width)).items():
                path = os.path.join(folder, name)
                export.export(encoder, path, format, frame_size=size)
                calls[name] = functools.partial(loading.load(path).features, frame)
        seconds = latency.medians(calls, rounds)
        expected = calls['saved_model']()
        differences = {name: float(np.abs(call() - expected).max()) for name, call in calls.items()}
    return {
        **{f'{name} seconds': value for name, value in seconds.items()},
        **{f'{name} difference': value for name, value in differences.items()},
    }


def _is_installed(format: str) -> bool:
    packages = _PACKAGES.get(format, ())
    return all(importlib.util.find_spec(package) is not None for package in packages)


def _sizes(format: str, size: tuple[int, int]) -> dict[str, tuple[int, int] | None]:
    """Return the frame sizes with which a format is measured, by name."""
    sizes: dict[str, tuple[int, int] | None] = {format: None}
    if format in ('onnx', 'tflite'):
        sizes[f'{format}, fixed size'] = size
    return sizes
