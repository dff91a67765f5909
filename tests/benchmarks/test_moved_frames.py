"""Moved cells are found where they went; repetition is measured along both axes."""

import numpy as np
import pytest

from stfc3_tf.benchmarks import moved_frames
from stfc3_tf.propagation.extractor import FunctionExtractor
from stfc3_tf.views import cell_grid

GRID = cell_grid.CellGrid(3.5, 8)


def unit(features):
    return features / np.linalg.norm(features, axis=-1, keepdims=True)


def test_a_shifted_frame_is_a_part_of_the_frame():
    frame = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    np.testing.assert_array_equal(moved_frames.moved(frame, 1.0, 3)[:-3, :-3], frame[3:, 3:])


def test_a_magnified_ramp_is_a_flatter_ramp():
    ramp = np.broadcast_to(4 * np.arange(40, dtype=np.uint8)[:, None, None], (40, 50, 3))
    larger = moved_frames.moved(np.ascontiguousarray(ramp), 2.0, 0)
    np.testing.assert_array_equal(larger[:, 7, 1], 2 * np.arange(40))


@pytest.mark.parametrize('cells', [0, 1, 3])
def test_cells_are_found_where_they_went_and_not_where_they_were(cells):
    wide = unit(np.random.default_rng(1).normal(size=(50, 60, 16)))
    before, after = wide[:45, :55], wide[cells : cells + 45, cells : cells + 55]
    assert moved_frames.found(before, after, GRID, 1.0, 8 * cells) == 1
    assert moved_frames.found(before, after, GRID, 1.0, 8 * cells + 24) == 0


def test_magnified_cells_are_found():
    wide = unit(np.random.default_rng(2).normal(size=(100, 100, 16)))
    # Cell i of the magnified frame, at pixel 3.5 + 8 i, shows what stood at half of that.
    nearest = np.round((3.5 + 8 * np.arange(100)) / 2 / 8 - 3.5 / 8).astype(int)
    assert moved_frames.found(wide, wide[np.ix_(nearest, nearest)], GRID, 2.0, 0) == 1


def test_a_grating_repeats():
    angles = 2 * np.pi * np.arange(60) / 4
    grating = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    cells = np.broadcast_to(grating[:, None], (60, 50, 2))
    np.testing.assert_allclose(moved_frames.repetition(cells, 0), [0, -1, 0, 1, 0, -1], atol=1e-12)
    np.testing.assert_allclose(moved_frames.repetition(cells, 1), np.ones(6))


def test_measure_is_the_mean_over_frames_in_the_order_of_the_headings():
    blocks = np.random.default_rng(5).integers(0, 256, (60, 60, 3), np.uint8)
    blocks[::3] = blocks[0]  # Every third row of cells is the same.
    textured, flat = (each.repeat(8, 0).repeat(8, 1) for each in (blocks, 0 * blocks + 200))
    encoder = FunctionExtractor(
        lambda frames: np.asarray(frames, np.float32)[:, ::8, ::8] - 127.5, cell_grid.CellGrid(0, 8)
    )
    alone = dict(zip(moved_frames.HEADINGS, moved_frames.measure(encoder, [flat])))
    # Where all cells are alike, the first one of the window is chosen, which is wrong.
    assert [alone[move] for move in moved_frames.MOVES] == [0] * 4
    np.testing.assert_allclose([*alone.values()][4:], np.ones(12), rtol=1e-5)
    mean = moved_frames.measure(encoder, [flat, textured])
    both = dict(zip(moved_frames.HEADINGS, mean))
    # A third of the cells is found where it repeats first.
    assert both['2 pixels'] == both['4 pixels'] == pytest.approx((0 + 2 / 3) / 2, abs=0.05)
    assert both['down 3'] > both['down 1'] + 0.1 and both['down 6'] > both['right 3'] + 0.1
    np.testing.assert_allclose(
        mean, moved_frames.measure(encoder, [textured]) / 2 + np.array([*alone.values()]) / 2
    )
