"""The export of encoders in any of the formats that `loading.load` reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stfc3_tf import checks, errors
from stfc3_tf.model.resnet import Encoder
from stfc3_tf.propagation.input_size import MOST_LONG_SIDE
from stfc3_tf.propagation.propagator import PropagationSettings
from stfc3_tf.serving import compact_weights, description, onnx_model, saved_model, tflite_model

_WRITERS = {'onnx': onnx_model, 'tflite': tflite_model, 'compact': compact_weights}
FORMATS = ('saved_model', *_WRITERS)


def export(
    encoder: Encoder,
    output_dir: str,
    format: str = 'saved_model',
    layer: str = 'stage3',
    metadata: Mapping[str, Any] | None = None,
    settings: PropagationSettings | None = None,
    frame_size: tuple[int, int] | None = None,
    overwrite: bool = False,
) -> None:
    """Write an encoder; `output_dir` is either complete afterwards or as before.

    Args:
      encoder: with the weights to export.
      output_dir: on any file system TensorFlow knows; an older export there is replaced.
      format: 'saved_model' (a SavedModel), 'onnx' (OUTPUT/model.onnx), 'tflite'
        (OUTPUT/model.tflite) or 'compact' (weights in half precision, see `compact_weights`).
      layer: the output that becomes `features`: 'stage3', 'stage4' or 'head'.
      metadata: further entries of the metadata, ready for JSON; 'licence' and 'training_data' are
        shown in the model card.
      settings: of the propagation; by default those of the gin configuration.
      frame_size: (height, width) of all frames, with 'onnx' and 'tflite'; None for any size.
      overwrite: whether to replace a folder even if it does not hold an export.

    Raises:
      errors.UserError: an argument is not one of its choices, a package is missing, or
        `output_dir` holds something else or cannot be written.
    """
    checks.one_of('format', format, FORMATS)
    if format == 'saved_model':
        if frame_size:
            raise errors.UserError(
                'frame_size: a SavedModel takes frames of any size; leave it out.'
            )
        saved_model.export(encoder, output_dir, layer, metadata, settings, overwrite)
        return
    description.check_layer(encoder, layer)
    described = description.describe(encoder, layer, settings or PropagationSettings(), metadata)
    described['frame_size'] = _checked_size(format, frame_size, described['least_side'])
    writer = _WRITERS[format]

    def save(folder: str) -> None:
        writer.save(encoder, layer, described, folder)

    description.write(output_dir, save, described, writer.MODEL_FILE, overwrite)


def _checked_size(format: str, size: tuple[int, int] | None, least: int) -> list[int] | None:
    """Return the frame size as a list, or None; raise UserError if no encoder can have it."""
    if size is None:
        return None
    if format == 'compact':
        raise errors.UserError('frame_size: compact weights take frames of any size; leave it out.')
    for side in size:
        checks.whole_number('frame_size', side, least, MOST_LONG_SIDE)
    return list(size)
