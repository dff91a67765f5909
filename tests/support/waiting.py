"""Waiting in tests, which ends."""

import time


def until(condition, seconds=60, pause=0.02):
    """Return the first true value of a function; fail if there is none in time."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f'This did not happen in {seconds} seconds.'
        time.sleep(pause)
    return value
