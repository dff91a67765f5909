"""What a reproduction consists of, read from a gin file: rows, seeds and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import posixpath

import gin

from stfc3_tf import command, errors
from stfc3_tf.benchmarks import tasks

# Which setting draws the weights of a baseline; the others draw nothing.
SEED_SETTINGS = {'random': 'RandomFeatures.seed'}


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A benchmark that every encoder is evaluated on.

    Attributes:
      task: as `tools.evaluate --task` takes it.
      figures: which figures of results.json the table shows, the most important first.
      data_dir: folder of the data set, below the folder of all benchmarks; None where nothing is
        read.
      gin_files: the protocol, relative to the plan; the task's own if empty.
      bindings: settings that override the protocol.
      folders: setting of the protocol -> a further folder below the folder of all benchmarks.
      sequences: only these, by name; all if empty.
      scale: what the figures are multiplied with in the table; 100 shows shares as percentages.
      minutes: how long an evaluation takes, until one has been measured.
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
    """What trained encoders are compared with.

    Attributes:
      baseline: as `tools.evaluate --baseline` takes it.
      bindings: its settings.
      seeds: of its weights; only 'random' has any.
    """

    baseline: str
    bindings: Sequence[str] = ()
    seeds: Sequence[int] = ()


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Plan:
    """Rows and columns of a table.

    Attributes:
      configurations: gin file of a training run, relative to the plan -> its seeds. The file's name
        without its ending is the row's.
      baselines: row -> baseline.
      benchmarks: name -> benchmark.
      published: row -> figures to show beside it, as text.
      published_heading: what they are.
      train_minutes: how long a training run takes, until one has been measured.
    """

    configurations: Mapping[str, Sequence[int]]
    benchmarks: Mapping[str, Benchmark]
    baselines: Mapping[str, Baseline] = dataclasses.field(default_factory=dict)
    published: Mapping[str, str] = dataclasses.field(default_factory=dict)
    published_heading: str = 'published'
    train_minutes: float = 60.0


def read_plan(path: str) -> Plan:
    """Reads a plan; gin files it names become relative to where it is read from.

    Raises:
      errors.UserError: it is not a plan, or not one that can be carried out.
    """
    gin.clear_config()
    command.parse_gin([path], [])
    try:
        plan = Plan()
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
    """The plan with only these of its benchmarks; with all if none is named.

    Raises:
      errors.UserError: it has no benchmark of that name.
    """
    unknown = [name for name in names if name not in plan.benchmarks]
    if unknown:
        raise errors.UserError(
            f'--benchmarks: the plan has no {unknown[0]}, only {", ".join(plan.benchmarks)}.'
        )
    chosen = {name: plan.benchmarks[name] for name in names or plan.benchmarks}
    return dataclasses.replace(plan, benchmarks=chosen)


def row_name(gin_file: str) -> str:
    """The row of a configuration: its file's name without the ending."""
    return posixpath.splitext(posixpath.basename(gin_file))[0]


def configuration_text(files: Sequence[str], bindings: Sequence[str]) -> str:
    """The settings of gin files as gin writes them, whatever their comments, order and includes.

    Raises:
      errors.UserError: a file or binding is not valid.
    """
    gin.clear_config()
    try:
        command.parse_gin(files, bindings)
        return gin.config_str()
    finally:
        gin.clear_config()


def _check(plan: Plan, path: str) -> None:
    """Finds what would fail later, after hours."""
    rows = [row_name(file) for file in plan.configurations] + list(plan.baselines)
    twice = sorted({row for row in rows if rows.count(row) > 1})
    if twice:
        raise errors.UserError(f'{path}: two rows are called {", ".join(twice)}: rename a file.')
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
        if baseline.seeds and baseline.baseline not in SEED_SETTINGS:
            raise errors.UserError(
                f'{path}: {name}/Baseline.seeds: the baseline {baseline.baseline} draws nothing.'
            )
