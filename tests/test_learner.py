"""The training step against NumPy, its own parts, several devices, and bad batches."""

import os
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf import encoder as encoders
from stfc3_tf import errors, geometry
from stfc3_tf.learner import Learner

ROOT = pathlib.Path(__file__).parent.parent


def tiny_learner(optimizer=None, dtype_policy='float32', frames=3, **settings):
    tf.keras.utils.set_random_seed(1)
    encoder = encoders.resnet18(
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


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def loss_by_loops(learner, batch, frames):
    """Equations (4) to (13) clip by clip, every product formed, from the learner's features."""
    features = learner.track_features(batch['views'], training=False).numpy()
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
    """Bilinear reading at the receptive-field centres (cell i at pixel 8i), and the mask of what exists."""
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


def test_vanilla_tracks_count_every_node():
    result = tiny_learner().test_step(batch_of(2, tracks=1))
    assert float(result['visible_fraction']) == 1


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
    assert float(result['loss']) == 0  # nothing finite was seen since the reset
    for a, b in zip(state, (*learner.encoder.variables, *learner.optimizer.variables)):
        np.testing.assert_array_equal(a, b)
    assert learner.step == 2
    result = step(good)
    assert float(result['skipped_steps']) == 0.5 and np.isfinite(float(result['loss']))


def test_bfloat16_loss_is_close_to_float32():
    batch = batch_of(2)
    exact = float(tiny_learner().test_step(batch)['loss'])
    mixed = tiny_learner(dtype_policy='mixed_bfloat16')
    assert abs(float(mixed.test_step(batch)['loss']) - exact) < 0.05 * exact
    assert np.isfinite(float(tf.function(mixed.train_step)(batch)['gradient_norm']))
    assert all(v.dtype == tf.float32 for v in mixed.encoder.trainable_variables)


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
        a = with_dropout.palindromes(batch, training).return_probability
        b = without.palindromes(batch, training).return_probability
        assert np.allclose(a, b, atol=1e-6) != training


_DEVICES = textwrap.dedent('''
    import sys
    import numpy as np
    import tensorflow as tf
    count, parts, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    cpu = tf.config.list_physical_devices('CPU')[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    from stfc3_tf import encoder as encoders
    from stfc3_tf.learner import Learner
    import test_learner
    strategy = tf.distribute.MirroredStrategy([f'CPU:{i}' for i in range(count)])
    with strategy.scope():
        tf.keras.utils.set_random_seed(1)
        encoder = encoders.resnet18(padding='reflect', width=4, head_widths=(8, 6), synchronised_norm=True)
        learner = Learner(encoder, edge_dropout=0.1, loss_normaliser='visible', accumulation_steps=parts)
        learner.compile(tf.keras.optimizers.SGD(1e-4), clip_frames=3)  # gradients are of the order of 1,000
    data = tf.data.Dataset.from_tensors(test_learner.batch_of(4)).unbatch().repeat()
    dataset = strategy.distribute_datasets_from_function(lambda c: data.batch(c.get_per_replica_batch_size(4), drop_remainder=True))
    history = learner.fit(dataset, steps_per_epoch=1, verbose=0).history
    np.savez(out, *[v.numpy() for v in encoder.variables], **{k: v[-1] for k, v in history.items()})
''')


def update_of_devices(count, parts, folder):
    out = folder / f'{count}_{parts}.npz'
    subprocess.run(
        [sys.executable, '-c', _DEVICES, str(count), str(parts), str(out)],
        check=True,
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': f'{ROOT / "tests"}:{ROOT}', 'TF_CPP_MIN_LOG_LEVEL': '2'},
    )
    return np.load(out)


def assert_same_update(a, b):
    for name in a.files:
        np.testing.assert_allclose(a[name], b[name], rtol=2e-3, atol=2e-4, err_msg=name)


def test_devices_give_the_update_of_one(tmp_path):
    alone = update_of_devices(1, 1, tmp_path)
    for count in (2, 4):
        assert_same_update(alone, update_of_devices(count, 1, tmp_path))


def test_parts_on_devices_give_a_finite_update(tmp_path):
    """Two devices with two parts each: part p of every device together is what the norms see at a time."""
    update = update_of_devices(2, 2, tmp_path)
    assert np.isfinite(update['loss']) and update['skipped_steps'] == 0
    assert update['gradient_norm'] > 0


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
