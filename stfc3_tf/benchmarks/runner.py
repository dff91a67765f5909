"""Runs a benchmark: sequences -> features -> propagation -> labels -> metric -> results.json.

A data set adds two classes: a `Benchmark` (which sequences, how their records are summarised) and
a `Sequence` (reads its frames and truth, writes predictions in the official format, scores them).
Everything else is here: checking the data before hours are spent, keeping finished sequences,
progress, and the files that a run leaves:

    OUT/predictions/...          the benchmark's own submission format
    OUT/sequences/<name>.json    one record a finished sequence; what a rerun skips
    OUT/results.json             metrics, sequences, settings, versions

A finished sequence is kept as long as settings, model, data and the code that makes the numbers are
the same.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence as Items
import dataclasses
import functools
import hashlib
import json
import math
import pathlib
import posixpath
import sys
import time
from typing import Any, Protocol

from absl import logging
import numpy as np
import tensorflow as tf

import stfc3_tf
from stfc3_tf import errors
from stfc3_tf import writing
from stfc3_tf.benchmarks import files

Record = dict[str, Any]

# What an evaluation consists of. Training has no part in it and may change between two runs.
_CODE = (
    'benchmarks/*.py',
    'clips/*.py',
    'baselines.py',
    'candidates.py',
    'checks.py',
    'encoder.py',
    'errors.py',
    'geometry.py',
    'labels.py',
    'layers.py',
    'metrics.py',
    'object_store.py',
    'palette.py',
    'propagation.py',
    'serving.py',
    'signatures.py',
    'tracking.py',
    'writing.py',
)


class Tracker(Protocol):
    """Carries the label of a clip's first frame to the others."""

    def settings(self) -> dict[str, Any]:
        """Returns every value that changes the predictions, model included, JSON-ready."""

    def track(
        self,
        frames: Iterator[np.ndarray],
        first_label: np.ndarray,
        codec: Any,
        label_size: tuple[int, int],
    ) -> Iterator[np.ndarray]:
        """Yields one label a frame, the first being `first_label` itself; see `tracking`."""


class Sequence(abc.ABC):
    """One clip of a benchmark.

    Attributes:
      name: as the data set's own list spells it; unique, may hold '/'.
      output: path below OUT/predictions (a folder or a file) that holds this clip's predictions.
    """

    name: str
    output: str

    @abc.abstractmethod
    def files(self) -> list[str]:
        """Returns every file the clip is made of; their contents identify the data of a record."""

    @abc.abstractmethod
    def check(self) -> int:
        """Reads what may be wrong with the files, before anything is computed.

        Returns:
          The number of frames that `run` will track.

        Raises:
          errors.UserError: naming the file and what was expected of it.
        """

    @abc.abstractmethod
    def run(self, tracker: Tracker, output: str) -> Record:
        """Tracks the clip, writes predictions to `output`, scores them.

        Args:
          tracker: its `track` may be called several times (query points of different frames).
          output: where `self.output` is to be written; the runner moves it in place when finished.

        Returns:
          {'metrics': {name: float, NaN where undefined}, 'counts': what `Benchmark.summary` pools,
          'footage': which of several forms of the frames was read, 'per_frame': kept in the
          sequence's own file only}; all but the first are optional.
        """


class Benchmark(abc.ABC):
    """A data set under one protocol; a dataclass whose fields are the protocol's settings.

    The field `data_dir`, if any, is where the data set lies; it is no setting.
    """

    task: str

    @abc.abstractmethod
    def sequences(self) -> list[Sequence]:
        """Returns all clips in the official order; raises UserError where the list is missing."""

    @abc.abstractmethod
    def summary(self, records: Mapping[str, Record]) -> dict[str, float]:
        """Returns the benchmark's figures from the records of its clips (None where NaN was)."""

    def settings(self) -> dict[str, Any]:
        """Returns every field that changes the number."""
        fields = dataclasses.asdict(self)
        fields.pop('data_dir', None)
        return fields

    def reports(self, records: Mapping[str, Record]) -> dict[str, str]:
        """Returns the official toolkit's own tables, where it has any: file name -> contents."""
        del records
        return {}


def evaluate(
    benchmark: Benchmark,
    tracker: Tracker,
    output_dir: str,
    *,
    protocol: str,
    saved_model: str | None = None,
    only: Items[str] = (),
) -> dict[str, Any]:
    """Runs the benchmark, or the sequences named in `only`, and writes `output_dir`/results.json.

    Args:
      benchmark: what to evaluate on.
      tracker: what to evaluate.
      output_dir: holds what earlier runs finished, and all results.
      protocol: its name, for the record.
      saved_model: the model's path, for the record; None for a baseline.
      only: names of sequences; all if empty.

    Returns:
      The contents of results.json.

    Raises:
      errors.UserError: a sequence that does not exist, data that cannot be used, or a folder that cannot be written.
    """
    selected, total = _selected(benchmark, only)
    if tf.io.gfile.exists(output_dir):
        writing.check_file(posixpath.join(output_dir, 'results.json'))
    settings = plain({'task': benchmark.task, **benchmark.settings(), **tracker.settings()})
    versions = {
        'stfc3_tf': stfc3_tf.__version__,
        'tensorflow': tf.__version__,
        'numpy': np.__version__,
        'code_sha256': code_digest(),
    }
    logging.info('Looking through the files of %d sequences.', len(selected))
    # Sequences may share a file, which is then read once.
    digest_of = functools.cache(files.digest)
    keys = {
        sequence.name: _fingerprint(settings, versions, sequence, digest_of)
        for sequence in selected
    }
    records = _records(selected, keys, tracker, output_dir)
    results = {
        'task': benchmark.task,
        'protocol': protocol,
        'metrics': plain(benchmark.summary(records)),
        'sequences': {name: _in_results(record) for name, record in records.items()},
        'sequences_of': total,
        'settings': settings,
        'saved_model': saved_model,
        'versions': versions,
        'frames': sum(record['frames'] for record in records.values()),
        'seconds': sum(record['seconds'] for record in records.values()),
    }
    _write_reports(benchmark.reports(records), output_dir, complete=len(selected) == total)
    text = json.dumps(results, indent=1) + '\n'
    writing.write_text(posixpath.join(output_dir, 'results.json'), text)
    return results


def _records(
    sequences: Items[Sequence], keys: Mapping[str, str], tracker: Tracker, output_dir: str
) -> dict[str, Record]:
    """Returns the records of all sequences: those finished earlier, and the others, run now."""
    records = {
        sequence.name: _finished(output_dir, sequence, keys[sequence.name])
        for sequence in sequences
    }
    waiting = [sequence for sequence in sequences if records[sequence.name] is None]
    if len(waiting) < len(sequences):
        logging.info(
            '%d of %d sequences are finished.', len(sequences) - len(waiting), len(records)
        )
    logging.info('Checking the data of %d sequences.', len(waiting))
    frames = sum(sequence.check() for sequence in waiting)
    # Now that nothing speaks against the data, a folder may be made.
    writing.check_file(posixpath.join(output_dir, 'results.json'))
    # In a log file a bar would be thousands of lines; there a line a sequence tells.
    verbose = 1 if sys.stdout.isatty() else 2
    progress = tf.keras.utils.Progbar(frames, unit_name='frame', verbose=verbose)
    start, done = time.monotonic(), 0
    for sequence in waiting:
        counted = _Counted(tracker, lambda: progress.add(1))
        record = records[sequence.name] = _run(sequence, counted, output_dir, keys[sequence.name])
        done += record['frames']
        left = (time.monotonic() - start) / max(done, 1) * (frames - done)
        logging.info('%s: %s; about %.0f s left.', sequence.name, record['metrics'], left)
    return records


def table(results: Mapping[str, Any]) -> str:
    """Returns the figures as text: one line a sequence, then one line a figure of the whole."""
    names = list(results['sequences'])
    columns = list(
        dict.fromkeys(key for record in results['sequences'].values() for key in record['metrics'])
    )
    width = max(map(len, [*names, *results['metrics'], 'sequence']))
    lines = ['  '.join([f'{"sequence":<{width}}', *columns])]
    for name in names:
        metrics = results['sequences'][name]['metrics']
        lines.append(
            '  '.join(
                [f'{name:<{width}}', *(_number(metrics.get(key), len(key)) for key in columns)]
            )
        )
    number, total = len(names), results['sequences_of']
    extent = f'{number} sequences' if number == total else f'only {number} of {total} sequences'
    lines.append(f'{results["task"]}, protocol {results["protocol"]}, {extent}')
    lines += [f'{name:<{width}}  {_number(value, 9)}' for name, value in results['metrics'].items()]
    return '\n'.join(lines)


class _Counted:
    """A tracker that reports every frame it has finished."""

    def __init__(self, tracker: Tracker, advance: Callable[[], None]):
        self._tracker = tracker
        self._advance = advance
        self.frames = 0

    def settings(self) -> dict[str, Any]:
        return self._tracker.settings()

    def track(self, *arguments: Any, **named: Any) -> Iterator[np.ndarray]:
        for label in self._tracker.track(*arguments, **named):
            self.frames += 1
            self._advance()
            yield label


def _selected(benchmark: Benchmark, only: Items[str]) -> tuple[list[Sequence], int]:
    """Returns the sequences named, or all, and how many there are in all."""
    sequences = {sequence.name: sequence for sequence in benchmark.sequences()}
    unknown = [name for name in only if name not in sequences]
    if unknown:
        raise errors.UserError(
            f'--sequences={",".join(unknown)}: the benchmark has no such sequences; it has '
            f'{", ".join(list(sequences)[:40])}.'
        )
    selected = [sequences[name] for name in dict.fromkeys(only)] or list(sequences.values())
    return selected, len(sequences)


def _write_reports(reports: Mapping[str, str], folder: str, complete: bool) -> None:
    """Writes the official tables; of a subset there are none, and older ones go."""
    for name, text in reports.items():
        path = posixpath.join(folder, name)
        if complete:
            writing.write_text(path, text)
        else:
            writing.remove(path)


@functools.lru_cache(maxsize=None)
def code_digest() -> str:
    """Returns the SHA-256 of the modules that make the numbers: a mended metric is run again."""
    digest = hashlib.sha256()
    package = pathlib.Path(stfc3_tf.__file__).parent
    for path in sorted(path for pattern in _CODE for path in package.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _run(sequence: Sequence, tracker: _Counted, output_dir: str, key: str) -> Record:
    start = time.monotonic()
    scored = {}
    # A record never stands beside predictions that are not its own, whenever the run is killed.
    writing.remove(_record_path(output_dir, sequence))
    writing.write_whole(
        _predictions_path(output_dir, sequence),
        lambda partial: scored.update(sequence.run(tracker, partial)),
    )
    record = plain(
        {
            'fingerprint': key,
            'name': sequence.name,
            'frames': tracker.frames,
            'seconds': time.monotonic() - start,
            **scored,
        }
    )
    writing.write_text(_record_path(output_dir, sequence), json.dumps(record, indent=1))
    return record


def _record_path(output_dir: str, sequence: Sequence) -> str:
    return posixpath.join(output_dir, 'sequences', f'{sequence.name}.json')


def _predictions_path(output_dir: str, sequence: Sequence) -> str:
    return posixpath.join(output_dir, 'predictions', sequence.output)


def _finished(output_dir: str, sequence: Sequence, key: str) -> Record | None:
    """Returns the record of a sequence finished with the same settings, model, data and code."""
    path = _record_path(output_dir, sequence)
    predictions = _predictions_path(output_dir, sequence)
    if not (tf.io.gfile.exists(path) and tf.io.gfile.exists(predictions)):
        return None
    with tf.io.gfile.GFile(path) as file:
        record = json.load(file)
    if record['fingerprint'] == key:
        return record
    logging.info('%s: other settings, model, data or code; it is made again.', path)
    return None


def _fingerprint(
    settings: Mapping[str, Any],
    versions: Mapping[str, str],
    sequence: Sequence,
    digest_of: Callable[[str], bytes],
) -> str:
    digest = hashlib.sha256(
        json.dumps([sequence.name, settings, versions], sort_keys=True).encode()
    )
    for path in sequence.files():
        # A frame's number may be its file's name.
        digest.update(posixpath.basename(path).encode() + b'\0' + digest_of(path))
    return digest.hexdigest()


def _in_results(record: Record) -> Record:
    keys = 'metrics', 'counts', 'footage', 'frames', 'seconds'
    return {key: record[key] for key in keys if key in record}


def plain(value: Any) -> Any:
    """Returns a JSON-ready copy: NumPy's values as Python's, NaN as None, infinity as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _number(value: float | None, width: int) -> str:
    return f'{"-" if value is None else format(value, ".4f"):>{width}}'
