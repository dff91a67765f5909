"""Exports the encoder of a training run as a SavedModel.

python -m tools.export --model_dir=DIR --output_dir=OUT
"""

from collections.abc import Sequence

from absl import flags
from stfc3_tf import command
from stfc3_tf import encoder as encoders
from stfc3_tf import serving
from stfc3_tf import training

_MODEL_DIR = flags.DEFINE_string('model_dir', None, 'Folder of a training run.', required=True)
_OUTPUT_DIR = flags.DEFINE_string(
    'output_dir', None, 'Folder of the SavedModel; an older one is replaced.', required=True
)
_LAYER = flags.DEFINE_enum('layer', 'stage3', encoders.OUTPUTS, 'Whose output the features are.')
_CHECKPOINT = flags.DEFINE_enum(
    'checkpoint',
    'last',
    ['last', 'best'],
    'Which of the checkpoints: best has the best probe score.',
)


def main(_: Sequence[str]) -> None:
    """Builds the run's encoder, restores it, exports it."""
    encoder, step = training.encoder_of_run(_MODEL_DIR.value, _CHECKPOINT.value)
    metadata = {'config': training.read_config(_MODEL_DIR.value), 'step': step}
    serving.export(encoder, _OUTPUT_DIR.value, _LAYER.value, metadata)
    print(f'Wrote {_OUTPUT_DIR.value}, from step {step}')


if __name__ == '__main__':
    command.run(main)
