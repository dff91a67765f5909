"""Trains and evaluates every row of a plan, and writes one table and the curves.

    python -m tools.reproduce --data=CLIPS --benchmarks_dir=BENCHMARKS --output_dir=OUT

Every part is a command of its own (python -m stfc3_tf.train, python -m tools.evaluate) with its own
log in OUT/rows. What is finished stays finished: run the same command again after an interruption.
A part that fails does not stop the others, and the program then ends with status 1. --list shows
what there is to do. Machines can share the rows, by --only; --join makes one table of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
import os
import pathlib

from absl import flags

from stfc3_tf import command, errors, progress
from stfc3_tf.reproduction import drawing, parts, plan as plans, results, running

_ROOT = pathlib.Path(__file__).parent.parent

_PLAN = flags.DEFINE_string('plan', str(_ROOT / 'gin/small/reproduce.gin'), 'Gin file: what to do.')
_DATA = flags.DEFINE_string(
    'data', None, 'Videos to train on, as stfc3_tf.train takes them; built-in scenes without it.'
)
_BENCHMARKS_DIR = flags.DEFINE_string(
    'benchmarks_dir', '.', 'Folder of the data sets to evaluate on; the plan names its folders.'
)
_OUTPUT_DIR = flags.DEFINE_string(
    'output_dir', None, 'Folder on this machine for everything that is written.', required=True
)
_ONLY = flags.DEFINE_list('only', [], 'Run only these rows, by name; all by default.')
_BENCHMARKS = flags.DEFINE_list(
    'benchmarks', [], "Evaluate only on these of the plan's benchmarks, by name; on all by default."
)
_SAVED_MODELS = flags.DEFINE_multi_string(
    'saved_model', [], 'A further row, ROW=SAVED_MODEL: an encoder that was trained elsewhere.'
)
_JOIN = flags.DEFINE_multi_string(
    'join', [], 'results.json of this plan run elsewhere: what it holds is not run again.'
)
_GIN_BINDINGS = flags.DEFINE_multi_string(
    'gin_bindings', [], "A setting of every training run, such as 'train.steps = 100'."
)
_LIST = flags.DEFINE_bool(
    'list', False, 'Only show the parts: how they stand, what they are expected to take, commands.'
)


def read_plan() -> plans.Plan:
    """The plan of --plan with the benchmarks of --benchmarks."""
    plan = plans.read_plan(_PLAN.value)
    return plans.with_benchmarks(plan, _BENCHMARKS.value)


def places() -> parts.Places:
    """Where the flags say things are."""
    data = _DATA.value
    if data is not None and os.path.exists(data):
        data = os.path.abspath(data)
    return parts.Places(
        data,
        os.path.abspath(_BENCHMARKS_DIR.value),
        pathlib.Path(_OUTPUT_DIR.value).absolute(),
        _ROOT / 'gin' / 'eval',
    )


def saved_models() -> dict[str, str]:
    """Row -> absolute path, of --saved_model."""
    found = {}
    for argument in _SAVED_MODELS.value:
        row, separator, path = argument.partition('=')
        if not (row and separator and path):
            raise errors.UserError(f'--saved_model={argument}: give ROW=SAVED_MODEL.')
        found[row] = os.path.abspath(path)
    return found


def chosen_rows(every: Sequence[parts.Part]) -> list[str]:
    """The rows of --only, or all."""
    rows = list(dict.fromkeys(part.row for part in every))
    unknown = [row for row in _ONLY.value if row not in rows]
    if unknown:
        raise errors.UserError(
            f'--only: no row is called {unknown[0]}; there are {", ".join(rows)}.'
        )
    return _ONLY.value or rows


def show(chosen: Sequence[parts.Part]) -> None:
    """Prints how parts stand."""
    outcomes = running.outcomes_on_disk(chosen)
    for part in chosen:
        outcome = outcomes[part.name]
        seconds = running.expected_seconds(part, chosen, outcomes)
        print(f'{part.name}: {outcome.state}, {progress.duration(seconds)} {outcome.why}')
        print(f'    {running.shell_command(part)}')
    left = running.seconds_left(chosen, outcomes)
    print(f'{len(chosen)} parts, about {progress.duration(left)} left')


def main(_: Sequence[str]) -> int | None:
    """Runs the plan, or shows it."""
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
    outcomes, stopped_by = running.run_all(every, names, output_dir, str(_ROOT), write)
    write(outcomes)
    drawing.draw(every, outcomes, places().data, output_dir)
    print((output_dir / 'results.md').read_text())
    if stopped_by:
        print('Stopped; run the same command to go on.')
        return 128 + stopped_by
    return int(any(outcomes[part.name].state != running.FINISHED for part in chosen))


if __name__ == '__main__':
    command.run(main)
