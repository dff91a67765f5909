"""Damaged files, drawn with a fixed seed: each must be one line that names the file, or be read."""

import contextlib
import pathlib
import shutil
import time

from hypothesis import HealthCheck, given, settings, strategies

from stfc3_tf import errors

BYTES = [b'', b'\0', b'\xff', b'9' * 5000, b'1e999', b'-', b'[' * 50_000, b'{"a":' * 20_000, b'\n']
BYTES += [b'null', b'"', b'NaN', b'-1', b'true', b'\xff\xfe', b'\xed\xa0\x80', b'\x00' * 64]


@strategies.composite
def damages(draw):
    """Return a function from contents to damaged contents."""
    kind = draw(strategies.sampled_from(['cut', 'flip', 'insert', 'replace', 'drop', 'twice']))
    place, other = draw(strategies.floats(0, 1)), draw(strategies.floats(0, 1))
    bit, piece = draw(strategies.integers(0, 7)), draw(strategies.sampled_from(BYTES))

    def damage(contents):
        start, stop = sorted(int(part * len(contents)) for part in (place, other))
        if kind == 'cut':
            return contents[:start]
        if kind == 'flip':
            start = min(start, len(contents) - 1)
            flipped = bytes([contents[start] ^ 1 << bit])
            return contents[:start] + flipped + contents[start + 1 :]
        if kind == 'insert':
            return contents[:start] + piece + contents[start:]
        if kind == 'replace':
            return contents[:start] + piece + contents[start + len(piece) :]
        if kind == 'drop':
            return contents[:start] + contents[stop:]
        return contents[:stop] + contents[start:]

    return damage


def try_damages(folder, path_in_folder, contents, read, count, most_seconds, beside=None):
    """Damage a file in `count` ways and read each.

    Args:
      folder: an empty folder.
      path_in_folder: of the file; the reader gets each damaged file at this path in a new folder.
      contents: of the whole file.
      read: called with the path.
      count: number of damages.
      most_seconds: of processor time that all may take together.
      beside: a folder whose files stand beside the damaged file.
    """
    tried, start = 0, time.process_time()

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(damage=damages())
    def check(damage):
        nonlocal tried
        tried += 1
        root = pathlib.Path(folder) / str(tried)
        path = root / path_in_folder
        if beside is not None:
            shutil.copytree(beside, root)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(damage(contents))
        with contextlib.suppress(errors.UserError), one_line_about(path, root):
            read(str(path))

    check()
    assert tried >= count
    assert time.process_time() - start < most_seconds


@contextlib.contextmanager
def one_line_about(path, root):
    """Check the message of a UserError, which goes on: it names the file or its folder."""
    try:
        yield
    except errors.UserError as error:
        message = str(error)
        named = path.name in message or str(root) in message
        if '\n' in message or not named:
            raise AssertionError(f'not one line that names {path}: {message}') from error
        raise
