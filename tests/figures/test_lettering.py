"""Names in pictures and figures: drawn as given, or replaced with a warning."""

import warnings

import numpy as np
from PIL import Image
import pytest

from stfc3_tf.annotation.drawing import overlay
from stfc3_tf.figures import lettering, page, pictures


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
    assert 'No font here has all characters of ' in caplog.text and "'nose'" not in caplog.text
    assert [chosen.text for chosen in lettering.letterings(['nose \U0010fffd'])] == ['nose □']


def has_font(name):
    return '□' not in lettering.of(name).text


def other_scripts():
    """Names with the package for Debian that has their letters."""
    names = {'左目': 'fonts-wqy-microhei', 'नाक': 'fonts-lohit-deva'}
    return [
        pytest.param(
            name,
            marks=pytest.mark.skipif(not has_font(name), reason=f'needs a font, as in {package}'),
            id=package,
        )
        for name, package in names.items()
    ]


@pytest.mark.parametrize('name', other_scripts())
def test_scripts_of_other_fonts(name, caplog):
    plain, box = drawn(name), drawn('□' * len(name))
    assert (plain == 255).all(-1).any() and not np.array_equal(plain, box)
    assert not np.array_equal(plain, drawn(name[::-1]))
    assert not caplog.text


@pytest.mark.parametrize('name', other_scripts())
def test_a_name_in_several_fonts(name, caplog):
    (mixed,) = lettering.letterings([f'عين {name} Ж'])
    assert mixed.text == f'عين {name} Ж' and len({part.font for part in mixed.parts}) > 1
    left, _, right, _ = lettering.extent(mixed, 20)
    alone = lettering.extent(lettering.of(name), 20)[2]
    assert right - left > alone + lettering.extent(lettering.of('عين'), 20)[2] - 4
    assert not caplog.text


@pytest.mark.parametrize('name', other_scripts())
def test_captions_of_other_fonts(name):
    image = np.zeros((20, 120, 3), np.uint8)
    shown = [pictures.caption(image, text) for text in (name, '?' * len(name), '□' * len(name))]
    assert (shown[0] != shown[1]).any() and (shown[0] != shown[2]).any()
    long = pictures.caption(image, name * 20)
    assert (long[:-20, -1] == long[0, 0]).all() and len(long) > len(shown[0])


@pytest.mark.parametrize('ending', page.ENDINGS)
@pytest.mark.parametrize('name', other_scripts())
def test_figures_of_other_fonts(tmp_path, name, ending, caplog):
    path = tmp_path / f'figure{ending}'
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with page.page(str(path), 1.0, 2.0) as figure:
            axes = figure.subplots()
            axes.set_title(name)
            axes.set_xticks([0, 1], [name, 'nose'])
    assert path.stat().st_size > 1000 and not caplog.text


def test_a_figure_without_the_font(tmp_path, caplog):
    path = tmp_path / 'figure.png'
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with page.page(str(path), 1.0, 2.0) as figure:
            figure.subplots().set_title('\U0010fffc')
    assert Image.open(path).size[0] > 100
    assert caplog.text.count('No font here has all characters of ') == 1


def test_a_name_of_two_lines_is_written_on_one():
    np.testing.assert_array_equal(drawn('left\n\teye'), drawn('left eye'))


@pytest.mark.parametrize(
    'place,is_visible',
    [
        ((-500, 30), False),
        ((-3, 3), True),
        ((-40, 30), True),
        ((295, 59), True),
        ((2000, 9), False),
    ],
)
def test_names_at_the_edge(place, is_visible):
    name, border = lettering.of('a long name'), 150
    canvas = np.full((60, 300, 3), 128, np.uint8)
    lettering.write(canvas, name, place, 20)
    # What a larger picture shows of the name, cut to this one.
    larger = np.full((60 + 2 * border, 300 + 2 * border, 3), 128, np.uint8)
    lettering.write(larger, name, (place[0] + border, place[1] + border), 20)
    np.testing.assert_array_equal(canvas, larger[border : border + 60, border : border + 300])
    assert (canvas != 128).any() == is_visible


def test_the_overlay_shows_other_letters_for_other_names():
    image = np.full((120, 240, 3), 90, np.uint8)
    pictures = [
        overlay.PointTrails([name]).draw(image, np.array([[40.0, 60.0]]), np.ones(1, bool))
        for name in ('Öhr', 'Ähr', 'Ohr')
    ]
    assert all((picture != image).any() for picture in pictures)
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])
