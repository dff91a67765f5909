"""A clock for measurements."""

import pytest

from stfc3_tf.speed import timing


@pytest.fixture
def clock(monkeypatch):
    """Sets the (wall, processor) seconds of the following timed calls, which are made once."""

    def set_clock(*readings):
        left = iter(readings)

        def seconds_per_call(function, repeats):
            function()
            return next(left)

        monkeypatch.setattr(timing, 'seconds_per_call', seconds_per_call)

    return set_clock
