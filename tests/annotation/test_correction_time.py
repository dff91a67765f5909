"""The time of a correction beside that of a full run, by a clock that counts work."""

import types

from colour_neighbourhoods import GRID, neighbourhoods
import pytest

from stfc3_tf.annotation import correction_time, stretches
from stfc3_tf.propagation.extractor import FunctionExtractor
from stfc3_tf.serving import loading

FRAMES, ENCODING = 9, 1000


@pytest.fixture
def clock(monkeypatch):
    """A video of 9 small frames; a carried frame takes 1 second, an encoded one 1000."""
    spent = []

    def features(frames):
        spent.append(ENCODING * len(frames))
        return neighbourhoods(frames)

    carry = stretches.carry_masks

    def counted(*arguments):
        for found in carry(*arguments):
            spent.append(1)
            yield found

    monkeypatch.setattr(correction_time, '_FRAMES', FRAMES)
    monkeypatch.setattr(correction_time, '_SIZE', (48, 64))
    monkeypatch.setattr(correction_time, '_CORRECTED', (2, 5))
    monkeypatch.setattr(stretches, 'carry_masks', counted)
    monkeypatch.setattr(loading, 'load', lambda name: FunctionExtractor(features, GRID))
    counting = types.SimpleNamespace(process_time=lambda: sum(spent))
    monkeypatch.setattr(correction_time, 'time', counting)


def test_figures_are_those_of_the_work_that_was_done(clock):
    found = correction_time.measure('any', None)
    for count in (1, 2):
        search, correction, full = (
            found[f'{what} {count}, seconds'] for what in ('search', 'correction', 'full run')
        )
        # A session has all features; a full run begins with nothing.
        assert 0 < search == correction < ENCODING
        assert FRAMES * ENCODING < full < (FRAMES + 1) * ENCODING
        assert found[f'ratio {count}'] == pytest.approx(correction / full)
        assert found[f'ratio {count}, not searched'] == pytest.approx(search / full)
    # The first correction changes all frames, the second not those before the first.
    assert found['correction 1, seconds'] == found['full run 1, seconds'] % ENCODING
    assert found['correction 2, seconds'] < found['full run 2, seconds'] % ENCODING
    assert len(found) == 10
