"""Baselines as encoders."""

import urllib.request

import gin
import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.benchmarks import baselines


def frames(height=37, width=50, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), dtype=np.uint8)


def test_colour_features_by_hand():
    flat = np.zeros((1, 20, 16, 3), np.uint8)
    flat[:, :, 8:] = 255, 51, 0
    features = baselines.ColourFeatures().features(flat)
    assert features.shape == (1, 3, 2, 6) and features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=-1), 1, rtol=1e-6)
    differences = np.array([1, 0.2, 0])
    np.testing.assert_allclose(
        features[0, 2, 0] @ features[0, 0, 1], np.cos(np.pi * differences).mean(), atol=1e-6
    )


def test_colour_cells_are_means_of_their_blocks():
    images = frames()
    features = baselines.ColourFeatures().features(images)
    assert features.shape == (2, 5, 7, 6)
    angle = np.pi * images[1, 8:16, 16:24, 2].mean() / 255
    np.testing.assert_allclose(
        features[1, 1, 2, [2, 5]] * np.sqrt(3), [np.cos(angle), np.sin(angle)], atol=1e-6
    )
    # The last row of blocks has 5 rows of pixels, the last of them repeated.
    last = np.concatenate([images[0, 32:, :8, 0], np.repeat(images[0, -1:, :8, 0], 3, 0)]).mean()
    np.testing.assert_allclose(
        features[0, 4, 0, 0] * np.sqrt(3), np.cos(np.pi * last / 255), atol=1e-6
    )


@pytest.mark.slow
def test_random_features_depend_on_the_seed_alone():
    first, again, other = (baselines.RandomFeatures(seed).features(frames()) for seed in (1, 1, 2))
    assert first.shape == (2, 5, 7, 256)
    np.testing.assert_allclose(np.linalg.norm(first, axis=-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    assert baselines.RandomFeatures(1).identity() != baselines.RandomFeatures(2).identity()


@pytest.mark.parametrize(
    'binding', ['resnet18.stage_strides = (1, 2, 2, 1)', "resnet18.dtype_policy = 'mixed_bfloat16'"]
)
def test_random_features_of_other_arithmetic_are_another_model(binding):
    plain = baselines.RandomFeatures().identity()
    with gin.unlock_config():
        gin.parse_config(binding)
    try:
        other = baselines.RandomFeatures().identity()
    finally:
        gin.clear_config()
    assert other['weights_sha256'] == plain['weights_sha256'] and other != plain


@pytest.mark.slow
def test_imagenet_network_from_a_weights_file(tmp_path):
    tf.keras.utils.set_random_seed(3)
    network = tf.keras.applications.ResNet50(include_top=False, weights=None)
    path = str(tmp_path / 'weights.h5')
    network.save_weights(path)
    extractor = baselines.ImageNetFeatures(weights=path)
    features = extractor.features(frames(64, 80))
    assert features.shape == (2, 8, 10, 512)
    # The same by hand: BGR minus the means, then the layer.
    images = frames(64, 80)[..., ::-1].astype(np.float32) - [103.939, 116.779, 123.68]
    layer = tf.keras.Model(network.input, network.get_layer('conv3_block4_out').output)(
        images
    ).numpy()
    np.testing.assert_allclose(
        features, layer / np.linalg.norm(layer, axis=-1, keepdims=True), atol=1e-5
    )
    assert (extractor.cell_grid.first, extractor.cell_grid.stride) == (0, 8)
    assert len(extractor.identity()['weights_sha256']) == 64


def test_weights_of_another_network_are_refused(tmp_path):
    path = str(tmp_path / 'weights.h5')
    tf.keras.applications.VGG16(include_top=False, weights=None).save_weights(path)
    with pytest.raises(errors.UserError, match='weights.h5'):
        baselines.ImageNetFeatures(weights=path)


def test_weights_that_cannot_be_downloaded_are_named(tmp_path, monkeypatch):
    for variable in ('HOME', 'KERAS_HOME'):
        monkeypatch.setenv(variable, str(tmp_path))
    for variable in ('http_proxy', 'https_proxy'):
        monkeypatch.setenv(variable, 'http://127.0.0.1:9')
    # urllib looks for proxies once per process, and would keep this one for later tests.
    monkeypatch.setattr(urllib.request, '_opener', None)
    with pytest.raises(errors.UserError, match="weights='imagenet'.*_notop.h5"):
        baselines.ImageNetFeatures()


@pytest.mark.parametrize(
    'settings,named', [(dict(network='LeNet'), 'LeNet'), (dict(weights='absent.h5'), 'absent.h5')]
)
def test_bad_imagenet_settings_are_named(settings, named):
    with pytest.raises(errors.UserError, match=named):
        baselines.ImageNetFeatures(**settings)
