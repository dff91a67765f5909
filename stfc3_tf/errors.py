"""The error that a user can correct, such as a wrong file or setting or a full disk."""

import errno
import os
import re

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UserError(Exception):
    """Bad input. The message names the file or setting and the way out; commands print it alone."""


def one_line(error: BaseException) -> str:
    """Return the kind of an error and its message on one line of at most 300 characters."""
    message = without_graph(str(getattr(error, 'message', None) or error))
    text = ' '.join(f'{type(error).__name__}: {message}'.split())
    return text if len(text) <= 300 else f'{text[:297]}...'


def without_graph(message: str) -> str:
    """Return the error message of an operation without the operation and its place in the graph."""
    message = re.sub(r'\{\{.*?\}\} ?', '', message)
    if not message.startswith('Graph execution error'):
        return message
    lines = message.splitlines()[1:]
    kept = [line for line in lines if line and not line.startswith((' ', '\t', 'Detected at'))]
    return ' '.join(kept) or message


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if it has none."""
    text = without_graph(str(getattr(error, 'message', None) or error)).strip()
    return (text or type(error).__name__).splitlines()[0]


def is_no_room(error: BaseException) -> bool:
    """Return whether a write failed because the disk or the user's quota is full.

    The quota may also be of the size of one file: `ulimit -f`, or what the file system allows.
    """
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    message = str(getattr(error, 'message', ''))
    return any(os.strerror(number) in message for number in _NO_ROOM)


def from_tensorflow(error: Exception) -> Exception:
    """Restore a `UserError` that a Python function inside tf.data raised.

    TensorFlow passes such an error on as text, `UserError: message` followed by a traceback.

    Args:
      error: what TensorFlow raised.

    Returns:
      A `UserError` with the original message, or `error` itself if it is of another kind.
    """
    text = str(error)
    marker = f'{UserError.__name__}: '
    if marker not in text:
        return error
    return UserError(text.split(marker, 1)[1].split('\nTraceback', 1)[0].strip())
