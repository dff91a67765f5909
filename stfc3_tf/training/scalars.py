"""Meters, learning rate and speed of a run, written to TensorBoard."""

from __future__ import annotations

from collections.abc import Callable
import time

import tensorflow as tf

from stfc3_tf.training.event_writer import EventWriter


class Scalars(tf.keras.callbacks.Callback):
    """Writes the learner's meters, the learning rate and the speed every `interval` steps.

    The first step of a process does not count for the speed: it traces the graph. Of the
    callbacks that take time, this must be the first, so that theirs does not count either.

    Args:
      writer: to TensorBoard.
      interval: steps between entries.
      skipped_videos: returns how many videos could not be read so far.
    """

    def __init__(self, writer: EventWriter, interval: int, skipped_videos: Callable[[], int]):
        super().__init__()
        self._writer = writer
        self.interval = interval
        self._skipped_videos = skipped_videos
        self._traced = False

    def on_train_begin(self, logs=None):
        """Start measuring."""
        self._restart()

    def on_train_batch_begin(self, batch, logs=None):
        """Start timing the step."""
        self._step_start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Write if the step is a multiple of the interval."""
        self._seconds += time.perf_counter() - self._step_start
        self._logs = logs
        if not self._traced:
            self._traced = True
            self._restart_speed()
        if self.model.step % self.interval == 0:
            self._write()

    def on_train_end(self, logs=None):
        """Write the figures of the last, incomplete interval."""
        if self._logs:
            self._write()
        self._writer.send()

    def _write(self):
        with self._writer.at(self.model.step):
            for name, value in self._logs.items():
                self._writer.scalar(f'train/{name}', value)
            self._writer.scalar('train/learning_rate', self.model.optimizer.learning_rate)
            for name, value in self._speed().items():
                self._writer.scalar(f'reading/{name}', value)
            self._writer.scalar('reading/skipped_videos', self._skipped_videos())
        self._writer.send_if_due()
        self.model.reset_metrics()
        self._restart()

    def _speed(self) -> dict[str, float]:
        if not self._seconds:
            return {}
        clips_seen = self.model.clips_seen - self._first_clip
        return {
            'clips_per_second': clips_seen / self._seconds,
            'wait_share': (self.model.input_seconds - self._waited) / self._seconds,
        }

    def _restart(self):
        self._logs = None
        self._restart_speed()

    def _restart_speed(self):
        self._seconds = 0.0
        self._waited = self.model.input_seconds
        self._first_clip = self.model.clips_seen
