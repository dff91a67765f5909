"""Training curves of several runs, and loss against quality (figure 1a of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import itertools
from typing import NamedTuple

from matplotlib import axes as mpl_axes
from matplotlib import ticker
import numpy as np

from stfc3_tf import errors
from stfc3_tf.figures import events, page

_PANELS_IN_A_ROW = 2
_PANEL_HEIGHT = 1.9
# A curve of fewer points is drawn as it is, with its points: smoothing would hide most of it.
_FEW = 20


class _Panel(NamedTuple):
    """The style of a tag.

    Attributes:
      label: of the vertical axis.
      reference: height of a dotted line and its meaning; None for no line.
      ratio: whether the axis becomes logarithmic if the values span orders of magnitude.
    """

    label: str
    reference: tuple[float, str] | None = None
    ratio: bool = False


_PANELS = {
    'train/loss': _Panel('loss'),
    'train/return_probability': _Panel('return probability'),
    'train/cycle_accuracy': _Panel('cycle accuracy'),
    'probe/collapse_ratio': _Panel('collapse ratio', (1.0, 'chance'), ratio=True),
    'probe/held_out_score': _Panel('held-out score'),
}
_DEFAULT_TAGS = (
    'train/loss',
    'train/return_probability',
    'probe/collapse_ratio',
    'probe/held_out_score',
)


def training_curves(
    runs: Mapping[str, str], tags: Sequence[str] | None, output: str, smoothing: float = 0.0
) -> None:
    """Draw scalars of training runs over the step: one panel per tag, one line per run.

    Args:
      runs: folders of the runs, by name.
      tags: names of scalars as in TensorBoard. By default loss, return probability, collapse ratio
        and held-out score, if a run has them.
      output: path, its ending one of `page.ENDINGS`.
      smoothing: weight of the moving average, in [0, 1), see `events.smoothed`; the values before
        smoothing are drawn faintly behind. Curves of fewer than 20 points are not smoothed.

    Raises:
      errors.UserError: a folder has no events, no run has the tag, or smoothing is out of range.
    """
    page.check_ending(output)
    if not 0 <= smoothing < 1:
        raise errors.UserError(f'smoothing={smoothing:g}: give a number in [0, 1).')
    scalars = {name: events.read_scalars(folder) for name, folder in runs.items()}
    tags = _known_tags(scalars, tags)
    columns = min(_PANELS_IN_A_ROW, len(tags))
    rows = -(-len(tags) // columns)
    with page.page(output, rows * _PANEL_HEIGHT + 0.3) as figure:
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for axes, tag in zip(grid.flat, tags):
            _draw_panel(axes, tag, scalars, smoothing)
        for axes in grid.flat[len(tags) :]:
            axes.set_visible(False)
        for axes in grid.flat[len(tags) - columns : len(tags)]:
            axes.set_xlabel('step')
            axes.tick_params(labelbottom=True)
        # All panels have the same lines, so one legend is enough.
        handles, names = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, names, loc='outside upper center', ncols=min(4, len(names)))


def _known_tags(
    scalars: Mapping[str, Mapping[str, events.Curve]], tags: Sequence[str] | None
) -> list[str]:
    """Return the tags to draw; raise UserError if no run has a requested one."""
    known = sorted({tag for curves in scalars.values() for tag in curves})
    found = [tag for tag in tags or _DEFAULT_TAGS if tag in known]
    unknown = sorted(set(tags or []) - set(found))
    if unknown or not found:
        raise errors.UserError(_none_has(unknown or _DEFAULT_TAGS, list(scalars), known))
    return found


def _none_has(wanted: Sequence[str], runs: Sequence[str], known: Sequence[str]) -> str:
    """Return the message that no run has some scalars, and which there are."""
    noun = 'scalar' if len(wanted) == 1 else 'scalars'
    has = 'has' if len(runs) == 1 else 'have'
    return (
        f'No run has the {noun} {", ".join(wanted)}. What {", ".join(runs)} {has}: '
        f'{", ".join(known)}.'
    )


def _draw_panel(
    axes: mpl_axes.Axes,
    tag: str,
    scalars: Mapping[str, Mapping[str, events.Curve]],
    smoothing: float,
) -> None:
    panel = _PANELS.get(tag, _Panel(tag))
    for (name, curves), style in zip(scalars.items(), itertools.cycle(page.LINES)):
        steps, values = curves.get(tag, (np.array([]), np.array([])))
        few = len(steps) < _FEW
        shown = values if few else events.smoothed(values, smoothing)
        axes.plot(steps, shown, label=name, marker='.' if few else '', markersize=3, **style)
        if smoothing and not few:
            axes.plot(steps, values, **style, alpha=0.25, linewidth=0.6, zorder=1)
    # There is no step 0.5, which the usual ticks of a run's step 0 would show.
    axes.xaxis.set_major_locator(ticker.MaxNLocator('auto', integer=True, min_n_ticks=1))
    axes.set_ylabel(panel.label)
    low, high = axes.get_ylim()
    if panel.ratio and high > 10 * max(low, 1e-9):
        axes.set_yscale('log')
        axes.yaxis.set_major_formatter('{x:g}')
    if panel.reference:
        height, meaning = panel.reference
        axes.axhline(height, color='0.5', linestyle=':', linewidth=0.8, zorder=0)
        axes.annotate(
            meaning,
            (1.01, height),
            xycoords=('axes fraction', 'data'),
            ha='left',
            va='center',
            color='0.5',
            fontsize=6,
        )


def loss_against_quality(
    points: Mapping[str, Sequence[tuple[int, float, float]]],
    output: str,
    quality_label: str = 'held-out score',
) -> None:
    """Draw the quality of features against the training loss: a low loss is not enough.

    Args:
      points: (step, loss, quality) of each run by name, in the order of steps; the last is marked.
      output: path, its ending one of `page.ENDINGS`.
      quality_label: of the vertical axis.

    Raises:
      errors.UserError: a run has no point.
    """
    page.check_ending(output)
    for name, path in points.items():
        if not len(path):
            raise errors.UserError(f'{name}: no step has both a loss and a quality.')
    with page.page(output, 2.6, width=page.WIDTH / 2) as figure:
        axes = figure.subplots()
        for (name, path), style in zip(points.items(), itertools.cycle(page.LINES)):
            _, loss, quality = np.array(path, np.float64).T
            axes.plot(loss, quality, **style, marker='.', markersize=3, linewidth=0.8)
            end = {'color': style['color'], 'marker': 'o', 'linestyle': ''}
            axes.plot(loss[-1], quality[-1], **end, label=name)
        axes.set(xlabel='training loss', ylabel=quality_label)
        figure.legend(loc='outside upper center', ncols=2)
