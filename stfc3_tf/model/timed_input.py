"""A Keras model that measures how long `fit` waits for its input.

Keras fetches a batch and trains on it inside one graph function, where waiting cannot be separated
from computing. Here the batch is fetched first and timed on the host; then the step runs, with the
same `train_step` under the same strategy. On an accelerator the time is right as long as the logs
of every step are read, as Keras does for callbacks: then the device is idle when the wait begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import time
from typing import Any

import tensorflow as tf

Step = Callable[[Any], Mapping[str, tf.Tensor]]


class InputClock:
    """Fetches batches and measures how long that takes.

    Attributes:
      seconds: waited so far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._iterator: Any = None

    def fetch(self, iterator: Any) -> Any:
        """Return the iterator's next batch."""
        # The iterator is kept. Deleting it, as Keras does when `fit` ends or fails, waits for the
        # readers at work with the interpreter's lock held, and these may need the lock.
        self._iterator = iterator
        start = time.perf_counter()
        batch = next(iterator)
        self.seconds += time.perf_counter() - start
        return batch


class TimedModel(tf.keras.Model):
    """A model whose training loop times its input; one step per execution only, Keras' default."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._input_clock = InputClock()

    @property
    def input_seconds(self) -> float:
        """Seconds that all calls of `fit` have waited for input."""
        return self._input_clock.seconds

    def make_train_function(self, force: bool = False) -> Callable[[Any], Mapping[str, tf.Tensor]]:
        """Return what Keras calls for each step, made once unless `force` is set."""
        if self.train_function is None or force:  # type: ignore[has-type]
            clock, step = self._input_clock, _step_function(self)
            self.train_function = lambda iterator: step(clock.fetch(iterator))
        return self.train_function


def _step_function(model: tf.keras.Model) -> Step:
    """Return a training step on a global batch; its logs are the first replica's, as in Keras."""
    strategy = model.distribute_strategy
    run_step = model.train_step
    if model.jit_compile:
        run_step = tf.function(run_step, jit_compile=True)

    def step(batch: Any) -> dict[str, tf.Tensor]:
        logs = strategy.run(run_step, args=(batch,))
        return {name: strategy.experimental_local_results(value)[0] for name, value in logs.items()}

    return step if model.run_eagerly else tf.function(step)
