"""Flags that were given and would have no effect."""

from __future__ import annotations

from collections.abc import Iterable

from absl import flags

from stfc3_tf import errors


def refuse(
    reason: str, known: Iterable[flags.FlagHolder], used: Iterable[flags.FlagHolder] = ()
) -> None:
    """Raise `UserError` if one of the known flags was given, and is not used.

    Args:
      reason: what does not use it, as the beginning of a sentence: '--figure=scores'.
      known: flags; one may be there twice.
      used: those among them that have an effect.
    """
    # absl's flags cannot be compared with each other.
    names = {flag.name for flag in used}
    idle = (flag.name for flag in known if flag.present and flag.name not in names)
    given = list(dict.fromkeys(idle))
    if given:
        raise errors.UserError(f'{reason} does not use --{", --".join(given)}: leave it out.')
