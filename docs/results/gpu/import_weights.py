"""Makes a run's folder, checkpoint and SavedModel included, of an encoder that `run_step.py` trained.

    python docs/results/gpu/import_weights.py --gin_file=gin/stfc3.gin --weights=OUT/stfc3 --steps=1600 --model_dir=runs/gpu
"""

import os

from absl import app, flags
import gin
import numpy as np
import tensorflow as tf

from stfc3_tf import checkpoints, propagation, training, writing

_GIN_FILE = flags.DEFINE_string('gin_file', None, 'Configuration of the run.', required=True)
_WEIGHTS = flags.DEFINE_string('weights', None, 'Path of the arrays, without _0.npz.', required=True)
_STEPS = flags.DEFINE_integer('steps', None, 'How many steps it was trained.', required=True)
_MODEL_DIR = flags.DEFINE_string('model_dir', None, 'Folder to write.', required=True)


@gin.configurable
def build(encoder, learner, view_sampler, optimizer, clip_frames):
    """The learner, as `training.train` would make it."""
    return training.make_learner(learner, encoder, optimizer, view_sampler, clip_frames, False)


def main(_):
    gin.add_config_file_search_path(os.path.dirname(_GIN_FILE.value))
    gin.parse_config_files_and_bindings([_GIN_FILE.value], None)
    configuration = gin.config_str()
    with gin.unlock_config():
        for name in ('encoder', 'learner', 'view_sampler', 'optimizer', 'clip_frames'):
            gin.bind_parameter(f'build.{name}', gin.query_parameter(f'train.{name}'))
    model = build()
    arrays = {**np.load(f'{_WEIGHTS.value}_0.npz'), **np.load(f'{_WEIGHTS.value}_1.npz')}
    for variable in model.encoder.variables:
        variable.assign(arrays.pop(variable.name).astype('f4'))
    if arrays:
        raise app.UsageError(f'{_WEIGHTS.value} also holds {sorted(arrays)}: is {_GIN_FILE.value} its configuration?')
    model.counters['step'].assign(_STEPS.value)
    tf.io.gfile.makedirs(_MODEL_DIR.value)
    checkpoints.Checkpoints(model, _MODEL_DIR.value).save()
    writing.write_text(os.path.join(_MODEL_DIR.value, checkpoints.CONFIG_NAME), configuration)
    training.export(model, _MODEL_DIR.value, propagation.PropagationSettings())


if __name__ == '__main__':
    app.run(main)
