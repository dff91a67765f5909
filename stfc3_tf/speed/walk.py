"""The time and the memory of the walk."""

from __future__ import annotations

from stfc3_tf.speed import timing
from stfc3_tf.speed.timing import Figures


def walk_memory(nodes: int, channels: int = 512, frames: int = 4, batch: int = 1) -> Figures:
    """Measure the walk alone, with its loss and gradient, on features that are in memory.

    Args:
      nodes: cells of a feature map.
      channels: of the features.
      frames: of a clip.
      batch: clips.

    Returns:
      Seconds and GiB per clip; 'maps' is how many float32 matrices of nodes x nodes would fill that
      memory. Memory counts from before the first call.
    """
    import tensorflow as tf

    from stfc3_tf.model import walk

    shape = [batch, frames, nodes, channels]
    forward, backward = (
        tf.math.l2_normalize(tf.random.stateless_normal(shape, [0, n]), axis=-1) for n in (1, 2)
    )
    seeds = tf.tile([[0, 3]], [batch, 1])

    @tf.function
    def gradient(forward, backward):
        """Return the gradient of the loss for the features of both tracks."""
        with tf.GradientTape() as tape:
            tape.watch([forward, backward])
            edges = walk.draw_dropped_edges(seeds, walk.transition_count(frames), nodes, 0.1)
            found = walk.palindromes(forward[:, :-1], forward, backward, 0.05, edges)
            visible = tf.ones([batch, nodes])
            losses = walk.cycle_losses(found.return_probability, visible, float(batch * nodes))
            loss = tf.reduce_sum(losses)
        return tape.gradient(loss, [forward, backward])

    before = timing.peak_gib()
    wall, _ = timing.seconds_per_call(lambda: [g.numpy() for g in gradient(forward, backward)], 2)
    added = (timing.peak_gib() or 0.0) - (before or 0.0)
    return {
        'seconds_per_clip': wall / batch,
        'gib_per_clip': added / batch,
        'maps': added * 2**30 / (batch * nodes**2 * 4),
    }
