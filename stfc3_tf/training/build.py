"""The learner of a run, built and compiled for the devices that share its batches."""

from __future__ import annotations

import tensorflow as tf

from stfc3_tf import errors, wording
from stfc3_tf.cluster import strategy as distribution
from stfc3_tf.model.learner import WalkLearner
from stfc3_tf.training.settings import Parts


def make_learner(parts: Parts, clip_frames: int, jit_compile: bool) -> WalkLearner:
    """Build and compile the learner in the scope of the current strategy.

    Args:
      parts: makers of the encoder, the learner and the optimiser.
      clip_frames: T, frames of a clip.
      jit_compile: whether XLA compiles the step.

    Returns:
      The learner.

    Raises:
      errors.UserError: the optimiser has no such argument or value, or averages the weights, or the
        views do not suit the learner or are too small for the encoder.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    with distribution.statistics_kept_locally():
        model = parts.learner(parts.encoder(synchronised_norm=replicas > 1))
    model.compile(_make_optimizer(parts), clip_frames, jit_compile)
    model.objective.check_views(parts.view_sampler, clip_frames)
    return model


def _make_optimizer(parts: Parts) -> tf.keras.optimizers.Optimizer:
    try:
        optimizer = parts.optimizer()
    except (TypeError, ValueError) as error:
        raise errors.UserError(f'train.optimizer cannot be made: {error}') from error
    if getattr(optimizer, 'use_ema', False):
        # Keras overwrites the weights by their averages at the end of a run: its last checkpoint
        # would hold others than those before, and a run that goes on from it would be another run.
        raise errors.UserError(
            f'{type(optimizer).__name__}.use_ema: runs with averaged weights cannot be resumed. '
            'Leave it out.'
        )
    return optimizer


def check_batch(batch_size: int, devices: int, parts: int) -> None:
    """Check that the devices can share a batch evenly.

    Args:
      batch_size: clips of the global batch.
      devices: how many share it.
      parts: how many parts each device splits its share into, `Learner.accumulation_steps`.

    Raises:
      errors.UserError: they cannot.
    """
    if batch_size % (devices * parts):
        raise errors.UserError(
            f'train.batch_size = {batch_size} is not a multiple of '
            f'{wording.counted(devices, "device")} times Learner.accumulation_steps = {parts}.'
        )
