"""Calls that are timed in turn."""

import functools
import os
import time

import pytest

from stfc3_tf.speed import alternation


def noted(path, name, *pauses):
    """Return a call that writes its name, and that takes as long as given on this process's clocks.

    A quarter of the time is the processor's.
    """
    left, now = iter(pauses), [0.0]
    time.perf_counter = lambda: now[0]
    time.process_time = lambda: now[0] / 4

    def call():
        with path.open('a') as file:
            file.write(f'{name} {os.getpid()}\n')
        now[0] += next(left)

    return call


def held(size):
    """Return a call that does nothing, beside so many bytes in memory."""
    return functools.partial(len, b'1' * size)


def deadly():
    return functools.partial(os._exit, 1)


def test_calls_take_turns_and_ratios_are_of_rounds(tmp_path):
    path = tmp_path / 'calls'
    here = noted, (path, 'here', 0.0, 0.1, 0.2, 0.4)
    other = noted, (path, 'other', 0.0, 0.3, 0.4, 0.4)
    figures = alternation.compare(here, {'other': other}, rounds=3, calls=1)
    names, processes = zip(*(line.split() for line in path.read_text().splitlines()))
    # Each is called once to warm up.
    assert names == ('here', 'other') + ('here', 'other') * 3
    assert len(set(processes)) == 2 and str(os.getpid()) not in processes
    assert figures['here seconds'] == pytest.approx(0.2)
    assert figures['other seconds'] == pytest.approx(0.4)
    assert figures['other processor seconds'] == pytest.approx(0.1)
    assert figures['other / here'] == pytest.approx(2)
    assert figures['other / here, range'] == pytest.approx([1, 3])


def test_memory_is_that_of_the_call():
    figures = alternation.compare((held, (1,)), {'other': (held, (300 * 2**20,))}, 1, calls=1)
    assert figures['here GiB'] < 0.1
    assert 0.25 < figures['other GiB'] < 0.5


def test_a_call_that_dies_is_named():
    with pytest.raises(RuntimeError, match='The measurement of other did not finish'):
        alternation.compare((held, (1,)), {'other': (deadly, ())}, 1, calls=1)
