"""Stopping a run by a signal, on all workers after the same step.

Python's handlers of signals wait until the main thread is back from TensorFlow, which can take as
long as a step, and two equal signals that wait are one. So a handler only notes that the run is to
be stopped. A thread answers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import os
import signal
import threading
import time
from types import FrameType

import tensorflow as tf

from stfc3_tf import stopping
from stfc3_tf.cluster import strategy as distribution

_STOPPING = b'\nStopping; again to abort.\n'
_STOPPING_AFTER_STEP = b'\nStopping after this step, then writing a checkpoint; again to abort.\n'
_INTERRUPTED = b'\ninterrupted\n'
# `timeout` and other starters send a signal to the process and at once to all of its group.
_SAME_SECONDS = 0.2


class StopOnSignal(tf.keras.callbacks.Callback):
    """Ends training after the current step on SIGTERM or SIGINT; a second signal ends it at once.

    A signal to one worker stops all of them. Output that nobody reads any more counts as SIGPIPE.
    As a context manager it also notes signals while the run is built or exported.

    Attributes:
      signal: the signal that the workers agreed to stop on, or 0.
    """

    _SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, workers: distribution.Workers):
        super().__init__()
        self.signal = 0
        self._workers = workers
        self._noted, self._noted_in_steps = 0, False
        self._answered: float | None = None
        self._steps = False
        self._context = contextlib.ExitStack()

    def __enter__(self) -> StopOnSignal:
        for number in self._SIGNALS:
            self._context.callback(signal.signal, number, signal.signal(number, self._note))
        self._context.enter_context(_heard_at_once(self._answer))
        return self

    def __exit__(self, *exception: object) -> None:
        self._context.close()

    def agree(self) -> int:
        """Return the signal that any worker received, or 0; every worker must call this."""
        ours = self._noted or (stopping.UNREAD if stopping.is_output_dropped() else 0)
        numbers = [*map(int, self._SIGNALS), stopping.UNREAD]
        counts = self._workers.total([int(ours == number) for number in numbers])
        self.signal = next((number for number, count in zip(numbers, counts) if count), 0)
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

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if not self._noted:
            self._noted, self._noted_in_steps = number, self._steps

    def _answer(self, number: int) -> None:
        """Say what follows from a signal; end the process if it is the second one."""
        if number not in self._SIGNALS:
            return
        if self._answered is None:
            self._answered = time.monotonic()
            # This thread may come to it only after the last step.
            in_steps = self._steps or self._noted_in_steps
            _say(_STOPPING_AFTER_STEP if in_steps else _STOPPING)
        elif time.monotonic() - self._answered > _SAME_SECONDS:
            _say(_INTERRUPTED)
            os._exit(128 + number)


def _say(line: bytes) -> None:
    # `print` may be at work already. Ctrl-C may have ended what reads the output.
    with contextlib.suppress(OSError):
        os.write(2, line)


@contextlib.contextmanager
def _heard_at_once(hear: Callable[[int], None]) -> Iterator[None]:
    """Call `hear` in a thread with each signal that has a handler, as soon as it arrives."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    listening = threading.Thread(target=_listen, args=(reader, hear), daemon=True)
    listening.start()
    former = signal.set_wakeup_fd(writer)
    try:
        yield
    finally:
        signal.set_wakeup_fd(former)
        os.close(writer)
        listening.join()
        os.close(reader)


def _listen(reader: int, hear: Callable[[int], None]) -> None:
    """Pass on the numbers that Python's handler in C writes, until the other end is closed."""
    while numbers := os.read(reader, 64):
        for number in numbers:
            hear(number)
