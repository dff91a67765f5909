"""Train and evaluate every row of a plan; write one table and the training curves.

    python -m tools.reproduce --data=CLIPS --benchmarks_dir=BENCHMARKS --output_dir=OUT

Every training and every evaluation is a process of its own, with its own log in OUT/rows. Finished
parts are kept: run the same command again after an interruption. A part that fails does not stop
the others; the program then ends with status 1. --list shows what is left to do. Several machines
can share the rows with --only; --join makes one table of their results.
"""

from __future__ import annotations

from collections.abc import Sequence
import os
import pathlib

from absl import flags

from stfc3_tf import errors, progress, wording
from stfc3_tf.commands import command, gin_files, idle_flags, named_paths
from stfc3_tf.reproduction import drawing, parts, results, running
from stfc3_tf.reproduction import plan as plans
from stfc3_tf.serving import shipped

_PLAN = flags.DEFINE_string(
    'plan',
    str(gin_files.FOLDER / 'small/reproduce.gin'),
    'Gin file with rows, seeds and benchmarks.',
)
_DATA = flags.DEFINE_string(
    'data', None, 'Videos to train on, as for stfc3_tf.train; by default built-in scenes.'
)
_BENCHMARKS_DIR = flags.DEFINE_string(
    'benchmarks_dir',
    '.',
    'Folder of the data sets to evaluate on; the plan names the folders in it.',
)
_OUTPUT_DIR = flags.DEFINE_string(
    'output_dir', None, 'Folder on this machine for everything that is written.', required=True
)
_ONLY = flags.DEFINE_list('only', [], 'Only these rows, by name; all by default.')
_BENCHMARKS = flags.DEFINE_list(
    'benchmarks', [], "Only these of the plan's benchmarks, by name; all by default."
)
_SAVED_MODELS = flags.DEFINE_multi_string(
    'saved_model',
    [],
    'ROW=ENCODER: a further row, with the SavedModel or the compact weights of an encoder that was '
    'trained elsewhere, or with one that comes with the package, by name',
)
_JOIN = flags.DEFINE_multi_string(
    'join', [], 'results.json of another run of this plan; what it contains is not run again'
)
_GIN_BINDINGS = flags.DEFINE_multi_string(
    'gin_bindings', [], "A setting for every training run, such as 'train.steps = 100'"
)
_LIST = flags.DEFINE_bool('list', False, 'Run nothing; show state and expected time of every part.')
_COMMANDS = flags.DEFINE_bool('commands', False, 'With --list: show the command of every part too.')


def read_plan() -> plans.Plan:
    """Return the plan of --plan with the benchmarks of --benchmarks."""
    plan = plans.read_plan(gin_files.find(_PLAN.value))
    return plans.with_benchmarks(plan, _BENCHMARKS.value)


def places() -> parts.Places:
    """Return where data and results are, from the flags."""
    data = _DATA.value
    if data is not None and os.path.exists(data):
        data = os.path.abspath(data)
    return parts.Places(
        data,
        os.path.abspath(_BENCHMARKS_DIR.value),
        pathlib.Path(_OUTPUT_DIR.value).absolute(),
        gin_files.FOLDER / 'eval',
    )


def saved_models() -> dict[str, str]:
    """Return row -> absolute path from --saved_model."""
    rows = named_paths.read(_SAVED_MODELS, 'ROW=ENCODER')
    return {row: os.path.abspath(shipped.folder_of(path)) for row, path in rows.items()}


def chosen_rows(every: Sequence[parts.Part]) -> list[str]:
    """Return the rows of --only, or all."""
    rows = list(dict.fromkeys(part.row for part in every))
    unknown = [row for row in _ONLY.value if row not in rows]
    if unknown:
        raise errors.UserError(
            f'--only: there is no row {unknown[0]}; the rows are {", ".join(rows)}.'
        )
    return _ONLY.value or rows


def show(chosen: Sequence[parts.Part]) -> None:
    """Print state, expected time and, if asked for, command of parts."""
    outcomes = running.outcomes_on_disk(chosen)
    for part in chosen:
        outcome = outcomes[part.name]
        seconds = running.expected_seconds(part, chosen, outcomes)
        print(f'{part.name}: {outcome.state}, {progress.duration(seconds)} {outcome.why}')
        if _COMMANDS.value:
            print(f'    {running.shell_command(part)}')
    left = running.seconds_left(chosen, outcomes)
    print(f'{wording.counted(len(chosen), "part")}, about {progress.duration(left)} left')


def main(_: Sequence[str]) -> int | None:
    """Run the plan, or show it."""
    if not _LIST.value:
        idle_flags.refuse('A run without --list', [_COMMANDS])
    plan = read_plan()
    every = parts.all_parts(plan, places(), _GIN_BINDINGS.value, saved_models())
    rows = chosen_rows(every)
    joined = results.read_joined(_JOIN.value, every)
    to_run = results.left_to_run(every, joined)
    chosen = [part for part in to_run if part.row in rows]
    if _LIST.value:
        show(chosen)
        return 0
    output_dir = places().output_dir

    def write(outcomes):
        results.write_table(plan, every, outcomes, output_dir, joined)

    names = [part.name for part in chosen]
    outcomes, stopped_by = running.run_all(every, names, output_dir, write)
    write(outcomes)
    drawing.draw(every, outcomes, places().data, output_dir)
    print((output_dir / 'results.md').read_text())
    if stopped_by:
        print('Stopped; run the same command again to continue.')
        return 128 + stopped_by
    return int(any(outcomes[part.name].state != running.FINISHED for part in chosen))


if __name__ == '__main__':
    command.run(main)
