"""The masks and points of synthetic scenes agree with the pixels that are drawn."""

import dataclasses

import numpy as np
import pytest

from stfc3_tf.clips import source, synthetic, textures


def _bilinear(image, points):
    """Interpolate bilinearly at (x, y) points [n, 2], by the textbook formula."""
    height, width = image.shape[:2]
    result = []
    for x, y in points:
        left, top = min(int(x), width - 2), min(int(y), height - 2)
        a, b = x - left, y - top
        corners = image[top : top + 2, left : left + 2].astype(float)
        weights = np.array([[(1 - b) * (1 - a), (1 - b) * a], [b * (1 - a), b * a]])
        result.append((corners * weights[..., None]).sum((0, 1)))
    return np.array(result)


def _flat(labels, margin):
    """Return where all neighbours up to `margin` away have the same label, away from the rim."""
    height, width = labels.shape
    flat = np.zeros(labels.shape, bool)
    for y in range(margin, height - margin):
        for x in range(margin, width - margin):
            patch = labels[y - margin : y + margin + 1, x - margin : x + margin + 1]
            flat[y, x] = patch.min() == patch.max()
    return flat


def _follow_pixels(scene, time, other_time):
    """Return where each pixel's surface is in another frame, and whether it is visible there."""
    rows, columns = np.mgrid[: scene.height, : scene.width]
    return scene.follow(np.stack([columns, rows], -1).astype(np.float64), time, other_time)


@pytest.mark.parametrize('seed', [0, 3])
def test_corresponding_points_have_the_same_colour(seed):
    scene = synthetic.scene(seed, 96, 128)
    before, after = 0.4, 0.65
    moved, seen = _follow_pixels(scene, before, after)
    labels = scene.masks(before)
    inner = seen & _flat(labels, 2)
    # The other end must be clear of edges too: anti-aliasing mixes colours there.
    ends = np.rint(moved).astype(int).clip(0, [127, 95])
    inner &= _flat(scene.masks(after), 2)[ends[..., 1], ends[..., 0]]
    rows, columns = np.nonzero(inner)
    chosen = np.random.default_rng(0).choice(len(rows), 1500, replace=False)
    rows, columns = rows[chosen], columns[chosen]
    colours = scene.frame(before)[rows, columns].astype(float)
    same = np.abs(_bilinear(scene.frame(after), moved[rows, columns]) - colours)
    unmoved = np.abs(scene.frame(after)[rows, columns].astype(float) - colours)
    assert same.mean() < 4.0
    assert np.percentile(same, 99) < 25.0
    assert unmoved.mean() > 4 * same.mean()


def test_a_mask_is_where_removing_the_object_changes_the_picture():
    scene = synthetic.scene(1, 96, 128)
    time = 1.3
    masks = scene.masks(time)
    frame = scene.frame(time).astype(int)
    objects = len(scene.layers) - 1
    assert objects >= 3
    for number in range(1, objects + 1):
        rest = tuple(layer for k, layer in enumerate(scene.layers) if k != number)
        without = dataclasses.replace(scene, layers=rest).frame(time).astype(int)
        changed = np.abs(frame - without).sum(-1) > 0
        inside = masks == number
        # Anti-aliasing changes pixels next to the mask, and, where the object's edge runs along
        # that of one in front, a few where so thin a strip shows that the label is the front one's.
        assert inside.sum() > 50
        assert changed[inside].mean() > 0.97
        near = np.zeros_like(inside)
        padded = np.pad(inside, 2)
        for dy in range(5):
            for dx in range(5):
                near |= padded[dy : dy + 96, dx : dx + 128]
        assert changed[~near].sum() <= 5


def test_key_points_lie_on_their_objects_and_follow_the_correspondence():
    scene = synthetic.scene(2, 96, 128)
    labels = scene.marks[:, 0].astype(int)
    assert set(labels) == set(range(1, len(scene.layers)))
    both = 0
    for before, after in [(0.0, 0.5), (2.0, 2.3), (5.0, 4.0)]:
        start, seen = scene.points(before), scene.visible(before)
        moved, still_seen = scene.follow(start[seen], before, after)
        np.testing.assert_allclose(moved, scene.points(after)[seen], atol=1e-9)
        np.testing.assert_array_equal(still_seen, scene.visible(after)[seen])
        both += still_seen.sum()
        x, y = np.rint(start[seen]).astype(int).T
        assert (scene.masks(before)[y, x] == labels[seen]).mean() > 0.9
    assert both > 10


def test_hidden_points_are_behind_something_or_outside():
    scene = synthetic.scene(2, 96, 128)
    hidden = covered = 0
    for time in np.arange(0, 10, 0.5):
        points, seen, masks = scene.points(time), scene.visible(time), scene.masks(time)
        for (x, y), label in zip(points[~seen], scene.marks[~seen, 0]):
            hidden += 1
            column, row = round(x), round(y)
            if 0 <= column < 128 and 0 <= row < 96:
                neighbours = masks[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
                assert neighbours.max() > label
                covered += 1
    assert hidden > 5 and covered > 0


def test_correspondence_there_and_back_is_the_identity():
    scene = synthetic.scene(4, 64, 80)
    moved, seen = _follow_pixels(scene, 1.0, 1.5)
    back, seen_back = scene.follow(moved[seen], 1.5, 1.0)
    rows, columns = np.nonzero(seen)
    np.testing.assert_allclose(back, np.stack([columns, rows], 1), atol=1e-9)
    assert seen_back.all()
    assert 0.5 < seen.mean() < 1.0


def test_motion_is_visible_but_trackable():
    """Between frames of a training clip surfaces move by a fraction of a pixel to some pixels."""
    steps = []
    for seed in range(6):
        scene = synthetic.scene(seed)
        moved, seen = _follow_pixels(scene, 1.0, 1.125)
        rows, columns = np.nonzero(seen)
        steps.append(np.hypot(*(moved[seen] - np.stack([columns, rows], 1)).T))
    steps = np.concatenate(steps)
    assert 0.5 < steps.mean() < 6 and steps.max() < 20


def test_a_scene_looks_the_same_at_another_size():
    small, large = synthetic.scene(5, 64, 80), synthetic.scene(5, 128, 160)
    shrunk = large.frame(1.0).reshape(64, 2, 80, 2, 3).mean((1, 3))
    assert np.abs(shrunk - small.frame(1.0)).mean() < 12


def test_textures_repeat_and_reproduce():
    texture = textures.random_texture(np.random.default_rng(1), 64)
    again = textures.random_texture(np.random.default_rng(1), 64)
    np.testing.assert_array_equal(texture, again)
    assert texture.shape == (64, 64, 3) and texture.dtype == np.uint8
    assert texture.std() > 10
    x, y = np.array([3.25, 63.5]), np.array([10.75, 63.25])
    np.testing.assert_allclose(
        textures.sample(texture, x, y), textures.sample(texture, x + 64, y - 128), atol=1e-3
    )
    wrapped = np.pad(texture, ((0, 1), (0, 1), (0, 0)), mode='wrap')
    expected = _bilinear(wrapped, np.stack([x, y], 1))
    np.testing.assert_allclose(textures.sample(texture, x, y), expected, atol=1e-3)


def test_the_source_reads_what_the_scene_renders():
    videos = synthetic.SyntheticScenes(count=3, height=48, width=64, seconds=4.0, first_seed=10)
    assert len(videos) == 3 and '12' in videos.name(2)
    clip = videos.read(2, 0.5, 3, 2.0)
    assert clip.shape == (3, 48, 64, 3) and clip.dtype == np.uint8
    # The clip spans one second, so it starts in the first three; half of that is 1.5 s.
    scene = synthetic.scene(12, 48, 64)
    np.testing.assert_array_equal(clip, np.stack([scene.frame(t) for t in (1.5, 2.0, 2.5)]))
    with pytest.raises(source.UnreadableVideo, match='too short'):
        videos.read(0, 0.0, 10, 2.0)
