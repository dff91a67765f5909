"""A learner small enough for tests, and batches for it."""

import numpy as np
import tensorflow as tf

from stfc3_tf.model import resnet
from stfc3_tf.model.learner import Learner
from stfc3_tf.views import geometry


def tiny_learner(optimizer=None, dtype_policy='float32', frames=3, **settings):
    tf.keras.utils.set_random_seed(1)
    encoder = resnet.resnet18(
        padding='reflect', width=4, head_widths=(8, 6), dtype_policy=dtype_policy
    )
    learner = Learner(encoder, **{'edge_dropout': 0.0, **settings})
    learner.compile(optimizer or tf.keras.optimizers.SGD(0.1), clip_frames=frames)
    return learner


def batch_of(clips, tracks=2, frames=3, size=32, seed=0):
    rng = np.random.default_rng(seed)
    # Smooth pictures, so that neighbouring cells resemble each other as in real frames.
    views = (
        rng.integers(0, 256, (clips, tracks, frames, 4, 4, 3))
        .repeat(size // 4, 3)
        .repeat(size // 4, 4)
    )
    corners = np.sort(rng.uniform(-1, 1, (clips, tracks, 2, 2)), axis=2) + [
        [-0.2, -0.2],
        [0.2, 0.2],
    ]
    matrices = geometry.view_from_frame(
        tf.constant(corners.reshape(clips, tracks, 4), tf.float32),
        tf.constant(rng.random((clips, tracks)) < 0.5),
    )
    return {
        'views': tf.constant(views, tf.uint8),
        'view_from_frame': matrices,
        'index': tf.range(clips, dtype=tf.int64),
        'video': tf.range(clips, dtype=tf.int64),
    }
