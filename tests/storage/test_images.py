"""Pictures of every kind are read as a viewer shows them, in the order of their numbers."""

import numpy as np
from PIL import Image
import pytest

from stfc3_tf import errors
from stfc3_tf.clips import video
from stfc3_tf.storage import files, folders, images, palette

READERS = [images.read_frame, video.read_picture]


@pytest.fixture(name='upright')
def fixture_upright():
    """Return a picture with four different corners, uint8 [6, 10, 3]."""
    return np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8)


@pytest.mark.parametrize('read', READERS)
@pytest.mark.parametrize(
    'orientation, stored_from_upright',
    [
        (1, lambda image: image),
        (2, lambda image: image[:, ::-1]),
        (3, lambda image: image[::-1, ::-1]),
        (4, lambda image: image[::-1]),
        (5, lambda image: image.swapaxes(0, 1)),
        (6, lambda image: np.rot90(image, 1)),
        (7, lambda image: image[::-1, ::-1].swapaxes(0, 1)),
        (8, lambda image: np.rot90(image, -1)),
    ],
)
def test_a_turned_picture(tmp_path, upright, read, orientation, stored_from_upright):
    tag = Image.Exif()
    tag[0x0112] = orientation
    stored = np.ascontiguousarray(stored_from_upright(upright))
    Image.fromarray(stored).save(tmp_path / 'a.png', exif=tag)
    np.testing.assert_array_equal(read(str(tmp_path / 'a.png')), upright)


@pytest.mark.parametrize('read', READERS)
def test_sixteen_bits(tmp_path, upright, read):
    grey = upright[..., 0]
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / 'a.png')
    found = read(str(tmp_path / 'a.png'))
    np.testing.assert_array_equal(found, np.stack([grey] * 3, axis=-1))


@pytest.mark.parametrize('read', READERS)
def test_sixteen_bits_are_reduced_as_a_copy_of_eight_bits_is(tmp_path, upright, read):
    exact = upright.mean(-1)  # Thirds of a grey level, too.
    Image.fromarray((exact * 257).astype(np.uint16)).save(tmp_path / 'deep.png')
    Image.fromarray(exact.astype(np.uint8)).save(tmp_path / 'plain.png')
    deep, plain = (read(str(tmp_path / f'{name}.png')) for name in ('deep', 'plain'))
    np.testing.assert_array_equal(deep, plain)


@pytest.mark.parametrize('read', READERS)
def test_transparent_pixels_are_black(tmp_path, upright, read):
    alpha = np.zeros(upright.shape[:2], np.uint8)
    alpha[2:4, 3:8] = 255
    Image.fromarray(np.dstack([upright, alpha])).save(tmp_path / 'a.png')
    found = read(str(tmp_path / 'a.png'))
    np.testing.assert_array_equal(found, np.where(alpha[..., None] > 0, upright, 0))


@pytest.mark.parametrize('read', READERS)
@pytest.mark.parametrize('mode', ['RGBA', 'LA', 'L', 'P', '1'])
def test_modes(tmp_path, upright, read, mode):
    picture = Image.fromarray(upright).convert(mode)
    picture.save(tmp_path / 'a.png')
    found = read(str(tmp_path / 'a.png'))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.asarray(picture.convert('RGB')))


@pytest.mark.parametrize('name', ['a.gif', 'a.png', 'a.tif', 'a.webp'])
def test_a_video_or_stack_is_no_frame(tmp_path, name):
    pictures = [Image.new('RGB', (8, 6), (number, 0, 0)) for number in (0, 90, 200)]
    pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:])
    with pytest.raises(errors.UserError, match=f'{name}.*holds 3 pictures'):
        images.read_frame(str(tmp_path / name))
    pictures[2].save(tmp_path / name)
    assert images.read_frame(str(tmp_path / name))[0, 0, 0] in range(195, 206)


@pytest.mark.parametrize('mode', ['P', 'L'])
def test_numbers_of_objects_do_not_depend_on_transparency(tmp_path, mode):
    numbers = np.arange(4, dtype=np.uint8)[None]
    picture = Image.fromarray(numbers)
    if mode == 'P':
        picture.putpalette(palette.DAVIS.tobytes())
    assert picture.mode == mode
    picture.save(tmp_path / 'a.png', transparency=1 if mode == 'L' else bytes([0, 90, 255, 0]))
    np.testing.assert_array_equal(images.read_index_mask(str(tmp_path / 'a.png')), numbers)


def test_numbers_that_are_no_frame(tmp_path):
    path = tmp_path / 'a.tif'
    for value in (200, 70000):
        Image.fromarray(np.full((4, 4), value, np.int32)).save(path)
        with pytest.raises(errors.UserError, match='a.tif.*32 bits, whose range is not known'):
            images.read_frame(str(path))


def test_files_come_in_natural_order_without_hidden_ones(tmp_path):
    names = ['0.png', '1.png', '2.png', '10.png', '11.png']
    for name in [*names[::-1], '._0.png', '.DS_Store', 'Thumbs.db']:
        (tmp_path / name).touch()
    found = files.list_files(str(tmp_path), ('.png',), 'frames')
    assert found == [f'{tmp_path}/{name}' for name in names]


def test_numbers_of_any_length_are_in_order():
    names = ['a', 'a0', 'a0b', 'a1', 'a007', 'a10', 'a10b2', 'a10b10', f'a{"9" * 5000}', 'b']
    shuffled = np.random.default_rng(0).permutation(names).tolist()
    assert sorted(shuffled, key=folders.natural_order) == names
