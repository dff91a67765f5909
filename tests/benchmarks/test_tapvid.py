"""TAP-Vid: reading pickles safely, the official queries, scores, and what is written."""

import contextlib
import os
import pathlib
import pickle
import struct
import tracemalloc
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from stfc3_tf import errors
from stfc3_tf.benchmarks import runner, tapvid
from stfc3_tf.propagation import codecs, propagator, tracks
from stfc3_tf.propagation import tracker as tracking
from stfc3_tf.propagation.extractor import FunctionExtractor

TIME = 7
EXACT = tracks.TrackCodec(codecs.PointCodec(convention='exact', sigma=0.75))


class Grid(NamedTuple):
    first: float
    stride: int


def video(height=64, width=96):
    texture = np.random.default_rng(1).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    still = cv2.resize(texture, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.stack([np.roll(still, 3 * number, axis=1) for number in range(TIME)])


def entry():
    """Four points that move 3 of 96 pixels (8 of 256) per frame; first shown in 0, 1, 4, never."""
    start = np.array([[0.25, 0.3], [0.3, 0.5], [0.2, 0.6], [0.5, 0.5]])
    motion = np.stack([np.arange(TIME) * 3 / 96, np.zeros(TIME)], axis=-1)
    occluded = np.zeros((4, TIME), bool)
    occluded[1, 0] = occluded[2, :4] = occluded[3] = occluded[0, 5] = True
    return {'video': video(), 'points': start[:, None] + motion, 'occluded': occluded}


def write(path, contents):
    path.write_bytes(pickle.dumps(contents))
    return path


def evaluate(benchmark, tracker, output, **options):
    return runner.evaluate(benchmark, tracker, str(output), protocol='test', **options)


class Known:
    """Moves points as the frames move: 8 pixels of 256 per frame, in either direction."""

    def settings(self):
        return {'model': 'known'}

    def track(self, images, first_label, codec, label_size):
        del codec
        assert label_size == (256, 256)
        images = list(images)
        still = images[0]
        for image in images:
            shift = next(
                s for s in range(-24, 25) if np.array_equal(np.roll(still, s, axis=1), image)
            )
            yield first_label + np.array([shift * 256 / 96, 0, 0])


# Pickles


class Evil:
    def __reduce__(self):
        return os.system, ('echo this must never run > evil',)


@pytest.mark.parametrize('contents', [Evil(), {'a': [Evil()]}])
def test_pickles_that_run_programs_are_refused(tmp_path, monkeypatch, contents):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / 'bad.pkl', contents)
    with pytest.raises(errors.UserError, match='bad.pkl.*system'):
        tapvid.read_pickle(str(path))
    assert not (tmp_path / 'evil').exists()


@pytest.mark.parametrize(
    'module, name', [('builtins', 'eval'), ('os', 'system'), ('numpy', 'load')]
)
def test_globals_are_refused_by_name(tmp_path, module, name):
    path = tmp_path / 'bad.pkl'
    path.write_bytes(f'c{module}\n{name}\n.'.encode())
    with pytest.raises(errors.UserError, match=f'{module}.{name}'):
        tapvid.read_pickle(str(path))


@pytest.mark.parametrize('protocol', range(6))
def test_arrays_and_plain_values_survive(tmp_path, protocol):
    contents = {
        'a': np.arange(6, dtype=np.uint8).reshape(2, 3),
        'b': [b'bytes', 'text', 1.5, None],
        'c': (np.float32(2), np.array([True])),
        'd': np.asfortranarray(np.eye(3)),
    }
    path = tmp_path / 'good.pkl'
    path.write_bytes(pickle.dumps(contents, protocol))
    result = tapvid.read_pickle(str(path))
    np.testing.assert_array_equal(result['a'], contents['a'])
    np.testing.assert_array_equal(result['d'], contents['d'])
    assert result['b'] == contents['b'] and result['c'][0] == 2 and result['c'][1][0]


class Fields:
    """Stands for an array whose bytes are addresses, or whose type has fields."""

    def __init__(self, dtype):
        self.dtype = dtype

    def __reduce__(self):
        dtype = np.dtype(self.dtype)
        raw = np.zeros(2, f'V{dtype.itemsize}').tobytes()
        state = (1, (2,), dtype, False, raw)
        return np.core.multiarray._reconstruct, (np.ndarray, (0,), b'b'), state


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize('dtype', ['O', [('a', 'O')], [('a', 'f4')], 'V8', ('f4', (2,))])
def test_arrays_of_objects_or_fields_are_refused(tmp_path, protocol, dtype):
    path = tmp_path / 'bad.pkl'
    path.write_bytes(pickle.dumps({'a': Fields(dtype)}, protocol))
    with pytest.raises(errors.UserError, match='bad.pkl.*type'):
        tapvid.read_pickle(str(path))


def test_an_array_needs_the_bytes_that_its_shape_asks_for(tmp_path):
    contents = pickle.dumps(np.zeros((3, 3), np.uint8), 2)
    path = tmp_path / 'bad.pkl'
    # BININT1 3, BININT1 3, TUPLE2: the shape.
    path.write_bytes(contents.replace(b'K\x03K\x03\x86', b'K\xffK\xff\x86'))
    with pytest.raises(errors.UserError, match='bad.pkl.*255, 255'):
        tapvid.read_pickle(str(path))


@pytest.mark.parametrize(
    'body',
    [
        b'r\xff\xff\xff\x7f',  # LONG_BINPUT: an entry of the memo
        b'\x8e' + (1 << 40).to_bytes(8, 'little'),  # BINBYTES8
        b'\x96' + (1 << 40).to_bytes(8, 'little'),  # BYTEARRAY8
        b'\x95' + (1 << 40).to_bytes(8, 'little'),  # FRAME
        b'\x8b\xff\xff\xff\x7f',  # LONG4
    ],
)
def test_a_pickle_takes_no_more_memory_than_it_is_long(tmp_path, body):
    path = tmp_path / 'bad.pkl'
    path.write_bytes(b'\x80\x05]' + body + b'.')
    tracemalloc.start()
    with contextlib.suppress(errors.UserError):
        tapvid.read_pickle(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def _copied_text():
    """Return a program that turns one text into bytes again and again."""
    text = b'X' + struct.pack('<i', 300_000) + b'a' * 300_000 + b'q\x01'
    again = b'h\x00h\x01h\x02\x86R'
    return b'c_codecs\nencode\nq\x00' + text + b'X\x06\0\0\0latin1q\x02(' + again * 10_000 + b't'


def _copied_array():
    """Return a program that gives the bytes of one array to many, in the other byte order."""
    dtype = np.dtype('>f8')
    state = pickle.dumps(np.zeros(40_000, dtype), 2)[2:-1]
    made, built = state[: state.index(b'(K\x01')], state[state.index(b'(K\x01') : -1]
    again = b'h\xfeh\xfdb'
    kept = b'q\xfe' + built + b'q\xfd'
    return made + kept + b'b(' + again * 10_000 + b't'


@pytest.mark.parametrize('body', [_copied_text(), _copied_array()], ids=['text', 'array'])
def test_a_pickle_does_not_fill_the_memory_with_copies(tmp_path, body):
    path = tmp_path / 'bad.pkl'
    path.write_bytes(b'\x80\x02' + body + b'.')
    with pytest.raises(errors.UserError, match='bad.pkl.*copies its values until they fill the'):
        tapvid.read_pickle(str(path))


def test_a_pickle_does_not_change_its_reader(tmp_path):
    # The function that makes arrays gets new default arguments through BUILD with slots.
    path = tmp_path / 'bad.pkl'
    state = pickle.dumps((None, {'__defaults__': (1,)}), 2)[2:-1]
    path.write_bytes(b'\x80\x02cnumpy.core.multiarray\n_reconstruct\n' + state + b'b.')
    with pytest.raises(errors.UserError, match='bad.pkl.*changes'):
        tapvid.read_pickle(str(path))


@pytest.mark.parametrize('contents', [b'', b'no pickle', pickle.dumps([1, 2, 3])[:-4]])
def test_broken_pickles_are_named(tmp_path, contents):
    path = tmp_path / 'bad.pkl'
    path.write_bytes(contents)
    with pytest.raises(errors.UserError, match='bad.pkl'):
        tapvid.read_pickle(str(path))


# Queries


def annotation():
    parts = entry()
    return tapvid.Annotation(parts['points'] * 256 - 0.5, parts['occluded'])


def test_queries_in_the_first_frame_that_shows_a_point():
    queries = annotation().queries('first')
    assert [(query.frame, *query.points) for query in queries] == [(0, 0), (1, 1), (4, 2)]
    assert [list(query.stretches[0]) for query in queries] == [
        list(range(7)),
        list(range(1, 7)),
        [4, 5, 6],
    ]
    assert all(len(query.stretches) == 1 for query in queries)


def test_queries_in_every_fifth_frame_both_ways():
    queries = annotation().queries('strided')
    assert [(query.frame, *query.points) for query in queries] == [(0, 0), (5, 1, 2)]
    assert [list(stretch) for stretch in queries[1].stretches] == [[5, 6], [5, 4, 3, 2, 1, 0]]


# Scores


@pytest.mark.parametrize('mode', ['first', 'strided'])
def test_the_true_motion_scores_one_but_for_occlusion(tmp_path, mode):
    data = write(tmp_path / 'davis.pkl', {'goat': entry()})
    results = evaluate(tapvid.TapVid(str(data), mode), Known(), tmp_path / 'out')
    figures = results['metrics']
    assert figures['Position-Accuracy'] == figures['Within@1'] == 1
    # first: frames 1-6, 2-6 and 5-6 of the three points. strided: six frames each. A point that is
    # hidden is predicted visible: wrong as occlusion, and a false positive.
    visible, hidden = {'first': (5 + 5 + 2, 1 + 0 + 0), 'strided': (5 + 5 + 2, 1 + 1 + 4)}[mode]
    assert figures['Occlusion-Accuracy'] == pytest.approx(visible / (visible + hidden))
    assert figures['Average-Jaccard'] == pytest.approx(visible / (visible + hidden))


def test_copying_scores_by_the_motion(tmp_path):
    data = write(tmp_path / 'davis.pkl', {'goat': entry()})
    figures = evaluate(tapvid.TapVid(str(data)), tracking.CopyFirst(), tmp_path / 'out')['metrics']
    # 8 pixels per frame: closer than 16 only in the frame after the query, 3 of 12 visible points.
    assert figures['Within@8'] == 0 and figures['Within@16'] == pytest.approx(3 / 12)


def test_what_is_written_is_in_pixels_of_256(tmp_path):
    data = write(tmp_path / 'davis.pkl', {'goat': entry()})
    evaluate(tapvid.TapVid(str(data)), Known(), tmp_path / 'out')
    written = np.load(tmp_path / 'out' / 'predictions' / 'goat.npz')
    points = entry()['points'] * 256
    np.testing.assert_allclose(written['query_points'][2], [4, points[2, 4, 1], points[2, 4, 0]])
    np.testing.assert_allclose(written['tracks'][0], points[0], atol=1e-9)
    assert np.isnan(written['tracks'][2, :4]).all() and written['occluded'][2, :4].all()


def test_lists_jpegs_and_several_shards(tmp_path):
    encoded = dict(entry())
    encoded['video'] = [cv2.imencode('.jpg', frame)[1].tobytes() for frame in entry()['video']]
    write(tmp_path / '0000.pkl', [entry(), encoded])
    write(tmp_path / '0001.pkl', [entry()])
    results = evaluate(tapvid.TapVid(str(tmp_path)), tracking.CopyFirst(), tmp_path / 'out')
    assert list(results['sequences']) == ['0000/0000', '0000/0001', '0001/0000']
    parts = [video['metrics']['Average-Jaccard'] for video in results['sequences'].values()]
    assert results['metrics']['Average-Jaccard'] == pytest.approx(np.mean(parts))


def test_finished_videos_are_kept_until_the_data_changes(tmp_path):
    data = write(tmp_path / 'davis.pkl', {'goat': entry()})
    first = evaluate(tapvid.TapVid(str(data)), Known(), tmp_path / 'out')
    again = evaluate(tapvid.TapVid(str(data)), Known(), tmp_path / 'out')
    assert again['seconds'] == first['seconds']
    changed = entry()
    changed['points'] += 0.01
    write(data, {'goat': changed})
    evaluate(tapvid.TapVid(str(data)), Known(), tmp_path / 'out')
    written = np.load(tmp_path / 'out' / 'predictions' / 'goat.npz')
    np.testing.assert_allclose(written['tracks'][0], changed['points'][0] * 256, atol=1e-9)


def colours(frames):
    """Colours at and around each cell's true centre."""
    maps = []
    for frame in frames:
        blurred = cv2.GaussianBlur(frame.astype(np.float32), (0, 0), 3)
        parts = [
            np.roll(blurred, (y, x), (0, 1))[::8, ::8] for y in (-12, 0, 12) for x in (-12, 0, 12)
        ]
        features = np.concatenate(parts, -1)
        features -= features.mean((0, 1))
        maps.append(features / np.linalg.norm(features, axis=-1, keepdims=True))
    return np.stack(maps)


def test_propagation_beats_copying(tmp_path):
    data = write(tmp_path / 'davis.pkl', {'goat': entry()})
    encoder = FunctionExtractor(colours, Grid(0, 8))
    tracker = tracking.PropagationTracker(
        encoder,
        propagator.PropagationSettings(context=4, radius=8.0),
        tracking.InputSize('square', 256, interpolation='area'),
    )
    benchmark = tapvid.TapVid(str(data), codec=EXACT)
    found = evaluate(benchmark, tracker, tmp_path / 'found')['metrics']
    copied = evaluate(benchmark, tracking.CopyFirst(), tmp_path / 'copied')['metrics']
    assert found['Position-Accuracy'] > copied['Position-Accuracy'] + 0.3


# Bad input


def png(image):
    return cv2.imencode('.png', image)[1].tobytes()


def pngs(position, other):
    """Return the video as PNG files, one of them replaced."""
    return [other if n == position else png(image) for n, image in enumerate(video())]


def hidden_but(frame):
    occluded = np.ones((4, TIME), bool)
    occluded[:, frame] = False
    return occluded


@pytest.mark.parametrize(
    'change, problem',
    [
        (lambda video: video.pop('occluded'), "no 'occluded'"),
        (lambda video: video.update(points=np.zeros((4, TIME, 3))), 'expected'),
        (lambda video: video.update(video=video['video'][:-1]), '6 frames, but points of 7'),
        (lambda video: video.update(video=video['video'] / 255.0), 'float64'),
        (lambda video: video.update(video=[b'x'] * TIME), 'not a readable image'),
        (lambda video: video.update(video=pngs(5, b'x')), 'not a readable image'),
        (lambda video: video.update(video=pngs(5, png(np.zeros((9, 9, 3))))), 'frame 6 is 9x9'),
        (lambda video: video.update(occluded=hidden_but(TIME - 1)), 'no point is visible'),
        (lambda video: video['occluded'].fill(True), 'no point is visible'),
    ],
)
def test_unusable_videos_are_named(tmp_path, change, problem):
    contents = entry()
    change(contents)
    data = write(tmp_path / 'davis.pkl', {'goat': contents})
    with pytest.raises(errors.UserError, match=f'davis.pkl: video goat.*{problem}'):
        tapvid.TapVid(str(data)).sequences()[0].check()


def test_a_point_seen_once_before_the_query_is_enough_for_strided(tmp_path):
    contents = entry()
    contents['occluded'] = hidden_but(5)
    contents['occluded'][0, 2] = False
    data = write(tmp_path / 'davis.pkl', {'goat': contents})
    assert tapvid.TapVid(str(data), 'strided').sequences()[0].check() == 2 + 6
    evaluate(tapvid.TapVid(str(data), 'strided'), Known(), tmp_path / 'out')


def test_missing_data_and_modes_are_named(tmp_path):
    with pytest.raises(errors.UserError, match='absent.pkl'):
        tapvid.TapVid(str(tmp_path / 'absent.pkl')).sequences()
    with pytest.raises(errors.UserError, match='.pkl'):
        tapvid.TapVid(str(tmp_path)).sequences()
    with pytest.raises(errors.UserError, match='query_mode'):
        tapvid.TapVid(str(tmp_path), 'last')


HOSTILE = ['../../outside', '/outside', 'a/../../../outside', 'nul\0', 'x' * 300, '..', '']


@pytest.mark.parametrize('name', HOSTILE)
def test_no_name_of_a_video_leads_out_of_the_output_folder(tmp_path, name):
    foreign = tmp_path / 'outside'
    foreign.mkdir()
    (foreign / 'precious').write_text('kept')
    data = write(tmp_path / 'davis.pkl', {name: entry()})
    output = tmp_path / 'deep' / 'out'
    for _ in range(2):
        results = evaluate(tapvid.TapVid(str(data)), tracking.CopyFirst(), output)
    assert list(results['sequences']) == [name]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['davis.pkl', 'deep', 'outside']
    assert [path.name for path in foreign.iterdir()] == ['precious']
    assert [path.name for path in output.parent.iterdir()] == ['out']
    assert len(list(output.glob('predictions/**/*.npz'))) == 1
    assert not pathlib.Path('/outside.npz').exists()
