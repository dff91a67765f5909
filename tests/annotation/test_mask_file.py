"""Masks as paint programs, converters and other tools write them, against the shape they show."""

import fractions
import re

import cv2
import numpy as np
from PIL import Image
import pytest

from stfc3_tf import errors
from stfc3_tf.annotation.marks import mask_file
from stfc3_tf.storage import palette

SIZE = 96, 128
LEFT, RIGHT = np.s_[20:60, 10:50], np.s_[30:80, 70:110]


def shape(*values):
    """Return a picture of two rectangles of the given values or colours on 0."""
    picture = np.zeros((*SIZE, *np.shape(values[0])), np.uint8)
    for place, value in zip((LEFT, RIGHT), values):
        picture[place] = value
    return picture


def read(path, **settings):
    return mask_file.read(str(path), SIZE, **settings)


def with_alpha(colours, alpha):
    return np.concatenate([colours, alpha[..., np.newaxis]], axis=-1)


def check(found, expected, within=0):
    """Masks agree except for a few pixels at the borders of the truth."""
    if within:
        reach = np.ones((2 * within + 1,) * 2, np.uint8)
        inner = cv2.dilate(expected, reach) == cv2.erode(expected, reach)
        np.testing.assert_array_equal(found.mask[inner], expected[inner])
        assert set(np.unique(found.mask)) == set(np.unique(expected))
    else:
        np.testing.assert_array_equal(found.mask, expected)
    assert set(found.marks) == set(np.unique(expected)) - {0}


RED, GREEN, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (255, 255, 255), (0, 0, 0)


@pytest.mark.parametrize(
    'left, right, expected',
    [
        (WHITE, WHITE, (1, 1)),
        (BLACK, BLACK, (1, 1)),
        (RED, RED, (1, 1)),
        (RED, GREEN, (2, 1)),
        (BLACK, RED, (1, 2)),
        (WHITE, BLACK, (2, 1)),
        ((5, 5, 5), RED, (1, 2)),
    ],
)
def test_transparent_ground(tmp_path, left, right, expected):
    picture = with_alpha(shape(left, right), shape(255, 255))
    # What lies under transparent pixels does not count.
    picture[picture[..., 3] == 0, :3] = np.random.default_rng(0).integers(0, 256, 3)
    Image.fromarray(picture).save(tmp_path / 'mask.png')
    check(read(tmp_path / 'mask.png'), shape(*expected))


def test_black_on_a_transparent_ground_with_smooth_borders_adds_no_other_object(tmp_path):
    colours = np.zeros((*SIZE, 3), np.uint8)
    colours[30:50, 20:40] = RED
    picture = with_alpha(cv2.GaussianBlur(colours, (0, 0), 1), shape(255))
    Image.fromarray(picture).save(tmp_path / 'mask.png')
    expected = shape(1)
    expected[30:50, 20:40] = 2
    check(read(tmp_path / 'mask.png'), expected, within=2)


@pytest.mark.parametrize('mode', ['P', 'L'])
def test_the_number_0_is_background_also_beside_transparent_pixels(tmp_path, caplog, mode):
    numbers = Image.fromarray(shape(7, 255), mode)
    if mode == 'P':
        numbers.putpalette(palette.DAVIS.tobytes())
    numbers.save(tmp_path / 'mask.png', transparency=255)
    check(read(tmp_path / 'mask.png'), shape(7))
    ground = shape(0).size - 40 * 40 - 50 * 40
    assert f'mask.png: {ground:,} pixels of number 0, black and opaque' in caplog.text


def test_black_alone_is_the_object_also_where_it_is_the_number_0(tmp_path):
    Image.fromarray(255 - shape(255)).save(tmp_path / 'mask.png', transparency=255)
    check(read(tmp_path / 'mask.png'), shape(1))


def test_an_object_cut_out_of_a_photograph(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    Image.fromarray(with_alpha(noise, shape(255))).save(tmp_path / 'mask.png')
    check(read(tmp_path / 'mask.png'), shape(1))


def test_other_pictures_with_transparency(tmp_path):
    grey = Image.merge('LA', [Image.fromarray(shape(255)), Image.fromarray(shape(255))])
    grey.save(tmp_path / 'grey.png')
    indexed = Image.fromarray(shape(1), 'P')
    indexed.putpalette([*GREEN, *WHITE])
    indexed.save(tmp_path / 'indexed.png', transparency=0)
    for name in ('grey.png', 'indexed.png'):
        check(read(tmp_path / name), shape(1))


def test_the_colours_of_davis_on_a_transparent_ground_keep_their_numbers(tmp_path):
    picture = with_alpha(palette.DAVIS[shape(4, 2)], shape(255, 255))
    Image.fromarray(picture).save(tmp_path / 'mask.png')
    indexed = Image.fromarray(shape(1, 2), 'P')
    indexed.putpalette(palette.DAVIS.tobytes())
    indexed.save(tmp_path / 'indexed.png', transparency=0)
    check(read(tmp_path / 'mask.png'), shape(4, 2))
    check(read(tmp_path / 'indexed.png'), shape(1, 2))
    # 128, 128, 128 is colour 7 of DAVIS, but greys are shades.
    greys = with_alpha(shape((128,) * 3, (200,) * 3), shape(255, 255))
    Image.fromarray(greys).save(tmp_path / 'grey.png')
    check(read(tmp_path / 'grey.png'), shape(1, 2))


@pytest.mark.parametrize('name', ['stack.tif', 'moving.gif', 'moving.png'])
def test_several_masks_in_one_file_are_refused(tmp_path, name):
    masks = [Image.fromarray(shape(1)), Image.fromarray(shape(0, 1))]
    masks[0].save(tmp_path / name, save_all=True, append_images=masks[1:])
    with pytest.raises(errors.UserError, match=f'{name} .*it holds 2 pictures; write each to a'):
        read(tmp_path / name)


def test_nothing_but_transparency(tmp_path):
    Image.fromarray(with_alpha(shape(RED), shape(0))).save(tmp_path / 'mask.png')
    with pytest.raises(errors.UserError, match='mask.png is empty: all of its pixels are transp'):
        read(tmp_path / 'mask.png')


@pytest.mark.parametrize(
    'colours, index, expected',
    [
        ([WHITE, BLACK], (0, 0), (1, 1)),
        ([BLACK, WHITE], (1, 1), (1, 1)),
        ([GREEN, RED, BLACK], (0, 1), (1, 2)),
        ([BLACK, RED, GREEN], (1, 2), (1, 2)),
        ([BLACK, RED, (9, 9, 9), GREEN], (3, 2), (3, 2)),
        ([BLACK, RED, RED], (1, 2), (1, 2)),
        ([(128, 64, 128), RED, GREEN], (1, 2), (1, 2)),
    ],
)
def test_palettes(tmp_path, colours, index, expected):
    background = colours.index(BLACK) if BLACK in colours else 0
    values = np.full(SIZE, background, np.uint8)
    values[LEFT], values[RIGHT] = index
    image = Image.fromarray(values, 'P')
    image.putpalette([channel for colour in colours for channel in colour])
    image.save(tmp_path / 'mask.png')
    check(read(tmp_path / 'mask.png'), shape(*expected))


@pytest.mark.parametrize(
    'left, right, expected',
    [
        (128, 255, (1, 2)),
        (85, 170, (85, 170)),
        (64, 255, (1, 2)),
        (1, 255, (1, 0)),
        (7, 31, (7, 31)),
        (200, 200, (200, 200)),
    ],
)
@pytest.mark.parametrize('mode', ['L', 'RGB'])
def test_shades_of_grey(tmp_path, left, right, expected, mode):
    Image.fromarray(shape(left, right)).convert(mode).save(tmp_path / 'mask.png')
    check(read(tmp_path / 'mask.png'), shape(*expected))


def test_a_palette_of_the_shades_of_grey_is_read_as_grey(tmp_path):
    image = Image.fromarray(shape(128, 255), 'P')
    image.putpalette([level for level in range(256) for _ in range(3)])
    image.save(tmp_path / 'mask.png')
    check(read(tmp_path / 'mask.png'), shape(1, 2))


def test_floating_point_numbers_are_no_mask(tmp_path):
    Image.fromarray(shape(1, 2).astype(np.float32)).save(tmp_path / 'mask.tif')
    with pytest.raises(errors.UserError, match='mask.tif holds floating-point numbers'):
        read(tmp_path / 'mask.tif')


def test_sixteen_bits_from_black_to_white(tmp_path):
    for values, expected in (((255, 255), (1, 1)), ((128, 255), (1, 2))):
        Image.fromarray(shape(*values).astype(np.uint16) * 257).save(tmp_path / 'mask.png')
        check(read(tmp_path / 'mask.png'), shape(*expected))
    Image.fromarray(np.uint16([0, 32768, 65535])[shape(1, 2)]).save(tmp_path / 'mask.png')
    check(read(tmp_path / 'mask.png'), shape(1, 2))
    Image.fromarray(np.uint16([0, 24001, 24002])[shape(1, 2)]).save(tmp_path / 'mask.png')
    with pytest.raises(errors.UserError, match='object numbers are 0 to 255'):
        read(tmp_path / 'mask.png')


@pytest.mark.parametrize('colours', [(WHITE, WHITE), (RED, GREEN), ((0, 90, 200), (250, 240, 0))])
def test_colours_in_the_order_of_their_codes(tmp_path, colours):
    Image.fromarray(shape(*colours)).save(tmp_path / 'mask.png')
    order = sorted(set(colours))
    found = read(tmp_path / 'mask.png')
    check(found, shape(*(1 + order.index(colour) for colour in colours)))


def test_marks_name_the_colours(tmp_path):
    Image.fromarray(shape(RED, GREEN)).save(tmp_path / 'mask.png')
    assert read(tmp_path / 'mask.png').marks == {1: '#00ff00', 2: '#ff0000'}


def pixels_in(message):
    """Return the number of pixels that a warning names."""
    return int(re.search(r'([\d,]+) pixel', message)[1].replace(',', ''))


@pytest.mark.parametrize('radius', [0.7, 1.5])
@pytest.mark.parametrize(
    'values, expected',
    [((255, 255), (1, 1)), ((128, 255), (1, 2)), ((RED, GREEN), (2, 1)), ((RED, WHITE), (1, 2))],
)
def test_smoothed_borders(tmp_path, caplog, radius, values, expected):
    smooth = cv2.GaussianBlur(shape(*values), (0, 0), radius)
    Image.fromarray(smooth).save(tmp_path / 'mask.png')
    check(read(tmp_path / 'mask.png'), shape(*expected), within=2)
    assert 'mask.png is smoothed, or its format is lossy' in caplog.text
    # Only pixels at borders: the edges are 320 pixels long, and smoothing reaches few pixels.
    assert 100 < pixels_in(caplog.text) < 320 * 8


def test_few_shades_at_a_border_are_smoothing_too(tmp_path):
    values = shape(255)
    values[59, 10:50] = 128
    Image.fromarray(values).save(tmp_path / 'mask.png')
    check(read(tmp_path / 'mask.png'), shape(1), within=1)


def test_a_smoothed_palette(tmp_path):
    smooth = Image.fromarray(cv2.GaussianBlur(shape(WHITE), (0, 0), 1))
    smooth.convert('P', palette=Image.Palette.ADAPTIVE, colors=32).save(tmp_path / 'mask.png')
    check(read(tmp_path / 'mask.png'), shape(1), within=2)


def test_smooth_transparency(tmp_path, caplog):
    alpha = cv2.GaussianBlur(shape(255), (0, 0), 1)
    Image.fromarray(with_alpha(shape(RED, RED) * 0 + np.uint8(RED), alpha)).save(
        tmp_path / 'mask.png'
    )
    check(read(tmp_path / 'mask.png'), shape(1), within=1)
    assert 'mask.png is transparent in part' in caplog.text
    assert 'is smoothed' not in caplog.text


def test_flat_half_transparent_objects(tmp_path, caplog):
    colours = shape(RED, GREEN)
    Image.fromarray(with_alpha(colours, shape(200, 130))).save(tmp_path / 'mask.png')
    check(read(tmp_path / 'mask.png'), shape(2, 1))
    assert 'mask.png is transparent in part: of 3,600 pixels' in caplog.text
    assert 'is smoothed' not in caplog.text
    Image.fromarray(with_alpha(colours, shape(100, 90))).save(tmp_path / 'mask.png')
    with pytest.raises(errors.UserError, match='are transparent, or more than half transparent'):
        read(tmp_path / 'mask.png')


@pytest.mark.parametrize('quality', [60, 95])
@pytest.mark.parametrize(
    'values, expected', [((255, 255), (1, 1)), ((128, 255), (1, 2)), ((RED, GREEN), (2, 1))]
)
@pytest.mark.parametrize('again', [False, True], ids=['jpeg', 'saved as PNG again'])
def test_lossy_formats(tmp_path, caplog, quality, values, expected, again):
    path = tmp_path / 'mask.jpg'
    Image.fromarray(shape(*values)).save(path, quality=quality)
    if again:
        Image.open(path).save(tmp_path / 'mask.png')
        path = tmp_path / 'mask.png'
    check(read(path), shape(*expected), within=4)
    # Inside of objects a lossy format changes colours a little, which costs nothing.
    assert 'lossy' in caplog.text and pixels_in(caplog.text) < 0.5 * np.sum(shape(1, 1))


@pytest.mark.parametrize(
    'picture, covered',
    [  # The rectangle has 40 x 40 of 96 x 128 pixels.
        (255 - shape(255), 87),
        (shape(255) * 0 + 255, 100),
        (255 - shape(WHITE), 87),
        (shape(1) * 0 + 1, 100),
    ],
)
def test_masks_that_may_be_inverted_are_taken_with_a_warning(tmp_path, caplog, picture, covered):
    Image.fromarray(picture).save(tmp_path / 'mask.png')
    found = read(tmp_path / 'mask.png')
    assert found.mask[0, 0] == 1 and set(found.marks) == {1}
    assert f'mask.png: its objects cover {covered} % of the frame' in caplog.text
    assert 'Is the mask inverted?' in caplog.text


@pytest.mark.parametrize('box', [np.s_[:75], np.s_[1:], np.s_[:, :-1], np.s_[:-1, 1:]])
def test_large_objects_inside_the_frame_are_not_inverted(tmp_path, caplog, box):
    picture = shape(0)
    picture[box] = 255
    Image.fromarray(picture).save(tmp_path / 'mask.png')
    read(tmp_path / 'mask.png')
    assert 'inverted' not in caplog.text


def test_thin_lines_are_kept(tmp_path):
    picture = shape(GREEN)
    picture[90, 5:100] = RED
    picture[84:86, 3] = (0, 0, 255)
    Image.fromarray(picture).save(tmp_path / 'mask.png')
    found = read(tmp_path / 'mask.png')
    assert found.marks == {1: '#0000ff', 2: '#00ff00', 3: '#ff0000'}
    expected = shape(2)
    expected[90, 5:100], expected[84:86, 3] = 3, 1
    np.testing.assert_array_equal(found.mask, expected)


def test_a_hundred_flat_colours(tmp_path):
    colours = np.random.default_rng(0).integers(60, 256, (100, 3), np.uint8)
    picture = np.zeros((100, 200, 3), np.uint8)
    for number, colour in enumerate(colours):
        top, left = 10 * (number // 10), 20 * (number % 10)
        picture[top : top + 6, left : left + 12] = colour
    Image.fromarray(picture).save(tmp_path / 'mask.png')
    found = mask_file.read(str(tmp_path / 'mask.png'), (100, 200))
    assert len(found.marks) == len({tuple(colour) for colour in colours.tolist()})
    assert (found.mask > 0).sum() == 100 * 6 * 12


def photograph():
    noise = np.random.default_rng(0).integers(0, 256, (13, 17, 3), np.uint8)
    return cv2.resize(noise, SIZE[::-1], interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize(
    'picture, name, message',
    [
        (photograph(), 'mask.png', 'colours that are not flat.*photograph'),
        (photograph(), 'mask.jpg', 'colours that are not flat.*lossy format'),
        (photograph()[..., 0], 'mask.png', 'shades of grey that are not flat'),
        (np.full((*SIZE, 3), 17, np.uint8), 'mask.png', 'value|no mask'),
        (np.full((*SIZE, 3), (90, 10, 200), np.uint8), 'mask.png', 'no black, which is the backgr'),
    ],
)
def test_files_that_are_not_masks_are_refused(tmp_path, picture, name, message):
    Image.fromarray(picture).save(tmp_path / name)
    if message == 'value|no mask':
        assert read(tmp_path / name).marks == {17: 'value 17'}
        return
    with pytest.raises(errors.UserError, match=f'{name} .*{message}') as raised:
        read(tmp_path / name)
    assert '\n' not in str(raised.value)


def test_a_mask_of_the_size_that_players_show(tmp_path):
    aspect = fractions.Fraction(4, 3)
    wide = cv2.resize(shape(1, 2), (171, 96), interpolation=cv2.INTER_NEAREST)
    for width in (170, 171):
        Image.fromarray(wide[:, :width]).save(tmp_path / 'mask.png')
        found = read(tmp_path / 'mask.png', pixel_aspect=aspect)
        assert found.mask.shape == SIZE
        check(found, shape(1, 2), within=1)
    low = cv2.resize(shape(1, 2), (128, 72), interpolation=cv2.INTER_NEAREST)
    Image.fromarray(low).save(tmp_path / 'mask.png')
    check(read(tmp_path / 'mask.png', pixel_aspect=aspect), shape(1, 2), within=1)
    Image.fromarray(wide[:80]).save(tmp_path / 'mask.png')
    with pytest.raises(errors.UserError, match=r'171x80 .* 128x96 \(171x96 as shown\): give'):
        read(tmp_path / 'mask.png', pixel_aspect=aspect)
    with pytest.raises(errors.UserError, match='frames are 128x96: give'):
        read(tmp_path / 'mask.png')


def test_a_mask_that_is_stored_on_its_side(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(np.rot90(shape(1, 2))).save(tmp_path / 'mask.png', exif=turned)
    check(read(tmp_path / 'mask.png'), shape(1, 2))


def test_the_colours_of_davis_keep_their_numbers(tmp_path):
    Image.fromarray(palette.DAVIS[shape(4, 2)]).save(tmp_path / 'mask.png')
    check(read(tmp_path / 'mask.png'), shape(4, 2))
