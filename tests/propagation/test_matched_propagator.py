"""The propagator that takes similar cells from elsewhere, against the plain one."""

import dataclasses

import numpy as np
import pytest
from random_videos import random_video
from small_protocols import CRW, DINO, VFS, each_grid

from stfc3_tf import errors
from stfc3_tf.propagation import candidates
from stfc3_tf.propagation.matched_propagator import MatchedPropagator
from stfc3_tf.propagation.propagator import Propagator

FAST = dataclasses.replace(CRW, precision='fast')


class Fresh:
    """A search that keeps nothing."""

    def __init__(self, settings):
        self._settings = settings

    def within_window(self, query, context):
        features = np.stack([frame.features for frame in context])
        return candidates.within_window(query.features, features, self._settings)

    def anywhere(self, query, frame):
        return candidates.anywhere(query.features, frame.features, self._settings)


def carried(propagator, features, labels, pinned):
    propagator.start(features[0], labels, pinned)
    return np.stack([np.asarray(propagator.step(frame)) for frame in features[1:]])


@each_grid
@pytest.mark.parametrize('settings', [CRW, VFS, FAST], ids=['crw', 'vfs', 'fast'])
@pytest.mark.parametrize('pins', [0, 2])
def test_labels_are_those_of_the_plain_propagator(settings, grid, pins):
    features, labels = random_video(3, 8, *grid)
    others, known = random_video(4, 2, *grid)
    pinned = [(each, known) for each in others[:pins]]
    found = carried(MatchedPropagator(settings, Fresh(settings)), features, labels, pinned)
    expected = carried(Propagator(settings), features, labels, pinned)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_it_may_be_started_again():
    features, labels = random_video(5, 6, 5, 7)
    propagator = MatchedPropagator(CRW, Fresh(CRW))
    first = carried(propagator, features, labels, [])
    carried(propagator, features[::-1], labels, [(features[0], labels)])
    np.testing.assert_array_equal(carried(propagator, features, labels, []), first)


def test_mistakes_are_named():
    with pytest.raises(errors.UserError, match='set keep_ties to False'):
        MatchedPropagator(DINO, Fresh(DINO))
    features, labels = random_video(5, 2, 5, 7)
    propagator = MatchedPropagator(CRW, Fresh(CRW))
    with pytest.raises(errors.UserError, match='give labels first'):
        propagator.step(features[0])
    propagator.start(features[0], labels)
    with pytest.raises(errors.UserError, match='all frames must have one size'):
        propagator.step(features[1, :4])
