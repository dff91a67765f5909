"""Signals that end a command early, after cleaning up, with the status 128 + signal.

Python raises the exception of a signal handler between any two instructions: also inside a call
that turns it into another error, or in a destructor, where it is lost. So the signal is noted:
the note determines the exit status, and `check`, called in long loops, raises again.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import multiprocessing
from multiprocessing import resource_tracker
import os
import select
import signal
import sys
import threading
from types import FrameType

UNREAD = 13  # SIGPIPE, which not all systems have.
_COMMANDS = ('stfc3_tf.', 'tools.')
_noted = 0
_outcome = ''
_dropped = False


def prepare_import() -> None:
    """Let Ctrl-C end a command without a traceback while its libraries are imported.

    Nothing is changed where another program imports the package.
    """
    # Python has not yet set sys.argv[0] while it imports the package of the module of `-m`.
    if sys.argv[:1] != ['-m'] or not hasattr(sys, 'orig_argv'):
        return
    if sys.orig_argv[-len(sys.argv)].removeprefix('-m').startswith(_COMMANDS):
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def handle_interrupts() -> None:
    """Raise `KeyboardInterrupt` on Ctrl-C; a second one ends the process at once."""
    signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    global _noted
    signal.signal(number, _end)
    _noted = _noted or number
    raise KeyboardInterrupt


def _end(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)


def end_on_closed_pipe(ends: bool) -> None:
    """Choose what writing to a pipe does that nobody reads any more, as in `stfc3 --help | head`.

    Args:
      ends: whether it ends the process without a word, as it ends other programs. If not,
        `BrokenPipeError` is raised: a command at work cleans up first, and has pipes and sockets
        beside its output.
    """
    if hasattr(signal, 'SIGPIPE'):  # Not on Windows.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL if ends else signal.SIG_IGN)


def is_unread(output: int) -> bool:
    """Return whether an output, 1 or 2, is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(output, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def drop_unread_output() -> None:
    """Write nowhere from now on what nobody reads any more, so that work can be ended well."""
    global _dropped
    _dropped = True
    for output in (1, 2):
        if is_unread(output):
            os.dup2(os.open(os.devnull, os.O_WRONLY), output)


def is_output_dropped() -> bool:
    """Return whether `drop_unread_output` was called."""
    return _dropped


@contextlib.contextmanager
def interrupts_kept_from_children() -> Iterator[None]:
    """Start processes in the block that Ctrl-C does not reach; here it is handled afterwards.

    A terminal sends the signal to all processes of a command.
    """
    # It would unblock the signal when it starts with the first process.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Let this process end as soon as the one that started it has ended, however that ended."""
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def exit_on(*numbers: int, outcome: str = '') -> None:
    """Raise `SystemExit` when one of these signals arrives; later signals are ignored.

    Args:
      *numbers: of the signals.
      outcome: what the last line says of the results.
    """
    global _outcome
    _outcome = outcome
    for number in numbers:
        signal.signal(number, _note)


def status() -> int:
    """Return 128 + the signal that arrived, or 0."""
    return 128 + _noted if _noted else 0


def last_line() -> str:
    """Return what a command says at its end after the signal that arrived; '' if nothing."""
    if _outcome:
        return f'interrupted: {_outcome}'
    return 'interrupted' if _noted == signal.SIGINT else ''


def check() -> None:
    """Raise `SystemExit` again if a signal arrived and its exception was lost.

    Raises:
      SystemExit: with the status 128 + signal.
    """
    if _noted:
        raise SystemExit(status())


def _note(number: int, _frame: object) -> None:
    global _noted
    first, _noted = not _noted, _noted or number
    if first:
        check()
