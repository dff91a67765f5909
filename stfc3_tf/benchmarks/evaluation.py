"""An evaluation as its user states it: task, protocol, data, encoder or baseline, results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import functools
import pathlib
from typing import Any

from stfc3_tf import errors, processes
from stfc3_tf.benchmarks import baselines, contract, records, runner, tasks
from stfc3_tf.commands import configuration
from stfc3_tf.propagation import propagator
from stfc3_tf.propagation import tracker as tracking
from stfc3_tf.propagation.extractor import FeatureExtractor
from stfc3_tf.serving import loading
from stfc3_tf.storage import object_store

IDENTITY = 'identity'
_ENCODERS = {
    'colour': baselines.ColourFeatures,
    'random': baselines.RandomFeatures,
    'imagenet': baselines.ImageNetFeatures,
}
BASELINES = (IDENTITY, *_ENCODERS)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """An evaluation.

    Attributes:
      task: a name of `tasks.TASKS`.
      output_dir: folder for results and predictions; finished sequences in it are kept.
      gin_files: the protocol; later files override earlier ones.
      gin_bindings: settings that override the protocol.
      data_dir: folder of the data set, in its official layout; None for built-in scenes.
      saved_model: path of the encoder; None for a baseline.
      baseline: one of `BASELINES`; None for a SavedModel.
      sequences: only these, by name; all if empty.
      workers: how many processes run sequences side by side, each on its part of the cores and
        without a GPU; 1 to run them in this process.
    """

    task: str
    output_dir: str
    gin_files: Sequence[str]
    gin_bindings: Sequence[str] = ()
    data_dir: str | None = None
    saved_model: str | None = None
    baseline: str | None = None
    sequences: Sequence[str] = ()
    workers: int = 1

    def run(self) -> dict[str, Any]:
        """Parse the protocol, evaluate, and write `output_dir`/results.json.

        Returns:
          The contents of results.json.

        Raises:
          errors.UserError: a setting, the data, the encoder or the folder cannot be used.
        """
        benchmark, tracker = self.opened()
        configuration.check_bindings_used(self.gin_bindings)
        return runner.evaluate(
            benchmark,
            tracker,
            self.output_dir,
            protocol=self._protocol(),
            saved_model=self.saved_model,
            only=self.sequences,
            elsewhere=functools.partial(_side_by_side, self) if self.workers > 1 else None,
        )

    def opened(self) -> tuple[contract.Benchmark, contract.Tracker]:
        """Parse the protocol; return what is evaluated on, and what is evaluated."""
        configuration.parse_gin(self.gin_files, self.gin_bindings)
        tasks.check_protocol(self.task)
        return self._benchmark(), self._tracker()

    def _protocol(self) -> str:
        names = [pathlib.Path(file).stem for file in self.gin_files]
        return ' + '.join([*names, *self.gin_bindings])

    def _benchmark(self) -> contract.Benchmark:
        task = tasks.TASKS[self.task]
        if not task.needs_data:
            return task.benchmark()
        if self.data_dir is None:
            raise errors.UserError(f'--task={self.task} needs --data_dir.')
        return task.benchmark(data_dir=self.data_dir)  # type: ignore[call-arg]

    def _tracker(self) -> contract.Tracker:
        # Created for every method, because all bindings of the protocol must be used.
        settings, size = propagator.PropagationSettings(), tracking.InputSize()
        encoder = self._encoder()
        if encoder is None:
            return tracking.CopyFirst()
        return tracking.PropagationTracker(encoder, settings, size, reads_ahead=True)

    def _encoder(self) -> FeatureExtractor | None:
        """Return the encoder; None for the baseline that needs none."""
        if self.saved_model is not None and self.baseline is None:
            return loading.load(self.saved_model)
        if self.baseline is None or self.saved_model is not None:
            raise errors.UserError('Give either --saved_model or --baseline.')
        return None if self.baseline == IDENTITY else _ENCODERS[self.baseline]()


def _side_by_side(evaluation: Evaluation, keys: Mapping[str, str]) -> Iterator[contract.Record]:
    """Run sequences in processes; see `runner.Elsewhere`."""
    hashable = dataclasses.replace(
        evaluation,
        gin_files=tuple(evaluation.gin_files),
        gin_bindings=tuple(evaluation.gin_bindings),
        sequences=(),
    )
    workers = min(evaluation.workers, max(len(keys), 1))
    yield from processes.side_by_side(
        functools.partial(_record, hashable),
        keys.items(),
        workers,
        threads=max(processes.cores() // workers, 1),
        advice='Perhaps memory ran out: then use fewer --workers. Run the same command again: '
        'finished sequences stay.',
    )


def _record(evaluation: Evaluation, key: tuple[str, str]) -> contract.Record:
    """Run one sequence, given its name and its fingerprint."""
    name, fingerprint = key
    sequences, tracker = _opened_once(evaluation)
    return records.run(sequences[name], tracker, evaluation.output_dir, fingerprint, lambda: None)


@functools.cache
def _opened_once(
    evaluation: Evaluation,
) -> tuple[dict[str, contract.Sequence], contract.Tracker]:
    """Return the sequences by name, and what is evaluated, once per process."""
    paths = evaluation.output_dir, evaluation.data_dir, evaluation.saved_model
    object_store.register(*(path for path in paths if path is not None))
    benchmark, tracker = evaluation.opened()
    return {sequence.name: sequence for sequence in benchmark.sequences()}, tracker
