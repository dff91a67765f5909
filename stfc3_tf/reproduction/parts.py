"""The parts of a reproduction: training runs and evaluations, with the paths of their results.

    OUT/rows/<row>/[seed-<n>/]train/          the training run: checkpoints, logs, saved_model
    OUT/rows/<row>/[seed-<n>/]<benchmark>/    results.json and predictions

Beside the folder of each part are `<part>.log`, its output, and `<part>.json`, its settings and how
it ended.
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
from stfc3_tf.benchmarks import records, tasks

# Importing the child also registers all settings of training, baselines and protocols with gin.
from stfc3_tf.reproduction import child
from stfc3_tf.reproduction import plan as plans
from stfc3_tf.serving import encoder_from_export
from stfc3_tf.training.run_folder import RunFolder

TRAIN = 'train'
# Lines that protocols had not when older tables were made, and that say what was done then: so
# recipes leave them out.
_ADDED = frozenset({"PropagationSettings.precision = 'exact'"})


class Places(NamedTuple):
    """The folders of data and results.

    Attributes:
      data: videos to train on; None for built-in scenes.
      benchmarks_dir: folder of the data sets to evaluate on.
      output_dir: folder on this machine for everything that is written.
      protocols: folder of the tasks' default protocols.
    """

    data: str | None
    benchmarks_dir: str
    output_dir: pathlib.Path
    protocols: pathlib.Path


@dataclasses.dataclass(frozen=True)
class Part:
    """One training, or one evaluation.

    Attributes:
      row: row of the table.
      seed: of the row; None if nothing is random.
      kind: 'train', or the name of a benchmark.
      arguments: of the Python interpreter that does the work.
      folder: of the results.
      made_with: everything that determines the outcome, except the model that is evaluated.
      model: folder of the encoder to evaluate; None if there is none.
      needs: name of the part that trains the model; None if no part has to be finished first.
      minutes: expected time.
      recipe: digest of the settings without paths, so that it is the same on every machine.
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
        """The name in messages and tables, unique."""
        seed = '' if self.seed is None else f', seed {self.seed}'
        return f'{self.row}{seed}: {self.kind}'

    @property
    def log(self) -> pathlib.Path:
        """The file with the output of the part."""
        return self.folder.with_name(f'{self.kind}.log')

    @property
    def record(self) -> pathlib.Path:
        """The file with the part's settings and how it ended."""
        return self.folder.with_name(f'{self.kind}.json')

    @property
    def result(self) -> pathlib.Path:
        """The file or folder that exists once the part is finished."""
        if self.kind == TRAIN:
            return pathlib.Path(RunFolder(str(self.folder)).saved_model)
        return self.folder / 'results.json'

    def settings(self) -> dict[str, Any]:
        """Return everything that determines the outcome, ready for JSON; the model must exist."""
        if self.model is None:
            return dict(self.made_with)
        return {**self.made_with, 'model': encoder_from_export.digest(self.model)}


def all_parts(
    plan: plans.Plan,
    places: Places,
    bindings: Sequence[str] = (),
    saved_models: Mapping[str, str] | None = None,
) -> list[Part]:
    """Return the parts of a plan, first seeds first, so that each row soon has a result.

    Args:
      plan: rows and benchmarks.
      places: folders of data and results.
      bindings: settings that override the configuration of every training run.
      saved_models: folders of encoders by row, for further rows of encoders that were trained
        elsewhere.

    Returns:
      Parts; each comes after the part that it needs.

    Raises:
      errors.UserError: a configuration, a protocol, the folder of a data set or an encoder cannot
        be used.
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
    """The encoder of an evaluation: a SavedModel, or a baseline with its settings.

    Attributes:
      row: row of the table.
      seed: of the row; None if nothing is random.
      saved_model: its path; None for a baseline.
      made_by: name of the part that trains it, if any.
      recipe: of that part.
      baseline: its name; None for a SavedModel.
      bindings: settings of the baseline.
    """

    row: str
    seed: int | None
    saved_model: str | None = None
    made_by: str | None = None
    recipe: str = ''
    baseline: str | None = None
    bindings: tuple[str, ...] = ()


def _trained_parts(
    plan: plans.Plan, places: Places, file: str, seed: int, bindings: Sequence[str]
) -> list[Part]:
    """Return the training, then the evaluations."""
    row = plans.row_name(file)
    folder = _folder(places, row, seed) / TRAIN
    bindings = (f'SEED = {seed}', *bindings)
    configuration = plans.configuration_text([file], bindings)
    train = Part(
        row=row,
        seed=seed,
        kind=TRAIN,
        arguments=child.arguments_of(
            child.train,
            {
                'gin_file': file,
                'gin_bindings': bindings,
                'data': places.data,
                'model_dir': str(folder),
            },
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
    """Return one part per benchmark."""
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
    data_dir = benchmark.data_dir
    if data_dir is not None:
        data_dir = os.path.join(places.benchmarks_dir, data_dir)
    arguments = {
        'task': benchmark.task,
        'data_dir': data_dir,
        'sequences': list(benchmark.sequences),
        'gin_files': list(protocol),
        'gin_bindings': bindings,
        'baseline': evaluated.baseline,
    }
    places_of_part = {'saved_model': evaluated.saved_model, 'output_dir': str(folder)}
    return Part(
        row=evaluated.row,
        seed=evaluated.seed,
        kind=name,
        arguments=child.arguments_of(child.evaluate, {**arguments, **places_of_part}),
        folder=folder,
        made_with={
            'arguments': arguments,
            'protocol': plans.configuration_text(protocol, bindings),
            'code': records.code_digest(),
        },
        model=evaluated.saved_model,
        needs=evaluated.made_by,
        minutes=benchmark.minutes,
        recipe=_digest(
            evaluated.recipe,
            evaluated.baseline,
            benchmark.sequences,
            _without_additions(plans.configuration_text(protocol, settings)),
        ),
    )


def _without_additions(text: str) -> str:
    """Return the settings of a protocol without those that say what older versions did."""
    return ''.join(line for line in text.splitlines(True) if line.strip() not in _ADDED)


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
            raise errors.UserError(f'--saved_model={row}={path}: the plan already has a row {row}.')
        try:
            encoder_from_export.check(path)
        except errors.UserError as error:
            raise errors.UserError(f'--saved_model={row}: {error}') from error


def _check_folders(plan: plans.Plan, places: Places) -> None:
    """Raise UserError before the first training run if a data set is missing."""
    for name, benchmark in plan.benchmarks.items():
        wanted = [benchmark.data_dir] if benchmark.data_dir is not None else []
        for folder in [*wanted, *benchmark.folders.values()]:
            path = os.path.join(places.benchmarks_dir, folder)
            if not os.path.isdir(path):
                raise errors.UserError(
                    f'{path}, the data of the benchmark {name}, is not a folder: put the data '
                    'there, give the folder that holds it in --benchmarks_dir, or choose other '
                    'benchmarks with --benchmarks.'
                )
