"""How the time of propagation grows, with small grids and few calls."""

import pytest

from stfc3_tf.speed import growth, propagation, timing


@pytest.fixture
def small(monkeypatch):
    """Grids of a few cells."""
    monkeypatch.setattr(growth, '_GRID', {'rows': 6, 'columns': 10, 'channels': 4})


@pytest.fixture
def clock(monkeypatch):
    """Sets the seconds, on the clock and of processors, of the following calls."""

    def set_clock(*readings):
        left = iter(readings)

        def seconds_of(function, repeats):
            function()
            return next(left)

        monkeypatch.setattr(timing, 'seconds_of', seconds_of)

    return set_clock


def test_the_least_of_some_calls_is_kept(small, clock):
    clock((3.0, 1.0), (2.0, 4.0), (7.0, 6.0), (8.0, 5.0))
    assert growth.by_objects([1, 3], calls=2) == {
        'axis': 'objects',
        'values': [1, 3],
        'seconds': [2.0, 7.0],
        'processor_seconds': [1.0, 5.0],
    }


def test_a_clip_costs_the_mean_of_its_frames(small, clock):
    clock((1.0, 1.0), (2.0, 3.0), (6.0, 5.0))
    figures = growth.by_length([2, 4])
    assert figures['seconds'] == [1.0, 3.0] and figures['processor_seconds'] == [1.0, 3.0]


@pytest.mark.parametrize('measure', [growth.by_height, growth.by_context, growth.by_radius])
def test_every_curve_is_measured(measure, small):
    figures = measure([8, 16], calls=1)
    assert figures['values'] == [8, 16] and min(figures['seconds']) > 0


def test_what_is_timed_has_the_size_that_was_asked_for():
    labels = propagation.prepare(6, 10, 4, labels=3, context=2, radius=2.0)()
    assert labels.shape == (6, 10, 3)
    context = propagation.full_context(6, 10, 4, labels=3, context=30)[1]
    assert context.shape == (31, 6, 10, 4)
