"""Labels carried through frames whose truth is exact: textured objects that move by whole cells."""

import gc
import pathlib
import re
import tracemalloc
import weakref

from moving_patches import FRAMES, HEIGHT, assert_masks_agree, frames_and_masks, scene
import numpy as np
import pytest

from stfc3_tf import errors
from stfc3_tf.annotation import propagate
from stfc3_tf.serving import saved_model
from stfc3_tf.views.cell_grid import CellGrid


@pytest.mark.parametrize('order', [1, -1], ids=['forwards', 'backwards'])
@pytest.mark.parametrize('scale, short_side', [(1, None), (2, HEIGHT)], ids=['native', 'shrunk'])
def test_masks_follow_their_objects(encoder, order, scale, short_side):
    frames, masks = (part[::order] for part in frames_and_masks(scale))
    results = list(propagate.propagate_masks(encoder, frames, masks[0], short_side=short_side))
    assert len(results) == FRAMES
    for result, truth in zip(results, masks):
        assert result.mask.shape == truth.shape and result.mask.dtype == np.uint8
        assert_masks_agree(result.mask, truth, within=2 * scale)
        assert set(result.confidence) == {2, 5}
        assert all(0.8 < confidence <= 1 for confidence in result.confidence.values())


@pytest.mark.parametrize('order', [1, -1], ids=['forwards', 'backwards'])
@pytest.mark.parametrize('scale, short_side', [(1, None), (2, HEIGHT)], ids=['native', 'shrunk'])
def test_points_follow_their_objects(encoder, order, scale, short_side):
    frames, _ = (part[::order] for part in frames_and_masks(scale))
    first = scale * np.array([[8 * 3 + 3.3, 24 - 2.2], [8 * 12 + 1.0, 72.4]])
    if order < 0:
        first += scale * (FRAMES - 1) * np.array([[8, 0], [-8, 0]])
    results = list(propagate.propagate_points(encoder, frames, first, short_side=short_side))
    assert len(results) == FRAMES
    for number, result in enumerate(results):
        truth = first + order * number * scale * np.array([[8, 0], [-8, 0]])
        np.testing.assert_allclose(result.points, truth, atol=0.3 * scale)
        assert np.all(result.confidence > 0.95) and np.all(result.confidence <= 1)


def test_a_model_may_be_loaded_in_the_call(model, encoder):
    frames, _ = frames_and_masks()
    expected = list(propagate.propagate_points(encoder, frames, [[24.0, 24.0]]))
    found = list(propagate.propagate_points(saved_model.load(model), iter(frames), [[24.0, 24.0]]))
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one.points, other.points, atol=1e-3)
        np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-3)


def test_confidence_falls_when_the_object_is_gone(encoder):
    frames, masks = frames_and_masks()
    gone = [*frames[:2], np.full_like(frames[0], 128)]
    *_, seen, lost = propagate.propagate_masks(encoder, gone, masks[0])
    assert min(seen.confidence.values()) > 0.8 and lost.confidence == {2: 0.0, 5: 0.0}
    assert not lost.mask.any()
    points = np.array([[24.0, 24.0]])
    *_, seen, lost = propagate.propagate_points(encoder, gone, points)
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

    masks = propagate.propagate_masks(encoder, frames(), list(scene(0))[1])
    assert sum(1 for _ in masks) == 60
    gc.collect()
    assert max(most) <= 3 and not alive


@pytest.mark.parametrize(
    'call, message',
    [
        (lambda e, f, m: propagate.propagate_masks(e, [], m), 'no frames'),
        (
            lambda e, f, m: propagate.propagate_masks(e, f, m[1:]),
            r'uint8 \[100, 133\].*\[101, 133\]',
        ),
        (lambda e, f, m: propagate.propagate_masks(e, f, m * 0), 'no object'),
        (lambda e, f, m: propagate.propagate_masks(e, f, m / 2), 'float64'),
        (lambda e, f, m: propagate.propagate_masks(e, f, m, short_side=0), 'short_side=0'),
        (
            lambda e, f, m: propagate.propagate_masks(e, f, m, short_side=10**8),
            'at most 8192 is possible. Lower short_side',
        ),
        (lambda e, f, m: propagate.propagate_masks(e, [f[0][:9]], m[:9]), '16 pixels or more'),
        (
            lambda e, f, m: propagate.propagate_masks(e, f, m, objects={7: [99]}),
            'give labels={0: mask} instead of first_mask, or leave objects out',
        ),
        (
            lambda e, f, m: propagate.propagate_points(e, f, [[9, 7], [133.5, 5]]),
            r'Point 1 of the first frame, \(133.5, 5\), lies outside .* 133x101 .*x from 0 to 132',
        ),
        (
            lambda e, f, m: propagate.propagate_points(e, f, {'nose': [60, 70]}),
            r'not a dictionary: .* numpy.array\(list\(points.values\(\)\)\)',
        ),
        (lambda e, f, m: propagate.propagate_points(e, f, [['nose', 7]]), 'must be numbers'),
        (lambda e, f, m: propagate.propagate_points(e, f, [[1, 2], [3]]), 'must be numbers'),
        (
            lambda e, f, m: propagate.propagate_masks('stfc3-small', f, m),
            r"load it with stfc3_tf.load\('stfc3-small'\)",
        ),
        (
            lambda e, f, m: propagate.propagate_points(pathlib.Path('a'), f, [[1, 2]]),
            r"load it with stfc3_tf.load\('a'\)",
        ),
        (
            lambda e, f, m: propagate.propagate_masks(e.features, f, m),
            'a method without features and cell_grid',
        ),
        (
            lambda e, f, m: propagate.propagate_masks(e, 'a.avi', m),
            r"a.avi is a path, not frames: .* stfc3_tf.open_footage\('a.avi'\)",
        ),
        (
            lambda e, f, m: propagate.propagate_masks(e, 'a.avi', labels={0: m}),
            r"a.avi is a path, not frames: .* stfc3_tf.open_footage\('a.avi'\)",
        ),
        (
            lambda e, f, m: propagate.propagate_masks(e, f / np.float32(255), m),
            r'not float32: convert values from 0 to 1 with \(255 \* .*, values from 0 to 255 with',
        ),
        (
            lambda e, f, m: propagate.propagate_masks(e, [f[0].tolist()], m),
            r'Frames must be uint8 arrays, not int64: convert .* numpy.uint8',
        ),
        (
            lambda e, f, m: propagate.propagate_masks(e, [[[[1, 2, 3]], [[1, 2]]]], m),
            'Frame 0 .* is not an array',
        ),
        (lambda e, f, m: propagate.propagate_points(e, f, np.zeros((0, 2))), r'\[0, 2\]'),
    ],
)
def test_mistakes_are_found_before_anything_is_encoded(encoder, call, message):
    frames, masks = frames_and_masks()
    with pytest.raises(errors.UserError, match=message):
        call(encoder, frames, masks[0])


def test_floats_from_0_to_1_come_back_with_the_conversion_that_the_message_names(encoder):
    frames, masks = frames_and_masks()
    with pytest.raises(errors.UserError) as raised:
        propagate.propagate_masks(encoder, [frames[0] / 255], masks[0])
    code = re.search(r'from 0 to 1 with (.*?), values', str(raised.value))[1]
    found = eval(code, {'numpy': np, 'frame': frames[0] / 255})
    np.testing.assert_array_equal(found, frames[0])


@pytest.mark.parametrize('several', [False, True])
def test_a_mask_of_booleans_is_one_object(encoder, several):
    frames, masks = frames_and_masks()
    one = masks[0] == 2
    given = [one, one.astype(np.int32)]
    found, expected = (
        list(
            propagate.propagate_masks(
                encoder, frames, **({'labels': {0: m}} if several else {'first_mask': m})
            )
        )
        for m in given
    )
    for label, other in zip(found, expected):
        assert set(label.confidence) == {1} and label.mask.dtype == np.uint8
        np.testing.assert_array_equal(label.mask, other.mask)
    np.testing.assert_array_equal(found[0].mask, one)
    assert found[-1].mask.any()


def test_an_object_smaller_than_a_cell(encoder):
    frames, masks = frames_and_masks()
    mask = masks[0].copy()
    mask[50:53, 100:102] = 9
    with pytest.raises(
        errors.UserError, match='Object 9 of the mask, 6 pixels, .* raise short_side'
    ):
        next(propagate.propagate_masks(encoder, frames, mask))


def test_frames_of_another_size(encoder):
    frames, masks = frames_and_masks()
    results = propagate.propagate_masks(encoder, [frames[0], frames[1][1:]], masks[0])
    next(results)
    with pytest.raises(errors.UserError, match=r'Frame 1 .*\[100, 133, 3\]; all must be'):
        next(results)


def test_later_frames_given_as_lists(encoder):
    frames, masks = frames_and_masks()
    results = propagate.propagate_masks(encoder, [frames[0], frames[1].tolist()], masks[0])
    next(results)
    with pytest.raises(errors.UserError, match='Frame 1 .* is int64 .* must be uint8'):
        next(results)


class Positions:
    """An encoder of cells of 8 pixels whose features tell every position of a still picture."""

    cell_grid = CellGrid(stride=8, first=3.5)

    def features(self, frames):
        rows, columns = frames.shape[1] // 8, frames.shape[2] // 8
        generator = np.random.default_rng(1)
        features = generator.standard_normal((rows, columns, 64)).astype(np.float32)
        features /= np.linalg.norm(features, axis=-1, keepdims=True)
        return np.repeat(features[np.newaxis], len(frames), axis=0)


def test_six_hundred_and_fifty_objects_of_a_cell_each():
    numbers = np.arange(26 * 26).reshape(26, 26)
    mask = np.where(numbers <= 650, numbers, 0).repeat(8, 0).repeat(8, 1)
    frames = [np.zeros((*mask.shape, 3), np.uint8)] * 2
    _, result = propagate.propagate_masks(Positions(), frames, mask)
    assert len(result.confidence) == 650 and min(result.confidence.values()) > 0.75
    # Borders between cells are ties within a pixel.
    inner = np.s_[2:6, 2:6]
    cells = result.mask.reshape(26, 8, 26, 8).swapaxes(1, 2)[(..., *inner)]
    expected = mask.reshape(26, 8, 26, 8).swapaxes(1, 2)[(..., *inner)]
    np.testing.assert_array_equal(cells, expected)


def test_memory_does_not_grow_with_the_objects():
    mask = np.zeros((1080, 1920), np.uint8)
    for number in range(1, 21):
        mask[100:900, 80 * number : 80 * number + 80] = number
    frames = [np.zeros((*mask.shape, 3), np.uint8)] * 2
    results = propagate.propagate_masks(Positions(), frames, mask, short_side=270)
    next(results)
    tracemalloc.start()
    try:
        next(results)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # All channels at once would be 21 * 4 bytes per pixel.
    assert most < 24 * mask.size


@pytest.mark.parametrize(
    'frame, shown',
    [((96, 128), (240, 320)), ((240, 427), (240, 427)), ((1080, 1920), (480, 853))],
)
def test_small_videos_are_enlarged_and_large_ones_reduced(monkeypatch, frame, shown):
    monkeypatch.undo()
    assert propagate.input_size(frame, None).of(*frame) == shown
