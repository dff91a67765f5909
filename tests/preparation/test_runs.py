"""Whole runs: lists, shards, index; the same bytes for any number of workers and restarts."""

import csv
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import types

import made_videos
import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf import clips, errors
from stfc3_tf.preparation import index, listing, plan, run
from stfc3_tf.preparation.settings import Settings
from stfc3_tf.speed import preparation as preparation_speed

ROOT = pathlib.Path(__file__).parents[2]
SMALL = Settings(short_side=24, videos_per_task=3, segment_seconds=2.0)


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    """Seven videos of 1 to 4 seconds, two of them unreadable, one damaged."""
    folder = tmp_path_factory.mktemp('videos')
    for number in range(5):
        made_videos.write(folder / f'{number}.mp4', np.arange(10 + 8 * number) / 10)
    made_videos.write(folder / 'w.mkv', np.arange(80) / 10, made_videos.noisy_picture)
    content = (folder / 'w.mkv').read_bytes()
    (folder / 'w.mkv').unlink()
    (folder / 'damaged.mkv').write_bytes(content[: len(content) // 2])
    (folder / 'empty.mp4').write_bytes(b'')
    made_videos.write_sound(folder / 'sound.mp4')
    return folder


@pytest.fixture(scope='module')
def unbroken(videos, tmp_path_factory):
    """Run in this process; return what it wrote."""
    output = tmp_path_factory.mktemp('unbroken') / 'shards'
    run.prepare([str(videos)], str(output), SMALL)
    return output


def contents(folder):
    """Return name -> bytes of all files below a folder."""
    files = (path for path in pathlib.Path(folder).rglob('*') if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_what_the_index_says_is_so(videos, unbroken):
    said = json.loads((unbroken / 'index.json').read_text())
    assert (said['videos'], said['videos_whole'], said['videos_used_in_part']) == (8, 5, 1)
    assert said['videos_skipped'] == 2 and said['settings']['short_side'] == 24
    assert set(said['skipped']) == {str(videos / 'empty.mp4'), str(videos / 'sound.mp4')}
    assert said['skipped'][str(videos / 'sound.mp4')] == 'has no video stream'
    assert 'its header says' in said['used_in_part'][str(videos / 'damaged.mkv')]

    shards = sorted(unbroken.glob('*.tfrecord'))
    assert [shard['name'] for shard in said['shards']] == [path.name for path in shards]
    records = [list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()) for path in shards]
    for shard, path, held in zip(said['shards'], shards, records):
        assert shard['sha256'] == hashlib.sha256(path.read_bytes()).hexdigest()
        # Each record lies between 12 bytes of header and 4 of checksum.
        ends = np.cumsum([len(record) + 16 for record in held]).tolist()
        assert shard['offsets'] == [0, *ends[:-1]] and shard['bytes'] == ends[-1]
        assert shard['bytes'] == path.stat().st_size
    assert said['bytes'] == sum(path.stat().st_size for path in shards)
    examples = [tf.train.SequenceExample.FromString(r) for held in records for r in held]
    frames = [len(e.feature_lists.feature_list['image/encoded'].feature) for e in examples]
    assert said['records'] == len(examples) and said['frames'] == sum(frames)
    spans = [
        _context(e, 'clip/end/timestamp') - _context(e, 'clip/start/timestamp') for e in examples
    ]
    assert max(spans) <= 2_000_000 and said['seconds'] == pytest.approx(sum(spans) / 1e6, abs=0.001)


def _context(example, name):
    return example.context.feature[name].int64_list.value[0]


def test_the_table_says_where_each_video_is(videos, unbroken):
    with open(unbroken / 'videos.csv', newline='') as file:
        table = {pathlib.Path(row['path']).name: row for row in csv.DictReader(file)}
    assert len(table) == 8
    for number in range(5):
        row = table[f'{number}.mp4']
        shard = unbroken / row['shard']
        records = list(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator())
        first = int(row['record'])
        held = records[first : first + int(row['records'])]
        stamps = []
        for record in held:
            example = tf.train.SequenceExample.FromString(record)
            path = example.context.feature['clip/data_path'].bytes_list.value[0].decode()
            assert path == str(videos / f'{number}.mp4')
            lists = example.feature_lists.feature_list
            stamps += [f.int64_list.value[0] for f in lists['image/timestamp'].feature]
        # 10 frames per second to 8, of 1, 1.8, 2.6, 3.4 and 4.2 seconds.
        assert len(stamps) == int(row['frames']) == 1 + int((9 + 8 * number) / 10 * 8 + 0.01)
        assert stamps == sorted(set(stamps)) and stamps[0] == 0
        assert stamps[-1] == pytest.approx((9 + 8 * number) * 1e5, abs=1.3e5)
        assert row['problem'] == ''
    assert table['empty.mp4']['records'] == '0' and table['empty.mp4']['problem']


def test_checksums_are_those_that_sha256sum_reads(unbroken):
    if os.path.exists('/usr/bin/sha256sum'):
        subprocess.run(['sha256sum', '-c', '--quiet', 'SHA256SUMS'], cwd=unbroken, check=True)
    lines = (unbroken / 'SHA256SUMS').read_text().splitlines()
    assert len(lines) == len(list(unbroken.glob('*.tfrecord')))
    for line in lines:
        digest, name = line.split('  ')
        assert hashlib.sha256((unbroken / name).read_bytes()).hexdigest() == digest


def test_training_reads_what_was_prepared(unbroken):
    source = clips.open_source(str(unbroken))
    records = [
        tf.train.SequenceExample.FromString(record)
        for path in sorted(unbroken.glob('*.tfrecord'))
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]
    assert len(source) == len(records) > 8
    for video, example in enumerate(records):
        first = _context(example, 'clip/start/timestamp') / 1e6
        last = _context(example, 'clip/end/timestamp') / 1e6
        clip = source.read(video, 0.5, 4, 8.0)
        wanted = first + 0.5 * (last - first - 3 / 8) + np.arange(4) / 8
        # Frame n is shown at n / 10 s; at eight per second, two in ten are left out.
        shown = np.array(made_videos.numbers(clip)) / 10
        assert clip.shape == (4, 24, 32, 3) and np.abs(shown - wanted).max() <= 0.1001


def test_the_index_saves_looking_through_the_shards(unbroken, tmp_path):
    for name, content in contents(unbroken).items():
        if '/' not in name:
            (tmp_path / name).write_bytes(content)
    whole = clips.open_source(str(unbroken))
    shard = min(tmp_path.glob('*.tfrecord'))
    intact = shard.read_bytes()
    # Without its first header, a shard that is looked through is one unreadable record.
    shard.write_bytes(bytes(12) + intact[12:])
    source = clips.open_source(str(tmp_path))
    assert len(source) == len(whole)
    np.testing.assert_array_equal(source.read(1, 0.2, 2, 8.0), whole.read(1, 0.2, 2, 8.0))
    with pytest.raises(clips.UnreadableVideo, match='record 0'):
        source.read(0, 0.2, 2, 8.0)
    # Of another size, or beside another's index, it is looked through.
    shard.write_bytes(intact + intact)
    records = len(list(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator()))
    assert len(clips.open_source(str(tmp_path))) == len(whole) + records // 2
    shard.write_bytes(intact)
    (tmp_path / 'index.json').write_text('{"shards": [{"name": 1}]}')
    assert len(clips.open_source(str(tmp_path))) == len(whole)


@pytest.mark.slow
@pytest.mark.parametrize('engine', [{'workers': 2}, {'runner': 'DirectRunner'}])
def test_other_engines_make_the_same_bytes(videos, unbroken, tmp_path, engine):
    if 'runner' in engine:
        pytest.importorskip('apache_beam')
    run.prepare([str(videos)], str(tmp_path / 'shards'), SMALL, **engine)
    assert contents(tmp_path / 'shards') == contents(unbroken)


def test_videos_are_mixed_by_the_seed():
    paths = [f'{number:03d}.mp4' for number in range(200)]
    made = plan.make_plan(paths, Settings())
    assert made == plan.make_plan(paths, Settings())
    assert made.videos == paths and [len(task) for task in made.tasks] == [12] * 16 + [8]
    other = plan.make_plan(paths, Settings(seed=1))
    assert other.videos == paths and other.tasks[0] != made.tasks[0]
    # Neighbours in the list are not neighbours in the shards.
    order = [int(path[:3]) for task in made.tasks for path in task]
    assert np.mean(np.abs(np.diff(order)) <= 2) < 0.1
    assert [len(t) for t in plan.make_plan(paths * 10, Settings()).tasks] == [64] * 31 + [16]
    assert len(plan.make_plan(paths[:5], Settings()).tasks) == 5


def test_a_shard_ends_when_it_is_large_enough(videos, tmp_path):
    settings = Settings(short_side=0, videos_per_task=8, segment_seconds=1.0, shard_megabytes=0.02)
    said = run.prepare([str(videos)], str(tmp_path), settings)
    assert len(said['shards']) > 3 and len(list((tmp_path / 'tasks').iterdir())) == 1
    for shard in said['shards'][:-1]:
        path = tmp_path / shard['name']
        last = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())[-1]
        assert shard['bytes'] >= 20_000 > shard['bytes'] - len(last) - 16


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on(videos, unbroken, tmp_path):
    """A named pipe in place of a video makes the run wait in the middle of a shard."""
    folder, output = tmp_path / 'videos', tmp_path / 'shards'
    folder.mkdir()
    for path in videos.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    readable = [str(folder / path.name) for path in sorted(videos.iterdir())]
    held_up = plan.make_plan(readable, SMALL).tasks[1][-1]
    whole = pathlib.Path(held_up).read_bytes()
    os.unlink(held_up)
    os.mkfifo(held_up)

    process = _command(f'--input={folder}', f'--output={output}', '--workers=2')
    report, part = output / 'tasks' / '00000.json', '.clips-00001-of-00003-000.tfrecord.incomplete'
    _wait_until(lambda: report.exists() and (output / part).exists(), process)
    workers = _children(process.pid)
    assert len(workers) >= 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _wait_until(lambda: not any(os.path.exists(f'/proc/{pid}') for pid in workers))

    assert not (output / 'index.json').exists()
    assert not (output / 'tasks' / '00001.json').exists()
    finished = {path.name for path in output.glob('*.tfrecord')}
    assert not any(name.startswith('clips-00001') for name in finished)
    assert len(clips.open_source(str(output))) > 0  # Unfinished files are not compared.
    first = output / 'clips-00000-of-00003-000.tfrecord'
    made_at = first.stat().st_mtime_ns

    os.unlink(held_up)
    pathlib.Path(held_up).write_bytes(whole)
    assert _command(f'--input={folder}', f'--output={output}', '--workers=1').wait() == 0
    assert first.stat().st_mtime_ns == made_at
    other = tmp_path / 'other'
    run.prepare([str(folder)], str(other), SMALL)
    assert contents(output) == contents(other)
    assert [p.read_bytes() for p in sorted(output.glob('*.tfrecord'))] != []


def _command(*arguments):
    settings = ('--short_side=24', '--videos_per_task=3', '--segment_seconds=2')
    return subprocess.Popen(
        [sys.executable, '-m', 'tools.prepare_clips', *settings, *arguments],
        cwd=ROOT,
        env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2'},
        stdout=subprocess.DEVNULL,
    )


def _wait_until(reached, process=None, seconds=120):
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end and (process is None or process.poll() is None)
        time.sleep(0.05)


def _children(pid):
    return [int(c) for c in pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]


def test_a_damaged_shard_is_found_and_written_again(videos, unbroken, tmp_path, capsys):
    output = tmp_path / 'shards'
    run.prepare([str(videos)], str(output), SMALL)
    good = contents(output)
    names = sorted(path.name for path in output.glob('*.tfrecord'))
    assert index.verify(str(output), 2) == (len(names), [])
    damaged, missing = output / names[0], output / names[1]
    flipped = bytearray(damaged.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    damaged.write_bytes(flipped)
    missing.unlink()
    _, problems = index.verify(str(output), 2)
    assert len(problems) == 2 and names[0] in problems[0] and names[1] in problems[1]
    times = {name: (output / name).stat().st_mtime_ns for name in names[2:]}
    run.prepare([str(videos)], str(output), SMALL)
    assert contents(output) == good
    assert times == {name: (output / name).stat().st_mtime_ns for name in names[2:]}


@pytest.mark.slow
def test_the_command_verifies_what_it_wrote(unbroken, tmp_path):
    shutil.copytree(unbroken, tmp_path / 'shards')
    count = len(list(unbroken.glob('*.tfrecord')))
    status, said = _verified(tmp_path / 'shards')
    assert (status, said) == (0, f'{count} of {count} shards are as they were written.\n')
    damaged = min((tmp_path / 'shards').glob('*.tfrecord'))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    status, said = _verified(tmp_path / 'shards')
    assert status == 1 and damaged.name in said.splitlines()[0]
    assert f'{count - 1} of {count} shards' in said and 'Run the command that made them' in said
    status, said = _verified(tmp_path / 'shards', '--short_side=24')
    assert status == 1 and '--short_side' in said and 'Traceback' not in said


def _verified(output, *more):
    done = subprocess.run(
        [sys.executable, '-m', 'tools.prepare_clips', '--verify', f'--output={output}', *more],
        cwd=ROOT,
        env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2'},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout


def test_other_settings_or_videos_are_refused(videos, unbroken, tmp_path):
    before = contents(unbroken)
    changed = Settings(short_side=32, videos_per_task=3, segment_seconds=2.0)
    with pytest.raises(errors.UserError, match='short_side=24, not 32.*another --output'):
        run.prepare([str(videos)], str(unbroken), changed)
    with pytest.raises(errors.UserError, match=r'8 videos, not 5 \(.*damaged.mkv is in only one'):
        run.prepare([f'{videos}/[0-9].mp4'], str(unbroken), SMALL)
    (tmp_path / 'plan.json').write_text('{"settings": {"long_side": 3}, "tasks": []}')
    with pytest.raises(errors.UserError, match='plan.json is not a plan of this version'):
        run.prepare([str(videos)], str(tmp_path), SMALL)
    assert contents(unbroken) == before


def test_a_task_that_needs_fewer_shards_when_it_is_done_again_leaves_no_old_ones(videos, tmp_path):
    own, output = tmp_path / 'videos', tmp_path / 'shards'
    own.mkdir()
    for name in ('3.mp4', '4.mp4'):
        (own / name).write_bytes((videos / name).read_bytes())
    small = Settings(short_side=24, segment_seconds=1.0, shard_megabytes=1e-6, videos_per_task=2)
    before = run.prepare([str(own)], str(output), small)
    (own / '4.mp4').write_bytes(b'no video')
    (output / before['shards'][0]['name']).unlink()
    said = run.prepare([str(own)], str(output), small)
    there = sorted(path.name for path in output.glob('*.tfrecord'))
    assert there == [shard['name'] for shard in said['shards']]
    assert len(there) < len(before['shards'])
    assert len(clips.open_source(str(output))) == said['records']


def test_an_output_folder_that_is_used_again_follows_its_new_plan(videos, tmp_path):
    output = tmp_path / 'shards'
    one = f'{videos}/1.mp4'
    run.prepare([one], str(output), SMALL)
    tf.io.gfile.rmtree(str(output))
    said = run.prepare([one], str(output), Settings(short_side=16))
    record = next(iter(tf.data.TFRecordDataset(str(output / said['shards'][0]['name']))))
    example = tf.train.SequenceExample.FromString(record.numpy())
    assert _context(example, 'image/height') == 16


def test_nothing_readable_is_an_error(tmp_path):
    (tmp_path / 'a.mp4').write_bytes(b'')
    (tmp_path / 'b.mp4').write_bytes(b'no video')
    with pytest.raises(errors.UserError, match='None of 2 videos could be read') as caught:
        run.prepare([str(tmp_path)], str(tmp_path / 'shards'), SMALL)
    assert 'a.mp4: Invalid data' in str(caught.value)
    said = json.loads((tmp_path / 'shards' / 'index.json').read_text())
    assert said['videos_skipped'] == 2 and said['records'] == 0


def test_lists_of_videos(tmp_path, caplog):
    for name in ('b.mp4', 'a.avi', 'deep/c.webm', 'deep/.hidden.mp4', 'deep/notes.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'')
    for folder in ('p', 'q'):
        (tmp_path / 'pictures' / folder).mkdir(parents=True)
        (tmp_path / 'pictures' / folder / '0.jpg').write_bytes(b'')
    lists = {
        'headed.csv': 'label,path\n3,b.mp4\n1,"deep/with, comma.mp4"\n',
        'dmvr.csv': 'video_path\ngs://bucket/v.mp4\n/abs/w.mp4\n',
        'bare.csv': '\ufeffb.mp4\npictures/p\n',
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)

    def found(*inputs):
        paths = listing.list_videos([str(tmp_path / name) for name in inputs])
        return [path.replace(f'{tmp_path}/', '') for path in paths]

    assert found('.') == ['a.avi', 'b.mp4', 'deep/c.webm']
    assert 'as there are video files: ' in caplog.text
    assert f'{tmp_path}/pictures/p and 1 more folder. To use them, name the folder' in caplog.text
    caplog.clear()
    assert found('deep', '*.mp4', 'pictures') == [
        'b.mp4',
        'deep/c.webm',
        'pictures/p',
        'pictures/q',
    ]
    assert not caplog.text
    assert found('*.mp4', 'deep', 'b.mp4') == ['b.mp4', 'deep/c.webm']
    assert found('pictures') == ['pictures/p', 'pictures/q']
    assert found('headed.csv') == ['b.mp4', 'deep/with, comma.mp4']
    assert found('dmvr.csv') == ['/abs/w.mp4', 'gs://bucket/v.mp4']
    assert found('bare.csv', 'b.mp4') == ['b.mp4', 'pictures/p']


@pytest.mark.parametrize(
    'text, message',
    [
        ('', 'lists no videos'),
        ('path\n', 'lists no videos'),
        ('id,label\n1,2\n', 'no column is called path or video_path'),
        ('video_path,start,end\na.mp4,0,1\n', 'columns start or end'),
        ('label,path\n1,a.mp4\n2\n', 'entry 2 names no video'),
        ('label,path\n1,' + 'a' * 140_000 + '\n', 'no list of videos: field larger'),
    ],
)
def test_lists_that_are_none(tmp_path, text, message):
    (tmp_path / 'l.csv').write_text(text)
    with pytest.raises(errors.UserError, match=f'l.csv.*{message}'):
        listing.list_videos([str(tmp_path / 'l.csv')])


def test_inputs_that_are_none(tmp_path):
    (tmp_path / 'notes.txt').write_text('')
    for inputs, message in (
        ([], '--input'),
        ([str(tmp_path)], 'no videos there.*found 1 file,'),
        ([str(tmp_path / 'none')], 'no such file'),
        ([str(tmp_path / 'none.csv')], 'none.csv'),
    ):
        with pytest.raises(errors.UserError, match=message):
            listing.list_videos(inputs)


@pytest.mark.parametrize(
    'setting',
    [
        {'short_side': -1},
        {'quality': 0},
        {'quality': 101},
        {'frame_rate': -1.0},
        {'segment_seconds': 0.0},
        {'shard_megabytes': float('nan')},
        {'videos_per_task': -1},
        {'seed': 0.5},
        {'frame_folder_rate': 0.0},
        {'frame_folder_rate': float('nan')},
        {'frame_rate': float('inf')},
    ],
)
def test_settings_out_of_range_are_named(setting):
    with pytest.raises(errors.UserError, match=next(iter(setting))):
        Settings(**setting)


def test_cost_is_measured_on_all_frames(videos, monkeypatch):
    # Decoding takes 2 s, preparing 5 s.
    readings = iter([0.0, 2.0, 10.0, 15.0])
    monkeypatch.setattr(
        preparation_speed, 'time', types.SimpleNamespace(process_time=lambda: next(readings))
    )
    figures = preparation_speed.against_decoding(
        16, 4.0, [f'{videos}/[0-9].mp4', f'{videos}/empty.mp4']
    )
    # 10, 18, ... 42 frames at 10 per second; four per second are kept of 0.9 s (4), 1.7 s (7), ...
    assert (figures['videos'], figures['frames'], figures['stored_frames']) == (6, 130, 53)
    assert (figures['videos_per_cpu_s'], figures['frames_per_cpu_s']) == (1.2, 26)
    assert (figures['decoded_frames_per_cpu_s'], figures['share_of_decoding']) == (65, 0.4)


@pytest.mark.parametrize(
    'engine', [{}, pytest.param({'workers': 2}, marks=pytest.mark.slow), {'runner': 'DirectRunner'}]
)
def test_a_store_that_fails_is_not_taken_for_a_bad_video(videos, tmp_path, engine):
    if 'runner' in engine:
        pytest.importorskip('apache_beam')
    listed = tmp_path / 'l.csv'
    listed.write_text(f'path\n{videos}/1.mp4\nnowhere://bucket/2.mp4\n')
    with pytest.raises(errors.UserError, match='nowhere://bucket/2.mp4: its file system failed'):
        run.prepare([str(listed)], str(tmp_path / 'shards'), SMALL, **engine)
    assert not (tmp_path / 'shards' / 'index.json').exists()


def test_a_runner_that_does_not_exist_is_named(videos, tmp_path):
    pytest.importorskip('apache_beam')
    with pytest.raises(errors.UserError, match='--runner=NoRunner'):
        run.prepare([str(videos)], str(tmp_path / 'shards'), SMALL, runner='NoRunner')
