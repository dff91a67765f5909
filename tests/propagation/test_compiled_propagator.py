"""Propagation that XLA compiles, against the propagator for CPUs and the definition."""

import dataclasses

import gin
import numpy as np
import pytest
from random_videos import random_video
from small_protocols import CRW, DINO, VFS
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.propagation import brute_force, choice, compiled_propagator, propagator, static_search
from stfc3_tf.propagation.compiled_propagator import (
    CompiledPropagator,
    Context,
    propagate,
    propagate_clips,
)

SQUARE = dataclasses.replace(DINO, keep_ties=False)


def streamed(features, labels, settings):
    """Return the labels of `Propagator`, which other tests compare with the definition."""
    stream = propagator.propagate_stream(features, labels, settings)
    return np.stack([each.numpy() for each in stream])


def slow(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ('settings', 'changes', 'grid'),
    [
        (CRW, {}, (14, 5)),
        (CRW, {'radius': float('inf'), 'context': 1}, (9, 5)),
        (VFS, {'context': 20}, (1, 30)),
        (SQUARE, {'top_k': 1000}, (29, 2)),
        slow(CRW, {'repeat_first': False}, (5, 27)),
        slow(CRW, {'radius': 2.5, 'temperature': 0.01}, (13, 13)),
        slow(CRW, {'radius': 40.0}, (5, 7)),
        slow(CRW, {'context': 20}, (6, 5)),
        slow(VFS, {'top_k': 1, 'radius': 1.0}, (5, 4)),
        slow(SQUARE, {'radius': 0.5}, (1, 1)),
        slow(SQUARE, {'restrict_first': False, 'context': 9}, (14, 3)),
    ],
)
def test_gives_the_labels_of_the_propagator_for_cpus(settings, changes, grid):
    settings = dataclasses.replace(settings, **changes)
    features, labels = random_video(1, 6, *grid)
    found = propagate_clips(features[np.newaxis], labels[np.newaxis], settings)
    np.testing.assert_allclose(found[0], streamed(features, labels, settings), atol=2e-6)


def test_one_frame_is_as_the_definition_says():
    settings = dataclasses.replace(CRW, top_k=6)
    features, _ = random_video(2, 4, 15, 13)
    labels = np.random.default_rng(3).random((3, 15, 13, 2)).astype(np.float32)
    unrestricted = [True, False, False]
    context = Context(features[:3, np.newaxis], labels[:, np.newaxis])
    context = Context(*map(tf.constant, context))
    compiled = tf.function(
        lambda query, repeats: propagate(query, context, unrestricted, repeats, settings),
        jit_compile=True,
        autograph=False,
    )
    found = compiled(features[3:], tf.constant([1, 1, 1]))[0]
    given = features[3], features[:3], labels, np.array(unrestricted)
    np.testing.assert_allclose(found, brute_force.brute_force(*given, settings), atol=1e-5)
    # The second frame counts twice, the third not at all; no new graph.
    found = compiled(features[3:], tf.constant([1, 2, 0]))[0]
    given = features[3], *(each[[0, 1, 1]] for each in given[1:])
    np.testing.assert_allclose(found, brute_force.brute_force(*given, settings), atol=1e-5)
    assert compiled.experimental_get_tracing_count() == 1


@pytest.mark.parametrize('settings', [slow(CRW), VFS], ids=['crw', 'vfs'])
def test_of_equal_similarities_it_keeps_the_same(settings):
    # Products of such features are exact: 0 or 1.
    rng = np.random.default_rng(4)
    features = np.eye(3, dtype=np.float32)[rng.integers(0, 3, (5, 16, 14))]
    labels = rng.random((16, 14, 2)).astype(np.float32)
    found = propagate_clips(features[np.newaxis], labels[np.newaxis], settings)
    np.testing.assert_allclose(found[0], streamed(features, labels, settings), atol=1e-6)


def test_several_videos_at_once_in_one_graph():
    settings = dataclasses.replace(CRW, temperature=0.0625)
    videos = [random_video(seed, 5, 13, 6) for seed in (5, 6, 7)]
    features, labels = (np.stack(each) for each in zip(*videos))
    together = propagate_clips(features, labels, settings).numpy()
    for found, video in zip(together, videos):
        np.testing.assert_allclose(found, streamed(*video, settings), atol=2e-6)
    again = propagate_clips(features[::-1], labels[::-1], settings)
    np.testing.assert_array_equal(again[::-1], together)
    assert compiled_propagator._clips(settings).experimental_get_tracing_count() == 1


@pytest.mark.slow
def test_a_clip_of_one_frame_has_the_labels_it_was_given():
    features, labels = random_video(8, 1, 4, 5)
    found = propagate_clips(features[np.newaxis], labels[np.newaxis], CRW)
    np.testing.assert_array_equal(found[0, 0], labels)


def test_whole_frames_in_several_parts(monkeypatch):
    # 120 similarities of each query with all frames; the last of the parts is not full.
    monkeypatch.setattr(static_search, '_SIMILARITIES', 1000)
    features, _ = random_video(9, 4, 8, 5)
    arguments = features[3:], features[:3, np.newaxis], np.array([True, False, True]), CRW
    search = tf.function(static_search.anywhere, jit_compile=True, autograph=False)
    found = search(*arguments)
    similarity = features[3].reshape(-1, 6) @ features[[0, 2]].reshape(-1, 6).T
    order = np.argsort(-similarity, 1)[:, : CRW.top_k]
    np.testing.assert_array_equal(found.cell[0], order + 40 * (order >= 40))
    best = np.take_along_axis(similarity, order, 1)
    np.testing.assert_allclose(found.similarity[0], best, atol=1e-6)


def test_frame_by_frame_with_other_labelled_frames():
    features, labels = random_video(10, 6, 13, 5)
    others, known = random_video(11, 2, 13, 5)
    pinned = [(others[0], known), (others[1], labels)]
    compiled, expected = CompiledPropagator(CRW), propagator.Propagator(CRW)
    for each in (compiled, expected):
        each.start(features[0], labels, pinned)
    for frame in features[1:]:
        np.testing.assert_allclose(compiled.step(frame), expected.step(frame), atol=2e-6)


def test_the_context_stays_as_it_was_when_a_frame_is_refused():
    settings = dataclasses.replace(CRW, temperature=0.08)
    features, labels = random_video(12, 4, 5, 5)
    compiled = CompiledPropagator(settings)
    with pytest.raises(errors.UserError, match='start'):
        compiled.step(features[0])
    with pytest.raises(errors.UserError, match='5x5.*5x4'):
        compiled.start(features[0], labels[:, :4])
    for _ in range(2):  # The second start forgets the first.
        compiled.start(features[0], labels)
        found = [labels, compiled.step(features[1])]
        with pytest.raises(errors.UserError, match='Frame 2'):
            compiled.step(features[2, :4])
        found += [compiled.step(frame) for frame in features[2:]]
        np.testing.assert_allclose(found, streamed(features, labels, settings), atol=2e-6)
    assert compiled_propagator._step(settings).experimental_get_tracing_count() == 1


def test_refuses_what_it_cannot_compute():
    features, labels = random_video(13, 3, 4, 5)
    with pytest.raises(errors.UserError, match='keep_ties'):
        propagate_clips(features[np.newaxis], labels[np.newaxis], DINO)
    with pytest.raises(errors.UserError, match='keep_ties'):
        choice.propagator(DINO, compiled=True)
    with pytest.raises(errors.UserError, match='1 videos have features and 2 have labels'):
        propagate_clips(features[np.newaxis], np.stack([labels, labels]), CRW)
    with pytest.raises(errors.UserError, match='4x5 cells, labels 3x5'):
        propagate_clips(features[np.newaxis], labels[np.newaxis, :3], CRW)


def test_it_is_chosen_where_tensorflow_sees_a_gpu(monkeypatch):
    assert isinstance(choice.propagator(CRW, compiled=True), CompiledPropagator)
    assert isinstance(choice.propagator(CRW), propagator.Propagator)
    seen = {'GPU': ['one'], 'TPU': []}
    monkeypatch.setattr(tf.config, 'get_visible_devices', seen.get)
    assert isinstance(choice.propagator(CRW), CompiledPropagator)
    assert isinstance(choice.propagator(CRW, compiled=False), propagator.Propagator)
    assert isinstance(choice.propagator(DINO), propagator.Propagator)
    gin.parse_config('propagator.compiled = False')
    assert isinstance(choice.propagator(CRW), propagator.Propagator)
