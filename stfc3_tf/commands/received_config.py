"""Configurations that come with a model: only settings are read, nothing in them is run.

A gin file is code: it can import modules and, with dynamic registration, name any function of them
as the value of a setting. A `config.gin` in the folder of a run may come from a stranger. It is
parsed without imports and includes. It may name only what the process has already registered, and
as values only parts of a network, its training and its views.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gin
from gin import config_parser
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.storage import object_store

# Modules whose functions a setting may not name: they read or write files, or start a run.
_WITH_EFFECTS = (
    'stfc3_tf.annotation.',
    'stfc3_tf.benchmarks.',
    'stfc3_tf.cluster.',
    'stfc3_tf.reproduction.',
    'stfc3_tf.serving.',
    'stfc3_tf.train.',
    'tools.',
)
_WITHOUT_EFFECTS = ('stfc3_tf.benchmarks.held_out_score.',)
_LONGEST = 1 << 20


def read(path: str) -> str:
    """Return the text of a configuration.

    Raises:
      errors.UserError: the file cannot be read, or is not text.
    """
    try:
        contents = object_store.read(path)
    except tf.errors.OpError as error:
        raise errors.UserError(f'{path} cannot be read: {errors.one_line(error)}') from error
    if len(contents) > _LONGEST:
        raise errors.UserError(
            f'{path} is {len(contents)} bytes long; a configuration has at most {_LONGEST}.'
        )
    try:
        return contents.decode()
    except UnicodeDecodeError as error:
        raise errors.UserError(f'{path} is not text in UTF-8: {error}') from error


def parse(text: str, origin: str) -> None:
    """Apply the settings of a configuration.

    Args:
      text: gin statements.
      origin: the file that they come from, for messages.

    Raises:
      errors.UserError: the text is not valid, has imports or includes, or names something that may
        not be named.
    """
    try:
        for statement in config_parser.ConfigParser(text, _References()):
            _check(statement)
        with gin.unlock_config():
            gin.parse_config(text)
    # Damaged text fails in gin, in Python's tokenizer and in its parser of literals.
    except Exception as error:
        raise errors.UserError(
            f'{origin} is not the configuration of a run: {errors.one_line(error)}'
        ) from error


class _References(config_parser.ParserDelegate):
    """Checks the names in values without creating what they name."""

    def configurable_reference(self, scoped_selector: str, evaluate: bool) -> None:
        """Raise ValueError unless a value may name this."""
        del evaluate
        selector = scoped_selector.rsplit('/', 1)[-1]
        for configurable in _registered(selector):
            if _has_effects(configurable):
                raise ValueError(f'a setting may not be @{scoped_selector}')

    def macro(self, name: str) -> None:
        """Accept a macro, whose value is a setting of its own."""


def _has_effects(configurable: Any) -> bool:
    """Return whether calling it reads or writes files, or starts a run."""
    module = f'{getattr(configurable.wrapped, "__module__", "")}.'
    if module in _WITHOUT_EFFECTS:
        return False
    return configurable.name == 'train' or module.startswith(_WITH_EFFECTS)


def _registered(selector: str) -> Iterator[Any]:
    """Yield what gin knows by a name; raise ValueError if there is nothing."""
    found = gin.config._REGISTRY.get_all_matches(selector)
    if not found:
        raise ValueError(f'@{selector} is not a configurable of this package')
    yield from found


def _check(statement: Any) -> None:
    if isinstance(statement, config_parser.ImportStatement):
        raise ValueError(f'it imports {statement.module}, which the configuration of a run may not')
    if isinstance(statement, config_parser.IncludeStatement):
        raise ValueError(
            f'it includes {statement.filename}, which the configuration of a run may not'
        )
