"""Files as other tools write them, written by hand here, and our own files read back."""

import base64
import io
import json

import cv2
import h5py
import numpy as np
import pandas
from PIL import Image
import pytest

from stfc3_tf import errors
from stfc3_tf.annotation.marks import inputs, other_tools, points_file
from stfc3_tf.formats import results, writing

SIZE = HEIGHT, WIDTH = 40, 60
FRAMES = other_tools.Frames(SIZE, {}, 7)


def masks(path, frames=FRAMES, number=None):
    return inputs.read_masks_of_other_tools([(number, str(path))], frames)


def points(path, frames=FRAMES, number=None):
    return {
        (point.frame, point.name): (point.x, point.y)
        for point in points_file.read(str(path), frames, number)
    }


def written(tmp_path, name, contents):
    path = tmp_path / name
    path.write_text(contents if isinstance(contents, str) else json.dumps(contents))
    return path


def box(left, top, right, bottom):
    mask = np.zeros(SIZE, bool)
    mask[top:bottom, left:right] = True
    return mask


def shape(label, kind, corners, group=None, **more):
    return {
        'label': label,
        'points': corners,
        'group_id': group,
        'shape_type': kind,
        'flags': {},
        **more,
    }


def labelme(shapes, picture='frame_0012.jpg'):
    return {
        'version': '5.4.1',
        'flags': {},
        'shapes': shapes,
        'imagePath': picture,
        'imageData': None,
        'imageHeight': HEIGHT,
        'imageWidth': WIDTH,
    }


def test_labelme(tmp_path, caplog):
    part = io.BytesIO()
    Image.fromarray(np.full((3, 4), 255, np.uint8)).save(part, 'PNG')
    picture = base64.b64encode(part.getvalue()).decode()
    shapes = [
        shape('cup', 'polygon', [[10, 5], [20, 5], [20, 15], [10, 15]], 3),
        shape('cup', 'rectangle', [[30.0, 20.0], [34.0, 22.0]], 3),
        shape('hand', 'mask', [[50, 30], [53, 32]], mask=picture),
        shape('nose', 'point', [[12.5, 8.0]]),
        shape('edge', 'line', [[0, 0], [5, 5]]),
    ]
    path = written(tmp_path, 'any.json', labelme(shapes))
    found = masks(path)
    assert found.frames == [12] and found.names == {1: 'cup', 2: 'hand'}
    mask = found.given.masks[12]
    np.testing.assert_array_equal(mask == 1, box(10, 5, 20, 15) | box(30, 20, 34, 22))
    np.testing.assert_array_equal(mask == 2, box(50, 30, 54, 33))
    assert found.description() == [
        f'frame 12: object {text}' for text in ('1: 108 pixels (cup)', '2: 12 pixels (hand)')
    ]
    assert 'left out: line (1)' in caplog.text
    assert points(path) == {(12, 'nose'): (12.0, 7.5)}
    assert masks(path, number=30).frames == [30]


def test_things_of_one_name_are_apart_in_one_frame_and_an_error_in_several(tmp_path):
    first = [shape('bird', 'rectangle', [[x, 2], [x + 4, 6]]) for x in (0, 10)]
    folder = tmp_path / 'several'
    folder.mkdir()
    one = written(folder, 'a.json', labelme(first, 'a.png'))
    found = masks(one)
    assert found.names == {1: 'bird', 2: 'bird 2'} and found.frames == [FRAMES.default]
    entries = {
        'images': [{'id': n, 'file_name': f'{n}.png'} for n in (1, 2)],
        'annotations': [
            {'image_id': n, 'category_id': 1, 'segmentation': [[x, 2, x + 4, 2, x + 4, 6, x, 6]]}
            for n in (1, 2)
            for x in (0, 10)
        ],
        'categories': [{'id': 1, 'name': 'bird'}],
    }
    with pytest.raises(errors.UserError, match=r"which 'bird' of frame 1 is the same.*track_id"):
        masks(written(tmp_path, 'coco.json', entries))
    for place, entry in enumerate(entries['annotations']):
        entry['attributes'] = {'track_id': 5 + place % 2}
    found = masks(written(tmp_path, 'coco.json', entries))
    assert found.names == {1: 'bird 5', 2: 'bird 6'} and found.frames == [1, 2]


def test_coco_of_other_tools(tmp_path):
    # Two polygons of one object, and run lengths as crowds have them: column by column.
    counts = [HEIGHT * 2 + 3, 4, HEIGHT - 4, 4, HEIGHT * (WIDTH - 3) - 7]
    contents = {
        'info': {'year': 2024},
        'licenses': [],
        'images': [
            {'id': 41, 'file_name': 'video/img_0041.jpg', 'height': HEIGHT, 'width': WIDTH},
            {'id': 44, 'file_name': 'video/img_0044.jpg', 'height': HEIGHT, 'width': WIDTH},
        ],
        'annotations': [
            {
                'id': 1,
                'image_id': 41,
                'category_id': 9,
                'segmentation': [[4, 4, 8, 4, 8, 8, 4, 8], [20, 4, 22, 4, 22, 6, 20, 6]],
                'area': 20,
                'bbox': [4, 4, 18, 4],
                'iscrowd': 0,
            },
            {
                'id': 2,
                'image_id': 44,
                'category_id': 9,
                'segmentation': {'size': [HEIGHT, WIDTH], 'counts': counts},
                'iscrowd': 1,
                'keypoints': [5, 6, 2, 0, 0, 0, 7.5, 8, 1],
                'num_keypoints': 2,
            },
        ],
        'categories': [{'id': 9, 'name': 'cat', 'keypoints': ['nose', 'ear', 'tail']}],
    }
    path = written(tmp_path, 'instances.json', contents)
    found = masks(path)
    assert found.frames == [41, 44] and found.names == {1: 'cat'}
    np.testing.assert_array_equal(found.given.masks[41] == 1, box(4, 4, 8, 8) | box(20, 4, 22, 6))
    np.testing.assert_array_equal(found.given.masks[44] == 1, box(2, 3, 4, 7))
    assert points(path) == {(44, 'nose'): (5, 6), (44, 'tail'): (7.5, 8)}
    # The names of the pictures of a video say the numbers.
    pictures = {'img_0041.jpg': 0, 'img_0044.jpg': 3}
    assert masks(path, other_tools.Frames(SIZE, pictures, 0)).frames == [0, 3]


def test_the_points_of_one_person_have_one_number(tmp_path):
    people = [[1, 2, 2, 3, 4, 2, 0, 0, 0], [5, 6, 2, 7, 8, 2, 9, 9, 2]]
    hidden, dog = [0] * 9, [20, 21, 2]
    persons = [{'image_id': 1, 'category_id': 1, 'keypoints': at} for at in (hidden, *people)]
    contents = {
        'images': [{'id': 1, 'file_name': '7.png'}],
        'annotations': persons,
        'categories': [{'id': 1, 'name': 'person', 'keypoints': ['nose', 'eye', 'ear']}],
    }
    numbered = {'nose': (1, 2), 'eye': (3, 4), 'nose 2': (5, 6), 'eye 2': (7, 8), 'ear 2': (9, 9)}
    expected = {(7, name): at for name, at in numbered.items()}
    assert points(written(tmp_path, 'coco.json', contents)) == expected
    # With their numbers in the file.
    for number, each in enumerate(persons):
        each['track_id'] = number
    found = points(written(tmp_path, 'tracks.json', contents))
    assert [name for _, name in found] == ['nose 1', 'eye 1', 'nose 2', 'eye 2', 'ear 2']
    # Another kind of thing is counted by itself.
    contents['categories'].append({'id': 2, 'name': 'dog', 'keypoints': ['tail']})
    contents['annotations'] = [*persons, {'image_id': 1, 'category_id': 2, 'keypoints': dog}]
    for each in persons:
        del each['track_id']
    found = points(written(tmp_path, 'dog.json', contents))
    assert found[7, 'dog tail'] == (20, 21) and found[7, 'person ear 2'] == (9, 9)
    # In several frames it is not clear who is who, even where they show different points.
    contents['images'].append({'id': 2, 'file_name': '8.png'})
    contents['annotations'] = [
        {'image_id': 1, 'category_id': 1, 'keypoints': [1, 2, 2]},
        {'image_id': 1, 'category_id': 1, 'keypoints': [0, 0, 0, 3, 4, 2]},
        {'image_id': 2, 'category_id': 1, 'keypoints': [1, 2, 2]},
    ]
    with pytest.raises(errors.UserError, match="which 'person eye' of frame 7 is the same"):
        points(written(tmp_path, 'frames.json', contents))


def test_the_points_of_one_skeleton_of_an_image_have_one_number(tmp_path):
    def skeleton(**parts):
        listed = [
            f'<points label="{name}" points="{x}.5,{y}.5"/>' for name, (x, y) in parts.items()
        ]
        return f'<skeleton label="person">{"".join(listed)}</skeleton>'

    path = written(
        tmp_path,
        'a.xml',
        f'<annotations><image id="0" name="frame_21" width="{WIDTH}" height="{HEIGHT}">'
        f'{skeleton(nose=(1, 2))}{skeleton(nose=(3, 4), ear=(5, 6))}'
        '<points label="nose" points="7.5,8.5"/></image></annotations>',
    )
    expected = {'nose': (1, 2), 'nose 2': (3, 4), 'ear 2': (5, 6), 'nose 3': (7, 8)}
    assert points(path) == {(21, name): at for name, at in expected.items()}


CVAT_VIDEO = f"""<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task>
    <original_size><width>{WIDTH}</width><height>{HEIGHT}</height></original_size>
  </task></meta>
  <track id="0" label="car" source="manual">
    <polygon frame="0" outside="0" occluded="0" keyframe="1" z_order="0"
        points="2.0,3.0;12.0,3.0;12.0,9.0;2.0,9.0">
      <attribute name="colour">red</attribute>
    </polygon>
    <polygon frame="1" outside="0" occluded="0" keyframe="0" points="3,3;13,3;13,9;3,9"/>
    <polygon frame="30" outside="1" occluded="0" keyframe="1" points="3,3;13,3;13,9;3,9"/>
  </track>
  <track id="1" label="car">
    <polygon frame="5" outside="0" occluded="0" keyframe="1" points="20,20;30,20;30,30;20,30"/>
  </track>
  <track id="2" label="person">
    <skeleton frame="5" keyframe="1" z_order="0">
      <points label="head" keyframe="1" outside="0" occluded="0" points="10.50,12.00"/>
      <points label="foot" keyframe="1" outside="1" occluded="0" points="1.00,1.00"/>
    </skeleton>
  </track>
  <track id="3" label="van">
    <box frame="0" outside="0" occluded="0" keyframe="1" xtl="1" ytl="1" xbr="4" ybr="4"/>
  </track>
</annotations>
"""


def test_cvat_for_video(tmp_path):
    path = written(tmp_path, 'annotations.xml', CVAT_VIDEO)
    found = masks(path)
    assert found.names == {1: 'car 0', 2: 'car 1'} and found.frames == [0, 5, 30]
    np.testing.assert_array_equal(found.given.masks[0], box(2, 3, 12, 9).astype(np.uint8))
    assert not found.given.masks[30].any()
    assert found.description()[-1] == 'frame 30: object 1 is not there'
    # A key frame of one track says nothing of the others.
    assert [found.given.about(frame) for frame in found.frames] == [[1], [2], [1]]
    (head, foot) = points(path).items()
    assert head == ((5, 'head'), (10, 11.5))
    assert foot[0] == (5, 'foot') and np.isnan(foot[1]).all()


def test_cvat_for_images(tmp_path):
    image = f"""<annotations><version>1.1</version>
    <image id="0" name="frame_000021" width="{WIDTH}" height="{HEIGHT}">
      <mask label="leaf" source="manual" occluded="0" z_order="0"
          rle="1, 2, 1, 4, 4" left="10" top="20" width="4" height="3"></mask>
      <points label="tip" source="manual" occluded="0" points="1.50,2.50;4.50,5.50"></points>
    </image></annotations>"""
    path = written(tmp_path, 'images.xml', image)
    found = masks(path)
    assert found.frames == [21]
    part = [[0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]]
    np.testing.assert_array_equal(found.given.masks[21][20:23, 10:14], part)
    assert points(path) == {(21, 'tip 1'): (1, 2), (21, 'tip 2'): (4, 5)}


DEEPLABCUT = """scorer,,,me,me,me,me
bodyparts,,,nose,nose,left ear,left ear
coords,,,x,y,x,y
labeled-data,clip,img0003.png,10.5,20.25,,
labeled-data,clip,img0040.png,11,21,30,31.5
"""
TRACKED = {(3, 'nose'): (10.5, 20.25), (40, 'nose'): (11, 21), (40, 'left ear'): (30, 31.5)}


def test_deeplabcut(tmp_path):
    path = written(tmp_path, 'CollectedData_me.csv', DEEPLABCUT)
    assert points(path) == TRACKED
    table = pandas.read_csv(path, header=[0, 1, 2], index_col=[0, 1, 2])
    table.to_hdf(tmp_path / 'a.h5', key='df_with_missing', mode='w')
    assert points(tmp_path / 'a.h5') == TRACKED
    table.index = [3, 40]
    table.to_hdf(tmp_path / 'b.h5', key='df_with_missing', mode='w', format='table')
    table.to_csv(tmp_path / 'b.csv')
    assert points(tmp_path / 'b.h5') == points(tmp_path / 'b.csv') == TRACKED


def test_deeplabcut_of_several_animals(tmp_path):
    lines = [
        'scorer,me,me,me,me,me,me',
        'individuals,a,a,b,b,single,single',
        'bodyparts,nose,nose,nose,nose,corner,corner',
        'coords,x,y,x,y,x,y',
        'labeled-data/clip/img7.png,1,2,3,4,5,6',
    ]
    found = points(written(tmp_path, 'several.csv', '\n'.join(lines)))
    assert found == {(7, 'nose a'): (1, 2), (7, 'nose b'): (3, 4), (7, 'corner'): (5, 6)}


def test_an_h5_file_runs_nothing_that_it_holds(tmp_path):
    table = pandas.DataFrame(np.zeros((1, 2)))
    table.to_hdf(tmp_path / 'a.h5', key='d', mode='w', format='table')
    with h5py.File(tmp_path / 'a.h5', 'a') as file:
        order = f'cbuiltins\nopen\n(V{tmp_path / "ran"}\nVw\ntR.'
        file['d'].attrs['non_index_axes'] = np.bytes_(order.encode())
    with pytest.raises(errors.UserError, match='a.h5 cannot be read'):
        points(tmp_path / 'a.h5')
    assert not (tmp_path / 'ran').exists()


def test_sleap_analysis(tmp_path):
    tracks = np.full((1, 2, 2, 50), np.nan)
    tracks[0, :, 0, 4], tracks[0, :, 1, 9] = (10, 11), (12, 13.5)
    with h5py.File(tmp_path / 'a.analysis.h5', 'w') as file:
        file['tracks'] = tracks
        file['node_names'] = [b'head', b'tail']
        file['track_names'] = [b'track_0']
        file['track_occupancy'] = np.ones((50, 1))
    assert points(tmp_path / 'a.analysis.h5') == {(4, 'head'): (10, 11), (9, 'tail'): (12, 13.5)}


def project(path, format_id):
    frame = [('frame_id', 'u8'), ('video', 'u4'), ('frame_idx', 'u8')]
    ends = [('instance_id_start', 'u8'), ('instance_id_end', 'u8')]
    instance = [('instance_id', 'i8'), ('instance_type', 'u1'), ('frame_id', 'u8')]
    instance += [('skeleton', 'u4'), ('track', 'i4'), ('from_predicted', 'i8'), ('score', 'f4')]
    instance += [('point_id_start', 'u8'), ('point_id_end', 'u8'), ('tracking_score', 'f4')]
    point = [('x', 'f8'), ('y', 'f8'), ('visible', '?'), ('complete', '?')]
    nodes = {'nodes': [{'name': 'tail'}, {'name': 'head'}], 'skeletons': [{'nodes': []}]}
    nodes['skeletons'][0]['nodes'] = [{'id': 1}, {'id': 0}]
    with h5py.File(path, 'w') as file:
        group = file.create_group('metadata')
        group.attrs['json'], group.attrs['format_id'] = json.dumps(nodes), format_id
        file['tracks_json'] = [np.bytes_(b'[0, "a"]')]
        file['frames'] = np.array([(0, 0, 17, 0, 1), (1, 0, 25, 1, 2)], frame + ends)
        file['instances'] = np.array(
            [(0, 0, 0, 0, 0, -1, 1, 0, 2, 0), (1, 1, 1, 0, 0, -1, 0.5, 0, 2, 0.5)], instance
        )
        file['points'] = np.array([(5.5, 6.5, True, True), (7, 8, False, True)], point)
        file['pred_points'] = np.array([(1, 2, True, True, 0.5)] * 2, [*point, ('score', 'f8')])


@pytest.mark.parametrize(('format_id', 'expected'), [(1.2, (5.5, 6.5)), (1.0, (5, 6))])
def test_a_sleap_project_is_what_a_person_marked(tmp_path, format_id, expected):
    project(tmp_path / 'labels.slp', format_id)
    assert points(tmp_path / 'labels.slp') == {(17, 'head'): expected}


def test_our_own_files_are_read_back(tmp_path):
    video = results.Video('a.mp4', SIZE, 25)
    drawn = {n: np.zeros(SIZE, np.uint8) for n in (3, 4)}
    cv2.circle(drawn[3], (20, 20), 9, 2, -1)
    cv2.circle(drawn[3], (20, 20), 4, 0, -1)
    cv2.rectangle(drawn[4], (50, 30), (59, 39), 7, -1)
    names = {2: 'object 2', 7: 'object 7'}
    frames = [results.MaskFrame(n, n / 25, mask, {2: 1, 7: 1}) for n, mask in drawn.items()]
    writing.write_masks(['coco', 'cvat'], results.MaskResults(video, names, frames), str(tmp_path))
    for name in ('coco/instances.json', 'coco/video.json', 'cvat_masks.xml'):
        found = masks(tmp_path / name)
        for number, mask in drawn.items():
            np.testing.assert_array_equal(found.given.masks[number], mask)
    places = {'nose': (10.25, 20.5), 'left ear': (30, 31)}
    frame = results.PointFrame(
        3, 0.1, np.array(list(places.values())), np.ones(2), np.ones(2, bool)
    )
    kept = results.PointResults(video, list(places), [frame])
    writing.write_points(['coco', 'cvat', 'deeplabcut'], kept, str(tmp_path))
    names = (
        'coco/keypoints.json',
        'cvat_points.xml',
        'deeplabcut/tracks.csv',
        'deeplabcut/tracks.h5',
    )
    for name in names:
        assert points(tmp_path / name) == {(3, point): at for point, at in places.items()}


def test_what_does_not_fit_is_one_clear_line(tmp_path):
    wrong = labelme([shape('cup', 'rectangle', [[1, 1], [9, 9]])])
    path = written(tmp_path, 'a.json', {**wrong, 'imageWidth': 99})
    with pytest.raises(errors.UserError, match=r'about pictures of 99x40.*the frames are 60x40'):
        masks(path)
    path = written(tmp_path, 'b.json', wrong)
    with pytest.raises(errors.UserError, match=r'no points; its 1 object can be given with --mask'):
        points(path)
    pictures = {'images': [{'id': 1, 'file_name': 'a.png'}, {'id': 2, 'file_name': 'b.png'}]}
    same = {'category_id': 1, 'segmentation': [[0, 0, 9, 0, 9, 9]]}
    entries = [{'image_id': 1, **same}, {'image_id': 2, **same}]
    path = written(tmp_path, 'c.json', {**pictures, 'annotations': entries})
    with pytest.raises(
        errors.UserError, match='which frames do its pictures belong to.*FRAME:PATH'
    ):
        masks(path)
    with pytest.raises(errors.UserError, match='is about 2 frames: give it without the number 3'):
        masks(path, number=3)
    two = {'images': [{'id': k, 'file_name': f'{k}/0001.png'} for k in (1, 2)]}
    path = written(tmp_path, 'two.json', {**two, 'annotations': entries})
    with pytest.raises(errors.UserError, match='different folders .* 0001.png: .* one video'):
        masks(path)
    path = tmp_path / 'nan.json'
    path.write_text(json.dumps(labelme([shape('cup', 'circle', [[1, 1], [float('nan'), 9]])])))
    with pytest.raises(errors.UserError, match='nan.json .*finite'):
        masks(path)
    coded = '<?xml version="1.0" encoding="klingon"?><annotations/>'
    with pytest.raises(errors.UserError, match='cannot be read as XML of CVAT'):
        masks(written(tmp_path, 'coded.xml', coded))
    entity = '<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>'
    with pytest.raises(errors.UserError, match='cannot be read as XML of CVAT.*EntitiesForbidden'):
        masks(written(tmp_path, 'd.xml', entity))


def test_a_mask_of_labelme_whose_corner_lies_outside_is_refused(tmp_path):
    stored = io.BytesIO()
    Image.fromarray(np.full((4, 4), 255, np.uint8)).save(stored, 'png')
    mask = shape('cup', 'mask', [[-3, 2], [0, 5]])
    mask['mask'] = base64.b64encode(stored.getvalue()).decode()
    path = written(tmp_path, 'a.json', labelme([mask]))
    with pytest.raises(errors.UserError, match='its corner lies outside the picture'):
        masks(path)
