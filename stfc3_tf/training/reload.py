"""Encoders and learners of training runs, from their folders.

If a run's configuration names modules of your own, import them first.
"""

from __future__ import annotations

from typing import Any

import gin
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.commands import received_config
from stfc3_tf.model import resnet
from stfc3_tf.model.learner import WalkLearner

# Registers the settings of `train`.
from stfc3_tf.training import checkpoint_files
from stfc3_tf.training import settings as _  # noqa: F401
from stfc3_tf.training.run_folder import RunFolder

# What odd configurations lead to; their settings may name themselves, or ask for more memory than
# there is.
_UNUSABLE = (TypeError, ValueError, KeyError, OverflowError, RecursionError, tf.errors.OpError)


def encoder_of_run(folder: RunFolder, which: str = 'last') -> tuple[resnet.Encoder, int]:
    """Rebuild the encoder of a run with the weights of a checkpoint.

    The run's configuration is applied to the process.

    Args:
      folder: of the run.
      which: 'last', 'best', or 'none' for the encoder before training.

    Returns:
      The encoder, and the step at which the checkpoint was written.

    Raises:
      errors.UserError: the folder holds no such run.
    """
    received_config.parse(folder.read_config(), folder.config)
    encoder = _made('encoder', folder, dtype_policy='float32')
    return encoder, 0 if which == 'none' else restore_encoder(encoder, folder, which)


def learner_of_run(folder: RunFolder, which: str = 'last') -> tuple[WalkLearner, int]:
    """Rebuild the learner of a run around its encoder, see `encoder_of_run`."""
    encoder, step = encoder_of_run(folder, which)
    return _made('learner', folder, encoder), step


def _made(part: str, folder: RunFolder, *arguments: Any, **settings: Any) -> Any:
    """Return what a part of the run's configuration makes; raise UserError if it makes nothing."""
    try:
        return gin.get_bindings('train')[part](*arguments, **settings)
    except errors.UserError as error:
        # gin adds lines about where it was called.
        raise errors.UserError(f'{folder.config}: {errors.first_line(error)}') from error
    except _UNUSABLE as error:
        raise errors.UserError(
            f'{folder.config} names no {part}: {errors.one_line(error)}'
        ) from error


def restore_encoder(encoder: tf.keras.Model, folder: RunFolder, which: str = 'last') -> int:
    """Load the weights of the newest readable checkpoint of a run into an encoder.

    Args:
      encoder: built as it was for training.
      folder: of the run.
      which: 'last' or 'best'.

    Returns:
      The step at which the checkpoint was written.

    Raises:
      errors.UserError: there is no such checkpoint, or none fits the encoder.
    """
    step = tf.Variable(0, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(encoder=encoder, step=step)

    def restore(path: str) -> None:
        checkpoint.restore(path).assert_existing_objects_matched().expect_partial()

    paths = checkpoint_files.find(folder.checkpoints(which))
    if not paths:
        raise errors.UserError(
            f"{folder.path} holds no '{which}' checkpoint: is it the --model_dir of a training run?"
        )
    path, failures = checkpoint_files.restore_newest(paths, restore)
    if not path:
        raise errors.UserError(
            f'No checkpoint fits the encoder of {folder.config}: {"; ".join(failures)}. '
            f'{_way_out(folder, which)}'
        )
    return int(step)


def _way_out(folder: RunFolder, which: str) -> str:
    """Return what else of a run can be used if its 'last' or 'best' checkpoints cannot."""
    other = 'best' if which == 'last' else 'last'
    if checkpoint_files.find(folder.checkpoints(other)):
        return f'Try its other one: --checkpoint={other}.'
    if tf.io.gfile.exists(folder.saved_model):
        return f'The run ended with an export, which remains: {folder.saved_model}.'
    return 'The run has no others: train again, into another --model_dir.'
