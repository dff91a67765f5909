"""Records of shards are found by their numbers, and little memory is kept for each."""

import functools
import gzip
import io
import json
import tracemalloc
import zlib

import made_shards
import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from stfc3_tf import clips, errors
from stfc3_tf.clips import shard_writer, shards


def _record(grey):
    frames = [np.full([8, 8, 3], grey, np.uint8)] * 2
    return made_shards.record(frames, [0.0, 0.1], 'video')


def _write(folder, greys_of_shards):
    paths = [str(folder / f'{k}.tfrecord') for k in range(len(greys_of_shards))]
    offsets = []
    for path, greys in zip(paths, greys_of_shards):
        writer = made_shards.write(path, map(_record, greys))
        offsets.append({'name': path.rpartition('/')[2], 'bytes': writer.bytes})
        offsets[-1]['offsets'] = writer.offsets
    return paths, {'shards': offsets}


@pytest.mark.parametrize('indexed', [False, True])
def test_records_are_numbered_through_all_shards_empty_ones_too(tmp_path, indexed):
    paths, index = _write(tmp_path, [[], [10, 20], [], [], [30], [40, 50, 60], []])
    if indexed:
        (tmp_path / 'index.json').write_text(json.dumps(index))
    source = shards.Shards(paths)
    assert len(source) == 6
    places = [(1, 0), (1, 1), (4, 0), (5, 0), (5, 1), (5, 2)]
    for video, (shard, record) in enumerate(places):
        assert source.name(video) == f'{paths[shard]} (record {record})'
        assert abs(source.read(video, 0.0, 2, 10.0).mean() - 10 * (video + 1)) < 1


def test_what_follows_a_broken_shard_is_read(tmp_path):
    paths, _ = _write(tmp_path, [[10, 20], [30, 40]])
    whole = (tmp_path / '0.tfrecord').read_bytes()
    # The first header's checksum, the last record's end.
    for broken, lost in ((whole[:9] + b'#' + whole[10:], 0), (whole[:-5], 1)):
        (tmp_path / '0.tfrecord').write_bytes(broken)
        source = shards.Shards(paths)
        assert len(source) == lost + 3
        with pytest.raises(clips.UnreadableVideo, match=f'0.tfrecord .record {lost}.*cut off'):
            source.read(lost, 0.0, 2, 10.0)
        assert abs(source.read(lost + 2, 0.0, 2, 10.0).mean() - 40) < 1


def test_an_invalid_index_is_not_used(tmp_path):
    paths, index = _write(tmp_path, [[10, 20]])
    for offsets in (None, ['x'], [2**70, 0]):
        index['shards'][0]['offsets'] = offsets
        (tmp_path / 'index.json').write_text(json.dumps(index))
        assert len(shards.Shards(paths)) == 2


def test_a_record_takes_little_memory(tmp_path):
    records, size, names = 10_000, 1000, [f'{k}.tfrecord' for k in range(4)]
    entry = {'bytes': size * records, 'offsets': [size * k for k in range(records)]}
    entries = [{'name': name, **entry} for name in names]
    (tmp_path / 'index.json').write_text(json.dumps({'shards': entries}))
    for name in names:
        with open(tmp_path / name, 'wb') as file:
            file.truncate(size * records)
    shards.Shards([str(tmp_path / names[0])])  # What is allocated only once is not counted.
    tracemalloc.start()
    source = shards.Shards([str(tmp_path / name) for name in names])
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(source) == 4 * records
    assert kept / len(source) < 10


def _dmvr_record(frames, start=None, end=None):
    """Return a record as DMVR's scripts write it: pictures without times."""
    example = tf.train.SequenceExample()
    example.context.feature['video/filename'].bytes_list.value[:] = [b'v.mp4']
    for name, value in (('start', start), ('end', end)):
        if value is not None:
            feature = example.context.feature[f'clip/{name}/timestamp']
            feature.int64_list.value[:] = [value]
    for number in range(frames):
        jpeg = shard_writer.encoded(np.full([8, 8, 3], 10 * number, np.uint8), 0.0).jpeg
        feature = example.feature_lists.feature_list['image/encoded'].feature.add()
        feature.bytes_list.value[:] = [jpeg]
    return example.SerializeToString()


def test_records_of_dmvr_are_spread_over_their_part_of_the_video(tmp_path):
    path = str(tmp_path / 'train.tfrecord-00000-of-00001')
    records = [_dmvr_record(20, 3_000_000, 5_000_000), _dmvr_record(20, 0, None), _dmvr_record(20)]
    made_shards.write(path, records)
    source = clips.open_source(str(tmp_path))
    # 20 frames in 2 s: at 5 per second every second one is taken.
    clip = source.read(0, 0.0, 5, 5.0)
    np.testing.assert_allclose(clip.mean((1, 2, 3)), [0, 20, 40, 60, 80], atol=1)
    for video in (1, 2):
        with pytest.raises(clips.UnreadableVideo, match='neither image/frame_rate nor clip/start'):
            source.read(video, 0.0, 5, 5.0)


def _kinds_of_pictures(shown):
    turned = Image.Exif()
    turned[0x0112] = 6  # Stored on its side: the first row is the right edge.
    image, on_its_side = Image.fromarray(shown), Image.fromarray(np.rot90(shown))
    yield image, {'format': 'JPEG', 'quality': 95}
    yield on_its_side, {'format': 'JPEG', 'quality': 95, 'exif': turned}
    yield on_its_side, {'format': 'JPEG', 'quality': 95, 'exif': turned, 'comment': b' ' * 60_000}
    yield on_its_side, {'format': 'PNG', 'exif': turned}
    yield Image.fromarray(shown[..., 0].astype(np.uint16) * 257), {'format': 'PNG'}


@pytest.mark.parametrize('kind', range(5))
def test_pictures_in_records_are_read_as_those_in_files_are(tmp_path, kind):
    shown = np.full((16, 24, 3), 20, np.uint8)
    shown[:8, :16] = 230
    image, settings = list(_kinds_of_pictures(shown))[kind]
    contents = io.BytesIO()
    image.save(contents, **settings)
    example = tf.train.SequenceExample.FromString(_dmvr_record(2, 0, 1_000_000))
    for feature in example.feature_lists.feature_list['image/encoded'].feature:
        feature.bytes_list.value[:] = [contents.getvalue()]
    path = str(tmp_path / 'a.tfrecord')
    made_shards.write(path, [example.SerializeToString()])
    clip = clips.open_source(path).read(0, 0.0, 2, 2.0)
    assert clip.shape == (2, 16, 24, 3) and np.abs(clip - shown.astype(int)).mean() < 2


def _small_window(contents):
    compressor = zlib.compressobj(wbits=9)
    return compressor.compress(contents) + compressor.flush()


@pytest.mark.parametrize(
    'kind, compress',
    [
        ('GZIP', gzip.compress),
        *(('ZLIB', functools.partial(zlib.compress, level=level)) for level in range(10)),
        ('ZLIB', _small_window),
    ],
)
def test_compressed_shards_are_named(tmp_path, kind, compress):
    (path,), _ = _write(tmp_path, [[10, 20]])
    (tmp_path / '0.tfrecord').write_bytes(compress((tmp_path / '0.tfrecord').read_bytes()))
    with pytest.raises(
        errors.UserError, match=f'0.tfrecord is compressed with {kind}.*[Dd]ecompress'
    ):
        clips.open_source(path)
