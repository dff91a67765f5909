"""Seconds per call, and memory of processes."""

import os
import time

import pytest

from stfc3_tf import errors
from stfc3_tf.speed import timing, walk


def test_a_call_is_timed_without_its_first(monkeypatch):
    left, now = iter([0.5, 0.01, 0.03]), [0.0]
    monkeypatch.setattr(time, 'perf_counter', lambda: now[0])
    monkeypatch.setattr(time, 'process_time', lambda: now[0] / 4)

    def call():
        now[0] += next(left)

    assert timing.seconds_per_call(call, 2) == pytest.approx((0.02, 0.005))


def test_peak_memory_is_the_measurements_own():
    # Neither what this process holds, TensorFlow for one, nor what an earlier measurement held.
    small = timing.in_own_process(dict)['peak_gib']
    large = timing.in_own_process(dict.fromkeys, range(2_000_000))['peak_gib']
    assert timing.in_own_process(dict)['peak_gib'] == pytest.approx(small, abs=0.02)
    assert small < 0.25 and large > small + 0.1


def test_a_measurement_that_dies_is_named():
    with pytest.raises(RuntimeError, match='_exit.*did not finish'):
        timing.in_own_process(os._exit, 1)


def refuse():
    raise errors.UserError('no such video')


def test_a_mistake_of_the_user_is_that_of_the_measurement():
    with pytest.raises(errors.UserError, match='^no such video$'):
        timing.in_own_process(refuse)


@pytest.mark.slow
def test_the_walk_holds_its_transitions():
    figures = timing.in_own_process(walk.walk_memory, 1024, 16)
    # Of the nine transitions of a clip the gradient needs every one.
    assert 9 < figures['maps'] < 200
    # A map of 1,024 x 1,024 nodes is 4 MiB.
    assert 9 / 256 < figures['gib_per_clip'] < 200 / 256
