"""The walk over patches: against CRW's own code, full products, and mistakes in the settings."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.model import learner as learners
from stfc3_tf.model import patches, resnet, walk
from stfc3_tf.views import patches as patch_views
from stfc3_tf.views import sampler as view_sampler

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / 'golden' / 'crw_palindrome.npz')
# Patches of 16 pixels, 8 apart: 3 x 3 of them in 32 pixels.
SIZES = {'patch_size': 16, 'patch_stride': 8}


def golden_nodes():
    """The nodes [batch 2, time 4, nodes 49, channels 16] of the authors' run."""
    return tf.constant(np.ascontiguousarray(np.transpose(GOLDEN['q'], [0, 2, 3, 1])))


@pytest.mark.parametrize('tag,temperature', [('t005', 0.05), ('t007', 0.07), ('t05', 0.5)])
def test_losses_and_accuracies_equal_the_authors(tag, temperature):
    cycles = walk.patch_palindromes(golden_nodes(), temperature)
    losses = walk.cycle_losses(cycles.return_probability, tf.ones([2, 49]), 2 * 49.0, 1e-20)
    expected = [GOLDEN[f'xent_cyc_r{k}_{tag}'] for k in (1, 2)]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    np.testing.assert_allclose(tf.reduce_mean(losses), GOLDEN[f'loss_{tag}'][0], rtol=1e-5)
    accuracy = tf.reduce_mean(cycles.returned, axis=[0, 2])
    np.testing.assert_allclose(accuracy, [GOLDEN[f'acc_cyc_r{k}_{tag}'] for k in (1, 2)])


@pytest.mark.parametrize('tag,temperature', [('t005', 0.05), ('t05', 0.5)])
def test_gradients_equal_the_authors(tag, temperature):
    nodes = golden_nodes()
    with tf.GradientTape() as tape:
        tape.watch(nodes)
        cycles = walk.patch_palindromes(nodes, temperature)
        losses = walk.cycle_losses(cycles.return_probability, tf.ones([2, 49]), 2 * 49.0, 1e-20)
        loss = tf.reduce_mean(losses)
    expected = np.transpose(GOLDEN[f'grad_{tag}'], [0, 2, 3, 1])
    np.testing.assert_allclose(tape.gradient(loss, nodes), expected, atol=2e-6, rtol=1e-4)


def test_each_way_takes_no_dropped_edge():
    """Against all products, with edges dropped separately forward and backward in time."""
    rng = np.random.default_rng(0)
    nodes = tf.math.l2_normalize(tf.constant(rng.standard_normal((1, 5, 6, 4)), tf.float32), -1)
    dropped = rng.random((1, 8, 6, 6)) < 0.3
    cycles = walk.patch_palindromes(nodes, 0.3, tf.constant(dropped))
    x = nodes.numpy()[0]

    def step(source, target, edges):
        weights = np.where(edges, 0.0, np.exp(x[source] @ x[target].T / 0.3))
        return weights / weights.sum(-1, keepdims=True)

    onward = [step(t, t + 1, dropped[0, t]) for t in range(4)]
    homeward = [step(t + 1, t, dropped[0, 4 + t]) for t in range(4)]
    for k in range(3):
        full = np.linalg.multi_dot([*onward[: k + 2], *homeward[: k + 2][::-1]])
        np.testing.assert_allclose(cycles.return_probability[0, k], np.diag(full), rtol=1e-4)


def tiny_patch_learner(**settings):
    encoder = resnet.resnet18(width=4, stage_strides=(1, 2, 1), head_widths=(6,))
    learner = patches.PatchLearner(encoder, **{'edge_dropout': 0.0, **SIZES, **settings})
    learner.compile(tf.keras.optimizers.SGD(0.1), clip_frames=4)
    return learner


def test_nodes_of_a_frame_are_the_pooled_features_of_its_patches_alone():
    learner = tiny_patch_learner()
    frame = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3), np.uint8)
    nodes = learner(tf.constant(frame)).numpy()
    assert nodes.shape == (1, 3, 3, 6)
    for row in range(3):
        for column in range(3):
            patch = frame[:, 8 * row :, 8 * column :][:, :16, :16]
            inputs = resnet.normalise_frames(patch, learner.encoder.statistics)
            map_ = learner.encoder(inputs, training=False)['head'].numpy()[0]
            pooled = map_.mean((0, 1))
            expected = pooled / np.linalg.norm(pooled)
            np.testing.assert_allclose(nodes[0, row, column], expected, atol=1e-5)


def test_a_step_counts_every_patch_and_has_two_losses():
    learner = tiny_patch_learner(edge_dropout=0.1)
    frames = np.random.default_rng(2).integers(0, 256, (4, 40, 48, 3), np.uint8)
    sampler = patch_views.PatchSampler(view_size=32, **SIZES)
    views = sampler(tf.constant(frames), tf.constant([0, 0]))['views']
    batch = {'views': tf.stack([views, views]), 'index': tf.range(2, dtype=tf.int64)}
    result = learner.train_step(batch)
    losses = [float(result[f'loss/cycle_{k}']) for k in (1, 2)]
    np.testing.assert_allclose(result['loss'], np.mean(losses), rtol=1e-5)
    assert float(result['visible_fraction']) == 1 and float(result['gradient_norm']) > 0
    # No walk is sure before training: the loss is near that of chance.
    assert 0 < losses[0] < 2 * np.log(9)


@pytest.mark.parametrize(
    'learner,sampler,named',
    [
        ('patches', view_sampler.ViewSampler(32), 'give train.view_sampler = @PatchSampler'),
        ('patches', patch_views.PatchSampler(32, 16, 4), 'patch_stride = 8, but .*= 4'),
        ('maps', patch_views.PatchSampler(32, **SIZES), 'give @PatchLearner'),
    ],
)
def test_learner_and_views_have_to_suit_each_other(learner, sampler, named):
    encoder = resnet.resnet18(width=4, head_widths=(6,))
    made = {'patches': lambda: patches.PatchLearner(encoder, **SIZES)}
    objective = made.get(learner, lambda: learners.Learner(encoder))().objective
    with pytest.raises(errors.UserError, match=named):
        objective.check_views(sampler, 4)


def test_two_frames_are_too_few():
    with pytest.raises(errors.UserError, match='at least 3'):
        tiny_patch_learner().compile(tf.keras.optimizers.SGD(0.1), clip_frames=2)
    with pytest.raises(errors.UserError, match='at least 3 frames'):
        walk.patch_palindromes(tf.ones([1, 2, 4, 3]), 0.05)
