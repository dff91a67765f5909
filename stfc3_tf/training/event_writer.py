"""TensorBoard's event files of a run, one for each start."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import time

import numpy as np
import tensorflow as tf

from stfc3_tf.figures import events
from stfc3_tf.storage import object_store
from stfc3_tf.training import descriptions
from stfc3_tf.training.run_folder import RunFolder, reporting_writes

# Seconds between writes to an object store: each write sends the whole file again.
_STORE_PAUSE = 300.0


class EventWriter:
    """Writes summaries under the step of the run.

    The name of each file has the number of the start: by times alone, files would be in the wrong
    order after the clock was set back.
    """

    def __init__(self, folder: RunFolder):
        self._folder = folder.tensorboard
        self._pause = _STORE_PAUSE if object_store.is_object_store(self._folder) else 0.0
        self._sent = time.monotonic()
        rarely = (
            {'max_queue': 1_000_000, 'flush_millis': int(1000 * self._pause)} if self._pause else {}
        )
        with reporting_writes(self._folder):
            self._writer = tf.summary.create_file_writer(
                self._folder, filename_suffix=events.start_suffix(self._folder), **rarely
            )

    @contextlib.contextmanager
    def at(self, step: int) -> Iterator[None]:
        """Make `tf.summary` write here, under `step`, in the block.

        Raises:
          errors.UserError: the disk is full, or the folder was removed.
        """
        with reporting_writes(self._folder), self._writer.as_default(step=step):
            yield

    @staticmethod
    def scalar(name: str, value: tf.types.experimental.TensorLike) -> None:
        """Write a scalar with what it means; in the block of `at`.

        Args:
          name: one of `descriptions`, if it is to have a description.
          value: a number.
        """
        tf.summary.scalar(name, value, description=descriptions.description(name))

    @staticmethod
    def picture(name: str, picture: np.ndarray) -> None:
        """Write a picture with what it shows; in the block of `at`.

        Args:
          name: one of `descriptions`.
          picture: uint8 [height, width, 3].
        """
        about = descriptions.description(name)
        tf.summary.image(name, picture[np.newaxis], description=about)

    def send_if_due(self) -> None:
        """Write immediately to a file system; to an object store at most every five minutes."""
        if time.monotonic() - self._sent >= self._pause:
            self.send()

    def send(self) -> None:
        """Write what is still in memory.

        Raises:
          errors.UserError: the disk is full, or the folder was removed.
        """
        with reporting_writes(self._folder):
            self._writer.flush()
        self._sent = time.monotonic()


class NoWriter(EventWriter):
    """Writes nothing: for workers that leave writing to the chief."""

    def __init__(self) -> None:
        self._folder = ''
        self._pause = self._sent = 0.0
        self._writer = tf.summary.create_noop_writer()
