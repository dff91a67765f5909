"""Propagation and the whole loop, compared with brute force, and with rounded features."""

import numpy as np

from stfc3_tf.speed import propagation, whole_loop
from stfc3_tf.speed.overlap import smallest_overlap


def test_the_engine_agrees_with_brute_force(clock):
    clock((0.5, 1.0), (3.0, 6.0))
    figures = propagation.propagation_against_brute_force(14, 27, channels=16)
    assert figures['largest_difference'] < 1e-4 and figures['iou'] == 1
    assert figures['times_faster'] == 6


def test_the_whole_loop_agrees_with_brute_force():
    figures = whole_loop.whole_loop_against_brute_force(64, 96, frames=24, compared=(1, 8, 23))
    assert figures['largest_difference'] < 1e-5
    # Single pixels at which two labels tie may fall either way; the objects have a few hundred.
    assert figures['smallest_iou'] >= 0.99
    parts = figures['features_seconds_per_frame'] + figures['brute_force_seconds_per_frame']
    assert (parts > figures['seconds_per_frame']) == (figures['times_faster'] > 1)
    assert figures['features_seconds_per_frame'] > 0


def test_the_fast_loop_has_the_masks_of_the_exact_one():
    figures = whole_loop.fast_against_exact('stfc3-small', 64, 96, frames=8)
    assert figures['smallest_iou'] >= 0.99
    for ratio in ('exact / fast', 'exact / fast, processor seconds'):
        least, most = figures[f'{ratio}, range']
        assert 0 < least <= figures[ratio] <= most


def test_overlap_is_that_of_the_worst_object():
    mask = np.array([[1, 1, 2, 2], [0, 0, 3, 3]])
    other = np.array([[1, 1, 2, 0], [0, 0, 3, 3]])
    assert smallest_overlap(mask, other) == 0.5
    assert smallest_overlap(mask, mask) == smallest_overlap(0 * mask, 0 * mask) == 1
