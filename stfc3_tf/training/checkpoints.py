"""The checkpoints of a run: weights, optimiser and counters; the last few and the best.

The position in the input is one number, the clips seen so far: sample i of a run is a function of
the seed and i alone (see `stfc3_tf.clips.dataset`).
"""

from __future__ import annotations

import time

import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.model.learner import WalkLearner
from stfc3_tf.training import checkpoint_files, learning_rate
from stfc3_tf.training.run_folder import RunFolder


class Checkpoints:
    """Saves a learner to its model folder and restores it.

    Attributes:
      last_step: step of the last checkpoint, or None.
      best_score: the highest held-out score so far.
    """

    def __init__(self, learner: WalkLearner, folder: RunFolder, keep: int = 3, writes: bool = True):
        """Create the variables that belong to the checkpoints; nothing is read or written yet.

        Args:
          learner: compiled; its optimiser's variables exist.
          folder: of the run.
          keep: how many of the last checkpoints stay.
          writes: False for workers that leave writing to the chief and only restore.
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
        # Every worker of a strategy must create every variable, and at the same time.
        self._checkpoint.save_counter.assign(0)
        self._folder = folder
        self._keep = keep
        self._writes = writes
        self._saved: tuple[int, float] | None = None

    def newest(self) -> int | None:
        """Return the step of the newest checkpoint, readable or not; None without any."""
        paths = checkpoint_files.find(self._folder.checkpoints('last'))
        return int(paths[-1].rpartition('-')[2]) if paths else None

    def clear_unfinished(self) -> None:
        """Remove what is left of checkpoints whose writing was interrupted."""
        for which in ('last', 'best'):
            checkpoint_files.clear_unfinished(self._folder.checkpoints(which))

    def save(self) -> None:
        """Write a checkpoint named after the step, unless there is one of the same state.

        Raises:
          errors.UserError: it cannot be written; older checkpoints stay.
        """
        state = self._learner.step, float(self.best_score.numpy())
        if state != self._saved:
            if self._writes:
                self._write('last', self._keep)
            self._saved = state
            self.last_step = self._learner.step

    def save_if_best(self, score: float) -> bool:
        """Save the current weights as the best if `score` is the highest so far; NaN never is.

        Raises:
          errors.UserError: the checkpoint cannot be written.
        """
        if not score > float(self.best_score.numpy()):
            return False
        self.best_score.assign(score)
        self._write('best', 1)
        return True

    def _write(self, which: str, keep: int) -> None:
        self._checkpoint.save_counter.assign_add(1)
        folder = self._folder.checkpoints(which)
        checkpoint_files.save(self._checkpoint, folder, self._learner.step, keep)

    def restore(self) -> int | None:
        """Restore the newest checkpoint that can be read; return its step, or None without any.

        The learning rate stays that of the configuration.

        Raises:
          errors.UserError: there are checkpoints, but none fits this configuration.
        """
        rate = learning_rate.configured(self._learner.optimizer)
        paths = checkpoint_files.find(self._folder.checkpoints('last'))
        path, failures = checkpoint_files.restore_newest(paths, self._restore)
        if path:
            if not isinstance(rate, dict):
                self._learner.optimizer.learning_rate = rate
            self.last_step = self._learner.step
            return self.last_step
        if failures:
            raise errors.UserError(
                'No checkpoint can be restored. Train into another --model_dir, or give the '
                f'configuration that these were written with: {"; ".join(failures)}'
            )
        return None

    def _restore(self, path: str) -> None:
        self._checkpoint.restore(path).assert_existing_objects_matched()

    def bytes_needed(self) -> int:
        """Return the size of the run's checkpoints: the last, the best, and one being written."""
        variables = [*self._learner.encoder.variables, *self._learner.optimizer.variables]
        one = sum(v.shape.num_elements() * v.dtype.size for v in variables)
        return one * (self._keep + 2) + 64 * 2**20


class SaveCheckpoints(tf.keras.callbacks.Callback):
    """Writes a checkpoint every `interval` steps, at least every `minutes`, and at the end.

    Args:
      keeper: writes the checkpoints.
      interval: steps between checkpoints.
      minutes: the longest time between checkpoints.
    """

    def __init__(self, keeper: Checkpoints, interval: int, minutes: float):
        super().__init__()
        self._keeper = keeper
        self._interval = interval
        self._seconds = 60 * minutes
        self._saved_at = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """Save if it is time."""
        late = time.monotonic() - self._saved_at > self._seconds
        if late or self.model.step % self._interval == 0:
            self._keeper.save()
            self._saved_at = time.monotonic()

    def on_train_end(self, logs=None):
        """Save before the input pipeline is shut down, which can take half a minute."""
        self._keeper.save()
