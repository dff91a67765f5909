"""What a user marks in one frame: every accepted form, and one clear line for everything else."""

import json

import numpy as np
from PIL import Image
import pytest

from stfc3_tf import errors
from stfc3_tf.annotation.marks import inputs, mask_file, other_tools
from stfc3_tf.storage import palette

SIZE = 20, 30


def save(path, values, mode='L', colours=None):
    image = Image.fromarray(np.asarray(values, np.uint8), 'L' if mode == 'P' else mode)
    if mode == 'P':
        image.putpalette(palette.DAVIS.tobytes() if colours is None else colours)
    image.save(path)
    return str(path)


def read_points(path):
    return inputs.read_point_files([(None, str(path))], other_tools.Frames(SIZE, {}, 0))


def points_in(found, frame=0):
    assert found.frames == [frame]
    return [found.given.points[frame][place] for place in range(len(found.names))]


def numbered(*boxes, dtype=np.uint8):
    """Return a mask with object numbers in boxes of rows 2 ... 9, one beside the other."""
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
    found = mask_file.read(path, SIZE).mask
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, numbered(*expected))


def test_a_black_and_white_mask(tmp_path):
    Image.fromarray(numbered(1).astype(bool)).save(tmp_path / 'mask.png')
    found = mask_file.read(str(tmp_path / 'mask.png'), SIZE).mask
    np.testing.assert_array_equal(found, numbered(1))


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'LA'])
def test_black_and_white_in_colour(tmp_path, mode):
    white = Image.fromarray(numbered(255)).convert(mode)
    white.save(tmp_path / 'mask.png')
    found = mask_file.read(str(tmp_path / 'mask.png'), SIZE).mask
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, numbered(1))


@pytest.mark.parametrize('dtype, name', [(np.uint16, 'mask.png'), (np.int32, 'mask.tif')])
def test_object_numbers_of_more_bits(tmp_path, dtype, name):
    Image.fromarray(numbered(1, 2, 7, dtype=dtype)).save(tmp_path / name)
    found = mask_file.read(str(tmp_path / name), SIZE).mask
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, numbered(1, 2, 7))
    Image.fromarray(numbered(1, 300, dtype=dtype)).save(tmp_path / name)
    with pytest.raises(errors.UserError, match='holds 0 to 300: object numbers are 0 to 255'):
        mask_file.read(str(tmp_path / name), SIZE)


def test_a_mask_in_the_colours_of_davis(tmp_path):
    path = save(tmp_path / 'mask.png', palette.DAVIS[numbered(1, 4)], 'RGB')
    np.testing.assert_array_equal(mask_file.read(path, SIZE).mask, numbered(1, 4))


@pytest.mark.parametrize(
    'make, message',
    [
        (lambda path: save(path, np.zeros((10, 30))), '30x10 .* frames are 30x20'),
        (
            lambda path: save(path, np.zeros(SIZE)),
            'is empty: paint the object in any colour other than black .a value other',
        ),
        (lambda path: None, 'is missing'),
        (lambda path: path.write_bytes(b''), 'is empty'),
        (lambda path: save(path, np.arange(600).reshape(SIZE) % 200), '200 shades of grey'),
        (lambda path: save(path, np.full((*SIZE, 3), (17, 90, 2)), 'RGB'), 'has no black'),
        (
            lambda path: path.write_text('no picture'),
            'not a readable image .its format is not known.: give a mask',
        ),
    ],
)
def test_pictures_that_are_not_masks_are_refused(tmp_path, make, message):
    path = tmp_path / 'mask.png'
    make(path)
    with pytest.raises(errors.UserError, match=message) as raised:
        mask_file.read(str(path), SIZE)
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
        'name;x;y\nnose;3.25;4\n"left ""eye"", outer";29.5;-0.5\n',
        'x\ty\tname\n3.25\t4\tnose\n29.5\t-0.5\t"left ""eye"", outer"\n',
        'x y name\n3.25  4 nose\n29.5 -0.5 "left ""eye"", outer"\n',
    ],
)
def test_points(tmp_path, text):
    path = tmp_path / 'points'
    path.write_bytes(text.encode())
    found = read_points(path)
    assert found.names == ('nose', 'left "eye", outer')
    np.testing.assert_array_equal(points_in(found), [[3.25, 4], [29.5, -0.5]])


@pytest.mark.parametrize(
    'text, message',
    [
        ('{"nose": [3, 4', 'is not readable as JSON .* Expected JSON'),
        ('{"nose": [3, 4, 5]}', 'cannot be read as points'),
        ('{"points": [{"x": 3, "y": 4}]}', 'cannot be read as points .*name'),
        ('{"points": []}', 'holds no points'),
        ('{}', 'holds no points'),
        ('', 'is empty'),
        ('\n', 'holds no points'),
        ('name,x,y\n', 'holds no points'),
        ('{"a": "12"}', 'point .a. is "12", not .x, y.'),
        ('{"a": ["1", 2]}', 'point .a. has "1" where a number is needed'),
        ('{"a": [true, 2]}', 'point .a. has true where a number is needed'),
        ('{"a": [1' + 400 * '0' + ', 2]}', 'the number 10+... is too large.*Expected JSON'),
        ('[[10, 20]]', 'point 1 is .10, 20., not an object with "name", "x" and "y"'),
        ('[' * 100_000, 'is nested too deeply. Expected JSON'),
        ('{"points": 3}', 'point .points. is 3, not .x, y.'),
        ('name,x,y\nnose,three,4\n', 'line 2 has "three" where a number is needed'),
        (
            'name,x,y\nnose,3\n',
            'read as points .line 2 has another number of fields than the first\\)',
        ),
        (
            'name,x,y\nnose,3,5,4,5\n',
            'cannot be read as points .line 2 has another number .* write 160.5 for 160,5',
        ),
        ('name\tx\ty\n\na\t1\t2\nb\t3\t24,25\n', 'line 4 has a decimal .* write 24.25 for 24,25'),
        ('name;x;y\nnose;1.234,5;3\n', 'line 2 has "1.234,5" where a number is needed'),
        ('nose,3,4\n', 'cannot be read as points .its first line has no column name, x, y'),
        ('{"nose": [3, 4], "eye": [5, 6], "nose": [7, 8]}', "the name 'nose' is given twice"),
        ('name,x,y\nnose,3,4\nnose,5,6\n', "name 'nose' is empty or given twice"),
        ('name,x,y\n,3,4\n', "name '' is empty"),
        (r'{"\ud800": [3, 4]}', r"the name '\\ud800' cannot be written as text"),
        (
            '{"nose": [29.6, 4]}',
            r"'nose' at \(29.6, 4\) lies outside the frame of 30x20 .* 0 to 29",
        ),
        ('{"nose": [3, 20]}', 'lies outside the frame'),
        ('{"nose": [NaN, 4]}', 'lies outside the frame'),
        ('\x89PNG\r\n', 'not text in UTF-8: byte 0x89 in line 1'),
        ('name,x,y\n\xd6hr,3,4\n', 'not text in UTF-8: byte 0xd6 in line 2'),
    ],
)
def test_texts_that_are_not_points_are_refused(tmp_path, text, message):
    path = tmp_path / 'points.json'
    path.write_bytes(text.encode('latin-1'))
    with pytest.raises(errors.UserError, match=message) as raised:
        read_points(path)
    assert str(path) in str(raised.value) and '\n' not in str(raised.value)


def test_decimal_commas_beside_semicolons(tmp_path):
    path = tmp_path / 'points.csv'
    path.write_text('name;x;y\nnose;16,5;12\near;-0,25;3.75\n')
    np.testing.assert_array_equal(points_in(read_points(path)), [[16.5, 12], [-0.25, 3.75]])


def test_points_may_be_called_points(tmp_path):
    path = tmp_path / 'points.json'
    path.write_text('{"points": [3, 4], "other": [5, 6]}')
    found = read_points(path)
    assert found.names == ('points', 'other')
    np.testing.assert_array_equal(points_in(found), [[3, 4], [5, 6]])


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-32'])
@pytest.mark.parametrize('contents', ['name,x,y\n左目,3,4\n', '{"左目": [3, 4]}'])
def test_encodings_of_points(tmp_path, encoding, contents):
    path = tmp_path / 'points'
    path.write_bytes(contents.encode(encoding))
    assert read_points(path).names == ('左目',)


def test_utf_16_without_its_mark(tmp_path):
    path = tmp_path / 'points.csv'
    path.write_bytes('name,x,y\nnose,3,4\n'.encode('utf-16-le'))
    with pytest.raises(errors.UserError, match='points.csv .*UTF-16 without'):
        read_points(path)
