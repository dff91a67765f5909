"""The table of a reproduction: a row a configuration, mean and spread over its seeds.

results.json    everything, the figure of each seed included, as its own results.json has it
results.csv     mean, spread and number of seeds
results.md      the same for people, with what failed
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
import csv
import functools
import io
import json
import os
import pathlib
import platform
import statistics
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

import stfc3_tf
from stfc3_tf import errors, writing
from stfc3_tf.figures import events
from stfc3_tf.reproduction import parts as parts_lib, plan as plans
from stfc3_tf.reproduction.parts import Part
from stfc3_tf.reproduction.running import FAILED, FINISHED, Outcome


class Column(NamedTuple):
    """A figure of the table.

    Attributes:
      kind: of the parts that give it.
      figure: its name there.
      scale: factor for people.
      decimals: for people.
    """

    kind: str
    figure: str
    scale: float = 1.0
    decimals: int = 2

    @property
    def name(self) -> str:
        return self.figure if self.kind == parts_lib.TRAIN else f'{self.kind} {self.figure}'


LOSS = Column(parts_lib.TRAIN, 'loss')
RETURN_PROBABILITY = Column(parts_lib.TRAIN, 'return probability', decimals=3)
COLLAPSE = Column(parts_lib.TRAIN, 'collapse ratio')
HOURS = Column(parts_lib.TRAIN, 'hours')
TRAINING_COLUMNS = [LOSS, RETURN_PROBABILITY, COLLAPSE, HOURS]


class Joined(NamedTuple):
    """What another run of the plan found of a part.

    Attributes:
      figures: of the part's row and seed, by the columns' names.
      machine: it was run on.
    """

    figures: Mapping[str, float]
    machine: str


def columns_of(plan: plans.Plan) -> list[Column]:
    """The columns: the benchmarks' figures, then those of training."""
    found = [
        Column(name, figure, benchmark.scale, 1 if benchmark.scale >= 10 else 3)
        for name, benchmark in plan.benchmarks.items()
        for figure in benchmark.figures
    ]
    return found + TRAINING_COLUMNS


def write_table(
    plan: plans.Plan,
    parts: Sequence[Part],
    outcomes: Mapping[str, Outcome],
    output_dir: pathlib.Path,
    joined: Mapping[str, Joined] | None = None,
) -> None:
    """Writes results.json, results.csv and results.md of what is finished.

    Args:
      plan: what was to be done.
      parts: of the plan.
      outcomes: of the parts, by name.
      output_dir: where to.
      joined: figures found elsewhere, see `read_joined`; those found here go before.

    Raises:
      errors.UserError: a benchmark has no such figure as the plan names.
    """
    columns = columns_of(plan)
    table = _table(plan, parts, outcomes, columns, joined or {})
    text = json.dumps(table, indent=1) + '\n'
    writing.write_text(str(output_dir / 'results.json'), text)
    writing.write_text(str(output_dir / 'results.csv'), _as_csv(table, columns))
    writing.write_text(str(output_dir / 'results.md'), _as_markdown(plan, table, columns))


def read_joined(paths: Sequence[str], parts: Sequence[Part]) -> dict[str, Joined]:
    """What other runs of the plan found, by the parts' names.

    Args:
      paths: results.json of other runs of the plan; of two that have a part, the first decides.
      parts: of the plan.

    Raises:
      errors.UserError: a file is no such results.json, or was made with other settings.
    """
    found = {}
    for path in paths:
        try:
            table = json.loads(pathlib.Path(path).read_text())
            recipes, machines = table['recipes'], table['machines']
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise errors.UserError(f'--join={path} is not the results.json of a run.') from error
        for part in parts:
            if part.name in recipes and part.name not in found:
                _check_recipe(path, part, recipes[part.name])
                figures = _figures_of(table['rows'][part.row], str(part.seed))
                found[part.name] = Joined(figures, machines[part.name])
    return found


def _check_recipe(path: str, part: Part, recipe: str) -> None:
    if recipe != part.recipe:
        raise errors.UserError(
            f'--join={path}: {part.name} was run there with other settings than those of this plan.'
        )


def _figures_of(row: Mapping[str, Any], seed: str) -> dict[str, float]:
    """A seed's figures in a row of a table, by the columns' names."""
    return {
        name: figure['by_seed'][seed]
        for name, figure in row['figures'].items()
        if seed in figure['by_seed']
    }


def left_to_run(parts: Sequence[Part], joined: Collection[str]) -> list[Part]:
    """Those that are not joined, and what makes their models."""
    waiting = [part for part in parts if part.name not in joined]
    needed = {part.needs for part in waiting}
    return [part for part in parts if part.name not in joined or part.name in needed]


def _table(plan, parts, outcomes, columns, joined) -> dict[str, Any]:
    finished = [part.name for part in parts if outcomes[part.name].state == FINISHED]
    here = f'{os.cpu_count()} processors, {platform.machine()}, {platform.platform()}'
    rows = dict.fromkeys(part.row for part in sorted(parts, key=lambda p: _plan_order(plan, p.row)))
    machines = {name: other.machine for name, other in joined.items()}
    machines.update(dict.fromkeys(finished, here))
    return {
        'rows': {
            row: _row([part for part in parts if part.row == row], outcomes, columns, joined)
            for row in rows
        },
        'failed': {
            part.name: outcomes[part.name].why
            for part in parts
            if outcomes[part.name].state == FAILED and part.name not in joined
        },
        'not_run': [
            part.name
            for part in parts
            if outcomes[part.name].state not in (FINISHED, FAILED) and part.name not in joined
        ],
        'versions': {'stfc3_tf': stfc3_tf.__version__, 'tensorflow': tf.__version__},
        'machines': machines,
        'recipes': {part.name: part.recipe for part in parts if part.name in machines},
    }


def _plan_order(plan: plans.Plan, row: str) -> int:
    rows = [*plan.baselines, *map(plans.row_name, plan.configurations)]
    return rows.index(row) if row in rows else len(rows)


def _row(
    parts: Sequence[Part],
    outcomes: Mapping[str, Outcome],
    columns: Sequence[Column],
    joined: Mapping[str, Joined],
) -> dict[str, Any]:
    """Seeds and figures of a row; where a figure is missing, why."""
    figures, missing = {}, {}
    for column in columns:
        sources = [part for part in parts if part.kind == column.kind]
        found = {}
        for part in sources:
            if outcomes[part.name].state == FINISHED:
                found[str(part.seed)] = _value(part, outcomes[part.name], column.figure)
            elif part.name in joined and column.name in joined[part.name].figures:
                found[str(part.seed)] = joined[part.name].figures[column.name]
        defined = {seed: value for seed, value in found.items() if np.isfinite(value)}
        if defined:
            figures[column.name] = _summary(defined)
        elif found:
            missing[column.name] = 'undefined'
        elif sources:
            failed = any(outcomes[part.name].state == FAILED for part in sources)
            missing[column.name] = 'failed' if failed else 'not run'
    return {
        'seeds': list(dict.fromkeys(part.seed for part in parts)),
        'figures': figures,
        'missing': missing,
    }


def _summary(values: Mapping[str, float]) -> dict[str, Any]:
    """Mean and sample standard deviation (of one value there is none)."""
    numbers = list(values.values())
    spread = statistics.stdev(numbers) if len(numbers) > 1 else None
    return {'mean': statistics.fmean(numbers), 'spread': spread, 'by_seed': dict(values)}


def _value(part: Part, outcome: Outcome, figure: str) -> float:
    """A figure of a finished part, NaN where it is not defined."""
    if part.kind == parts_lib.TRAIN:
        return _training_figures(part.folder, outcome.seconds)[figure]
    metrics = json.loads(part.result.read_text())['metrics']
    if figure not in metrics:
        raise errors.UserError(
            f"{part.kind}/Benchmark.figures: there is no '{figure}', only {', '.join(metrics)}."
        )
    return float('nan') if metrics[figure] is None else metrics[figure]


@functools.cache
def _training_figures(model_dir: pathlib.Path, seconds: float) -> dict[str, float]:
    """The training columns of a finished run, which took `seconds`."""
    scalars = events.read_scalars(str(model_dir))
    _, collapse = scalars.get('probe/collapse_ratio', (0, [float('nan')]))
    return {
        LOSS.figure: _last_tenth(*scalars['train/loss']),
        RETURN_PROBABILITY.figure: _last_tenth(*scalars['train/return_probability']),
        COLLAPSE.figure: float(collapse[-1]),
        HOURS.figure: seconds / 3600,
    }


def _last_tenth(steps: np.ndarray, values: np.ndarray) -> float:
    """The mean of a figure over the last tenth of a run."""
    return float(np.mean(values[steps > 0.9 * steps[-1]]))


def _as_csv(table: Mapping[str, Any], columns: Sequence[Column]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator='\n')
    names = [column.name for column in columns]
    headings = [f'{name} {what}' for name in names for what in ('mean', 'spread', 'seeds')]
    writer.writerow(['row', *headings])
    for row, contents in table['rows'].items():
        cells = [_csv_cells(contents['figures'].get(name)) for name in names]
        writer.writerow([row, *(cell for three in cells for cell in three)])
    return file.getvalue()


def _csv_cells(figure: Mapping[str, Any] | None) -> list[Any]:
    if figure is None:
        return ['', '', 0]
    spread = '' if figure['spread'] is None else figure['spread']
    return [figure['mean'], spread, len(figure['by_seed'])]


def _as_markdown(plan: plans.Plan, table: Mapping[str, Any], columns: Sequence[Column]) -> str:
    headings = ['', 'seeds', *(column.name for column in columns)]
    if plan.published:
        headings.append(plan.published_heading)
    lines = [_line(headings), _line(['---'] * len(headings))]
    for row, contents in table['rows'].items():
        counts = [len(figure['by_seed']) for figure in contents['figures'].values()]
        run, wanted = max(counts, default=0), len(contents['seeds'])
        cells = [f'`{row}`', str(run) if run == wanted else f'{run} of {wanted}']
        cells += [_cell(contents, column, run) for column in columns]
        if plan.published:
            cells.append(plan.published.get(row, ''))
        lines.append(_line(cells))
    lines += ['', 'Mean ± sample standard deviation over the seeds.']
    if table['failed']:
        lines += ['', 'Failed:', '']
        lines += [f'* {name}: {why}' for name, why in table['failed'].items()]
    return '\n'.join(lines) + '\n'


def _cell(row: Mapping[str, Any], column: Column, most: int) -> str:
    """Mean and spread of a figure; of how many seeds, where others in the row have `most`."""
    figure = row['figures'].get(column.name)
    if figure is None:
        return row['missing'].get(column.name, '')
    numbers = [figure['mean'], figure['spread']]
    shown = [f'{column.scale * n:.{column.decimals}f}' for n in numbers if n is not None]
    count = len(figure['by_seed'])
    return ' ± '.join(shown) + (f' ({count} of {most} seeds)' if count < most else '')


def _line(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'
