"""Work in several processes ends whole: with results, or with one error and no process left."""

import multiprocessing
import os
import time

import pytest

from stfc3_tf import errors, processes


def refuse_first(number):
    if number == 0:
        raise errors.UserError('The file 0 is damaged.')
    time.sleep(600)


def die_first(number):
    if number == 0:
        os._exit(9)
    time.sleep(600)


@pytest.mark.slow
@pytest.mark.parametrize(
    'do, message',
    [
        (refuse_first, 'The file 0 is damaged'),
        (die_first, 'A worker process died. Use fewer'),
    ],
)
def test_one_failure_ends_all(do, message):
    start = time.monotonic()
    with pytest.raises(errors.UserError, match=message):
        list(processes.side_by_side(do, range(4), 2, advice='Use fewer.'))
    assert time.monotonic() - start < 300
    assert not multiprocessing.active_children()
