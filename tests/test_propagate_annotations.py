"""What a user marks in one frame: every accepted form, and one clear line for everything else."""

import json

import numpy as np
import pytest
from PIL import Image

from stfc3_tf import annotations, errors, palette

SIZE = 20, 30


def save(path, values, mode='L', colours=None):
    image = Image.fromarray(np.asarray(values, np.uint8), 'L' if mode == 'P' else mode)
    if mode == 'P':
        image.putpalette(palette.DAVIS.tobytes() if colours is None else colours)
    image.save(path)
    return str(path)


def numbered(*boxes, dtype=np.uint8):
    """A mask with object numbers in boxes of rows 2 ... 9, one after the other."""
    mask = np.zeros(SIZE, dtype)
    for place, number in enumerate(boxes):
        mask[2:10, 5 * place : 5 * place + 4] = number
    return mask


@pytest.mark.parametrize(
    'given, mode, expected',
    [
        ((1, 2, 7), 'P', (1, 2, 7)),
        ((1, 2, 255), 'P', (1, 2, 0)),
        ((3,), 'P', (3,)),
        ((255,), 'L', (1,)),
        ((1,), 'L', (1,)),
        ((1, 2), 'L', (1, 2)),
    ],
)
def test_masks(tmp_path, given, mode, expected):
    path = save(tmp_path / 'mask.png', numbered(*given), mode)
    found = annotations.read_mask(path, SIZE).mask
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, numbered(*expected))


def test_a_black_and_white_mask(tmp_path):
    Image.fromarray(numbered(1).astype(bool)).save(tmp_path / 'mask.png')
    found = annotations.read_mask(str(tmp_path / 'mask.png'), SIZE).mask
    np.testing.assert_array_equal(found, numbered(1))


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'LA'])
def test_black_and_white_in_colour(tmp_path, mode):
    white = Image.fromarray(numbered(255)).convert(mode)
    white.save(tmp_path / 'mask.png')
    found = annotations.read_mask(str(tmp_path / 'mask.png'), SIZE).mask
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, numbered(1))


@pytest.mark.parametrize('dtype, name', [(np.uint16, 'mask.png'), (np.int32, 'mask.tif')])
def test_object_numbers_of_more_bits(tmp_path, dtype, name):
    Image.fromarray(numbered(1, 2, 7, dtype=dtype)).save(tmp_path / name)
    found = annotations.read_mask(str(tmp_path / name), SIZE).mask
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, numbered(1, 2, 7))
    Image.fromarray(numbered(1, 300, dtype=dtype)).save(tmp_path / name)
    with pytest.raises(errors.UserError, match='holds 0 to 300: object numbers are 0 to 255'):
        annotations.read_mask(str(tmp_path / name), SIZE)


def test_a_mask_in_the_colours_of_davis(tmp_path):
    path = save(tmp_path / 'mask.png', palette.DAVIS[numbered(1, 4)], 'RGB')
    np.testing.assert_array_equal(annotations.read_mask(path, SIZE).mask, numbered(1, 4))


@pytest.mark.parametrize(
    'make, message',
    [
        (lambda path: save(path, np.zeros((10, 30))), '30x10 .* frames are 30x20'),
        (lambda path: save(path, np.zeros(SIZE)), 'is empty: mark the object'),
        (lambda path: None, 'is missing'),
        (lambda path: path.write_bytes(b''), 'not a readable image'),
        (lambda path: save(path, np.arange(600).reshape(SIZE) % 200), '200 shades of grey'),
        (lambda path: save(path, np.full((*SIZE, 3), 17), 'RGB'), 'not in the DAVIS palette'),
        (lambda path: path.write_text('no picture'), 'not a readable image: give a mask'),
    ],
)
def test_what_is_no_mask(tmp_path, make, message):
    path = tmp_path / 'mask.png'
    make(path)
    with pytest.raises(errors.UserError, match=message) as raised:
        annotations.read_mask(str(path), SIZE)
    assert str(path) in str(raised.value)


POINTS = [('nose', 3.25, 4.0), ('left "eye", outer', 29.5, -0.5)]


@pytest.mark.parametrize(
    'text',
    [
        json.dumps({'points': [{'name': n, 'x': x, 'y': y} for n, x, y in POINTS]}),
        json.dumps([{'name': n, 'x': x, 'y': y, 'note': 1} for n, x, y in POINTS]),
        json.dumps({name: [x, y] for name, x, y in POINTS}),
        'name,x,y\nnose,3.25,4\n"left ""eye"", outer",29.5,-0.5\n',
        '\ufeffx, y, name, colour\r\n3.25, 4, nose, red\r\n29.5,-.5,"left ""eye"", outer",blue\r\n',
    ],
)
def test_points(tmp_path, text):
    path = tmp_path / 'points'
    path.write_bytes(text.encode())
    found = annotations.read_points(str(path), SIZE)
    assert found.names == ('nose', 'left "eye", outer')
    np.testing.assert_array_equal(found.points, [[3.25, 4], [29.5, -0.5]])


@pytest.mark.parametrize(
    'text, message',
    [
        ('{"nose": [3, 4', 'cannot be read as points .* Expected JSON'),
        ('{"nose": [3, 4, 5]}', 'cannot be read as points'),
        ('{"points": [{"x": 3, "y": 4}]}', 'cannot be read as points .*name'),
        ('{"points": []}', 'holds no points'),
        ('{}', 'holds no points'),
        ('', 'holds no points'),
        ('name,x,y\n', 'holds no points'),
        ('x;y;name\n1;2;nose\n', 'cannot be read as points .*name'),
        ('name,x,y\nnose,three,4\n', "cannot be read as points .*'three'"),
        ('name,x,y\nnose,3\n', 'cannot be read as points .line 2 has not as many fields'),
        ('name,x,y\nnose,3,5,4,5\n', 'cannot be read as points .line 2 has not as many fields'),
        ('nose,3,4\n', 'cannot be read as points .its first line names no column name, x, y'),
        ('{"nose": [3, 4], "eye": [5, 6], "nose": [7, 8]}', "the name 'nose' is given twice"),
        ('name,x,y\nnose,3,4\nnose,5,6\n', "name 'nose' is empty or given twice"),
        ('name,x,y\n,3,4\n', "name '' is empty"),
        (
            '{"nose": [29.6, 4]}',
            r"'nose' at \(29.6, 4\) lies outside the frame of 30x20 .* 0 to 29",
        ),
        ('{"nose": [3, 20]}', 'lies outside the frame'),
        ('{"nose": [NaN, 4]}', 'lies outside the frame'),
        ('\x89PNG\r\n', 'cannot be read as points'),
    ],
)
def test_what_are_no_points(tmp_path, text, message):
    path = tmp_path / 'points.json'
    path.write_bytes(text.encode('latin-1'))
    with pytest.raises(errors.UserError, match=message) as raised:
        annotations.read_points(str(path), SIZE)
    assert str(path) in str(raised.value) and '\n' not in str(raised.value)
