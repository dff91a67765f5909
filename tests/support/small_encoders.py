"""Small encoders whose norms have seen data, so that inference differs from training."""

import numpy as np
import tensorflow as tf

from stfc3_tf.model import resnet


def make_encoder(**settings):
    given = {'width': 4, 'head_widths': (12, 6), 'statistics': 'cifar10', 'seed': 3, **settings}
    model = resnet.resnet18(**given)
    model(tf.random.stateless_normal([1, 256, 256, 3], seed=[0, 0]), training=True)
    return model


def random_frames(*shape):
    return np.random.default_rng(5).integers(0, 256, (*shape, 3), np.uint8)
