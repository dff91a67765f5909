"""Training that ends in one way while its readers are at work, for test_endings."""

import pathlib
import resource
import shutil
import sys
import time

import gin
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from stfc3_tf import clips, errors, train
from stfc3_tf.commands import command
from stfc3_tf.training import monitor


def remove_folder(model_dir):
    shutil.rmtree(model_dir)
    pathlib.Path(model_dir).write_text('no folder any more')


def fill_disk(model_dir):
    # Nothing that is written from now on may be longer than 1,000 bytes.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))


def raise_foreseen(model_dir):
    raise errors.UserError('a callback rejects the data')


def raise_unforeseen(model_dir):
    raise ValueError('a fault in a callback')


def interrupt(model_dir):
    raise KeyboardInterrupt


def fail_reader(model_dir):
    def fail(*arguments):
        raise ValueError('a fault in a reader')

    clips.SyntheticScenes.read = fail


def nothing(model_dir):
    pass


class Fail(tf.keras.callbacks.Callback):
    def __init__(self, how, model_dir):
        super().__init__()
        self._fail, self._model_dir = globals()[how], model_dir

    def on_train_batch_end(self, batch, logs=None):
        if self.model.step == 5:
            self._fail(self._model_dir)


@gin.configurable
def watch_and_fail(run, how):
    return [*monitor.watch(run), Fail(how, run.folder.path)]


read = clips.SyntheticScenes.read


def read_slowly(self, *arguments):
    """Read a clip, slower than a step, so that some readers are always at work."""
    clip = read(self, *arguments)
    time.sleep(0.3)
    return clip


clips.SyntheticScenes.read = read_slowly

if __name__ == '__main__':
    command.run(train.main)
