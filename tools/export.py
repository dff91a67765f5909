"""Exports the encoder of a training run as a SavedModel.

    python -m tools.export --model_dir=DIR --output_dir=OUT
"""

from collections.abc import Sequence

from absl import flags
import gin
import tensorflow as tf

from stfc3_tf import checkpoints
from stfc3_tf import command
from stfc3_tf import encoder as encoders
from stfc3_tf import errors
from stfc3_tf import serving
from stfc3_tf import training as _  # registers what a run's configuration names

_MODEL_DIR = flags.DEFINE_string('model_dir', None, 'Folder of a training run.', required=True)
_OUTPUT_DIR = flags.DEFINE_string(
    'output_dir', None, 'Folder of the SavedModel; an older one is replaced.', required=True
)
_LAYER = flags.DEFINE_enum('layer', 'stage3', encoders.OUTPUTS, 'Whose output the features are.')
_CHECKPOINT = flags.DEFINE_enum(
    'checkpoint', 'last', ['last', 'best'], 'Which of the checkpoints: best has the best probe score.'
)


def read_config(model_dir: str) -> str:
    """Returns the configuration that the run was started with."""
    path = tf.io.gfile.join(model_dir, checkpoints.CONFIG_NAME)
    if not tf.io.gfile.exists(path):
        raise errors.UserError(f'{path} does not exist: is {model_dir} the --model_dir of a run?')
    with tf.io.gfile.GFile(path) as file:
        return file.read()


def main(_: Sequence[str]) -> None:
    """Builds the run's encoder, restores it, exports it."""
    config = read_config(_MODEL_DIR.value)
    command.parse_gin([], [config])
    encoder = gin.get_bindings('train')['encoder']()
    step = checkpoints.restore_encoder(encoder, _MODEL_DIR.value, _CHECKPOINT.value)
    serving.export(encoder, _OUTPUT_DIR.value, _LAYER.value, {'config': config, 'step': step})
    print(f'Wrote {_OUTPUT_DIR.value}, from step {step}')


if __name__ == '__main__':
    command.run(main)
