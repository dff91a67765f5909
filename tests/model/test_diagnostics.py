"""The collapse ratio, by hand-made features and by loops."""

import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf.model import diagnostics


def unit(features):
    return tf.math.l2_normalize(tf.cast(features, tf.float32), axis=-1)


def test_constant_features_are_at_chance():
    features = unit(np.ones((2, 16, 5)))
    assert float(diagnostics.collapse_ratio(features, features, 0.05)) == 1.0


def test_features_that_encode_position_alone_are_at_the_number_of_nodes():
    features = tf.eye(36)[tf.newaxis]
    ratio = float(diagnostics.collapse_ratio(features, features, 0.05))
    assert ratio == pytest.approx(36 / (1 + 35 * np.exp(-20)), rel=1e-6)


def test_random_features_are_near_chance():
    generator = np.random.default_rng(0)
    a, b = unit(generator.normal(size=(2, 64, 400, 64)))
    assert float(diagnostics.collapse_ratio(a, b, 1.0)) == pytest.approx(1.0, abs=0.01)


def test_collapse_ratio_by_loops():
    generator = np.random.default_rng(1)
    a, b = unit(generator.normal(size=(2, 3, 7, 4))).numpy()
    expected = []
    for pair in range(3):
        for node in range(7):
            weights = [np.exp(a[pair, node] @ b[pair, other] / 0.2) for other in range(7)]
            expected.append(weights[node] / sum(weights))
    ratio = float(diagnostics.collapse_ratio(tf.constant(a), tf.constant(b), 0.2))
    assert ratio == pytest.approx(7 * np.mean(expected), rel=1e-5)
