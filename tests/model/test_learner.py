"""The training step against NumPy, its own parts, several devices, and bad batches."""

import os
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf
from tiny_learners import batch_of, tiny_learner

from stfc3_tf import errors
from stfc3_tf.views import geometry, sampler

ROOT = pathlib.Path(__file__).parents[2]


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def loss_by_loops(learner, batch, frames):
    """Compute equations (4) to (13) clip by clip, every product, from the learner's features."""
    features = learner.objective.track_features(batch['views'], training=False).numpy()
    clips, tracks, _, rows, columns, channels = features.shape
    total = 0.0
    for b in range(clips):
        forward, backward = features[b, 0], features[b, -1]
        start, mask = forward, np.ones(rows * columns)
        if tracks == 2:
            matrices = batch['view_from_frame'][b].numpy()
            forward_from_backward = matrices[0] @ np.linalg.inv(matrices[1])
            start, mask = warp_by_loops(forward, forward_from_backward, 8 * rows)
        flat = lambda track: track.reshape(frames, -1, channels)
        start, forward, backward = flat(start), flat(forward), flat(backward)
        step = lambda a, c: softmax(a @ c.T / learner.temperature)
        for k in range(frames - 1):
            walk = step(start[k], forward[k + 1])
            for t in range(k + 1, frames - 1):
                walk = walk @ step(forward[t], forward[t + 1])
            walk = walk @ step(forward[-1], backward[-1])
            for t in range(frames - 1, k, -1):
                walk = walk @ step(backward[t], backward[t - 1])
            total -= np.sum(mask * np.log(np.diag(walk) + 1e-7))
    return total / (clips * rows * columns)


def warp_by_loops(track, forward_from_backward, view_size):
    """Read bilinearly at the receptive-field centres (cell i at pixel 8i), and mask what exists."""
    frames, rows, columns, channels = track.shape
    out, mask = np.zeros_like(track), np.zeros((rows, columns))
    for i in range(rows):
        for j in range(columns):
            x, y = (2 * 8 * j + 1) / view_size - 1, (2 * 8 * i + 1) / view_size - 1
            x, y, _ = forward_from_backward @ [x, y, 1]
            x, y = (((v + 1) * view_size - 1) / 2 / 8 for v in (x, y))
            for r in (int(np.floor(y)), int(np.floor(y)) + 1):
                for c in (int(np.floor(x)), int(np.floor(x)) + 1):
                    if 0 <= r < rows and 0 <= c < columns:
                        weight = (1 - abs(y - r)) * (1 - abs(x - c))
                        out[:, i, j] += weight * track[:, r, c]
                        mask[i, j] += weight
    norm = np.maximum(np.linalg.norm(out, axis=-1, keepdims=True), 1e-6)
    return out / norm, (mask > 0.5).ravel().astype(float)


@pytest.mark.parametrize('tracks', [1, 2])
def test_loss_equals_the_definition(tracks):
    learner = tiny_learner()
    batch = batch_of(2, tracks)
    result = learner.test_step(batch)
    np.testing.assert_allclose(result['loss'], loss_by_loops(learner, batch, 3), rtol=1e-4)


def cells_by_loops(matrices, cells):
    """Return (forward cell, backward cell it falls on) of each cell that falls on one."""
    backward_from_forward = matrices[1] @ np.linalg.inv(matrices[0])
    pairs, size = [], 8 * cells
    for i in range(cells):
        for j in range(cells):
            x, y, _ = backward_from_forward @ [(16 * j + 1) / size - 1, (16 * i + 1) / size - 1, 1]
            column, row = (round((((v + 1) * size - 1) / 2) / 8) for v in (x, y))
            if 0 <= row < cells and 0 <= column < cells:
                pairs.append((i * cells + j, row * cells + column))
    return pairs


@pytest.mark.parametrize('frames', [1, 2])
def test_a_label_warp_asks_for_the_cell_on_which_the_start_falls(frames):
    learner = tiny_learner(warp='labels', frames=frames)
    batch = batch_of(3, frames=frames)
    boxes = [[-1, -1, 1, 1], [-0.4, -1, 1, 0.7]], [[-1, -1, 0.5, 1]] * 2, [[-1, -1, 1, 0.9]] * 2
    flips = tf.constant([[False, False], [True, False], [True, True]])
    batch['view_from_frame'] = geometry.view_from_frame(tf.constant(boxes, tf.float32), flips)
    features = learner.objective.track_features(batch['views'], training=False).numpy()
    total, count, moved = 0.0, 0, 0
    for clip, matrices in zip(features.reshape(3, 2, frames, 16, -1), batch['view_from_frame']):
        forward, backward = clip
        walk = softmax(forward[-1] @ backward[-1].T / 0.05)
        if frames == 2:
            there, back = (softmax(t[0] @ t[1].T / 0.05) for t in (forward, backward[::-1]))
            walk = there @ walk @ back
        pairs = cells_by_loops(matrices.numpy(), 4)
        total -= sum(np.log(walk[pair] + 1e-7) for pair in pairs)
        count += len(pairs)
        moved += sum(a != b for a, b in pairs)
    assert 0 < moved < count < 48
    result = learner.test_step(batch)
    np.testing.assert_allclose(result['loss'], total / 48, rtol=1e-4)
    np.testing.assert_allclose(result['visible_fraction'], count / 48, rtol=1e-6)


def test_still_pictures_are_matched_in_one_step():
    learner = tiny_learner(frames=1)
    batch = batch_of(2, frames=1)
    features = learner.objective.track_features(batch['views'], training=False).numpy()
    total = 0.0
    for (forward, backward), matrices in zip(features, batch['view_from_frame'].numpy()):
        start, mask = warp_by_loops(forward, matrices[0] @ np.linalg.inv(matrices[1]), 32)
        step = softmax(start.reshape(16, -1) @ backward.reshape(16, -1).T / 0.05)
        total -= np.sum(mask * np.log(np.diag(step) + 1e-7))
    result = learner.test_step(batch)
    np.testing.assert_allclose(result['loss'], total / 32, rtol=1e-4)
    np.testing.assert_allclose(result['loss/cycle_1'], result['loss'], rtol=1e-6)


def test_one_view_of_one_frame_and_unknown_warps_are_refused():
    with pytest.raises(errors.UserError, match='nothing to be compared with'):
        tiny_learner(frames=1).objective.check_views(
            sampler.ViewSampler(32, tracks=1, colours=(None,)), 1
        )
    with pytest.raises(errors.UserError, match='Learner.warp=.picture'):
        tiny_learner(warp='picture')
    with pytest.raises(errors.UserError, match='nothing is warped'):
        tiny_learner(warp='labels').objective.check_views(
            sampler.ViewSampler(32, tracks=1, colours=(None,)), 3
        )


def test_vanilla_tracks_count_every_node():
    result = tiny_learner().test_step(batch_of(2, tracks=1))
    assert float(result['visible_fraction']) == 1


@pytest.mark.slow
def test_loss_is_the_sum_of_its_cycles_and_falls_with_training():
    learner = tiny_learner(tf.keras.optimizers.Adam(3e-3))
    batch = batch_of(2)
    step = tf.function(learner.train_step)
    first = {k: float(v) for k, v in step(batch).items()}
    np.testing.assert_allclose(
        first['loss'], first['loss/cycle_1'] + first['loss/cycle_2'], rtol=1e-5
    )
    for _ in range(15):
        learner.reset_metrics()
        last = step(batch)
    assert float(last['loss']) < 0.9 * first['loss']
    assert learner.step == 16 and learner.clips_seen == 32


@pytest.mark.slow
def test_clips_without_overlap_contribute_nothing():
    batch = batch_of(2)
    apart = geometry.view_from_frame(
        tf.constant([[-1.0, -1, -0.5, 1], [0.5, -1, 1, 1]]), tf.constant([False, True])
    )
    batch['view_from_frame'] = tf.stack([apart, apart])
    learner = tiny_learner()
    before = [v.numpy() for v in learner.encoder.trainable_variables]
    result = tf.function(learner.train_step)(batch)
    assert float(result['loss']) == 0 and float(result['gradient_norm']) == 0
    assert float(result['visible_fraction']) == 0 and float(result['return_probability']) == 0
    for a, b in zip(before, learner.encoder.trainable_variables):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_parts_add_up_to_the_whole_step():
    """Accumulated gradients are the sum of the parts', each divided by the whole batch's nodes."""
    batch = batch_of(4)
    learner = tiny_learner(accumulation_steps=2, loss_normaliser='visible')
    weights = learner.encoder.get_weights()
    visible, nodes = learner._node_counts(batch)
    expected = [np.zeros(v.shape) for v in learner.encoder.trainable_variables]
    for part in (slice(0, 2), slice(2, 4)):
        gradients, _ = learner._gradients({k: v[part] for k, v in batch.items()}, visible + 1e-5)
        expected = [e + g.numpy() for e, g in zip(expected, gradients)]
    learner.encoder.set_weights(weights)
    before = [v.numpy() for v in learner.encoder.trainable_variables]
    tf.function(learner.train_step)(batch)
    for old, new, gradient in zip(before, learner.encoder.trainable_variables, expected):
        np.testing.assert_allclose(old - new.numpy(), 0.1 * gradient, rtol=1e-4, atol=1e-5)


def test_parts_must_divide_the_batch():
    with pytest.raises(
        errors.UserError, match='accumulation_steps = 2 does not divide the 3 clips'
    ):
        tiny_learner(accumulation_steps=2).train_step(batch_of(3))


@pytest.mark.slow
def test_a_bad_batch_is_counted_and_leaves_no_mark():
    learner = tiny_learner(tf.keras.optimizers.Adam(1e-3))
    good = {**batch_of(2), 'views': tf.cast(batch_of(2)['views'], tf.float32)}
    bad = {**good, 'views': good['views'] * float('nan')}
    step = tf.function(learner.train_step)
    step(good)
    state = [v.numpy() for v in (*learner.encoder.variables, *learner.optimizer.variables)]
    learner.reset_metrics()
    result = step(bad)
    assert float(result['skipped_steps']) == 1
    assert np.isnan(float(result['loss']))  # Nothing finite was seen since the reset.
    for a, b in zip(state, (*learner.encoder.variables, *learner.optimizer.variables)):
        np.testing.assert_array_equal(a, b)
    assert learner.step == 2
    result = step(good)
    assert float(result['skipped_steps']) == 0.5 and np.isfinite(float(result['loss']))


@pytest.mark.slow
def test_bfloat16_loss_is_close_to_float32():
    batch = batch_of(2)
    exact = float(tiny_learner().test_step(batch)['loss'])
    mixed = tiny_learner(dtype_policy='mixed_bfloat16')
    assert abs(float(mixed.test_step(batch)['loss']) - exact) < 0.05 * exact
    assert np.isfinite(float(tf.function(mixed.train_step)(batch)['gradient_norm']))
    assert all(v.dtype == tf.float32 for v in mixed.encoder.trainable_variables)


@pytest.mark.slow
def test_float16_lowers_its_loss_scale_on_overflow():
    learner = tiny_learner(dtype_policy='mixed_float16')
    scale = float(learner.optimizer.loss_scale)
    state = [v.numpy() for v in learner.encoder.variables]
    good = {**batch_of(2), 'views': tf.cast(batch_of(2)['views'], tf.float32)}
    result = tf.function(learner.train_step)({**good, 'views': good['views'] * float('inf')})
    assert float(result['skipped_steps']) == 1
    assert float(learner.optimizer.loss_scale) == scale / 2
    for a, b in zip(state, learner.encoder.variables):
        np.testing.assert_array_equal(a, b)


def test_dropped_edges_change_the_walk_in_training_only():
    batch = batch_of(2)
    with_dropout, without = tiny_learner(edge_dropout=0.5), tiny_learner()
    for training in (True, False):
        a = with_dropout.objective.palindromes(batch, training).return_probability
        b = without.objective.palindromes(batch, training).return_probability
        assert np.allclose(a, b, atol=1e-6) != training


def test_the_seed_decides_which_edges_are_dropped():
    batch = batch_of(1)

    def walked(seed):
        objective = tiny_learner(edge_dropout=0.5, seed=seed).objective
        return objective.palindromes(batch, training=True).return_probability.numpy()

    first = walked(0)
    np.testing.assert_allclose(first, walked(0), atol=1e-6)
    assert np.abs(first - walked(7)).max() > 1e-3


_DEVICES = textwrap.dedent("""
    import sys
    import numpy as np
    import tensorflow as tf
    cpu = tf.config.list_physical_devices('CPU')[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
    from stfc3_tf.model.learner import Learner
    import cluster_worker
    import tiny_learners

    def update(count, parts, order, out):
        strategy = tf.distribute.MirroredStrategy([f'CPU:{i}' for i in range(count)])
        with strategy.scope():
            tf.keras.utils.set_random_seed(1)
            encoder = cluster_worker.small_encoder(synchronised_norm=count > 1)
            learner = Learner(
                encoder, edge_dropout=0.1, loss_normaliser='visible', accumulation_steps=parts
            )
            learner.compile(tf.keras.optimizers.SGD(0.1), clip_frames=3)
        batch = tiny_learners.batch_of(4)
        batch = {name: tf.gather(value, order) for name, value in batch.items()}
        data = tf.data.Dataset.from_tensors(batch).unbatch().repeat()
        dataset = strategy.distribute_datasets_from_function(
            lambda c: data.batch(c.get_per_replica_batch_size(4), drop_remainder=True)
        )
        history = learner.fit(dataset, steps_per_epoch=1, verbose=0).history
        figures = {name: value[-1] for name, value in history.items()}
        np.savez(out, *[v.numpy() for v in encoder.variables], **figures)

    for given in sys.argv[1:]:
        count, parts, order, out = given.split(',', 3)
        update(int(count), int(parts), [int(clip) for clip in order], out)
""")


@pytest.fixture(scope='module')
def updates(tmp_path_factory):
    """Return the updates of several devices, by their number, the parts and the order of clips."""
    folder = tmp_path_factory.mktemp('updates')
    found = {}
    # A process knows one group of devices that sum their gradients.
    for wanted in ([(1, 1, '0123'), (1, 2, '0213')], [(4, 1, '0123')], [(2, 2, '0123')]):
        files = {each: folder / ('_'.join(map(str, each)) + '.npz') for each in wanted}
        given = [
            f'{count},{parts},{order},{files[count, parts, order]}'
            for count, parts, order in wanted
        ]
        subprocess.run(
            [sys.executable, '-c', _DEVICES, *given],
            check=True,
            cwd=ROOT,
            env={
                **os.environ,
                'PYTHONPATH': f'{ROOT / "tests" / "support"}:{ROOT}',
                'TF_CPP_MIN_LOG_LEVEL': '2',
            },
        )
        found.update({each: np.load(file) for each, file in files.items()})
    return found


def assert_same_update(a, b):
    assert np.isfinite(a['loss']) and a['gradient_norm'] > 0 and a['skipped_steps'] == 0
    for name in a.files:
        np.testing.assert_allclose(a[name], b[name], rtol=2e-3, atol=2e-4, err_msg=name)


@pytest.mark.slow
def test_devices_give_the_update_of_one(updates):
    assert_same_update(updates[1, 1, '0123'], updates[4, 1, '0123'])


@pytest.mark.slow
def test_parts_on_devices_give_the_update_of_one(updates):
    """At a time, the norms see part p of every device: clips 0 and 2, then 1 and 3."""
    assert_same_update(updates[1, 2, '0213'], updates[2, 2, '0123'])
    # The order tells the two apart: other clips are normalised together.
    assert abs(updates[1, 2, '0213']['loss'] - updates[1, 1, '0123']['loss']) > 1e-3


@pytest.mark.slow
def test_the_compiled_step_equals_the_plain_one():
    batch = batch_of(2)
    results = []
    for jit_compile in (False, True):
        learner = tiny_learner()
        result = tf.function(learner.train_step, jit_compile=jit_compile)(batch)
        results.append(
            (float(result['loss']), [v.numpy() for v in learner.encoder.trainable_variables])
        )
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)
    for plain, compiled in zip(results[0][1], results[1][1]):
        np.testing.assert_allclose(plain, compiled, atol=1e-3)
