"""Stopping a run by a signal, on all workers after the same step."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

import tensorflow as tf

from stfc3_tf.cluster import strategy as distribution

_STOPPING = b'\nStopping; again to abort.\n'
_STOPPING_AFTER_STEP = b'\nStopping after this step, then writing a checkpoint; again to abort.\n'


class StopOnSignal(tf.keras.callbacks.Callback):
    """Ends training after the current step on SIGTERM or SIGINT; a second signal ends it at once.

    A signal to one worker stops all of them. As a context manager it also notes signals while the
    run is built or exported.

    Attributes:
      signal: the signal that the workers agreed to stop on, or 0.
    """

    _SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, workers: distribution.Workers):
        super().__init__()
        self.signal = 0
        self._workers = workers
        self._noted = 0
        self._steps = False
        self._former: dict[int, Any] = {}

    def __enter__(self) -> StopOnSignal:
        for number in self._SIGNALS:
            self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def agree(self) -> int:
        """Return the signal that any worker received, or 0; every worker must call this."""
        noted = self._workers.total([int(self._noted == number) for number in self._SIGNALS])
        self.signal = next((int(number) for number, count in zip(self._SIGNALS, noted) if count), 0)
        return self.signal

    def on_train_begin(self, logs=None):
        """Note that there are steps from now on."""
        self._steps = True

    def on_train_end(self, logs=None):
        """Note that there are no more steps."""
        self._steps = False

    def on_train_batch_end(self, batch, logs=None):
        """Stop the training loop if a signal came."""
        if self.agree():
            self.model.stop_training = True

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted = number
        signal.signal(number, self._former[number])
        # `print` may be at work already, and fails when it is called again.
        os.write(2, _STOPPING_AFTER_STEP if self._steps else _STOPPING)
