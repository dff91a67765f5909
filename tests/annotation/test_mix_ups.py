"""Arguments under the names of each other are one line that says so."""

import errno
import os
import pathlib

import forked_commands
import numpy as np
from PIL import Image
import pytest

import stfc3_tf
from stfc3_tf import errors
from stfc3_tf.annotation.marks.request import Request
from stfc3_tf.storage import files, images


@pytest.fixture(scope='module')
def starter():
    with forked_commands.Starter() as started:
        yield started


@pytest.fixture
def folder(tmp_path):
    for name in ('clip.mp4', 'one.mov', 'videos/one.mp4', 'videos/two.MOV'):
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
        ('frames', ['clip.mp4'], [], r'frames and --mask=.*clip.mp4 are the wrong way round'),
        ('frames', [], ['clip.mp4'], r'frames and --points=.*clip.mp4 are the wrong way round'),
        ('mask.png', ['frames'], [], r'mask.png and --mask=.*frames are the wrong way round'),
        ('points.json', [], ['frames'], r'json and --points=.*frames are the wrong way round'),
        ('clip.mp4', ['one.mov'], [], r'--mask=.*one.mov is a video, as --video=.*clip.mp4 is'),
        ('clip.mp4', [], ['frames'], 'frames holds pictures, not points: give masks as --mask'),
        ('frames', [], ['mask.png'], 'mask.png is a picture, not points: give a mask as --mask'),
        ('frames', ['points.json'], [], 'points.json holds no masks.*points as --points'),
    ],
)
def test_mixed_up_arguments(folder, video, masks, points, message):
    def at(names):
        return [str(pathlib.Path(folder, name)) for name in names]

    request = Request(str(folder / video), at(masks), at(points))
    with pytest.raises(errors.UserError, match=message) as caught:
        request.opened()
    assert '\n' not in str(caught.value)


def test_masks_as_the_video_and_photographs_as_masks(tmp_path):
    noise = np.random.default_rng(0)
    for folder in ('masks', 'frames', 'black'):
        (tmp_path / folder).mkdir()
    for number in range(2):
        mask = np.zeros((48, 64), np.uint8)
        mask[9:30, 9 + number : 40] = number + 1
        images.write_palette_mask(str(tmp_path / f'masks/{number:04d}.png'), mask)
        Image.new('RGB', (64, 48)).save(tmp_path / f'black/{number:04d}.png')
        photograph = noise.integers(0, 255, (48, 64, 3), np.uint8)
        Image.fromarray(photograph).save(tmp_path / f'frames/{number:04d}.png')

    def refusal(video, mask):
        with pytest.raises(errors.UserError) as caught:
            Request(str(tmp_path / video), [str(tmp_path / mask)]).opened()
        return str(caught.value).replace(f'{tmp_path}/', '')

    for video, mask in [('masks', 'frames'), ('masks', 'frames/0000.png')]:
        message = f'--video={video} and --mask={mask} seem to be the wrong way round: '
        assert refusal(video, mask).startswith(message)
    assert 'wrong way round' in refusal('masks/0001.png', 'frames/0001.png')
    for video in ('frames', 'black'):
        assert 'colours that are not flat, so it is not a mask' in refusal(video, 'frames')


@pytest.mark.slow
@pytest.mark.parametrize(
    'command, way_out',
    [
        (
            'propagate --mask={0}/mask.png --output_dir={0}/out',
            ', or all with --videos={0}/videos.',
        ),
        ('annotate --output_dir={0}/out', ', or all with --root={0}/videos.'),
        ('frame --output={0}/out.png', '.'),
        ('visualize --figure=features --saved_model=stfc3-small --output={0}/out.png', '.'),
        ('visualize --figure=labels --predictions={0}/frames --output={0}/out.png', '.'),
    ],
)
def test_a_folder_of_videos_as_one_video(starter, folder, command, way_out):
    tool, *arguments = command.format(folder).split()
    videos, log = folder / 'videos', folder / 'log'
    status = starter.run(f'tools.{tool}', [*arguments, f'--video={videos}'], log)
    message = f'{videos} holds 2 videos, not the frames of one: give one, such as {videos}/one.mp4'
    assert status == 1
    assert log.read_text().splitlines()[-1] == f'error: {message}{way_out.format(folder)}'


def test_pictures_beside_videos_are_the_frames_unless_they_are_masks(folder):
    videos = folder / 'videos'
    for name in ('one.png', 'two_mask.png', 'ONE.txt'):
        Image.new('RGB', (64, 48)).save(videos / name, 'PNG')
    with pytest.raises(errors.UserError, match='holds 2 videos, not .* such as .*/one.mp4.$'):
        stfc3_tf.open_footage(str(videos))
    for number in range(4):
        Image.new('RGB', (64, 48)).save(videos / f'{number}.png')
    assert stfc3_tf.open_footage(str(videos)).stated_count == 4
    (folder / 'empty').mkdir()
    with pytest.raises(errors.UserError, match='holds no pictures'):
        stfc3_tf.open_footage(str(folder / 'empty'))


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
