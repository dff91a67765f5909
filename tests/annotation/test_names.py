"""Names in the overlay are inside the picture: smaller, shortened, or numbers."""

import numpy as np
import pytest

from stfc3_tf.annotation.drawing import overlay
from stfc3_tf.annotation.drawing.names import Names
from stfc3_tf.figures import lettering

GREY = 120


def legend(names, height, width):
    """Return which pixels the legend covers, bool [height, width]."""
    image = np.full((height, width, 3), GREY, np.uint8)
    pictures = overlay.MaskPictures(dict(enumerate(names, 1)))
    drawn = pictures.draw(image, np.zeros((height, width), np.uint8))
    return (drawn != GREY).any(axis=-1)


def edges_of_letters(name, height, width, at):
    """Return which pixels are black, bool [height, width]: the edges of letters alone are."""
    image = np.full((height, width, 3), GREY, np.uint8)
    drawn = overlay.PointTrails([name]).draw(image, np.array([at], float), np.ones(1, bool))
    return (drawn == 0).all(axis=-1)


def texts(names, size, most, numbers=(1, 2, 3)):
    """Return what is written if all names together may be `most` pixels wide."""

    def fits(boxes, height):
        return sum(box[2] - box[0] for box in boxes) <= most

    written = Names('object', names, numbers[: len(names)]).written(size, 20, fits)
    return [each.text for each in written.letterings], written.height


@pytest.mark.parametrize('size', [(120, 160), (240, 320), (480, 854), (1080, 1920)])
@pytest.mark.parametrize('count', [1, 2, 5])
def test_a_legend_is_there_and_small(size, count):
    covered = legend([f'object {number}' for number in range(count)], *size)
    assert 0 < covered.mean() <= 0.12


def test_many_objects_have_a_legend_where_there_is_room(caplog):
    assert legend([f'object {number}' for number in range(12)], 480, 854).any()
    assert not caplog.text


@pytest.mark.parametrize('at', [(3, 3), (160, 120), (318, 237)])
def test_a_long_name_stays_in_the_picture(at):
    black = edges_of_letters('x' * 60, 240, 320, at)
    middle = edges_of_letters('x' * 60, 240, 320, (160, 120))
    columns = np.flatnonzero(middle.any(axis=0))
    assert 1 <= columns[0] < 100 and 220 < columns[-1] <= 318
    # Nothing is cut off.
    assert black.sum() == middle.sum() > 50


def test_letters_shrink_then_names_then_there_are_numbers(caplog):
    names = ['the left paw of the first dog', 'a right paw']
    wide = sum(lettering.extent(lettering.of(name), 20)[2] + 1 for name in names)
    assert texts(names, (300, 400), wide) == (names, 20)
    found, height = texts(names, (300, 400), wide * 0.7)
    assert found == names and 8 <= height < 20
    shorter = ['the left paw of the fir…', 'a right paw']
    least = sum(lettering.extent(lettering.of(name), 8)[2] + 1 for name in shorter)
    assert texts(names, (300, 400), least) == (shorter, 8)
    assert not caplog.text
    assert texts(names, (300, 400), 30, (4, 7))[0] == ['4', '7']
    assert '400x300 pixels (width x height) have no room for the names of 2 objects' in caplog.text
    assert texts(names, (300, 401), 3) == ([], 20)
    assert caplog.text.count('\n') == 2 and 'none are drawn' in caplog.text


def test_names_that_would_look_the_same_are_numbers():
    names = [f'the left paw of the dog number {number}' for number in (1, 2)]
    assert texts(names, (301, 400), 200)[0] == ['1', '2']


def test_letters_are_not_tiny_in_a_large_picture():
    names = ['the left paw of the first dog']
    assert texts(names, (1080, 1920), 120)[1] == 18


@pytest.mark.parametrize('code, light', [('#000000', True), ('#00785a', True), ('#f0e442', False)])
def test_names_are_legible_in_any_colour(code, light):
    image = np.full((200, 300, 3), GREY, np.uint8)
    trails = overlay.PointTrails(['MMM'], [code])
    drawn = trails.draw(image, np.array([[150.0, 100.0]]), np.ones(1, bool)).astype(int)
    own = np.array(list(bytes.fromhex(code[1:])))
    letters = drawn[:95, 155:].reshape(-1, 3)
    brightest = letters[letters.sum(axis=-1).argmax()]
    assert brightest @ [0.299, 0.587, 0.114] >= 149
    assert (brightest == own).all() != light
    # The point itself has the very colour.
    np.testing.assert_array_equal(drawn[100, 150], own)
