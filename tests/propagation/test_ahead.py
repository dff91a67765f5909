"""Items that are made in a thread, one ahead: order, errors, and what remains of the thread."""

import threading
import time

import pytest

from stfc3_tf.propagation import ahead


def threads():
    return [each for each in threading.enumerate() if each.name.startswith('one_ahead')]


def test_items_come_in_order_and_one_is_made_while_another_is_used():
    made = []

    def items():
        for number in range(4):
            made.append(number)
            yield number

    seen = ahead.one_ahead(items())
    for number in range(3):
        assert next(seen) == number
        end = time.monotonic() + 10
        while len(made) < number + 2 and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(0.01)
        assert made == [*range(number + 2)]
    assert list(seen) == [3]
    assert not threads()


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        yield 2
        raise ValueError('the third')

    seen = ahead.one_ahead(items())
    assert next(seen) == 1 and next(seen) == 2
    with pytest.raises(ValueError, match='the third'):
        next(seen)
    assert not threads()


def test_nothing_remains_of_a_thread_whose_items_are_no_longer_wanted():
    endless = ahead.one_ahead(iter(lambda: time.sleep(0.01) or 0, 1))
    assert next(endless) == 0
    endless.close()
    assert not threads()


def test_no_items_are_no_items():
    assert list(ahead.one_ahead(iter([]))) == []
