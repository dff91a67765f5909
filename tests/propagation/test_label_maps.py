"""Label maps against the reference scripts' stored maps, brute force, and round trips."""

import pathlib
from typing import NamedTuple

import numpy as np
import pytest

from stfc3_tf.propagation import label_maps

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'


class Grid(NamedTuple):
    first: float
    stride: int


@pytest.fixture(scope='module')
def resize():
    return np.load(GOLDEN / 'resize.npz')


@pytest.fixture(scope='module')
def pose():
    return np.load(GOLDEN / 'pose_pck.npz')


# Masks


def test_mask_to_labels_equals_crw(resize):
    result = label_maps.mask_to_labels(resize['mask'], [255], (60, 107))
    np.testing.assert_allclose(result, resize['first_label'], atol=1e-6)


def test_labels_to_mask_equals_crw(resize):
    result = label_maps.labels_to_mask(resize['first_label'], [255], (480, 854))
    np.testing.assert_array_equal(result, 255 * resize['hard'])
    upsampled = label_maps.resize_bilinear(resize['first_label'], (480, 854))
    np.testing.assert_allclose(upsampled[240], resize['upsampled_row240'], atol=1e-6)


def test_resize_bilinear_up_and_down(resize):
    for expected in (resize['small_up'], resize['small_down']):
        result = label_maps.resize_bilinear(resize['small'], expected.shape[:2])
        np.testing.assert_allclose(result, expected, atol=1e-6)


def test_resize_bilinear_keeps_a_single_channel():
    assert label_maps.resize_bilinear(np.ones((4, 6, 1)), (2, 3)).shape == (2, 3, 1)


def test_one_hot_sends_unknown_objects_to_the_background():
    mask = np.array([[0, 3], [7, 9]], np.uint8)
    expected = [[[1, 0, 0], [0, 0, 1]], [[0, 1, 0], [1, 0, 0]]]
    np.testing.assert_array_equal(label_maps.one_hot(mask, [7, 3]), expected)


def test_one_hot_without_objects():
    empty = np.zeros((2, 2), np.uint8)
    np.testing.assert_array_equal(label_maps.one_hot(empty, []), np.ones((2, 2, 1)))


def test_masks_of_large_objects_survive_the_round_trip():
    mask = np.zeros((96, 128), np.uint16)
    mask[16:64, 16:72], mask[40:88, 80:112] = 5, 300
    soft = label_maps.mask_to_labels(mask, [5, 300], (12, 16))
    back = label_maps.labels_to_mask(soft, [5, 300], mask.shape)
    assert back.dtype == np.uint16
    np.testing.assert_allclose(soft.sum(-1), 1, atol=1e-6)
    assert np.mean(back != mask) < 0.02
    np.testing.assert_array_equal(np.unique(back), [0, 5, 300])


@pytest.mark.parametrize('dtype', [np.uint8, np.int64])
def test_resize_nearest_takes_the_pixel_under_the_centre(dtype):
    mask = np.random.default_rng(0).integers(0, 256, (50, 90)).astype(dtype)
    rows, columns = (np.arange(8) + 0.5) / 8 * 50, (np.arange(12) + 0.5) / 12 * 90
    result = label_maps.resize_nearest(mask, (8, 12))
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, mask[rows.astype(int)[:, None], columns.astype(int)])


def test_hard_labels_are_zero_or_one(resize):
    result = label_maps.mask_to_hard_labels(resize['mask'], [255], (60, 107))
    nearest = label_maps.resize_nearest(resize['mask'], (60, 107))
    np.testing.assert_array_equal(result[..., 1], nearest / 255)
    np.testing.assert_array_equal(result.sum(-1), np.ones((60, 107)))


def test_labels_to_mask_refuses_a_wrong_number_of_objects():
    with pytest.raises(ValueError, match='3 labels'):
        label_maps.labels_to_mask(np.zeros((2, 2, 3)), [1], (4, 4))


def test_minimum_to_maximum_stretches_each_label_by_itself():
    planes = [[0.2, 0.4], [0.3, 0.2]], [[0.0, 0.1], [0.05, 0.0]], [[0.0, 0.0], [0.0, 0.0]]
    maps = np.stack(planes, axis=-1)
    result = label_maps.minimum_to_maximum(maps, (0, 1))
    np.testing.assert_allclose(result[..., 0], [[0, 1], [0.5, 0]], atol=1e-12)
    np.testing.assert_allclose(result[..., 1], [[0, 1], [0.5, 0]], atol=1e-12)
    np.testing.assert_array_equal(result[..., 2], np.zeros((2, 2)))


def test_minimum_to_maximum_leaves_labels_that_are_nowhere_positive():
    maps = np.stack([[[-2.0, -1.0]], [[-1.0, 0.0]], [[-1.0, 3.0]]], axis=-1)
    result = label_maps.minimum_to_maximum(maps, (0, 1))
    np.testing.assert_array_equal(result[..., :2], maps[..., :2])
    np.testing.assert_array_equal(result[..., 2], [[0, 1]])


def test_minimum_to_maximum_over_the_labels_of_a_pixel():
    maps = np.array([[[0.2, 0.6, 0], [0.4, 0.6, 0.5], [0.3, 0.3, 0.3]]])
    expected = [[[1 / 3, 1, 0], [0, 1, 0.5], [0.3, 0.3, 0.3]]]
    np.testing.assert_allclose(label_maps.minimum_to_maximum(maps, 2), expected, atol=1e-12)


# Key points, CRW


@pytest.mark.parametrize('index', [0, 1, 2])
def test_stamps_equal_crw_inside_and_beyond_the_border(pose, index):
    maps = label_maps.stamp_maps(pose['draw_points'], (10, 12), pose['draw_sigmas'][index])
    np.testing.assert_allclose(maps.transpose(2, 0, 1), pose['draw_maps'][index], atol=1e-6)


def joints_in_cells(pose):
    scale = pose['imgSize'] / np.array([pose['width'], pose['height']]) / pose['mapScale']
    return (pose['pos_img'].transpose(2, 1, 0) - 1) * scale


@pytest.mark.parametrize('time', range(6))
def test_joint_maps_and_their_positions_equal_crw(pose, time):
    # The first two maps of the file are copies of frame 0.
    cells = joints_in_cells(pose)[max(0, time - 2)]
    maps = label_maps.stamp_maps(cells, (40, 40))
    np.testing.assert_allclose(maps, pose['lbls'][time][..., 1:], atol=1e-6)
    expected = pose['coords_of_labels'][..., time].T
    np.testing.assert_allclose(label_maps.stamp_peaks(maps), expected, atol=1e-5)


def test_peaks_of_soft_maps_equal_crw(pose):
    result = label_maps.stamp_peaks(pose['soft_pred'][..., 1:])
    np.testing.assert_allclose(result, pose['soft_coords'].T, atol=1e-5)


def test_a_clean_stamp_comes_back_up_and_left_of_its_peak():
    # Peak 1 and, of its four equal neighbours e^-2, the one above and the one to the left.
    neighbour = np.exp(-2)
    shift = neighbour / (1 + 2 * neighbour)
    result = label_maps.stamp_peaks(label_maps.stamp_maps(np.array([[7.2, 4.6]]), (10, 12)))
    np.testing.assert_allclose(result, [[7 - shift, 5 - shift]], atol=1e-6)


def test_peaks_prefer_the_earlier_cell_among_equals():
    maps = np.ones((2, 3, 1), np.float32)
    np.testing.assert_allclose(label_maps.stamp_peaks(maps, 2), [[0.5, 0]])
    np.testing.assert_allclose(label_maps.stamp_peaks(maps, 100), [[1, 0.5]])


def test_empty_maps_are_lost():
    maps = np.zeros((5, 6, 2), np.float32)
    maps[3, 4, 1] = 0.25
    np.testing.assert_array_equal(label_maps.stamp_peaks(maps), [[-1, -1], [4, 3]])
    np.testing.assert_array_equal(label_maps.locate(maps, Grid(0, 8)), [[-1, -1], [32, 24]])


# Key points, exact


@pytest.mark.parametrize('grid', [Grid(0, 8), Grid(3.5, 8), Grid(15.5, 4)])
def test_gaussians_are_evaluated_at_true_cell_centres(grid):
    point = np.array([[61.3, 47.9]])
    maps = label_maps.gaussian_maps(point, (14, 16), grid, sigma=0.75)
    for row, column in np.ndindex(14, 16):
        centre = grid.first + grid.stride * np.array([column, row])
        offset = (centre - point[0]) / grid.stride
        near = np.all(np.abs(offset) <= 2.25)
        expected = np.exp(-np.sum(offset**2) / (2 * 0.75**2)) if near else 0
        assert maps[row, column, 0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('grid', [Grid(0, 8), Grid(3.5, 8), Grid(15.5, 4)])
@pytest.mark.parametrize('sigma, cells', [(0.75, 0.012), (0.5, 0.03)])
def test_points_survive_the_round_trip(grid, sigma, cells):
    points = grid.first + grid.stride * np.random.default_rng(0).uniform(2, 17, (200, 2))
    maps = label_maps.gaussian_maps(points, (20, 21), grid, sigma)
    np.testing.assert_allclose(label_maps.locate(maps, grid), points, atol=cells * grid.stride)


def test_the_exact_codec_beats_the_stamp():
    grid = Grid(0, 8)
    points = np.random.default_rng(0).uniform(16, 140, (200, 2))
    exact = label_maps.locate(label_maps.gaussian_maps(points, (20, 21), grid), grid)
    stamp = 8 * label_maps.stamp_peaks(label_maps.stamp_maps(points / 8, (20, 21)))
    assert np.abs(exact - points).mean() < 0.1
    assert np.abs(stamp - points).mean() > 1.5


def test_points_near_the_edge_move_inwards_by_a_third_of_a_cell_at_most():
    edge = np.stack([np.linspace(0, 16, 33), np.full(33, 80.0)], axis=-1)
    found = label_maps.locate(label_maps.gaussian_maps(edge, (20, 21), Grid(0, 8)), Grid(0, 8))
    shift = (found - edge)[:, 0]
    assert np.all(shift > -0.1) and shift.max() == shift[0] < 8 / 3


def test_locate_ignores_mass_far_from_the_peak():
    maps = label_maps.gaussian_maps(np.array([[40.0, 48.0]]), (20, 21), Grid(0, 8))
    maps[15, 15] += 0.9
    np.testing.assert_allclose(label_maps.locate(maps, Grid(0, 8)), [[40, 48]], atol=1e-5)


def test_a_lost_point_has_an_empty_map():
    maps = label_maps.gaussian_maps(
        np.array([[np.nan, np.nan], [40.0, 48.0]]), (20, 21), Grid(0, 8)
    )
    assert maps[..., 0].sum() == 0 and maps[..., 1].max() == 1
