"""Hides TensorFlow's messages while it writes a model; --verbosity=1 shows them."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import logging as standard_logging

from absl import logging

from stfc3_tf import stack


@contextlib.contextmanager
def hide_logged() -> Iterator[None]:
    """Show only warnings and errors of TensorFlow's loggers in the block."""
    if _wanted():
        yield
        return
    loggers = [standard_logging.getLogger(name) for name in ('absl', 'tensorflow')]
    for logger in loggers:
        logger.addFilter(_is_warning)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(_is_warning)


@contextlib.contextmanager
def hide_printed() -> Iterator[None]:
    """Hide what TensorFlow's libraries print to standard error, unless the block fails."""
    if _wanted():
        yield
        return
    with stack.kept_errors():
        yield


def _wanted() -> bool:
    return logging.get_verbosity() >= logging.DEBUG


def _is_warning(record: standard_logging.LogRecord) -> bool:
    return record.levelno >= standard_logging.WARNING
