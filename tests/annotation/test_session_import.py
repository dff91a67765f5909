"""Labels from files in a session: what was read is marked, in its frames, under its names."""

import csv
import dataclasses
import json
import pathlib
import re
import time

import forked_programs
import moving_noise
import moving_patches
from moving_patches import FRAMES, HEIGHT, WIDTH, scene
import numpy as np
import page_server
from PIL import Image
import pytest

import stfc3_tf
from stfc3_tf import errors
from stfc3_tf.annotation import kept_features, session_import
from stfc3_tf.annotation.given_labels import GivenMasks, GivenPoints
from stfc3_tf.annotation.marks.inputs import MaskAnnotation, PointAnnotation
from stfc3_tf.annotation.session import Session, Thing, VideoIdentity

VIDEO = VideoIdentity('clip.mp4', 1000, 'a' * 64, HEIGHT, WIDTH, 25.0)


def truth(number):
    return list(scene(number))[1]


@pytest.fixture
def session(tmp_path):
    return Session(str(tmp_path / 's'), VIDEO)


def names(things):
    return [thing.name for thing in things]


def test_labels_are_marked_as_they_are(session):
    masks = {43: truth(0).astype(int), 53: truth(2).astype(int)}
    given = GivenMasks(masks, {53: [5]})
    points = GivenPoints(2, {48: {0: (3.5, 4.0), 1: (5.0, 6.0)}, 58: {1: (np.nan, np.nan)}})
    labels = session_import.Import(
        MaskAnnotation(given, names={5: 'cup'}), PointAnnotation(('nose', 'ear'), points)
    )
    labels.put(session, session_import.places([43, 48, 53, 58]))
    session.close()
    found = Session(session.folder, VIDEO)
    # What a mask is not about continues, also where the file shows it.
    assert {n: each.objects for n, each in found.masks.items()} == {0: (2, 5), 2: (5,)}
    np.testing.assert_array_equal(found.masks[0].mask, truth(0))
    np.testing.assert_array_equal(found.masks[2].mask, np.where(truth(2) == 5, 5, 0))
    assert found.points == {1: {1: (3.5, 4.0), 2: (5.0, 6.0)}, 3: {2: None}}
    assert names(found.things.objects) == ['object 2', 'cup']
    assert names(found.things.points) == ['nose', 'ear']
    for things in (found.things.objects, found.things.points):
        assert things[0].colour != things[1].colour


def test_what_is_marked_already_stays(session):
    session.set_things(dataclasses.replace(session.things, points=[Thing(1, 'nose', '#ffffff')]))
    labels = session_import.Import(MaskAnnotation(GivenMasks({0: truth(0)})))
    for points in ({}, {3: {1: (1.0, 2.0)}}):
        for frame, given in points.items():
            session.put_points(frame, given)
        for each in (labels, session_import.Import()):
            each.put(session, session_import.places(None))
        assert session.masks == {} and session.points == points
        assert names(session.things.points) == ['nose'] and session.things.objects == []


def test_names_that_a_session_cannot_have_are_changed(session):
    given = GivenMasks({0: truth(0)})
    long = 'x' * 100
    for given_names, expected in [
        ({2: 'a', 5: 'a'}, ['a', 'object 5']),
        ({2: 'object 5', 5: ''}, ['object 5', "object 5'"]),
        ({2: long, 5: long + 'y'}, ['x' * 80, 'object 5']),
    ]:
        things = session_import.Import(MaskAnnotation(given, names=given_names)).things()
        assert names(things.objects) == expected
    many = PointAnnotation(
        tuple(map(str, range(256))), GivenPoints(256, {0: dict.fromkeys(range(256), (1.0, 1.0))})
    )
    with pytest.raises(errors.UserError, match='at most 255 points'):
        session_import.Import(points=many).things()


@pytest.mark.slow
def test_the_command_begins_with_files_and_keeps_what_was_corrected(tmp_path):
    moving_patches.write_folder(tmp_path / 'clip')
    Image.fromarray(truth(0)).save(tmp_path / 'first.png')
    (tmp_path / 'points.json').write_text(json.dumps({'nose': [30, 28]}))
    flags = [
        f'--video={tmp_path / "clip"}',
        f'--output_dir={tmp_path / "kept"}',
        f'--mask={tmp_path / "first.png"}',
        f'--points={tmp_path / "points.json"}',
        '--frame=2',
        '--objects=2:5',
    ]

    def opened():
        program = forked_programs.command('tools.annotate', *flags)
        text = ''
        while 'http://' not in text:
            line = program.output.readline()
            assert line, text
            text += line
        client = page_server.Client(re.search(r'http://\S+', text).group(), None)
        return program, text, client, client.done('POST', 'open', {'name': 'clip'})

    program, text, client, state = opened()
    with program:
        assert f'object 5: {(truth(0) == 5).sum():,} pixels' in text
        assert 'point nose: (30, 28)' in text
        assert state['masks'] == {'2': [5]} and state['points'] == {'2': {'1': [30, 28]}}
        client.done('PUT', 'v/clip/points/2', {'1': [31, 28]})
        client.done('DELETE', 'v/clip/masks/2')
    program, _, _, state = opened()
    with program:
        assert state['masks'] == {} and state['points'] == {'2': {'1': [31, 28]}}
    # A frame that is not there is refused before anything is served.
    flags[2:] = [f'--mask={FRAMES}:{tmp_path / "first.png"}']
    with forked_programs.command('tools.annotate', *flags) as program:
        assert 'no frame' in program.output.read()
    with forked_programs.command('tools.annotate', f'--root={tmp_path}', *flags[1:]) as program:
        assert 'give --video' in program.output.read()
    # So is what says something about labels that are not there.
    for idle, flag in ((f'--points={tmp_path}/points.json', 'objects=2:5'), (flags[0], 'frame=2')):
        given = [flags[0], flags[1], idle, f'--{flag}']
        with forked_programs.command('tools.annotate', *given) as program:
            message = f'does not use --{flag.partition("=")[0]}: leave it out'
            assert message in program.output.read()


@pytest.mark.slow
def test_the_page_with_finer_cells_gives_what_the_finer_encoder_gives(tmp_path):
    """On frames without plain parts, where rounding decides which cell is most similar."""
    frames = moving_noise.frames()
    (tmp_path / 'clip').mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / 'clip' / f'{number}.png')
    (tmp_path / 'points.json').write_text(json.dumps({'nose': [60, 40]}))
    flags = ['--finer', '--short_side=96', f'--output_dir={tmp_path / "kept"}']
    flags += [f'--video={tmp_path / "clip"}', f'--points={tmp_path / "points.json"}']
    with forked_programs.command('tools.annotate', *flags) as program:
        address = next(filter(None, (re.search(r'http://\S+', line) for line in program.output)))
        client = page_server.Client(address.group(), None)
        client.done('POST', 'open', {'name': 'clip'})
        for task, request in (('propagate', {'frame': 0}), ('export', {'formats': []})):
            client.done('POST', f'v/clip/{task}', request)
            while (progress := client.done('GET', 'v/clip/progress'))['state'] == 'running':
                time.sleep(0.2)
            assert progress['state'] == 'done', progress
        folder = pathlib.Path(progress['changes'][-1]['folder'])
    with open(folder / 'tracks.csv', newline='') as file:
        shown = [[float(row['x']), float(row['y'])] for row in csv.DictReader(file)]
    assert json.loads((folder / 'result.json').read_text())['model']['cell_grid']['stride'] == 4

    encoder = stfc3_tf.FinerCells(stfc3_tf.load('stfc3-small'))
    settings = stfc3_tf.PropagationSettings(radius=24.0)
    # The page keeps features in half precision.
    with kept_features.kept_for_now(encoder) as kept:
        points = np.array([[60.0, 40.0]])
        labels = stfc3_tf.propagate_points(kept, frames, points, settings, short_side=96)
        found = [label.points[0] for label in labels]
    np.testing.assert_allclose(shown, found, atol=0.01)
