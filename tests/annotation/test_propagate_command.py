"""`tools.propagate` as a person runs it on the clip in the box: the flags that choose and add."""

import csv
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest

import stfc3_tf

ROOT = pathlib.Path(__file__).parents[2]
SAMPLES = ROOT / 'stfc3_tf' / 'samples'

pytestmark = pytest.mark.slow


def propagate(output_dir, *arguments):
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'tools.propagate', f'--video={SAMPLES}/cup.mp4'),
            *(f'--output_dir={output_dir}', *arguments),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2'},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_part_of_a_clip_with_a_preview_and_other_formats(tmp_path):
    out, preview = tmp_path / 'out', tmp_path / 'preview.png'
    said = propagate(
        out,
        f'--mask={SAMPLES}/cup_mask.png',
        *('--end=6', '--every=2', f'--preview={preview}', '--formats=coco,yolo'),
    )
    names = [f'{number:06d}' for number in (0, 2, 4, 6)]
    assert sorted(path.stem for path in (out / 'masks').iterdir()) == names
    given, last = (
        np.array(Image.open(path)) for path in (SAMPLES / 'cup_mask.png', out / 'masks/000006.png')
    )
    for number in (1, 2):  # They move by less than their size in 6 frames.
        before, after = given == number, last == number
        assert f'object {number}: {before.sum():,} pixels' in said
        assert (before & after).sum() > 0.5 * (before | after).sum()
    assert Image.open(preview).size[0] >= given.shape[1]
    pictures = json.loads((out / 'coco' / 'instances.json').read_text())['images']
    assert [picture['file_name'] for picture in pictures] == [f'{name}.jpg' for name in names]
    labels = (out / 'yolo_segmentation').rglob('0*.txt')
    assert sorted(path.stem for path in labels) == names


def test_points_count_as_visible_from_the_confidence_that_is_asked_for(tmp_path):
    threshold = 0.97
    propagate(
        tmp_path,
        f'--points={SAMPLES}/cup_points.json',
        *('--end=5', f'--visible_above={threshold}', '--formats=tapvid'),
    )
    with open(tmp_path / 'tracks.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * 5
    sure = [float(row['confidence']) >= threshold for row in rows]
    assert [row['visible'] == '1' for row in rows] == sure
    assert 0 < sum(sure) < len(sure)
    with np.load(tmp_path / 'tapvid.npz') as stored:
        assert stored['visible'].sum() == sum(sure)


def test_finer_cells_follow_the_same_points_and_say_so(tmp_path):
    """By the encoder as Python makes it, with a window of as many pixels."""
    points = f'--points={SAMPLES}/cup_points.json'
    small = ('--end=2', '--short_side=120', '--gin_bindings=PropagationSettings.radius = 6.0')
    propagate(tmp_path / 'usual', points, *small)
    propagate(tmp_path / 'finer', points, *small, '--finer')
    tracks = {}
    for name in ('usual', 'finer'):
        with open(tmp_path / name / 'tracks.csv', newline='') as file:
            rows = list(csv.DictReader(file))
        tracks[name] = np.array([[float(row['x']), float(row['y'])] for row in rows])
    result = json.loads((tmp_path / 'finer' / 'result.json').read_text())
    assert result['model']['cell_grid']['stride'] == 4
    assert result['propagation']['radius'] == 12.0
    apart = np.abs(tracks['finer'] - tracks['usual']).max(axis=1)
    assert apart[:5].max() == 0  # the marked frame
    assert 0 < apart[5:].max() < 16  # a cell is 16 pixels wide in the video

    encoder = stfc3_tf.FinerCells(stfc3_tf.load('stfc3-small'))
    with open(SAMPLES / 'cup_points.json') as file:
        first = np.array(list(json.load(file).values()))
    footage = stfc3_tf.open_footage(str(SAMPLES / 'cup.mp4'))
    frames = [frame.image for _, frame in zip(range(3), footage.frames())]
    settings = stfc3_tf.PropagationSettings(radius=12.0)
    found = [
        label.points
        for label in stfc3_tf.propagate_points(encoder, frames, first, settings, short_side=120)
    ]
    np.testing.assert_allclose(np.concatenate(found), tracks['finer'], atol=0.02)
