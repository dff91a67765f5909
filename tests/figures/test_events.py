"""Scalars are read as they were written, also of runs that were resumed."""

from __future__ import annotations

from figure_inputs import write_events
import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.figures import events


def test_scalars_are_those_written(tmp_path):
    tmp_path = tmp_path / 'run [lr=1e-4]'  # A name, not a pattern.
    write_events(tmp_path / 'tensorboard', {10: 3.5, 20: 2.25, 30: float('nan')})
    scalars = events.read_scalars(str(tmp_path))
    assert list(scalars) == ['train/loss']
    steps, values = scalars['train/loss']
    np.testing.assert_array_equal(steps, [10, 20, 30])
    np.testing.assert_array_equal(values, [3.5, 2.25, np.nan])
    np.testing.assert_array_equal(
        events.read_scalars(f'{tmp_path}/tensorboard')['train/loss'][0], steps
    )


def test_of_steps_taken_twice_the_later_count(tmp_path):
    """Killed after step 50, resumed from 20 at another interval, killed at 45, resumed from 40."""
    first = {step: step + 0.0 for step in range(10, 60, 10)}
    write_events(tmp_path, first, {25: 25.5, 35: 35.5, 40: 40.5, 45: 45.5}, {50: 50.5, 60: 60.5})
    steps, values = events.read_scalars(str(tmp_path))['train/loss']
    np.testing.assert_array_equal(steps, [10, 20, 25, 35, 40, 45, 50, 60])
    np.testing.assert_array_equal(values, [10, 20, 25.5, 35.5, 40.5, 45.5, 50.5, 60.5])


def test_a_step_that_two_starts_took_has_the_value_of_the_later(tmp_path):
    write_events(tmp_path, {10: 10.0, 20: 20.0}, {20: 20.5, 30: 30.5})
    steps, values = events.read_scalars(str(tmp_path))['train/loss']
    np.testing.assert_array_equal(steps, [10, 20, 30])
    np.testing.assert_array_equal(values, [10, 20.5, 30.5])


def test_after_the_clock_was_set_back_the_later_start_still_counts(tmp_path):
    """The second start, from the beginning, has the earlier time in its name."""
    parts = ({10: 1.0, 20: 1.0, 30: 1.0}, {5: 2.0, 15: 2.0})
    for values, when in zip(parts, (2_000_000_000, 1_000_000_000)):
        ending = events.start_suffix(str(tmp_path))
        (tmp_path / 'new').mkdir()
        write_events(tmp_path / 'new', values)
        (written,) = (tmp_path / 'new').iterdir()
        written.rename(tmp_path / f'events.out.tfevents.{when}.host.1{ending}')
        (tmp_path / 'new').rmdir()
    steps, values = events.read_scalars(str(tmp_path))['train/loss']
    np.testing.assert_array_equal(steps, [5, 15])
    np.testing.assert_array_equal(values, [2, 2])


def test_starts_are_numbered_beyond_nine(tmp_path):
    assert events.start_suffix(str(tmp_path / 'absent')) == '.start-0001.v2'
    for number in range(1, 12):
        ending = events.start_suffix(str(tmp_path))
        assert ending == f'.start-{number:04d}.v2'
        (tmp_path / f'events.out.tfevents.1.host.1{ending}').touch()


@pytest.mark.parametrize('place', [0.3, 0.6, 0.9])
def test_a_flipped_bit_costs_what_follows_it_and_is_warned_of(tmp_path, caplog, place):
    write_events(tmp_path, {step: float(step) for step in range(1, 21)})
    (path,) = tmp_path.iterdir()
    contents = bytearray(path.read_bytes())
    contents[int(place * len(contents))] ^= 4
    path.write_bytes(contents)
    steps, values = events.read_scalars(str(tmp_path))['train/loss']
    assert 0 < len(steps) < 20 and abs(len(steps) - 20 * place) < 3
    np.testing.assert_array_equal(steps, np.arange(1, len(steps) + 1))
    np.testing.assert_array_equal(values, steps)
    assert path.name in caplog.text and f'after {len(steps)} values' in caplog.text


def test_a_file_that_ends_within_a_record(tmp_path):
    write_events(tmp_path, {1: 1.0, 2: 2.0, 3: 3.0})
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-200])
    steps, _ = events.read_scalars(str(tmp_path))['train/loss']
    assert 0 < len(steps) < 4 and steps[0] == 1


def test_runs_without_scalars(tmp_path):
    with pytest.raises(errors.UserError, match='holds no TensorBoard event files'):
        events.read_scalars(str(tmp_path))
    tf.summary.create_file_writer(str(tmp_path)).close()
    with pytest.raises(errors.UserError, match='hold no scalars yet'):
        events.read_scalars(str(tmp_path))


def test_smoothing_is_a_weighted_mean_of_what_came_before():
    values = [4.0, 1.0, np.nan, 7.0, 2.0]
    for weight in (0.0, 0.6, 0.95):
        for n, found in enumerate(events.smoothed(np.array(values), weight)):
            # TensorBoard does not count what is not finite.
            past = [value for value in values[: n + 1] if np.isfinite(value)]
            weights = [weight ** (len(past) - 1 - i) for i in range(len(past))]
            assert found == pytest.approx(np.dot(weights, past) / sum(weights))
