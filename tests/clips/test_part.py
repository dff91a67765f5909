"""Parts of videos: the numbers of their frames, in both directions."""

import made_videos
import numpy as np
from PIL import Image
import pytest

from stfc3_tf import errors
from stfc3_tf.clips import part
from stfc3_tf.storage import frame_names


def folder_of(path, names):
    path.mkdir()
    for number, name in enumerate(names):
        Image.fromarray(np.full((24, 32, 3), number, np.uint8)).save(path / name)
    return str(path)


def seen(frames):
    return [(frame.number, int(frame.image[0, 0, 0])) for frame in frames]


def test_pictures_have_the_numbers_of_their_names(tmp_path):
    path = folder_of(tmp_path / 'v', [f'cam2_{number:04d}.png' for number in range(43, 53)])
    opened = part.open_part(path, 10.0)
    expected = [(43 + place, place) for place in range(10)]
    assert opened.first == 43 and opened.stated_count == 10
    assert seen(opened.frames()) == expected and seen(opened.frames(47)) == expected[4:]
    assert seen(opened.backwards(47)) == expected[3::-1]
    assert [frame.time for frame in opened.frames(47)][:2] == [0.4, 0.5]
    with pytest.raises(errors.UserError, match='no frame 53: .* from 43 to 52, as in their names'):
        next(opened.frames(53))


def test_every_third_frame_of_a_part_and_those_that_are_labelled(tmp_path):
    path = folder_of(tmp_path / 'v', [f'{number}.png' for number in range(1, 21)])
    opened = part.open_part(path, 10.0, start=5, end=16, every=3)
    opened.keep([7, 16])
    numbers = [5, 7, 8, 11, 14, 16]
    assert [number for number, _ in seen(opened.frames())] == numbers
    assert [number for number, _ in seen(opened.backwards(14))] == numbers[3::-1]
    assert opened.stated_count == 6
    assert opened.chosen == {'start': 5, 'end': 16, 'every': 3}
    for number in (4, 17):
        with pytest.raises(errors.UserError, match=f'Frame {number} is labelled, .* 5 to 16'):
            opened.keep([number])
    for number in (0, 21):
        message = f'has no frame {number}: its 20 frames are numbered from 1 to 20, as in their'
        with pytest.raises(errors.UserError, match=message):
            opened.keep([number])
    with pytest.raises(errors.UserError, match='start=9 on is 9, behind end=8'):
        part.open_part(path, 10.0, start=9, end=8)


def test_every_second_frame_is_so_also_where_numbers_have_gaps(tmp_path):
    path = folder_of(tmp_path / 'v', [f'{number:04d}.png' for number in range(0, 60, 10)])
    opened = part.open_part(path, 24.0, every=2)
    assert seen(opened.frames()) == [(0, 0), (20, 2), (40, 4)]
    assert opened.frame_rate == 12 and opened.stated_count == 3
    assert [frame.time for frame in opened.frames()] == pytest.approx([0, 2 / 24, 4 / 24])
    between = part.open_part(path, 24.0, start=15, every=2)
    assert between.first == 20 and seen(between.frames()) == [(20, 2), (40, 4)]
    assert seen(between.backwards(41)) == [(40, 4), (20, 2)]
    with pytest.raises(errors.UserError, match='start=15 on is 20, behind end=18: no frame'):
        part.open_part(path, 24.0, start=15, end=18)
    with pytest.raises(errors.UserError, match='no frame 51: .* from 0 to 50'):
        next(part.open_part(path, 24.0, start=51).frames())


def test_a_part_of_a_video_file(tmp_path):
    path = made_videos.write(tmp_path / 'v.mp4', np.arange(30) / 10)
    opened = part.open_part(path, start=4, end=20, every=5)
    frames = list(opened.frames())
    assert [frame.number for frame in frames] == [4, 9, 14, 19]
    assert made_videos.numbers([frame.image for frame in frames]) == [4, 9, 14, 19]
    back = list(opened.backwards(19))
    assert made_videos.numbers([frame.image for frame in back]) == [14, 9, 4]


@pytest.mark.parametrize(
    'names, expected',
    [
        (['a_08.png', 'a_9.png', 'a_10.png'], [8, 9, 10]),
        (['0043.png'], [43]),
        (['s1_t01.png', 's1_t02.png'], [1, 2]),
        (['s1_t01.png', 's2_t02.png'], None),
        (['a.png', 'b.png'], None),
        (['1.png', '01.png'], None),
        (['1699999999123.png', '1699999999163.png'], None),
        (['9' * 5000 + '.png', '8.png'], None),
    ],
)
def test_numbers_in_names(names, expected):
    assert frame_names.numbers(names) == expected
