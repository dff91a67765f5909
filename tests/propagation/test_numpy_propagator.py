"""NumPy's propagator gives TensorFlow's labels, and those of the reference script."""

import dataclasses
import pathlib

import numpy as np
import pytest
from random_videos import random_video
from small_protocols import CRW, DINO, each_grid, each_protocol

from stfc3_tf import errors
from stfc3_tf.propagation import numpy_propagator, propagator
from stfc3_tf.propagation.settings import PropagationSettings

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'


def carried(features, first_labels, settings):
    found = numpy_propagator.NumpyPropagator(settings)
    found.start(features[0], first_labels)
    return np.stack([first_labels, *(found.step(frame) for frame in features[1:])])


@each_protocol
@each_grid
def test_the_labels_of_tensorflow(settings, grid):
    features, first_labels = random_video(1, 6, *grid)
    expected = propagator.propagate_stream(features, first_labels, settings)
    np.testing.assert_allclose(
        carried(features, first_labels, settings), np.stack(list(expected)), atol=2e-5
    )


@pytest.mark.parametrize(
    'changes',
    [
        {'radius': 1.0},
        {'radius': 2.5},
        {'radius': float('inf')},
        {'radius': 1e10},
        {'radius': 3.0, 'window': 'square'},
        {'radius': 0.5, 'window': 'square'},
        {'top_k': 1},
        {'top_k': 1000},
        {'top_k': 1000, 'keep_ties': True},
        {'temperature': 0.01},
    ],
)
def test_settings(changes):
    settings = dataclasses.replace(CRW, **changes)
    features, first_labels = random_video(3, 6, 20, 17)
    expected = propagator.propagate_stream(features, first_labels, settings)
    np.testing.assert_allclose(
        carried(features, first_labels, settings), np.stack(list(expected)), atol=2e-5
    )


@pytest.mark.parametrize('tag', ['t005', 't007'])
def test_equals_the_reference_script(tag):
    golden = np.load(GOLDEN / 'label_propagation.npz')
    features = golden['frame_features'].transpose(0, 2, 3, 1)
    settings = PropagationSettings(context=3, radius=3, top_k=5, temperature=int(tag[1:]) / 100)
    labels = carried(features, golden['first_label'], settings)
    np.testing.assert_allclose(labels, golden[f'pred_{tag}'], atol=1e-5)


def test_all_alike_keeps_every_tie():
    features = np.ones((3, 6, 20, 1), np.float32)
    first = np.random.default_rng(6).random((6, 20, 3)).astype(np.float32)
    settings = dataclasses.replace(DINO, radius=100.0, top_k=3)
    found = carried(features, first, settings)
    np.testing.assert_allclose(found[1][2, 7], first.mean((0, 1)), atol=1e-5)


def test_maps_that_do_not_fit_are_refused():
    features, labels = random_video(13, 3, 5, 5)
    found = numpy_propagator.NumpyPropagator(CRW)
    with pytest.raises(errors.UserError, match='start'):
        found.step(features[0])
    with pytest.raises(errors.UserError, match='5x5.*5x4'):
        found.start(features[0], labels[:, :4])
    found.start(features[0], labels)
    found.step(features[1])
    with pytest.raises(errors.UserError, match='Frame 2'):
        found.step(features[2, :4])
