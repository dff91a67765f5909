"""Similar cells, kept on disk: searched once, whatever the labels are."""

import dataclasses

import numpy as np
import pytest
from random_videos import random_video
from small_protocols import CRW, DINO

from stfc3_tf.annotation.kept_matches import KeptMatches
from stfc3_tf.propagation import candidates
from stfc3_tf.propagation.propagator import Propagator


@pytest.fixture
def searches(monkeypatch):
    """Return the list that grows by one for every search."""
    made = []
    for name in ('within_window', 'anywhere'):
        original = getattr(candidates, name)

        def counted(*arguments, original=original):
            made.append(original)
            return original(*arguments)

        monkeypatch.setattr(candidates, name, counted)
    return made


def carried(propagator, features, labels, pinned=()):
    propagator.start(features[0], labels, pinned)
    return np.stack([np.asarray(propagator.step(frame)) for frame in features[1:]])


def test_other_labels_need_no_other_search(tmp_path, searches):
    features, labels = random_video(1, 7, 6, 9)
    carried(KeptMatches(str(tmp_path), 1 << 30).propagator(CRW), features, labels)
    assert len(searches) == 2 * 6
    again = KeptMatches(str(tmp_path), 1 << 30).propagator(CRW)
    other = np.roll(labels, 2, axis=0)
    expected = carried(Propagator(CRW), features, other)
    np.testing.assert_allclose(carried(again, features, other), expected, atol=2e-5)
    assert len(searches) == 2 * 6


def test_one_more_labelled_frame_is_the_only_one_compared(tmp_path, searches):
    features, labels = random_video(1, 7, 6, 9)
    kept, pinned = KeptMatches(str(tmp_path), 1 << 30), [(features[-1], labels[::-1])]
    carried(kept.propagator(CRW), features[:-1], labels)
    searches.clear()
    found = carried(kept.propagator(CRW), features[:-1], labels, pinned)
    assert len(searches) == 5
    expected = carried(Propagator(CRW), features[:-1], labels, pinned)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize(
    'change', [{'radius': 2.0}, {'window': 'square'}, {'top_k': 2}, {'precision': 'fast'}]
)
def test_other_settings_are_searched_again(tmp_path, searches, change):
    features, labels = random_video(2, 5, 6, 9)
    kept = KeptMatches(str(tmp_path), 1 << 30)
    carried(kept.propagator(CRW), features, labels)
    searches.clear()
    other = dataclasses.replace(CRW, **change)
    found, expected = (
        carried(p, features, labels) for p in (kept.propagator(other), Propagator(other))
    )
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert len(searches) >= 4


def test_without_room_the_labels_are_the_same(tmp_path, searches):
    features, labels = random_video(3, 5, 6, 9)
    room, none = KeptMatches(str(tmp_path / 'a'), 1 << 30), KeptMatches(str(tmp_path / 'b'), 0)
    found = [carried(kept.propagator(CRW), features, labels) for kept in (room, none, none)]
    assert len(searches) == 3 * 2 * 4
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_where_ties_are_kept_nothing_else_is(tmp_path, searches):
    features, labels = random_video(4, 5, 6, 9)
    found = carried(KeptMatches(str(tmp_path), 1 << 30).propagator(DINO), features, labels)
    np.testing.assert_array_equal(found, carried(Propagator(DINO), features, labels))
    assert not searches
