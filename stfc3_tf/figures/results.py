"""The scores of several evaluations side by side, per sequence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Optional, Union

import annotated_types
import numpy as np
import pydantic
from typing_extensions import TypedDict

from stfc3_tf import errors
from stfc3_tf.figures import page
from stfc3_tf.storage import files

# Inches: a bar, the space between sequences, all sequences at most, axis and legend.
_BAR, _GAP, _MOST, _FRAME = 0.09, 0.07, 8.5, 0.75
_FONT_SIZE = 7.0
_ALL = 'all sequences'
_Figures = dict[str, Optional[Union[float, str]]]


@pydantic.with_config(pydantic.ConfigDict(extra='allow'))
class _Sequence(TypedDict):
    metrics: _Figures


@pydantic.with_config(pydantic.ConfigDict(extra='allow'))
class _Results(TypedDict):
    """The parts of results.json that are used here."""

    task: str
    metrics: Annotated[_Figures, annotated_types.MinLen(1)]
    sequences: dict[str, _Sequence]


def read_results(path: str) -> dict[str, Any]:
    """Read the results.json of an evaluation.

    Raises:
      errors.UserError: the file is missing or has other contents.
    """
    return files.read_json(path, _Results, 'Give a results.json that tools.evaluate wrote.')


def scores(results: Mapping[str, Mapping[str, Any]], metric: str | None, output: str) -> None:
    """Draw a metric of every sequence and of all together, with one bar per evaluation.

    Sequences are ordered by the score of the first evaluation.

    Args:
      results: contents of results.json by name, all of one task and the same sequences.
      metric: its name in the results; None for the first that the benchmark reports.
      output: path, its ending one of `page.ENDINGS`.

    Raises:
      errors.UserError: the results cannot be compared, or do not have the metric.
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
        # In points, of which an inch has 72, so that lines of text do not touch.
        axes.tick_params(axis='y', length=0, labelsize=min(_FONT_SIZE, 0.85 * 72 * step))
        figure.legend(loc='outside upper center', ncols=min(3, len(results)))


def _check_comparable(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise UserError unless all results are of one task and the same sequences."""
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
    """Return the scores by sequence, that of all sequences first; NaN if undefined."""
    found = {_ALL: result['metrics'].get(metric)}
    for sequence, record in result['sequences'].items():
        if metric not in record['metrics']:
            raise errors.UserError(
                f'{name}: {sequence} has no metric {metric!r}, only {", ".join(record["metrics"])}.'
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
