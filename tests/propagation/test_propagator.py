"""Propagation against the reference implementation's numbers and a brute-force definition."""

import dataclasses
import pathlib
import subprocess
import sys

import gin
import numpy as np
import pytest
from random_videos import random_video
from small_protocols import CRW, DINO, each_grid, each_protocol
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.propagation import compiled_propagator, matched_propagator, numpy_propagator
from stfc3_tf.propagation import propagator as propagation
from stfc3_tf.propagation import settings as settings_lib

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'


def loop_propagate(query, features, labels, unrestricted, settings):
    """Compute the definition, one query cell at a time, in float64."""
    _, rows, columns, _ = features.shape
    row_of, column_of = np.mgrid[:rows, :columns]
    result = np.zeros((rows, columns, labels.shape[-1]))
    for row, column in np.ndindex(rows, columns):
        similarity = features.astype(np.float64) @ query[row, column]
        down, right = row_of - row, column_of - column
        if settings.window == 'square':
            inside = np.maximum(abs(down), abs(right)) <= settings.radius
        else:
            inside = np.hypot(down, right) < settings.radius
        allowed = np.array(unrestricted)[:, None, None] | inside
        values, sources = similarity[allowed], labels[allowed]
        order = np.argsort(-values)
        kept = order[: settings.top_k]
        if settings.keep_ties:
            kept = order[values[order] >= values[kept[-1]] - 1e-9]
        weights = np.exp(values[kept] / settings.temperature)
        result[row, column] = weights @ sources[kept] / weights.sum()
    return result


def context_of(frame, settings):
    """Return frame numbers and whether the window is off, by the protocols' description."""
    numbers = [0]
    for preceding in range(frame - settings.context, frame):
        if preceding > 0 or (preceding == 0 and settings.first_among_preceding):
            numbers.append(preceding)
        elif preceding < 0 and settings.repeat_first:
            numbers.append(0)
    return numbers, [not settings.restrict_first] + [False] * (len(numbers) - 1)


def loop_stream(features, first_labels, settings):
    labels = [first_labels.astype(np.float64)]
    for frame in range(1, len(features)):
        numbers, unrestricted = context_of(frame, settings)
        context_labels = np.stack([labels[number] for number in numbers])
        labels.append(
            loop_propagate(
                features[frame], features[numbers], context_labels, unrestricted, settings
            )
        )
    return np.stack(labels)


@pytest.mark.parametrize('tag', ['t005', 't007'])
def test_equals_the_reference_script(tag):
    golden = np.load(GOLDEN / 'label_propagation.npz')
    features = golden['frame_features'].transpose(0, 2, 3, 1)
    settings = propagation.PropagationSettings(
        context=3, radius=3, top_k=5, temperature=int(tag[1:]) / 100
    )
    stream = propagation.propagate_stream(features, golden['first_label'], settings)
    labels = np.stack([each.numpy() for each in stream])
    np.testing.assert_allclose(labels, golden[f'pred_{tag}'], atol=1e-5)
    np.testing.assert_array_equal(labels.argmax(-1), golden[f'hard_{tag}'])


@each_protocol
@each_grid
def test_streams_as_the_definition_says(settings, grid):
    features, first_labels = random_video(1, 6, *grid)
    stream = propagation.propagate_stream(iter(features), first_labels, settings)
    labels = np.stack([each.numpy() for each in stream])
    np.testing.assert_allclose(labels, loop_stream(features, first_labels, settings), atol=2e-5)


@pytest.mark.parametrize(
    'changes',
    [
        {'radius': 1.0},
        {'radius': 2.5},
        {'radius': 5.0},
        {'radius': float('inf')},
        {'radius': 40.0},
        {'radius': 1e10},
        {'radius': 1e300},
        {'radius': 1e10, 'window': 'square'},
        {'radius': 0.5, 'window': 'square'},
        {'radius': 3.0, 'window': 'square'},
        {'top_k': 1},
        {'top_k': 1000},
        {'top_k': 1000, 'radius': 1.0, 'keep_ties': True},
        {'temperature': 0.01},
        {'precision': 'fast'},
        {'precision': 'fast', 'radius': 1.0},
        {'precision': 'fast', 'radius': float('inf')},
        {'precision': 'fast', 'top_k': 1000},
        {'precision': 'fast', 'top_k': 1, 'window': 'square'},
    ],
)
def test_settings(changes):
    settings = dataclasses.replace(CRW, **changes)
    rng = np.random.default_rng(2)
    features, _ = random_video(3, 5, 10, 11)
    labels = rng.random((4, 10, 11, 2)).astype(np.float32)
    for unrestricted in ([True, False, False, False], [False] * 4, [True] * 4, [False, True] * 2):
        result = propagation.propagate(
            features[4], features[:4], labels, tf.constant(unrestricted), settings
        )
        expected = loop_propagate(features[4], features[:4], labels, unrestricted, settings)
        np.testing.assert_allclose(result, expected, atol=2e-5)


@pytest.mark.parametrize('window', ['disc', 'square'])
@pytest.mark.parametrize(('grid', 'radius'), [((8, 61), 3.0), ((13, 40), 9.5), ((30, 7), 12.0)])
def test_strips_of_columns_are_joined(grid, radius, window):
    # 28, 8 or 6 columns each; the last strip of a grid overlaps the one before it.
    settings = dataclasses.replace(CRW, radius=radius, window=window, top_k=6)
    features, _ = random_video(4, 4, *grid)
    labels = np.random.default_rng(5).random((3, *grid, 2)).astype(np.float32)
    unrestricted = [True, False, False]
    found = propagation.propagate(
        features[3], features[:3], labels, tf.constant(unrestricted), settings
    )
    expected = loop_propagate(features[3], features[:3], labels, unrestricted, settings)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_radius_excludes_its_own_length_in_a_disc_and_includes_it_in_a_square():
    # One label at each cell and equal similarities: the weights show the window itself.
    features = np.ones((1, 9, 9, 1), np.float32)
    labels = np.eye(81, dtype=np.float32).reshape(1, 9, 9, 81)
    row, column = np.mgrid[:9, :9]
    settings = dataclasses.replace(CRW, top_k=81, radius=3.0)
    disc = propagation.propagate(features[0], features, labels, tf.constant([False]), settings)
    expected = (row - 4) ** 2 + (column - 4) ** 2 < 9
    np.testing.assert_array_equal(disc[4, 4].numpy().reshape(9, 9) > 0, expected)
    assert expected.sum() == 25
    settings = dataclasses.replace(settings, window='square')
    square = propagation.propagate(features[0], features, labels, tf.constant([False]), settings)
    np.testing.assert_allclose(square[4, 4].numpy().reshape(9, 9)[1:8, 1:8], 1 / 49, rtol=1e-5)
    np.testing.assert_allclose(square[0, 8].numpy().reshape(9, 9)[:4, 5:], 1 / 16, rtol=1e-5)


@pytest.mark.parametrize('keep_ties', [False, True])
def test_repeats_equal_copies(keep_ties):
    settings = dataclasses.replace(CRW, keep_ties=keep_ties, top_k=7)
    features, _ = random_video(4, 4, 9, 12)
    labels = np.random.default_rng(5).random((3, 9, 12, 2)).astype(np.float32)
    unrestricted = np.array([True, False, False])
    counted = propagation.propagate(
        features[3], features[:3], labels, unrestricted, settings, tf.constant([1, 3, 0])
    )
    copies = [0, 1, 1, 1]
    copied = loop_propagate(
        features[3], features[copies], labels[copies], unrestricted[copies], settings
    )
    np.testing.assert_allclose(counted, copied, atol=2e-5)


def test_ties_kept_or_cut():
    # The query equals five context cells exactly; the rest is orthogonal to it.
    features = np.zeros((1, 1, 12, 2), np.float32)
    features[..., 1] = 1
    features[0, 0, [0, 3, 5, 8, 11]] = [1, 0]
    labels = np.eye(12, dtype=np.float32).reshape(1, 1, 12, 12)
    query = np.broadcast_to(np.float32([1, 0]), (1, 12, 2))
    settings = dataclasses.replace(CRW, radius=20.0, top_k=2, temperature=0.1)
    cut = propagation.propagate(query, features, labels, tf.constant([False]), settings)
    assert np.count_nonzero(cut[0, 0]) == 2
    settings = dataclasses.replace(settings, keep_ties=True)
    kept = propagation.propagate(query, features, labels, tf.constant([False]), settings)
    expected = np.zeros(12)
    expected[[0, 3, 5, 8, 11]] = 0.2
    np.testing.assert_allclose(kept[0], np.tile(expected, (12, 1)), atol=1e-6)


def test_all_alike_keeps_every_tie():
    features = np.ones((2, 6, 20, 1), np.float32)
    labels = np.random.default_rng(6).random((2, 6, 20, 3)).astype(np.float32)
    settings = dataclasses.replace(DINO, radius=100.0, top_k=3)
    unrestricted = tf.constant([True, False])
    result = propagation.propagate(features[0], features, labels, unrestricted, settings)
    np.testing.assert_allclose(result[2, 7], labels.mean((0, 1, 2)), atol=1e-5)


def test_one_graph_for_every_frame_grid_and_number_of_labels():
    settings = dataclasses.replace(CRW, temperature=0.0625)
    for rows, columns, labels in ((4, 5, 2), (9, 3, 7)):
        features, first_labels = random_video(7, 6, rows, columns, labels=labels)
        list(propagation.propagate_stream(features, first_labels, settings))
    compiled = propagation._compiled(settings)
    assert compiled.experimental_get_tracing_count() == 1


def test_same_in_a_saved_model(tmp_path):
    settings = dataclasses.replace(CRW, top_k=3)
    module = tf.Module()
    module.propagate = tf.function(
        lambda query, features, labels, unrestricted: propagation.propagate(
            query, features, labels, unrestricted, settings
        ),
        input_signature=[
            tf.TensorSpec([None, None, None]),
            tf.TensorSpec([None, None, None, None]),
            tf.TensorSpec([None, None, None, None]),
            tf.TensorSpec([None], tf.bool),
        ],
    )
    tf.saved_model.save(module, str(tmp_path))
    features, _ = random_video(8, 4, 13, 10)
    labels = np.random.default_rng(9).random((3, 13, 10, 2)).astype(np.float32)
    unrestricted = tf.constant([False, True, False])
    arguments = features[3], features[:3], labels, unrestricted
    eager = propagation.propagate(*arguments, settings)
    loaded = tf.saved_model.load(str(tmp_path)).propagate(*map(tf.constant, arguments))
    np.testing.assert_allclose(loaded, eager, atol=1e-6)


def test_backward_is_the_reversed_video():
    features, labels = random_video(10, 5, 6, 8)
    forward = list(propagation.propagate_stream(features[::-1], labels, CRW))
    propagator = propagation.Propagator(CRW)
    propagator.start(features[4], labels)
    for step, frame in enumerate((3, 2, 1, 0), 1):
        np.testing.assert_array_equal(propagator.step(features[frame]), forward[step])


def test_a_new_start_forgets_the_last_video():
    features, labels = random_video(11, 4, 6, 8)
    other, other_labels = random_video(12, 5, 4, 3, labels=2)
    propagator = propagation.Propagator(CRW)
    propagator.start(other[0], other_labels)
    for frame in other[1:]:
        propagator.step(frame)
    propagator.start(features[0], labels)
    fresh = list(propagation.propagate_stream(features, labels, CRW))
    for frame, expected in zip(features[1:], fresh[1:]):
        np.testing.assert_array_equal(propagator.step(frame), expected)


def test_the_context_stays_as_it_was_when_a_frame_is_refused():
    features, labels = random_video(13, 3, 5, 5)
    propagator = propagation.Propagator(CRW)
    with pytest.raises(errors.UserError, match='start'):
        propagator.step(features[0])
    with pytest.raises(errors.UserError, match='5x5.*5x4'):
        propagator.start(features[0], labels[:, :4])
    propagator.start(features[0], labels)
    first = propagator.step(features[1])
    with pytest.raises(errors.UserError, match='Frame 2'):
        propagator.step(features[2, :4])
    expected = list(propagation.propagate_stream(features, labels, CRW))
    np.testing.assert_array_equal(first, expected[1])
    np.testing.assert_array_equal(propagator.step(features[2]), expected[2])


FLAT = """
import numpy as np
from stfc3_tf.propagation import compiled_propagator, matched_propagator, numpy_propagator
from stfc3_tf.propagation import propagator as propagation

def resident_mib():
    with open('/proc/self/status') as status:
        return int(next(line.split()[1] for line in status if line.startswith('VmRSS:'))) / 1024

maps = np.random.default_rng(0).standard_normal((16, 24, 24, 128)).astype(np.float32)
maps /= np.linalg.norm(maps, axis=-1, keepdims=True)
settings = propagation.PropagationSettings(context=4, radius=3.0, top_k=5)
propagator = propagation.Propagator(settings)
propagator.start(maps[0], np.ones((24, 24, 16), np.float32))
seen = []
for frame in range(1, 301):
    propagator.step(maps[frame % 16])
    if frame in (60, 300):
        seen.append(resident_mib())
print(*seen)
"""


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path('/proc/self/status').exists(), reason='reads /proc')
def test_memory_does_not_grow_with_the_video():
    command = [sys.executable, '-c', FLAT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    early, late = map(float, done.stdout.split())
    # Features of the 240 frames between are 68 MiB, their labels 8 MiB.
    assert late - early < 30


@pytest.mark.parametrize(
    'changes',
    [
        {'context': 0},
        {'top_k': 0},
        {'top_k': 1.5},
        {'radius': 0},
        {'temperature': -1},
        {'temperature': float('nan')},
        {'temperature': 1e-300},
        {'temperature': 1e300},
        {'window': 'circle'},
        {'first_among_preceding': False},
        {'context': True},
        {'radius': '12'},
        {'temperature': None},
        {'keep_ties': 1},
        {'keep_ties': True, 'precision': 'fast'},
        {'precision': 'bfloat16'},
        {'restrict_first': 'False'},
    ],
)
def test_refuses_settings_that_mean_nothing(changes):
    with pytest.raises(errors.UserError, match=list(changes)[0]):
        propagation.PropagationSettings(**changes)


def test_the_settings_of_crw_do_not_follow_gin():
    changed = {
        'context': 3,
        'radius': 2.0,
        'window': 'square',
        'top_k': 4,
        'temperature': 0.5,
        'restrict_first': True,
        'keep_ties': False,
        'first_among_preceding': False,
        'repeat_first': False,
        'precision': 'fast',
    }
    expected = settings_lib.crw_settings()
    with gin.unlock_config():
        gin.parse_config(
            [f'PropagationSettings.{name} = {value!r}' for name, value in changed.items()]
        )
    try:
        assert settings_lib.crw_settings() == expected
        assert propagation.PropagationSettings().precision == 'fast'
    finally:
        gin.clear_config()


def of_frames(settings):
    """Return every kind of propagator."""
    search = None  # Nothing is compared before the first step.
    return [
        propagation.Propagator(settings),
        numpy_propagator.NumpyPropagator(settings),
        compiled_propagator.CompiledPropagator(settings),
        matched_propagator.MatchedPropagator(settings, search),
    ]


@pytest.mark.parametrize('features', [(12, 20, 5), (20, 12, 6), (12, 20, 7)])
@pytest.mark.parametrize('labels', [(12, 20, 3), (12, 20, 2)])
def test_other_labelled_frames_must_have_the_shapes_of_the_first(features, labels):
    first = [np.ones((12, 20, size), np.float32) for size in (6, 3)]
    pinned = [tuple(first), (np.ones(features, np.float32), np.ones(labels, np.float32))]
    for propagator in of_frames(CRW):
        propagator.start(*first, pinned[:1])
        with pytest.raises(
            errors.UserError, match=r'pinned\[1\] has features and labels of shapes'
        ):
            propagator.start(*first, pinned)
