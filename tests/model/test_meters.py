"""The figures of training, by hand."""

import math

import pytest
import tensorflow as tf

from stfc3_tf.model import meters


def add(found, loss, probability, returned, finite=True):
    sums = {
        'loss': loss,
        'cycle_losses': tf.constant([0.25, 0.75]) * loss,
        'probability': probability,
        'returned': returned,
        'sampled': 4.0,
    }
    visible, nodes = tf.constant(12.0), tf.constant(48.0)
    found.add({k: tf.constant(v) for k, v in sums.items()}, visible, nodes, tf.constant(finite))
    found.add_gradient(tf.constant(loss), tf.constant(finite))


def test_figures_are_means_over_the_steps_that_count():
    found = meters.Meters(2)
    add(found, 2.0, 6.0, 3.0)
    add(found, float('nan'), float('nan'), 4.0, finite=False)
    add(found, 4.0, 3.0, 1.0)
    results = {name: float(value) for name, value in found.results().items()}
    # Of 12 visible nodes of 48, 4 were sampled for the accuracy.
    assert results == pytest.approx(
        {
            'loss': 3,
            'loss/cycle_1': 0.75,
            'loss/cycle_2': 2.25,
            'return_probability': 0.375,
            'cycle_accuracy': 0.5,
            'visible_fraction': 0.25,
            'gradient_norm': 3,
            'skipped_steps': 1 / 3,
        }
    )


def test_skipped_steps_alone_have_no_figures():
    found = meters.Meters(1)
    sums = dict.fromkeys(('loss', 'probability', 'returned', 'sampled'), tf.constant(float('inf')))
    sums['cycle_losses'] = tf.constant([float('inf')])
    found.add(sums, tf.constant(12.0), tf.constant(48.0), tf.constant(False))
    found.add_gradient(tf.constant(float('inf')), tf.constant(False))
    results = {name: float(value) for name, value in found.results().items()}
    assert results.pop('skipped_steps') == 1 and len(results) == 6
    assert all(map(math.isnan, results.values()))


def test_a_step_in_which_nothing_is_visible_gives_zeros():
    found = meters.Meters(1)
    sums = dict.fromkeys(('loss', 'probability', 'returned', 'sampled'), tf.constant(0.0))
    sums['cycle_losses'] = tf.constant([0.0])
    found.add(sums, tf.constant(0.0), tf.constant(16.0), tf.constant(True))
    results = found.results()
    assert float(results['return_probability']) == float(results['cycle_accuracy']) == 0
