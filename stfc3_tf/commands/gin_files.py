"""The gin files of this project: in gin/ of a checkout, or inside an installed package."""

from __future__ import annotations

import os
import pathlib

_PACKAGE = pathlib.Path(__file__).parents[1]

FOLDER = next(
    folder for folder in (_PACKAGE / 'gin_files', _PACKAGE.parent / 'gin') if folder.is_dir()
)


def find(path: str) -> str:
    """Return the path of a gin file that may be given by name, such as small/stfc3.gin.

    Args:
      path: a path, which is returned if the file exists; or the path of a file of this project,
        with or without gin/ in front.

    Returns:
      The path of the file; `path` itself if there is no such file anywhere.
    """
    if os.path.exists(path) or '://' in path:
        return path
    own = FOLDER / path.removeprefix('gin/')
    return str(own) if own.is_file() else path
