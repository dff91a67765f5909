"""Paired differences: a row against the row of reference, on the same sequence with the same seed.

Sequences differ more than methods do. A difference per sequence removes what makes a sequence hard
or easy for both rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import csv
import io
import statistics
from typing import Any

# A figure of a row by seed, then by sequence.
BySeed = Mapping[str, Mapping[str, float]]
# The seed of rows in which nothing is random.
UNSEEDED = 'None'


def differences(row: BySeed, reference: BySeed) -> dict[str, dict[str, float]]:
    """Return row minus reference, by seed, then by sequence; of the pairs that both have.

    A row without a seed is paired with every seed of the other.

    Args:
      row: a figure of the row.
      reference: the same figure of the row of reference.
    """
    found = {}
    for seed in dict.fromkeys([*row, *reference]):
        ours, theirs = (of.get(seed, of.get(UNSEEDED, {})) for of in (row, reference))
        pairs = {name: ours[name] - theirs[name] for name in ours if name in theirs}
        if pairs and not (seed == UNSEEDED and len(row) + len(reference) > 2):
            found[seed] = pairs
    return found


def summary(paired: BySeed) -> dict[str, Any]:
    """Sum up differences.

    Args:
      paired: see `differences`; not empty.

    Returns:
      'mean' and 'spread' over the seeds of the mean over sequences, with 'by_seed'; 'sequences':
      the same of each sequence; 'higher': how many sequences have a mean above 0. A spread is a
      sample standard deviation, None for one seed.
    """
    names = dict.fromkeys(name for values in paired.values() for name in values)
    sequences = {
        name: spread_of({seed: values[name] for seed, values in paired.items() if name in values})
        for name in names
    }
    means = {seed: statistics.fmean(values.values()) for seed, values in paired.items()}
    higher = sum(sequence['mean'] > 0 for sequence in sequences.values())
    return {**spread_of(means), 'higher': higher, 'sequences': sequences}


def spread_of(values: Mapping[str, float]) -> dict[str, Any]:
    """Return the mean and the sample standard deviation (None for one value) over seeds."""
    numbers = list(values.values())
    spread = statistics.stdev(numbers) if len(numbers) > 1 else None
    return {'mean': statistics.fmean(numbers), 'spread': spread, 'by_seed': dict(values)}


def of_rows(rows: Mapping[str, Any], reference: str) -> dict[str, Any]:
    """Return the summaries of each row against the reference, by row, then by column.

    Args:
      rows: row -> {'sequences': column -> `BySeed`}.
      reference: a row; without it there are no differences.
    """
    of_reference = rows.get(reference, {'sequences': {}})['sequences']
    found: dict[str, Any] = {}
    for row, contents in rows.items():
        for column, values in contents['sequences'].items():
            paired = differences(values, of_reference.get(column, {}))
            if row != reference and paired:
                found.setdefault(row, {})[column] = summary(paired)
    return found


def as_csv(table: Mapping[str, Any]) -> str:
    """Return the differences of a table with 'reference' and 'paired', one line per sequence."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(['row', 'minus', 'figure', 'sequence', 'mean', 'spread', 'seeds'])
    for row, figures in table['paired'].items():
        for name, found in figures.items():
            for sequence, values in found['sequences'].items():
                spread = '' if values['spread'] is None else values['spread']
                numbers = values['mean'], spread, len(values['by_seed'])
                writer.writerow([row, table['reference'], name, sequence, *numbers])
    return file.getvalue()


def as_markdown(table: Mapping[str, Any], columns: Sequence[Any]) -> list[str]:
    """Return the lines of the differences of a table, with a heading and a legend.

    Args:
      table: with 'reference' and 'paired'.
      columns: those of the table, see `results.Column`.

    Returns:
      Lines of Markdown; none if there are no differences.
    """
    used = {name for row in table['paired'].values() for name in row}
    shown = [column for column in columns if column.name in used]
    if not shown:
        return []
    headings = [f'minus `{table["reference"]}`', *(column.name for column in shown)]
    lines = ['', table_line(headings), table_line(['---'] * len(headings))]
    for row, found in table['paired'].items():
        lines.append(table_line([f'`{row}`', *(_cell(found, column) for column in shown)]))
    legend = (
        'Differences on the same sequence with the same seed: mean over the sequences ± sample '
        'standard deviation over the seeds (on how many sequences the row is higher). Each '
        'sequence is in paired.csv.'
    )
    return [*lines, '', legend]


def _cell(found: Mapping[str, Any], column: Any) -> str:
    """Return mean and spread of a row's differences in a column as text."""
    difference = found.get(column.name)
    if difference is None:
        return ''
    mean = f'{column.scale * difference["mean"]:+.{column.decimals}f}'
    if difference['spread'] is not None:
        mean += f' ± {column.scale * difference["spread"]:.{column.decimals}f}'
    return f'{mean} ({difference["higher"]} of {len(difference["sequences"])})'


def table_line(cells: Sequence[str]) -> str:
    """Return a line of a table in Markdown."""
    return f'| {" | ".join(cells)} |'
