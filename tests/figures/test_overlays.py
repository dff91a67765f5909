"""Masks and points are drawn where they are; overlap and distances by hand."""

from __future__ import annotations

from figure_inputs import random_frames, square
import numpy as np
import pytest

from stfc3_tf import errors, figures
from stfc3_tf.figures import (
    overlays,
)


def test_overlap_is_the_mean_over_objects_without_void():
    truth = square(2, 2, 8) + square(12, 20, 4, 2)
    predicted = square(2, 6, 8) + square(12, 20, 4, 3)
    # Object 1: 4 x 8 of 12 x 8 pixels; 2 is missed, and 3 is not in the truth.
    assert overlays.mean_overlap(truth, predicted) == pytest.approx((1 / 3 + 0 + 0) / 3)
    truth[2:10, 10:14] = 255
    truth[12:16, 20:24] = 255
    assert overlays.mean_overlap(truth, predicted) == pytest.approx(4 / 8)
    assert np.isnan(overlays.mean_overlap(square(0, 0, 0), square(0, 0, 0)))


def test_masks_are_drawn_where_they_are(tmp_path, drawn):
    frames = {'00000': random_frames(24, 32), '00007': random_frames(24, 32, seed=1)}
    truth = {'00000': square(2, 2, 8), '00007': square(4, 4, 8)}
    rows = {'ours': truth, 'theirs': {'00000': square(2, 2, 8), '00007': square(4, 8, 8)}}
    figures.labels(frames, truth, rows, str(tmp_path / 'a.png'))
    axes = np.reshape(drawn[0].axes, (3, 2))
    assert [ax.get_title() for ax in axes[0]] == ['00000', '00007']
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ['truth', 'ours', 'theirs']
    assert [ax.get_xlabel() for ax in axes[1:].flat] == [
        'IoU 1.00',
        'IoU 1.00',
        'IoU 1.00',
        'IoU 0.33',
    ]
    for ax, labels in zip(axes[:, 1], (truth, *rows.values())):
        changed = np.any(ax.images[0].get_array() != frames['00007'], axis=-1)
        np.testing.assert_array_equal(changed & (labels['00007'] == 0), False)
        assert changed[labels['00007'] > 0].mean() > 0.95
    # The outline of the truth in both rows: between the pixels 3 and 4, and 11 and 12.
    for ax in axes[1:, 1]:
        (outline,) = (c for c in ax.collections if len(c.get_paths()))
        points = outline.get_paths()[0].vertices
        np.testing.assert_allclose([points.min(0), points.max(0)], [[3.5, 3.5], [11.5, 11.5]])


def test_points_are_drawn_where_they_are(tmp_path, drawn):
    frame = {'a': random_frames(24, 32)}
    truth = np.array([[3.0, 4.0], [10.0, 10.0], [20.0, 5.0], [np.nan, np.nan]])
    found = np.array([[6.0, 8.0], [10.0, 11.0], [np.nan, np.nan], [1.0, 1.0]])
    figures.labels(frame, {'a': truth}, {'ours': {'a': found}}, str(tmp_path / 'a.png'))
    true, predicted = drawn[0].axes
    assert predicted.get_xlabel() == '3.0 px, 1 lost'
    for ax, points in ((true, truth), (predicted, found)):
        np.testing.assert_array_equal(np.ma.filled(ax.collections[0].get_offsets(), np.nan), points)
        assert (ax.get_xlim(), ax.get_ylim()) == ((-0.5, 31.5), (23.5, -0.5))
    np.testing.assert_array_equal(predicted.get_lines()[0].get_xydata(), [[6, 8], [3, 4]])


def test_labels_that_do_not_belong_together(tmp_path):
    frame, mask = {'a': random_frames(24, 32)}, {'a': square(2, 2, 8)}
    for other in (np.zeros((4, 2)), np.zeros((24, 30), np.uint8)):
        with pytest.raises(errors.UserError, match='ours, frame a: .* against true mask'):
            figures.labels(frame, mask, {'ours': {'a': other}}, str(tmp_path / 'a.png'))


def test_predictions_without_truth(tmp_path, drawn):
    frame = {'a': np.zeros((20, 30, 3), np.uint8)}
    mask = np.zeros((20, 30), np.uint8)
    mask[5:15, 5:15] = 1
    found = {'masks': {'a': mask}, 'points': {'a': np.array([[3.0, 4.0]])}}
    figures.labels(frame, None, found, str(tmp_path / 'a.png'))
    alone, masks, points = drawn[0].axes
    assert not alone.images[0].get_array().any() and alone.get_ylabel() == 'frames'
    shown = np.asarray(masks.images[0].get_array())
    np.testing.assert_array_equal(shown.any(axis=-1), mask > 0)
    np.testing.assert_array_equal(points.collections[0].get_offsets(), [[3, 4]])
