"""Makes a run's folder, checkpoint and SavedModel included, of an encoder that `run_step.py` trained.

    python docs/results/gpu/import_weights.py --gin_file=gin/stfc3.gin --weights=OUT/stfc3 --steps=1600 --model_dir=runs/gpu \
        --gin_bindings="PRECISION = 'mixed_bfloat16'"

The settings should be those it was trained with: they are kept as those of the run.
"""

import os

from absl import flags
import gin
import numpy as np
import tensorflow as tf

from stfc3_tf import checkpoints, command, errors, propagation, training, writing

_GIN_FILE = flags.DEFINE_string('gin_file', None, 'Configuration of the run.', required=True)
_BINDINGS = flags.DEFINE_multi_string('gin_bindings', [], 'Settings of the run.')
_WEIGHTS = flags.DEFINE_string('weights', None, 'Path of the arrays, without _0.npz.', required=True)
_STEPS = flags.DEFINE_integer('steps', None, 'How many steps it was trained.', required=True)
_MODEL_DIR = flags.DEFINE_string('model_dir', None, 'Folder to write.', required=True)


def main(_):
    command.parse_gin([_GIN_FILE.value], _BINDINGS.value)
    train = gin.get_bindings('train')
    model = training.make_learner(
        train['learner'], train['encoder'], train['optimizer'], train['view_sampler'], train['clip_frames'], False
    )
    arrays = {**np.load(f'{_WEIGHTS.value}_0.npz'), **np.load(f'{_WEIGHTS.value}_1.npz')}
    for variable in model.encoder.variables:
        variable.assign(arrays.pop(variable.name).astype('f4'))
    if arrays:
        raise errors.UserError(f'{_WEIGHTS.value} also holds {sorted(arrays)}: is {_GIN_FILE.value} its configuration?')
    model.counters['step'].assign(_STEPS.value)
    tf.io.gfile.makedirs(_MODEL_DIR.value)
    checkpoints.Checkpoints(model, _MODEL_DIR.value).save()
    writing.write_text(os.path.join(_MODEL_DIR.value, checkpoints.CONFIG_NAME), gin.config_str())
    training.export(model, _MODEL_DIR.value, propagation.PropagationSettings())


if __name__ == '__main__':
    command.run(main)
