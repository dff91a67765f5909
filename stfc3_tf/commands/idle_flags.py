"""Flags that were given and would have no effect."""

from __future__ import annotations

from collections.abc import Iterable

from absl import flags

from stfc3_tf import errors


def refuse(reason: str, idle: Iterable[flags.FlagHolder]) -> None:
    """Raise `UserError` if one of these flags was given.

    Args:
      reason: what does not use them, as the beginning of a sentence: '--figure=scores'.
      idle: the flags that it does not use.
    """
    given = [flag.name for flag in idle if flag.present]
    if given:
        raise errors.UserError(f'{reason} does not use --{", --".join(given)}: leave it out.')
