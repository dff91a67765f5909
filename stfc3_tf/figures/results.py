"""Scores of several evaluations side by side, sequence by sequence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from stfc3_tf import errors
from stfc3_tf.benchmarks import files
from stfc3_tf.figures import page

# Inches: of one bar, of the space between sequences, of all of them at most, of axis and legend.
_BAR, _GAP, _MOST, _FRAME = 0.09, 0.07, 8.5, 0.75
_FONT_SIZE = 7.0
_ALL = 'all sequences'
_REQUIRED = ('task', 'metrics', 'sequences')


def read_results(path: str) -> dict[str, Any]:
    """Reads the results.json that tools.evaluate writes.

    Raises:
      errors.UserError: it is missing or something else.
    """
    try:
        results = json.loads(files.read_bytes(path))
    except ValueError as error:
        raise errors.UserError(f'{path} is not JSON: {error}') from error
    if not isinstance(results, dict) or any(key not in results for key in _REQUIRED):
        raise errors.UserError(
            f'{path} lacks {", ".join(_REQUIRED)}: give a results.json that tools.evaluate wrote.'
        )
    return results


def scores(results: Mapping[str, Mapping[str, Any]], metric: str | None, output: str) -> None:
    """Draws a figure of merit of every sequence and of the whole, a bar an evaluation.

    Sequences are ordered by the score of the first evaluation.

    Args:
      results: name -> contents of results.json, all of one task and the same sequences.
      metric: as named there; None for the first that the benchmark reports.
      output: path, its ending one of `page.ENDINGS`.

    Raises:
      errors.UserError: results that cannot be compared, or a metric that they do not have.
    """
    page.check_ending(output)
    _check_comparable(results)
    metric = metric or next(iter(next(iter(results.values()))['metrics']))
    heights = {name: _heights(name, result, metric) for name, result in results.items()}
    first = next(iter(heights.values()))
    order = sorted(first, key=lambda sequence: (sequence != _ALL, -np.nan_to_num(first[sequence])))
    step = min(len(results) * _BAR + _GAP, _MOST / len(order))
    with page.page(output, len(order) * step + _FRAME) as figure:
        axes = figure.subplots()
        _draw(axes, heights, order, metric)
        # 72 points to an inch; lines of text do not touch.
        axes.tick_params(axis='y', length=0, labelsize=min(_FONT_SIZE, 0.85 * 72 * step))
        figure.legend(loc='outside upper center', ncols=min(3, len(results)))


def _check_comparable(results: Mapping[str, Mapping[str, Any]]) -> None:
    (first, reference), *others = results.items()
    for name, result in others:
        if result['task'] != reference['task']:
            raise errors.UserError(
                f'{first} is of the task {reference["task"]}, {name} of {result["task"]}: compare '
                'results of one task.'
            )
        alone = sorted(set(reference['sequences']) ^ set(result['sequences']))
        if alone:
            raise errors.UserError(
                f'Only one of {first} and {name} has the sequences {", ".join(alone[:5])}'
                f'{", ..." if len(alone) > 5 else ""}: evaluate both on the same ones.'
            )


def _heights(name: str, result: Mapping[str, Any], metric: str) -> dict[str, float]:
    """Score by sequence, the whole first; NaN where the benchmark leaves it undefined."""
    found = {_ALL: result['metrics'].get(metric)}
    for sequence, record in result['sequences'].items():
        if metric not in record['metrics']:
            raise errors.UserError(
                f'{name}: {sequence} has no figure {metric!r}, only '
                f'{", ".join(record["metrics"])}.'
            )
        found[sequence] = record['metrics'][metric]
    return {key: np.nan if value is None else float(value) for key, value in found.items()}


def _draw(axes, heights: Mapping[str, Mapping[str, float]], order: list[str], metric: str) -> None:
    thickness = _BAR / (len(heights) * _BAR + _GAP)
    places = np.arange(len(order))
    for number, (name, scored) in enumerate(heights.items()):
        offset = (number - (len(heights) - 1) / 2) * thickness
        axes.barh(
            places + offset,
            [scored[sequence] for sequence in order],
            thickness,
            color=page.COLOURS[number % len(page.COLOURS)],
            label=f'{name}: {scored[_ALL]:.3f}',
        )
    axes.axhline(0.5, color='0.5', linewidth=0.6)
    axes.set_yticks(places, order)
    axes.set(xlabel=metric, ylim=(len(order) - 0.5, -0.5))
    axes.grid(axis='x', color='0.88', linewidth=0.5)
    axes.set_axisbelow(True)
