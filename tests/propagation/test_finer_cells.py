"""Cells of half the size: their places, their features, and what they are good for."""

import gin
import moving_noise
import numpy as np
import pytest

import stfc3_tf
from stfc3_tf import errors
from stfc3_tf.annotation import label_codecs
from stfc3_tf.propagation import extractor, finer_cells, tracker
from stfc3_tf.propagation.label_geometry import Geometry
from stfc3_tf.views.cell_grid import CellGrid


class Positions:
    """Cells show the coordinates of their centres, which the frame itself tells.

    Red and green of a pixel are its column and row, so features tell from where they come, whatever
    part of a frame they are computed of.
    """

    def __init__(self, first, stride):
        self.cell_grid = CellGrid(first, stride)

    def features(self, frames):
        first, stride = self.cell_grid
        return np.float32(frames[:, int(first) :: stride, int(first) :: stride, :2])


def positions(height, width):
    row, column = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([column, row, 0 * row], -1)[np.newaxis]


@pytest.mark.parametrize('size', [(16, 24), (17, 20), (12, 13), (41, 12), (20, 21)])
@pytest.mark.parametrize('grid', [(0, 8), (2, 4), (3, 16), (4, 2)])
def test_every_cell_shows_what_is_at_its_place(size, grid):
    finer = finer_cells.FinerCells(Positions(*grid))
    assert finer.cell_grid == (grid[0], grid[1] // 2)
    found = finer.features(positions(*size))
    y, x = (np.arange(finer.cell_grid.first, side, finer.cell_grid.stride) for side in size)
    assert found.dtype == np.float32 and found.shape == (1, len(y), len(x), 2)
    np.testing.assert_array_equal(found[0, ..., 0], np.broadcast_to(x, (len(y), len(x))))
    np.testing.assert_array_equal(found[0, ..., 1], np.broadcast_to(y[:, None], (len(y), len(x))))


def test_every_second_cell_is_that_of_the_encoder_itself():
    encoder = stfc3_tf.load('stfc3-small')
    frames = np.random.default_rng(0).integers(0, 256, (2, 40, 52, 3), np.uint8)
    finer = finer_cells.FinerCells(encoder).features(frames)
    np.testing.assert_array_equal(finer[:, ::2, ::2], encoder.features(frames))
    np.testing.assert_allclose(np.linalg.norm(finer, axis=-1), 1, atol=1e-5)
    assert finer.shape == (2, 10, 13, 128)


def test_results_of_finer_cells_are_not_taken_for_those_of_the_encoder():
    encoder = stfc3_tf.load('stfc3-small')
    ours, theirs = extractor.identity(finer_cells.FinerCells(encoder)), encoder.identity()
    assert ours.pop('cell_grid') == {'first': 0.0, 'stride': 4}
    assert theirs.pop('cell_grid') == {'first': 0.0, 'stride': 8}
    assert ours == theirs


@pytest.mark.parametrize(
    'encoder, problem', [(Positions(0, 7), 'even stride'), ('stfc3-small', 'stfc3_tf.load')]
)
def test_what_cannot_be_made_finer_is_refused(encoder, problem):
    with pytest.raises(errors.UserError, match=problem):
        finer_cells.FinerCells(encoder)


def test_points_are_as_large_in_finer_cells():
    """The map of a point is the same at the cells that both grids have."""
    codec, label = label_codecs.PointCodec(), label_codecs.PointLabel(np.array([[21.0, 33.0]]), [1])
    usual = codec.encode(label, Geometry((64, 64), (64, 64), (8, 8), CellGrid(0, 8)))
    finer_geometry = Geometry((64, 64), (64, 64), (16, 16), CellGrid(0, 4))
    finer = codec.encode(label, finer_geometry)
    np.testing.assert_allclose(finer[::2, ::2], usual, atol=1e-6)
    found = codec.decode(finer, finer_geometry)
    np.testing.assert_allclose(found.points, label.points, atol=0.1)
    np.testing.assert_allclose(found.confidence, 1, atol=0.02)


def test_the_setting_of_protocols_is_the_same_encoder():
    encoder, settings = stfc3_tf.load('stfc3-small'), stfc3_tf.PropagationSettings(context=2)
    codec = label_codecs.PointCodec()
    label = label_codecs.PointLabel(np.array([[60.0, 40.0], [33.3, 70.7]]), np.ones(2))

    def tracked(encoder, **given):
        method = tracker.PropagationTracker(encoder, settings, tracker.InputSize(**given))
        labels = method.track(moving_noise.frames(), label, codec, moving_noise.SIZE)
        return method, [each.points for each in labels]

    usual, coarse = tracked(encoder)
    by_setting, one = tracked(encoder, finer=True)
    _, other = tracked(finer_cells.FinerCells(encoder))
    np.testing.assert_array_equal(one, other)
    assert by_setting.settings()['input_size']['finer']
    # Results from before there was this setting stay valid.
    assert usual.settings()['input_size'].keys() == {
        *('rule', 'size', 'long_side_multiple', 'interpolation')
    }
    truth = [label.points + t * np.array(moving_noise.STEP) for t in range(4)]
    worst = [np.abs(np.array(found) - truth).max() for found in (coarse, one)]
    assert worst[1] < 2 and worst[1] < worst[0]


def test_gin_sets_it():
    gin.parse_config('InputSize.finer = True')
    assert tracker.InputSize().finer
    with pytest.raises(errors.UserError, match='InputSize.finer=1: give True or False'):
        tracker.InputSize(finer=1)
