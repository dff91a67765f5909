"""What users write for several labelled frames and many videos, and what comes of it."""

import csv
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import moving_patches
from moving_patches import FRAMES, HEIGHT, WIDTH, assert_masks_agree, scene, write_mask
import numpy as np
from PIL import Image
import pytest

from stfc3_tf import errors
from stfc3_tf.annotation import many_videos
from stfc3_tf.annotation.marks import (
    colour_numbers,
    inputs,
    mask_file,
    other_tools,
    request,
    video_list,
)
from stfc3_tf.annotation.outputs import Options
from stfc3_tf.propagation.settings import PropagationSettings
from stfc3_tf.storage import palette

ROOT = pathlib.Path(__file__).parents[2]


def write_numbered(folder, first=43):
    folder.mkdir(parents=True)
    for number in range(FRAMES):
        Image.fromarray(next(scene(number))).save(folder / f'{first + number:04d}.png')
    return str(folder)


def command(tool, *arguments):
    result = subprocess.run(
        [sys.executable, '-m', f'tools.{tool}', *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2'},
    )
    return result.returncode, result.stdout, result.stderr


def test_the_forms_of_labels_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path('3:odd.png').write_bytes(b'x')
    assert request.numbered('3:odd.png') == (None, '3:odd.png')
    assert request.numbered('40:3:odd.png') == (40, '3:odd.png')
    assert request.numbered('s3://bucket/a.png') == (None, 's3://bucket/a.png')
    assert request.numbered('7:s3://bucket/a.png') == (7, 's3://bucket/a.png')
    pathlib.Path('4=odd.png').write_bytes(b'x')
    assert request.numbered('4=odd.png') == (None, '4=odd.png')
    assert request.numbered('a=3') == (None, 'a=3')
    with pytest.raises(errors.UserError, match='0=/a/m.png: .* for frame 0 write .* 0:/a/m.png'):
        request.numbered('0=/a/m.png')
    os.mkdir('masks')
    for name in ('m_007.png', 'm_040.png'):
        pathlib.Path('masks', name).write_bytes(b'x')
    assert request.mask_paths(['2:a.png', 'masks'], 0) == {
        2: '2:a.png'[2:],
        7: 'masks/m_007.png',
        40: 'masks/m_040.png',
    }
    with pytest.raises(errors.UserError, match='Frame 7 has two masks, a.png and masks/m_007.png'):
        request.mask_paths(['a.png', 'masks'], 7)
    assert request.objects_of_frames(['40:2,3', '7:1']) == {40: [2, 3], 7: [1]}
    with pytest.raises(errors.UserError, match='--objects=2: write the frame and'):
        request.objects_of_frames(['2'])


def started(asked):
    """Return the lines that a command prints at its start."""
    return asked.understood(*asked.opened()).splitlines()[1:]


def test_the_first_lines_name_the_frame_of_a_single_label(tmp_path):
    video = write_numbered(tmp_path / 'frames')
    paths = {name: str(tmp_path / name) for name in ('0045.png', '0099.png', 'nose_45.json')}
    for name in ('0045.png', '0099.png'):
        write_mask(tmp_path / name, 0)
    pathlib.Path(paths['nose_45.json']).write_text('{"nose": [3, 4]}')
    lines = started(request.Request(video, [paths['0045.png']]))
    assert all(line.startswith('  frame 43: object ') for line in lines[:-1])
    assert lines[-1] == (
        f'  {paths["0045.png"]} is taken to be of frame 43, the first: if it is of frame 45, as in '
        f'its name, write --mask=45:{paths["0045.png"]}'
    )
    points = started(request.Request(video, points=[paths['nose_45.json']]))
    assert points[0] == '  frame 43: point nose: (3, 4)'
    assert points[1].endswith(f'write --points=45:{paths["nose_45.json"]}') and len(points) == 2
    # Said, or no frame of the part: nothing to ask.
    for asked in (
        request.Request(video, [f'45:{paths["0045.png"]}']),
        request.Request(video, [paths['0045.png']], frame=43),
        request.Request(video, [paths['0045.png']], start=45),
        request.Request(video, [paths['0045.png']], end=44),
        request.Request(video, [paths['0099.png']]),
    ):
        assert not any('is taken' in line for line in started(asked))


def test_objects_that_no_mask_shows_and_objects_named_twice(tmp_path):
    video = write_numbered(tmp_path / 'frames')
    flat(WHITE).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST).save(tmp_path / 'mask.png')
    masks = [f'45:{tmp_path}/mask.png']
    message = 'mask of frame 45 is about object 2, which no mask shows: it has 1. Name'
    with pytest.raises(errors.UserError, match=message):
        request.Request(video, masks, objects=['45:2']).opened()
    assert request.objects_of_frames(['45:2,3', '45:3,2', '46:1']) == {45: [2, 3], 46: [1]}
    message = 'objects=45:2: frame 45 is named before, .* as 45:1,2,3'
    with pytest.raises(errors.UserError, match=message):
        request.objects_of_frames(['45:1,3', '45:2'])


def test_masks_of_a_folder_outside_the_part_are_left_out_with_a_note(tmp_path, caplog):
    video = write_numbered(tmp_path / 'video')
    masks = tmp_path / 'masks'
    masks.mkdir()
    for number in (43, 45, 48):
        write_mask(masks / f'{number}.png', number - 43)
    _, annotation = request.Request(video, [str(masks)], start=44, end=47).opened()
    assert annotation.frames == [45]
    assert f'{masks}: 2 masks left out, outside the part that --start and --end' in caplog.text
    assert caplog.messages[0].endswith(': 43, 48')
    # Without --start, masks before the first frame are a mistake, such as another numbering.
    write_mask(masks / '3.png', 0)
    with pytest.raises(errors.UserError, match='video has no frame 3: .* from 43 to 49, as in'):
        request.Request(video, [str(masks)], end=47).opened()
    os.remove(masks / '3.png')
    _, annotation = request.Request(video, [str(masks)], (), ['43:2'], start=44).opened()
    assert annotation.frames == [45, 48] and annotation.given.objects == {}
    # Those that are named one by one are not left out.
    asked = request.Request(video, [str(masks), f'46:{masks}/45.png'], start=46)
    assert asked.opened()[1].frames == [46, 48]
    with pytest.raises(errors.UserError, match='Frame 43 is labelled, but the part .* 44 to 47'):
        request.Request(video, [f'43:{masks}/43.png'], start=44, end=47).opened()
    with pytest.raises(errors.UserError, match=f'{masks}: no mask is of .* from frame 46 to 47'):
        request.Request(video, [str(masks)], start=46, end=47).opened()


def test_labels_of_a_file_that_are_outside_the_part_are_left_out_with_a_note(tmp_path, caplog):
    video = write_numbered(tmp_path / 'video')
    table = tmp_path / 'tracks.csv'
    rows = ['ear,43,1,1', 'nose,43,2,2', 'tail,46,,', 'nose,46,3,3', 'tail,47,4,4', 'nose,48,5,5']
    table.write_text('\n'.join(['name,frame,x,y', *rows]))
    _, annotation = request.Request(video, points=[str(table)], start=44, end=47).opened()
    assert annotation.names == ('nose', 'tail')
    assert annotation.description() == [
        'frame 46: point tail is not there',
        'frame 46: point nose: (3, 3)',
        'frame 47: point tail: (4, 4)',
    ]
    left_out = f'{table}: labels of 2 frames left out, outside the part that --start and --end'
    assert caplog.messages == [f'{left_out} choose: 43, 48']
    # A point that is only said to be absent is no label.
    for start, end, number in [(44, 45, 43), (49, None, 43), (46, 46, None)]:
        asked = request.Request(video, points=[str(table)], start=start, end=end)
        if number is None:
            assert asked.opened()[1].names == ('nose',)
            continue
        with pytest.raises(errors.UserError, match=f'Frame {number} is labelled, but the part'):
            asked.opened()
    # What is numbered on the command line is not left out.
    (tmp_path / 'one.json').write_text('{"nose": [3, 3]}')
    asked = request.Request(video, points=[str(table), f'49:{tmp_path}/one.json'], end=48)
    with pytest.raises(errors.UserError, match='Frame 49 is labelled, but the part .* 43 to 48'):
        asked.opened()


def test_a_number_for_labels_that_say_their_frames_is_refused(tmp_path):
    video = write_numbered(tmp_path / 'video')
    masks = tmp_path / 'masks'
    masks.mkdir()
    for number in (43, 45):
        write_mask(masks / f'{number}.png', number - 43)
    table = tmp_path / 'p.csv'
    table.write_text('name,frame,x,y\nnose,43,1,1\nnose,48,2,2\n')
    plain = tmp_path / 'plain.json'
    plain.write_text('{"nose": [3, 3]}')

    def asked(masks=(), points=(), frame=None):
        return request.Request(video, [*map(str, masks)], [*map(str, points)], frame=frame)

    for labels in ([masks], [f'43:{masks}/43.png']):
        with pytest.raises(errors.UserError, match='--frame=45 is about no label: .* say their'):
            asked(labels, frame=45).opened()
    with pytest.raises(errors.UserError, match='--frame=45 is about no label'):
        asked(points=[table, f'44:{plain}'], frame=45).opened()
    message = (
        'p.csv says that it is about 2 frames: give it without the number 46, before .*--frame'
    )
    for refused in (asked(points=[f'46:{table}']), asked(points=[table], frame=46)):
        with pytest.raises(errors.UserError, match=message):
            refused.opened()
    table.write_text('name,frame,x,y\nnose,43,1,1\n')
    with pytest.raises(errors.UserError, match='p.csv says that it is about frame 43: .* 46'):
        asked(points=[f'46:{table}']).opened()
    # A number that is needed, or says the same.
    write_mask(tmp_path / 'one.png', 4)
    assert asked([masks, tmp_path / 'one.png'], frame=47).opened()[1].frames == [43, 45, 47]
    assert asked(points=[f'43:{table}']).opened()[1].frames == [43]
    assert asked(points=[table, plain], frame=45).opened()[1].frames == [43, 45]


def test_objects_of_other_tools_outside_the_part_are_left_out(tmp_path, caplog):
    video = write_numbered(tmp_path / 'video')
    boxes = {1: (43, 45), 2: (45, 48), 3: (48,)}
    contents = {
        'images': [{'id': n, 'file_name': f'{n:04d}.png'} for n in (43, 45, 48)],
        'annotations': [
            {
                'image_id': frame,
                'category_id': number,
                'segmentation': [[9 * number, 2, 9 * number + 6, 2, 9 * number + 6, 9]],
            }
            for number, frames in boxes.items()
            for frame in frames
        ],
        'categories': [{'id': number, 'name': f'thing {number + 3}'} for number in boxes],
    }
    path = tmp_path / 'coco.json'
    path.write_text(json.dumps(contents))
    _, annotation = request.Request(video, [str(path)], start=44, end=47).opened()
    assert annotation.frames == [45] and annotation.names == {1: 'thing 4', 2: 'thing 5'}
    assert annotation.given.numbers == [1, 2]
    assert f'{path}: labels of 2 frames left out' in caplog.text
    _, later = request.Request(video, [str(path)], objects=['43:1', '48:3'], start=46).opened()
    assert later.given.numbers == [3] and later.given.about(48) == [3]


def flat(*colours):
    """A picture with a box of each colour on black."""
    picture = np.zeros((20, 30, 3), np.uint8)
    for place, colour in enumerate(colours):
        picture[2:10, 7 * place : 7 * place + 5] = colour
    return Image.fromarray(picture)


def test_a_colour_is_the_same_object_in_every_mask(tmp_path):
    red, green, blue = (250, 10, 20), (30, 200, 40), (20, 30, 240)
    for number, colours in enumerate([(red, blue), (green, red), (blue,), ()]):
        flat(*colours).save(tmp_path / f'{number}.png')
    index = Image.fromarray(np.full((20, 30), 2, np.uint8))
    index.putpalette(palette.DAVIS.tobytes())
    index.save(tmp_path / '4.png')
    paths = {number: str(tmp_path / f'{number}.png') for number in range(5)}
    annotation = inputs.read_masks(paths, (20, 30))
    boxes = [[int(mask[5, 2]), int(mask[5, 9])] for mask in annotation.given.masks.values()]
    # Blue has the smaller code, so it is 1 in the first mask; green is new in the second.
    assert boxes == [[2, 1], [3, 2], [1, 0], [0, 0], [2, 2]]
    lines = annotation.description()
    assert lines[0] == 'frame 0: object 1: 40 pixels (#141ef0)'
    assert 'frame 2: object 2 is not there' in lines and 'frame 3: object 1 is not there' in lines


RED, GREEN, BLUE = (250, 10, 20), (30, 200, 40), (20, 30, 240)


def indexed(left, right, colours):
    """Return a mask like that of `flat`, of numbers and the colours of 0, 1, 2, …."""
    index = np.zeros((20, 30), np.uint8)
    index[4:8, 1:6], index[4:8, 8:13] = left, right
    image = Image.fromarray(index)
    image.putpalette(np.array(colours, np.uint8).tobytes())
    return image


def numbers_of(tmp_path, *pictures):
    """Return [left, right] numbers of pictures of the frames 0, 1, …."""
    paths = {number: str(tmp_path / f'{number}.png') for number in range(len(pictures))}
    for path, picture in zip(paths.values(), pictures):
        picture.save(path)
    masks = inputs.read_masks(paths, (20, 30)).given.masks.values()
    return [[int(mask[5, 2]), int(mask[5, 9])] for mask in masks]


def test_palettes_in_another_order_are_read_by_their_colours(tmp_path):
    # All three show red on the left and green on the right.
    first = indexed(1, 2, [(0, 0, 0), RED, GREEN])
    other_order = indexed(2, 1, [(0, 0, 0), GREEN, RED])
    found = numbers_of(tmp_path, first, other_order, flat(RED, GREEN))
    assert found[0] == found[1] == found[2] and sorted(found[0]) == [1, 2]


def test_palettes_give_their_numbers_to_colours(tmp_path):
    first = indexed(3, 1, [(0, 0, 0), GREEN, BLUE, RED])
    assert numbers_of(tmp_path, flat(BLUE, RED), first) == [[2, 3], [3, 1]]


def test_palettes_without_a_common_colour_are_read_by_their_numbers(tmp_path):
    first, other = (indexed(2, 1, [(0, 0, 0), *two]) for two in ((RED, GREEN), (BLUE, (9, 99, 99))))
    assert numbers_of(tmp_path, first, other) == [[2, 1], [2, 1]]


def davis(left, right):
    """Return a mask of numbers without colours of its own, as a run writes it."""
    return indexed(left, right, palette.DAVIS)


def cut_out(left, right):
    """Return a mask with objects of many colours, cut out of a photograph."""
    picture = np.random.default_rng(3).integers(1, 256, (20, 30, 4), np.uint8)
    picture[..., 3] = 255 * (np.array(indexed(left, right, palette.DAVIS)) > 0)
    return Image.fromarray(picture)


BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@pytest.mark.parametrize(
    'pictures, expected, warned',
    [
        # A mask of numbers is first: other colours are other objects.
        ([davis(1, 2), flat(RED, GREEN)], [[1, 2], [4, 3]], '#1ec828 is object 3, #fa0a14 is'),
        ([davis(1, 2), flat(RED)], [[1, 2], [3, 0]], '#fa0a14 is object 3'),
        ([davis(1, 0), flat(RED, GREEN), davis(3, 0)], [[1, 0], [4, 2], [3, 0]], 'is object 4'),
        # Colours are first: these are their numbers in a run, and so in its corrected results.
        ([flat(BLUE, RED), davis(1, 2)], [[1, 2], [1, 2]], '#fa0a14 is object 2'),
        ([flat(BLUE, RED), davis(1, 3), flat(GREEN)], [[1, 2], [1, 3], [4, 0]], 'is object 4'),
        # One object here, and one there.
        ([davis(1, 0), flat(BLACK, WHITE)], [[1, 0], [0, 1]], None),
        ([flat(WHITE), davis(0, 1)], [[1, 0], [0, 1]], None),
        ([davis(1, 0), flat(RED)], [[1, 0], [1, 0]], '#fa0a14 is object 1'),
        ([cut_out(1, 0), cut_out(0, 1)], [[1, 0], [0, 1]], None),
        ([cut_out(1, 0), flat(RED, GREEN)], [[1, 0], [3, 2]], '#fa0a14 is object 3'),
        # A palette has colours, so nothing is taken for another.
        ([indexed(1, 0, [BLACK, RED]), flat(GREEN, RED)], [[1, 0], [2, 1]], None),
    ],
)
def test_a_new_colour_does_not_become_the_object_of_a_number(
    tmp_path, caplog, pictures, expected, warned
):
    assert numbers_of(tmp_path, *pictures) == expected
    found = [record.getMessage() for record in caplog.records]
    assert len(found) == (warned is not None)
    assert warned is None or warned in found[0]


def test_two_palettes_with_colours_of_one_number_give_it_to_both_colours(tmp_path):
    first, other = (indexed(1, 0, [BLACK, colour]) for colour in (RED, BLUE))
    assert numbers_of(tmp_path, first, other, flat(BLUE, GREEN)) == [[1, 0], [1, 0], [1, 2]]


@pytest.mark.parametrize('first', [davis(1, 2), flat(BLUE, RED)])
@pytest.mark.parametrize('later', [flat(WHITE), cut_out(1, 0)])
def test_a_mask_of_one_of_several_objects_must_say_which(tmp_path, first, later):
    paths = {0: str(tmp_path / '0.png'), 40: str(tmp_path / '40.png')}
    first.save(paths[0])
    later.save(paths[40])
    if first.mode == 'RGB' and later.mode == 'RGB':
        # White is a colour, too, and another than those of the first mask.
        assert inputs.read_masks(paths, (20, 30)).given.shown(40) == [3]
        return
    with pytest.raises(errors.UserError, match=r'frame 40 shows one object .* objects 1, 2: whi'):
        inputs.read_masks(paths, (20, 30))
    assert inputs.read_masks(paths, (20, 30), objects={40: [2]}).given.shown(40) == [2]


def test_more_colours_than_a_mask_can_number_are_refused():
    steps = range(30, 256, 28)
    codes = [
        f'#{red:02x}{green:02x}{blue:02x}' for red in steps for green in steps for blue in steps
    ]
    mask = np.arange(201, dtype=np.uint8)[np.newaxis]

    def numbered(first, second):
        parts = codes[:first], codes[first : first + second]
        return colour_numbers.numbered_alike(
            {
                7 * k: mask_file.Objects(mask, dict(enumerate(part, 1)))
                for k, part in enumerate(parts)
            }
        )

    assert max(numbered(200, 55)[7].marks) == numbered(200, 55)[7].mask.max() == 255
    message = 'up to frame 7 show 256 colours, and each is an object: a mask holds 255'
    with pytest.raises(errors.UserError, match=message):
        numbered(200, 56)


@pytest.mark.parametrize(
    'text',
    [
        'name,frame,x,y\nnose,2,3,4\near,2,5,6\nnose,5,7,8\near,5,,\n',
        # As pandas writes a column of which some numbers were missing, also for spreadsheets.
        'name,frame,x,y\nnose,2.0,3,4\near,2.0,5,6\nnose,5.0,7,8\near,5.0,,\n',
        'name;frame;x;y\nnose;2,0;3;4\near;2,0;5;6\nnose;5,0;7;8\near;5,0;;\n',
        '{"2": {"nose": [3, 4], "ear": [5, 6]}, "5": {"nose": [7, 8], "ear": null}}',
        json.dumps(
            [
                {'name': 'nose', 'frame': 2.0, 'x': 3, 'y': 4},
                {'name': 'ear', 'frame': 2, 'x': 5, 'y': 6},
                {'name': 'nose', 'frame': 5, 'x': 7, 'y': 8},
                {'name': 'ear', 'frame': 5, 'x': None, 'y': None},
            ]
        ),
        json.dumps(
            {
                'frames': [
                    {
                        'frame': 2,
                        'time': 0.1,
                        'points': [
                            {'name': 'nose', 'x': 3, 'y': 4, 'confidence': 1},
                            {'name': 'ear', 'x': 5, 'y': 6, 'confidence': 1},
                        ],
                    },
                    {
                        'frame': 5,
                        'time': 0.3,
                        'points': [
                            {'name': 'nose', 'x': 7, 'y': 8, 'confidence': 0.5},
                            {'name': 'ear', 'x': None, 'y': None, 'confidence': 0},
                        ],
                    },
                ]
            }
        ),
    ],
)
def test_points_of_several_frames(tmp_path, text):
    (tmp_path / 'points').write_text(text)
    found = inputs.read_point_files(
        [(None, str(tmp_path / 'points'))], other_tools.Frames((20, 30), {}, 0)
    )
    assert found.names == ('nose', 'ear') and found.frames == [2, 5]
    np.testing.assert_array_equal([*found.given.points[2].values()], [[3, 4], [5, 6]])
    np.testing.assert_array_equal([*found.given.points[5].values()], [[7, 8], [np.nan] * 2])
    assert found.description()[-1] == 'frame 5: point ear is not there'


@pytest.mark.parametrize(
    'text, message',
    [
        ('name,frame,x,y\nnose,-1,3,4\n', 'the frame "-1" is not a whole number'),
        ('[{"name": "a", "x": 1, "y": 2, "frame": 1.5}]', 'the frame 1.5 is not a whole number'),
        ('name,frame,x,y\nnose,43.5,3,4\n', 'the frame "43.5" is not a whole number'),
        ('name;frame;x;y\nnose;1,000;3;4\n', 'the frame "1,000" is not a whole number'),
        ('name,frame,x,y\nnose,,3,4\n', 'the frame "" is not a whole number'),
        ('name,frame,x,y\nnose,1,3,4\nnose,1.0,5,4\n', "'nose' is empty or given twice"),
        ('name,frame,x,y\nnose,1,3,4\nnose,1,5,4\n', "'nose' is empty or given twice"),
        ('name,frame,x,y\nnose,1,,\n', "point 'nose' has no position anywhere"),
        ('name,frame,x,y\nnose,1,3,\n', 'cannot be read as points'),
        ('{"frames": [{"frame": 0, "points": null}]}', 'points holds no points. Expected JSON'),
        ('{"frames": [{"frame": 4, "points": 7}]}', 'points of the frame 4 are not a list'),
    ],
)
def test_wrong_points_of_several_frames(tmp_path, text, message):
    (tmp_path / 'points').write_text(text)
    with pytest.raises(errors.UserError, match=message):
        inputs.read_point_files(
            [(None, str(tmp_path / 'points'))], other_tools.Frames((20, 30), {}, 0)
        )


def test_a_point_without_a_position_is_reported_with_its_own_file(tmp_path):
    (tmp_path / 'one.json').write_text('{"nose": [1, 2]}')
    (tmp_path / 'two.json').write_text('{"40": {"ear": null}}')
    paths = [(None, str(tmp_path / name)) for name in ('one.json', 'two.json')]
    with pytest.raises(errors.UserError, match="two.json: the point 'ear' has no position"):
        inputs.read_point_files(paths, other_tools.Frames((20, 30), {}, 0))


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return moving_patches.save_model(str(tmp_path_factory.mktemp('model') / 'saved_model'))


@pytest.mark.slow
def test_the_command_with_several_masks_keeps_the_numbers_of_the_pictures(model, tmp_path):
    video = write_numbered(tmp_path / 'video')
    mask = list(scene(2))[1]
    one = Image.fromarray(np.where(mask == 5, mask, 0))
    one.putpalette(palette.DAVIS.tobytes())
    one.save(tmp_path / 'one.png')
    status, output, error = command(
        'propagate',
        f'--saved_model={model}',
        f'--video={video}',
        f'--mask=44:{write_mask(tmp_path / "first.png", 1)}',
        f'--mask=45:{tmp_path / "one.png"}',
        f'--mask=48:{write_mask(tmp_path / "later.png", 5)}',
        '--start=44',
        f'--short_side={HEIGHT}',
        f'--output_dir={tmp_path / "out"}',
    )
    assert status == 0, error
    assert 'frame 44: object 2: ' in output and 'frame 45: object 2 is not there' in output
    assert 'frames 44 to 49' in output
    names = [f'{number:06d}.png' for number in range(44, 50)]
    assert sorted(os.listdir(tmp_path / 'out' / 'masks')) == names
    for place, name in enumerate(names, 1):
        found = np.asarray(Image.open(tmp_path / 'out' / 'masks' / name))
        truth = list(scene(place))[1]
        truth = np.where(truth == 2, 0, truth) if 2 <= place < 5 else truth
        assert_masks_agree(found, truth, within=2)
    rows = list(csv.DictReader((tmp_path / 'out' / 'confidence.csv').read_text().splitlines()))
    shown = [(int(row['frame']), row['object']) for row in rows]
    assert shown == [
        (number, each) for number in range(44, 50) for each in ('5' if 45 <= number < 48 else '25')
    ]
    record = json.loads((tmp_path / 'out' / 'result.json').read_text())
    assert record['labelled_frames'] == [44, 45, 48] and record['start'] == 44
    # A result is labels for another run: each frame keeps what it had.
    status, output, error = command(
        'propagate',
        f'--saved_model={model}',
        f'--video={video}',
        f'--mask={tmp_path / "out" / "masks"}',
        f'--output_dir={tmp_path / "again"}',
        '--start=44',
    )
    assert status == 0, error
    for name in names:
        one, other = (Image.open(tmp_path / each / 'masks' / name) for each in ('out', 'again'))
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.slow
def test_the_frame_command_writes_what_the_propagation_sees(tmp_path):
    video = write_numbered(tmp_path / 'video')
    output = tmp_path / 'frame.png'
    status, printed, error = command(
        'frame', f'--video={video}', '--frame=45', f'--output={output}'
    )
    assert status == 0, error
    assert f'frame 45 at 0.083 s, {WIDTH}x{HEIGHT} pixels' in printed
    np.testing.assert_array_equal(np.asarray(Image.open(output)), next(scene(2)))
    lossy = tmp_path / '000045.jpg'
    status, _, error = command('frame', f'--video={video}', '--frame=45', f'--output={lossy}')
    assert status == 0, error
    with Image.open(lossy) as picture:
        assert picture.format == 'JPEG' and picture.size == (WIDTH, HEIGHT)
        difference = np.abs(np.asarray(picture).astype(int) - next(scene(2)))
    assert difference.mean() < 3
    status, _, error = command('frame', f'--video={video}', f'--output={tmp_path}/a.gif')
    assert status == 1 and 'a.gif: name a file that ends in .png or .jpg' in error
    status, _, error = command('frame', f'--video={video}', '--frame=4', f'--output={output}')
    assert status == 1 and 'has no frame 4; the next is 43' in error


def outcomes_in(folder):
    return list(csv.DictReader((folder / 'outcomes.csv').read_text().splitlines()))


@pytest.fixture
def videos(tmp_path):
    """Three videos: one with a mask, one with points, one with a mask of another size."""
    for name in ('a', 'b/c', 'd'):
        write_numbered(tmp_path / 'videos' / name, first=0)
    labels = tmp_path / 'labels'
    (labels / 'b').mkdir(parents=True)
    write_mask(labels / 'a.png', 0)
    (labels / 'b' / 'c.json').write_text('{"nose": [24, 24]}')
    Image.fromarray(np.ones((9, 9), np.uint8)).save(labels / 'd.png')
    return str(tmp_path / 'videos'), str(labels)


def told(capsys):
    """Return what is printed of each video, in a list for each."""
    printed = re.split(r'^\d of \d: .*\n', capsys.readouterr().out, flags=re.MULTILINE)
    return [re.findall('^  (.*)', part, re.MULTILINE) for part in printed[1:]]


def objects_of_the_first_frame():
    """Return what is said of them."""
    mask = list(scene(0))[1]
    return [
        f'  frame 0: object {n}: {np.sum(mask == n):,} pixels (index {n})'
        for n in np.unique(mask)[1:]
    ]


def test_many_videos_of_a_folder_go_on_after_a_broken_one(videos, tmp_path, capsys):
    asked = video_list.requests(*videos, request.Request(''))
    assert list(asked) == ['a', 'b/c', 'd']
    arguments = (
        moving_patches.ColoursInMemory(),
        asked,
        str(tmp_path / 'out'),
        PropagationSettings(),
        None,
    )
    found = many_videos.run(*arguments)
    assert [outcome.status for outcome in found] == ['done', 'done', 'failed']
    rows = outcomes_in(tmp_path / 'out')
    assert [row['video'] for row in rows] == [each.video for each in asked.values()]
    assert [row['frames'] for row in rows] == ['7', '7', '0']
    assert 'd.png is 9x9' in rows[2]['message'] and rows[0]['message'] == ''
    assert len(os.listdir(tmp_path / 'out' / 'a' / 'masks')) == 7
    assert (tmp_path / 'out' / 'b' / 'c' / 'tracks.csv').exists()
    assert told(capsys) == [
        [f'{videos[1]}/a.png:', *objects_of_the_first_frame(), 'done'],
        [f'{videos[1]}/b/c.json:', '  frame 0: point nose: (24, 24)', 'done'],
        [f'failed: {rows[2]["message"]}'],
    ]
    # Again, with the broken one put right: the others are kept as they are.
    write_mask(pathlib.Path(videos[1]) / 'd.png', 0)
    before = (tmp_path / 'out' / 'a' / 'result.json').stat().st_mtime_ns
    found = many_videos.run(*arguments)
    assert [outcome.status for outcome in found] == ['done'] * 3
    assert [lines[-1] for lines in told(capsys)] == ['kept', 'kept', 'done']
    assert (tmp_path / 'out' / 'a' / 'result.json').stat().st_mtime_ns == before
    assert float(outcomes_in(tmp_path / 'out')[0]['seconds']) == float(rows[0]['seconds']) > 0
    # Other labels are not mixed with older results.
    write_mask(pathlib.Path(videos[1]) / 'a.png', 1)
    found = many_videos.run(*arguments)
    assert [outcome.status for outcome in found] == ['failed', 'done', 'done']
    assert 'other values of labels_sha256: remove it' in found[0].message


def test_results_of_other_options_do_not_count_as_finished(videos, tmp_path):
    asked = {'a': video_list.requests(*videos, request.Request(''))['a']}

    def outcome(folder, **options):
        encoder, settings = moving_patches.ColoursInMemory(), PropagationSettings()
        output = str(tmp_path / folder)
        (found,) = many_videos.run(encoder, asked, output, settings, None, Options(**options))
        return found

    plain, changed = {}, {'formats': ('coco',), 'visible_above': 0.5}
    for folder, first, second in (('one', changed, plain), ('two', plain, changed)):
        assert outcome(folder, **first).status == outcome(folder, **first).status == 'done'
        found = outcome(folder, **second)
        assert found.status == 'failed'
        assert 'other values of formats, visible_above: remove it' in found.message
    # Earlier versions wrote only what differs from the defaults.
    path = tmp_path / 'two' / 'a' / 'result.json'
    record = json.loads(path.read_text())
    assert (record.pop('formats'), record.pop('visible_above')) == ([], 0.2)
    path.write_text(json.dumps(record))
    assert outcome('two').status == 'done'
    assert 'values of visible_above: remove' in outcome('two', visible_above=0.5).message


def test_a_format_for_points_is_named_where_a_video_has_masks(videos, tmp_path, capsys):
    asked = video_list.requests(*videos, request.Request(''))
    del asked['d']
    encoder, output = moving_patches.ColoursInMemory(), tmp_path / 'out'
    options = Options(('yolo', 'tapvid'))
    many_videos.run(encoder, asked, str(output), PropagationSettings(), None, options)
    line = 'without tapvid: for points, this video has masks'
    assert [line in lines for lines in told(capsys)] == [True, False]
    assert (output / 'a' / 'yolo_segmentation').exists() and not (
        output / 'a' / 'tapvid.npz'
    ).exists()
    assert (output / 'b' / 'c' / 'tapvid.npz').exists()


def test_videos_without_labels_and_videos_with_two(videos, tmp_path):
    shutil.copy(f'{videos[1]}/a.png', f'{videos[1]}/a.json')
    os.remove(f'{videos[1]}/d.png')
    asked = video_list.requests(*videos, request.Request(''))
    found = many_videos.run(
        moving_patches.ColoursInMemory(), asked, str(tmp_path / 'out'), PropagationSettings(), None
    )
    assert [outcome.status for outcome in found] == ['failed', 'done', 'failed']
    labels = f'masks ({videos[1]}/a.png) and points ({videos[1]}/a.json)'
    assert found[0].message == f'has {labels}: give labels of one kind.'
    # The video has a column of its own.
    assert found[2].message.startswith('has no labels: put a mask')


@pytest.mark.parametrize('apart', [False, True])
def test_a_folder_of_pictures_beside_video_files_runs_if_it_has_labels(tmp_path, caplog, apart):
    clips = tmp_path / 'clips'
    labels = tmp_path / 'labels' if apart else clips
    for name in ('a.mp4', 'thumbs/a.jpg', 'pictures/0.jpg', 'pictures/1.jpg'):
        (clips / name).parent.mkdir(parents=True, exist_ok=True)
        (clips / name).write_bytes(b'')
    for name in ('a_masks/0.png', 'pictures_masks/0.png', 'pictures_masks.png'):
        (labels / name).parent.mkdir(parents=True, exist_ok=True)
        write_mask(labels / name, 0)
    (labels / 'a.png').write_bytes(b'')
    asked = video_list.requests(str(clips), str(labels) if apart else None, request.Request(''))
    assert {name: (each.video, set(each.masks)) for name, each in asked.items()} == {
        'a': (f'{clips}/a.mp4', {f'{labels}/a.png', f'{labels}/a_masks'}),
        'pictures': (
            f'{clips}/pictures',
            {f'{labels}/pictures_masks', f'{labels}/pictures_masks.png'},
        ),
    }
    assert f'as they have no labels: {clips}/thumbs. To use them, put' in caplog.text


def test_a_table_of_videos(tmp_path):
    table = tmp_path / 'list.csv'
    table.write_text(
        'video;labels;frame\nv/a.mp4;m/1.png;\nv/a.mp4;m/2.png;40.0\nw/a.mov;p.csv;3\n'
    )
    asked = video_list.requests(str(table), None, request.Request('', every=2))
    assert asked == {
        'v/a': request.Request(
            f'{tmp_path}/v/a.mp4', [f'{tmp_path}/m/1.png', f'40:{tmp_path}/m/2.png'], [], every=2
        ),
        'w/a': request.Request(f'{tmp_path}/w/a.mov', [], [f'3:{tmp_path}/p.csv'], every=2),
    }
    table.write_text('video,labels\nv/a.mp4,m.png\nv/a.mov,m.png\n')
    assert list(video_list.requests(str(table), None, request.Request(''))) == ['a.mp4', 'a.mov']
    table.write_text('video,mask\nv/a.mp4,m.png\n')
    with pytest.raises(
        errors.UserError, match='expected a table with the columns video and labels'
    ):
        video_list.requests(str(table), None, request.Request(''))


def test_a_table_with_masks_and_points_of_a_video(tmp_path):
    table = tmp_path / 'list.csv'
    table.write_text('video,labels\nv/a.mp4,m/1.png\n\nb.mp4,p.csv\nv/a.mp4,p.csv\n')
    message = (
        'list.csv: the column labels names masks of v/a.mp4 in line 2 and points in line 5: give'
    )
    with pytest.raises(errors.UserError, match=message):
        video_list.requests(str(table), None, request.Request(''))


def test_a_table_says_which_objects_a_mask_is_about(tmp_path):
    table = tmp_path / 'list.csv'
    lines = ['video;labels;frame;objects', 'a.mp4;1.png;;', 'a.mp4;2.png;40;2,3', 'b.mp4;masks;;']
    table.write_text('\n'.join([*lines, 'c.mp4;masks;;"7:1; 40:2,3"', '']))
    asked = video_list.requests(str(table), None, request.Request(''))
    objects = {name: request.objects_of_frames(each.objects) for name, each in asked.items()}
    assert objects == {'a': {40: [2, 3]}, 'b': {}, 'c': {7: [1], 40: [2, 3]}}
    # Without a frame it is not clear which mask is meant.
    table.write_text('video,labels,objects\na.mp4,masks,2\n')
    with pytest.raises(errors.UserError, match="list.csv: the objects '2': write the frame and"):
        video_list.requests(str(table), None, request.Request(''))


def test_a_table_with_relative_and_whole_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path('list.csv').write_text(
        f'video,labels\na.mp4,1.png\n{tmp_path}/far/b.mp4,2.png\n../c.mp4,3.png\n'
        f'ram://d/e.mp4,4.png\n{tmp_path}/a.mp4,9:5.png\n'
    )
    asked = video_list.requests('list.csv', None, request.Request(''))
    # All names stay in the folder of the results, and each video has one.
    place = str(tmp_path)[1:]
    names = [f'{place}/a', f'{place}/far/b', f'{os.path.dirname(place)}/c', 'ram:/d/e']
    assert list(asked) == names
    assert [asked[name].video for name in names] == [
        'a.mp4',
        f'{tmp_path}/far/b.mp4',
        '../c.mp4',
        'ram://d/e.mp4',
    ]
    assert asked[names[0]].masks == ['1.png', '9:5.png']


def test_labels_beside_videos_are_found_however_the_folder_is_named(tmp_path, monkeypatch):
    for name in ('a.mp4', 'a.png', 'b/c.mp4', 'b/c_points.csv'):
        (tmp_path / 'videos' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'videos' / name).write_bytes(b'not looked into')
    monkeypatch.chdir(tmp_path)
    for folder in (
        'videos',
        './videos',
        '../' + tmp_path.name + '/videos',
        str(tmp_path / 'videos'),
    ):
        asked = video_list.requests(folder, None, request.Request(''))
        assert list(asked) == ['a', 'b/c']
        assert asked['a'].masks == [f'{folder}/a.png']
        assert asked['b/c'].points == [f'{folder}/b/c_points.csv']


@pytest.mark.parametrize(
    'contents, message',
    [
        ('video,labels\na.mp4,a.png\n\nclip.mp4\n', 'line 4 has 1 field, the first line 2: give'),
        ('video,labels\na, b.mp4,a.png\n', 'line 2 has 3 fields, the first line 2: .* a comma in'),
        ('labels;video;frame\na.png;a.mp4\n', 'line 2 has 2 fields, the first line 3'),
        (f'video,labels\n{"a" * 200_000}.mp4,a.png\n', 'not a readable table: field larger'),
    ],
)
def test_lines_of_a_table_with_too_few_or_many_fields_are_named(tmp_path, contents, message):
    table = tmp_path / 'list.csv'
    table.write_text(contents)
    with pytest.raises(errors.UserError, match=f'list.csv.*{message}'):
        video_list.requests(str(table), None, request.Request(''))


def outcomes_before(tmp_path, contents):
    """Run no videos in a folder that has outcomes."""
    (tmp_path / 'outcomes.csv').write_bytes(contents)
    encoder = moving_patches.ColoursInMemory()
    many_videos.run(encoder, {}, str(tmp_path), PropagationSettings(), None)


HEADING = 'video,status,message,frames,seconds\n'


@pytest.mark.parametrize(
    'contents, message',
    [
        (f'{HEADING}Übung.mp4,done,,7,1.5\n'.encode('latin-1'), 'byte 0xdc in line 2 .* as UTF-8'),
        (f'{HEADING}a.mp4,failed,{"x" * 200_000},0,0\n'.encode(), 'field larger .*: move it away'),
        (f'{HEADING}a.mp4,done,,many,1\n'.encode(), "'many'.*: move it away"),
        (b'video;status\na;done\n', "'video'.*: move it away"),
    ],
)
def test_outcomes_that_another_program_changed_are_named(tmp_path, contents, message):
    with pytest.raises(errors.UserError, match=f'^{tmp_path}/outcomes.csv [^\n]*{message}[^\n]*$'):
        outcomes_before(tmp_path, contents)


def test_outcomes_that_a_spreadsheet_saved_as_utf_8_are_read(tmp_path):
    outcomes_before(tmp_path, f'{HEADING}Übung.mp4,done,,7,1.5\n'.encode('utf-8-sig'))


@pytest.mark.slow
def test_the_command_on_many_videos_fails_if_one_does(model, videos, tmp_path):
    status, output, error = command(
        'propagate',
        f'--saved_model={model}',
        f'--videos={videos[0]}',
        f'--labels={videos[1]}',
        f'--preview={tmp_path / "previews"}',
        f'--output_dir={tmp_path / "out"}',
    )
    assert status == 1, error
    drawn = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob('previews/**/*.png'))
    assert list(map(str, drawn)) == ['previews/a.png', 'previews/b/c.png']
    picture, plain = np.asarray(Image.open(tmp_path / drawn[0])), next(scene(0))
    assert picture.shape[1] >= WIDTH and not np.array_equal(picture[-HEIGHT:, :WIDTH], plain)
    assert '2 of 3 videos done.' in output and 'Not done:\n  ' in output
    assert [row['status'] for row in outcomes_in(tmp_path / 'out')] == ['done', 'done', 'failed']
