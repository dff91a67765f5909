"""What every command shares: gin files from flags, file systems that flags name, errors a user can read."""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Callable, Collection, Sequence

from absl import app, flags, logging
import gin
import tensorflow as tf

from stfc3_tf import errors, object_store

_INCLUDE = re.compile(r"""include\s+(['"])(?P<path>.+?)\1\s*(#.*)?$""")


def parse_gin(files: Sequence[str], bindings: Sequence[str]) -> None:
    """Reads gin files and bindings, later ones overriding earlier ones.

    A path named by `include` is relative to the file that names it, so that a configuration means the same
    from anywhere and beside any other.

    Raises:
      errors.UserError: a file does not exist, or a file or binding has a syntax error or names
        something that is not configurable.
    """
    with gin.unlock_config():
        for file in files:
            _parse_file(file, f'--gin_file={file}')
        for binding in bindings:
            parse_text(binding, f'--gin_bindings={binding}')
        gin.finalize()


def _parse_file(path: str, named_by: str) -> None:
    """Parses a file and what it includes, in order."""
    try:
        with object_store.reporting(path), tf.io.gfile.GFile(path) as file:
            lines = file.read().split('\n')
    except (tf.errors.NotFoundError, tf.errors.FailedPreconditionError) as error:
        raise errors.UserError(f'{named_by}: there is no such file.') from error
    begin = 0
    for number, line in enumerate([*lines, None]):
        include = line is not None and _INCLUDE.match(line)
        if include or line is None:
            # Empty lines in front keep the line numbers of gin's messages right.
            parse_text('\n' * begin + '\n'.join(lines[begin:number]), path)
            begin = number + 1
        if include:
            _parse_file(posixpath.join(posixpath.dirname(path), include['path']), f'{path}: {line}')


def parse_text(text: str, origin: str) -> None:
    """Reads bindings from text.

    Args:
      text: gin statements, without includes.
      origin: where it comes from, for messages.

    Raises:
      errors.UserError: it is not valid, or names a store that does not answer.
    """
    object_store.register(text)
    try:
        with gin.unlock_config():
            gin.parse_config(text)
    except (ValueError, SyntaxError, TypeError, AttributeError, RuntimeError) as error:
        raise errors.UserError(f'{origin} is not valid: {error}') from error


def check_bindings_used(bindings: Sequence[str]) -> None:
    """Refuses settings without effect, once everything that reads the configuration was built.

    gin knows the names of parameters, but not whether anything uses a macro or a scope: a misspelt one would be ignored.

    Args:
      bindings: those of the command line; each must have an effect. Of those in files, macros must.

    Raises:
      errors.UserError: naming what nothing uses.
    """
    given = {binding.split('=')[0].strip() for binding in bindings}
    bound = _bound_names(gin.config_str())
    read = _bound_names(gin.operative_config_str())
    unused = bound - {_decisive_binding(name, bound) for name in read}
    idle = sorted(name for name in unused if name in given or '.' not in name)
    if idle:
        raise errors.UserError(
            f'Nothing uses the setting {", ".join(idle)}: is it misspelt, or overridden by another?'
        )


def _bound_names(configuration: str) -> set[str]:
    return set(re.findall(r'^([\w./]+) = ?', configuration, re.MULTILINE))


def _decisive_binding(name: str, bound: Collection[str]) -> str | None:
    """The binding that gives a parameter read as scope/scope/function.parameter its value, if one does.

    It is that of the innermost scope; what a macro calls is read in a scope that bears the macro's name.
    """
    *scopes, parameter = name.split('/')
    candidates = ('/'.join([*scopes[:depth], parameter]) for depth in range(len(scopes), -1, -1))
    return next((candidate for candidate in candidates if candidate in bound), None)


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """Runs `main` under absl; a `UserError` is printed without a traceback and ends with status 1.

    Object stores that a flag names, alone or in a gin binding, are made usable first.
    """

    def guarded(arguments: Sequence[str]) -> int | None:
        if len(arguments) > 1:
            raise app.UsageError(f'Unexpected arguments: {" ".join(arguments[1:])}')
        try:
            object_store.register(*_given())
            return main(arguments)
        except errors.UserError as error:
            logging.flush()
            # gin adds which configurable was being called; the message already names the setting.
            print('error:', str(error).split('\n  In call to configurable')[0], file=sys.stderr)
            return 1

    app.run(guarded)


def _given() -> list[str]:
    """What flags were given, as text."""
    return [str(flags.FLAGS[name].value) for name in flags.FLAGS if flags.FLAGS[name].present]
