"""The scalars of training runs, read from TensorBoard's event files.

A run writes a new file at each start. `start_suffix` numbers the starts in the file names.
"""

from __future__ import annotations

from collections.abc import Iterator
import re

from absl import logging
from google.protobuf import message
import numpy as np
import tensorflow as tf

from stfc3_tf import errors, wording

_EVENTS = 'tfevents'
_START = re.compile(r'\.start-(\d+)\.')

# Steps int [entries], ascending, and values float [entries].
Curve = tuple[np.ndarray, np.ndarray]
# A tag, a step, a value.
_Entry = tuple[str, int, float]


def start_suffix(folder: str) -> str:
    """Return the end of the name of a new event file, which contains the number of the start.

    Args:
      folder: of the event files of one run; it may be missing.
    """
    numbers = [_start_number(name) for name in _names(folder)]
    return f'.start-{1 + max(numbers, default=0):04d}.v2'


def _start_number(name: str) -> int:
    """Return the number of the start that wrote a file; 0 if the file has none."""
    found = _START.search(name)
    return int(found[1]) if found else 0


def read_scalars(run: str) -> dict[str, Curve]:
    """Read the scalars of a run by tag.

    A run that was resumed has several files, and may have run some steps twice: the later start
    counts. If file names have no number of the start, the file that begins at a higher step is the
    later one; between equals the time in the name decides.

    Args:
      run: a folder with event files in it, or in one of its folders.

    Raises:
      errors.UserError: there are no event files, or no scalars in them.
    """
    files = [(_start_number(path), _read(path), path) for path in _event_files(run)]
    entries: dict[str, list[tuple[int, float]]] = {}
    for _, found, _ in sorted(files, key=lambda file: (file[0], _first_step(file[1]), file[2])):
        for tag, step, value in found:
            known = entries.setdefault(tag, [])
            while known and known[-1][0] >= step:
                known.pop()
            known.append((step, value))
    if not entries:
        raise errors.UserError(f'{run}: its event files hold no scalars yet; wait for the run.')
    return {
        tag: (np.array([step for step, _ in known]), np.array([value for _, value in known]))
        for tag, known in entries.items()
    }


def _first_step(entries: list[_Entry]) -> int:
    return min((step for _, step, _ in entries), default=0)


def _event_files(run: str) -> list[str]:
    """Return the event files in a folder, or else in its only subfolder that has some."""
    try:
        places = [run, *(tf.io.gfile.join(run, name.rstrip('/')) for name in _names(run))]
        found = {place: paths for place in places if (paths := _event_files_in(place))}
    except tf.errors.OpError as error:
        raise errors.UserError(f'{run}: {error.message}') from error
    if run in found:
        return found[run]
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise errors.UserError(f'{run} holds several runs; name one: {", ".join(found)}.')
    raise errors.UserError(
        f'{run} holds no TensorBoard event files (*{_EVENTS}*), nor does a folder in it; give the '
        '--model_dir of a training run.'
    )


def _event_files_in(folder: str) -> list[str]:
    return [tf.io.gfile.join(folder, name) for name in _names(folder) if _EVENTS in name]


def _names(folder: str) -> list[str]:
    return sorted(tf.io.gfile.listdir(folder)) if tf.io.gfile.isdir(folder) else []


def _read(path: str) -> list[_Entry]:
    """Return the entries of a file up to its first damaged record."""
    found: list[_Entry] = []
    try:
        found.extend(_entries(path))
    except (tf.errors.OpError, message.DecodeError, ValueError, TypeError, KeyError) as error:
        # The last record may be incomplete, if the run was killed or is still writing.
        if 'truncated record' not in str(error):
            logging.warning(
                '%s is damaged; what it holds after %s is left out: %s',
                *(path, wording.counted(len(found), 'value'), str(error).splitlines()[0]),
            )
    return found


def _entries(path: str) -> Iterator[_Entry]:
    try:  # Imported here, because only training and its figures need it.
        from tensorboard import data_compat
        from tensorboard.compat.proto import event_pb2
        from tensorboard.util import tensor_util
    except ImportError as error:
        raise errors.UserError(
            f'{path}: reading it needs TensorBoard: pip install "stfc3-tf[train]"'
        ) from error
    for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
        event = data_compat.migrate_event(event_pb2.Event.FromString(record))
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == 'scalars':
                yield value.tag, event.step, tensor_util.make_ndarray(value.tensor).item()


def smoothed(values: np.ndarray, weight: float) -> np.ndarray:
    """Return the exponential moving average that TensorBoard draws, without bias at the start.

    s_n = sum_i weight^(n - i) y_i / sum_i weight^(n - i) over the finite y_i with i <= n.

    Args:
      values: float [entries].
      weight: in [0, 1); 0 returns the values.
    """
    total = count = 0.0
    averages = []
    for value in values:
        if np.isfinite(value):
            total, count = weight * total + value, weight * count + 1
        averages.append(total / count if count else np.nan)
    return np.array(averages)
