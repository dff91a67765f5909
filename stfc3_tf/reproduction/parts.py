"""The parts of a reproduction: which command makes each number, and where it is put.

    OUT/rows/<row>/[seed-<n>/]train/          the training run: checkpoints, logs, saved_model
    OUT/rows/<row>/[seed-<n>/]<benchmark>/    results.json and predictions

Beside the folder of every part stand `<part>.log`, what its command printed, and `<part>.json`,
what it was made with and how it ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any, NamedTuple

from stfc3_tf import errors

# The settings of trainings, baselines and protocols are checked before anything is run.
from stfc3_tf import baselines, training  # noqa: F401
from stfc3_tf.benchmarks import models, runner, tasks
from stfc3_tf.reproduction import plan as plans

TRAIN = 'train'


class Places(NamedTuple):
    """Where things are.

    Attributes:
      data: videos to train on, None for built-in scenes.
      benchmarks_dir: folder of the data sets to evaluate on.
      output_dir: folder of everything that is written, on this machine.
      protocols: folder of the tasks' own protocols.
    """

    data: str | None
    benchmarks_dir: str
    output_dir: pathlib.Path
    protocols: pathlib.Path


@dataclasses.dataclass(frozen=True)
class Part:
    """What one command does.

    Attributes:
      row: of the table.
      seed: of the row; None where nothing is drawn.
      kind: 'train', or the name of a benchmark.
      arguments: of the Python interpreter.
      folder: what the command fills.
      made_with: what the outcome follows from, apart from the model that is evaluated.
      model: SavedModel that is evaluated; None where there is none.
      needs: name of the part that makes the model; None where nothing has to be made first.
      minutes: how long it is expected to take.
      recipe: digest of the settings alone: the same on every machine, wherever things lie there.
    """

    row: str
    seed: int | None
    kind: str
    arguments: tuple[str, ...]
    folder: pathlib.Path
    made_with: Mapping[str, Any]
    model: str | None
    needs: str | None
    minutes: float
    recipe: str = ''

    @property
    def name(self) -> str:
        seed = '' if self.seed is None else f', seed {self.seed}'
        return f'{self.row}{seed}: {self.kind}'

    @property
    def log(self) -> pathlib.Path:
        return self.folder.with_name(f'{self.kind}.log')

    @property
    def record(self) -> pathlib.Path:
        return self.folder.with_name(f'{self.kind}.json')

    @property
    def result(self) -> pathlib.Path:
        """What is there when the command has done its work."""
        return self.folder / ('saved_model' if self.kind == TRAIN else 'results.json')

    def settings(self) -> dict[str, Any]:
        """Everything the outcome follows from, as of now; JSON-ready. The model must exist."""
        if self.model is None:
            return dict(self.made_with)
        return {**self.made_with, 'model': models.saved_model_digest(self.model)}


def all_parts(
    plan: plans.Plan,
    places: Places,
    bindings: Sequence[str] = (),
    saved_models: Mapping[str, str] | None = None,
) -> list[Part]:
    """The parts of a plan as they are run: first seeds first, so that every row is soon there.

    Args:
      plan: what to do.
      places: where.
      bindings: settings of every training run, over its configuration.
      saved_models: further rows -> SavedModels made elsewhere.

    Raises:
      errors.UserError: a configuration, a protocol, a data set's folder or a SavedModel is not
        usable.
    """
    _check_folders(plan, places)
    _check_saved_models(plan, saved_models or {})
    runs = []
    for name, baseline in plan.baselines.items():
        for rank, seed in enumerate(baseline.seeds or [None]):
            runs.append((rank, _baseline_parts(plan, places, name, baseline, seed)))
    for name, path in (saved_models or {}).items():
        evaluated = _Evaluated(name, None, saved_model=path)
        runs.append((0, _evaluations(plan, places, evaluated)))
    for file, seeds in plan.configurations.items():
        for rank, seed in enumerate(seeds):
            runs.append((rank, _trained_parts(plan, places, file, seed, bindings)))
    return [part for _, parts in sorted(runs, key=lambda run: run[0]) for part in parts]


class _Evaluated(NamedTuple):
    """What is evaluated: a SavedModel, or a baseline with its settings."""

    row: str
    seed: int | None
    saved_model: str | None = None
    made_by: str | None = None
    recipe: str = ''
    baseline: str | None = None
    bindings: tuple[str, ...] = ()

    def argument(self) -> str:
        if self.baseline is None:
            return f'--saved_model={self.saved_model}'
        return f'--baseline={self.baseline}'


def _trained_parts(
    plan: plans.Plan, places: Places, file: str, seed: int, bindings: Sequence[str]
) -> list[Part]:
    """Training, then the evaluations."""
    row = plans.row_name(file)
    folder = _folder(places, row, seed) / TRAIN
    bindings = (f'SEED = {seed}', *bindings)
    data = [] if places.data is None else [f'--data={places.data}']
    configuration = plans.configuration_text([file], bindings)
    train = Part(
        row=row,
        seed=seed,
        kind=TRAIN,
        arguments=(
            *('-m', 'stfc3_tf.train', f'--gin_file={file}', *data, f'--model_dir={folder}'),
            *(f'--gin_bindings={binding}' for binding in bindings),
        ),
        folder=folder,
        made_with={'data': places.data, 'configuration': configuration},
        model=None,
        needs=None,
        minutes=plan.train_minutes,
        recipe=_digest(configuration),
    )
    model = str(train.result)
    evaluated = _Evaluated(row, seed, model, train.name, train.recipe)
    return [train, *_evaluations(plan, places, evaluated)]


def _baseline_parts(
    plan: plans.Plan, places: Places, row: str, baseline: plans.Baseline, seed: int | None
) -> list[Part]:
    bindings = tuple(baseline.bindings)
    if seed is not None:
        bindings += (f'{plans.SEED_SETTINGS[baseline.baseline]} = {seed}',)
    evaluated = _Evaluated(row, seed, baseline=baseline.baseline, bindings=bindings)
    return _evaluations(plan, places, evaluated)


def _evaluations(plan: plans.Plan, places: Places, evaluated: _Evaluated) -> list[Part]:
    """One part a benchmark."""
    return [
        _evaluation(name, benchmark, places, evaluated)
        for name, benchmark in plan.benchmarks.items()
    ]


def _evaluation(
    name: str, benchmark: plans.Benchmark, places: Places, evaluated: _Evaluated
) -> Part:
    folder = _folder(places, evaluated.row, evaluated.seed) / name
    settings = [*benchmark.bindings, *evaluated.bindings]
    bindings = [*benchmark.bindings, *_folder_bindings(benchmark, places), *evaluated.bindings]
    default = str(places.protocols / tasks.TASKS[benchmark.task].protocol)
    protocol = benchmark.gin_files or [default]
    arguments = [f'--task={benchmark.task}']
    if benchmark.data_dir is not None:
        arguments.append(f'--data_dir={os.path.join(places.benchmarks_dir, benchmark.data_dir)}')
    if benchmark.sequences:
        arguments.append(f'--sequences={",".join(benchmark.sequences)}')
    arguments += [f'--gin_file={file}' for file in benchmark.gin_files]
    arguments += [f'--gin_bindings={binding}' for binding in bindings]
    return Part(
        row=evaluated.row,
        seed=evaluated.seed,
        kind=name,
        arguments=(
            *('-m', 'tools.evaluate', evaluated.argument(), *arguments, f'--output_dir={folder}'),
        ),
        folder=folder,
        made_with={
            'baseline': evaluated.baseline,
            'arguments': arguments,
            'protocol': plans.configuration_text(protocol, bindings),
            'code': runner.code_digest(),
        },
        model=evaluated.saved_model,
        needs=evaluated.made_by,
        minutes=benchmark.minutes,
        recipe=_digest(
            evaluated.recipe,
            evaluated.baseline,
            benchmark.sequences,
            plans.configuration_text(protocol, settings),
        ),
    )


def _digest(*settings: Any) -> str:
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()


def _folder_bindings(benchmark: plans.Benchmark, places: Places) -> list[str]:
    return [
        f'{setting} = {os.path.join(places.benchmarks_dir, folder)!r}'
        for setting, folder in benchmark.folders.items()
    ]


def _folder(places: Places, row: str, seed: int | None) -> pathlib.Path:
    folder = places.output_dir / 'rows' / row
    return folder if seed is None else folder / f'seed-{seed}'


def _check_saved_models(plan: plans.Plan, saved_models: Mapping[str, str]) -> None:
    known = {*map(plans.row_name, plan.configurations), *plan.baselines}
    for row, path in saved_models.items():
        if row in known:
            raise errors.UserError(f'--saved_model={row}={path}: the plan has a row {row} already.')
        if not os.path.isfile(os.path.join(path, 'saved_model.pb')):
            raise errors.UserError(f'--saved_model={row}={path}: that folder is no SavedModel.')


def _check_folders(plan: plans.Plan, places: Places) -> None:
    """Says before the first training run that a data set is not there."""
    for name, benchmark in plan.benchmarks.items():
        wanted = [benchmark.data_dir] if benchmark.data_dir is not None else []
        for folder in [*wanted, *benchmark.folders.values()]:
            path = os.path.join(places.benchmarks_dir, folder)
            if not os.path.isdir(path):
                raise errors.UserError(
                    f'{path}, the data of the benchmark {name}, is not a folder: put it there, or '
                    'leave the benchmark out by --benchmarks.'
                )
