"""Features and first labels of random videos, the same on every machine."""

import numpy as np


def random_video(number, shape, labels):
    """Draw a video.

    Args:
      number: of the video, the seed.
      shape: (time, rows, columns, channels).
      labels: number of labels.

    Returns:
      Features of unit length, float32 of that shape, and the labels of the first frame, float32
      [rows, columns, labels].
    """
    rng = np.random.default_rng(number)
    features = rng.standard_normal(shape, np.float32)
    features /= np.linalg.norm(features, axis=-1, keepdims=True)
    return features, rng.random((*shape[1:3], labels), np.float32)
