"""Arguments under the names of each other are one line that says so."""

import errno
import os
import pathlib

from PIL import Image
import pytest

from stfc3_tf import errors
from stfc3_tf.annotation.marks.request import Request
from stfc3_tf.storage import files


@pytest.fixture
def folder(tmp_path):
    for name in ('clip.mp4', 'videos/one.mp4', 'videos/two.MOV'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'not looked into')
    Image.new('L', (64, 48), 3).save(tmp_path / 'mask.png')
    (tmp_path / 'points.json').write_text('{"nose": [3, 4]}')
    (tmp_path / 'frames').mkdir()
    Image.new('RGB', (64, 48)).save(tmp_path / 'frames' / '000.png')
    return tmp_path


@pytest.mark.parametrize(
    'video, masks, points, message',
    [
        ('mask.png', ['clip.mp4'], [], r'mask.png and --mask=.*clip.mp4 are the wrong way round'),
        ('points.json', [], ['clip.mp4'], r'points.json and --points=.* are the wrong way round'),
        ('frames', [], ['mask.png'], 'mask.png is a picture, not points: give a mask as --mask'),
        ('frames', ['points.json'], [], 'points.json holds no masks.*points as --points'),
        (
            'videos',
            ['mask.png'],
            [],
            r'holds 2 videos and no pictures: give one, such as .*one.mp4',
        ),
    ],
)
def test_mixed_up_arguments(folder, video, masks, points, message):
    def at(names):
        return [str(pathlib.Path(folder, name)) for name in names]

    request = Request(str(folder / video), at(masks), at(points))
    with pytest.raises(errors.UserError, match=message) as caught:
        request.opened()
    assert '\n' not in str(caught.value)


def test_a_folder_that_may_not_be_listed(folder, monkeypatch):
    # By permissions this could not be tested where tests run as root.
    def denied(_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, 'listdir', denied)
    message = r'frames cannot be listed \(Permission denied\): make it readable'
    with pytest.raises(errors.UserError, match=message):
        Request(str(folder / 'frames'), [str(folder / 'mask.png')]).opened()
    with pytest.raises(errors.UserError, match=message):
        files.list_files(str(folder / 'frames'), ('.png',), 'masks')
