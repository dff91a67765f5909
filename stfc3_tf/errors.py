"""The error a user can mend: wrong file, wrong setting, no room left."""


class UserError(Exception):
    """Bad input. The message names the file or setting and how to mend it; commands print it alone."""


def from_tensorflow(error: Exception) -> Exception:
    """Brings back a `UserError` that a Python function inside tf.data raised.

    TensorFlow carries such an error as text, `UserError: message` followed by a traceback.

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
