"""The runner of benchmarks: from sequences to predictions, metrics and results.json.

The data are checked before hours of work, finished sequences are kept (see `records`), progress is
shown, and a run writes these files:

    OUT/predictions/...          the benchmark's own submission format
    OUT/sequences/<name>.json    one record per finished sequence
    OUT/results.json             metrics, sequences, settings, versions
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Items
import functools
import itertools
import json
import posixpath
from typing import Any

from absl import logging
import tensorflow as tf

from stfc3_tf import errors, progress, wording
from stfc3_tf.benchmarks import records as records_lib
from stfc3_tf.benchmarks.contract import Benchmark, Record, Sequence, Tracker
from stfc3_tf.storage import files, names, writing

# Runs sequences in other processes: maps their names to their fingerprints, see `records`, to
# their records, in any order.
Elsewhere = Callable[[Mapping[str, str]], Iterable[Record]]


def evaluate(
    benchmark: Benchmark,
    tracker: Tracker,
    output_dir: str,
    *,
    protocol: str,
    saved_model: str | None = None,
    only: Items[str] = (),
    elsewhere: Elsewhere | None = None,
) -> dict[str, Any]:
    """Run the benchmark, or the sequences named in `only`; write `output_dir`/results.json.

    Args:
      benchmark: what to evaluate on.
      tracker: what to evaluate.
      output_dir: holds what earlier runs finished, and all results.
      protocol: its name, for results.json.
      saved_model: the model's path, for results.json; None for a baseline.
      only: names of sequences; all if empty.
      elsewhere: runs sequences in other processes; None to run them here, one after the other.

    Returns:
      The contents of results.json.

    Raises:
      errors.UserError: there is no such sequence, or a file cannot be used or written.
    """
    selected, total = _selected(benchmark, only)
    if tf.io.gfile.exists(output_dir):
        writing.clear_remains(output_dir)
        writing.check_file(_results_path(output_dir))
    settings = records_lib.plain(
        {'task': benchmark.task, **benchmark.settings(), **tracker.settings()}
    )
    records = _records(selected, settings, tracker, output_dir, elsewhere)
    results = {
        'task': benchmark.task,
        'protocol': protocol,
        'metrics': records_lib.plain(benchmark.summary(records)),
        'sequences': {name: _in_results(record) for name, record in records.items()},
        'sequences_of': total,
        'settings': settings,
        'saved_model': saved_model,
        'versions': records_lib.versions(),
        'frames': sum(record['frames'] for record in records.values()),
        'seconds': sum(record['seconds'] for record in records.values()),
    }
    _write_reports(benchmark.reports(records), output_dir, complete=len(selected) == total)
    writing.write_text(_results_path(output_dir), json.dumps(results, indent=1) + '\n')
    return results


def _results_path(output_dir: str) -> str:
    return posixpath.join(output_dir, 'results.json')


def _records(
    sequences: Items[Sequence],
    settings: Mapping[str, Any],
    tracker: Tracker,
    output_dir: str,
    elsewhere: Elsewhere | None,
) -> dict[str, Record]:
    """Return the records of all sequences: those finished earlier, and the others, run now."""
    logging.info('Reading the files of %s.', wording.counted(len(sequences), 'sequence'))
    # Cached, because sequences may share a file.
    digest_of = functools.cache(files.digest)
    keys = {s.name: records_lib.fingerprint(settings, s, digest_of) for s in sequences}
    kept = {s.name: records_lib.finished(output_dir, s, keys[s.name]) for s in sequences}
    waiting = [sequence for sequence in sequences if kept[sequence.name] is None]
    if len(waiting) < len(sequences):
        logging.info('%d of %d sequences are finished.', len(kept) - len(waiting), len(kept))
    made = _run_all(waiting, keys, tracker, output_dir, elsewhere)
    return {name: record or made[name] for name, record in kept.items()}


def _run_all(
    sequences: Items[Sequence],
    keys: Mapping[str, str],
    tracker: Tracker,
    output_dir: str,
    elsewhere: Elsewhere | None,
) -> dict[str, Record]:
    """Check the data of all sequences, then run them; return their records."""
    logging.info('Checking the data of %s.', wording.counted(len(sequences), 'sequence'))
    frames = sum(sequence.check() for sequence in sequences)
    # This creates the folder, so it comes after the check of the data.
    writing.check_file(_results_path(output_dir))
    display, count = progress.Display('propagation', 'frames', frames), itertools.count(1)

    def advance() -> None:
        display.show(next(count))

    if elsewhere is None:
        made: Iterable[Record] = (
            records_lib.run(each, tracker, output_dir, keys[each.name], advance)
            for each in sequences
        )
    else:
        made = elsewhere({sequence.name: keys[sequence.name] for sequence in sequences})
    records: dict[str, Record] = {}
    done = 0
    for record in made:
        records[record['name']] = record
        done += record['frames']
        if elsewhere is not None:
            display.show(done)
        logging.info('%s: %s', record['name'], _shown(record['metrics']))
    display.finish()
    return records


def _shown(metrics: Mapping[str, float]) -> str:
    return ', '.join(f'{name} {value:.4g}' for name, value in metrics.items())


def _selected(benchmark: Benchmark, only: Items[str]) -> tuple[list[Sequence], int]:
    """Return the named sequences, or all, and the number of all."""
    found = benchmark.sequences()
    names.check_apart(sequence.output for sequence in found)
    sequences = {sequence.name: sequence for sequence in found}
    unknown = [name for name in only if name not in sequences]
    if unknown:
        raise errors.UserError(
            f'--sequences={",".join(unknown)}: the benchmark has no such sequences; it has '
            f'{", ".join(list(sequences)[:40])}.'
        )
    selected = [sequences[name] for name in dict.fromkeys(only)] or list(sequences.values())
    return selected, len(sequences)


def _write_reports(reports: Mapping[str, str], folder: str, complete: bool) -> None:
    """Write the official tables; remove them if only a part of the sequences was run."""
    for name, text in reports.items():
        path = posixpath.join(folder, name)
        if complete:
            writing.write_text(path, text)
        else:
            writing.remove(path)


def _in_results(record: Record) -> Record:
    keys = 'metrics', 'counts', 'footage', 'frames', 'seconds'
    return {key: record[key] for key in keys if key in record}


def table(results: Mapping[str, Any]) -> str:
    """Return the contents of results.json as text: a line per sequence, then a line per figure."""
    sequences = results['sequences']
    columns = list(dict.fromkeys(key for record in sequences.values() for key in record['metrics']))
    width = max(map(len, [*sequences, *results['metrics'], 'sequence']))
    lines = ['  '.join([f'{"sequence":<{width}}', *columns])]
    for name, record in sequences.items():
        cells = [_number(record['metrics'].get(key), len(key)) for key in columns]
        lines.append('  '.join([f'{name:<{width}}', *cells]))
    number, total = len(sequences), results['sequences_of']
    extent = (
        wording.counted(number, 'sequence')
        if number == total
        else f'only {number} of {total} sequences'
    )
    lines.append(f'{results["task"]}, protocol {results["protocol"]}, {extent}')
    lines += [f'{name:<{width}}  {_number(value, 9)}' for name, value in results['metrics'].items()]
    return '\n'.join(lines)


def _number(value: float | None, width: int) -> str:
    return f'{"-" if value is None else format(value, ".4f"):>{width}}'
