"""Flags that can be given several times, each with a name: NAME=PATH."""

from __future__ import annotations

import posixpath

from absl import flags

from stfc3_tf import errors


def read(holder: flags.FlagHolder, form: str = 'NAME=PATH') -> dict[str, str]:
    """Return name -> path of a flag.

    Args:
      holder: the flag, a list of texts.
      form: how the flag is written, for messages.

    Raises:
      errors.UserError: a name or a path is missing, or two have the same name.
    """
    return _collected(holder, form, [text.partition('=')[::2] for text in holder.value])


def read_or_last_parts(holder: flags.FlagHolder) -> dict[str, str]:
    """Return name -> path of a flag; a path without a name is called by its last part.

    Args:
      holder: the flag, a list of texts.

    Raises:
      errors.UserError: see `read`.
    """
    named = (
        text.partition('=')[::2] if '=' in text else (posixpath.basename(text.rstrip('/')), text)
        for text in holder.value
    )
    return _collected(holder, 'NAME=PATH', list(named))


def _collected(holder: flags.FlagHolder, form: str, named: list[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text, (name, path) in zip(holder.value, named):
        if not name or not path:
            raise errors.UserError(f'--{holder.name}={text}: give {form}.')
        if name in found:
            raise errors.UserError(
                f'--{holder.name}: two are called {name}; give {form} with different names.'
            )
        found[name] = path
    return found
