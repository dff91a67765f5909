"""The place where a local file or folder is made before it replaces an older one.

It is a hidden folder beside the target, `.NAME.stfc3-writing`, which only this module uses:

    lock    held by the process that writes; the system releases it when the process ends
    new/    the new file or folder
    old/    what was there, between two renames

The next process clears what a killed one left there; first it moves `old` back if nothing has
replaced it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import shutil
import time
from typing import Any

from stfc3_tf import errors

_SUFFIX = '.stfc3-writing'
# File systems allow names of 255 bytes.
_LONGEST_NAME = 200
_POLL_SECONDS = 0.02
# Linux' <fcntl.h> and <linux/fs.h>.
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


class Workplace(contextlib.AbstractContextManager['Workplace']):
    """The workplace of one file or folder, held by one process at a time.

    Args:
      path: the file or folder to make. If it is a link, what it points at is replaced.
      patience: seconds to wait while another process writes the same.

    Attributes:
      partial: where to make it.

    Raises:
      errors.UserError: another process writes the same.
      OSError: the folder cannot be written.
    """

    def __init__(self, path: str, patience: float = 0.5):
        self._path = path
        self._target = os.path.realpath(path)
        parent, name = os.path.split(self._target)
        self._folder = os.path.join(parent, f'.{_short(name)}{_SUFFIX}')
        self.partial = os.path.join(self._folder, 'new', name)
        self._old = os.path.join(self._folder, 'old')
        self._lock = self._acquire(time.monotonic() + patience)
        try:
            self._recover()
            os.mkdir(os.path.dirname(self.partial))
        except BaseException:
            os.close(self._lock)
            raise

    def __exit__(self, *error: Any) -> None:
        try:
            shutil.rmtree(os.path.dirname(self.partial), ignore_errors=True)
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self._folder, 'lock'))
                os.rmdir(self._folder)
        finally:
            os.close(self._lock)

    def commit(self) -> None:
        """Move what was made to its place and remove what was there."""
        made, target = self.partial, self._target
        if os.path.isdir(made) or os.path.isdir(target):
            self._replace_folder(made, target)
        else:
            os.replace(made, target)

    def _replace_folder(self, made: str, target: str) -> None:
        if not os.path.lexists(target):
            os.rename(made, target)
        elif not _exchange(made, target):
            os.rename(target, self._old)
            os.rename(made, target)
            _remove(self._old)

    def _recover(self) -> None:
        """Undo what a killed process left half done, and clear its remains."""
        if os.path.lexists(self._old):
            if os.path.lexists(self._target):
                _remove(self._old)
            else:
                os.rename(self._old, self._target)
        _remove(os.path.dirname(self.partial))

    def _acquire(self, deadline: float) -> int:
        while True:
            descriptor = self._try_to_acquire()
            if descriptor is not None:
                return descriptor
            if time.monotonic() >= deadline:
                raise errors.UserError(
                    f'Another process is writing {self._path}: wait until it has ended, or choose '
                    'another name.'
                )
            time.sleep(_POLL_SECONDS)

    def _try_to_acquire(self) -> int | None:
        lock = os.path.join(self._folder, 'lock')
        try:
            os.makedirs(self._folder, exist_ok=True)
        except FileExistsError:
            # It was there, and another process has just ended and removed it.
            return None
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            # Another process has just ended and removed the folder.
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(lock)):
                return descriptor
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
                # This file system has no locks.
                return descriptor
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.ENOENT):
                os.close(descriptor)
                raise
        os.close(descriptor)
        return None


def clear(folder: str) -> None:
    """Remove the workplaces below a folder that killed processes left after their last rename."""
    for place, names, _ in os.walk(folder):
        for name in names:
            if name.startswith('.') and name.endswith(_SUFFIX):
                _clear(os.path.join(place, name[1 : -len(_SUFFIX)]), os.path.join(place, name))


def _clear(path: str, remains: str) -> None:
    # Something that was moved to `old` waits for the next one who writes that path.
    if not os.path.lexists(os.path.join(remains, 'old')):
        with contextlib.suppress(errors.UserError, OSError), Workplace(path, patience=0):
            pass


def _short(name: str) -> str:
    encoded = os.fsencode(name)
    if len(encoded) <= _LONGEST_NAME:
        return name
    return hashlib.sha256(encoded).hexdigest()


def _exchange(one: str, other: str) -> bool:
    """Exchange two paths in one step; return False if the system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), 'renameat2', None)
    if rename is None:
        return False
    paths = os.fsencode(one), os.fsencode(other)
    return rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
