"""Everything on s3://, against a server on loopback that fails, hangs and cuts on request."""

import hashlib
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time

import gin
import made_davis
from made_folders import make_folder
import made_shards
import made_videos
import numpy as np
import pytest
import s3_server
import tensorflow as tf
import tiny_learners

from stfc3_tf import errors
from stfc3_tf.clips import opening, video
from stfc3_tf.commands import configuration
from stfc3_tf.serving import saved_model
from stfc3_tf.storage import files, object_store, writing
from stfc3_tf.training import checkpoints
from stfc3_tf.training.run_folder import RunFolder

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec('tensorflow_io') is None, reason='needs tensorflow-io'
)
ROOT = pathlib.Path(__file__).parents[2]
STORE = f's3://{s3_server.BUCKET}'
SETTINGS = [
    'train.steps = 12',
    'train.batch_size = 2',
    'train.clip_frames = 3',
    'train.checkpoint_interval = 4',
    'train.keep_checkpoints = 2',
    'resnet18.width = 4',
    'resnet18.head_widths = (8, 6)',
    'ViewSampler.view_size = 48',
    'watch.picture_interval = 0',
]


@pytest.fixture(scope='module')
def server():
    with s3_server.running() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        object_store.register(STORE)
        yield server


@pytest.fixture(autouse=True)
def healthy(server):
    yield
    server.fail('', 0)


def start(*arguments, **environment):
    """Start a command of this checkout, as a user would."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2', 'CUDA_VISIBLE_DEVICES': '', **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(process):
    """Wait for a process; return its status and its output."""
    said, _ = process.communicate(timeout=300)
    return process.returncode, said


def run(*arguments):
    status, said = end(start(*arguments))
    assert status == 0, said
    return said


def kill_when_hanging(server, process):
    """Kill a command that waits for a request which the server does not answer."""
    while not server.met():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    process.kill()
    process.communicate()
    server.fail('', 0)


def training(model_dir, data):
    settings = [f'--gin_bindings={setting}' for setting in SETTINGS]
    given = '--gin_file=gin/stfc3.gin', f'--model_dir={model_dir}', f'--data={data}'
    return '-m', 'stfc3_tf.train', *given, *settings


def features(folder):
    frames = np.random.default_rng(0).integers(0, 256, [1, 64, 64, 3], np.uint8)
    return saved_model.load(folder).features(frames)


@pytest.mark.slow
def test_from_videos_to_results(server, tmp_path):
    (tmp_path / 'videos').mkdir()
    for number in range(4):
        # Each video begins with another picture, and 24 frames per second make a clip of 8.
        frames = [made_videos.picture(17 * number + k) for k in range(24)]
        name = str(tmp_path / 'videos' / f'{number}.mp4')
        made_videos.write(name, np.arange(24) / 24, lambda k, frames=frames: frames[k])
    server.upload(tmp_path / 'videos', 'videos')

    prepare = '-m', 'tools.prepare_clips', '--workers=2', '--frame_rate=0'
    run(*prepare, f'--input={STORE}/videos', f'--output={STORE}/shards')
    index = json.loads(server.get('shards/index.json'))
    assert index['videos_whole'] == 4 and index['frames'] == 4 * 24
    kept = [key for key in server.keys('shards/') if '.tfrecord' in key]
    assert sorted(kept) == sorted(f'shards/{shard["name"]}' for shard in index['shards'])
    for key in kept:
        (tmp_path / pathlib.Path(key).name).write_bytes(server.get(key))

    # An unbroken run on this machine's disk, to compare with.
    local = start(*training(tmp_path / 'run', tmp_path / '*.tfrecord'))
    server.fail('hang', 1, r'PUT .*/run/checkpoints/last/step-8.*data')
    kill_when_hanging(server, start(*training(f'{STORE}/run', f'{STORE}/shards')))
    assert 'run/checkpoints/last/step-4.index' in server.keys('run/')
    assert 'run/checkpoints/last/step-8.index' not in server.keys('run/')
    assert b'step-4"' in server.get('run/checkpoints/last/checkpoint')
    assert 'from step 4 to 12' in run(*training(f'{STORE}/run', f'{STORE}/shards'))
    assert end(local)[0] == 0
    expected = features(str(tmp_path / 'run' / 'saved_model'))
    np.testing.assert_allclose(features(f'{STORE}/run/saved_model'), expected, atol=1e-4)
    # `keep_checkpoints` is obeyed.
    found = [key for key in server.keys('run/checkpoints/last/step') if key.endswith('.index')]
    assert [pathlib.Path(key).stem for key in sorted(found)] == ['step-12', 'step-8']
    steps = []
    for number, key in enumerate(server.keys('run/tensorboard')):
        (tmp_path / f'log{number}').write_bytes(server.get(key))
        events = tf.compat.v1.train.summary_iterator(str(tmp_path / f'log{number}'))
        steps += [event.step for event in events]
    assert max(steps) == 12

    # The export that training made is replaced.
    model = f'{STORE}/run/saved_model'
    export = '-m', 'tools.export', f'--model_dir={STORE}/run', f'--output_dir={model}'
    server.fail('hang', 1, 'PUT .*/saved_model/variables')
    kill_when_hanging(server, start(*export))
    assert server.keys('run/saved_model/')
    with pytest.raises(errors.UserError, match='holds no SavedModel'):
        saved_model.load(model)
    run(*export)
    np.testing.assert_allclose(features(model), expected, atol=1e-4)
    assert not server.keys('run/saved_model.')

    made_davis.make_davis(tmp_path / 'davis')
    server.upload(tmp_path / 'davis', 'davis')
    evaluate = '-m', 'tools.evaluate', '--task=davis', f'--saved_model={model}'
    here = start(*evaluate, f'--data_dir={tmp_path}/davis', f'--output_dir={tmp_path}/out')
    run(*evaluate, f'--data_dir={STORE}/davis', f'--output_dir={STORE}/out')
    assert end(here)[0] == 0
    results = json.loads(server.get('out/results.json'))
    assert results['metrics'] == json.loads((tmp_path / 'out/results.json').read_text())['metrics']
    for number in range(4):
        name = f'predictions/ball/{number:05d}.png'
        assert server.get(f'out/{name}') == (tmp_path / 'out' / name).read_bytes()


LEAVING = """
import sys
from absl import flags
from stfc3_tf import errors
from stfc3_tf.commands import command
import tensorflow as tf
PATH = flags.DEFINE_string('path', None, '')
HOW = flags.DEFINE_string('how', None, '')
def main(_):
    tf.io.write_file(PATH.value, 'written')
    print(tf.io.gfile.GFile(PATH.value).read())
    if HOW.value == 'exception':
        raise ValueError('not foreseen')
    if HOW.value == 'error':
        raise errors.UserError('can be corrected')
    return int(HOW.value)
command.run(main)
"""


@pytest.mark.slow
def test_the_status_of_a_command_is_its_own(server):
    expected = {'0': (0, ''), '143': (143, ''), 'error': (1, 'error: can be corrected')}
    expected['exception'] = (1, 'ValueError: not foreseen')
    started = {
        how: start('-c', LEAVING, f'--path={STORE}/leaving/{how}', f'--how={how}')
        for how in expected
    }
    for how, (status, message) in expected.items():
        found, said = end(started[how])
        assert found == status and 'written' in said and message in said, said
        assert ('Traceback' in said) == (how == 'exception')


def test_a_store_that_is_not_there_is_named(server):
    endpoint = 'http://127.0.0.1:9'
    arguments = '-c', LEAVING, f'--path={STORE}/x', '--how=0'
    status, said = end(start(*arguments, S3_ENDPOINT=endpoint, AWS_MAX_ATTEMPTS='2'))
    assert status == 1 and 'Traceback' not in said
    assert f'error: {STORE}/x: its store at S3_ENDPOINT={endpoint} does not answer' in said


def test_a_setting_that_names_a_bucket_is_looked_at_before_work(server):
    with pytest.raises(errors.UserError, match='s3://no-such-bucket/davis: there is no bucket'):
        configuration.parse_text("badja = 's3://no-such-bucket/davis'", 'here')


def test_a_bucket_in_a_comment_is_not_asked(server):
    comment = "'s3://no-such-bucket/davis'"
    configuration.parse_text(f'# badja = {comment}\nCOUNT = 3  # {comment}\n', 'here')
    assert gin.query_parameter('%COUNT') == 3


@pytest.fixture
def clip(server, tmp_path):
    """Make a shard with one record of 5 frames in the store."""
    frames = [made_videos.picture(number) for number in range(5)]
    record = made_shards.record(frames, [0.0, 0.1, 0.2, 0.3, 0.4], 'here', quality=100)
    path = f'{STORE}/{tmp_path.name}/clips.tfrecord'
    made_shards.write(path, [record])
    assert server.keys(tmp_path.name) == [f'{tmp_path.name}/clips.tfrecord']
    return opening.open_source(f'{STORE}/{tmp_path.name}')


@pytest.mark.parametrize('fault', ['503', '500', 'reset', 'cut'])
def test_a_read_survives_a_passing_fault(server, clip, fault):
    server.fail(fault, 1, 'GET .*tfrecord')
    assert made_videos.numbers(clip.read(0, 0.0, 5, 10.0)) == [0, 1, 2, 3, 4]
    assert server.met() == 1
    server.fail(fault if fault != 'cut' else '503', 1, 'PUT')
    writing.write_text(f'{STORE}/passing', fault)
    assert server.met() == 1
    assert server.get('passing') == fault.encode()


@pytest.mark.parametrize('fault', ['503', 'reset'])
def test_lasting_faults_are_errors_that_name_the_path(server, clip, fault):
    writing.write_text(f'{STORE}/lasting', 'old')
    operations = {
        'tfrecord': lambda: clip.read(0, 0.0, 5, 10.0),
        'lasting': lambda: writing.write_text(f'{STORE}/lasting', 'new'),
        'list.txt': lambda: files.read_bytes(f'{STORE}/list.txt'),
        'model': lambda: saved_model.load(f'{STORE}/model'),
        'video.mp4': lambda: next(video.frames_of_video(f'{STORE}/video.mp4')),
    }
    server.fail(fault)
    for name, operation in operations.items():
        # In particular a video is not skipped as unreadable, and no file is called missing.
        with pytest.raises(errors.UserError, match=f'{name}.* does not answer'):
            operation()
    server.fail('', 0)
    assert server.get('lasting') == b'old'


def test_what_is_missing_is_missing_and_asked_for_once(server):
    server.fail('404', 100, 'GET .*/absent')
    with pytest.raises(errors.UserError, match='absent is missing'):
        files.read_bytes(f'{STORE}/absent')
    assert server.met() <= 1


def test_files_can_be_read_to_their_end_and_beyond(server):
    # Asking for more where a file ends is what crashes; half a megabyte is TensorFlow's own step.
    for size in (0, 10, 1 << 19, (1 << 19) + 1):
        contents = np.random.default_rng(size).bytes(size)
        server.put('end', contents)
        assert object_store.read(f'{STORE}/end') == contents
        with object_store.File(f'{STORE}/end') as file:
            assert file.read() == contents and file.read(5) == b''
            assert file.seek(-(size // 3), 2) == size - size // 3
            assert file.read() == contents[size - size // 3 :]
            assert file.seek(size // 3) == size // 3 and file.read(7) == contents[size // 3 :][:7]
        if size:
            assert files.digest(f'{STORE}/end') == hashlib.sha256(contents).digest()


@pytest.mark.slow
def test_checkpoints_are_neither_lost_nor_overlooked(server):
    learner = tiny_learners.tiny_learner()
    folder = f'{STORE}/checkpoints-of-a-run'
    keeper = checkpoints.Checkpoints(learner, RunFolder(folder), keep=2)
    for step in (1, 2, 3):
        learner.counters['step'].assign(step)
        keeper.save()
    indices = [key for key in server.keys('checkpoints-of-a-run') if key.endswith('.index')]
    assert [key.rpartition('/')[2] for key in indices] == ['step-2.index', 'step-3.index']
    # The newest is cut short, and the store fails for a moment.
    name = 'checkpoints-of-a-run/checkpoints/last/step-3.data-00000-of-00001'
    server.put(name, server.get(name)[:1000])
    server.fail('503', 1, 'GET .*step-2.data')
    again = checkpoints.Checkpoints(tiny_learners.tiny_learner(), RunFolder(folder), keep=2)
    assert again.restore() == 2 and server.met() == 1
    # A store that does not answer is not empty: a run must not begin at step 0.
    server.fail('503')
    with pytest.raises(errors.UserError, match='checkpoints-of-a-run.* does not answer'):
        checkpoints.Checkpoints(tiny_learners.tiny_learner(), RunFolder(folder), keep=2).restore()
    with pytest.raises(errors.UserError, match='checkpoints-of-a-run.* does not answer'):
        again.save()


def test_a_folder_replaces_an_older_one_and_touches_no_neighbour(server):
    # On the store a folder is only a common beginning of names, as of all these.
    neighbours = ['set/walk2/a', 'set/walk.old', 'set/walk-b/a']
    for name in neighbours:
        server.put(name, b'neighbour')
    writing.write_whole(f'{STORE}/set/walk', make_folder('a', 'part/b'))
    assert server.keys('set/') == sorted([*neighbours, 'set/walk/a', 'set/walk/part/b'])
    writing.write_whole(f'{STORE}/set/walk', make_folder('part/b', 'c'))
    assert server.keys('set/') == sorted([*neighbours, 'set/walk/c', 'set/walk/part/b'])
    assert server.get('set/walk/part/b') == b'part/b'
    assert {server.get(name) for name in neighbours} == {b'neighbour'}
    writing.remove(f'{STORE}/set/walk')
    assert server.keys('set/') == sorted(neighbours)


def test_a_file_is_written_whole_in_one_request(server):
    server.fail('', 0)
    writing.write_whole(f'{STORE}/whole/file', lambda path: writing.write_text(path, 'contents'))
    writing.write_bytes(f'{STORE}/whole/empty', b'')
    assert server.keys('whole/') == ['whole/empty', 'whole/file']
    assert server.get('whole/file') == b'contents' and server.get('whole/empty') == b''


def test_a_folder_that_could_not_be_made_leaves_the_older_one(server):
    writing.write_whole(f'{STORE}/kept', make_folder('a'))

    def fail(partial):
        make_folder('b')(partial)
        raise OSError('disk full')

    with pytest.raises(OSError, match='disk full'):
        writing.write_whole(f'{STORE}/kept', fail)
    assert server.keys('kept') == ['kept/a']


def test_a_folder_that_was_sent_in_part_says_so(server):
    path = f'{STORE}/parts'
    writing.write_whole(path, make_folder('a', 'decisive', 'z'), decisive='decisive')
    server.fail('503', 1000, 'PUT .*parts/z')
    with pytest.raises(errors.UserError, match='parts/z.* does not answer'):
        writing.write_whole(path, make_folder('a', 'decisive', 'z'), decisive='decisive')
    server.fail('', 0)
    assert server.keys('parts/') == ['parts/a'] and writing.is_unfinished(path)
    writing.write_whole(path, make_folder('decisive'), decisive='decisive')
    assert server.keys('parts') == ['parts/decisive'] and not writing.is_unfinished(path)


@pytest.mark.parametrize(
    'endpoint',
    [
        'https://user:secret@store:9000',
        'user:secret@store:9000',
        'https://us/er:sec@ret@store:9000/?X-Amz-Signature=secret',
        'store:9000/#secret',
    ],
)
def test_no_message_shows_the_credentials_of_an_endpoint(monkeypatch, endpoint):
    monkeypatch.setenv('S3_ENDPOINT', endpoint)
    with (
        pytest.raises(errors.UserError, match='store:9000') as caught,
        object_store.reporting('s3://b/x'),
    ):
        raise tf.errors.UnavailableError(
            None, None, 'GET https://user:secret@store:9000/b/x failed'
        )
    assert 'secret' not in str(caught.value) and 'ret@' not in str(caught.value)
