"""Encoders that come with this package: one folder each, in `stfc3_tf/encoders`."""

from __future__ import annotations

import os
import pathlib
import re

from stfc3_tf import errors

DEFAULT = 'stfc3-small'  # Used by commands without a given encoder.
FOLDER = pathlib.Path(__file__).parents[1] / 'encoders'


def names() -> list[str]:
    """Return the names of all encoders that come with this package."""
    if not FOLDER.is_dir():
        return []
    return sorted(entry.name for entry in FOLDER.iterdir() if any(entry.glob('*')))


def is_name(text: str) -> bool:
    """Return whether a text is a name, not a path: a plain word for which no file exists."""
    return bool(re.fullmatch(r'[\w-]+(\.[\w-]+)*', text)) and not os.path.exists(text)


def folder_of(path_or_name: str) -> str:
    """Return the folder of an encoder that comes with this package; a path as it is.

    Args:
      path_or_name: a path, or one of `names()`.

    Raises:
      errors.UserError: there is no encoder of that name.
    """
    return folder(path_or_name) if is_name(path_or_name) else path_or_name


def folder(name: str) -> str:
    """Return the folder of an encoder that comes with this package.

    Args:
      name: one of `names()`.

    Raises:
      errors.UserError: there is no such encoder.
    """
    if name not in names():
        known = ', '.join(names()) or 'none'
        raise errors.UserError(
            f'{name!r} is neither a file or folder here nor an encoder that comes with stfc3_tf, '
            f'which are: {known}.'
        )
    return str(FOLDER / name)
