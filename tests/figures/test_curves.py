"""Curves pass through the values in the logs."""

from __future__ import annotations

from figure_inputs import write_events
import numpy as np
import pytest

from stfc3_tf import errors, figures
from stfc3_tf.figures import (
    page,
)


def lines_of(axes):
    return {
        line.get_label(): line.get_xydata()
        for line in axes.get_lines()
        if line.get_label()[0] != '_'
    }


def test_curves_pass_through_what_was_written(tmp_path, drawn):
    write_events(tmp_path / 'a', {10: 3.0, 20: 1.0})
    write_events(tmp_path / 'a', {0: 1.0, 20: 500.0}, tag='probe/collapse_ratio')
    write_events(tmp_path / 'b', {5: 2.0, 15: 4.0})
    runs = {'first': str(tmp_path / 'a'), 'second': str(tmp_path / 'b')}
    figures.training_curves(runs, None, str(tmp_path / 'curves.png'))
    loss, collapse = drawn[0].axes
    np.testing.assert_array_equal(lines_of(loss)['first'], [[10, 3], [20, 1]])
    np.testing.assert_array_equal(lines_of(loss)['second'], [[5, 2], [15, 4]])
    np.testing.assert_array_equal(lines_of(collapse)['first'], [[0, 1], [20, 500]])
    assert len(lines_of(collapse)['second']) == 0
    assert (loss.get_ylabel(), collapse.get_ylabel()) == ('loss', 'collapse ratio')
    assert (loss.get_yscale(), collapse.get_yscale()) == ('linear', 'log')
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ['first', 'second']


def test_a_smoothed_curve_has_its_own_colour_and_the_raw_one_behind(tmp_path, drawn):
    write_events(tmp_path / 'a', {1: 3.0, 2: 1.0, 3: 8.0, **dict.fromkeys(range(4, 30), 8.0)})
    runs = {'first': str(tmp_path / 'a'), 'second': str(tmp_path / 'a')}
    figures.training_curves(runs, ['train/loss'], str(tmp_path / 'curves.png'), smoothing=0.5)
    smooth, raw, other, _ = drawn[0].axes[0].get_lines()
    expected = [3, (1.5 + 1) / 1.5, (0.75 + 0.5 + 8) / 1.75]
    np.testing.assert_allclose(smooth.get_ydata()[:3], expected)
    np.testing.assert_array_equal(raw.get_ydata()[:3], [3, 1, 8])
    assert smooth.get_color() == raw.get_color() == page.COLOURS[0]
    assert other.get_color() == page.COLOURS[1]


def test_few_points_are_drawn_as_they_are(tmp_path, drawn):
    write_events(tmp_path / 'a', {1: 3.0, 2: 1.0, 3: 8.0})
    run = {'first': str(tmp_path / 'a')}
    figures.training_curves(run, ['train/loss'], str(tmp_path / 'curves.png'), smoothing=0.9)
    (line,) = drawn[0].axes[0].get_lines()
    np.testing.assert_array_equal(line.get_xydata(), [[1, 3], [2, 1], [3, 8]])
    assert line.get_marker() == '.'


@pytest.mark.parametrize('last', [0, 1, 3, 500])
def test_ticks_are_at_whole_steps(tmp_path, drawn, last):
    write_events(tmp_path / 'run', {0: 1.0, last: 1.0})
    figures.training_curves({'run': str(tmp_path / 'run')}, None, str(tmp_path / 'a.png'))
    ticks = drawn[-1].axes[0].get_xticks()
    np.testing.assert_array_equal(ticks, np.round(ticks))


def test_curves_that_cannot_be_drawn(tmp_path):
    write_events(tmp_path / 'a', {1: 3.0})
    runs, output = {'first': str(tmp_path / 'a')}, str(tmp_path / 'curves.png')
    with pytest.raises(errors.UserError, match='the scalar loss. What first has: train/loss.'):
        figures.training_curves(runs, ['loss'], output)
    with pytest.raises(errors.UserError, match='scalars a, b. What first, again have: train/loss'):
        figures.training_curves({**runs, 'again': str(tmp_path / 'a')}, ['b', 'a'], output)
    with pytest.raises(errors.UserError, match='smoothing=1: give'):
        figures.training_curves(runs, None, output, smoothing=1.0)


def test_loss_against_quality(tmp_path, drawn):
    points = {'fc3': [(0, 9.0, 0.5), (10, 1.0, 0.2)], 'stfc3': [(0, 9.0, 0.5), (10, 5.0, 0.7)]}
    figures.loss_against_quality(points, str(tmp_path / 'a.png'), 'J')
    path, last, *_ = drawn[0].axes[0].get_lines()
    np.testing.assert_array_equal(path.get_xydata(), [[9, 0.5], [1, 0.2]])
    np.testing.assert_array_equal(last.get_xydata(), [[1, 0.2]])
    with pytest.raises(errors.UserError, match='late: no step has both'):
        figures.loss_against_quality({'late': []}, str(tmp_path / 'b.png'))
