"""Checks of settings: what means nothing is refused by name before any work is done."""

from collections.abc import Sequence
import numbers
from typing import Any

from stfc3_tf import errors


def whole_number(setting: str, value: Any, least: int = 1) -> None:
    """Raises UserError unless `value` is an integer >= `least`."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise errors.UserError(f'{setting}={value!r}: give a whole number >= {least}.')


def positive_number(setting: str, value: Any) -> None:
    """Raises UserError unless `value` is a number > 0; infinity is one."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not value > 0:
        raise errors.UserError(f'{setting}={value!r}: give a number > 0.')


def switch(setting: str, value: Any) -> None:
    """Raises UserError unless `value` is True or False."""
    if not isinstance(value, bool):
        raise errors.UserError(f'{setting}={value!r}: give True or False.')


def one_of(setting: str, value: Any, choices: Sequence[str]) -> None:
    """Raises UserError unless `value` is one of the choices."""
    if value not in tuple(choices):
        raise errors.UserError(f'{setting}={value!r} is none of {", ".join(choices)}.')
