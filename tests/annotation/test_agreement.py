"""Which side counts between two labelled frames."""

import numpy as np
import pytest
from random_videos import random_video

from stfc3_tf.annotation import agreement
from stfc3_tf.annotation.agreement import Known
from stfc3_tf.propagation.settings import PropagationSettings


def agreed(*frames):
    """Agreement of one label, [frames, 1]."""
    return np.array(frames, float)[:, np.newaxis]


@pytest.mark.parametrize('count', [1, 2, 5, 20, 21])
def test_sides_that_agree_equally_meet_in_the_middle(count):
    shares = agreement.shares(*np.full((2, count, 1), 0.6))
    np.testing.assert_allclose(shares + shares[::-1], 1)
    assert (np.diff(shares, axis=0) <= 0).all()


def test_the_sides_change_once_where_most_is_gained():
    # The earlier frame is better up to frame 12 of 30, with a bad moment at frames 4 and 5.
    forward = agreed(*[0.8] * 3, *[0.3] * 2, *[0.8] * 7, *[0.3] * 18)
    shares = agreement.shares(forward, np.full_like(forward, 0.5))[:, 0]
    assert (shares[:8] == 1).all() and (shares[17:] == 0).all()
    assert shares[11] > 0.5 > shares[12]
    turned = agreement.shares(np.full_like(forward, 0.5), forward[::-1])[:, 0]
    np.testing.assert_allclose(shares, 1 - turned[::-1])


@pytest.mark.parametrize('better', [0, 1])
def test_a_side_that_is_never_better_counts_only_next_to_its_label(better):
    sides = np.array([np.full((40, 2), 0.2), np.full((40, 2), 0.7)])
    shares = agreement.shares(sides[1 - better], sides[better])
    assert np.abs(shares[5:35] - (1 - better)).max() == 0
    # With the two labelled frames at its ends there is no jump.
    whole = np.concatenate([np.ones((1, 2)), shares, np.zeros((1, 2))])
    assert np.diff(whole, axis=0).min() > -0.25


def test_labels_change_sides_one_by_one():
    forward, backward = np.full((2, 30, 2), 0.5)
    forward[:20, 0], backward[10:, 1] = 0.9, 0.9
    shares = agreement.shares(forward, backward)
    assert shares[15].tolist() == [1, 0]


def test_true_labels_agree_and_shifted_ones_do_not():
    """A grid of more cells than are compared; the label maps of all frames are the same."""
    features, labels = random_video(2, 1, 40, 50, 16)
    labels = (labels == labels.max(axis=-1, keepdims=True)).astype(np.float32)
    known = [Known(features[0], labels)] * 2
    sides = [labels, np.roll(labels, 7, axis=0)]
    found = agreement.agreement(features[0], sides, known, PropagationSettings(temperature=0.01))
    assert found.shape == (2, labels.shape[-1])
    assert found[0].min() > 0.95 and found[1].max() < 0.6


def test_nothing_agrees_with_nothing():
    features, labels = random_video(2, 1, 4, 5, 16)
    known = [Known(features[0], 0 * labels)]
    found = agreement.agreement(features[0], [0 * labels] * 2, known, PropagationSettings())
    assert (found == 0).all()
