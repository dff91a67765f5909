"""Locks of folders: only one process works in a folder at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import fcntl
import os
import socket

from absl import logging

from stfc3_tf import errors


@contextlib.contextmanager
def held(path: str, refusal: Callable[[str], str]) -> Iterator[None]:
    """Keep others out during the block.

    The operating system frees the lock when the process ends, however it ends. The lock works
    between all processes of a machine, and between machines where the shared file system passes
    `flock` on, as NFS 4 and Lustre do. Where a file system knows no locks, or the file cannot be
    written, a warning is logged. Paths on object stores (`s3://`, `gs://`) cannot be locked: there
    the user must make sure that only one process writes to a folder.

    Args:
      path: of the lock's file. It is made if needed, with its folder, and stays.
      refusal: what is said if another one holds the lock; called with the name of that one.

    Raises:
      errors.UserError: another one holds the lock.
    """
    with contextlib.ExitStack() as opened:
        if '://' not in path:
            _take(path, refusal, opened)
        yield


def _take(path: str, refusal: Callable[[str], str], opened: contextlib.ExitStack) -> None:
    try:
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
        opened.callback(os.close, file)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise errors.UserError(refusal(_holder(path))) from error
    except OSError as error:
        logging.warning(
            '%s cannot be locked (%s): make sure that no other command writes there.',
            *(path, error.strerror),
        )
        return
    with contextlib.suppress(OSError):  # On a full disk the lock holds without a name.
        os.ftruncate(file, 0)
        os.write(file, f'process {os.getpid()} on {socket.gethostname()}\n'.encode())


def _holder(path: str) -> str:
    with open(path, errors='replace') as file:
        return file.readline().strip() or 'an unknown process'
