"""The frame rate of clips: one for all, or another for each."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from stfc3_tf import checks, errors


class FrameRates(NamedTuple):
    """The frame rates that clips have, in frames per second.

    Each clip draws its own, evenly on a logarithmic scale. A video that is too short for it is read
    at the highest.

    Attributes:
      low: the lowest rate.
      high: the highest rate; equal to `low` if all clips have one.
    """

    low: float
    high: float

    def drawn(self, generator: np.random.Generator) -> float:
        """Draw a rate, evenly on a logarithmic scale: half of them below sqrt(low * high)."""
        return float(np.exp(generator.uniform(np.log(self.low), np.log(self.high))))


def of_setting(setting: str, value: Any) -> FrameRates:
    """Return the frame rates that a setting means.

    Args:
      setting: its name, for the message.
      value: a number for all clips, or the lowest and the highest rate.

    Returns:
      The rates.

    Raises:
      errors.UserError: the value is neither.
    """
    if not isinstance(value, (list, tuple)):
        checks.frame_rate(setting, value)
        return FrameRates(value, value)
    if len(value) != 2:
        raise errors.UserError(
            f'{setting}={checks.shown(value)}: give one rate, or the lowest and the highest.'
        )
    for rate in value:
        checks.frame_rate(setting, rate)
    low, high = value
    if low > high:
        raise errors.UserError(f'{setting}={checks.shown(value)}: give the lowest rate first.')
    return FrameRates(low, high)
