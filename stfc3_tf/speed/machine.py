"""The speed of this machine at convolutions, with which parts of the system are compared."""

from __future__ import annotations

from stfc3_tf.speed import timing
from stfc3_tf.speed.timing import Figures


def convolution_rate(dtype: str, repeats: int = 10) -> Figures:
    """Measure GFLOP/s of a 3x3 convolution of 256 channels on 32x32 maps, with both gradients.

    Most of a training step is such convolutions.
    """
    import tensorflow as tf

    images = tf.cast(tf.random.stateless_normal([8, 32, 32, 256], [0, 1]), dtype)
    kernel = tf.cast(tf.random.stateless_normal([3, 3, 256, 256], [0, 2]), dtype)

    @tf.function
    def step(images, kernel):
        with tf.GradientTape() as tape:
            tape.watch([images, kernel])
            out = tf.nn.conv2d(images, kernel, 1, 'SAME')
        return [tf.reduce_sum(g) for g in tape.gradient(out, [images, kernel], out)]

    wall, cpu = timing.seconds_per_call(lambda: step(images, kernel)[0].numpy(), repeats)
    work = 3 * 2 * 8 * 32 * 32 * 9 * 256 * 256
    return {'gflop_per_s': work / wall / 1e9, 'gflop_per_cpu_s': work / cpu / 1e9}


def compare(gflop_per_s: float, rate: float) -> Figures:
    """Return a speed beside the `rate` of convolutions, both in GFLOP/s, and their ratio."""
    return {
        'gflop_per_s': gflop_per_s,
        'machine_convolution_gflop_per_s': rate,
        'share_of_machine': gflop_per_s / rate,
    }
