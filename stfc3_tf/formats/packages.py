"""Packages that only some formats need."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from stfc3_tf import errors


def needed(package: str, purpose: str) -> Any:
    """Import a package and return it.

    Args:
      package: its name.
      purpose: what it is needed for, such as 'COCO files'.

    Raises:
      errors.UserError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise errors.UserError(
            f'{purpose} need the package {package.partition(".")[0]}: pip install '
            '"stfc3-tf[formats]", or EXTRAS=formats bash tools/setup.sh in a checkout.'
        ) from error
