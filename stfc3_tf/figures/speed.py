"""Curves of the time of propagation, as `tools.benchmark --what=curves` measured it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import itertools

import pydantic
from typing_extensions import TypedDict

from stfc3_tf import errors
from stfc3_tf.figures import page
from stfc3_tf.storage import files

_HEIGHT = 1.9
_REMEDY = 'Give the file that tools.benchmark --what=curves wrote.'
_Curve = tuple[Sequence[float], Sequence[float]]


@pydantic.with_config(pydantic.ConfigDict(extra='allow'))
class _Figures(TypedDict, total=False):
    """Figures of a measurement; curves have all of these."""

    axis: str
    values: list[float]
    processor_seconds: list[float]


@pydantic.with_config(pydantic.ConfigDict(extra='allow'))
class _Speed(TypedDict):
    """The part of the benchmark's file that is used here."""

    measurements: dict[str, _Figures]


def read_curves(path: str) -> dict[str, _Curve]:
    """Read the curves of a file that `tools.benchmark --what=curves` wrote.

    Args:
      path: the file.

    Returns:
      What was varied -> its values, and the processor seconds per frame.

    Raises:
      errors.UserError: the file is missing or holds no curves.
    """
    found = files.read_json(path, _Speed, _REMEDY)['measurements'].values()
    curves = {
        figures['axis']: (figures['values'], figures['processor_seconds'])
        for figures in found
        if _Figures.__annotations__.keys() <= figures.keys()
    }
    if not curves or any(len(values) != len(seconds) for values, seconds in curves.values()):
        raise errors.UserError(f'{path} holds no curves. {_REMEDY}')
    return curves


def speed_curves(measured: Mapping[str, Mapping[str, _Curve]], output: str) -> None:
    """Draw processor seconds per frame: one panel per thing that was varied, one line per file.

    Args:
      measured: what `read_curves` returned, by name.
      output: path, its ending one of `page.ENDINGS`.
    """
    page.check_ending(output)
    panels = list(dict.fromkeys(axis for curves in measured.values() for axis in curves))
    with page.page(output, _HEIGHT) as figure:
        grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for axes, panel in zip(grid, panels):
            for (name, curves), style in zip(measured.items(), itertools.cycle(page.LINES)):
                axes.plot(*curves.get(panel, ([], [])), label=name, marker='.', **style)
            axes.set(xlabel=panel, xlim=(0, None), ylim=(0, None))
        grid[0].set_ylabel('processor seconds per frame')
        if len(measured) > 1:
            figure.legend(*grid[0].get_legend_handles_labels(), loc='outside upper center', ncols=4)
