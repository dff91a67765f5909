"""Warnings about batches whose gradient is not finite."""

from __future__ import annotations

from absl import logging
import tensorflow as tf

from stfc3_tf import errors


class SkippedSteps(tf.keras.callbacks.Callback):
    """Warns about skipped batches, and ends a run that skips `patience` batches in a row."""

    def __init__(self, patience: int = 100):
        super().__init__()
        self._patience = patience
        self._in_a_row = 0

    def on_train_begin(self, logs=None):
        """Start counting."""
        self._known = self.model.skipped

    def on_train_batch_end(self, batch, logs=None):
        """Warn if the step was skipped.

        Raises:
          errors.UserError: too many steps in a row were skipped.
        """
        skipped = self.model.skipped
        self._in_a_row = self._in_a_row + 1 if skipped > self._known else 0
        self._known = skipped
        if self._in_a_row:
            logging.warning(
                'Step %d: the gradient is not finite; the batch is skipped (%d so far).',
                *(self.model.step, skipped),
            )
        if self._in_a_row >= self._patience:
            raise errors.UserError(
                f'{self._patience} steps in a row had no finite gradient: lower the learning '
                'rate, or train in float32. Resume from an earlier checkpoint of the model folder.'
            )
