"""Names in the overlay: seen on any background, apart from each other, inside the picture."""

import numpy as np
import pytest

from stfc3_tf.annotation.drawing import label_places, overlay
from stfc3_tf.storage import palette

SIZE = 120, 200


def boxes_of(points, box):
    """Place names one after the other, as the overlay does."""
    taken = [label_places.around(point, 3) for point in points]
    found = []
    for point in points:
        _, place = label_places.beside(point, box, 4, taken, SIZE)
        found.append(np.array(box) + [*place, *place])
        taken.append(found[-1])
    return found


@pytest.mark.parametrize('apart', [2, 6, 40])
def test_names_of_near_points_do_not_overlap(apart):
    points = [np.array([90.0 + apart * (n % 2), 60.0 + apart * (n // 2)]) for n in range(4)]
    found = boxes_of(points, (0, -10, 40, 3))
    for number, one in enumerate(found):
        for other in found[:number]:
            sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
            assert sides.min() <= 0


@pytest.mark.parametrize('x', [0, 199])
@pytest.mark.parametrize('y', [0, 60, 119])
def test_names_at_the_edge_are_inside_the_picture(x, y):
    (box,) = boxes_of([np.array([x, y], float)], (-1, -10, 60, 3))
    assert box[0] >= 0 and box[1] >= 0 and box[2] <= 200 and box[3] <= 120


def test_a_name_stays_on_its_side_while_it_is_free():
    near = [np.array([118.0, 40.0, 140.0, 70.0])]
    first, _ = label_places.beside(np.array([100.0, 60]), (0, -10, 30, 3), 4, near, SIZE)
    assert first != 0
    kept, _ = label_places.beside(np.array([100.0, 60]), (0, -10, 30, 3), 4, [], SIZE, first)
    assert kept == first


@pytest.mark.parametrize('ground', [0, 90, 255])
def test_an_object_has_an_edge_that_stands_out_from_any_ground(ground):
    mask = np.zeros(SIZE, np.uint8)
    mask[50:90, 80:150] = 1
    drawn = overlay.MaskPictures({1: 'cup'}).draw(np.full((*SIZE, 3), ground, np.uint8), mask)
    across = drawn[70, 70:90].astype(int).max(axis=-1)
    assert np.abs(across - ground).max() > 100 and across.max() - across.min() > 100


def test_the_legend_is_in_the_freest_corner_and_stays_there():
    mask = np.zeros(SIZE, np.uint8)
    mask[:60], mask[60:, :100] = 1, 2
    pictures = overlay.MaskPictures({1: 'cup', 2: 'hand'})
    image = np.full((*SIZE, 3), 128, np.uint8)
    for shown in (mask, mask[:, ::-1]):
        drawn = pictures.draw(image, shown)
        corner = drawn[80:, 130:].reshape(-1, 3)
        for number in (1, 2):
            assert (corner == palette.DISTINCT[number]).all(axis=-1).sum() > 20


def test_the_first_colours_are_far_from_each_other():
    colours = palette.DISTINCT[1:9].astype(int)
    apart = np.abs(colours[:, None] - colours[None]).max(axis=-1) + 255 * np.eye(8, dtype=int)
    assert apart.min() > 50
