"""The speed of a training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stfc3_tf.speed import machine, operations, timing
from stfc3_tf.speed.timing import Figures


def training_step(view_size: int, batch: int, precision: str, repeats: int = 3) -> Figures:
    """Measure `Learner.train_step` (T = 4, full width, Adam) on clips that are in memory.

    Args:
      view_size: height and width of the views, pixels.
      batch: clips per step.
      precision: a Keras policy: 'float32' or 'mixed_bfloat16'.
      repeats: steps that are timed.

    Returns:
      Clips per second and per processor-second, GFLOP per clip, and the share of this machine's
      speed of convolutions.
    """
    model = _learner(precision)
    wall, cpu = timing.seconds_per_call(_step(model, view_size, batch), repeats)
    work = batch * operations.clip_gflop(model, view_size)
    dtype = 'bfloat16' if precision == 'mixed_bfloat16' else 'float32'
    rate = machine.convolution_rate(dtype)['gflop_per_s']
    return {
        'clips_per_s': batch / wall,
        'clips_per_cpu_s': batch / cpu,
        'gflop_per_clip': work / batch,
        **machine.compare(work / wall, rate),
    }


def prepare(view_size: int, batch: int, precision: str) -> Callable[[], float]:
    """Return a function that makes a step, as `training_step` measures it, and returns its loss.

    Args:
      view_size: height and width of the views, pixels.
      batch: clips per step.
      precision: a Keras policy.
    """
    return _step(_learner(precision), view_size, batch)


def _learner(precision: str) -> Any:
    """Return a compiled `Learner` of full width."""
    import tensorflow as tf

    from stfc3_tf.model import learner, resnet

    model = learner.Learner(resnet.resnet18(dtype_policy=precision))
    model.compile(tf.keras.optimizers.Adam(1e-4), clip_frames=4)
    return model


def _step(model: Any, view_size: int, batch: int) -> Callable[[], float]:
    import tensorflow as tf

    rng = np.random.default_rng(0)
    views = rng.integers(0, 256, (batch, 2, 4, view_size, view_size, 3))
    clips = {
        'views': tf.constant(views, tf.uint8),
        'view_from_frame': tf.eye(3, batch_shape=[batch, 2]),
        'index': tf.range(batch, dtype=tf.int64),
    }
    step = tf.function(model.train_step)
    return lambda: step(clips)['loss'].numpy()
