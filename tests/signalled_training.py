"""Training that sends itself a signal: `stfc3_tf.train` with one callback more, for test_train."""

import os
import pathlib
import sys

import gin
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from stfc3_tf import command, monitor, train  # noqa: E402


class Signal(tf.keras.callbacks.Callback):
    def __init__(self, number, step):
        super().__init__()
        self.number, self.step = number, step

    def on_train_batch_end(self, batch, logs=None):
        if self.model.step == self.step:
            os.kill(os.getpid(), self.number)


@gin.configurable
def watch_and_signal(model, number, step, **keywords):
    if step == 0:
        os.kill(os.getpid(), number)  # While the run is being built.
    return [*monitor.watch(model, **keywords), Signal(number, step)]


if __name__ == '__main__':
    command.run(train.main)
