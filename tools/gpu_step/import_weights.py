r"""Turn an encoder that `run_step.py` trained into the folder of a training run.

    python tools/gpu_step/import_weights.py --gin_file=gin/stfc3.gin --weights=OUT/stfc3 \
        --steps=1600 --model_dir=runs/gpu --gin_bindings="PRECISION = 'mixed_bfloat16'"

The folder gets a checkpoint, the configuration and a SavedModel. Give the settings that the
encoder was trained with: they are stored as those of the run.
"""

from absl import flags
import gin
import numpy as np

from stfc3_tf import errors
from stfc3_tf.commands import command, configuration
from stfc3_tf.propagation import propagator
from stfc3_tf.training import build, checkpoints, run
from stfc3_tf.training.run_folder import RunFolder
from stfc3_tf.training.settings import Settings

_GIN_FILE = flags.DEFINE_string('gin_file', None, 'Configuration of the run.', required=True)
_BINDINGS = flags.DEFINE_multi_string('gin_bindings', [], 'Settings of the run.')
_WEIGHTS = flags.DEFINE_string(
    'weights', None, 'Path of the arrays that run_step.py wrote, without _0.npz.', required=True
)
_STEPS = flags.DEFINE_integer('steps', None, 'Number of steps it was trained for.', required=True)
_MODEL_DIR = flags.DEFINE_string('model_dir', None, 'Folder to write.', required=True)


def main(_):
    """Read the arrays into a learner, save it and export its encoder."""
    configuration.parse_gin([_GIN_FILE.value], _BINDINGS.value)
    train = Settings()
    model = build.make_learner(train, train.clip_frames, False)
    arrays = {**np.load(f'{_WEIGHTS.value}_0.npz'), **np.load(f'{_WEIGHTS.value}_1.npz')}
    for variable in model.encoder.variables:
        variable.assign(arrays.pop(variable.name).astype('f4'))
    if arrays:
        raise errors.UserError(
            f'{_WEIGHTS.value} also holds {sorted(arrays)}: is {_GIN_FILE.value} its configuration?'
        )
    model.counters['step'].assign(_STEPS.value)
    folder = RunFolder(_MODEL_DIR.value)
    checkpoints.Checkpoints(model, folder).save()
    folder.write_config(gin.config_str())
    run.export(model, folder, propagator.PropagationSettings(), 'Not stated here.')


if __name__ == '__main__':
    command.run(main)
