"""Paths on object stores: s3://, gs:// and others that TensorFlow reads and writes through tf.io.gfile.

What is different there, and where it is seen to:

    s3:// and some others are known to TensorFlow only once tensorflow-io is loaded; then the process
    aborts as it exits: `register`
    a store that does not answer makes its files look missing: `check`, `reporting`
    reading at or past the end of a file crashes, on s3://: `File`, `read`, `fetched`, `fetched_checkpoint`
    folders cannot be renamed: `stfc3_tf.writing`

A request that fails (connection refused or reset, status 5xx) is sent again by the store's own client, at
growing intervals and a bounded number of times: see docs/object_stores.md for how to set it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import contextlib
import ctypes
import io
import os
import posixpath
import re
import tempfile

from absl import logging
import tensorflow as tf

from stfc3_tf import errors

# TensorFlow knows gs:// by itself.
_OF_TENSORFLOW_IO = ('s3', 'az', 'hdfs', 'viewfs', 'har')
_OBJECT_STORES = ('s3', 'gs', 'az')
# Those whose paths begin with a bucket that can be asked for.
_WITH_BUCKETS = ('s3', 'gs')
_PATH = re.compile(r'\b(?P<scheme>[a-z][a-z0-9]*)://[^\s\'",;()]+')
# What a client gives up with after its own retries; absent files and missing rights are no part of it.
_NO_ANSWER = (
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)


def is_object_store(path: str) -> bool:
    """Whether files at `path` appear whole or not at all, and folders are but common beginnings of names."""
    return path.startswith(tuple(f'{scheme}://' for scheme in _OBJECT_STORES))


def register(*texts: str) -> None:
    """Makes the file systems usable that texts name.

    To be called before anything else is done with such paths. What is registered stays so.

    Args:
      texts: paths, or texts with paths in them such as gin bindings.

    Raises:
      errors.UserError: a bucket does not exist, or its store does not answer.
    """
    found = [match for text in texts for match in _PATH.finditer(text)]
    needs_library = any(match['scheme'] in _OF_TENSORFLOW_IO for match in found)
    if needs_library:
        _load_tensorflow_io()
    try:
        for path in {_bucket(match[0]): match[0] for match in found}.values():
            check(path)
    finally:
        if needs_library:
            _leave_without_destructors()


def check(path: str) -> None:
    """Makes sure that the store of a path answers; on other file systems and stores without buckets does nothing.

    Raises:
      errors.UserError: it does not, or there is no such bucket.
    """
    bucket = _bucket(path)
    if bucket is None:
        return
    try:
        tf.io.gfile.stat(bucket)
    except tf.errors.NotFoundError as error:
        raise errors.UserError(f'{path}: there is no bucket {bucket}.') from error
    except (tf.errors.PermissionDeniedError, tf.errors.UnauthenticatedError):
        # Rights to some of its files only are enough to go on.
        logging.warning(
            '%s may not be listed with these credentials. If files there seem to be missing, mend those first.',
            bucket,
        )
    except tf.errors.OpError as error:
        raise _unanswered(path, error) from error


@contextlib.contextmanager
def reporting(path: str) -> Iterator[None]:
    """Tells what failed in the block because of the store from what is otherwise wrong with a file.

    Args:
      path: what the block reads or writes.

    Raises:
      errors.UserError: the store did not answer. Anything else is raised as it was.
    """
    try:
        yield
    except _NO_ANSWER as error:
        if not is_object_store(path):
            raise
        raise _unanswered(path, error) from error
    except tf.errors.NotFoundError:
        # A file is also called missing where its store does not answer.
        check(path)
        raise


class File(io.RawIOBase):
    """A file to read at random that never asks the store for bytes past its end, which is safe on s3:// too.

    Args:
      path: on any file system TensorFlow knows.

    Raises:
      tf.errors.OpError: there is no such file.
    """

    def __init__(self, path: str):
        super().__init__()
        self._size = tf.io.gfile.stat(path).length
        self._file = tf.io.gfile.GFile(path, 'rb')
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._place)
        wanted = left if size is None or size < 0 else min(size, left)
        if not wanted:
            return b''
        self._file.seek(self._place)
        contents = self._file.read(wanted)
        self._place += len(contents)
        return contents

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: memoryview) -> int:
        contents = self.read(len(buffer))
        buffer[: len(contents)] = contents
        return len(contents)

    def close(self) -> None:
        self._file.close()
        super().close()


def read(path: str) -> bytes:
    """Reads a whole file, at once.

    Raises:
      errors.UserError: the store did not answer.
      tf.errors.OpError: there is no such file.
    """
    with reporting(path), File(path) as file:
        return file.read()


@contextlib.contextmanager
def fetched(folder: str) -> Iterator[str]:
    """A folder on this machine: the given one, or a copy of one on an object store that goes with the block."""
    with contextlib.ExitStack() as stack:
        if is_object_store(folder):
            local = stack.enter_context(tempfile.TemporaryDirectory())
            for place, _, names in tf.io.gfile.walk(folder):
                here = posixpath.join(local, posixpath.relpath(place, folder))
                _fetch([posixpath.join(place, name) for name in names], here)
            folder = local
        yield folder


@contextlib.contextmanager
def fetched_checkpoint(prefix: str) -> Iterator[str]:
    """The prefix of a checkpoint on this machine, in the manner of `fetched`."""
    with contextlib.ExitStack() as stack:
        if is_object_store(prefix):
            local = stack.enter_context(tempfile.TemporaryDirectory())
            _fetch(tf.io.gfile.glob(f'{prefix}.*'), local)
            prefix = posixpath.join(local, posixpath.basename(prefix))
        yield prefix


def _fetch(files: Iterable[str], folder: str) -> None:
    os.makedirs(folder, exist_ok=True)
    for path in files:
        with open(posixpath.join(folder, posixpath.basename(path)), 'wb') as file:
            file.write(read(path))


def _unanswered(path: str, error: tf.errors.OpError) -> errors.UserError:
    endpoint = os.environ.get('S3_ENDPOINT')
    at = f' at S3_ENDPOINT={endpoint}' if endpoint and path.startswith('s3:') else ''
    return errors.UserError(
        f'{path}: its store{at} does not answer ({_reason(error)}), also when asked again. Once the network, the '
        'endpoint and the credentials are right, run the same command again: what was finished is kept.'
    )


def _reason(error: tf.errors.OpError) -> str:
    return (error.message.strip().splitlines() or [type(error).__name__])[0]


def _bucket(path: str) -> str | None:
    """The root of a path's bucket, or None where there are no buckets."""
    scheme, separator, rest = path.partition('://')
    if not separator or scheme not in _WITH_BUCKETS:
        return None
    return f'{scheme}://{rest.split("/")[0]}/'


def _load_tensorflow_io() -> None:
    # Without it, what a read gets after a request that failed and was repeated is garbled. With it, a read that
    # begins at the end of a file crashes: see `read`.
    os.environ['S3_DISABLE_MULTI_PART_DOWNLOAD'] = '1'
    import tensorflow_io  # noqa: F401 Loading it is what registers.


def _leave_without_destructors() -> None:
    """Ends the process, when it exits, before the C++ library of s3 aborts it ("pure virtual method called").

    By then all of Python's own work of exiting is done, and the status is the one it exits with.
    """
    library = ctypes.CDLL(None)
    # C calls what was registered last first, so this must come after the library's first use. Where the
    # C library has no on_exit (it is glibc's), the status stays that of the abort, 134.
    if hasattr(library, 'on_exit'):
        library.on_exit(library._exit, None)
