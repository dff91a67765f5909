"""Labels of several frames, carried both ways: exact scenes, a plain computation, invariants."""

import dataclasses
import gc
import weakref

from colour_neighbourhoods import GRID, neighbourhoods
import made_videos
import moving_patches
from moving_patches import FRAMES, assert_masks_agree, frames_and_masks, scene
import numpy as np
import pytest
from random_videos import random_video

from stfc3_tf import errors
from stfc3_tf.annotation import agreement, both_ways, frame_lists, given_labels, propagate
from stfc3_tf.benchmarks import metrics
from stfc3_tf.clips import footage, synthetic
from stfc3_tf.propagation.brute_force import brute_force
from stfc3_tf.propagation.extractor import FunctionExtractor
from stfc3_tf.propagation.input_size import InputSize
from stfc3_tf.propagation.settings import PropagationSettings
from stfc3_tf.storage.spool import Spool
from stfc3_tf.views.cell_grid import CellGrid


@pytest.fixture(scope='module')
def encoder():
    return moving_patches.ColoursInMemory()


class Recorded:
    """Random features of cells of 8 pixels; the first pixel of a frame holds its number."""

    cell_grid = CellGrid(first=3.5, stride=8)

    def __init__(self, features):
        self._features = features

    def features(self, frames):
        return self._features[frames[:, 0, 0, 0]]

    def frames(self):
        count, rows, columns, _ = self._features.shape
        frames = np.zeros((count, 8 * rows, 8 * columns, 3), np.uint8)
        frames[:, 0, 0, 0] = np.arange(count)
        return frames


@dataclasses.dataclass(frozen=True)
class MapsOfMasks(given_labels.GivenMasks):
    """Results are the label maps themselves."""

    def result(self, frame, maps, geometry):
        return maps[0]


def carried_by_hand(features, start, start_labels, other, other_labels, order, settings):
    """Carry labels over the frames in `order`, with `other` always in the context."""
    labels = {start: start_labels}
    for place, number in enumerate(order):
        before = [start, *order[:place]][-settings.context :]
        before = [start] * (settings.context - len(before)) + before
        context = [start, other, *before]
        known = {**labels, other: other_labels}
        labels[number] = brute_force(
            features[number],
            features[context],
            np.stack([known[each] for each in context]),
            np.array([True, True] + [False] * len(before)),
            settings,
        )
    return labels


def agreement_by_hand(features, number, labels, known, settings):
    """Return the soft IoU of given labels with those of a frame, carried to the labelled frames."""
    common = whole = 0
    for frame, truth in known.items():
        alone = features[number][np.newaxis], labels[np.newaxis], np.array([True])
        carried = brute_force(features[frame], *alone, settings)
        common += np.minimum(carried, truth).sum(axis=(0, 1))
        whole += np.maximum(carried, truth).sum(axis=(0, 1))
    return common / whole


def test_between_two_masks_as_the_definition_says():
    settings = PropagationSettings(context=2, radius=3.0, top_k=4)
    features, _ = random_video(3, 6, 5, 7)
    cells = np.random.default_rng(0).integers(0, 3, (2, 5, 7))
    masks = cells.repeat(8, 1).repeat(8, 2)
    encoder, labels = Recorded(features), MapsOfMasks({0: masks[0], 5: masks[1]})
    clip = frame_lists.Listed(encoder.frames())
    found = list(both_ways.Carrier(encoder, clip, labels, settings, InputSize('native')).labels())
    assert [each.number for each in found] == list(range(6))
    codec = labels.codec(labels.groups[0])
    height, width = clip.size
    geometry = both_ways.Geometry((height, width), (height, width), (5, 7), encoder.cell_grid)
    first, last = (codec.maps(labels.label(labels.groups[0], frame), geometry) for frame in (0, 5))
    onwards = carried_by_hand(features, 0, first, 5, last, [1, 2, 3, 4], settings)
    back = carried_by_hand(features, 5, last, 0, first, [4, 3, 2, 1], settings)
    agreed = np.array(
        [
            [
                agreement_by_hand(features, number, side[number], {0: first, 5: last}, settings)
                for side in (onwards, back)
            ]
            for number in range(1, 5)
        ]
    )
    shares = agreement.shares(agreed[:, 0], agreed[:, 1])
    assert shares.min() < 0.5 < shares.max()
    for number, share in enumerate(shares, 1):
        expected = np.zeros_like(first)
        for cell in np.ndindex(5, 7):
            one, other = onwards[number][cell], back[number][cell]
            objects = (share * one + (1 - share) * other)[1:]
            mixed = np.array([max(0, 1 - objects.sum()), *objects])
            expected[cell] = mixed / mixed.sum()
        np.testing.assert_allclose(found[number].label, expected, atol=2e-5)


def random_scene(places, count):
    """Return features of frames, and a carrier of random masks of some of them."""
    features, _ = random_video(3, count, 5, 7)
    cells = np.random.default_rng(0).integers(0, 3, (len(places), 5, 7))
    labels = MapsOfMasks(dict(zip(places, cells.repeat(8, 1).repeat(8, 2))))
    encoder, settings = Recorded(features), PropagationSettings(context=2, radius=3.0, top_k=4)

    def carrier(span=None):
        clip, size = frame_lists.Listed(encoder.frames()), InputSize('native')
        return both_ways.Carrier(encoder, clip, labels, settings, size, span=span)

    return features, labels, carrier


@pytest.mark.parametrize(
    'places, order', [((0, 3), [4, 5, 6]), ((0, 1, 4), [5, 6]), ((3, 6), [2, 1, 0])]
)
def test_before_and_after_all_masks_the_two_nearest_are_context(places, order):
    features, labels, carrier = random_scene(places, 7)
    codec = labels.codec(labels.groups[0])
    geometry = both_ways.Geometry((40, 56), (40, 56), (5, 7), Recorded.cell_grid)
    near, other = sorted(places, key=lambda place: abs(place - order[-1]))[:2]
    given = [codec.maps(labels.label(labels.groups[0], each), geometry) for each in (near, other)]
    settings = PropagationSettings(context=2, radius=3.0, top_k=4)
    expected = carried_by_hand(features, near, given[0], other, given[1], order, settings)
    found = list(carrier().labels())
    for number in order:
        np.testing.assert_allclose(found[number].label, expected[number], atol=2e-5)


def test_the_spans_of_a_clip_have_the_labels_of_the_whole():
    _, _, carrier = random_scene((2, 5), 8)
    whole = list(carrier().labels())
    head = list(carrier(both_ways.Span(0, 2)).labels_backwards())
    assert [each.number for each in head] == [2, 1, 0]
    parts = [head[::-1]]
    for first, last in ((0, 2), (2, 5), (5, None)):
        parts.append(list(carrier(both_ways.Span(first, last)).labels()))
    for part in parts:
        for each in part:
            if each.label is not None:
                np.testing.assert_array_equal(each.label, whole[each.number].label)
    assert [[each.number for each in part] for part in parts[1:]] == [
        [0, 1, 2],
        [2, 3, 4, 5],
        [5, 6, 7],
    ]


@pytest.mark.parametrize('kept', [(0, FRAMES - 1), (2,), (1, 3, 4)])
def test_masks_of_any_frames_follow_their_objects(encoder, kept):
    frames, masks = frames_and_masks()
    # A pixel that no feature cell could carry shows that a label comes back as it was given.
    labels = {number: masks[number].copy() for number in kept}
    for mask in labels.values():
        mask[0, 0] = 5
    found = list(propagate.propagate_masks(encoder, frames, labels=labels))
    assert len(found) == FRAMES
    for number, (label, truth) in enumerate(zip(found, masks)):
        assert label.mask.dtype == np.uint8
        if number in kept:
            np.testing.assert_array_equal(label.mask, labels[number])
            assert label.confidence == {2: 1.0, 5: 1.0}
        else:
            assert_masks_agree(label.mask, truth, within=2)
            assert min(label.confidence.values()) > 0.8


def test_a_reversed_video_has_the_reversed_result(encoder):
    frames, masks = frames_and_masks()
    labels = {1: masks[1], 4: np.roll(masks[4], 8, axis=0)}
    turned = {FRAMES - 1 - number: mask for number, mask in labels.items()}
    found = list(propagate.propagate_masks(encoder, frames, labels=labels))
    back = list(propagate.propagate_masks(encoder, frames[::-1], labels=turned))[::-1]
    for one, other in zip(found, back):
        np.testing.assert_array_equal(one.mask, other.mask)
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)
    points = {1: [[24.0, 24.0]], 4: [[60.0, 24.0]]}
    turned = {FRAMES - 1 - number: each for number, each in points.items()}
    found = list(propagate.propagate_points(encoder, frames, labels=points))
    back = list(propagate.propagate_points(encoder, frames[::-1], labels=turned))[::-1]
    for one, other in zip(found, back):
        np.testing.assert_allclose(one.points, other.points, atol=1e-3)


def only(mask, *numbers):
    return np.where(np.isin(mask, numbers), mask, 0)


def test_objects_enter_leave_and_return(encoder):
    frames, masks = frames_and_masks()
    labels = {
        0: only(masks[0], 5),
        2: masks[2],
        4: only(masks[4], 2),
        6: masks[6],
    }
    found = list(propagate.propagate_masks(encoder, frames, labels=labels))
    shown = {number: set(np.unique(label.mask)) - {0} for number, label in enumerate(found)}
    assert shown == {0: {5}, 1: {5}, 2: {2, 5}, 3: {2, 5}, 4: {2}, 5: {2}, 6: {2, 5}}
    assert [set(label.confidence) for label in found] == list(shown.values())
    for number, label in enumerate(found):
        assert_masks_agree(label.mask, only(masks[number], *shown[number]), within=2)


def test_a_mask_about_one_object_leaves_the_others_alone(encoder):
    frames, masks = frames_and_masks()
    moved = np.roll(only(masks[3], 5), -8, axis=1)
    plain = list(propagate.propagate_masks(encoder, frames, labels={0: masks[0]}))
    found = list(
        propagate.propagate_masks(encoder, frames, labels={0: masks[0], 3: moved}, objects={3: [5]})
    )
    np.testing.assert_array_equal(found[3].mask == 5, moved == 5)
    for number, (label, truth) in enumerate(zip(found, masks)):
        assert_masks_agree(only(label.mask, 2), only(truth, 2), within=2)
        assert label.confidence[2] == pytest.approx(plain[number].confidence[2], abs=0.02)


def test_all_frames_have_one_unsigned_type_that_is_wide_enough(encoder):
    frames, masks = frames_and_masks()
    signed = [np.where(mask == 5, np.int64(300), mask // 2) for mask in masks]
    for given in (
        {'first_mask': signed[0]},
        {'labels': {0: signed[0], 3: signed[3]}},
        # In frame 3, object 300 is given, and object 1 is propagated.
        {'labels': {0: signed[0], 3: signed[3]}, 'objects': {3: [300]}},
    ):
        found = list(propagate.propagate_masks(encoder, frames, **given))
        assert {label.mask.dtype for label in found} == {np.dtype(np.uint16)}
        for label, mask in zip(found, signed):
            assert_masks_agree(label.mask, mask, within=2)
    small = [np.int64(mask) for mask in masks]
    for given in ({'first_mask': small[0]}, {'labels': {0: small[0], 3: small[3]}}):
        found = propagate.propagate_masks(encoder, frames, **given)
        assert {label.mask.dtype for label in found} == {np.dtype(np.uint8)}


def test_points_that_are_not_named_go_on_unchanged(encoder):
    frames, _ = frames_and_masks()
    first = np.array([[24.0, 24.0], [100.0, 71.0]])
    plain = list(propagate.propagate_points(encoder, frames, first))
    named = {0: first, 3: {1: (76.0, 71.0)}, 5: {1: (np.nan, np.nan)}}
    found = list(propagate.propagate_points(encoder, frames, labels=named))
    for one, other in zip(found, plain):
        np.testing.assert_array_equal(one.points[0], other.points[0])
        assert one.confidence[0] == other.confidence[0]
    np.testing.assert_array_equal(found[3].points[1], (76, 71))
    np.testing.assert_allclose(found[4].points[1], (68, 71), atol=0.3)
    for label in found[5:]:
        assert np.isnan(label.points[1]).all() and label.confidence[1] == 0


def test_points_move_from_one_label_to_the_other_without_a_leap():
    """In a still picture both sides stay where they were marked; they meet in the middle."""
    features, _ = random_video(1, 1, 8, 12, 32)
    encoder = Recorded(np.repeat(features, 9, axis=0))
    labels = {0: [[40.0, 30.0]], 8: [[48.0, 30.0]]}
    found = list(propagate.propagate_points(encoder, list(encoder.frames()), labels=labels))
    x = np.array([label.points[0, 0] for label in found])
    np.testing.assert_allclose(x[[1, 4, 7]], [41, 44, 47], atol=0.7)
    assert np.all(np.diff(x) > 0) and np.diff(x).max() < 2


def test_a_correction_raises_the_score():
    scene_ = synthetic.scene(1_000_000_003, 96, 128)
    times = np.arange(16) / 8
    frames, truth = ([f(time) for time in times] for f in (scene_.frame, scene_.masks))
    encoder = FunctionExtractor(neighbourhoods, GRID)

    def scores(labels):
        found = propagate.propagate_masks(encoder, frames, labels=labels)
        numbers = [int(n) for n in np.unique(truth[0]) if n]
        return np.array(
            [
                np.mean([metrics.region_similarity(t == n, f.mask == n) for n in numbers])
                for t, f in zip(truth, found)
            ]
        )

    before = scores({0: truth[0]})
    worst = int(before.argmin())
    after = scores({0: truth[0], worst: truth[worst]})
    others = np.arange(16) != worst
    assert after[worst] == 1 and after[others].mean() > before[others].mean() + 0.05


def test_a_video_file_in_small_chunks_gives_what_a_list_gives(encoder, tmp_path, monkeypatch):
    path = made_videos.write(
        tmp_path / 'v.mp4',
        np.arange(12) / 10,
        lambda number: np.ascontiguousarray(next(scene(number % FRAMES))[:100, :132]),
        pix_fmt='yuv444p',
        g='4',
    )
    frames = [frame.image for frame in footage.open_footage(path).frames()]
    labels = {2: list(scene(2))[1][:100, :132], 9: list(scene(2))[1][:100, :132]}
    expected = list(propagate.propagate_masks(encoder, frames, labels=labels))
    for size in (1, 3 * frames[0].nbytes, 1 << 30):
        monkeypatch.setattr(footage, 'CHUNK_BYTES', size)
        opened = footage.open_footage(path)
        found = list(propagate.propagate_masks(encoder, opened, labels=labels))
        assert len(found) == 12
        for one, other in zip(found, expected):
            np.testing.assert_array_equal(one.mask, other.mask)
            assert one.confidence == other.confidence


def test_few_frames_are_held_between_distant_labels(encoder):
    alive, most = weakref.WeakSet(), []

    class Picture(np.ndarray):
        """Knows a weak reference, other than plain arrays."""

        __hash__ = object.__hash__

    class Frames:
        def __getitem__(self, places):
            frames = []
            for number in range(*places.indices(60)):
                frames.append(next(scene(number % FRAMES)).view(Picture))
                alive.add(frames[-1])
                most.append(len(alive))
            return frames

        def __len__(self):
            return 60

    labels = {number: list(scene(number % FRAMES))[1] for number in (5, 50)}
    assert sum(1 for _ in propagate.propagate_masks(encoder, Frames(), labels=labels)) == 60
    gc.collect()
    assert max(most) <= 4 and not alive


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'labels': {FRAMES: 0}}, 'no frame 7: the frames are numbered 0 to 6'),
        ({'labels': {}}, 'has no object'),
        ({'labels': {0: 1}}, r'mask of frame 0 is uint8 \[2, 2\]'),
        ({'objects': {0: [7]}}, 'mask of frame 0 is about object 7, which no mask shows'),
        ({'objects': {3: [2]}}, 'Objects are named for frame 3, which has no mask'),
        ({'first_mask': 0}, 'Give either first_mask or labels'),
        ({'frames': iter([])}, 'give the frames as an array or a list'),
    ],
)
def test_mistakes_are_named(encoder, changes, message):
    frames, masks = frames_and_masks()
    values = masks[0], np.zeros((2, 2), np.uint8)
    arguments = {'frames': frames, 'labels': {0: 0}, **changes}
    arguments['labels'] = {n: values[k] for n, k in arguments['labels'].items()}
    with pytest.raises(errors.UserError, match=message):
        list(propagate.propagate_masks(encoder, **arguments))


@pytest.mark.parametrize(
    'broken, message',
    [
        ([[[1, 2, 3]], [[1, 2]]], 'Frame 3 is not an array'),
        (np.zeros((101, 133, 3)), r'Frame 3 is float64 \[101, 133, 3\]; all must be uint8'),
    ],
)
def test_a_broken_frame_of_a_list_is_named_by_its_number(broken, message):
    frames, _ = frames_and_masks()
    mixed = [*frames[:3], broken, *frames[4:]]
    for start, reached in ((0, [0, 1, 2]), (2, [2])):
        found = []
        with pytest.raises(errors.UserError, match=f'^{message}'):
            found.extend(frame.number for frame in frame_lists.Listed(mixed).frames(start))
        assert found == reached
    with pytest.raises(errors.UserError, match=f'^{message}'):
        list(frame_lists.Listed(mixed).backwards(5))


def test_a_broken_first_frame_of_a_list_is_named():
    with pytest.raises(errors.UserError, match='^Frame 0 is not an array'):
        frame_lists.Listed([[[[1, 2, 3]], [[1, 2]]]])


@pytest.mark.parametrize(
    'labels, message',
    [
        ({0: [[5, 5]], 2: {2: (5, 5)}}, 'numbered 0, 1, ..., and each needs a position'),
        ({0: [[np.nan, np.nan]]}, 'each needs a position'),
        (
            {0: [[5, 5]], 2: [[500, 5]]},
            r'Point 0 of frame 2, \(500, 5\), lies outside the frame of 133x101',
        ),
    ],
)
def test_mistakes_in_points_are_named(encoder, labels, message):
    frames, _ = frames_and_masks()
    with pytest.raises(errors.UserError, match=message):
        list(propagate.propagate_points(encoder, frames, labels=labels))


def test_what_is_too_small_in_every_frame_is_refused(encoder):
    frames, masks = frames_and_masks()
    tiny = {number: masks[number].copy() for number in (0, 4)}
    tiny[0][66:69, 90:92] = tiny[4][66:69, 58:60] = 9
    with pytest.raises(errors.UserError, match='Object 9 of the mask, 6 pixels, is lost'):
        list(propagate.propagate_masks(encoder, frames, labels=tiny))
    tiny[4][60:76, 52:68] = 9
    found = list(propagate.propagate_masks(encoder, frames, labels=tiny))
    assert (found[0].mask == 9).sum() == 6 and (found[3].mask == 9).sum() > 100


def test_a_spool_returns_what_was_put_last():
    spool = Spool()
    for place in (2, 0, 1, 2):
        spool.put(place, np.full((3, 2), 10 * place + len(str(place))))
    spool.put(2, np.eye(3, 2))
    np.testing.assert_array_equal(spool.get(2), np.eye(3, 2))
    np.testing.assert_array_equal(spool.get(0), np.full((3, 2), 1))
    with pytest.raises(ValueError, match='shape'):
        spool.put(0, np.zeros(4))
