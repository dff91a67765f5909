"""The encoder equals the authors' PyTorch encoder, and knows where its cells stand."""

import importlib.util
import os
import pathlib
import subprocess
import sys

from golden_encoder import GOLDEN, GOLDEN_LAYERS, GOLDEN_NAMES, golden_frames, golden_model
import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.model import layers, resnet
from stfc3_tf.views.geometry import CellGrid


@pytest.mark.parametrize('padding', resnet.PADDINGS)
def test_equals_the_authors_encoder(padding):
    model, outputs = golden_model(padding)
    frames = golden_frames(padding)
    for mode in ('eval', 'train'):
        for key, value in outputs(frames, training=mode == 'train').items():
            step = GOLDEN_LAYERS[key][1]
            expected = GOLDEN[f'{GOLDEN_NAMES[padding]}_{mode}_{key}'].transpose(0, 2, 3, 1)
            scale = np.abs(expected).max()
            np.testing.assert_allclose(
                value.numpy()[..., ::step] / scale, expected / scale, rtol=0, atol=2e-5
            )
    # The fixture's running statistics have seen the batch twice: 1 - 0.9^2 of their way to it.
    outputs(frames, training=True)
    norm = model.get_layer('bn1')
    for here, there in (('moving_mean', 'mean'), ('moving_variance', 'var')):
        expected = GOLDEN[f'{GOLDEN_NAMES[padding]}_after_train_bn1_{there}']
        np.testing.assert_allclose(getattr(norm, here), expected, rtol=0, atol=2e-5)


def test_without_stage_4_the_head_stands_on_stage_3():
    whole = resnet.resnet18(width=4, head_widths=(8, 5), seed=3)
    cut = resnet.resnet18(width=4, stage_strides=(1, 2, 1), head_widths=(8, 5), seed=3)
    frames = tf.random.stateless_normal([2, 40, 56, 3], seed=[1, 2])
    outputs = cut(frames)
    assert list(outputs) == list(cut.cell_grid) == ['stage3', 'head']
    # A layer's initial weights follow from its name and the seed, so the common stages are equal.
    np.testing.assert_array_equal(outputs['stage3'], whole(frames)['stage3'])
    assert outputs['head'].shape == (2, 5, 7, 5)
    hidden = tf.nn.relu(tf.matmul(outputs['stage3'], cut.get_layer('head.conv0').kernel[0, 0]))
    normed = hidden / np.sqrt(1 + 1e-5)  # as nothing was learnt: mean 0, variance 1
    expected = tf.matmul(normed, cut.get_layer('head.conv1').kernel[0, 0])
    np.testing.assert_allclose(outputs['head'], expected, rtol=1e-4, atol=1e-5)
    assert not [layer.name for layer in cut.layers if layer.name.startswith('layer4')]


@pytest.mark.parametrize('strides', [(1, 2), (1, 2, 1, 1, 1)])
def test_there_are_three_or_four_stages(strides):
    with pytest.raises(errors.UserError, match='resnet18.stage_strides'):
        resnet.resnet18(width=2, stage_strides=strides)


def influence(model, output, size, row, column):
    """Where the pixels lie that cell (row, column) depends on: weight of each row and column."""
    frames = tf.random.stateless_normal([1, size, size, 3], seed=[1, 2])
    with tf.GradientTape() as tape:
        tape.watch(frames)
        cell = model(frames)[output][0, row, column]
        loss = tf.reduce_sum(cell * tf.random.stateless_normal(cell.shape, seed=[3, 4]))
    weight = np.abs(tape.gradient(loss, frames)[0].numpy()).sum(-1)
    return weight.sum(1), weight.sum(0)


@pytest.mark.parametrize('padding', resnet.PADDINGS)
@pytest.mark.parametrize(
    'stage_strides, output',
    [
        ((1, 2, 1, 1), 'stage3'),
        ((1, 2, 1, 1), 'head'),
        pytest.param((1, 2, 2, 1), 'stage3', marks=pytest.mark.slow),
        pytest.param((1, 2, 1), 'head', marks=pytest.mark.slow),
    ],
)
def test_cells_stand_in_the_middle_of_the_pixels_they_see(padding, stage_strides, output):
    model = resnet.resnet18(padding, width=2, stage_strides=stage_strides, head_widths=(8, 4))
    size = 512
    first, stride = model.cell_grid[output]
    row, column = (int((size / 2 - first) // stride) + shift for shift in (0, 1))
    for index, weight in zip((row, column), influence(model, output, size, row, column)):
        seen = np.flatnonzero(weight)
        assert seen[0] > 0 and seen[-1] < size - 1
        assert (seen[0] + seen[-1]) / 2 == first + stride * index


def test_cell_grids_by_hand():
    padded = resnet.resnet_cell_grid('reflect', (1, 2, 1, 1))
    assert padded == dict.fromkeys(resnet.OUTPUTS, CellGrid(0.0, 8))
    # 3 (stem) + 2 (pool) + 4 convolutions x 4 pixels, then 4 (strided) + 3 x 8, then 4 x 8 a stage.
    bare = resnet.resnet_cell_grid('none', (1, 2, 1, 1))
    assert bare['stage3'] == CellGrid(3 + 2 + 16 + 28 + 32, 8)
    assert bare['stage4'] == bare['head'] == CellGrid(3 + 2 + 16 + 28 + 32 + 32, 8)


@pytest.mark.parametrize('size', [64, 65, 71, 72])
def test_padded_maps_have_a_cell_for_every_eight_pixels_begun(size):
    model = resnet.resnet18(width=2, head_widths=(4, 6))
    features = model(tf.zeros([1, size, 40, 3]))
    assert features['stage3'].shape == (1, -(-size // 8), 5, 8)
    assert features['stage4'].shape == (1, -(-size // 8), 5, 16)
    assert features['head'].shape == (1, -(-size // 8), 5, 6)


@pytest.mark.parametrize('rows, columns', [(3, 4), (4, 9), (6, 8)])
@pytest.mark.parametrize('size', [1, 2])
@pytest.mark.parametrize('mode, numpy_mode', [('reflect', 'reflect'), ('replicate', 'edge')])
def test_pads_continue_the_picture(mode, numpy_mode, size, rows, columns):
    pad = layers.EdgePadding2D(size, mode)
    of_any_size = tf.function(pad, input_signature=[tf.TensorSpec([None, None, None, 2])])
    random = np.random.default_rng(0)
    picture = random.normal(size=(2, rows, columns, 2)).astype(np.float32)
    ends = [(0, 0), (size, size), (size, size), (0, 0)]
    wanted = np.pad(picture, ends, mode=numpy_mode)
    # The gradient gives back to each cell what its copies got.
    given = random.normal(size=wanted.shape).astype(np.float32)
    cells = np.pad(np.arange(picture.size).reshape(picture.shape), ends, mode=numpy_mode)
    returned = np.bincount(cells.ravel(), given.ravel()).reshape(picture.shape)
    for padded_by in (pad, of_any_size):
        with tf.GradientTape() as tape:
            frames = tf.constant(picture)
            tape.watch(frames)
            padded = padded_by(frames)
        np.testing.assert_array_equal(padded, wanted)
        gradient = tape.gradient(padded, frames, given)
        np.testing.assert_allclose(gradient, returned, rtol=1e-5, atol=1e-6)


def test_heads_differ_in_order_only():
    def names(order):
        model = resnet.resnet18(width=2, head_widths=(4, 6), head_order=order)
        return [layer.name for layer in model.layers if layer.name.startswith('head.')]

    assert names('activation_first') == ['head.conv0', 'head.relu', 'head.bn', 'head.conv1']
    assert names('norm_first') == ['head.conv0', 'head.bn', 'head.relu', 'head.conv1']


def test_initial_weights_follow_the_seed_and_the_field():
    one, two, other = (resnet.resnet18(seed=seed) for seed in (1, 1, 2))
    for a, b in zip(one.get_weights(), two.get_weights()):
        np.testing.assert_array_equal(a, b)
    kernels = [(a, b) for a, b in zip(one.get_weights(), other.get_weights()) if a.ndim == 4]
    assert all(np.any(a != b) for a, b in kernels)
    first, second = (one.get_layer(f'layer3.1.conv{i}').kernel.numpy() for i in (1, 2))
    assert np.any(first != second)
    # Normal with variance 2 / (3 * 3 * 256 outputs); not truncated: 4.6 % lie beyond 2 deviations.
    deviation = np.sqrt(2 / (9 * 256))
    assert abs(first.std() / deviation - 1) < 0.01 and abs(first.mean()) < deviation / 100
    assert abs(np.mean(np.abs(first) > 2 * deviation) - 0.0455) < 0.003


def test_mixed_precision_computes_in_bfloat16_and_returns_float32():
    exact = resnet.resnet18(width=8, head_widths=(16, 8))
    mixed = resnet.resnet18(width=8, head_widths=(16, 8), dtype_policy='mixed_bfloat16')
    assert mixed.get_layer('layer2.0.conv1').compute_dtype == 'bfloat16'
    assert all(variable.dtype == tf.float32 for variable in mixed.variables)
    assert tf.keras.mixed_precision.global_policy().name == 'float32'
    frames = tf.random.stateless_normal([1, 64, 64, 3], seed=[0, 1])
    for name, features in exact(frames).items():
        assert mixed(frames)[name].dtype == tf.float32
        error = tf.norm(mixed(frames)[name] - features) / tf.norm(features)
        assert 1e-6 < error < 0.05


def test_normalised_frames():
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3), np.uint8)
    expected = (frames / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    normalised = resnet.normalise_frames(frames, resnet.STATISTICS['imagenet'])
    assert normalised.dtype == tf.float32
    np.testing.assert_allclose(normalised, expected, atol=1e-5)


@pytest.mark.parametrize('setting', ['padding', 'head_order', 'statistics'])
def test_an_unknown_choice_is_named_with_the_known_ones(setting):
    with pytest.raises(errors.UserError, match=f"resnet18.{setting}='odd': choose one of"):
        resnet.resnet18(**{setting: 'odd'})


def test_checkpoint_holds_nothing_but_weights(tmp_path):
    model = resnet.resnet18(width=2, head_widths=(4, 6))
    path = tf.train.Checkpoint(encoder=model).save(str(tmp_path / 'model'))
    saved = sum(
        np.prod(shape) for name, shape in tf.train.list_variables(path) if 'encoder' in name
    )
    assert saved == model.count_params()


KERAS_CV_PROGRAM = """
import tempfile
import numpy as np
import tensorflow as tf
from stfc3_tf.model import resnet as encoder
from stfc3_tf.serving import export, loading
from tests.model.test_resnet import influence

tf.keras.utils.set_random_seed(0)
model = encoder.keras_cv_backbone(head_widths=(8, 6))
shapes = {name: tuple(value.shape) for name, value in model(tf.zeros([1, 37, 48, 3])).items()}
assert shapes == {'stage3': (1, 5, 6, 256), 'stage4': (1, 5, 6, 512), 'head': (1, 5, 6, 6)}, shapes
for size, cell in ((256, 16), (253, 15)):
    first, stride = model.cell_grid['stage3']
    for weight in influence(model, 'stage3', size, cell, cell):
        centre = (weight * np.arange(size)).sum() / weight.sum()
        assert abs(centre - (first + stride * cell)) < 2, centre
mixed = encoder.keras_cv_backbone(head_widths=(8, 6), dtype_policy='mixed_bfloat16')
assert mixed.get_layer('conv1_conv').compute_dtype == 'bfloat16'
assert tf.keras.mixed_precision.global_policy().name == 'float32'
with tempfile.TemporaryDirectory() as folder:
    export.export(model, folder)
    frames = np.random.default_rng(0).integers(0, 256, (1, 40, 43, 3), np.uint8)
    found = loading.load(folder).features(frames)
    maps = model(encoder.normalise_frames(frames, model.statistics))['stage3']
    assert np.abs(found - tf.math.l2_normalize(maps, -1)).max() < 1e-5
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec('keras_cv') is None, reason='needs keras-cv')
def test_keras_cv_backbone():
    # In a process of its own, because importing KerasCV changes process-wide settings of Keras.
    root = pathlib.Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, '-c', KERAS_CV_PROGRAM],
        cwd=root,
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join([str(root), str(root / 'tests/support')])},
    )
    assert result.returncode == 0, result.stderr
