"""Labels are read in the formats of the benchmarks."""

from __future__ import annotations

import json

from figure_inputs import square
import numpy as np
from PIL import Image
import pytest

from stfc3_tf import errors
from stfc3_tf.benchmarks import jhmdb, vw300
from stfc3_tf.figures import (
    benchmark_labels,
)
from stfc3_tf.storage import files


def save_mask(path, mask):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(mask).save(path)


def test_masks_are_read_by_name_or_by_number(tmp_path):
    names = ['00005', '00006', '00007']
    for name in ('00006', '00007', '00009'):
        save_mask(tmp_path / 'named' / f'{name}.png', square(1, 1, int(name[-1])))
    labels = benchmark_labels.read_labels(str(tmp_path / 'named'), names, (24, 32))
    assert list(labels) == ['00006', '00007']
    np.testing.assert_array_equal(labels['00007'], square(1, 1, 7))
    for number in (0, 2):
        save_mask(tmp_path / 'numbered' / f'{number:06d}.png', square(1, 1, 5 + number))
    labels = benchmark_labels.read_labels(str(tmp_path / 'numbered'), names, (24, 32))
    assert list(labels) == ['00005', '00007']
    np.testing.assert_array_equal(labels['00007'], square(1, 1, 7))


def test_the_folder_of_a_propagation_is_read_as_the_masks_in_it(tmp_path):
    (tmp_path / 'out').mkdir()
    save_mask(tmp_path / 'out' / 'masks' / '000000.png', square(1, 1, 5))
    labels = benchmark_labels.read_labels(str(tmp_path / 'out'), ['000000'], (24, 32))
    np.testing.assert_array_equal(labels['000000'], square(1, 1, 5))


@pytest.mark.parametrize('path', ['out', 'out/tracks.json'])
def test_points_of_a_propagation_belong_to_the_frames_with_their_number(tmp_path, path):
    (tmp_path / 'out').mkdir()
    points = [
        [{'name': 'nose', 'x': 3.5, 'y': 4.0}, {'name': 'ear', 'x': 31.0, 'y': 23.0}],
        [{'name': 'nose', 'x': None, 'y': None}, {'name': 'ear', 'x': 5.0, 'y': 6.25}],
    ]
    frames = [{'frame': number, 'points': found} for number, found in zip((43, 45), points)]
    (tmp_path / 'out' / 'tracks.json').write_text(json.dumps({'frames': frames}))
    names = ['img_0043', 'img_0044', 'img_0045']
    labels = benchmark_labels.read_labels(str(tmp_path / path), names, (24, 32))
    assert list(labels) == ['img_0043', 'img_0045']
    np.testing.assert_array_equal(labels['img_0043'], [[3.5, 4], [31, 23]])
    np.testing.assert_array_equal(labels['img_0045'], [[np.nan, np.nan], [5, 6.25]])


@pytest.mark.parametrize('ahead', ['', 'img_2_'])
def test_masks_belong_to_the_frames_with_their_number(tmp_path, ahead):
    names = [f'{ahead}{number:04d}' for number in range(43, 51)]
    # Also of a frame that is no longer there.
    for number in (43, 45, 47, 60):
        save_mask(tmp_path / 'masks' / f'{number:06d}.png', square(1, 1, number - 42))
    labels = benchmark_labels.read_labels(str(tmp_path / 'masks'), names, (24, 32))
    assert list(labels) == [f'{ahead}{number:04d}' for number in (43, 45, 47)]
    np.testing.assert_array_equal(labels[f'{ahead}0047'], square(1, 1, 5))


@pytest.mark.parametrize('form', ['{:04d}', '{:05d}', '{}', 'mask_{:04d}'])
@pytest.mark.parametrize('ahead', ['frame_{:06d}', '{:05d}.a'])
def test_numbers_of_masks_may_have_any_number_of_digits(tmp_path, form, ahead):
    names = [ahead.format(number) for number in range(104, 109)]
    for number in (105, 107):
        save_mask(tmp_path / 'masks' / f'{form.format(number)}.png', square(1, 1, number - 100))
    if 'mask' not in form:
        save_mask(tmp_path / 'masks' / 'legend.png', square(1, 1, 2))
    labels = benchmark_labels.read_labels(str(tmp_path / 'masks'), names, (24, 32))
    assert list(labels) == [ahead.format(number) for number in (105, 107)]
    np.testing.assert_array_equal(labels[ahead.format(107)], square(1, 1, 7))


def test_masks_by_number_beside_frames_whose_names_begin_at_1(tmp_path):
    names = ['000001', '000002', '000003']
    for number in range(3):
        save_mask(tmp_path / 'masks' / f'{number:06d}.png', square(1, 1, 5 + number))
    labels = benchmark_labels.read_labels(str(tmp_path / 'masks'), names, (24, 32))
    assert list(labels) == names
    np.testing.assert_array_equal(labels['000002'], square(1, 1, 6))


def test_255_alone_is_the_object_and_beside_others_void(tmp_path):
    for number, mask in enumerate((square(1, 1, 5, 255), square(2, 2, 5, 255))):
        save_mask(tmp_path / '2016' / f'{number}.png', mask)
        save_mask(tmp_path / '2017' / f'{number}.png', mask + square(12, 12, 3, number))
    names = ['0', '1']
    binary = benchmark_labels.read_labels(str(tmp_path / '2016'), names, (24, 32))
    np.testing.assert_array_equal(binary['1'], square(2, 2, 5))
    several = benchmark_labels.read_labels(str(tmp_path / '2017'), names, (24, 32))
    np.testing.assert_array_equal(several['1'], square(2, 2, 5, 255) + square(12, 12, 3))


def test_points_are_read_as_the_benchmarks_write_them(tmp_path):
    names, points = ['x', 'y'], np.random.default_rng(0).uniform(0, 20, (2, 15, 2))
    points[1, 3] = np.nan
    path = str(tmp_path / 'joint_positions.mat')
    jhmdb.write_joints(path, points)
    joints = benchmark_labels.read_labels(path, names, (24, 32))
    np.testing.assert_allclose([joints['x'], joints['y']], points)
    beyond = points.copy()
    beyond[0, 0] = [31.5, 3]
    jhmdb.write_joints(path, beyond)
    joints = benchmark_labels.read_labels(path, names, (24, 32))
    assert np.isnan(joints['x'][0]).all() and np.isfinite(joints['x'][1:]).all()

    landmarks = np.random.default_rng(1).uniform(0, 20, (68, 2)).round(2)
    vw300.write_landmarks(str(tmp_path / 'annot' / '000002.pts'), landmarks)
    found = benchmark_labels.read_labels(str(tmp_path / 'annot'), names, (24, 32))
    assert list(found) == ['y']
    np.testing.assert_allclose(found['y'], landmarks)
    (tmp_path / 'annot' / '000002.pts').rename(tmp_path / 'annot' / '2.pts')
    assert list(benchmark_labels.read_labels(str(tmp_path / 'annot'), names, (24, 32))) == ['y']
    vw300.write_landmarks(str(tmp_path / 'annot' / '000002.pts'), landmarks)
    with pytest.raises(errors.UserError, match='2.pts and .*2.pts annotate the same frame'):
        benchmark_labels.read_labels(str(tmp_path / 'annot'), names, (24, 32))

    entry = {
        'image_path': 'DAVIS/x/y.jpg',
        'joints': [[540, 480], [0, 0]],
        'visibility': [True, False],
    }
    (tmp_path / 'cow.json').write_text(json.dumps([entry]))
    found = benchmark_labels.read_labels(str(tmp_path / 'cow.json'), names, (24, 32))
    np.testing.assert_allclose(found['y'], [[8, 12], [np.nan, np.nan]])


def test_masks_of_a_clip_in_one_file(tmp_path):
    parts = np.stack([square(2, 2, 5, 7), square(3, 3, 5, 2)], axis=-1)
    path = str(tmp_path / 'puppet_mask.mat')
    files.write_mat(path, part_mask=parts)
    masks = benchmark_labels.read_labels(path, ['a', 'b', 'c'], (24, 32))
    assert list(masks) == ['a', 'b']
    np.testing.assert_array_equal(masks['b'], square(3, 3, 5))


def test_labels_that_cannot_be_read(tmp_path):
    save_mask(tmp_path / 'masks' / '0.png', square(1, 1, 5))
    (tmp_path / 'a.json').write_text('{"a": 1}')
    (tmp_path / 'tracks.json').write_text('{"frames": [{"frame": 0}]}')
    (tmp_path / 'tracks.csv').write_text('name,frame,x,y\n')
    for name, message in (
        ('masks', r'frame 0 is 32x24 \(width x height\), expected 40x24'),
        ('a.json', 'a.json is damaged'),
        ('tracks.json', 'tracks.json is damaged.* tools.propagate'),
        ('tracks.csv', 'tracks.csv: expected .*tracks.json of tools.propagate'),
        ('nothing', 'expected a folder of .png masks'),
    ):
        with pytest.raises(errors.UserError, match=message):
            benchmark_labels.read_labels(str(tmp_path / name), ['0'], (24, 40))
