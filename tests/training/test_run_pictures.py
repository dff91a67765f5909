"""Overlays match; affinities show a diagonal only if features have collapsed."""

import numpy as np
import tensorflow as tf

from stfc3_tf import clips
from stfc3_tf.benchmarks import synthetic_scenes
from stfc3_tf.clips import synthetic
from stfc3_tf.figures import pictures
from stfc3_tf.training import probe_clips, run_pictures
from stfc3_tf.views import sampler as views
from stfc3_tf.views.cell_grid import CellGrid


def test_view_picture_of_one_track_covers_everything():
    view = np.full((1, 2, 16, 16, 3), 90, np.uint8)
    matrix = np.diag([-2.0, 2.0, 1.0])[np.newaxis]
    picture = run_pictures.view_picture({'views': view, 'view_from_frame': matrix})
    panels = [picture[-128:, left : left + 128] for left in (0, 132, 264, 396)]
    assert all((panel == 90).all() for panel in panels[:3]) and (panels[3] == 255).all()


def test_view_picture_lays_the_same_content_over_itself():
    frames = probe_clips.fixed_clips(clips.SyntheticScenes(count=1, height=96, width=128), 1)[0]
    sampler = views.ViewSampler(view_size=128, crop_area=(0.5, 1.0), colours=(None, None))
    for seed in range(6):
        sample = sampler(tf.constant(frames), tf.constant([seed, 1]))
        picture = run_pictures.view_picture({name: value.numpy() for name, value in sample.items()})
        _, backward, mixed, mask = (
            picture[-128:, 132 * panel : 132 * panel + 128].astype(float) for panel in range(4)
        )
        visible = mask[..., 0] > 0
        assert visible.mean() > 0.2
        # Half of what differs shows; wrong matrices (swapped, equal) give 18 to 30.
        assert np.abs(mixed - backward)[visible].mean() < 1


def test_affinity_picture_shows_a_diagonal_only_where_there_is_one():
    position = np.eye(16).reshape(4, 4, 16)
    picture = run_pictures.affinity_picture(position, position, np.roll(position, 5, axis=-1), 0.05)
    left, right = (picture[-256:, start : start + 256].astype(int) for start in (0, 260))
    bright, dark = left[0, 0].sum(), left[0, 255].sum()
    assert bright > 2 * dark
    assert all(left[16 * i, 16 * i].sum() == bright for i in range(16))
    assert all(right[16 * i, 16 * i].sum() == dark for i in range(16))


def test_patches_are_drawn_as_their_grid():
    views = np.zeros([1, 4, 9, 16, 16, 3], np.uint8)
    views[0, 0] = 20 * np.arange(1, 10)[:, np.newaxis, np.newaxis, np.newaxis]
    drawn = run_pictures.view_picture({'views': views})
    rows, columns = np.indices((3, 3)) * 20 + 8
    np.testing.assert_array_equal(drawn[rows, columns, 0], views[0, 0, :, 0, 0, 0].reshape(3, 3))


def colour_features(frames):
    """Features of the grey values around a cell: enough to follow a mask for a moment."""
    small = np.asarray(frames, np.float32)[:, 4::8, 4::8] + 1
    return small / np.linalg.norm(small, axis=-1, keepdims=True)


def test_mask_picture_begins_with_the_given_mask_and_has_the_true_ones_below():
    drawn = run_pictures.mask_picture(colour_features, CellGrid(4.0, 8))
    scene = synthetic.scene(synthetic_scenes.HELD_OUT_SEED, 128, 160)
    height, width = drawn.shape[0] // 2, 2 * 160
    for number in range(5):
        time = number * 2 / 8
        true = pictures.enlarge(pictures.overlay_mask(scene.frame(time), scene.masks(time)), 2)
        left = number * (width + 4)
        found = drawn[height - 258 : height - 2, left : left + width]
        np.testing.assert_array_equal(drawn[-256:, left : left + width], true)
        assert (found == true).all() == (number == 0)
