"""Scalars of training runs, as TensorBoard's event files hold them."""

from __future__ import annotations

import fnmatch

import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.util import tensor_util

from stfc3_tf import errors

# Of a training run's folder, see `monitor`.
_SUBFOLDER = 'tensorboard'
_PATTERN = '*tfevents*'

# Steps int [entries], ascending, and values float [entries].
Curve = tuple[np.ndarray, np.ndarray]


def read_scalars(run: str) -> dict[str, Curve]:
    """Reads the scalars of a run by tag.

    A run that was resumed has written several files, and the steps between its checkpoint and its
    end twice: what was written later counts.

    Args:
      run: folder of a training run, or one that holds event files itself.

    Raises:
      errors.UserError: there are no event files, or no scalars in them.
    """
    entries: dict[str, list[tuple[int, float]]] = {}
    for path in _event_files(run):
        for tag, step, value in _scalars(path):
            known = entries.setdefault(tag, [])
            while known and known[-1][0] >= step:
                known.pop()
            known.append((step, value))
    if not entries:
        raise errors.UserError(f'{run}: its event files hold no scalars yet; let the run go on.')
    return {
        tag: (np.array([step for step, _ in known]), np.array([value for _, value in known]))
        for tag, known in entries.items()
    }


def _event_files(run: str) -> list[str]:
    """Paths of a run's event files in the order of writing: their names begin with the time."""
    folders = [tf.io.gfile.join(run, _SUBFOLDER), run]
    try:
        for folder in folders:
            names = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
            if found := fnmatch.filter(names, _PATTERN):
                return [tf.io.gfile.join(folder, name) for name in sorted(found)]
    except tf.errors.OpError as error:
        raise errors.UserError(f'{run}: {error.message}') from error
    raise errors.UserError(
        f'{run} holds no TensorBoard event files ({_PATTERN}), nor does a folder {_SUBFOLDER} in '
        'it; give the --model_dir of a training run.'
    )


def _scalars(path: str):
    """Yields (tag, step, value); a file that ends within a record ends before it."""
    for event in event_file_loader.EventFileLoader(path).Load():
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == 'scalars':
                yield value.tag, event.step, tensor_util.make_ndarray(value.tensor).item()


def smoothed(values: np.ndarray, weight: float) -> np.ndarray:
    """Exponential moving average as TensorBoard draws it, without bias towards zero at the start.

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
