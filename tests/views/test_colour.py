"""Colour operations against scalar derivations, PIL, colorsys and the libraries' own operations."""

import colorsys
import warnings

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
import pytest
import scipy.ndimage
import scipy.stats
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.views import colour

SEED = tf.constant([3, 5])


def picture(height=9, width=13, seed=0):
    return np.random.default_rng(seed).integers(0, 256, [height, width, 3], dtype=np.uint8)


def on_planes(operation, image, *arguments):
    planes = tf.transpose(tf.cast(image, tf.float32), [2, 0, 1])
    return tf.transpose(operation(planes, *arguments), [1, 2, 0]).numpy()


def nothing(**changes):
    draw = colour.ColourDraw(
        jitter=False,
        order=[0, 1, 2, 3],
        amounts=[1.0, 1.0, 1.0, 0.0],
        grey=False,
        blur=False,
        sigma=1.0,
        solarise=False,
    )
    return colour.ColourDraw(*map(tf.constant, draw._replace(**changes)))


def strengths(augmentation):
    return (
        augmentation.brightness,
        augmentation.contrast,
        augmentation.saturation,
        augmentation.hue,
    )


def probabilities(augmentation):
    return (
        augmentation.jitter_probability,
        augmentation.grey_probability,
        augmentation.blur_probability,
        augmentation.solarise_probability,
    )


@pytest.mark.parametrize('factor', [0.0, 0.3, 1.0, 1.7])
@pytest.mark.parametrize(
    'operation, enhancer',
    [
        (colour.scale_brightness, ImageEnhance.Brightness),
        (colour.scale_contrast, ImageEnhance.Contrast),
        (colour.scale_saturation, ImageEnhance.Color),
    ],
)
def test_factors_act_as_pil_does_up_to_its_rounding(operation, enhancer, factor):
    image = picture()
    expected = np.asarray(enhancer(Image.fromarray(image)).enhance(factor), np.float32)
    # PIL rounds the grey it blends with, then cuts the blend's fraction off.
    assert np.abs(on_planes(operation, image, factor) - expected).max() <= 1 + 0.5 * abs(1 - factor)


def test_factors_by_hand():
    image = np.array([[[200, 100, 50], [0, 0, 0]]])
    np.testing.assert_allclose(on_planes(colour.scale_brightness, image, 1.5)[0, 0], [255, 150, 75])
    grey = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    halved = on_planes(colour.scale_contrast, image, 0.5)
    np.testing.assert_allclose(halved[0, 1], 3 * [grey / 4], rtol=1e-6)
    np.testing.assert_allclose(on_planes(colour.scale_contrast, image, 2.0)[0, 1], 3 * [0])
    colourless = on_planes(colour.scale_saturation, image, 0.0)
    np.testing.assert_allclose(colourless[0, 0], 3 * [grey], rtol=1e-6)
    np.testing.assert_allclose(
        on_planes(colour.scale_saturation, image, 1.5)[0, 0],
        [1.5 * 200 - 0.5 * grey, 1.5 * 100 - 0.5 * grey, 1.5 * 50 - 0.5 * grey],
        rtol=1e-6,
    )


def test_saturation_equals_the_yiq_operation_of_tensorflow_addons():
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        tfa = pytest.importorskip('tensorflow_addons')

        image = tf.cast(picture(), tf.float32)
        expected = tf.clip_by_value(tfa.image.adjust_hsv_in_yiq(image, 0.0, 1.4, 1.0), 0.0, 255.0)
    # Its matrices are rounded to three decimals.
    assert np.abs(on_planes(colour.scale_saturation, image, 1.4) - expected).max() < 0.5


@pytest.mark.parametrize('shift', [-0.5, -0.2, -0.01, 0.0, 0.1, 0.37, 0.5])
def test_hue_equals_colorsys_and_tensorflow(shift):
    image = picture()
    image[0, :6] = [
        [7, 7, 7],
        [255, 255, 0],
        [0, 255, 255],
        [255, 0, 255],
        [0, 0, 0],
        [255, 255, 255],
    ]
    turned = on_planes(colour.shift_hue, image, shift)
    for pixel, result in zip(image.reshape(-1, 3), turned.reshape(-1, 3)):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255.0))
        expected = colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value)
        np.testing.assert_allclose(result / 255, expected, atol=1e-5)
    expected = tf.image.adjust_hue(tf.cast(image, tf.float32), shift)
    np.testing.assert_allclose(turned, expected, atol=1e-2)


def test_solarise_equals_pil():
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    expected = ImageOps.solarize(Image.fromarray(image), 128)
    np.testing.assert_array_equal(on_planes(colour.solarise, image), np.asarray(expected))


@pytest.mark.parametrize('sigma', [0.1, 0.6, 1.3, 2.0])
def test_blur_equals_scipy_with_mirrored_edges(sigma):
    image = picture(24, 31).astype(np.float32)
    radius = int(np.ceil(4 * sigma))
    expected = scipy.ndimage.gaussian_filter(
        image, (sigma, sigma, 0), mode='mirror', radius=(radius, radius, 0)
    )
    np.testing.assert_allclose(on_planes(colour.gaussian_blur, image, sigma), expected, atol=1e-3)


def test_blur_of_an_image_smaller_than_its_kernel_keeps_a_constant():
    image = np.full([3, 1, 3], 77.0)
    np.testing.assert_allclose(on_planes(colour.gaussian_blur, image, 2.0), image, rtol=1e-6)


@pytest.mark.parametrize('order', [[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]])
def test_jitter_applies_the_four_in_the_order_drawn(order):
    image = picture()
    amounts = [1.6, 0.7, 1.5, 0.15]
    operations = [
        colour.scale_brightness,
        colour.scale_contrast,
        colour.scale_saturation,
        colour.shift_hue,
    ]
    expected = image
    for number in order:
        expected = on_planes(operations[number], expected, amounts[number])
    result = colour.apply(image, nothing(jitter=True, order=order, amounts=amounts))
    np.testing.assert_allclose(result, expected, atol=1e-3)


def test_operations_not_drawn_leave_the_frame_alone():
    image = picture()
    np.testing.assert_array_equal(colour.apply(image, nothing(amounts=[0.1, 0.2, 0.3, 0.4])), image)
    np.testing.assert_array_equal(colour.ColourAugmentation()(image[None], SEED), image[None])


def test_grey_then_blur_then_solarise():
    image = picture(20, 20)
    result = colour.apply(image, nothing(grey=True, blur=True, sigma=0.8, solarise=True)).numpy()
    grey = image @ np.array([0.299, 0.587, 0.114])
    blurred = scipy.ndimage.gaussian_filter(grey, 0.8, mode='mirror')
    expected = np.where(blurred < 128, blurred, 255 - blurred)
    np.testing.assert_allclose(result, np.stack(3 * [expected], axis=-1), atol=0.05)


@pytest.mark.parametrize('augmentation', [*colour.PAPER, *colour.RELEASED])
def test_draws_have_the_stated_distributions(augmentation):
    count = 20_000
    draw = augmentation.draw(count, SEED)
    tolerance = 4 * np.sqrt(0.25 / count)
    drawn = (draw.jitter, draw.grey, draw.blur, draw.solarise)
    for values, probability in zip(drawn, probabilities(augmentation)):
        assert abs(np.mean(values) - probability) < tolerance
    middles = [1, 1, 1, 0]
    for amount, strength, middle in zip(draw.amounts.numpy().T, strengths(augmentation), middles):
        uniform = scipy.stats.uniform(middle - strength, 2 * strength)
        assert scipy.stats.kstest(amount, uniform.cdf).pvalue > 1e-3
    assert scipy.stats.kstest(draw.sigma, scipy.stats.uniform(0.1, 1.9).cdf).pvalue > 1e-3
    orders, counts = np.unique(draw.order, axis=0, return_counts=True)
    assert len(orders) == 24 and scipy.stats.chisquare(counts).pvalue > 1e-3


def test_a_strength_above_one_still_gives_factors_of_zero_or_more():
    factors = colour.ColourAugmentation(brightness=1.5).draw(2000, SEED).amounts[:, 0].numpy()
    assert 0 <= factors.min() < 0.01 and 2.49 < factors.max() <= 2.5


def test_draws_of_different_operations_are_independent():
    draw = colour.PAPER[1].draw(20_000, SEED)
    switches = [
        np.asarray(drawn, float) for drawn in (draw.jitter, draw.grey, draw.blur, draw.solarise)
    ]
    columns = [*switches, draw.sigma, *draw.amounts.numpy().T]
    correlation = np.corrcoef(columns) - np.eye(len(columns))
    assert np.abs(correlation).max() < 0.03


def test_published_settings():
    forward, backward = colour.PAPER
    assert strengths(forward) == (0.8, 0.8, 0.8, 0.2)
    assert strengths(backward) == (0.4, 0.4, 0.2, 0.1)
    assert probabilities(forward) == (0.8, 0.2, 0.2, 0.0)
    assert probabilities(backward) == (0.8, 0.2, 0.2, 0.2)
    forward, backward = colour.RELEASED
    assert strengths(forward) == strengths(backward) == (0.4, 0.4, 0.2, 0.1)
    assert probabilities(forward) == (0.8, 0.2, 1.0, 0.0)
    assert probabilities(backward) == (0.8, 0.2, 0.1, 0.2)
    assert all(a.blur_sigma == (0.1, 2.0) for a in colour.PAPER + colour.RELEASED)


def test_frames_are_drawn_independently_and_the_seed_decides():
    frames = np.repeat(picture()[None], 6, axis=0)
    augmentation = colour.ColourAugmentation(0.4, 0.4, 0.2, 0.1, jitter_probability=1.0)
    first = augmentation(frames, SEED).numpy()
    assert all(np.abs(first[i] - first[j]).max() > 1 for i in range(6) for j in range(i))
    np.testing.assert_array_equal(first, augmentation(frames, SEED))
    assert np.abs(first - augmentation(frames, SEED + 1)).max() > 1


def test_same_in_a_graph_of_unknown_size_as_eagerly():
    augmentation = colour.PAPER[1]
    signature = [tf.TensorSpec([None, None, None, 3], tf.uint8), tf.TensorSpec([2], tf.int32)]
    graph = tf.function(augmentation, input_signature=signature)
    for height, width in [(1, 1), (17, 30), (64, 5)]:
        frames = np.stack([picture(height, width, seed) for seed in range(8)])
        result = graph(frames, SEED).numpy()
        assert result.min() >= 0 and result.max() <= 255
        np.testing.assert_allclose(result, augmentation(frames, SEED), atol=1e-3)


@pytest.mark.parametrize(
    'setting',
    [
        {'brightness': -0.1},
        {'hue': 0.6},
        {'grey_probability': 1.2},
        {'blur_sigma': (0.0, 2.0)},
        {'blur_sigma': (2.0, 1.0)},
    ],
)
def test_settings_out_of_range_are_named(setting):
    with pytest.raises(errors.UserError, match=next(iter(setting))):
        colour.ColourAugmentation(**setting)
