"""What every command shares: gin files from flags, and errors a user can read."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from absl import app, logging
import gin

from stfc3_tf import errors


def parse_gin(files: Sequence[str], bindings: Sequence[str]) -> None:
    """Reads gin files and bindings, later ones overriding earlier ones.

    Files named by `include` are looked for beside the including file's folder as well as from the
    working folder, so that a configuration runs from anywhere.

    Raises:
      errors.UserError: a file does not exist, or a file or binding has a syntax error or names
        something that is not configurable.
    """
    for file in files:
        if not os.path.isfile(file):
            raise errors.UserError(f'--gin_file={file}: there is no such file.')
        gin.add_config_file_search_path(os.path.dirname(os.path.abspath(file)))
    try:
        gin.parse_config_files_and_bindings(list(files), list(bindings), print_includes_and_imports=False)
    except (ValueError, SyntaxError, IOError, TypeError, AttributeError, RuntimeError) as error:
        raise errors.UserError(
            f'The configuration ({", ".join([*files, *bindings]) or "empty"}) is not valid: {error}'
        ) from error


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """Runs `main` under absl; a `UserError` is printed without a traceback and ends with status 1."""

    def guarded(arguments: Sequence[str]) -> int | None:
        if len(arguments) > 1:
            raise app.UsageError(f'Unexpected arguments: {" ".join(arguments[1:])}')
        try:
            return main(arguments)
        except errors.UserError as error:
            logging.flush()
            # gin adds which configurable was being called; the message already names the setting.
            print('error:', str(error).split('\n  In call to configurable')[0], file=sys.stderr)
            return 1

    app.run(guarded)
