"""The speed of the encoder's features."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stfc3_tf.speed import machine, operations, timing
from stfc3_tf.speed.timing import Figures


def features(height: int = 480, width: int = 854, repeats: int = 5) -> Figures:
    """Measure stage-3 features of full width in float32.

    Args:
      height: of the frame, pixels.
      width: of the frame, pixels.
      repeats: calls that are timed.

    Returns:
      Seconds and GFLOP per frame, and the share of this machine's speed of convolutions.
    """
    import tensorflow as tf

    from stfc3_tf.model import resnet

    network = resnet.resnet18(head_widths=(8, 8))
    stage3 = network.part('stage3')
    frame = tf.random.stateless_normal([1, height, width, 3], [0, 0])
    call = tf.function(lambda x: stage3(x, training=False))
    wall, _ = timing.seconds_per_call(lambda: call(frame).numpy(), repeats)
    work = operations.convolution_gflop(stage3, height, width)
    rate = machine.convolution_rate('float32')['gflop_per_s']
    return {
        'seconds_per_frame': wall,
        'gflop_per_frame': work,
        **machine.compare(work / wall, rate),
    }


def prepare(height: int, width: int) -> Callable[[], np.ndarray]:
    """Return a function that returns the stage-3 features of a frame of uint8, at unit length.

    Args:
      height: of the frame, pixels.
      width: of the frame, pixels.
    """
    import tensorflow as tf

    from stfc3_tf.model import resnet

    features = resnet.exported_features(resnet.resnet18(head_widths=(8, 8)))
    pixels = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
    frame = tf.constant(pixels)
    return lambda: features(frame).numpy()
