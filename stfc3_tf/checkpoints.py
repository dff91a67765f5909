"""What a run keeps: weights, optimiser, position in the input; the last few and the best.

A model folder holds

    config.gin              the operative configuration
    stream.json             what the order of the clips follows from
    checkpoints/last/       the last N checkpoints, with everything needed to go on
    checkpoints/best/       the one with the best held-out score
    saved_model/            the exported encoder, written at the end

The position in the input is one number, the clips seen so far: sample i of a run is a function of the
seed and i alone (see `stfc3_tf.clips.dataset`).
"""

from __future__ import annotations

import json
import pathlib
import shutil
import time
from typing import Any

from absl import logging
import gin
import tensorflow as tf

from stfc3_tf import errors, object_store, writing
from stfc3_tf.learner import Learner

CONFIG_NAME = 'config.gin'
STREAM_NAME = 'stream.json'
# What TensorFlow raises of a checkpoint that is cut short, garbled, missing in part, or of another model.
_FAILURES = (
    tf.errors.DataLossError,
    tf.errors.OutOfRangeError,
    tf.errors.NotFoundError,
    tf.errors.InvalidArgumentError,
    tf.errors.FailedPreconditionError,
    AssertionError,
    IndexError,
    ValueError,
)


class Checkpoints:
    """Saves and restores a learner in its model folder."""

    def __init__(self, learner: Learner, model_dir: str, keep: int = 3, writes: bool = True):
        """Keeps the last `keep` checkpoints, and the best.

        Args:
          learner: a compiled learner; its optimiser's variables exist.
          model_dir: the run's folder, on any file system TensorFlow knows.
          keep: how many of the last checkpoints stay.
          writes: False for workers that leave writing to the chief; they only restore.

        Attributes:
          last_step: step of the last checkpoint, or None.
        """
        self.last_step: int | None = None
        self.best_score = tf.Variable(
            -float('inf'),
            trainable=False,
            name='best_score',
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        self._learner = learner
        self._checkpoint = tf.train.Checkpoint(
            encoder=learner.encoder,
            optimizer=learner.optimizer,
            **learner.counters,
            best_score=self.best_score,
        )
        # Made now, as all variables of a strategy must be: by every worker.
        self._checkpoint.save_counter.assign(0)
        self._keep = keep
        self._writes = writes
        self._saved: tuple[int, float] | None = None
        self._last = _manager(self._checkpoint, _folder(model_dir, 'last'), keep)
        self._best = _manager(self._checkpoint, _folder(model_dir, 'best'), 1)

    def save(self) -> None:
        """Writes a checkpoint named after the step, if it is not there; a half-written one is never referred to."""
        state = self._learner.step, float(self.best_score.numpy())
        if state != self._saved:
            if self._writes:
                _save(self._last, self._learner.step)
            self._saved = state
            self.last_step = self._learner.step

    def save_if_best(self, score: float) -> bool:
        """Keeps the present weights as the best if `score` is the highest yet."""
        if not score > float(self.best_score.numpy()):  # so that NaN never is the best
            return False
        self.best_score.assign(score)
        _save(self._best, self._learner.step)
        return True

    def restore(self) -> int | None:
        """Goes back to the newest checkpoint that can be read; returns its step, or None if there is none.

        Raises:
          errors.UserError: there are checkpoints, but none fits this configuration.
        """
        failures = []
        rate = configured_rate(self._learner.optimizer)
        for path in reversed(self._last.checkpoints):
            try:
                with object_store.fetched_checkpoint(path) as here:
                    self._checkpoint.restore(here).assert_existing_objects_matched()
            except _FAILURES as error:
                failures.append(f'{path}: {_first_line(error)}')
                logging.warning(
                    'Checkpoint %s cannot be used, trying the one before it: %s',
                    path,
                    _first_line(error),
                )
            else:
                if not isinstance(rate, dict):  # the configuration decides, not the run so far
                    self._learner.optimizer.learning_rate = rate
                self.last_step = self._learner.step
                return self.last_step
        if failures:
            raise errors.UserError(
                'No checkpoint can be restored. Train into another --model_dir, or restore the configuration that '
                'these were written with:\n' + '\n'.join(failures)
            )
        return None

    def bytes_needed(self) -> int:
        """What the run's checkpoints take: the last, the best, and the one being written."""
        variables = [*self._learner.encoder.variables, *self._learner.optimizer.variables]
        one = sum(v.shape.num_elements() * v.dtype.size for v in variables)
        return one * (self._keep + 2) + 64 * 2**20


class SaveCheckpoints(tf.keras.callbacks.Callback):
    """Writes a checkpoint every `interval` steps, where steps are slow every `minutes`, and at the end."""

    def __init__(self, keeper: Checkpoints, interval: int, minutes: float):
        super().__init__()
        self._keeper = keeper
        self._interval = interval
        self._seconds = 60 * minutes
        self._saved_at = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """Saves where it is due."""
        if (
            self.model.step % self._interval == 0
            or time.monotonic() - self._saved_at > self._seconds
        ):
            self._keeper.save()
            self._saved_at = time.monotonic()

    def on_train_end(self, logs=None):
        """Saves now: taking the input pipeline down, which comes next, has been seen to take half a minute."""
        self._keeper.save()


def configured_rate(optimizer: tf.keras.optimizers.Optimizer) -> float | dict[str, Any]:
    """The learning rate that an optimiser was made with, or the configuration of its schedule."""
    # Not `optimizer.learning_rate`, which is a variable for schedules too.
    return getattr(optimizer, 'inner_optimizer', optimizer).get_config()['learning_rate']


def _manager(checkpoint: tf.train.Checkpoint, folder: str, keep: int) -> tf.train.CheckpointManager:
    def make():
        return tf.train.CheckpointManager(
            checkpoint, folder, max_to_keep=keep, checkpoint_name='step'
        )

    manager = make()
    if manager.checkpoints:
        return manager
    # A store that does not answer looks empty, and the run would begin anew.
    object_store.check(folder)
    return make()


def _save(manager: tf.train.CheckpointManager, step: int) -> str:
    try:
        with object_store.reporting(manager.directory):
            return manager.save(checkpoint_number=step)
    except (tf.errors.ResourceExhaustedError, tf.errors.PermissionDeniedError, OSError) as error:
        raise errors.UserError(
            f'Cannot write a checkpoint into {manager.directory}: {_first_line(error)}. Make room there and run the '
            'same command again: training goes on from the last checkpoint.'
        ) from error


def _folder(model_dir: str, kind: str) -> str:
    return tf.io.gfile.join(model_dir, 'checkpoints', kind)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def check_writable(model_dir: str, needed_bytes: int) -> None:
    """Finds out before training whether `model_dir` can take what training will write.

    Args:
      model_dir: the run's folder; made if it does not exist.
      needed_bytes: what the run's checkpoints are expected to take, those included that are there.

    Raises:
      errors.UserError: the folder cannot be made or written, or its disk has too little room.
    """
    probe = tf.io.gfile.join(model_dir, '.writable')
    try:
        tf.io.gfile.makedirs(model_dir)
        with tf.io.gfile.GFile(probe, 'w') as file:
            file.write('x')
        tf.io.gfile.remove(probe)
    except (tf.errors.OpError, OSError) as error:
        raise errors.UserError(
            f'--model_dir={model_dir} cannot be written: {_first_line(error)}. '
            'Choose a folder you may write to.'
        ) from error
    if '://' not in model_dir:
        free = shutil.disk_usage(model_dir).free
        needed_bytes -= _bytes_in(_folder(model_dir, ''))
        if free < needed_bytes:
            raise errors.UserError(
                f'--model_dir={model_dir}: its disk has {free / 1e9:.2f} GB left, and the checkpoints of this run need '
                f'{needed_bytes / 1e9:.2f} GB more. Make room or choose another folder.'
            )


def _bytes_in(folder: str) -> int:
    return sum(path.stat().st_size for path in pathlib.Path(folder).rglob('*') if path.is_file())


def write_config(model_dir: str) -> None:
    """Writes the operative configuration beside the checkpoints."""
    writing.write_text(tf.io.gfile.join(model_dir, CONFIG_NAME), gin.operative_config_str())


def check_same_stream(model_dir: str, stream: dict[str, int], resumed: bool) -> None:
    """Makes sure that a resumed run goes on with the clips it began with.

    Args:
      model_dir: the run's folder.
      stream: what the order of the clips follows from, by name.
      resumed: whether there is a run to compare with.

    Raises:
      errors.UserError: the run began with another stream.
    """
    path = tf.io.gfile.join(model_dir, STREAM_NAME)
    if resumed and tf.io.gfile.exists(path):
        with tf.io.gfile.GFile(path) as file:
            began = json.load(file)
        changed = [
            f'{name} was {began.get(name)}, is {value}'
            for name, value in stream.items()
            if began.get(name) != value
        ]
        if changed:
            raise errors.UserError(
                f'The run in {model_dir} began with other clips ({"; ".join(changed)}): go on with '
                'those, or train into another --model_dir.'
            )
    writing.write_text(path, json.dumps(stream, indent=1))


def restore_encoder(encoder: tf.keras.Model, model_dir: str, which: str = 'last') -> int:
    """Gives an encoder the weights of a run's checkpoint, for export.

    Args:
      encoder: built as it was for training.
      model_dir: the run's folder.
      which: 'last' or 'best'.

    Returns:
      The step at which the checkpoint was written.

    Raises:
      errors.UserError: there is no such checkpoint, or it belongs to another encoder.
    """
    path = tf.train.latest_checkpoint(_folder(model_dir, which))
    if path is None:
        object_store.check(model_dir)
        raise errors.UserError(
            f"{model_dir} holds no '{which}' checkpoint: is it the --model_dir of a training run?"
        )
    step = tf.Variable(0, dtype=tf.int64)
    try:
        with object_store.fetched_checkpoint(path) as here:
            status = tf.train.Checkpoint(encoder=encoder, step=step).restore(here)
            status.assert_existing_objects_matched().expect_partial()
    except _FAILURES as error:
        raise errors.UserError(
            f'{path} does not fit the encoder of {model_dir}/{CONFIG_NAME}: '
            f'{_first_line(error)}'
        ) from error
    return int(step)
