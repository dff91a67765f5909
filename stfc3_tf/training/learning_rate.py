"""Checks that the learning rate's schedule and the length of the run fit together."""

from __future__ import annotations

from typing import Any

from absl import logging
import numpy as np
import tensorflow as tf

from stfc3_tf import errors

_ADVICE = (
    "give the schedule (such as CosineDecay.decay_steps; STEPS in the project's files) and "
    'train.steps the same length'
)

# No optimiser learns with more, and float32 does not hold much more.
_MOST = 1e6


def configured(optimizer: tf.keras.optimizers.Optimizer) -> float | dict[str, Any]:
    """Return the learning rate of an optimiser's configuration, or that of its schedule."""
    # `optimizer.learning_rate` is a variable, also where there is a schedule.
    return getattr(optimizer, 'inner_optimizer', optimizer).get_config()['learning_rate']


def check(optimizer: tf.keras.optimizers.Optimizer, steps: int) -> None:
    """Check that the learning rate lasts for the run; warn if the run ends before its decay.

    Schedules that Keras does not know are not checked.

    Args:
      optimizer: with a constant rate or a schedule.
      steps: of the whole run.

    Raises:
      errors.UserError: the rate of the last step is 0 or too high.
    """
    rate = configured(optimizer)
    if not isinstance(rate, dict):
        _check_last(rate, steps)
        return
    try:
        schedule = tf.keras.optimizers.schedules.deserialize(rate)
        last = float(schedule(steps - 1))
    except TypeError:
        return
    _check_last(last, steps)
    highest = max(float(schedule(int(step))) for step in np.linspace(0, steps - 1, 20))
    final = float(schedule(2**30))
    if last > 0.5 * highest and final < 0.5 * last:
        logging.warning(
            'The run ends before its learning rate falls: at step %d, the last, the rate is %.3g, '
            '%.0f %% of the highest, and the schedule would lower it to %.3g. To end on the low '
            'rate, %s.',
            *(steps, last, 100 * last / highest, final, _ADVICE),
        )


def _check_last(rate: float, steps: int) -> None:
    if rate <= 0:
        raise errors.UserError(
            f'The learning rate of step {steps}, the last, is {float(rate):g}: {_ADVICE}.'
        )
    if not rate <= _MOST:
        raise errors.UserError(
            f'The learning rate of step {steps}, the last, is {float(rate):g}: give at most '
            f'{_MOST:g}.'
        )
