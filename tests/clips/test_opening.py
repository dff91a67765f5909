"""What `--data` may mean, and the sources of pictures: folders and TFRecord shards."""

import os

import made_shards
import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from stfc3_tf import clips, errors
from stfc3_tf.clips import footage, frame_folders, opening, shard_writer, shards, video, video_files
from stfc3_tf.preparation import listing
from stfc3_tf.storage import folders


def _picture(grey, height=16, width=24):
    return np.full((height, width, 3), grey, np.uint8)


def _folder(path, greys, name='frame_{}.png', encode=tf.io.encode_png):
    path.mkdir(parents=True)
    for number, grey in enumerate(greys):
        (path / name.format(number)).write_bytes(encode(_picture(grey)).numpy())
    return str(path)


def _greys(clip):
    return clip.reshape(len(clip), -1).mean(1).round().astype(int).tolist()


def _record(greys, rate, name='v.mp4'):
    frames = [_picture(grey) for grey in greys]
    return made_shards.record(frames, np.arange(len(greys)) / rate, name)


def test_frame_folders_are_read_by_number_and_time(tmp_path):
    folder = _folder(tmp_path / 'a', range(12))
    source = frame_folders.FrameFolders([folder], frame_rate=10.0)
    assert _greys(source.read(0, 0.0, 4, 5.0)) == [0, 2, 4, 6]
    assert _greys(source.read(0, 0.999, 4, 5.0)) == [5, 7, 9, 11]
    # 0, 0.125, 0.25, 0.375 s: frames 0, 1.25, 2.5, 3.75 to the nearest, the earlier of two.
    assert _greys(source.read(0, 0.0, 4, 8.0)) == [0, 1, 2, 4]
    shown = list(footage.open_footage(folder, 10.0).frames())
    np.testing.assert_allclose([frame.time for frame in shown], np.arange(12) / 10)
    assert [frame.image[0, 0, 0] for frame in shown] == list(range(12))


def test_broken_frame_folders(tmp_path):
    short = _folder(tmp_path / 'short', range(3))
    source = frame_folders.FrameFolders([short], 10.0)
    with pytest.raises(clips.UnreadableVideo, match='short.*too short'):
        source.read(0, 0.0, 4, 8.0)
    broken = _folder(tmp_path / 'broken', range(8))
    (tmp_path / 'broken' / 'frame_5.png').write_bytes(b'not a picture')
    source = frame_folders.FrameFolders([broken], 10.0)
    assert _greys(source.read(0, 0.0, 2, 10.0)) == [0, 1]
    with pytest.raises(clips.UnreadableVideo, match='frame_5.png') as caught:
        source.read(0, 0.0, 8, 10.0)
    assert not caught.value.everywhere
    mixed = _folder(tmp_path / 'mixed', range(4))
    (tmp_path / 'mixed' / 'frame_2.png').write_bytes(tf.io.encode_png(_picture(9, 8, 8)).numpy())
    with pytest.raises(clips.UnreadableVideo, match='differ in size'):
        frame_folders.FrameFolders([mixed], 10.0).read(0, 0.0, 4, 10.0)
    with pytest.raises(clips.UnreadableVideo, match='no pictures'):
        video.pictures_in(str(tmp_path))


def test_shards_give_back_what_was_written(tmp_path):
    path = str(tmp_path / 'a.tfrecord')
    greys = [range(0, 100, 5), range(100, 200, 5), range(200, 250, 5)]
    made_shards.write(path, (_record(g, 10.0) for g in greys))
    assert [p.name for p in tmp_path.iterdir()] == ['a.tfrecord']
    source = shards.Shards([path])
    assert len(source) == 3 and source.name(1) == f'{path} (record 1)'
    assert _greys(source.read(1, 0.0, 4, 5.0)) == [100, 110, 120, 130]
    assert _greys(source.read(0, 0.0, 3, 2.0)) == [0, 25, 50]
    with pytest.raises(clips.UnreadableVideo, match='record 2.*too short'):
        source.read(2, 0.0, 4, 2.0)


def test_records_can_be_read_by_tensorflow_alone(tmp_path):
    path = str(tmp_path / 'a.tfrecord')
    made_shards.write(path, [_record([10, 20, 30], 8.0, 'some/video.mp4')])
    record = next(iter(tf.data.TFRecordDataset(path)))
    context, lists = tf.io.parse_single_sequence_example(
        record,
        {
            'clip/data_path': tf.io.FixedLenFeature([], tf.string),
            'image/frame_rate': tf.io.FixedLenFeature([], tf.float32),
            'image/height': tf.io.FixedLenFeature([], tf.int64),
            'image/width': tf.io.FixedLenFeature([], tf.int64),
            'image/format': tf.io.FixedLenFeature([], tf.string),
        },
        {
            'image/encoded': tf.io.FixedLenSequenceFeature([], tf.string),
            'image/timestamp': tf.io.FixedLenSequenceFeature([], tf.int64),
        },
    )
    assert context['clip/data_path'].numpy() == b'some/video.mp4'
    assert context['image/frame_rate'].numpy() == 8.0
    assert (context['image/height'].numpy(), context['image/width'].numpy()) == (16, 24)
    assert lists['image/timestamp'].numpy().tolist() == [0, 125_000, 250_000]
    assert tf.io.decode_jpeg(lists['image/encoded'][1]).numpy().mean() == 20


def test_shards_by_time_stamps_and_without(tmp_path):
    times = [0.0, 0.1, 0.2, 1.0, 2.0]
    stamped = made_shards.record([_picture(g) for g in (0, 10, 20, 100, 200)], times, 'v')
    example = tf.train.SequenceExample.FromString(_record([0, 10, 20, 30, 40], 4.0))
    del example.feature_lists.feature_list['image/timestamp']
    path = str(tmp_path / 'a.tfrecord')
    made_shards.write(path, [stamped, example.SerializeToString()])
    source = shards.Shards([path])
    assert _greys(source.read(0, 0.0, 3, 1.0)) == [0, 100, 200]
    assert _greys(source.read(1, 0.0, 3, 2.0)) == [0, 20, 40]


def test_corrupt_shards_lose_only_what_is_corrupt(tmp_path):
    path = tmp_path / 'a.tfrecord'
    records = [_record(range(k, k + 20), 10.0) for k in (0, 100, 200)]
    made_shards.write(path, records)
    content = path.read_bytes()
    starts = np.cumsum([0] + [len(record) + 16 for record in records])

    def source_of(changed):
        path.write_bytes(changed)
        return shards.Shards([str(path)])

    flipped = bytearray(content)
    flipped[starts[1] + 300] ^= 1  # In the data of record 1.
    source = source_of(flipped)
    assert len(source) == 3
    with pytest.raises(clips.UnreadableVideo, match='record 1.*corrupt'):
        source.read(1, 0.0, 4, 5.0)
    assert _greys(source.read(2, 0.0, 2, 5.0)) == [200, 202]

    for cut in (5, 200, len(records[2]) + 14):  # In the header, the data, the last checksum.
        source = source_of(content[: starts[2] + cut])
        assert len(source) == 3
        assert _greys(source.read(1, 0.0, 2, 5.0)) == [100, 102]
        with pytest.raises(clips.UnreadableVideo, match='record 2.*cut off'):
            source.read(2, 0.0, 2, 5.0)

    garbled = bytearray(content)
    garbled[starts[1]] ^= 1  # The length of record 1: nothing after it can be found.
    assert len(source_of(garbled)) == 2


def test_a_shard_interrupted_while_written_does_not_look_finished(tmp_path):
    writer = shard_writer.ShardWriter(str(tmp_path / 'a.tfrecord'))
    writer.write(_record(range(5), 10.0))
    assert not (tmp_path / 'a.tfrecord').exists()
    writer.finish()
    assert [path.name for path in tmp_path.iterdir()] == ['a.tfrecord']


def test_a_dataset_over_shards_runs_in_parallel(tmp_path):
    for number in range(2):
        records = [_record(range(k, k + 20), 10.0) for k in (number * 100, number * 100 + 50)]
        made_shards.write(tmp_path / f's.tfrecord-{number}-of-2', records)
    source = clips.open_source(str(tmp_path / 's.tfrecord*'))
    assert isinstance(source, shards.Shards) and len(source) == 4
    dataset = clips.clip_dataset(source, frames=3, frame_rate=5.0, skipped=clips.SkippedVideos())
    for element in dataset.take(20).as_numpy_iterator():
        first = _greys(element['frames'])[0]
        assert _greys(element['frames']) == [first, first + 2, first + 4]
        assert first // 50 == element['video']


def test_open_source_finds_each_kind(tmp_path):
    assert isinstance(clips.open_source(None), clips.SyntheticScenes)
    for name in ('b/y.MP4', 'b/deep/x.avi', 'a.webm', 'a.txt', '.hidden.mp4', 'thumb.jpg'):
        (tmp_path / 'videos' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'videos' / name).write_bytes(b'')
    found = clips.open_source(str(tmp_path / 'videos'))
    assert isinstance(found, video_files.VideoFiles)
    names = [found.name(k).removeprefix(f'{tmp_path}/videos/') for k in range(len(found))]
    assert names == ['a.webm', 'b/deep/x.avi', 'b/y.MP4']
    assert len(clips.open_source(str(tmp_path / 'videos' / 'b' / '*.MP4'))) == 1
    assert len(clips.open_source(str(tmp_path / 'videos' / 'a.webm'))) == 1
    for name in ('one', 'two'):
        _folder(tmp_path / 'frames' / name, range(20), name='{:05d}.jpg', encode=tf.io.encode_jpeg)
    folders = clips.open_source(str(tmp_path / 'frames'), frame_folder_rate=10.0)
    assert isinstance(folders, frame_folders.FrameFolders)
    names = [folders.name(k) for k in range(len(folders))]
    assert names == [str(tmp_path / 'frames' / name) for name in ('one', 'two')]
    assert _greys(folders.read(1, 0.0, 3, 5.0)) == [0, 2, 4]
    assert len(clips.open_source(str(tmp_path / 'frames' / 't*'))) == 1


def test_still_pictures_are_clips_of_their_own(tmp_path):
    _folder(tmp_path / 'a', [10, 20], name='holiday {}.png')
    (tmp_path / 'a' / 'Beach.jpg').write_bytes(tf.io.encode_jpeg(_picture(30, 40, 32)).numpy())
    (tmp_path / 'a' / 'damaged.png').write_bytes(b'no picture')
    (tmp_path / 'a' / 'list.txt').write_text('notes')
    source = clips.open_source(str(tmp_path), stills=True)
    names = [source.name(k).rpartition('/')[2] for k in range(len(source))]
    assert names == ['Beach.jpg', 'damaged.png', 'holiday 0.png', 'holiday 1.png']
    assert source.read(0, 0.9, 1, 8.0).shape == (1, 40, 32, 3)
    assert _greys(source.read(3, 0.5, 3, 8.0)) == [20, 20, 20]
    assert len(clips.open_source(str(tmp_path / 'a' / 'holiday*'), stills=True)) == 2
    # A damaged picture is left out for good, and the others are still drawn.
    skipped = clips.SkippedVideos()
    dataset = clips.clip_dataset(source, frames=1, clips_per_video=1, skipped=skipped)
    seen = [int(e['video']) for e in dataset.take(12).as_numpy_iterator()]
    assert set(seen) == {0, 2, 3} and skipped.count == 1


def test_open_source_says_what_is_missing(tmp_path):
    with pytest.raises(errors.UserError, match='none: no such file or folder'):
        clips.open_source(str(tmp_path / 'none'))
    with pytest.raises(errors.UserError, match=r'\*\.mp4: glob matches nothing'):
        clips.open_source(str(tmp_path / '*.mp4'))
    (tmp_path / 'notes.txt').write_text('no videos')
    with pytest.raises(errors.UserError, match=r'Looked for video files \(\.mp4.*found 1 file,'):
        clips.open_source(str(tmp_path))
    (tmp_path / 'empty.tfrecord').write_bytes(b'')
    with pytest.raises(errors.UserError, match=r'no records in 1 TFRecord shard\.'):
        clips.open_source(str(tmp_path))
    (tmp_path / 'v.mp4').write_bytes(b'')
    with pytest.raises(errors.UserError, match='both video files'):
        clips.open_source(str(tmp_path))
    for rate in (0.0, float('nan'), float('inf')):
        with pytest.raises(errors.UserError, match='frame_folder_rate'):
            clips.open_source(str(tmp_path), frame_folder_rate=rate)


def _davis(root, masks):
    """Two sequences of natural frames, and masks of one object of the given kind."""
    for name in ('bear', 'camel'):
        for kind in ('JPEGImages', 'Annotations'):
            (root / kind / '480p' / name).mkdir(parents=True)
        for number in range(5):
            frame = np.random.default_rng(number).integers(0, 256, (32, 48, 3), np.uint8)
            Image.fromarray(frame).save(root / 'JPEGImages' / '480p' / name / f'{number:05d}.png')
            mask = np.zeros((32, 48), np.uint8)
            mask[4:20, 4 + number : 30] = 1
            masks(mask).save(root / 'Annotations' / '480p' / name / f'{number:05d}.png')


def _indexed(mask):
    image = Image.fromarray(mask, 'P')
    image.putpalette([0, 0, 0, 128, 0, 0])
    return image


@pytest.mark.parametrize(
    'masks',
    [
        _indexed,
        lambda mask: Image.fromarray(mask * 255),
        lambda mask: Image.fromarray(np.stack([mask * 200] * 3, -1)),
        lambda mask: Image.fromarray(mask.astype(bool)),
    ],
    ids=['indexed', 'grey', 'colour', 'one bit'],
)
def test_annotations_are_no_videos(tmp_path, caplog, masks):
    _davis(tmp_path / 'DAVIS', masks)
    found = clips.open_source(str(tmp_path / 'DAVIS'))
    frames = [f'{tmp_path}/DAVIS/JPEGImages/480p/{name}' for name in ('bear', 'camel')]
    assert found.files() == frames
    assert 'Annotations/480p/bear and 1 more folders are left out' in caplog.text
    assert listing.list_videos([str(tmp_path / 'DAVIS')]) == frames
    # Named alone, they are taken.
    assert len(clips.open_source(str(tmp_path / 'DAVIS' / 'Annotations'))) == 2


def test_pictures_that_are_left_out_beside_video_files_are_named(tmp_path, caplog):
    _touch(tmp_path, 'a.mp4', 'a.png', 'frames/0.jpg')
    assert clips.open_source(str(tmp_path)).files() == [f'{tmp_path}/a.mp4']
    assert f'as there are video files: {tmp_path}/frames. To use them' in caplog.text


def _touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b'')


def _relative(found, root):
    return [path.removeprefix(f'{root}/') for path in sorted(found)]


def test_globs_through_all_folders(tmp_path):
    _touch(tmp_path, 'top.mp4', 'a/one.mp4', 'a/b/two.mp4', 'a/b/c/three.mp4', 'a/b/notes.txt')
    every = ['a/b/c/three.mp4', 'a/b/two.mp4', 'a/one.mp4', 'top.mp4']
    for glob, expected in (
        ('**/*.mp4', every),
        ('**/b/**/*.mp4', every[:2]),
        ('a/**/t*.mp4', every[:2]),
        ('a*/**/[!t]*.mp4', ['a/one.mp4']),
        ('**', [*every[:1], 'a/b/notes.txt', *every[1:]]),
        ('a/?/*.mp4', ['a/b/two.mp4']),
    ):
        assert _relative(opening.find_files(str(tmp_path / glob)), tmp_path) == expected
    with pytest.raises(errors.UserError, match=r'\*\*/\*.avi: glob matches nothing'):
        opening.find_files(str(tmp_path / '**' / '*.avi'))


def test_globs_from_here(tmp_path, monkeypatch):
    _touch(tmp_path, 'top.mp4', 'a/one.mp4')
    monkeypatch.chdir(tmp_path)
    assert opening.find_files('**/*.mp4') == ['a/one.mp4', 'top.mp4']


def test_links_lead_to_a_video_once(tmp_path):
    _touch(tmp_path, 'set/a/v.mp4', 'elsewhere/w.mp4')
    (tmp_path / 'set' / 'latest').symlink_to('.')
    (tmp_path / 'set' / 'a' / 'up').symlink_to('..')
    (tmp_path / 'set' / 'copy.mp4').symlink_to('a/v.mp4')
    (tmp_path / 'set' / 'other').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'set' / 'broken.mp4').symlink_to('nowhere')
    expected = ['a/v.mp4', 'other/w.mp4']
    for data in ('set', 'set/**', 'set/**/*.mp4'):
        found = opening.find_files(str(tmp_path / data))
        assert _relative(found, tmp_path / 'set') == expected


def test_hidden_files_of_operating_systems_are_left_out(tmp_path):
    _touch(
        tmp_path,
        *('v.mp4', '._v.mp4', '.DS_Store', 'Thumbs.db', '.Trash/w.mp4'),
        *('__MACOSX/._v.mp4', '@eaDir/v.mp4/thumb.jpg'),
    )
    assert _relative(opening.find_files(str(tmp_path)), tmp_path) == ['v.mp4']


def test_a_glob_at_the_root_beside_a_name_that_is_not_text(tmp_path, monkeypatch):
    def glob(pattern):
        raise UnicodeDecodeError('utf-8', b'\xe9', 0, 1, 'as TensorFlow does for such a name')

    _touch(tmp_path, 'usr')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tf.io.gfile, 'glob', glob)
    assert folders.matches('/us[r]') == ['/usr'] and folders.matches('us[r]') == ['usr']


def test_names_that_are_not_text(tmp_path, caplog):
    _touch(tmp_path, 'a.mp4')
    with open(os.fsencode(tmp_path) + b'/caf\xe9.mp4', 'wb'):
        pass
    for data in ('', '*.mp4', '**/*.mp4'):
        found = opening.find_files(os.path.join(tmp_path, data))
        assert _relative(found, tmp_path) == ['a.mp4']
    assert r'caf\xe9.mp4 is left out: its name is not in UTF-8' in caplog.text
    with pytest.raises(errors.UserError, match='not in UTF-8'):
        opening.find_files(os.fsdecode(os.fsencode(tmp_path) + b'/caf\xe9.mp4'))


def test_pictures_that_are_no_frames(tmp_path, caplog):
    _touch(tmp_path, *(f'{n}.jpg' for n in range(12)), '3.JPEG', 'mask.png', 'Thumbs.db', '._1.jpg')
    names = [path.rpartition('/')[2] for path in video.pictures_in(str(tmp_path))]
    assert names == ['0.jpg', '1.jpg', '2.jpg', '3.JPEG', *(f'{n}.jpg' for n in range(3, 12))]
    assert f'{tmp_path}: mask.png is left out' in caplog.text


@pytest.mark.parametrize(
    'names',
    [
        ['0.jpg', '1.jpg', '0.png', '1.png'],
        ['0.png', '0_mask.png', '1.png', '1_mask.png'],
        ['left.jpg', 'right.png'],
    ],
)
def test_folders_of_several_kinds(tmp_path, names):
    _touch(tmp_path, *names)
    with pytest.raises(errors.UserError, match='pictures of several kinds .*Keep only the frames'):
        video.pictures_in(str(tmp_path))


def test_pictures_without_numbers(tmp_path):
    _touch(tmp_path, 'c.jpg', 'a.jpg', 'b.jpg')
    names = [path.rpartition('/')[2] for path in video.pictures_in(str(tmp_path))]
    assert names == ['a.jpg', 'b.jpg', 'c.jpg']


def test_addresses_are_no_files():
    for path in ('https://example.org/v.mp4', 'ftp://example.org/v.mp4'):
        with pytest.raises(errors.UserError, match='://.* Download the file'):
            footage.open_footage(path)
        with pytest.raises(errors.UserError, match='://.* Download the file'):
            clips.open_source(path)


def _damaged(change):
    example = tf.train.SequenceExample.FromString(_record(range(8), 8.0))
    change(example)
    return example.SerializeToString()


def _without_picture(example):
    example.feature_lists.feature_list['image/encoded'].feature[3].bytes_list.value.pop()


def _without_time(example):
    example.feature_lists.feature_list['image/timestamp'].feature[3].int64_list.value.pop()
    example.context.feature['image/frame_rate'].float_list.value[:] = []


def _out_of_order(example):
    example.feature_lists.feature_list['image/timestamp'].feature[3].int64_list.value[0] = 0


@pytest.mark.parametrize('change', [_without_picture, _without_time, _out_of_order])
def test_a_damaged_record_is_an_unreadable_video(tmp_path, change):
    path = str(tmp_path / 'a.tfrecord')
    made_shards.write(path, [_damaged(change)])
    for read in (lambda found: found.read(0, 0.0, 8, 8.0), lambda found: found.stored(0)):
        with pytest.raises(clips.UnreadableVideo, match='record 0'):
            read(shards.Shards([path]))
