"""The files of checkpoints: written, listed, removed, and restored if some are damaged.

A checkpoint of step N is `step-N.index` and one or more `step-N.data-…`. TensorFlow also keeps a
list in the file `checkpoint`. The list is written for other programs and never read here, because
it may be damaged or missing while the checkpoints are intact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import re

from absl import logging
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.storage import object_store, writing
from stfc3_tf.training.run_folder import reporting_writes

_INDEX = re.compile(r'step-(\d+)\.index')
_UNFINISHED = re.compile(r'step-\d+_temp/?')


def find(folder: str) -> list[str]:
    """Return the paths of all checkpoints in a folder, without ending, in the order of their steps.

    Raises:
      errors.UserError: the folder's object store does not answer.
    """
    found = _find(folder)
    if not found:
        # Files also seem to be missing if their store does not answer.
        object_store.check(folder)
        found = _find(folder)
    return found


def _find(folder: str) -> list[str]:
    steps = [int(match[1]) for name in _names(folder) if (match := _INDEX.fullmatch(name))]
    return [tf.io.gfile.join(folder, f'step-{step}') for step in sorted(steps)]


def clear_unfinished(folder: str) -> None:
    """Remove what is left of checkpoints whose writing was interrupted."""
    for name in filter(_UNFINISHED.fullmatch, _names(folder)):
        path = tf.io.gfile.join(folder, name)
        logging.info('Removing %s, left by a checkpoint that was not finished.', path)
        writing.remove(path)


def save(checkpoint: tf.train.Checkpoint, folder: str, step: int, keep: int) -> None:
    """Write a checkpoint, then remove the oldest ones.

    Args:
      checkpoint: what to write.
      folder: where to.
      step: of the run.
      keep: how many checkpoints stay in the folder, the new one included.

    Raises:
      errors.UserError: the disk is full, or the folder cannot be written.
    """
    with reporting_writes(folder):
        path = checkpoint.write(tf.io.gfile.join(folder, f'step-{step}'))
        older = [other for other in find(folder) if other != path]
        kept = [*older, path][-keep:]
        _write_list(folder, kept)
        for other in set(older) - set(kept):
            _remove(folder, other.rpartition('/')[2])


def _remove(folder: str, checkpoint: str) -> None:
    for name in sorted(_names(folder), reverse=True):  # The index first.
        if name.startswith((f'{checkpoint}.index', f'{checkpoint}.data-')):
            tf.io.gfile.remove(tf.io.gfile.join(folder, name))


def _write_list(folder: str, paths: Sequence[str]) -> None:
    """Write the file `checkpoint`, by which `tf.train.latest_checkpoint` finds the newest one."""
    names = [path.rpartition('/')[2] for path in paths]
    lines = [f'model_checkpoint_path: "{names[-1]}"']
    lines += [f'all_model_checkpoint_paths: "{name}"' for name in names]
    writing.write_text(tf.io.gfile.join(folder, 'checkpoint'), '\n'.join(lines) + '\n')


def restore_newest(paths: Sequence[str], restore: Callable[[str], None]) -> tuple[str, list[str]]:
    """Restore the newest checkpoint that can be read.

    Args:
      paths: of `find`.
      restore: restores the checkpoint at the path that it is called with, or raises.

    Returns:
      The path of the restored checkpoint, or '' if there is none; and what is wrong with the newer
      ones, a line each.

    Raises:
      errors.UserError: an object store does not answer.
    """
    failures = []
    for path in reversed(paths):
        with object_store.fetched_checkpoint(path) as here:
            # Damaged files make TensorFlow raise errors of many types, also its base class.
            try:
                restore(here)
            except Exception as error:
                failures.append(f'{path}: {errors.first_line(error)}')
            else:
                return path, failures
        logging.warning('Checkpoint %s cannot be used; the one before it is tried.', failures[-1])
    return '', failures


def _names(folder: str) -> list[str]:
    try:
        return tf.io.gfile.listdir(folder)
    except tf.errors.NotFoundError:
        return []
