"""What is written in formats of other tools, read back by each format's own library."""

import json
import pathlib

import cv2
import defusedxml.ElementTree
import numpy as np
import pandas
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
import pytest

from stfc3_tf import errors
from stfc3_tf.formats import polygons, results, writing

SIZE = HEIGHT, WIDTH = 60, 90
VIDEO = results.Video('clips/made.mp4', SIZE, 25.0)
NAMES = {2: 'a "cup"', 5: 'Hände: zwei'}
POINTS = ('nose', 'left, ear')


def mask_of(number):
    """Return a ring and a part of it, moving; and a thing of one pixel, or none."""
    mask = np.zeros(SIZE, np.uint8)
    cv2.circle(mask, (30 + number, 28), 20, 2, -1)
    cv2.circle(mask, (30 + number, 28), 7, 0, -1)
    cv2.rectangle(mask, (70, 40), (89, 59), 2, -1)
    if number != 12:
        mask[4, 80 + number - 10] = 5
    return mask


MASKS = [results.MaskFrame(n, n / 25, mask_of(n), {2: 0.9, 5: 0.25}) for n in (10, 12, 14)]
TRACKS = [
    results.PointFrame(
        n,
        n / 25,
        np.array([[12.25, 8.5], [np.nan, np.nan] if n == 12 else [n, 30.0]]),
        np.array([0.75, 0.0 if n == 12 else 0.125]),
        np.array([True, False]),
    )
    for n in (10, 12, 14)
]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Return a folder with masks and points in all formats."""
    folder = tmp_path_factory.mktemp('written')
    names = list(writing.NAMES)
    writing.write_masks(names, results.MaskResults(VIDEO, NAMES, MASKS), str(folder))
    writing.write_points(names, results.PointResults(VIDEO, POINTS, TRACKS), str(folder))
    return folder


def overlap(one, other):
    return np.sum(one & other) / np.sum(one | other)


def test_coco_instances_are_the_masks_with_their_areas_and_boxes(folder):
    found = COCO(str(folder / 'coco' / 'instances.json'))
    assert {each['name'] for each in found.loadCats(found.getCatIds())} == set(NAMES.values())
    for image, frame in zip(found.loadImgs(found.getImgIds()), MASKS):
        assert (image['frame'], image['file_name']) == (frame.number, f'{frame.number:06d}.jpg')
        again = np.zeros(SIZE, np.uint8)
        for each in found.loadAnns(found.getAnnIds(image['id'])):
            mask = found.annToMask(each)
            rows, columns = np.nonzero(mask)
            x, y, width, height = each['bbox']
            assert (x, y) == (columns.min(), rows.min())
            assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)
            assert each['area'] == mask.sum() and each['track_id'] == each['category_id']
            again[mask > 0] = each['category_id']
        np.testing.assert_array_equal(again, frame.mask)


def test_the_coco_video_has_an_object_per_track_and_null_where_it_is_not(folder):
    found = json.loads((folder / 'coco' / 'video.json').read_text())
    (video,) = found['videos']
    assert (video['length'], video['frames']) == (3, [10, 12, 14])
    ring, dot = found['annotations']
    assert [part is None for part in dot['segmentations']] == [False, True, False]
    assert dot['bboxes'] == [[80, 4, 1, 1], None, [84, 4, 1, 1]] and dot['areas'] == [1, None, 1]
    for part, frame in zip(ring['segmentations'], MASKS):
        np.testing.assert_array_equal(coco_mask.decode(part), frame.mask == 2)


def test_coco_key_points(folder):
    found = COCO(str(folder / 'coco' / 'keypoints.json'))
    (category,) = found.loadCats(found.getCatIds())
    assert category['keypoints'] == list(POINTS)
    first, gap, _ = found.loadAnns(found.getAnnIds())
    assert first['keypoints'] == [12.25, 8.5, 2, 10, 30, 1] and first['num_keypoints'] == 2
    assert gap['keypoints'] == [12.25, 8.5, 2, 0, 0, 0] and gap['num_keypoints'] == 1


def yolo_lines(folder, number):
    text = (folder / 'labels' / f'{number:06d}.txt').read_text()
    return [[float(value) for value in line.split()] for line in text.splitlines()]


def test_yolo_polygons_drawn_as_yolo_does_are_the_masks(folder):
    for frame in MASKS:
        for place, *shares in yolo_lines(folder / 'yolo_segmentation', frame.number):
            # Ultralytics scales, rounds down and fills.
            corners = (np.reshape(shares, (-1, 2)) * [WIDTH, HEIGHT]).astype(np.int32)
            drawn = cv2.fillPoly(np.zeros(SIZE, np.uint8), [corners], 1) > 0
            mask = frame.mask == list(NAMES)[int(place)]
            assert not (mask & ~drawn).any() and overlap(mask, drawn) > 0.98
            assert min(shares) >= 0 and max(shares) <= 1
    data = (folder / 'yolo_segmentation' / 'data.yaml').read_text()
    assert '  0: "a \\"cup\\""\n  1: "Hände: zwei"\n' in data


def test_yolo_poses(folder):
    ((place, *values),) = yolo_lines(folder / 'yolo_pose', 10)
    x, y, width, height, *points = values
    positions = np.reshape(points, (-1, 3))
    np.testing.assert_allclose(positions[:, 0] * WIDTH - 0.5, [12.25, 10], atol=1e-4)
    np.testing.assert_allclose(positions[:, 1] * HEIGHT - 0.5, [8.5, 30], atol=1e-4)
    assert positions[:, 2].tolist() == [2, 1] and place == 0
    low, high = (x - width / 2) * WIDTH, (x + width / 2) * WIDTH
    np.testing.assert_allclose([low, high], [10, 13.25], atol=1e-4)
    assert yolo_lines(folder / 'yolo_pose', 12)[0][-3:] == [0, 0, 0]
    assert 'kpt_shape: [2, 3]' in (folder / 'yolo_pose' / 'data.yaml').read_text()


def read_by_supervision(folder, kind, pictures):
    """Return names of classes, and (boxes, numbers of classes, masks) by number of frame."""
    supervision = pytest.importorskip('supervision')  # it needs Python 3.10
    for frame in MASKS:
        cv2.imwrite(str(pictures / f'{frame.number:06d}.jpg'), np.zeros((*SIZE, 3), np.uint8))
    found = supervision.DetectionDataset.from_yolo(
        str(pictures), str(folder / kind / 'labels'), str(folder / kind / 'data.yaml')
    )
    frames = {
        int(pathlib.Path(path).stem): (each.xyxy, each.class_id.tolist(), each.mask)
        for path, each in found.annotations.items()
    }
    return found.classes, frames


def test_supervision_reads_the_polygons_of_yolo(folder, tmp_path):
    names, frames = read_by_supervision(folder, 'yolo_segmentation', tmp_path)
    assert names == list(NAMES.values())
    for frame in MASKS:
        boxes, places, drawn = frames[frame.number]
        assert [list(NAMES)[place] for place in places] == sorted({*frame.mask.flat} - {0})
        for place, (left, top, right, bottom), each in zip(places, boxes, drawn):
            mask = frame.mask == list(NAMES)[place]
            rows, columns = np.nonzero(mask)
            # Outlines lie a quarter of a pixel inside the edges.
            expected = [columns.min(), columns.max() + 0.5, rows.min(), rows.max() + 0.5]
            np.testing.assert_allclose(
                np.subtract([left, right, top, bottom], expected), 0.25, 1e-3
            )
            # It rounds, so that its masks are up to a pixel larger.
            near = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))) > 0
            assert not (mask & ~each).any() and np.sum(each & ~near) < 25


def test_supervision_reads_the_boxes_of_yolo_poses(folder, tmp_path):
    names, frames = read_by_supervision(folder, 'yolo_pose', tmp_path)
    assert names == ['points']
    expected = {10: [10, 8.5, 13.25, 31], 12: [12.25, 8.5, 13.25, 9.5], 14: [12.25, 8.5, 15, 31]}
    for number, box in expected.items():
        boxes, places, _ = frames[number]
        np.testing.assert_allclose(boxes, [box], atol=1e-4)
        assert places == [0]


@pytest.mark.parametrize('kind', ['yolo_segmentation', 'yolo_pose'])
def test_yolo_finds_the_pictures_from_any_folder(folder, kind):
    # Ultralytics takes a `path` from the folder where it was started, other paths from data.yaml.
    lines = (folder / kind / 'data.yaml').read_text().splitlines()
    assert {'train: ./images', 'val: ./images'} <= set(lines)
    assert not any(line.startswith('path:') for line in lines)


def test_cvat_tracks_of_polygons_filled_are_the_masks(folder):
    root = defusedxml.ElementTree.parse(folder / 'cvat_masks.xml').getroot()
    assert root.findtext('version') == '1.1' and root.findtext('meta/task/mode') == 'interpolation'
    labels = {each.findtext('name'): each.findtext('type') for each in root.iter('label')}
    assert labels == dict.fromkeys(NAMES.values(), 'polygon')
    for track, (number, name) in zip(root.iter('track'), NAMES.items()):
        assert track.get('label') == name
        assert [shape.get('frame') for shape in track] == ['10', '12', '14']
        for shape, frame in zip(track, MASKS):
            mask = frame.mask == number
            assert shape.get('keyframe') == '1' and shape.get('outside') == str(int(not mask.any()))
            if mask.any():
                pairs = [pair.split(',') for pair in shape.get('points').split(';')]
                filled = polygons.fill([np.array(pairs, float)], SIZE)
                np.testing.assert_array_equal(filled, mask)


def test_cvat_points_are_outside_without_position_and_occluded_where_not_visible(folder):
    root = defusedxml.ElementTree.parse(folder / 'cvat_points.xml').getroot()
    nose, ear = root.iter('track')
    assert [shape.get('points') for shape in nose] == ['12.75,9.00'] * 3
    assert [shape.get('outside') for shape in ear] == ['0', '1', '0']
    assert [shape.get('occluded') for shape in ear] == ['1', '0', '1']


@pytest.mark.parametrize('read', ['csv', 'h5'])
def test_pandas_reads_the_deeplabcut_tables(folder, read):
    path = folder / 'deeplabcut' / f'tracks.{read}'
    if read == 'csv':
        table = pandas.read_csv(path, header=[0, 1, 2], index_col=0)
    else:
        table = pandas.read_hdf(path)
    assert table.columns.names == ['scorer', 'bodyparts', 'coords']
    assert table.index.tolist() == [10, 12, 14]
    assert table['stfc3']['nose'].iloc[0].tolist() == [12.25, 8.5, 0.75]
    assert table['stfc3']['left, ear']['x'].isna().tolist() == [False, True, False]
    assert table.dtypes.eq('float64').all()


def test_tap_vid_arrays(folder):
    with np.load(folder / 'tapvid.npz') as found:
        assert found['tracks'].shape == (2, 3, 2) and found['tracks'][0, 1].tolist() == [12.75, 9]
        np.testing.assert_array_equal(found['visible'], [[True] * 3, [False] * 3])
        np.testing.assert_array_equal(found['occluded'], ~found['visible'])
        assert found['query_points'][0].tolist() == [0, 9, 12.75]
        assert found['frames'].tolist() == [10, 12, 14] and found['names'].tolist() == list(POINTS)


def test_an_outline_filled_is_the_mask():
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = cv2.blur(rng.uniform(size=(33, 47)), (5, 5)) > 0.52
        np.testing.assert_array_equal(polygons.fill([polygons.outline(mask)], mask.shape), mask)


def test_polygons_are_filled_as_pycocotools_does():
    rng = np.random.default_rng(0)
    for _ in range(20):
        # A star around a point, partly outside.
        angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
        radii = rng.uniform(15, 40, 12)
        star = rng.uniform(10, 70, 2) + (radii * [np.cos(angles), np.sin(angles)]).T
        runs = coco_mask.frPyObjects([star.ravel().tolist()], *SIZE)
        ours = polygons.fill([star], SIZE)
        theirs = coco_mask.decode(runs)[..., 0] > 0
        assert overlap(ours, theirs) > 0.97 and ours.sum() > 100


def test_a_format_that_cannot_be_written_is_refused_before_the_work(monkeypatch):
    with pytest.raises(errors.UserError, match="'voc'.*choose from coco, yolo"):
        writing.check(['voc'], masks=True, points=False)
    with pytest.raises(errors.UserError, match='deeplabcut is for points'):
        writing.check(['deeplabcut'], masks=True, points=False)
    monkeypatch.setitem(__import__('sys').modules, 'pandas', None)
    with pytest.raises(
        errors.UserError, match=r'package pandas: pip install "stfc3-tf\[formats\]"'
    ):
        writing.check(['deeplabcut'], masks=False, points=True)
