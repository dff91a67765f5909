"""Copies of DAVIS that are named, encoded or listed in other ways."""

import numpy as np
from PIL import Image
import pytest

from stfc3_tf import errors
from stfc3_tf.benchmarks import davis
from stfc3_tf.storage import images


def write(root, names, listed=b'ball\n', depth=8):
    for kind in ('JPEGImages', 'Annotations'):
        (root / kind / '480p' / 'ball').mkdir(parents=True)
    (root / 'ImageSets' / '2017').mkdir(parents=True)
    (root / 'ImageSets' / '2017' / 'val.txt').write_bytes(listed)
    for number, name in enumerate(names):
        frame = np.full((16, 24), 10 * number + 3, np.uint8)
        frame = frame if depth == 8 else frame.astype(np.uint16) * 257
        Image.fromarray(frame).save(root / 'JPEGImages' / '480p' / 'ball' / f'{name}.png')
        mask = np.zeros((16, 24), np.uint8)
        mask[2:8, number : number + 9] = 1
        Image.fromarray(mask).save(root / 'Annotations' / '480p' / 'ball' / f'{name}.png')
    return str(root)


def frames_and_masks(root):
    (sequence,) = davis.Davis(root).sequences()
    paths = sequence.files()
    count = sequence.check()
    return (
        [images.read_frame(path)[0, 0].tolist() for path in paths[:count]],
        [int(np.flatnonzero(images.read_index_mask(path).any(0))[0]) for path in paths[count:]],
    )


@pytest.mark.parametrize('names', ['{:05d}', '{}', 'frame{}', '{}_left'])
@pytest.mark.parametrize('depth', [8, 16])
def test_names_and_depths(tmp_path, names, depth):
    root = write(tmp_path, [names.format(number) for number in range(12)], depth=depth)
    frames, masks = frames_and_masks(root)
    assert frames == [[10 * number + 3] * 3 for number in range(12)]
    assert masks == list(range(12))


def test_files_that_systems_add(tmp_path):
    root = write(tmp_path, range(4))
    for path in [path for path in tmp_path.rglob('*') if path.is_file()]:
        (path.parent / f'._{path.name}').write_bytes(b'\0\5\x16\7')
        (path.parent / '.DS_Store').write_bytes(b'Bud1')
        (path.parent / 'Thumbs.db').write_bytes(b'\xd0\xcf')
    assert len(frames_and_masks(root)[0]) == 4


@pytest.mark.parametrize(
    'listed',
    ['\ufeffball\r\n'.encode(), 'ball\n'.encode('utf-16'), '\ufeffball\n'.encode('utf-16')],
)
def test_encodings_of_the_list(tmp_path, listed):
    assert len(frames_and_masks(write(tmp_path, range(4), listed))[0]) == 4


def test_a_list_in_latin_1(tmp_path):
    root = write(tmp_path, range(4), 'bébé\n'.encode('latin-1'))
    with pytest.raises(errors.UserError, match='val.txt is not text in UTF-8: byte 0xe9 in line 1'):
        davis.Davis(root).sequences()


def test_masks_among_the_frames(tmp_path):
    root = write(tmp_path, range(4))
    folder = tmp_path / 'JPEGImages' / '480p' / 'ball'
    for number in range(4):
        (folder / f'{number}.jpg').write_bytes((folder / f'{number}.png').read_bytes())
    with pytest.raises(errors.UserError, match='ball holds pictures of several kinds'):
        davis.Davis(root).sequences()[0].files()
