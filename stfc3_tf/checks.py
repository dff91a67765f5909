"""Checks of settings: an invalid value is refused, with its name, before any work is done."""

from collections.abc import Collection
import numbers
from typing import Any

from stfc3_tf import errors

_LONGEST_SHOWN = 200
# What 32 bits hold: TensorFlow counts with them, and no setting needs more.
LARGEST = 2**31 - 1
# Between them, quotients of times stay numbers, and shares of similar cells do in float32.
_FRAME_RATES = (1e-6, 1e6)
_TEMPERATURES = (1e-6, 1e6)


def whole_number(setting: str, value: Any, least: int = 1, most: int = LARGEST) -> None:
    """Raise `UserError` unless a value is an integer from `least` to `most`.

    Args:
      setting: its name, for the message.
      value: what was given.
      least: the smallest value allowed.
      most: the largest value allowed.
    """
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or not least <= value <= most:
        raise errors.UserError(
            f'{setting}={shown(value)}: give a whole number from {least} to {most}.'
        )


def positive_number(setting: str, value: Any) -> None:
    """Raise `UserError` unless a value is a number > 0.

    Args:
      setting: its name, for the message.
      value: what was given.
    """
    # Compared as it is: a whole number may be too large for a float.
    if not _is_number(value) or not value > 0:
        raise errors.UserError(f'{setting}={shown(value)}: give a number > 0.')


def between(setting: str, value: Any, least: float, most: float) -> None:
    """Raise `UserError` unless a value is a number from `least` to `most`.

    Args:
      setting: its name, for the message.
      value: what was given.
      least: the smallest value allowed.
      most: the largest value allowed.
    """
    if not _is_number(value) or not least <= value <= most:
        raise errors.UserError(
            f'{setting}={shown(value)}: give a number from {least:g} to {most:g}.'
        )


def share(setting: str, value: Any) -> None:
    """Raise `UserError` unless a value is a number from 0 to 1."""
    between(setting, value, 0, 1)


def frame_rate(setting: str, value: Any) -> None:
    """Raise `UserError` unless a value can be a number of frames per second."""
    between(setting, value, *_FRAME_RATES)


def temperature(setting: str, value: Any) -> None:
    """Raise `UserError` unless a value can be the temperature of a softmax."""
    between(setting, value, *_TEMPERATURES)


def switch(setting: str, value: Any) -> None:
    """Raise `UserError` unless a value is True or False."""
    if not isinstance(value, bool):
        raise errors.UserError(f'{setting}={shown(value)}: give True or False.')


def one_of(setting: str, value: Any, choices: Collection[str]) -> None:
    """Raise `UserError` unless a value is one of the choices.

    Args:
      setting: its name, for the message.
      value: what was given.
      choices: the values allowed.
    """
    if value not in tuple(choices):
        raise errors.UserError(f'{setting}={shown(value)}: choose one of {", ".join(choices)}.')


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def shown(value: Any) -> str:
    """Return a value as a message shows it, cut if it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f'{text[: _LONGEST_SHOWN - 3]}...'
