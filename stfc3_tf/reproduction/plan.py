"""The plan of a reproduction, read from a gin file: rows, seeds and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import posixpath

import gin

from stfc3_tf import checks, errors
from stfc3_tf.benchmarks import evaluation, tasks
from stfc3_tf.commands import configuration

# The setting that seeds a baseline's weights; the other baselines are not random.
SEED_SETTINGS = {'random': 'RandomFeatures.seed'}


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A benchmark on which every encoder is evaluated.

    Attributes:
      task: a name of `tasks.TASKS`.
      figures: the figures of results.json that the table shows, the most important first.
      data_dir: folder of the data set, below the folder of all benchmarks; None for built-in
        scenes.
      gin_files: the protocol, relative to the plan; the task's default if empty.
      bindings: settings that override the protocol.
      folders: further folders below the folder of all benchmarks, by the setting of the protocol
        that takes them.
      sequences: only these, by name; all if empty.
      scale: factor of the figures in the table; 100 shows shares as percentages.
      minutes: expected time of an evaluation, used until one has been measured.
    """

    task: str
    figures: Sequence[str]
    data_dir: str | None = None
    gin_files: Sequence[str] = ()
    bindings: Sequence[str] = ()
    folders: Mapping[str, str] = dataclasses.field(default_factory=dict)
    sequences: Sequence[str] = ()
    scale: float = 100.0
    minutes: float = 5.0


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Baseline:
    """A baseline to compare trained encoders with.

    Attributes:
      baseline: one of `evaluation.BASELINES`.
      bindings: its settings.
      seeds: of its weights; only for 'random'.
    """

    baseline: str
    bindings: Sequence[str] = ()
    seeds: Sequence[int] = ()


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Plan:
    """The rows and columns of a table.

    Attributes:
      configurations: seeds of each training run, by its gin file, relative to the plan. The row
        has the name of the file without its ending.
      benchmarks: by name.
      baselines: by row.
      reference: row to which the others are compared sequence by sequence; '' for none.
      published: published figures to show beside a row, as text, by row.
      published_heading: heading of their column.
      train_minutes: expected time of a training run, used until one has been measured.
    """

    configurations: Mapping[str, Sequence[int]]
    benchmarks: Mapping[str, Benchmark]
    baselines: Mapping[str, Baseline] = dataclasses.field(default_factory=dict)
    reference: str = ''
    published: Mapping[str, str] = dataclasses.field(default_factory=dict)
    published_heading: str = 'published'
    train_minutes: float = 60.0


def read_plan(path: str) -> Plan:
    """Read a plan; paths of gin files are made relative to the working folder.

    Raises:
      errors.UserError: the file is not a plan, or has a mistake that would only show later.
    """
    gin.clear_config()
    configuration.parse_gin([path], [])
    try:
        plan = Plan()  # type: ignore[call-arg]  # gin gives the arguments.
    except (TypeError, ValueError) as error:
        raise errors.UserError(f'{path} is not a plan: {error}') from error
    finally:
        gin.clear_config()
    folder = posixpath.dirname(path)
    located = dataclasses.replace(
        plan,
        configurations={
            posixpath.join(folder, file): tuple(seeds)
            for file, seeds in plan.configurations.items()
        },
        benchmarks={
            name: dataclasses.replace(
                benchmark, gin_files=[posixpath.join(folder, file) for file in benchmark.gin_files]
            )
            for name, benchmark in plan.benchmarks.items()
        },
    )
    _check(located, path)
    return located


def with_benchmarks(plan: Plan, names: Sequence[str]) -> Plan:
    """Return the plan with only the named benchmarks; with all if none is named.

    Raises:
      errors.UserError: the plan has no benchmark of that name.
    """
    unknown = [name for name in names if name not in plan.benchmarks]
    if unknown:
        raise errors.UserError(
            f'--benchmarks: the plan has no benchmark {unknown[0]}; '
            f'it has {", ".join(plan.benchmarks)}.'
        )
    chosen = {name: plan.benchmarks[name] for name in names or plan.benchmarks}
    return dataclasses.replace(plan, benchmarks=chosen)


def row_name(gin_file: str) -> str:
    """Return the row of a configuration: the name of its file without the ending."""
    return posixpath.splitext(posixpath.basename(gin_file))[0]


def configuration_text(files: Sequence[str], bindings: Sequence[str]) -> str:
    """Return all settings as gin writes them, independent of comments, order and includes.

    Raises:
      errors.UserError: a file or a binding is not valid.
    """
    gin.clear_config()
    try:
        configuration.parse_gin(files, bindings)
        return gin.config_str()
    finally:
        gin.clear_config()


def _check(plan: Plan, path: str) -> None:
    """Raise UserError for mistakes that would otherwise only show after hours."""
    rows = [row_name(file) for file in plan.configurations] + list(plan.baselines)
    twice = sorted({row for row in rows if rows.count(row) > 1})
    if twice:
        raise errors.UserError(f'{path}: two rows are called {", ".join(twice)}: rename one.')
    if plan.reference and plan.reference not in rows:
        raise errors.UserError(
            f"{path}: Plan.reference = '{plan.reference}' is not a row: choose one of "
            f'{", ".join(rows)}.'
        )
    if not plan.benchmarks:
        raise errors.UserError(f'{path}: Plan.benchmarks is empty: name at least one.')
    for file, seeds in plan.configurations.items():
        if not seeds:
            raise errors.UserError(f'{path}: {file} has no seeds: give at least one, as in (0,).')
    for name, benchmark in plan.benchmarks.items():
        if benchmark.task not in tasks.TASKS:
            raise errors.UserError(
                f"{path}: {name}/Benchmark.task = '{benchmark.task}': choose one of "
                f'{", ".join(tasks.TASKS)}.'
            )
    for name, baseline in plan.baselines.items():
        checks.one_of(f'{path}: {name}/Baseline.baseline', baseline.baseline, evaluation.BASELINES)
        if baseline.seeds and baseline.baseline not in SEED_SETTINGS:
            raise errors.UserError(
                f'{path}: {name}/Baseline.seeds: the baseline {baseline.baseline} is not '
                'random: remove the seeds.'
            )
