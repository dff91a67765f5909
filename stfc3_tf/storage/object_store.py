"""Reading from object stores: s3://, gs:// and others that TensorFlow reaches by tf.io.gfile.

Their differences from disks, and the functions that handle them:

    TensorFlow needs tensorflow-io for s3:// and some others, and with it the process aborts when
    it exits: `register`
    a store that does not answer makes its files look missing: `check`, `reporting`
    on s3://, reading at or past the end of a file crashes: `File`, `read`, `fetched`,
    `fetched_checkpoint`
    folders cannot be renamed: `stfc3_tf.storage.writing`

The store's own client repeats a request that fails (connection refused or reset, status 5xx), at
growing intervals and a limited number of times. docs/object_stores.md says how to set this.
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
from typing import Any

from absl import logging
import tensorflow as tf

from stfc3_tf import errors

# TensorFlow knows gs:// by itself.
_OF_TENSORFLOW_IO = ('s3', 'az', 'hdfs', 'viewfs', 'har')
_OBJECT_STORES = ('s3', 'gs', 'az')
# The paths of these begin with a bucket, whose existence can be checked.
_WITH_BUCKETS = ('s3', 'gs')
_PATH = re.compile(r'\b(?P<scheme>[a-z][a-z0-9]*)://[^\s\'",;()]+')
# TensorFlow finds the variables of checkpoints and models by a glob, in which these have a meaning.
_GLOB = re.compile(r'[*?\[\\]')
# What a client raises after its own retries; missing files and rights give other errors.
_NO_ANSWER = (
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)


def is_object_store(path: str) -> bool:
    """Return whether `path` is on a store of objects, which has no real folders."""
    return path.startswith(tuple(f'{scheme}://' for scheme in _OBJECT_STORES))


def register(*texts: str) -> None:
    """Make the file systems of the paths in texts usable, until the process ends.

    Call it before anything else uses such paths.

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
    """Check that the store of a path answers; do nothing for paths without a bucket.

    Raises:
      errors.UserError: the store does not answer, or there is no such bucket.
    """
    bucket = _bucket(path)
    if bucket is None:
        return
    try:
        tf.io.gfile.stat(bucket)
    except tf.errors.NotFoundError as error:
        raise errors.UserError(f'{path}: there is no bucket {bucket}.') from error
    except (tf.errors.PermissionDeniedError, tf.errors.UnauthenticatedError):
        # Credentials for some of its files are enough to go on.
        logging.warning(
            '%s may not be listed with these credentials. If files there seem missing, correct '
            'the credentials first.',
            bucket,
        )
    except tf.errors.OpError as error:
        raise _unanswered(path, error) from error


def check_text(path: str) -> None:
    """Raise UserError where a path is not in UTF-8: TensorFlow cannot open it."""
    if path.encode(errors='ignore').decode() != path:
        raise errors.UserError(f'{path!a}: the name is not in UTF-8. Rename it.')


@contextlib.contextmanager
def reporting(path: str) -> Iterator[None]:
    """Raise a UserError if the block fails because the store does not answer.

    Args:
      path: what the block reads or writes.

    Raises:
      errors.UserError: the store did not answer. Other errors pass through.
    """
    try:
        yield
    except _NO_ANSWER as error:
        if not is_object_store(path):
            raise
        raise _unanswered(path, error) from error
    except tf.errors.NotFoundError:
        # TensorFlow also reports a file as missing if its store does not answer.
        check(path)
        raise


class File(io.RawIOBase):
    """A file to read in any order. It never reads past its end, which would crash on s3://.

    Args:
      path: on any file system TensorFlow knows.

    Raises:
      errors.UserError: the path is not in UTF-8.
      tf.errors.OpError: there is no such file.
    """

    def __init__(self, path: str):
        super().__init__()
        check_text(path)
        self._size = tf.io.gfile.stat(path).length
        self._file = tf.io.gfile.GFile(path, 'rb')
        self._place = 0

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def seekable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def tell(self) -> int:
        """See `io.RawIOBase`."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See `io.RawIOBase`."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def read(self, size: int = -1) -> bytes:
        """See `io.RawIOBase`."""
        left = max(0, self._size - self._place)
        wanted = left if size is None or size < 0 else min(size, left)
        if not wanted:
            return b''
        self._file.seek(self._place)
        contents = self._file.read(wanted)
        self._place += len(contents)
        return contents

    def readall(self) -> bytes:
        """See `io.RawIOBase`."""
        return self.read()

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase`."""
        contents = self.read(len(buffer))
        buffer[: len(contents)] = contents
        return len(contents)

    def close(self) -> None:
        """See `io.RawIOBase`."""
        self._file.close()
        super().close()


def read(path: str) -> bytes:
    """Return the contents of a file.

    Raises:
      errors.UserError: the store did not answer.
      tf.errors.OpError: there is no such file.
    """
    with reporting(path), File(path) as file:
        return file.read()


@contextlib.contextmanager
def fetched(folder: str) -> Iterator[str]:
    """Yield a local folder that TensorFlow can load a model from.

    Args:
      folder: yielded itself if it can. Of one on an object store, a temporary copy is yielded; of
        one with glob characters in its name, a temporary link.
    """
    with contextlib.ExitStack() as stack:
        if is_object_store(folder):
            local = stack.enter_context(tempfile.TemporaryDirectory())
            for place, _, names in tf.io.gfile.walk(folder):
                here = posixpath.join(local, posixpath.relpath(place, folder))
                _fetch([posixpath.join(place, name) for name in names], here)
            folder = local
        elif _GLOB.search(folder):
            folder = stack.enter_context(_linked(folder))
        yield folder


@contextlib.contextmanager
def fetched_checkpoint(prefix: str) -> Iterator[str]:
    """Yield the prefix of a local checkpoint that TensorFlow can restore, see `fetched`."""
    with contextlib.ExitStack() as stack:
        if is_object_store(prefix):
            local = stack.enter_context(tempfile.TemporaryDirectory())
            folder, name = posixpath.split(prefix)
            files = [file for file in tf.io.gfile.listdir(folder) if file.startswith(f'{name}.')]
            _fetch([posixpath.join(folder, file) for file in files], local)
            prefix = posixpath.join(local, name)
        elif _GLOB.search(prefix):
            folder, name = posixpath.split(prefix)
            prefix = posixpath.join(stack.enter_context(_linked(folder)), name)
        yield prefix


@contextlib.contextmanager
def _linked(folder: str) -> Iterator[str]:
    """Yield a temporary link to a local folder."""
    with tempfile.TemporaryDirectory() as place:
        link = posixpath.join(place, 'folder')
        os.symlink(os.path.abspath(folder), link)
        yield link


def _fetch(files: Iterable[str], folder: str) -> None:
    os.makedirs(folder, exist_ok=True)
    for path in files:
        with open(posixpath.join(folder, posixpath.basename(path)), 'wb') as file:
            file.write(read(path))


def _unanswered(path: str, error: tf.errors.OpError) -> errors.UserError:
    endpoint = os.environ.get('S3_ENDPOINT')
    at = (
        f' at S3_ENDPOINT={_without_credentials(endpoint)}'
        if endpoint and path.startswith('s3:')
        else ''
    )
    return errors.UserError(
        f'{path}: its store{at} does not answer ({_reason(error)}), even after retries. Check the '
        'network, the endpoint and the credentials, then run the same command again: finished '
        'work is kept.'
    )


def _reason(error: tf.errors.OpError) -> str:
    line = (error.message.strip().splitlines() or [type(error).__name__])[0]
    return re.sub(r'(?<=//)[^\s/@]*@', '', line)


def _without_credentials(endpoint: str) -> str:
    """Return an address without user, password and query, which messages must not show."""
    address = re.sub(r'^(\w+://)?.*@', lambda found: found[1] or '', endpoint)
    return address.split('?')[0].split('#')[0]


def _bucket(path: str) -> str | None:
    """Return the root of a path's bucket, or None if its file system has no buckets."""
    scheme, separator, rest = path.partition('://')
    if not separator or scheme not in _WITH_BUCKETS:
        return None
    return f'{scheme}://{rest.split("/")[0]}/'


def _load_tensorflow_io() -> None:
    # Without this setting, a read after a repeated request returns wrong bytes. With it, a read
    # that begins at the end of a file crashes: see `read`.
    os.environ['S3_DISABLE_MULTI_PART_DOWNLOAD'] = '1'
    try:
        import tensorflow_io  # noqa: F401 Importing it registers the file systems.
    except ImportError as error:
        raise errors.UserError(
            f'{", ".join(f"{scheme}://" for scheme in _OF_TENSORFLOW_IO)} need tensorflow-io, '
            'which loads with TensorFlow 2.15 alone, on Python 3.9 to 3.11: install stfc3-tf[s3] '
            'there (in a checkout, STACK=2.15 bash tools/setup.sh), or copy the files to a disk or '
            'gs://.'
        ) from error


def _leave_without_destructors() -> None:
    """Make the process end before the C++ library of s3 aborts it ("pure virtual method called").

    Python has finished its own exit by then, so the status is the right one.
    """
    library = ctypes.CDLL(None)
    # C calls exit handlers in reverse order, so this must be registered after the library's first
    # use. Only glibc has on_exit; on other systems the status is that of the abort, 134.
    if hasattr(library, 'on_exit'):
        library.on_exit(library._exit, None)
