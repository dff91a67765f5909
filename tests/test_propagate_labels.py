"""Labels carried through frames whose truth is exact: textured objects that move by whole cells."""

import gc
import weakref

import moving_patches
import numpy as np
import pytest
from moving_patches import FRAMES, HEIGHT, assert_masks_agree, frames_and_masks, scene

from stfc3_tf import annotate, errors, serving
from stfc3_tf.benchmarks import models


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return moving_patches.save_model(str(tmp_path_factory.mktemp('model') / 'saved_model'))


@pytest.fixture(scope='module')
def encoder(model):
    return models.SavedEncoder(model)


@pytest.mark.parametrize('order', [1, -1], ids=['onwards', 'backwards'])
@pytest.mark.parametrize('scale, short_side', [(1, None), (2, HEIGHT)], ids=['native', 'shrunk'])
def test_masks_follow_their_objects(encoder, order, scale, short_side):
    frames, masks = (part[::order] for part in frames_and_masks(scale))
    results = list(annotate.propagate_masks(encoder, frames, masks[0], short_side=short_side))
    assert len(results) == FRAMES
    for result, truth in zip(results, masks):
        assert result.mask.shape == truth.shape and result.mask.dtype == np.uint8
        assert_masks_agree(result.mask, truth, within=2 * scale)
        assert set(result.confidence) == {2, 5}
        assert all(0.8 < confidence <= 1 for confidence in result.confidence.values())


@pytest.mark.parametrize('order', [1, -1], ids=['onwards', 'backwards'])
@pytest.mark.parametrize('scale, short_side', [(1, None), (2, HEIGHT)], ids=['native', 'shrunk'])
def test_points_follow_their_objects(encoder, order, scale, short_side):
    frames, _ = (part[::order] for part in frames_and_masks(scale))
    first = scale * np.array([[8 * 3 + 3.3, 24 - 2.2], [8 * 12 + 1.0, 72.4]])
    if order < 0:
        first += scale * (FRAMES - 1) * np.array([[8, 0], [-8, 0]])
    results = list(annotate.propagate_points(encoder, frames, first, short_side=short_side))
    assert len(results) == FRAMES
    for number, result in enumerate(results):
        truth = first + order * number * scale * np.array([[8, 0], [-8, 0]])
        np.testing.assert_allclose(result.points, truth, atol=0.3 * scale)
        assert np.all(result.confidence > 0.95) and np.all(result.confidence <= 1)


def test_a_model_just_loaded_will_do(model, encoder):
    frames, _ = frames_and_masks()
    expected = list(annotate.propagate_points(encoder, frames, [[24.0, 24.0]]))
    found = list(annotate.propagate_points(serving.load(model), iter(frames), [[24.0, 24.0]]))
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one.points, other.points, atol=1e-3)
        np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-3)


def test_confidence_falls_when_the_object_is_gone(encoder):
    frames, masks = frames_and_masks()
    gone = [*frames[:2], np.full_like(frames[0], 128)]
    *_, seen, lost = annotate.propagate_masks(encoder, gone, masks[0])
    assert min(seen.confidence.values()) > 0.8 and lost.confidence == {2: 0.0, 5: 0.0}
    assert not lost.mask.any()
    points = np.array([[24.0, 24.0]])
    *_, seen, lost = annotate.propagate_points(encoder, gone, points)
    assert seen.confidence[0] > 0.95 and lost.confidence[0] < 0.3


def test_few_frames_are_held_at_a_time(encoder):
    alive, most = weakref.WeakSet(), []

    class Picture(np.ndarray):
        """Knows a weak reference, other than plain arrays."""

        __hash__ = object.__hash__

    def frames():
        for number in range(60):
            frame = next(scene(number % FRAMES)).view(Picture)
            alive.add(frame)
            most.append(len(alive))
            yield frame

    masks = annotate.propagate_masks(encoder, frames(), list(scene(0))[1])
    assert sum(1 for _ in masks) == 60
    gc.collect()
    assert max(most) <= 3 and not alive


@pytest.mark.parametrize(
    'call, message',
    [
        (lambda e, f, m: annotate.propagate_masks(e, [], m), 'no frames'),
        (
            lambda e, f, m: annotate.propagate_masks(e, f, m[1:]),
            r'uint8 \[100, 133\].*\[101, 133\]',
        ),
        (lambda e, f, m: annotate.propagate_masks(e, f, m * 0), 'no object'),
        (lambda e, f, m: annotate.propagate_masks(e, f, m / 2), 'float64'),
        (lambda e, f, m: annotate.propagate_masks(e, f, m, short_side=0), 'short_side=0'),
        (lambda e, f, m: annotate.propagate_masks(e, [f[0][:9]], m[:9]), '16 pixels or more'),
        (lambda e, f, m: annotate.propagate_points(e, f, [[133, 5]]), 'outside the first frame'),
        (lambda e, f, m: annotate.propagate_points(e, f, np.zeros((0, 2))), r'\[0, 2\]'),
    ],
)
def test_mistakes_are_told_before_anything_is_encoded(encoder, call, message):
    frames, masks = frames_and_masks()
    with pytest.raises(errors.UserError, match=message):
        call(encoder, frames, masks[0])


def test_an_object_smaller_than_a_cell(encoder):
    frames, masks = frames_and_masks()
    mask = masks[0].copy()
    mask[50:53, 100:102] = 9
    with pytest.raises(
        errors.UserError, match='Object 9 of the mask, 6 pixels, .* raise short_side'
    ):
        next(annotate.propagate_masks(encoder, frames, mask))


def test_frames_of_another_size(encoder):
    frames, masks = frames_and_masks()
    results = annotate.propagate_masks(encoder, [frames[0], frames[1][1:]], masks[0])
    next(results)
    with pytest.raises(errors.UserError, match=r'Frame 1 .*\[100, 133, 3\]; all must be'):
        next(results)
