"""The table of a reproduction: one row per configuration, mean and spread over its seeds.

results.json    everything, with the unrounded figure of each seed and sequence
results.csv     mean, spread and number of seeds
paired.csv      differences to the row of reference, per sequence
results.md      the same as tables to read, and the parts that failed
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
import csv
import functools
import io
import json
import pathlib
from typing import Any, NamedTuple

import numpy as np
import pydantic
import tensorflow as tf
from typing_extensions import NotRequired, TypedDict

from stfc3_tf import computer, errors
from stfc3_tf.figures import events
from stfc3_tf.reproduction import pairing
from stfc3_tf.reproduction import parts as parts_lib
from stfc3_tf.reproduction import plan as plans
from stfc3_tf.reproduction.parts import Part
from stfc3_tf.reproduction.running import FAILED, FINISHED, Outcome
from stfc3_tf.storage import files, writing
from stfc3_tf.version import __version__


class Column(NamedTuple):
    """A figure of the table.

    Attributes:
      kind: kind of the parts that yield it.
      figure: its name in the results of these parts.
      scale: factor in results.md.
      decimals: decimal places in results.md.
    """

    kind: str
    figure: str
    scale: float = 1.0
    decimals: int = 2

    @property
    def name(self) -> str:
        """The heading of the column."""
        return self.figure if self.kind == parts_lib.TRAIN else f'{self.kind} {self.figure}'


LOSS = Column(parts_lib.TRAIN, 'loss')
RETURN_PROBABILITY = Column(parts_lib.TRAIN, 'return probability', decimals=3)
COLLAPSE = Column(parts_lib.TRAIN, 'collapse ratio')
HOURS = Column(parts_lib.TRAIN, 'hours')
TRAINING_COLUMNS = [LOSS, RETURN_PROBABILITY, COLLAPSE, HOURS]


class Joined(NamedTuple):
    """Results of a part from another run of the plan.

    Attributes:
      figures: of the part's row and seed, by the names of the columns.
      machine: the machine it ran on.
      sequences: the same per sequence; results of older versions have none.
    """

    figures: Mapping[str, float]
    machine: str
    sequences: Mapping[str, Mapping[str, float]] = {}


def columns_of(plan: plans.Plan) -> list[Column]:
    """Return the columns: the figures of the benchmarks, then those of training."""
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
    """Write results.json, results.csv, paired.csv and results.md of the finished parts.

    Args:
      plan: the plan.
      parts: of the plan.
      outcomes: of the parts, by name.
      output_dir: folder to write to.
      joined: results from other runs, see `read_joined`; results of this run have priority.

    Raises:
      errors.UserError: the plan names a figure that a benchmark does not have.
    """
    columns = columns_of(plan)
    table = _table(plan, parts, outcomes, columns, joined or {})
    text = json.dumps(table, indent=1) + '\n'
    writing.write_text(str(output_dir / 'results.json'), text)
    writing.write_text(str(output_dir / 'results.csv'), _as_csv(table, columns))
    writing.write_text(str(output_dir / 'paired.csv'), pairing.as_csv(table))
    writing.write_text(str(output_dir / 'results.md'), _as_markdown(plan, table, columns))


@pydantic.with_config(pydantic.ConfigDict(extra='allow'))
class _Table(TypedDict):
    """The parts of results.json of another run that are used here."""

    recipes: dict[str, str]
    machines: dict[str, Any]
    rows: dict[str, Any]


def read_joined(paths: Sequence[str], parts: Sequence[Part]) -> dict[str, Joined]:
    """Return the results of other runs of the plan, by the names of the parts.

    Args:
      paths: results.json of other runs of the plan. If two have a part, the first counts.
      parts: of the plan.

    Raises:
      errors.UserError: a file is not a results.json of a run, or was made with other settings.
    """
    found: dict[str, Joined] = {}
    for path in paths:
        try:
            table = files.read_json(path, _Table, 'It is not the results.json of a run.')
        except errors.UserError as error:
            raise errors.UserError(f'--join: {error}') from error
        for part in parts:
            if part.name in table['recipes'] and part.name not in found:
                _check_recipe(path, part, table['recipes'][part.name])
                found[part.name] = _joined(path, table, part)
    return found


def _joined(path: str, table: _Table, part: Part) -> Joined:
    """Return what a results.json says of a part; raise UserError if something is missing."""
    try:
        row, seed = table['rows'][part.row], str(part.seed)
        machine = table['machines'][part.name]
        return Joined(_figures_of(row, seed), machine, _sequences_of(row, seed))
    except (KeyError, TypeError, AttributeError) as error:
        raise errors.UserError(
            f'--join={path}: what it says of {part.name} is not complete. Copy it again, or leave '
            'it out.'
        ) from error


def _check_recipe(path: str, part: Part, recipe: str) -> None:
    if recipe != part.recipe:
        raise errors.UserError(
            f'--join={path}: {part.name} was run there with other settings than those of this '
            'plan. Give the bindings of that run, too, or leave the table out.'
        )


def _figures_of(row: Mapping[str, Any], seed: str) -> dict[str, float]:
    """Return the figures of a seed in a row of a table, by the names of the columns."""
    return {
        name: figure['by_seed'][seed]
        for name, figure in row['figures'].items()
        if seed in figure['by_seed']
    }


def _sequences_of(row: Mapping[str, Any], seed: str) -> dict[str, dict[str, float]]:
    """Return the figures per sequence of a seed in a row of a table, by column."""
    return {
        name: by_seed[seed] for name, by_seed in row.get('sequences', {}).items() if seed in by_seed
    }


def left_to_run(parts: Sequence[Part], joined: Collection[str]) -> list[Part]:
    """Return the parts without joined results, and the parts that train their models."""
    waiting = [part for part in parts if part.name not in joined]
    needed = {part.needs for part in waiting}
    return [part for part in parts if part.name not in joined or part.name in needed]


def _table(
    plan: plans.Plan,
    parts: Sequence[Part],
    outcomes: Mapping[str, Outcome],
    columns: Sequence[Column],
    joined: Mapping[str, Joined],
) -> dict[str, Any]:
    """Return the contents of results.json."""
    finished = [part.name for part in parts if outcomes[part.name].state == FINISHED]
    rows = dict.fromkeys(part.row for part in sorted(parts, key=lambda p: _plan_order(plan, p.row)))
    machines = {name: other.machine for name, other in joined.items()}
    machines.update(dict.fromkeys(finished, computer.description()))
    found = {
        row: _row([part for part in parts if part.row == row], outcomes, columns, joined)
        for row in rows
    }
    return {
        'rows': found,
        'reference': plan.reference,
        'paired': pairing.of_rows(found, plan.reference),
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
        'versions': {'stfc3_tf': __version__, 'tensorflow': tf.__version__},
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
    """Return the seeds and figures of a row, with reasons for missing figures."""
    figures, missing, sequences = {}, {}, {}
    for column in columns:
        sources = [part for part in parts if part.kind == column.kind]
        found, each = _by_seed(sources, outcomes, column, joined)
        if each:
            sequences[column.name] = each
        defined = {seed: value for seed, value in found.items() if np.isfinite(value)}
        if defined:
            figures[column.name] = pairing.spread_of(defined)
        elif found:
            missing[column.name] = 'undefined'
        elif sources:
            failed = any(outcomes[part.name].state == FAILED for part in sources)
            missing[column.name] = 'failed' if failed else 'not run'
    return {
        'seeds': list(dict.fromkeys(part.seed for part in parts)),
        'figures': figures,
        'missing': missing,
        'sequences': sequences,
    }


def _by_seed(
    parts: Sequence[Part],
    outcomes: Mapping[str, Outcome],
    column: Column,
    joined: Mapping[str, Joined],
) -> tuple[dict[str, float], dict[str, Mapping[str, float]]]:
    """Return a figure of finished and joined parts, and the same per sequence, by seed."""
    found: dict[str, float] = {}
    sequences: dict[str, Mapping[str, float]] = {}
    for part in parts:
        seed = str(part.seed)
        if outcomes[part.name].state == FINISHED:
            found[seed] = _value(part, outcomes[part.name], column.figure)
            sequences[seed] = _sequence_values(part, column.figure)
        elif part.name in joined and column.name in joined[part.name].figures:
            found[seed] = joined[part.name].figures[column.name]
            sequences[seed] = joined[part.name].sequences.get(column.name, {})
    return found, {seed: values for seed, values in sequences.items() if values}


@pydantic.with_config(pydantic.ConfigDict(extra='allow'))
class _Metrics(TypedDict):
    """The part of an evaluation's results.json that is used here."""

    metrics: dict[str, float | None]
    sequences: NotRequired[dict[str, Any]]


def _metrics(part: Part) -> _Metrics:
    return files.read_json(str(part.result), _Metrics, 'Remove it, and run the plan again.')


def _sequence_values(part: Part, figure: str) -> dict[str, float]:
    """Return a figure of a finished evaluation per sequence, where it is defined."""
    if part.kind == parts_lib.TRAIN:
        return {}
    records = _metrics(part).get('sequences', {})
    values = {name: record['metrics'].get(figure) for name, record in records.items()}
    return {
        name: value for name, value in values.items() if value is not None and np.isfinite(value)
    }


def _value(part: Part, outcome: Outcome, figure: str) -> float:
    """Return a figure of a finished part; NaN if it is not defined."""
    if part.kind == parts_lib.TRAIN:
        return _training_figures(part.folder, outcome.seconds)[figure]
    metrics = _metrics(part)['metrics']
    if figure not in metrics:
        raise errors.UserError(
            f"{part.kind}/Benchmark.figures: there is no '{figure}', only {', '.join(metrics)}."
        )
    value = metrics[figure]
    return float('nan') if value is None else value


@functools.cache
def _training_figures(model_dir: pathlib.Path, seconds: float) -> dict[str, float]:
    """Return the training columns of a finished run, which took `seconds`."""
    scalars = events.read_scalars(str(model_dir))
    _, collapse = scalars.get('probe/collapse_ratio', (0, [float('nan')]))
    return {
        LOSS.figure: _last_tenth(*scalars['train/loss']),
        RETURN_PROBABILITY.figure: _last_tenth(*scalars['train/return_probability']),
        COLLAPSE.figure: float(collapse[-1]),
        HOURS.figure: seconds / 3600,
    }


def _last_tenth(steps: np.ndarray, values: np.ndarray) -> float:
    """Return the mean of a figure over the last tenth of a run, NaN if no step of it counted."""
    counted = values[(steps > 0.9 * steps[-1]) & np.isfinite(values)]
    return float(np.mean(counted)) if counted.size else float('nan')


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
    lines = [pairing.table_line(headings), pairing.table_line(['---'] * len(headings))]
    for row, contents in table['rows'].items():
        counts = [len(figure['by_seed']) for figure in contents['figures'].values()]
        run, wanted = max(counts, default=0), len(contents['seeds'])
        cells = [f'`{row}`', str(run) if run == wanted else f'{run} of {wanted}']
        cells += [_cell(contents, column, run) for column in columns]
        if plan.published:
            cells.append(plan.published.get(row, ''))
        lines.append(pairing.table_line(cells))
    lines += ['', 'Mean ± sample standard deviation over the seeds.']
    lines += pairing.as_markdown(table, columns)
    if table['failed']:
        lines += ['', 'Failed:', '']
        lines += [f'* {name}: {why}' for name, why in table['failed'].items()]
    return '\n'.join(lines) + '\n'


def _cell(row: Mapping[str, Any], column: Column, most: int) -> str:
    """Return mean and spread of a figure as text, with the number of seeds if below `most`."""
    figure = row['figures'].get(column.name)
    if figure is None:
        return row['missing'].get(column.name, '')
    numbers = [figure['mean'], figure['spread']]
    shown = [f'{column.scale * n:.{column.decimals}f}' for n in numbers if n is not None]
    count = len(figure['by_seed'])
    return ' ± '.join(shown) + (f' ({count} of {most} seeds)' if count < most else '')
