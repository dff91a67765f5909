"""Candidates that are found by features rounded to bfloat16."""

import dataclasses

import numpy as np
import pytest
from small_protocols import CRW
import tensorflow as tf

import stfc3_tf
from stfc3_tf import errors
from stfc3_tf.clips import synthetic
from stfc3_tf.propagation import choice, codecs, compared
from stfc3_tf.propagation.input_size import native_size
from stfc3_tf.propagation.numpy_propagator import NumpyPropagator
from stfc3_tf.propagation.settings import crw_settings
from stfc3_tf.propagation.tracker import PropagationTracker

FAST = dataclasses.replace(CRW, precision='fast')


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def near_each_other(number, spread, seed=0, channels=128):
    """Return unit vectors around one."""
    rng = np.random.default_rng(seed)
    middle = unit(rng.standard_normal(channels))
    return unit(middle + spread * unit(rng.standard_normal((number, channels))))


def test_products_of_similar_features_are_known_ten_times_better_than_bfloat16_is():
    vectors = near_each_other(400, 0.3)
    exact = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    pair = compared.compared(tf.constant(vectors)[None], tf.constant(vectors), 'fast')
    product = tf.matmul(pair.query[0], pair.read(tf.range(400)), transpose_b=True)
    error = np.abs(product.numpy().astype(np.float64) + 1 - exact)
    assert 0.85 < exact.min() < 0.97
    # The steps of bfloat16 below 1 are 2^-8.
    assert np.sqrt(np.mean(error**2)) < 2**-8 / 10


def test_the_nearest_of_many_like_cells_are_kept():
    # 40 of 400 cells are nearest, in steps of 2e-4 of similarity: less than bfloat16 shows near 1.
    channels = 64
    middle = unit(np.random.default_rng(0).standard_normal(channels))
    others = near_each_other(400, 1.0, seed=1, channels=channels)
    aside = unit(others - (others @ middle)[:, None] * middle)
    similarity = np.linspace(0.98, 0.90, 400)
    keys = similarity[:, None] * middle + np.sqrt(1 - similarity**2)[:, None] * aside
    pair = compared.compared(tf.constant(middle)[None, None], tf.constant(keys, tf.float32), 'fast')
    product = tf.matmul(pair.query[0], pair.read(tf.range(400)), transpose_b=True)
    found = tf.math.top_k(tf.cast(product, tf.float32), pair.count(10))
    _, kept = pair.ranked((found.values, found.indices), slice(None), 10)
    np.testing.assert_array_equal(kept[0], np.arange(10))


def test_features_in_float32_keep_what_was_found():
    vectors = tf.constant(near_each_other(6, 0.3))
    exact = compared.compared(vectors[None], vectors, 'exact')
    found = tf.constant([[0.5, 0.4]]), tf.constant([[3, 1]])
    assert exact.count(10) == 10
    assert exact.ranked(found, slice(None), 1) is found


def test_cells_that_are_not_there_stay_away():
    vectors = tf.constant(near_each_other(6, 0.3))
    pair = compared.compared(vectors[None, :1], vectors, 'fast')
    found = tf.constant([[-0.1, -np.inf]]), tf.constant([[3, 0]])
    similarity, cell = pair.ranked(found, slice(None), 2)
    np.testing.assert_array_equal(cell, [[3, 0]])
    assert similarity[0, 1] == -np.inf


def test_masks_of_a_scene_are_those_of_the_exact_search():
    encoder = stfc3_tf.load('stfc3-small')
    scene = synthetic.scene(1, 160, 224)
    frames, first = [scene.frame(number / 24) for number in range(24)], scene.masks(0.0)

    def masks(settings):
        codec = codecs.MaskCodec(shrink='bilinear', normalise='none', decide_at='input')
        tracker = PropagationTracker(encoder, settings, native_size())
        return np.stack(list(tracker.track(frames, first, codec, first.shape)))

    exact = masks(crw_settings())
    fast = masks(dataclasses.replace(crw_settings(), precision='fast'))
    objects = np.maximum(exact, fast) > 0
    assert objects.mean() > 0.05
    assert np.mean(exact[objects] == fast[objects]) > 0.999


def test_propagators_without_it_refuse_it():
    with pytest.raises(errors.UserError, match='precision = "fast" needs TensorFlow'):
        NumpyPropagator(FAST)
    with pytest.raises(errors.UserError, match='precision = "fast" is for CPUs'):
        choice.propagator(FAST, compiled=True)
