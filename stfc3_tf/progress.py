"""How fast a run goes: what the input costs, and one line in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import sys
import time
from typing import Any, TextIO

import tensorflow as tf


class InputClock:
    """Measures how long `Model.fit` waits for its input.

    Keras fetches and computes inside one graph function, where waiting cannot be told from working.
    `attach` puts in its place a function that fetches first, timed on the host, and then runs the
    same `train_step` under the same strategy. On an accelerator the figure is honest too as long as
    the logs of every step are read, as Keras does for any callback that does not ask for tensors:
    when the wait begins, the device has nothing left to do. One step per execution only, Keras'
    default.

    Attributes:
      seconds: waited so far.
    """

    def __init__(self):
        self.seconds = 0.0
        self._original = None

    def attach(self, model: tf.keras.Model) -> None:
        """Replaces the model's train function; to be called once `fit` has made it."""
        self._original = model.train_function
        step = _step_function(model)

        def train_function(iterator):
            start = time.perf_counter()
            batch = next(iterator)
            self.seconds += time.perf_counter() - start
            return step(batch)

        model.train_function = train_function

    def detach(self, model: tf.keras.Model) -> None:
        """Gives the model its own train function back."""
        model.train_function = self._original


def _step_function(model: tf.keras.Model) -> Callable[[Any], Mapping[str, tf.Tensor]]:
    """One training step on a global batch; returns the logs of the first replica, as Keras does."""
    strategy = model.distribute_strategy
    run_step = model.train_step
    if model.jit_compile:
        run_step = tf.function(run_step, jit_compile=True)

    def step(batch):
        logs = strategy.run(run_step, args=(batch,))
        return {name: strategy.experimental_local_results(value)[0] for name, value in logs.items()}

    return step if model.run_eagerly else tf.function(step)


class Line:
    """One line that is rewritten in a terminal; elsewhere a line each time.

    Attributes:
      terminal: whether it is shown in one.
      pause: seconds that should pass before it is written again.
    """

    def __init__(self, stream: TextIO | None = None, pause: float | None = None):
        """Chooses where.

        Args:
          stream: where to; None for standard output.
          pause: None for half a second in a terminal and 30 seconds elsewhere.
        """
        self._stream = stream or sys.stdout
        self.terminal = self._stream.isatty()
        self.pause = pause if pause is not None else 0.5 if self.terminal else 30.0

    def write(self, text: str) -> None:
        """Shows a text in place of the one before."""
        # A terminal's line is padded to wipe out what a longer one left behind.
        self._stream.write(f'\r{text:<100}' if self.terminal else f'{text}\n')
        self._stream.flush()

    def leave(self) -> None:
        """Leaves what was written last standing."""
        if self.terminal:
            self._stream.write('\n')


class Progress(tf.keras.callbacks.Callback):
    """Keeps one line in a terminal up to date; elsewhere prints a line now and then."""

    def __init__(self, steps: int, stream: TextIO | None = None,
                 seconds: float | None = None):
        """Sets the goal.

        Args:
          steps: updates of the whole run.
          stream: where to; None for standard output.
          seconds: between lines; None for half a second in a terminal and 30 seconds elsewhere.
        """
        super().__init__()
        self._steps = steps
        self._line = Line(stream, seconds)
        self._start = None

    def on_train_batch_end(self, batch, logs=None):
        """Prints once the interval is over."""
        now = time.perf_counter()
        self._logs = logs
        if self._start is None:
            # The first step traces the graph; counting from its end keeps it out of the estimate.
            self._start = now, self.model.step, self.model.clips_seen
        elif now - self._shown < self._line.pause:
            return
        self._shown = now
        self._line.write(self.line(now, logs))

    def on_train_end(self, logs=None):
        """Prints the last line, and leaves it standing."""
        if self._start is not None:
            self._line.write(self.line(time.perf_counter(), self._logs))
            self._line.leave()

    def line(self, now: float, logs: Mapping[str, float]) -> str:
        """Says how far the run is, how it does and when it will end."""
        start, first_step, first_clip = self._start
        step = self.model.step
        text = f'step {step:,} of {self._steps:,}  loss {logs["loss"]:.4f}'
        if 'cycle_accuracy' in logs:
            text += f'  cycle accuracy {logs["cycle_accuracy"]:.3f}'
        if step > first_step:
            elapsed = now - start
            clips = self.model.clips_seen - first_clip
            left = elapsed / (step - first_step) * (self._steps - step)
            text += f'  {clips / elapsed:.1f} clips/s  {duration(left)} left'
        return text


class FrameCounter:
    """Keeps a line up to date that says how many frames of a video are done, how fast, how long yet.

    In a terminal the line is rewritten twice a second; elsewhere there is one every 30 seconds.
    """

    def __init__(self, task: str, expected: int | None, stream: TextIO | None = None):
        """Sets the goal.

        Args:
          task: what is done to the frames, the line's first word.
          expected: how many frames there are, about; None if that is not known.
          stream: where to; None for standard output.
        """
        self._task = task
        self._expected = expected
        self._line = Line(stream)
        self._count = 0

    def show(self, count: int) -> None:
        """So many frames are done."""
        now = time.perf_counter()
        first, self._count = not self._count, count
        if first:
            # Graphs are traced for the first frame; counting from its end keeps that out.
            self._start = self._shown = now
        elif now - self._shown >= self._line.pause:
            self._shown = now
            self._line.write(self.line(now))

    def finish(self) -> None:
        """Prints the last line, and leaves it standing."""
        if self._count:
            self._expected = None
            self._line.write(self.line(time.perf_counter()))
            self._line.leave()

    def line(self, now: float) -> str:
        """Says how far the work is."""
        text = f'{self._task}: {self._count:,} '
        text += f'of about {self._expected:,} frames' if self._expected else 'frames'
        if self._count > 1:
            rate = (self._count - 1) / (now - self._start)
            text += f'  {rate:.1f} frames/s'
            if self._expected:
                text += f'  {duration(max(0, self._expected - self._count) / rate)} left'
        return text


def duration(seconds: float) -> str:
    """Writes a duration as people say it: 45 s, 12 min, 3 h 20 min, 2 d 5 h."""
    minutes = round(seconds / 60)
    if seconds < 59.5:
        return f'{seconds:.0f} s'
    if minutes < 60:
        return f'{minutes} min'
    hours = round(minutes / 60)
    if minutes < 24 * 60:
        return f'{minutes // 60} h {minutes % 60} min'
    return f'{hours // 24} d {hours % 24} h'
