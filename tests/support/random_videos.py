"""Features and first labels of videos of random numbers."""

import numpy as np


def random_video(seed, frames, rows, columns, channels=6, labels=3):
    """Return unit features [frames, rows, columns, channels], labels [rows, columns, labels]."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((frames, rows, columns, channels))
    features /= np.linalg.norm(features, axis=-1, keepdims=True)
    return features.astype(np.float32), rng.random((rows, columns, labels)).astype(np.float32)
