"""The start and end of every command: flags, error messages, exit status.

A process that has read clips can deadlock while Python deletes objects: the destructor of a tf.data
iterator, called with the interpreter's lock held, waits for a reader that needs the same lock.
So a command never deletes its objects. Once its status is known, exit handlers run, output is
flushed and the process ends at once, also while an exception still keeps everything alive.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Sequence
import logging as std_logging
import multiprocessing
import os
import sys
import traceback
from typing import NoReturn

from absl import app, flags, logging

from stfc3_tf import errors, stopping
from stfc3_tf.commands import flag_errors
from stfc3_tf.storage import object_store

Main = Callable[[Sequence[str]], 'int | None']

_STDOUT = 1  # The number of its file.
_UNREAD = 128 + stopping.UNREAD  # As a shell says.


def run(main: Main) -> None:
    """Run `main` under absl and end the process with its status.

    A `UserError` is printed without a traceback and gives status 1, an interrupt 130, a signal that
    `stopping` handles 128 + its number, output that nobody reads any more 141. A second interrupt
    ends the process at once. Object stores that a flag names are registered first.

    Args:
      main: takes the command line's positional arguments, of which there are none; returns the
        status, or None for 0.
    """

    def main_and_exit(arguments: Sequence[str]) -> NoReturn:
        """Run `main`; never return, see the module."""
        stopping.end_on_closed_pipe(False)
        logging.get_absl_handler().setFormatter(_LogLine())
        try:
            object_store.register(*_paths_in_flags())
            status = main(arguments) or 0
        except BaseException as error:
            # Exit inside this block, while the error still keeps all objects of the run alive.
            exit_now(_show(error))
        exit_now(status)

    try:
        stopping.handle_interrupts()
        stopping.end_on_closed_pipe(True)  # While absl prints help.
        app.run(main_and_exit, flags_parser=flag_errors.parse)
    except KeyboardInterrupt as error:  # Before or after `main`.
        exit_now(_show(error))


def exit_now(status: int) -> NoReturn:
    """Run exit handlers, flush the output and end the process without deleting any object."""
    try:
        # An exit handler of Python would wait for them; an interrupt may have kept one from its
        # end.
        for child in multiprocessing.active_children():
            child.kill()
        atexit._run_exitfuncs()
    finally:
        try:
            logging.flush()
            sys.stderr.flush()
            sys.stdout.flush()
        except BrokenPipeError:
            status = status or _UNREAD
        except OSError as error:
            status = status or 1
            os.write(2, f'error: the output cannot be written: {error}\n'.encode())
        finally:
            os._exit(stopping.status() or status)


class _LogLine(std_logging.Formatter):
    """Writes `10:31:10 message` or `10:31:10 warning: message`."""

    def format(self, record: std_logging.LogRecord) -> str:
        """Return the line of a record, and the traceback that belongs to it."""
        kind = '' if record.levelno <= std_logging.INFO else f'{record.levelname.lower()}: '
        return f'{self.formatTime(record, "%H:%M:%S")} {kind}{super().format(record)}'


def _show(error: BaseException) -> int:
    """Print what ended a command; return its exit status."""
    logging.flush()
    if stopping.status():
        # An error after the signal is a consequence of it.
        if line := stopping.last_line():
            print(line, file=sys.stderr)
        return stopping.status()
    if isinstance(error, SystemExit):
        return _status_of(error)
    if isinstance(error, KeyboardInterrupt):
        print('interrupted', file=sys.stderr)
        return 130
    if isinstance(error, BrokenPipeError) and stopping.is_unread(_STDOUT):
        stopping.drop_unread_output()  # Exit handlers may print, too.
        return _UNREAD
    if isinstance(error, errors.UserError):
        # gin adds which configurable was being called; the message already names the setting.
        print('error:', str(error).split('\n  In call to configurable')[0], file=sys.stderr)
    elif errors.is_no_room(error):
        print(f'error: There is no room left: {errors.one_line(error)}', file=sys.stderr)
    else:
        traceback.print_exception(type(error), error, error.__traceback__)
    return 1


def _status_of(error: SystemExit) -> int:
    """Return the status that Python gives to `sys.exit(code)`; a text is printed, status 1."""
    if error.code is None or isinstance(error.code, int):
        return int(error.code or 0)
    print(error.code, file=sys.stderr)
    return 1


def _paths_in_flags() -> list[str]:
    """Return the values of all flags that were given; `configuration` reads gin bindings itself."""
    given = (name for name in flags.FLAGS if flags.FLAGS[name].present)
    return [str(flags.FLAGS[name].value) for name in given if name != 'gin_bindings']
