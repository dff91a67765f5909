"""Pictures have the right pixels and colours, and nothing is cut off."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf.figures import pictures
from stfc3_tf.views import geometry


def _image(height=12, width=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _features_with_known_components(count=4000):
    """Mean + three orthogonal directions of falling variance in 7 channels."""
    generator = np.random.default_rng(1)
    directions, _ = np.linalg.qr(generator.normal(size=(7, 3)))
    weights = generator.normal(size=(count, 3)) * [9, 3, 1]
    return weights @ directions.T + generator.normal(size=7), directions


def test_pca_finds_the_directions_in_order_of_variance():
    features, directions = _features_with_known_components()
    basis = pictures.pca_basis(features.reshape(4, 20, 50, 7))
    np.testing.assert_allclose(np.abs(directions.T @ basis.directions), np.eye(3), atol=0.05)
    np.testing.assert_allclose(basis.mean, features.mean(0))


def _skewed_features():
    """Features whose components have tails of different length, in 6 channels."""
    generator = np.random.default_rng(3)
    weights = generator.exponential(size=(500, 6)) * [9, -5, 3, 1, 0.5, 0.1]
    return weights @ np.linalg.qr(generator.normal(size=(6, 6)))[0]


def test_one_odd_cell_does_not_take_the_contrast_of_all_others():
    features = np.random.default_rng(0).uniform(-1, 1, (20, 30, 8))
    features[0, 0] *= 50
    colours = pictures.pca_colours(features, pictures.pca_basis(features))
    assert colours[1:].std(axis=(0, 1)).min() > 40


def test_pca_colours_depend_on_how_features_lie_to_each_other_alone():
    features = _skewed_features()
    rotation = np.linalg.qr(np.random.default_rng(4).normal(size=(6, 6)))[0]
    colours = pictures.pca_colours(features, pictures.pca_basis(features))
    for same in (-features, features[:, [3, 0, 5, 1, 4, 2]], features @ rotation, features + 7):
        again = pictures.pca_colours(same, pictures.pca_basis(same))
        np.testing.assert_allclose(again.astype(int), colours, atol=1)
    assert len(np.unique(colours, axis=0)) > 300


def test_pca_points_to_the_longer_tail():
    features = _skewed_features()
    basis = pictures.pca_basis(features)
    projections = (features - features.mean(0)) @ basis.directions
    for projection in projections.T:
        assert projection.max() > -projection.min()


def test_pca_keeps_the_signs_of_an_earlier_basis():
    features, _ = _features_with_known_components()
    basis = pictures.pca_basis(features)
    inverted = basis._replace(directions=basis.directions * [-1, 1, -1])
    again = pictures.pca_basis(features + 0.01, like=inverted)
    np.testing.assert_allclose(again.directions, inverted.directions, atol=1e-6)


def test_one_basis_gives_equal_features_equal_colours_in_every_frame():
    features, _ = _features_with_known_components(2 * 6 * 5)
    frames = features.reshape(2, 6, 5, 7)
    frames[1, 5, 4] = frames[0, 0, 0]
    colours = pictures.pca_colours(frames, pictures.pca_basis(frames))
    assert colours.shape == (2, 6, 5, 3) and colours.dtype == np.uint8
    assert (colours[1, 5, 4] == colours[0, 0, 0]).all()
    assert colours.min() == 0 and colours.max() == 255


def test_constant_features_are_grey():
    features = np.full((1, 4, 4, 5), 0.3)
    assert set(np.unique(pictures.pca_colours(features, pictures.pca_basis(features)))) == {128}


def _without_caption(picture, height):
    return picture[-height:].astype(int)


def test_affinity_is_bright_where_it_is_large():
    picture = _without_caption(pictures.affinity_picture(np.eye(4) * 0.2, 'a pair', size=64), 64)
    blocks = picture.reshape(4, 16, 4, 16, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    brightness = blocks[:, 0, :, 0].sum(-1)
    on_diagonal = np.eye(4, dtype=bool)
    assert brightness[on_diagonal].min() > 2 * brightness[~on_diagonal].max()


def test_affinity_shrinks_without_losing_the_diagonal():
    affinity = np.zeros((100, 100))
    affinity[range(100), range(100)] = 1.0
    affinity[90, 5] = 0.5
    picture = _without_caption(pictures.affinity_picture(affinity, 'a pair', size=34), 34)
    assert (picture[range(34), range(34)] == picture[0, 0]).all()
    assert (picture[30, 1] != picture[10, 1]).any() and (picture[30, 1] != picture[0, 0]).any()


def test_affinities_are_comparable_at_one_limit():
    faint = pictures.affinity_picture(np.eye(4) * 0.1, 'a', size=64, limit=1.0)
    strong = pictures.affinity_picture(np.eye(4) * 1.0, 'a', size=64, limit=1.0)
    nothing = pictures.affinity_picture(np.zeros((4, 4)), 'nothing', size=64)
    assert strong[-60, 4].astype(int).sum() > 2 * faint[-60, 4].astype(int).sum()
    assert (nothing[-60, 4] == faint[-1, 0]).all()


def test_mask_tint_outline_and_background():
    image = np.full((7, 7, 3), 100, np.uint8)
    mask = np.zeros((7, 7), int)
    mask[1:6, 1:6] = 2
    overlay = pictures.overlay_mask(image, mask, opacity=0.25)
    assert (overlay[mask == 0] == 100).all()
    assert overlay[3, 3].tolist() == [75, 107, 75]
    assert overlay[1, 3].tolist() == [0, 128, 0]


def test_mask_at_the_image_border_has_no_outline_there():
    black = np.zeros((4, 4, 3), np.uint8)
    overlay = pictures.overlay_mask(black, np.ones((4, 4), int), opacity=0.5)
    assert (overlay == [64, 0, 0]).all()


@pytest.mark.parametrize('side, width', [(90, 1), (480, 1), (720, 2), (1080, 3)])
def test_outlines_widen_with_the_image_and_lie_within_their_objects(side, width):
    mask = np.zeros((side, side + 40), np.uint8)
    mask[20:60, 20:] = 1
    mask[60:80, 20:] = 3
    overlay = pictures.overlay_mask(np.zeros((*mask.shape, 3), np.uint8), mask, opacity=0.5)
    # A column through both, from the background above to the one below.
    column = overlay[:, 70].max(axis=-1)
    full = np.flatnonzero(column == 128).tolist()
    edges = [*range(20, 20 + width), *range(60 - width, 60 + width), *range(80 - width, 80)]
    assert full == edges
    assert not column[mask[:, 70] == 0].any()
    assert (column[(mask[:, 70] > 0) & (column < 128)] == 64).all()
    # The objects continue beyond the right border: no outline along it.
    assert (overlay[40, -1] == [64, 0, 0]).all()


def test_points_are_centred_where_they_are():
    image = np.zeros((40, 40, 3), np.uint8)
    overlay = pictures.overlay_points(image, np.array([[20.0, 11.0], [np.nan, 3.0], [30.5, 30.0]]))
    assert image.max() == 0
    assert overlay[11, 20].tolist() == [128, 0, 0]
    assert overlay[30, 30].tolist() == overlay[30, 31].tolist() == [128, 128, 0]
    for centre, window in (((20, 11), np.s_[:22, 10:31]), ((30.5, 30), np.s_[22:40, 22:40])):
        inked = np.argwhere(overlay[window].any(-1)) + [window[0].start or 0, window[1].start]
        np.testing.assert_allclose((inked.min(0) + inked.max(0)) / 2, centre[::-1], atol=0.5)
    assert overlay[:5].max() == 0


def test_invisible_points_are_rings_and_far_points_are_not_drawn():
    image = np.full((40, 40, 3), 7, np.uint8)
    ring = pictures.overlay_points(image, np.array([[20.0, 20.0]]), np.array([False]), radius=5)
    assert ring[20, 20].tolist() == [7, 7, 7]
    assert int(ring[20, 25, 0]) > int(ring[20, 25, 1]) + 60
    far = pictures.overlay_points(image, np.array([[1e12, 4.0], [-50.0, 4.0]]))
    assert (far == 7).all()


def _shift(right, down, width, height):
    """Return a shift by whole pixels, in normalised coordinates."""
    return np.array([[1, 0, 2 * right / width], [0, 1, 2 * down / height], [0, 0, 1]])


def test_warp_by_whole_pixels_is_exact():
    image = _image()
    warped, visible = pictures.warp_view(image, _shift(3, -2, 16, 12), (12, 16))
    np.testing.assert_array_equal(warped[:10, 3:], image[2:, :13])
    expected = np.zeros((12, 16), bool)
    expected[:10, 3:] = True
    np.testing.assert_array_equal(visible, expected)
    assert warped[~visible].max() == 0


def test_warp_by_a_flip_mirrors():
    image = _image()
    warped, visible = pictures.warp_view(image, np.diag([-1.0, 1.0, 1.0]), (12, 16))
    np.testing.assert_array_equal(warped, image[:, ::-1])
    assert visible.all()


def test_warp_to_twice_the_size_puts_box_onto_box():
    image = _image(4, 4)
    warped, visible = pictures.warp_view(image, np.eye(3), (8, 8))
    expected = tf.image.resize(image, (8, 8)).numpy()
    np.testing.assert_allclose(warped, expected, atol=1)
    assert visible.all()


def test_visible_pixels_agree_with_the_geometry_of_training():
    box = tf.constant([[-0.8, -0.5, 0.4, 0.7], [-0.3, -0.9, 0.9, 0.3]])
    views = geometry.view_from_frame(box, tf.constant([True, False]))
    matrix = geometry.backward_from_forward(views[1], views[0])
    centres = geometry.receptive_field_centres(32, 32, geometry.CellGrid(0, 1))
    inverse = geometry.inverse(matrix[tf.newaxis])
    expected = geometry.visibility(inverse, centres, centres)[0].numpy()
    _, visible = pictures.warp_view(_image(32, 32), matrix.numpy(), (32, 32))
    # Training counts a cell by its interpolation weight: the two may differ on the outermost line.
    assert np.mean(visible != expected) < 0.06
    assert visible.mean() == pytest.approx(expected.mean(), abs=0.06)


def test_view_pair_panels():
    forward, backward = _image(64, 96), _image(64, 96, seed=1)
    matrix = _shift(48, 0, 96, 64)
    picture = pictures.view_pair(forward, backward, matrix)
    panels = [picture[-64:, left : left + 96] for left in (0, 100, 200, 300)]
    np.testing.assert_array_equal(panels[0], forward)
    np.testing.assert_array_equal(panels[1], backward)
    np.testing.assert_array_equal(panels[2][:, :48], backward[:, :48])
    mean = (forward[:, :48].astype(float) + backward[:, 48:]) / 2
    np.testing.assert_allclose(panels[2][:, 48:], mean, atol=0.5)
    assert (panels[3][:, :48] == 0).all() and (panels[3][:, 48:] == 255).all()


def test_montage_places_images_of_different_sizes():
    images = [_image(10, 8), _image(6, 12), _image(5, 5)]
    picture = pictures.montage(images, columns=2, gap=2)
    assert picture.shape == (22, 26, 3)
    np.testing.assert_array_equal(picture[:10, :8], images[0])
    np.testing.assert_array_equal(picture[:6, 14:26], images[1])
    np.testing.assert_array_equal(picture[12:17, :5], images[2])
    background = picture[-1, -1]
    assert (picture[10:12] == background).all() and (picture[17:, :] == background).all()


def test_captions_line_up_and_fit():
    images = [_image(20, 90), _image(20, 90)]
    picture = pictures.montage(images, ['short', 'a caption that needs more than one line'])
    assert picture.shape[1] == 184
    np.testing.assert_array_equal(picture[-20:, :90], images[0])
    np.testing.assert_array_equal(picture[-20:, 94:], images[1])
    bar = picture[:-20]
    paper = bar[-1, 0]
    assert (bar[:, 88:94] == paper).all() and (bar[:, -1] == paper).all()
    inked_rows = np.flatnonzero((bar[:, 94:] != paper).any((1, 2)))
    assert inked_rows.max() - inked_rows.min() > 17


def test_a_caption_breaks_where_its_lines_end():
    one, two = (len(pictures.caption(_image(20, 90), text)) for text in ('a b', 'a\nb'))
    assert two - one == len(pictures.caption(_image(20, 90), 'a\nb\nc')) - two > 0


def test_the_range_of_an_affinity_is_a_line_of_its_own():
    heights = {
        len(pictures.affinity_picture(np.eye(4) * value, 'to a later frame', size=128))
        for value in (1.0, 0.969, 0.123456, 12345.0)
    }
    assert heights == {len(pictures.caption(_image(128, 128), 'to a later frame\n0 to 1'))}


def test_png_is_lossless_and_leaves_nothing_unfinished(tmp_path):
    image = _image()
    path = tmp_path / 'folder' / 'picture.png'
    pictures.write_png(str(path), image)
    np.testing.assert_array_equal(tf.io.decode_png(path.read_bytes()).numpy(), image)
    assert [file.name for file in path.parent.iterdir()] == ['picture.png']
