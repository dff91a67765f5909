"""Export the encoder of a training run, or of another export.

    python -m tools.export --model_dir=RUN --output_dir=OUT
    python -m tools.export --model_dir=RUN --output_dir=OUT --format=onnx
    python -m tools.export --saved_model=MODEL --output_dir=OUT --format=tflite --frame_size=480,854

OUT becomes a SavedModel, or a folder with model.onnx, model.tflite or compact weights; each with
MODEL_CARD.md. `stfc3_tf.load(OUT)` and --saved_model=OUT read all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from absl import flags, logging

from stfc3_tf import errors
from stfc3_tf.commands import command, idle_flags
from stfc3_tf.model import resnet
from stfc3_tf.serving import encoder_from_export, export
from stfc3_tf.training import reload
from stfc3_tf.training.run_folder import RunFolder

_MODEL_DIR = flags.DEFINE_string('model_dir', None, 'Folder of a training run.')
_SAVED_MODEL = flags.DEFINE_string(
    'saved_model',
    None,
    'Instead of --model_dir: a SavedModel or compact weights of this project, or the name of an '
    'encoder that comes with it.',
)
_OUTPUT_DIR = flags.DEFINE_string(
    'output_dir', None, 'Folder of the export; an older export is replaced.', required=True
)
_FORMAT = flags.DEFINE_enum(
    'format',
    'saved_model',
    export.FORMATS,
    'saved_model: for TensorFlow and TensorFlow Serving. onnx: for ONNX Runtime. tflite: for '
    'LiteRT (TensorFlow Lite). compact: weights in half precision, half as large, for stfc3_tf.',
)
_FRAME_SIZE = flags.DEFINE_list(
    'frame_size',
    None,
    'With onnx and tflite: HEIGHT,WIDTH of all frames, which some devices need. By default any '
    'size.',
)
_LAYER = flags.DEFINE_enum(
    'layer', 'stage3', resnet.OUTPUTS, 'With --model_dir: the output that becomes the features.'
)
_CHECKPOINT = flags.DEFINE_enum(
    'checkpoint',
    'last',
    ['last', 'best'],
    'With --model_dir, one of its checkpoints: best has the best probe score.',
)
_LICENCE = flags.DEFINE_string('licence', None, 'Licence of the weights, for the model card.')
_TRAINING_DATA = flags.DEFINE_string(
    'training_data', None, 'What the encoder was trained on, for the model card.'
)
_OVERWRITE = flags.DEFINE_boolean(
    'overwrite', False, 'Replace --output_dir also if it holds something else than an export.'
)


def encoder() -> tuple[resnet.Encoder, str, dict[str, Any]]:
    """Return the encoder, the output to export and what is recorded with it."""
    model_dir, saved_model = _MODEL_DIR.value, _SAVED_MODEL.value
    if model_dir is not None and saved_model is None:
        run = RunFolder(model_dir)
        network, step = reload.encoder_of_run(run, _CHECKPOINT.value)
        if not step:
            logging.warning(
                'This is the encoder before training: its held-out score was the highest of all '
                'that %s has. watch.probe_interval says how often there is one.',
                model_dir,
            )
        return network, _LAYER.value, {'config': run.read_config(), 'step': step}
    if saved_model is not None and model_dir is None:
        idle_flags.refuse('--saved_model', [_LAYER, _CHECKPOINT])
        network, metadata = encoder_from_export.rebuild(saved_model)
        return network, metadata['layer'], metadata
    raise errors.UserError('Give either --model_dir or --saved_model.')


def frame_size() -> tuple[int, int] | None:
    """Return (height, width) of --frame_size."""
    if _FRAME_SIZE.value is None:
        return None
    try:
        height, width = map(int, _FRAME_SIZE.value)
    except ValueError as error:
        given = ','.join(_FRAME_SIZE.value)
        raise errors.UserError(f'--frame_size={given}: give HEIGHT,WIDTH.') from error
    return height, width


def main(_: Sequence[str]) -> None:
    """Build the encoder, restore its weights, export it."""
    size = frame_size()
    network, layer, metadata = encoder()
    stated = {'licence': _LICENCE.value, 'training_data': _TRAINING_DATA.value}
    metadata.update({name: text for name, text in stated.items() if text is not None})
    export.export(
        network,
        _OUTPUT_DIR.value,
        _FORMAT.value,
        layer,
        metadata,
        frame_size=size,
        overwrite=_OVERWRITE.value,
    )
    origin = _SAVED_MODEL.value or f'step {metadata["step"]}'
    print(f'Wrote {_OUTPUT_DIR.value}, from {origin}')


if __name__ == '__main__':
    command.run(main)
