"""Names in the overlay: drawn as given, or replaced with a warning."""

import numpy as np
import pytest

from stfc3_tf.annotation.drawing import lettering, overlay


def drawn(name):
    canvas = np.full((60, 300, 3), 128, np.uint8)
    (chosen,) = lettering.letterings([name])
    lettering.write(canvas, chosen, (10, 40), 20)
    return canvas


@pytest.mark.parametrize('name', ['nose', 'Öhr links', 'μύτη', 'левый глаз', 'عين'])
def test_scripts(name, caplog):
    canvas = drawn(name)
    # Light letters with a dark edge, beginning at the given place, above and around the line.
    assert (canvas == 255).all(-1).any() and (canvas == 0).all(-1).any()
    columns = np.flatnonzero((canvas != 128).any((0, 2)))
    assert 8 <= columns[0] <= 14 and columns[-1] > 30
    assert not caplog.text
    # Missing characters would all look alike.
    assert not np.array_equal(canvas, drawn('?' * len(name)))
    assert not np.array_equal(canvas, drawn(name[::-1]))


def test_characters_of_no_font(caplog):
    names = ['nose', '\U0010fffd']
    assert [chosen.text for chosen in lettering.letterings(names)] == ['nose', '2']
    assert 'No font here has the characters of ' in caplog.text and "'nose'" not in caplog.text


def test_a_name_of_two_lines_is_written_on_one():
    np.testing.assert_array_equal(drawn('left\n\teye'), drawn('left eye'))


@pytest.mark.parametrize('place', [(-500, 30), (-3, 3), (299, 59), (2000, 2000)])
def test_names_at_the_edge(place):
    canvas = np.full((60, 300, 3), 128, np.uint8)
    lettering.write(canvas, lettering.letterings(['a long name'])[0], place, 20)
    assert canvas.shape == (60, 300, 3)


def test_the_overlay_shows_other_letters_for_other_names():
    image = np.full((120, 240, 3), 90, np.uint8)
    pictures = [
        overlay.PointTrails([name]).draw(image, np.array([[40.0, 60.0]]), np.ones(1, bool))
        for name in ('Öhr', 'Ähr', 'Ohr')
    ]
    assert all((picture != image).any() for picture in pictures)
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])
