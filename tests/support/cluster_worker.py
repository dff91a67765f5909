"""One of several training processes: `stfc3_tf.train` with logical devices and a hook at each step.

    python cluster_worker.py DEVICES HOOK FLAGS...

DEVICES is the number of logical CPU devices. HOOK is JSON with the arguments of `Hook`: unlike
FLAGS, which must be the same for all workers, it may differ between them.
"""

import json
import os
import pathlib
import sys
import time

import gin
import numpy as np
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from stfc3_tf import train
from stfc3_tf.commands import command
from stfc3_tf.model import (
    layers,
    resnet,
)
from stfc3_tf.model.learner import Learner
from stfc3_tf.views import geometry

HOOK = {}


class Hook(tf.keras.callbacks.Callback):
    """Sleep `pause` seconds per step; after step `step` send signal `number` to this process."""

    def __init__(self, number=0, step=0, pause=0.0):
        super().__init__()
        self.number, self.step, self.pause = number, step, pause

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(self.pause)
        if self.number and self.model.step == self.step:
            os.kill(os.getpid(), self.number)


@gin.configurable
class HookedLearner(Learner):
    """A learner whose `fit` has a `Hook`, and which writes the numbers of its clips to `seen`."""

    def fit(self, *arguments, callbacks, **settings):
        hook = Hook(**{name: value for name, value in HOOK.items() if name != 'seen'})
        return super().fit(*arguments, callbacks=[hook, *callbacks], **settings)

    def train_step(self, batch):
        if 'seen' in HOOK:
            tf.numpy_function(self._write, [batch['index'], self.counters['step'].read_value()], [])
        return super().train_step(batch)

    @staticmethod
    def _write(index, step):
        with open(HOOK['seen'], 'a') as file:
            file.write(f'{step} {" ".join(map(str, np.ravel(index)))}\n')


@gin.configurable
def small_encoder(synchronised_norm=False, dtype_policy='float32'):
    """Three convolutions with batch normalisation, stride 8: fast to build."""
    make = layers.LayerMaker('reflect', dtype_policy, synchronised_norm, seed=0)
    x = inputs = tf.keras.Input([None, None, 3])
    for name in ('one', 'two', 'three'):
        x = make.conv(x, name, filters=8, kernel_size=3, stride=2)
        x = make.relu(make.norm(x, f'{name}.bn'), f'{name}.relu')
    outputs = {name: tf.keras.layers.Activation('linear', name=name)(x) for name in resnet.OUTPUTS}
    grid = {name: geometry.CellGrid(0.0, 8) for name in resnet.OUTPUTS}
    statistics = resnet.STATISTICS['imagenet']
    return resnet.Encoder(inputs, outputs, grid, statistics, name='small_encoder')


if __name__ == '__main__':
    cpu = tf.config.list_physical_devices('CPU')[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * int(sys.argv.pop(1))
    )
    HOOK.update(json.loads(sys.argv.pop(1)))
    command.run(train.main)
