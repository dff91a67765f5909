"""Damaged files of every format: each is one line that names the file, or is read.

The damages are drawn with a fixed seed, so that every run tries the same ones. A format with a
checksum, or a reader that skips what it cannot use, may give a result; what is never allowed is
another exception, more than one line, or a message without the name of the file.
"""

import contextlib
import functools
import io
import json
import pathlib
import pickle
import pickletools
import tempfile
import zipfile

import cv2
import damages
import gin
import h5py
import made_shards
import numpy as np
import pandas
from PIL import Image
import pytest
import safetensors.numpy
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.annotation.marks import inputs, mask_file, other_tools
from stfc3_tf.benchmarks import badja, davis, jhmdb, records, tapvid, vw300
from stfc3_tf.clips import opening
from stfc3_tf.cluster import environment
from stfc3_tf.commands import configuration, received_config
from stfc3_tf.figures import benchmark_labels, events, results
from stfc3_tf.model import torch_files
from stfc3_tf.preparation import index, listing, plan, task
from stfc3_tf.storage import files, images, palette, state
from stfc3_tf.training import resume_check, run_folder
from stfc3_tf.training import run as _run  # noqa: F401  registers what a run names

# Of each format, and the processor time that they may take together.
EXAMPLES, MOST_SECONDS = 100, 15
RNG = np.random.default_rng(0)


# Files as they should be: name -> contents.


def as_json(value):
    return json.dumps(value, indent=1).encode()


def picture(ending):
    image = RNG.integers(0, 256, (16, 24, 3), np.uint8)
    return cv2.imencode(ending, image)[1].tobytes()


def mask():
    """Two objects as the DAVIS benchmark numbers them."""
    file = io.BytesIO()
    numbers = np.zeros((16, 24), np.uint8)
    numbers[2:9, 3:12], numbers[8:15, 14:22] = 1, 2
    image = Image.fromarray(numbers, mode='P')
    image.putpalette(palette.DAVIS.tobytes())
    image.save(file, format='PNG')
    return file.getvalue()


def mat():
    import scipy.io

    file = io.BytesIO()
    scipy.io.savemat(file, {'pos_img': RNG.uniform(0, 20, (2, 15, 4))}, do_compression=True)
    return file.getvalue()


def checkpoint():
    """Return a PyTorch checkpoint with one tensor, opcode by opcode."""

    def text(value):
        return b'X' + len(value).to_bytes(4, 'little') + value.encode()

    storage = (
        b'(' + text('storage') + b'ctorch\nFloatStorage\n' + text('0') + text('cpu') + b'K\x06tQ'
    )
    tensor = (
        b'ctorch._utils\n_rebuild_tensor_v2\n(' + storage + b'K\x00K\x02K\x03\x86K\x03K\x01\x86'
    )
    tensor += b'\x89ccollections\nOrderedDict\n)RtR'
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('m/data.pkl', b'\x80\x02}' + text('weight') + tensor + b's.')
        archive.writestr('m/data/0', np.arange(6, dtype='<f4').tobytes())
    return file.getvalue()


def tap_vid():
    video = {
        'video': RNG.integers(0, 256, (3, 8, 8, 3), np.uint8),
        'points': RNG.uniform(size=(2, 3, 2)),
        'occluded': np.zeros((2, 3), bool),
    }
    return pickle.dumps({'goat': video}, 2)


SHAPE = {'label': 'cup', 'points': [[2, 2], [9, 2], [9, 9]], 'shape_type': 'polygon'}
SPOT = {'label': 'head', 'points': [[3.5, 4.5]], 'shape_type': 'point'}
LABELME = {'shapes': [SHAPE, SPOT], 'imagePath': '3.png', 'imageHeight': 16, 'imageWidth': 24}
PART = {'image_id': 1, 'category_id': 2, 'segmentation': [[2, 2, 9, 2, 9, 9]]}
RUNS = {'image_id': 2, 'category_id': 2, 'track_id': 1}
RUNS['segmentation'] = {'size': [16, 24], 'counts': 'S16:00000000000]7'}
JOINTS = {'image_id': 2, 'category_id': 2, 'keypoints': [3, 4, 2, 10.5, 12, 1]}
COCO = {
    'images': [{'id': n, 'file_name': f'{n}.png', 'height': 16, 'width': 24} for n in (1, 2)],
    'annotations': [PART, RUNS, JOINTS],
    'categories': [{'id': 2, 'name': 'cup', 'keypoints': ['head', 'tail']}],
}
CVAT = b"""<annotations><image id="3" name="3.png" width="24" height="16">
<polygon label="cup" points="2.0,2.0;9.0,2.0;9.0,9.0"/><points label="head" points="3.5,4.5"/>
<mask label="leaf" rle="1, 2, 1, 4" left="10" top="3" width="4" height="2"/></image>
<track id="1" label="hand"><polygon frame="4" outside="0" points="2,2;9,2;9,9"/></track>
</annotations>"""
DEEPLABCUT = b"""scorer,me,me,me,me
bodyparts,head,head,tail,tail
coords,x,y,x,y
img3.png,3,4,10.5,12
img7.png,5,6,,
"""


def deeplabcut_h5(folder):
    table = pandas.read_csv(io.BytesIO(DEEPLABCUT), header=[0, 1, 2], index_col=0)
    table.to_hdf(folder / 'made.h5', key='df_with_missing', mode='w')
    return (folder / 'made.h5').read_bytes()


def sleap_h5(folder):
    with h5py.File(folder / 'made.h5', 'w') as file:
        file['tracks'] = RNG.uniform(0, 16, (1, 2, 2, 3))
        file['node_names'] = np.array([b'head', b'tail'])
        file['track_names'] = np.array([b'one'])
    return (folder / 'made.h5').read_bytes()


def read_other_tool(path):
    """Read both kinds of labels; a file may hold only one of them."""
    frames = other_tools.Frames((16, 24), {}, 0)
    place = pathlib.Path(path)
    with contextlib.suppress(errors.UserError), damages.one_line_about(place, place.parent):
        inputs.read_masks_of_other_tools([(None, path)], frames)
    return inputs.read_point_files([(None, path)], frames)


def shard(folder):
    path = str(folder / 'made.tfrecord')
    frames = RNG.integers(0, 256, (3, 8, 8, 3), np.uint8)
    record = made_shards.record(frames, [0.0, 0.1, 0.2], 'video')
    made_shards.write(path, [record, record])
    return pathlib.Path(path).read_bytes()


def event_file(folder):
    writer = tf.summary.create_file_writer(str(folder / 'events'))
    with writer.as_default():
        for step in range(5):
            tf.summary.scalar('loss', 1 / (step + 1), step)
    writer.close()
    (path,) = (folder / 'events').iterdir()
    return path.read_bytes()


RECORD = {
    'fingerprint': 'abc',
    'name': 'bear',
    'frames': 5,
    'seconds': 1.5,
    'metrics': {'J-Mean': 0.5, 'F-Mean': None},
}
RESULTS = {'task': 'davis', 'metrics': {'J-Mean': 0.5}, 'sequences': {'bear': RECORD}}
SHARD = {'name': 'a.tfrecord', 'sha256': '0' * 64, 'bytes': 90, 'offsets': [0, 40]}
REPORT = {'digest': 'abc', 'shards': [SHARD], 'videos': [{'path': 'v.mp4', 'records': 2}]}
PLAN = {'settings': {'short_side': 24}, 'tasks': [['a.mp4'], ['b.mp4']]}
ENTRY = {
    'image_path': 'DAVIS/JPEGImages/480p/bear/00000.jpg',
    'segmentation_path': 'DAVIS/Annotations/480p/bear/00000.png',
    'joints': [[float(number), 2.0] for number in range(37)],
    'visibility': [True] * 37,
}
POINTS = {'head': [3, 4], 'tail': [10.5, 12]}
GIN = b"train.encoder = @resnet18\nresnet18.width = 4\nresnet18.padding = 'zero'\n"
DATA = {'videos': 7, 'files': 7, 'bytes': 99, 'sha256': '0' * 64}
TF_CONFIG = {
    'cluster': {'worker': ['a:1', 'b:1']},
    'task': {'type': 'worker', 'index': 0},
}
FACE = ('{\n' + '\n'.join(f'{x} {2 * x}' for x in range(1, 69)) + '\n}').encode()


def read_plan(path):
    plan.read_plan.cache_clear()
    return plan.read_plan(str(pathlib.Path(path).parent))


def read_shard(path):
    source = opening.open_source(path)
    return [source.read(video, 0.0, 2, 5.0) for video in range(len(source))]


def read_video_of_tapvid(path):
    return [sequence.check() for sequence in tapvid.TapVid(path).sequences()]


def resume(path):
    """Compare a run with its beginning, by the files that may be damaged."""
    folder = pathlib.Path(path).parent
    whole = {'stream.json': as_json(DATA), 'config.gin': GIN}
    for name in set(whole) - {pathlib.Path(path).name}:
        (folder / name).write_bytes(whole[name])
    resume_check.check(run_folder.RunFolder(str(folder)), GIN.decode(), DATA, step=1)


class Sequence:
    name, output = 'bear', 'bear'


def read_gin(path):
    try:
        configuration.parse_gin([path], [])
    finally:
        with gin.unlock_config():
            gin.clear_config()


def read_record(path):
    folder = pathlib.Path(path).parents[1]
    (folder / 'predictions' / 'bear').mkdir(parents=True, exist_ok=True)
    return records.finished(str(folder), Sequence(), 'abc')


def read_tf_config(path):
    text = pathlib.Path(path).read_bytes().decode('utf-8', 'replace')
    return environment.find_cluster({'TF_CONFIG': text or '{'}, 1)


# Format -> (path in a folder, contents or what makes them, reader, name in messages).
FORMATS = {
    'points.json': (
        'points.json',
        as_json(POINTS),
        lambda p: inputs.read_point_files([(None, p)], other_tools.Frames((24, 32), {}, 0)),
    ),
    'points.csv': (
        'points.csv',
        b'name,x,y\nhead,3,4\ntail,10.5,12\n',
        lambda p: inputs.read_point_files([(None, p)], other_tools.Frames((24, 32), {}, 0)),
    ),
    'labelme': ('labels.json', as_json(LABELME), read_other_tool),
    'coco': ('labels.json', as_json(COCO), read_other_tool),
    'cvat': ('labels.xml', CVAT, read_other_tool),
    'deeplabcut': ('labels.csv', DEEPLABCUT, read_other_tool),
    'deeplabcut h5': ('labels.h5', deeplabcut_h5, read_other_tool),
    'sleap': ('labels.h5', sleap_h5, read_other_tool),
    'mask': ('mask.png', mask(), images.read_index_mask),
    'mask of a person': ('mask.png', mask(), lambda p: mask_file.read(p, (16, 24))),
    'picture': ('frame.jpg', picture('.jpg'), images.read_frame),
    'png': ('frame.png', picture('.png'), images.read_frame),
    'mat': ('joints.mat', mat(), lambda p: files.read_mat(p, 'pos_img', 3)),
    'list': ('val.txt', 'bear\nkühe\n'.encode(), lambda p: files.read_lines(p, 'names')),
    'record': ('sequences/bear.json', as_json(RECORD), read_record),
    'results': ('results.json', as_json(RESULTS), results.read_results),
    'report': (
        'tasks/00000.json',
        as_json(REPORT),
        lambda p: task.read_report(str(pathlib.Path(p).parents[1]), 0),
    ),
    'plan': ('plan.json', as_json(PLAN), read_plan),
    'index': (
        'index.json',
        as_json({'shards': [SHARD]}),
        lambda p: index.verify(str(pathlib.Path(p).parent), 1),
    ),
    'stream': ('stream.json', as_json(DATA), resume),
    'resumed configuration': ('config.gin', GIN, resume),
    'badja': ('bear.json', as_json([ENTRY, ENTRY]), badja.read_entries),
    'badja labels': (
        'bear.json',
        as_json([ENTRY, ENTRY]),
        lambda p: benchmark_labels.read_labels(p, ['0'], (24, 32)),
    ),
    'configuration': (
        'config.gin',
        GIN,
        lambda p: received_config.parse(received_config.read(p), p),
    ),
    'checkpoint': ('model.pth', checkpoint(), torch_files.read_checkpoint),
    'safetensors': (
        'model.safetensors',
        safetensors.numpy.save({'weight': np.arange(6, dtype='<f4').reshape(2, 3)}),
        torch_files.read_checkpoint,
    ),
    'tapvid': ('davis.pkl', tap_vid(), read_video_of_tapvid),
    'clips of a class': (
        'splits/wave_test_split1.txt',
        b'one.avi 2\ntwo.avi 1\n',
        lambda p: jhmdb.JhmdbPose(str(pathlib.Path(p).parents[1])).sequences(),
    ),
    'sequences of DAVIS': (
        'ImageSets/2017/val.txt',
        b'bear\nbreakdance\n',
        lambda p: davis.Davis(str(pathlib.Path(p).parents[2])).sequences(),
    ),
    'list of videos': (
        'videos.csv',
        b'path,label\na.mp4,1\nb.mp4,2\n',
        lambda p: listing.list_videos([p]),
    ),
    'gin file': ('own.gin', GIN, read_gin),
    'landmarks': ('000001.pts', FACE, vw300.read_landmarks),
    'shard': ('a.tfrecord', shard, read_shard),
    'events': (
        'events.out.tfevents.1',
        event_file,
        lambda p: events.read_scalars(str(pathlib.Path(p).parent)),
    ),
    'TF_CONFIG': ('TF_CONFIG', as_json(TF_CONFIG), read_tf_config),
}


@functools.lru_cache
def whole(name):
    """Return the contents of a format's file as it should be."""
    contents = FORMATS[name][1]
    if not callable(contents):
        return contents
    with tempfile.TemporaryDirectory() as folder:
        return contents(pathlib.Path(folder))


@pytest.mark.parametrize('name', FORMATS)
def test_a_damaged_file_is_one_line_that_names_it(name, tmp_path):
    path_in_folder, _, read = FORMATS[name]
    damages.try_damages(tmp_path, path_in_folder, whole(name), read, EXAMPLES, MOST_SECONDS)


@pytest.mark.parametrize('name', FORMATS)
def test_an_undamaged_file_is_read(name, tmp_path):
    path_in_folder, _, read = FORMATS[name]
    if name == 'index':
        pytest.skip('needs shards, too')
    path = tmp_path / path_in_folder
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(whole(name))
    read(str(path))


def test_there_are_enough_damages_and_their_time_is_bounded():
    # Each test above counts its damages and measures its time.
    assert len(FORMATS) * EXAMPLES >= 2000
    assert len(FORMATS) * MOST_SECONDS <= 600


# Damages that random bytes do not find.


def mutated(pickled, rng):
    """Return a pickle whose instructions are left out, repeated, moved or given other bytes."""
    places = [place for _, _, place in pickletools.genops(pickled)] + [len(pickled)]
    steps = [pickled[start:stop] for start, stop in zip(places, places[1:])]
    for _ in range(rng.integers(1, 4)):
        one, other = rng.integers(0, len(steps), 2)
        kind = rng.integers(0, 4)
        if kind == 0:
            del steps[one]
        elif kind == 1:
            steps.insert(one, steps[other])
        elif kind == 2:
            steps[one], steps[other] = steps[other], steps[one]
        else:
            steps[one] = steps[one][:1] + rng.bytes(len(steps[one]) - 1)
        if not steps:
            return b''
    return b''.join(steps)


@pytest.mark.parametrize('name', ['tapvid', 'checkpoint'])
def test_pickles_with_other_instructions_are_refused_or_read(name, tmp_path):
    rng, contents = np.random.default_rng(1), whole(name)
    for number in range(250):
        path = tmp_path / str(number) / FORMATS[name][0]
        path.parent.mkdir()
        if name == 'checkpoint':
            with zipfile.ZipFile(io.BytesIO(contents)) as members:
                parts = {member: members.read(member) for member in members.namelist()}
            parts['m/data.pkl'] = mutated(parts['m/data.pkl'], rng)
            with zipfile.ZipFile(path, 'w') as members:
                for member, part in parts.items():
                    members.writestr(member, part)
        else:
            path.write_bytes(mutated(contents, rng))
        with contextlib.suppress(errors.UserError), damages.one_line_about(path, path.parent):
            FORMATS[name][2](str(path))


@pytest.mark.parametrize(
    'text',
    ['[' * 100_000, '{"a":' * 100_000, '1' * 5000, '{"a": 1e999}', '{"a": 99999999999999999999}'],
)
def test_deep_and_huge_json_is_refused(text):
    with pytest.raises(errors.UserError, match='here.json') as caught:
        state.parse_json(text, dict, 'here.json', 'Get it again.')
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    'name, old, new',
    [
        ('coco', b'"1.png"', b'"%s.png"' % (b'9' * 5000)),
        ('coco', b'[2, 2, 9', b'[1e300, -1e300, 9'),
        ('coco', b'[16, 24]', b'[1000000, 1000000]'),
        ('deeplabcut', b'img3', b'img%s' % (b'9' * 5000)),
        ('cvat', b'id="3"', b'id="%s"' % (b'9' * 5000)),
        ('cvat', b'width="4"', b'width="1000000"'),
        ('points.json', b'10.5', b'1e999'),
        ('points.csv', b'10.5', b'9' * 5000),
        ('landmarks', b'1 2\n', b'%s 2\n' % (b'9' * 5000)),
        ('gin file', b'= 4', b'= %s' % (b'9' * 5000)),
    ],
)
def test_huge_numbers_in_files_are_one_line_or_read(name, old, new, tmp_path):
    path_in_folder, _, read = FORMATS[name]
    contents = whole(name)
    if name == 'coco':
        contents = json.dumps(json.loads(contents)).encode()  # On one line.
    assert old in contents
    path = tmp_path / path_in_folder
    path.write_bytes(contents.replace(old, new))
    with contextlib.suppress(errors.UserError), damages.one_line_about(path, tmp_path):
        read(str(path))


@pytest.mark.slow
def test_a_mat_file_that_unpacks_to_gigabytes_is_refused(tmp_path):
    import scipy.io

    file = io.BytesIO()
    scipy.io.savemat(file, {'part_mask': np.zeros((3000, 3000, 70), np.uint8)}, do_compression=True)
    assert len(file.getvalue()) < 1e6
    (tmp_path / 'puppet_mask.mat').write_bytes(file.getvalue())
    with pytest.raises(errors.UserError, match='puppet_mask.mat.*would unpack to 63'):
        files.read_mat(str(tmp_path / 'puppet_mask.mat'), 'part_mask', 3)


def test_an_image_of_more_pixels_than_any_frame_is_refused(tmp_path):
    image = Image.new('L', (20_000, 10_000))
    image.save(tmp_path / 'large.png')
    for read in (images.read_index_mask, images.read_frame):
        with pytest.raises(errors.UserError, match='large.png.*DecompressionBomb') as caught:
            read(str(tmp_path / 'large.png'))
        assert '\n' not in str(caught.value)
