"""The order of clips without a table: a permutation for every size, another for every key."""

import collections
import itertools

import numpy as np
import pytest

from stfc3_tf.clips import shuffle


def _order(size, key):
    return [shuffle.shuffled(place, size, key) for place in range(size)]


def _chi_square(counts):
    """Return chi-squared of counts that should be equal, minus its mean, in standard deviations."""
    counts = np.asarray(counts)
    expected, freedom = counts.mean(), len(counts) - 1
    return (((counts - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom)


def test_every_element_is_at_one_place():
    for size in [*range(1, 201), 251, 509, 1021, 1024, 7919]:
        assert sorted(_order(size, 17 + size)) == list(range(size)), size


@pytest.mark.parametrize('key', [0, 2**64 - 1])
def test_a_large_order_is_a_permutation(key):
    assert np.array_equal(np.bincount(_order(10**5, key)), np.ones(10**5))


def test_sizes_beyond_any_table():
    size = 100_000_000 * 5
    found = [shuffle.shuffled(place, size, 3) for place in range(2000)]
    assert len(set(found)) == 2000 and min(found) >= 0 and max(found) < size
    tenths = np.bincount(np.array(found) // (size // 10), minlength=10)
    assert abs(_chi_square(tenths)) < 4


def test_places_that_are_not_there():
    for place in (-1, 5):
        with pytest.raises(ValueError, match='0 ... 4'):
            shuffle.shuffled(place, 5, 0)


@pytest.mark.parametrize('size', [2, 3, 7, 10, 16, 61])
def test_over_keys_the_first_place_holds_every_element_equally_often(size):
    found = [shuffle.shuffled(0, size, key) for key in range(200 * size)]
    assert abs(_chi_square(np.bincount(found, minlength=size))) < 4


@pytest.mark.parametrize('size', [3, 4])
def test_over_keys_all_orders_are_equally_frequent(size):
    orders = collections.Counter(tuple(_order(size, key)) for key in range(2400))
    assert set(orders) == set(itertools.permutations(range(size)))
    assert abs(_chi_square(list(orders.values()))) < 4


def test_neighbours_are_no_more_alike_than_in_an_order_drawn_at_random():
    size, keys = 1009, 12

    def likeness(order):
        return abs(np.corrcoef(order[:-1], order[1:])[0, 1])

    drawn = [likeness(np.random.default_rng(key).permutation(size)) for key in range(keys)]
    assert max(likeness(_order(size, key)) for key in range(keys)) < 2 * max(drawn)
    # Steps from place to place do not recur either: none of 16 classes is preferred.
    steps = [np.diff(_order(size, key)) % size * 16 // size for key in range(keys)]
    assert abs(_chi_square(np.bincount(np.concatenate(steps), minlength=16))) < 4


def test_orders_of_different_keys_are_unrelated():
    size = 2003
    orders = [_order(size, key) for key in (0, 1, 2, 2**32, 2**63, 2**64 - 1)]
    for one, other in itertools.combinations(orders, 2):
        # Agreements of unrelated orders are Poisson with mean 1.
        assert sum(a == b for a, b in zip(one, other)) < 10
        assert abs(np.corrcoef(one, other)[0, 1]) < 4 / np.sqrt(size)
