"""Transitions, palindromes, losses: against the authors' code, NumPy loops and hand-made walks."""

import pathlib

import general_warp
import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.model import walk
from stfc3_tf.views import geometry

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / 'golden' / 'palindrome.npz')


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def golden_tracks(name):
    """Forward and backward tracks [2, T, 6, 6, 16] in natural order, as variables' values."""
    features = np.moveaxis(GOLDEN[name], 2, -1)
    frames = features.shape[1] // 2
    return features[:, :frames], features[:, frames:][:, ::-1]


def warped_start(forward):
    """Frames 1 .. T-1 of the normalised forward track on the backward grid, normalised again."""
    affine = np.concatenate(
        [GOLDEN['affine'], np.broadcast_to(np.float32([[[0, 0, 1]]]), (2, 1, 3))], 1
    )
    frames = forward.shape[1] - 1
    grid = geometry.corner_aligned_centres(6)
    flat = tf.reshape(forward[:, :-1], [-1, 6, 6, 16])
    warped = general_warp.warp_affine(flat, np.repeat(affine, frames, axis=0), grid, grid)
    return tf.reshape(tf.math.l2_normalize(warped, -1), [2, frames, 36, 16])


def walk_of(forward, backward, temperature, **options):
    forward, backward = tf.math.l2_normalize(forward, -1), tf.math.l2_normalize(backward, -1)
    nodes = [tf.reshape(t, [2, t.shape[1], 36, 16]) for t in (forward, backward)]
    return walk.palindromes(warped_start(forward), *nodes, temperature, **options)


@pytest.mark.parametrize('tag,temperature', [('t005', 0.05), ('t05', 0.5)])
def test_return_probabilities_equal_the_authors(tag, temperature):
    cycles = walk_of(*golden_tracks('features'), temperature)
    for k in range(2):
        expected = np.diagonal(GOLDEN[f'At{k}_{tag}'], axis1=1, axis2=2)
        np.testing.assert_allclose(cycles.return_probability[:, k], expected, atol=5e-6)


@pytest.mark.parametrize('name,tag,count', [('features_T3', 'T3', 1), ('features_T5', 'T5', 3)])
def test_other_clip_lengths_equal_the_authors(name, tag, count):
    cycles = walk_of(*golden_tracks(name), 0.05)
    assert cycles.return_probability.shape[1] == count + 1
    for k in range(count):
        expected = np.diagonal(GOLDEN[f'At{k}_{tag}'], axis1=1, axis2=2)
        np.testing.assert_allclose(cycles.return_probability[:, k], expected, atol=5e-6)


@pytest.mark.parametrize('tag,temperature', [('t005', 0.05), ('t05', 0.5)])
def test_released_loss_and_gradient_equal_the_authors(tag, temperature):
    forward, backward = (tf.constant(np.ascontiguousarray(t)) for t in golden_tracks('features'))
    mask = tf.constant(GOLDEN['mask'])
    with tf.GradientTape() as tape:
        tape.watch([forward, backward])
        cycles = walk_of(forward, backward, temperature)
        divisor = walk.normaliser('visible', tf.reduce_sum(mask), 72.0)
        each = walk.cycle_losses(cycles.return_probability, mask, divisor)
        loss = walk.select_cycles(each, 'released', 'mean')
    np.testing.assert_allclose(each[:2], GOLDEN[f'loss_each_identity_{tag}'], rtol=1e-5)
    np.testing.assert_allclose(loss, GOLDEN[f'loss_identity_{tag}'], rtol=1e-5)
    gradients = tape.gradient(loss, [forward, backward])
    expected = np.moveaxis(GOLDEN[f'grad_identity_{tag}'], 2, -1)
    np.testing.assert_allclose(gradients[0], expected[:, :4], atol=1e-5)
    np.testing.assert_allclose(gradients[1], expected[:, 4:][:, ::-1], atol=1e-5)


def random_nodes(rng, *shape):
    return tf.math.l2_normalize(tf.constant(rng.standard_normal(shape), tf.float32), -1)


def palindrome_by_products(start, forward, backward, temperature, k):
    """Return A_k of docs/method.md, all factors multiplied out; k counts from 0."""
    step = lambda a, b: softmax(a @ b.T / temperature)
    last = len(forward) - 1
    product = step(start[k], forward[k + 1])
    for t in range(k + 1, last):
        product = product @ step(forward[t], forward[t + 1])
    product = product @ step(forward[last], backward[last])
    for t in range(last, k, -1):
        product = product @ step(backward[t], backward[t - 1])
    return product


@pytest.mark.parametrize('frames', [2, 3, 4, 6])
def test_every_cycle_equals_the_full_product(frames):
    rng = np.random.default_rng(frames)
    start, forward, backward = (random_nodes(rng, 2, n, 9, 5) for n in (frames - 1, frames, frames))
    cycles = walk.palindromes(start, forward, backward, 0.2)
    for b in range(2):
        for k in range(frames - 1):
            full = palindrome_by_products(
                *(x.numpy()[b] for x in (start, forward, backward)), 0.2, k
            )
            np.testing.assert_allclose(cycles.return_probability[b, k], np.diag(full), rtol=2e-4)
            np.testing.assert_array_equal(cycles.returned[b, k], full.argmax(-1) == np.arange(9))


def test_sampled_accuracy_takes_the_rows_it_names():
    rng = np.random.default_rng(0)
    start, forward, backward = (random_nodes(rng, 1, n, 40, 8) for n in (2, 3, 3))
    some = walk.palindromes(start, forward, backward, 0.1, sampled_nodes=10)
    every = walk.palindromes(start, forward, backward, 0.1, sampled_nodes=40)
    np.testing.assert_array_equal(some.sampled, np.arange(0, 40, 4))
    np.testing.assert_array_equal(some.returned, tf.gather(every.returned, some.sampled, axis=2))


def test_transition_rows_sum_to_one_and_dropped_edges_are_not_taken():
    rng = np.random.default_rng(1)
    a, b = random_nodes(rng, 3, 7, 4), random_nodes(rng, 3, 5, 4)
    dropped = tf.constant(rng.random((3, 7, 5)) < 0.4)
    probability = walk.transition(a, b, 0.05, dropped).numpy()
    keeps_an_edge = ~dropped.numpy().all(-1)
    np.testing.assert_allclose(probability.sum(-1), 1, atol=1e-5)
    assert np.all(probability[dropped & keeps_an_edge[..., np.newaxis]] == 0)


def test_a_walk_over_permuted_one_hot_nodes_returns_with_probability_one():
    """Each frame shuffles distinct nodes; the walk finds each of them again on its way back."""
    rng = np.random.default_rng(2)
    order = [rng.permutation(6) for _ in range(3)]
    frames = tf.constant(np.stack([np.eye(6, dtype=np.float32)[o] for o in order])[np.newaxis])
    cycles = walk.palindromes(frames[:, :-1], frames, frames, 0.01)
    np.testing.assert_allclose(cycles.return_probability, 1, atol=1e-5)
    np.testing.assert_array_equal(cycles.returned, 1)


def test_featureless_nodes_return_by_chance():
    frames = tf.ones([1, 4, 10, 3]) / np.sqrt(3)
    cycles = walk.palindromes(frames[:, :-1], frames, frames, 0.05)
    np.testing.assert_allclose(cycles.return_probability, 0.1, rtol=1e-5)


def test_dropped_edges_depend_on_the_clip_alone_and_have_the_rate():
    seeds = tf.constant([[1, 2], [3, 4], [5, 6]])
    drawn = walk.draw_dropped_edges(seeds, 9, 30, 0.1).numpy()
    np.testing.assert_array_equal(drawn[1:], walk.draw_dropped_edges(seeds[1:], 9, 30, 0.1))
    assert abs(drawn.mean() - 0.1) < 0.01
    assert not np.array_equal(drawn[0], drawn[1])


def test_masked_loss_by_hand():
    probability = tf.constant([[[0.5, 0.25]], [[0.125, 1.0]]])
    visible = tf.constant([[1.0, 0.0], [1.0, 1.0]])
    each = walk.cycle_losses(probability, visible, walk.normaliser('nodes', 3.0, 4.0), epsilon=0.0)
    np.testing.assert_allclose(each, [(np.log(2) + np.log(8)) / 4], rtol=1e-6)
    each = walk.cycle_losses(
        probability, visible, walk.normaliser('visible', 3.0, 4.0), epsilon=0.0
    )
    np.testing.assert_allclose(each, [(np.log(2) + np.log(8)) / 3], rtol=1e-4)


def test_nothing_visible_gives_zero_loss_and_gradient():
    features = tf.Variable(np.random.default_rng(3).standard_normal((1, 3, 8, 4)), dtype=tf.float32)
    for kind in ('nodes', 'visible'):
        with tf.GradientTape() as tape:
            nodes = tf.math.l2_normalize(features, -1)
            cycles = walk.palindromes(tf.zeros([1, 2, 8, 4]), nodes, nodes, 0.05)
            divisor = walk.normaliser(kind, 0.0, 8.0)
            loss = tf.reduce_sum(
                walk.cycle_losses(cycles.return_probability, tf.zeros([1, 8]), divisor)
            )
        assert float(loss) == 0
        np.testing.assert_array_equal(tf.convert_to_tensor(tape.gradient(loss, features)), 0)


def test_gradient_against_finite_differences():
    rng = np.random.default_rng(4)
    start, forward, backward = (
        tf.constant(rng.standard_normal((1, n, 5, 4)), tf.float32) for n in (2, 3, 3)
    )

    def loss(*tracks):
        cycles = walk.palindromes(*(tf.math.l2_normalize(t, -1) for t in tracks), 0.5)
        return tf.reduce_sum(walk.cycle_losses(cycles.return_probability, tf.ones([1, 5]), 5.0))

    theory, numeric = tf.test.compute_gradient(loss, [start, forward, backward], delta=1e-2)
    for a, b in zip(theory, numeric):
        np.testing.assert_allclose(a, b, atol=2e-3)


def test_cycle_subsets_and_reductions():
    losses = tf.constant([1.0, 2.0, 6.0])
    assert float(walk.select_cycles(losses, 'all', 'sum')) == 9
    assert float(walk.select_cycles(losses, 'released', 'mean')) == 1.5
    for settings in (('some', 'sum'), ('all', 'max')):
        with pytest.raises(errors.UserError, match='choose'):
            walk.select_cycles(losses, *settings)
    with pytest.raises(errors.UserError, match='no other: use train.clip_frames'):
        walk.select_cycles(losses[:1], 'released', 'mean')


def test_impossible_settings_are_refused():
    with pytest.raises(errors.UserError, match="'nodes'"):
        walk.normaliser('all', 1.0, 2.0)
    one = tf.ones([1, 1, 4, 3])
    with pytest.raises(errors.UserError, match='at least 2 frames'):
        walk.palindromes(one[:, :0], one, one, 0.05)
