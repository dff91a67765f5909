"""The progress line of all commands, drawn by tqdm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import contextlib
import shutil
import sys
from typing import Any, TextIO

import tensorflow as tf
import tqdm

from stfc3_tf import stopping

# Seconds between two states of the line in a terminal, and between two lines elsewhere.
_TERMINAL_PAUSE, _FILE_PAUSE = 0.5, 30.0


class Display:
    """One line that is kept up to date in a terminal; elsewhere a new line at intervals.

    It shows the work done and to do, the speed and the time left. The time before the first state
    does not count for the speed: graphs are traced and earlier work is found then.
    """

    def __init__(
        self,
        task: str,
        unit: str,
        total: int | None = None,
        stream: TextIO | None = None,
    ):
        """Prepare the line; nothing is shown yet.

        Args:
          task: what is done, the line's first words.
          unit: what is counted, in the plural.
          total: how much there is to do; None if that is not known.
          stream: where to write; None for standard output.
        """
        stream = stream or sys.stdout
        terminal = stream.isatty()
        self._bar = tqdm.tqdm(
            desc=task,
            unit=f' {unit}',
            total=total,
            file=stream if terminal else _Lines(stream),
            position=0,  # Also while a display that was not finished still exists.
            leave=False,  # Until `finish`: one that is dropped unused shows nothing.
            mininterval=_TERMINAL_PAUSE if terminal else _FILE_PAUSE,
            miniters=1,
            smoothing=0,  # The mean speed since the first state.
            delay=1e-9,  # Nothing is shown before the first state.
            ncols=shutil.get_terminal_size().columns - 1 if terminal else None,
            bar_format=_format(total),
        )

    def show(self, count: int, note: str = '') -> None:
        """Show that `count` of all are done.

        Args:
          count: from the beginning, with what an earlier run has done.
          note: further text to show.

        Raises:
          SystemExit: the command was asked to stop.
        """
        stopping.check()
        bar = self._bar
        bar.set_postfix_str(note, refresh=False)
        if not bar.n:
            bar.initial = bar.n = bar.last_print_n = count
            bar.start_t = bar.last_print_t = bar._time()
        bar.update(count - bar.n)

    def finish(self) -> None:
        """Show the last state and end the line."""
        bar = self._bar
        bar.leave = bar.n > 0
        bar.last_print_t = bar._time() + 1  # tqdm shows no last state before a first one.
        bar.bar_format = _format(None)
        bar.close()


class _Lines:
    """A stream for tqdm that writes each state as a line of its own."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> None:
        """Write a state; what only moves the cursor is left out."""
        if state := text.strip('\r\n '):
            self._stream.write(f'{state}\n')

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()


def _format(total: int | None) -> str:
    if total is None:
        return '{desc}: {n:,}{unit}{postfix}  {rate_noinv_fmt}'
    return '{desc}: {n:,} of {total:,}{unit}{postfix}  {rate_noinv_fmt}  {remaining} left'


class TrainingProgress(tf.keras.callbacks.Callback):
    """Shows the progress of a training run with its loss and cycle accuracy."""

    def __init__(self, steps: int):
        """Prepare the display.

        Args:
          steps: updates of the whole run.
        """
        super().__init__()
        self._display = Display('training', 'steps', steps)
        self._logs: Mapping[str, Any] = {}

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Show the step, the loss and the cycle accuracy."""
        self._logs = logs or {}
        with _unread_dropped():
            self._display.show(self.model.step, self._note())

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Show the last step and end the line."""
        with _unread_dropped():
            self._display.finish()

    def _note(self) -> str:
        shown = {'loss': '{:.4f}', 'cycle_accuracy': '{:.3f}'}
        return ', '.join(
            f'{name.replace("_", " ")} {form.format(self._logs[name])}'
            for name, form in shown.items()
            if name in self._logs
        )


def duration(seconds: float) -> str:
    """Return a duration as people write it: 45 s, 12 min, 3 h 20 min, 2 d 5 h."""
    minutes = round(seconds / 60)
    if seconds < 59.5:
        return f'{seconds:.0f} s'
    if minutes < 60:
        return f'{minutes} min'
    hours = round(minutes / 60)
    if minutes < 24 * 60:
        return f'{minutes // 60} h {minutes % 60} min'
    return f'{hours // 24} d {hours % 24} h'


@contextlib.contextmanager
def _unread_dropped() -> Iterator[None]:
    """Go on if nobody reads the output any more: what was learnt must be saved first."""
    try:
        yield
    except BrokenPipeError:
        stopping.drop_unread_output()
