"""The lock of a model folder: only one training may write to it."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import fcntl
import os
import socket

from absl import logging

from stfc3_tf import errors
from stfc3_tf.training.run_folder import RunFolder


@contextlib.contextmanager
def held(folder: RunFolder) -> Iterator[None]:
    """Keep other trainings out of a folder during the block.

    The operating system frees the lock when the process ends, however it ends. The lock works
    between all processes of a machine, and between machines where the shared file system passes
    `flock` on, as NFS 4 and Lustre do. Paths on object stores (`s3://`, `gs://`) cannot be locked:
    there the user must make sure that only one training writes to a folder.

    Args:
      folder: an existing one.

    Raises:
      errors.UserError: another training holds the lock.
    """
    if '://' in folder.path:
        yield
        return
    with open(folder.lock, 'a+') as file:
        _lock(file.fileno(), folder)
        file.truncate(0)
        file.write(f'process {os.getpid()} on {socket.gethostname()}\n')
        file.flush()
        yield


def _lock(descriptor: int, folder: RunFolder) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise errors.UserError(
            f'--model_dir={folder.path}: another training writes there ({_holder(folder)}). '
            'Wait for its end, stop it, or choose another folder.'
        ) from error
    except OSError as error:
        logging.warning(
            '%s cannot be locked (%s): make sure that no other training writes there.',
            *(folder.path, error.strerror),
        )


def _holder(folder: RunFolder) -> str:
    with open(folder.lock, errors='replace') as file:
        return file.readline().strip() or 'an unknown process'
