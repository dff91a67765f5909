"""Which versions of a model TensorFlow Serving finds."""

import contextlib
import os


def versions(base_path):
    """Return the versions that a server finds: folders named by a whole number."""
    found = {}
    for name in os.listdir(base_path):
        with contextlib.suppress(ValueError):
            found[int(name)] = os.path.join(base_path, name)
    return found
