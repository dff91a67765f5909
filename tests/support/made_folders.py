"""Folders for `writing.write_whole`."""

from stfc3_tf.storage import writing


def make_folder(*names):
    """Return a function that writes files, each with its name as contents, into a folder."""

    def write(path):
        for name in names:
            writing.write_text(f'{path}/{name}', name)

    return write
