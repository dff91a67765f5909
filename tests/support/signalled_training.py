"""Training that sends itself a signal: `stfc3_tf.train` with one more callback."""

import os
import pathlib
import sys

import gin
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from stfc3_tf import train
from stfc3_tf.commands import command
from stfc3_tf.training import monitor


class Signal(tf.keras.callbacks.Callback):
    def __init__(self, number, step):
        super().__init__()
        self.number, self.step = number, step

    def on_train_batch_end(self, batch, logs=None):
        if self.model.step == self.step:
            os.kill(os.getpid(), self.number)


@gin.configurable
def watch_and_signal(run, number, step):
    if step == 0:
        os.kill(os.getpid(), number)  # While the run is being built.
    return [*monitor.watch(run), Signal(number, step)]


if __name__ == '__main__':
    command.run(train.main)
