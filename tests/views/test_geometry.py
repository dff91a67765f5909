"""Matrices and warps against the authors' code, hand-derived numbers and finite differences."""

import pathlib

import general_warp
import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.views import geometry
from stfc3_tf.views.cell_grid import CellGrid

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'


def golden(name):
    return np.load(GOLDEN / f'{name}.npz')


def homogeneous(affine):
    """[batch, 2, 3] -> [batch, 3, 3]."""
    bottom = np.broadcast_to(np.array([[[0, 0, 1]]], np.float32), (len(affine), 1, 3))
    return np.concatenate([affine, bottom], axis=1)


def channels_last(array):
    return np.moveaxis(array, -3, -1)


def corner_grid(size):
    return geometry.corner_aligned_centres(size)


def pixel_grid(size):
    return geometry.receptive_field_centres(size, size, geometry.CellGrid(0.0, 1))


def warp_by_loops(features, source_from_target, rows, columns):
    """Compute the definition: read bilinearly at each target cell, zero outside."""
    out = np.zeros_like(features)
    for b in range(features.shape[0]):
        for i in range(rows.count):
            for j in range(columns.count):
                x, y = columns.first + columns.step * j, rows.first + rows.step * i
                x, y, _ = source_from_target[b] @ [x, y, 1]
                x, y = (x - columns.first) / columns.step, (y - rows.first) / rows.step
                for r in (int(np.floor(y)), int(np.floor(y)) + 1):
                    for c in (int(np.floor(x)), int(np.floor(x)) + 1):
                        if 0 <= r < rows.count and 0 <= c < columns.count:
                            out[b, i, j] += (1 - abs(y - r)) * (1 - abs(x - c)) * features[b, r, c]
    return out


@pytest.mark.parametrize(
    'warp, kind',
    [(geometry.warp, kind) for kind in ('crop', 'flip', 'identity')]
    + [(general_warp.warp_affine, kind) for kind in ('crop', 'flip', 'identity', 'rot', 'mixed')],
)
def test_warps_equal_the_authors_align_feat(warp, kind):
    data = golden('align_feat')
    features, matrix = channels_last(data['feat']), homogeneous(data[f'affine_{kind}'])
    warped = warp(features, matrix, corner_grid(6), corner_grid(6))
    np.testing.assert_allclose(warped, channels_last(data[f'aligned_{kind}']), atol=2e-6)


def assert_equal_off_ties(mask, expected, soft):
    """Equal wherever the soft mask differs from 0.5 by more than the authors' float32 noise."""
    settled = np.abs(soft - 0.5) > 1e-4
    assert settled.mean() > 0.9
    np.testing.assert_array_equal(mask[settled], expected[settled])


@pytest.mark.parametrize('size', [8, 32])
def test_visibility_equals_the_authors_mask(size):
    data = golden('feature_mask')
    grid = corner_grid(size)
    matrices = homogeneous(data['affine'])
    soft = data[f'soft{size}']
    np.testing.assert_allclose(
        general_warp.warp_affine(tf.ones([7, size, size, 1]), matrices, grid, grid)[..., 0],
        soft,
        atol=1e-4,
    )
    straight = (matrices[:, 0, 1] == 0) & (matrices[:, 1, 0] == 0)
    assert straight.sum() >= 4
    mask = geometry.visibility(matrices[straight], grid, grid, float(data['threshold']))
    expected = data[f'hard{size}'].reshape(-1, size, size) > 0
    assert_equal_off_ties(mask.numpy(), expected[straight], soft[straight])


def corner_box(box_xywh, size):
    """Return (left, top, right, bottom); -1 and +1 are the centres of the outermost pixels."""
    x, y, w, h = (float(v) for v in box_xywh)
    return [2 * v / (size - 1) - 1 for v in (x, y, x + w - 1, y + h - 1)]


def test_crop_matrices_equal_the_authors():
    data = golden('affine')
    boxes = [corner_box(box, int(data['size'])) for box in data['boxes_xywh']]
    matrices = geometry.view_from_frame(tf.constant(boxes), tf.constant(data['flips']))
    np.testing.assert_allclose(matrices, data['affine'], atol=2e-4)
    between = geometry.backward_from_forward(matrices[:, tf.newaxis], matrices[tf.newaxis])
    np.testing.assert_allclose(between[:, :, :2], data['f2b'], atol=2e-3)


def test_feature_masks_of_all_pairs_equal_the_authors():
    data = golden('affine')
    pairs = homogeneous(data['f2b'].reshape(-1, 2, 3))
    mask = geometry.visibility(pairs, corner_grid(8), corner_grid(8))
    assert_equal_off_ties(
        np.reshape(mask, [10, 10, 64]),
        data['feature_mask_b'] > 0,
        data['feature_mask'].reshape(10, 10, 64),
    )


def test_warped_picture_equals_the_other_view():
    data = golden('f2b_picture')
    warped = geometry.warp(
        channels_last(data['view_forward']),
        homogeneous(data['f2b'][np.newaxis]),
        corner_grid(64),
        corner_grid(64),
    )
    np.testing.assert_allclose(warped, channels_last(data['forward_aligned']), atol=2e-4)


def test_matrix_by_hand():
    # The right half of the frame, unflipped: x = 0 is the left edge of the view, x = 1 its right.
    matrix = geometry.view_from_frame(tf.constant([0.0, -1.0, 1.0, 1.0]), tf.constant(False))
    np.testing.assert_allclose(matrix, [[2, 0, -1], [0, 1, 0], [0, 0, 1]])
    flipped = geometry.view_from_frame(tf.constant([0.0, -1.0, 1.0, 1.0]), tf.constant(True))
    np.testing.assert_allclose(flipped, [[-2, 0, 1], [0, 1, 0], [0, 0, 1]])


def random_matrices(rng, count):
    corners = np.sort(rng.uniform(-1, 1, (count, 2, 2)), axis=1) + [[[-0.1, -0.1], [0.1, 0.1]]]
    return geometry.view_from_frame(
        tf.constant(corners.reshape(count, 4), tf.float32), tf.constant(rng.random(count) < 0.5)
    )


def test_inverse_and_transform_points():
    rng = np.random.default_rng(0)
    matrices = random_matrices(rng, 20)
    np.testing.assert_allclose(
        geometry.inverse(matrices), np.linalg.inv(matrices), rtol=1e-4, atol=1e-5
    )
    points = rng.uniform(-1, 1, (20, 5, 2)).astype(np.float32)
    there = general_warp.transform_points(matrices, points)
    expected = np.einsum(
        'bij,bpj->bpi', matrices, np.concatenate([points, np.ones((20, 5, 1))], -1)
    )[..., :2]
    np.testing.assert_allclose(there, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        general_warp.transform_points(geometry.inverse(matrices), there), points, atol=1e-5
    )


def test_exact_centres_are_receptive_field_centres():
    # Cell i of a padded stride-8 encoder is centred on pixel 8i; pixel p is at (2p+1)/256 - 1.
    rows = geometry.receptive_field_centres(32, 256, geometry.CellGrid(0.0, 8))
    assert rows.first == pytest.approx(1 / 256 - 1)
    assert rows.first + 31 * rows.step == pytest.approx((2 * 248 + 1) / 256 - 1)


@pytest.mark.parametrize('convention', ['exact', 'released'])
def test_separable_and_general_warp_equal_the_definition(convention):
    rng = np.random.default_rng(1)
    grid = geometry.CellGrid(0.0, 8)
    rows = geometry.cell_centres(convention, 5, 40, grid)
    columns = geometry.cell_centres(convention, 7, 56, grid)
    matrices = geometry.backward_from_forward(random_matrices(rng, 4), random_matrices(rng, 4))
    features = rng.standard_normal((4, 5, 7, 3)).astype(np.float32)
    expected = warp_by_loops(features, matrices.numpy(), rows, columns)
    np.testing.assert_allclose(
        geometry.warp(features, matrices, rows, columns), expected, atol=1e-4
    )
    np.testing.assert_allclose(
        general_warp.warp_affine(features, matrices, rows, columns), expected, atol=1e-4
    )


@pytest.mark.parametrize('flip', [False, True])
def test_exact_warp_finds_the_pixel_a_cell_was_centred_on(flip):
    """The exact warp keeps the frame coordinate of a cell's centre; the released one does not."""
    grid = geometry.CellGrid(0.0, 8)
    forward = geometry.view_from_frame(tf.constant([[-1.0, -1, 1, 1]]), tf.constant([False]))
    backward = geometry.view_from_frame(tf.constant([[-0.5, -0.4, 0.5, 0.6]]), tf.constant([flip]))
    centres = geometry.receptive_field_centres(32, 256, grid)
    axis = centres.first + centres.step * np.arange(32, dtype=np.float32)
    cells = np.stack(np.meshgrid(axis, axis), -1)[np.newaxis]
    coordinates = {
        name: np.reshape(
            general_warp.transform_points(geometry.inverse(m), cells.reshape(1, -1, 2)),
            [1, 32, 32, 2],
        )
        for name, m in {'forward': forward, 'backward': backward}.items()
    }
    forward_from_backward = geometry.backward_from_forward(forward, backward)
    worst = {}
    for convention in ('exact', 'released'):
        c = geometry.cell_centres(convention, 32, 256, grid)
        warped = geometry.warp(
            coordinates['forward'].astype(np.float32), forward_from_backward, c, c
        )
        worst[convention] = (
            np.abs(warped - coordinates['backward']).max() * 16
        )  # frame cells of 16 half-widths
    assert worst['exact'] < 1e-4
    assert worst['released'] > (0.5 if flip else 0.2)


def test_identity_warp_changes_nothing_and_all_is_visible():
    features = np.random.default_rng(2).standard_normal((2, 6, 9, 4)).astype(np.float32)
    identity = tf.eye(3, batch_shape=[2])
    rows, columns = (
        geometry.receptive_field_centres(n, 8 * n, geometry.CellGrid(0.0, 8)) for n in (6, 9)
    )
    np.testing.assert_allclose(
        geometry.warp(features, identity, rows, columns), features, atol=1e-5
    )
    assert np.all(geometry.visibility(identity, rows, columns))


def test_flipping_twice_returns_the_picture():
    picture = np.random.default_rng(3).standard_normal((1, 5, 8, 3)).astype(np.float32)
    flip = geometry.view_from_frame(tf.constant([[-1.0, -1, 1, 1]]), tf.constant([True]))
    once = geometry.warp(picture, flip, pixel_grid(5), pixel_grid(8))
    np.testing.assert_allclose(once, picture[:, :, ::-1], atol=1e-5)
    np.testing.assert_allclose(
        geometry.warp(once, flip, pixel_grid(5), pixel_grid(8)), picture, atol=1e-5
    )


def test_crops_without_overlap_leave_nothing_visible():
    left = geometry.view_from_frame(tf.constant([[-1.0, -1, -0.2, 1]]), tf.constant([False]))
    right = geometry.view_from_frame(tf.constant([[0.2, -1.0, 1, 1]]), tf.constant([True]))
    grid = geometry.receptive_field_centres(8, 64, geometry.CellGrid(0.0, 8))
    between = geometry.backward_from_forward(left, right)
    assert not np.any(geometry.visibility(between, grid, grid))
    np.testing.assert_array_equal(geometry.warp(tf.ones([1, 8, 8, 2]), between, grid, grid), 0)


def test_warp_gradient_against_finite_differences():
    rng = np.random.default_rng(4)
    grid = geometry.receptive_field_centres(5, 40, geometry.CellGrid(0.0, 8))
    matrix = geometry.view_from_frame(tf.constant([[-0.7, -0.9, 0.4, 0.8]]), tf.constant([True]))
    features = tf.constant(rng.standard_normal((1, 5, 5, 2)), tf.float32)
    weight = tf.constant(rng.standard_normal((1, 5, 5, 2)), tf.float32)
    theory, numeric = tf.test.compute_gradient(
        lambda f: tf.reduce_sum(weight * geometry.warp(f, matrix, grid, grid)),
        [features],
        delta=1e-1,
    )
    np.testing.assert_allclose(theory[0], numeric[0], atol=2e-4)


def test_warp_is_the_same_inside_a_compiled_function():
    features = np.random.default_rng(5).standard_normal((2, 6, 6, 4)).astype(np.float32)
    matrix = random_matrices(np.random.default_rng(6), 2)
    grid = geometry.receptive_field_centres(6, 48, geometry.CellGrid(0.0, 8))
    eager = geometry.warp(features, matrix, grid, grid)
    compiled = tf.function(lambda f, m: geometry.warp(f, m, grid, grid), jit_compile=True)(
        features, matrix
    )
    np.testing.assert_allclose(compiled, eager, atol=1e-5)


def test_unknown_convention_names_the_choices():
    with pytest.raises(errors.UserError, match="'exact'.*'released'"):
        geometry.cell_centres('aligned', 4, 32, geometry.CellGrid(0.0, 8))


def test_cells_fall_on_the_target_cells_that_a_drawing_shows():
    """A view of 32 pixels with 4 x 4 cells, on pixels 0, 8, 16, 24, whose right half is doubled.

    Source pixel x lands on pixel 2 (x + 1/2) - 32 - 1/2, since centres lie at half-integers: the
    four columns on -31.5, -15.5, 0.5 and 16.5. The rows of the upper three quarters become the
    whole height: pixel y lands on 4/3 (y + 1/2) - 1/2: 0.17, 10.83, 21.5, 32.17 (cell 4, outside).
    """
    target_from_source = geometry.view_from_frame(
        tf.constant([[0.0, -1.0, 1.0, 0.5]]), tf.constant([False])
    )
    axis = geometry.receptive_field_centres(4, 32, CellGrid(0.0, 8))
    cells, inside = geometry.nearest_cells(target_from_source, axis, axis)
    columns, rows = {2: 0, 3: 2}, {0: 0, 1: 1, 2: 3}
    for number in range(16):
        row, column = divmod(number, 4)
        falls = row in rows and column in columns
        assert bool(inside[0, number]) == falls
        assert int(cells[0, number]) == (4 * rows[row] + columns[column] if falls else 0)


def test_a_flip_sends_cells_to_the_other_side():
    """Pixels 8 i land on 31 - 8 i, whose nearest cells are 4 (outside), 3, 2 and 1."""
    flip = geometry.view_from_frame(tf.constant([[-1.0, -1.0, 1.0, 1.0]]), tf.constant([True]))
    axis = geometry.receptive_field_centres(4, 32, CellGrid(0.0, 8))
    cells, inside = geometry.nearest_cells(flip, axis, axis)
    np.testing.assert_array_equal(inside[0, :4], [False, True, True, True])
    np.testing.assert_array_equal(cells[0, 1:4], [3, 2, 1])


def test_far_cells_of_a_strong_magnification_are_outside():
    zoom = geometry.axis_aligned(*(tf.constant([v]) for v in (1e12, 1e12, 3.0, -3.0)))
    axis = geometry.receptive_field_centres(4, 32, CellGrid(0.0, 8))
    _, inside = geometry.nearest_cells(zoom, axis, axis)
    assert not inside.numpy().any()
