"""Patches of a clip: where they lie, how they are drawn, what is refused."""

import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.views import colour, patches

SEED = tf.constant([3, 5])
STILL = {'crop_area': None, 'patch_area': None}


def ramp(time=2, height=64, width=64):
    """Frames whose red is 3 x the column, green 3 x the row, blue the frame's number."""
    frames = np.zeros((time, height, width, 3), np.uint8)
    frames[..., 0] = 3 * np.arange(width)
    frames[..., 1] = 3 * np.arange(height)[:, np.newaxis]
    frames[..., 2] = np.arange(time)[:, np.newaxis, np.newaxis]
    return tf.constant(frames)


def test_crws_grid_has_49_patches():
    assert patches.patches_per_side(256, 64, 32) == 7
    assert patches.patches_per_side(160, 40, 20) == 7


def test_patches_without_jitter_are_cut_from_the_frame():
    sampler = patches.PatchSampler(64, 16, 12, **STILL)
    views = sampler(ramp(), SEED)['views'].numpy()
    assert views.shape == (1, 2, 25, 16, 16, 3)
    for number in range(25):
        row, column = divmod(number, 5)
        expected = ramp().numpy()[:, 12 * row :, 12 * column :][:, :16, :16]
        np.testing.assert_array_equal(views[0, :, number], expected)


def test_every_patch_has_its_own_crop_inside_its_place():
    sampler = patches.PatchSampler(64, 16, 12, crop_area=None, patch_area=(0.7, 0.9))
    views = sampler(ramp(8), SEED)['views'].numpy().astype(float)[0]
    # The steepness of the ramp tells how much of the patch is seen.
    width = np.ptp(views[..., 8, :, 0], axis=-1) / 3 + 1
    height = np.ptp(views[..., :, 8, 1], axis=-1) / 3 + 1
    share = width * height / 256
    assert share.min() > 0.6 and share.max() < 1.0 and share.std() > 0.03
    for number in range(25):
        row, column = divmod(number, 5)
        assert views[:, number, ..., 0].min() >= 3 * 12 * column
        assert views[:, number, ..., 0].max() <= 3 * (12 * column + 15)
        assert views[:, number, ..., 1].min() >= 3 * 12 * row


def test_every_frame_has_its_own_crop():
    sampler = patches.PatchSampler(64, 16, 48, crop_area=(0.8, 0.95), patch_area=None)
    views = sampler(ramp(20), SEED)['views'].numpy().astype(float)[0]
    # From the first pixel of the upper left patch to the last of the lower right one.
    seen = (views[:, 3, -1, -1, :2] - views[:, 0, 0, 0, :2]) / 3 + 1
    share = seen.prod(-1) / 64**2
    assert share.min() > 0.75 and share.max() < 0.98 and len(np.unique(seen[:, 0])) > 5


def test_the_same_seed_draws_the_same_patches_in_a_graph_too():
    colours = colour.ColourAugmentation(0.1, 0.1, 0.1, 0.0, jitter_probability=1.0)
    sampler = patches.PatchSampler(32, 16, 8, colour=colours)
    eager = sampler(ramp(), SEED)['views'].numpy()
    np.testing.assert_array_equal(eager, tf.function(sampler)(ramp(), SEED)['views'])
    assert np.any(eager != sampler(ramp(), SEED + 1)['views'])
    plain = patches.PatchSampler(32, 16, 8)(ramp(), SEED)['views'].numpy()
    changed = (plain != eager).any(axis=(3, 4, 5))
    # The crops are the same, the colours of nearly all patches are not.
    assert changed.mean() > 0.8 and np.abs(eager - plain.astype(float)).mean() < 40


@pytest.mark.parametrize(
    'setting,named',
    [
        ({'patch_size': 65}, 'do not fit'),
        ({'patch_stride': 0}, 'do not fit'),
        ({'patch_stride': 10**6}, 'hold one patch'),
        ({'patch_area': (0.9, 0.7)}, 'PatchSampler.patch_area'),
        ({'crop_area': (0.0, 0.5)}, 'PatchSampler.crop_area'),
    ],
)
def test_impossible_settings_are_refused(setting, named):
    with pytest.raises(errors.UserError, match=named):
        patches.PatchSampler(**{'view_size': 64, 'patch_size': 16, 'patch_stride': 8, **setting})
