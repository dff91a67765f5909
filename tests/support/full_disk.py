"""A disk without room, as far as files can feel it."""

import contextlib
import resource


@contextlib.contextmanager
def files_of_at_most(size):
    """In the block no file can get more bytes; afterwards the limit is as before."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
