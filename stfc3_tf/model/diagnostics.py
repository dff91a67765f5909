"""The collapse ratio, which shows whether features encode positions only."""

import tensorflow as tf

from stfc3_tf.model import walk


def collapse_ratio(features_a: tf.Tensor, features_b: tf.Tensor, temperature: float) -> tf.Tensor:
    """Return how much the features encode positions instead of content (figure 3).

    This is the mean probability of a step from a node to the same position in an UNRELATED frame,
    times the number of nodes. 1 is chance. Features that encode the position only approach the
    number of nodes.

    Args:
      features_a: float32 [..., nodes, channels], L2-normalised.
      features_b: float32 [..., nodes, channels], L2-normalised, of unrelated frames.
      temperature: of the transition.

    Returns:
      float32 [], the mean over all pairs.
    """
    probability = tf.linalg.diag_part(walk.transition(features_a, features_b, temperature))
    return tf.reduce_mean(probability) * tf.cast(tf.shape(probability)[-1], tf.float32)
