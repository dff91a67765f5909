"""Gin configurations: files, bindings of the command line, and the settings that nothing uses."""

from __future__ import annotations

from collections.abc import Collection, Sequence
import io
import posixpath
import re
import tokenize

import gin
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.commands import gin_files, setting_types
from stfc3_tf.storage import folders, object_store
from stfc3_tf.storage import text as text_files

# What gin raises; for deep nesting a RuntimeError, or from Python 3.12 on a TokenError.
_NOT_VALID = (
    *(ValueError, SyntaxError, TypeError, AttributeError, RuntimeError),
    tokenize.TokenError,
)
_LONGEST_REASON = 500
gin.config.register_finalize_hook(setting_types.check)
_INCLUDE = re.compile(r"""include\s+(['"])(?P<path>.+?)\1\s*(#.*)?$""")


def parse_gin(files: Sequence[str], bindings: Sequence[str]) -> None:
    """Parse gin files, then bindings; later settings override earlier ones.

    A path named by `include` is relative to the file that contains it; where no such file is there,
    it is a path or the name of a file of this project, as on the command line.

    Args:
      files: paths on any file system that TensorFlow knows.
      bindings: single settings, such as 'train.steps = 100'.

    Raises:
      errors.UserError: a file does not exist, or a file or binding has a syntax error, names
        something that is not configurable, or gives a value of the wrong type.
    """
    with gin.unlock_config():
        for file in files:
            _parse_file(gin_files.find(file), f'--gin_file={file}')
        for binding in bindings:
            parse_text(binding, f'--gin_bindings={binding}')
        gin.finalize()


def _parse_file(path: str, named_by: str) -> None:
    """Parse a file and the files that it includes, in order."""
    try:
        lines = text_files.decode(object_store.read(path), path).split('\n')
    except (tf.errors.NotFoundError, tf.errors.FailedPreconditionError) as error:
        raise errors.UserError(f'{named_by}: there is no such file.') from error
    except tf.errors.OpError as error:
        raise errors.UserError(f'{named_by} cannot be read: {errors.first_line(error)}') from error
    begin = 0
    for number, line in enumerate([*lines, None]):
        include = _INCLUDE.match(line) if line is not None else None
        if include or line is None:
            # Empty lines in front keep the line numbers of gin's messages right.
            parse_text('\n' * begin + '\n'.join(lines[begin:number]), path)
            begin = number + 1
        if include:
            beside = posixpath.join(posixpath.dirname(path), include['path'])
            included = beside if folders.exists(beside) else gin_files.find(include['path'])
            _parse_file(included, f'{path}: {line}')


def parse_text(text: str, origin: str) -> None:
    """Parse bindings from text.

    Args:
      text: gin statements, without includes.
      origin: where the text comes from, for messages.

    Raises:
      errors.UserError: the text is not valid, or names an object store that does not answer.
    """
    try:
        object_store.register(*_strings(text))
        with gin.unlock_config():
            gin.parse_config(text)
    except _NOT_VALID as error:
        # gin's messages have several lines.
        reason = ' '.join(str(error).split())[:_LONGEST_REASON]
        raise errors.UserError(f'{origin} is not valid: {reason}') from error


def _strings(text: str) -> list[str]:
    """Return the string literals of gin statements, which may be paths; comments are left out."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError):
        return []  # gin explains the error.
    return [token.string for token in tokens if token.type == tokenize.STRING]


def check_bindings_used(bindings: Sequence[str]) -> None:
    """Refuse settings that have no effect. Call it after all that reads settings is built.

    gin checks the names of parameters, but does not know whether anything uses a macro or a scope:
    it would ignore a misspelt one.

    Args:
      bindings: those of the command line; each must have an effect. Of the settings in files, only
        macros must.

    Raises:
      errors.UserError: naming the settings that nothing uses.
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
    """Return the binding that gives a parameter its value, or None if its default counts.

    The binding of the innermost scope decides. What a macro calls is read in a scope with the
    macro's name.

    Args:
      name: the parameter as it is read, scope/scope/function.parameter.
      bound: the names of all bindings.
    """
    *scopes, parameter = name.split('/')
    candidates = ('/'.join([*scopes[:depth], parameter]) for depth in range(len(scopes), -1, -1))
    return next((candidate for candidate in candidates if candidate in bound), None)
