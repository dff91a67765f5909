"""Run one part of a reproduction in a process of its own, so that a crash ends only this part.

    python -m stfc3_tf.reproduction.child --work='{"evaluate": {"task": "synthetic", ...}}'

The work is the name of a function below and its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import json
from typing import Any

from absl import flags

from stfc3_tf.benchmarks import evaluation, runner
from stfc3_tf.commands import command, configuration
from stfc3_tf.training import run as training
from stfc3_tf.training import settings

_MODULE = 'stfc3_tf.reproduction.child'


def train(gin_file: str, gin_bindings: Sequence[str], data: str | None, model_dir: str) -> int:
    """Train, or continue, a run.

    Args:
      gin_file: configuration.
      gin_bindings: settings that override it.
      data: videos, see `clips.open_source`; None for built-in scenes.
      model_dir: folder of the run.

    Returns:
      The exit status: 0, or 128 + the signal that stopped the run.
    """
    configuration.parse_gin([gin_file], gin_bindings)
    stopped_by = training.train(settings.Settings(), model_dir, data, gin_bindings)
    return 128 + stopped_by if stopped_by else 0


def evaluate(**arguments: Any) -> int:
    """Run an `evaluation.Evaluation` with these arguments and print its table; return 0."""
    print(runner.table(evaluation.Evaluation(**arguments).run()))
    return 0


def arguments_of(function: Callable[..., int], arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the arguments of the Python interpreter that call `train` or `evaluate`."""
    work = json.dumps({function.__name__: arguments})
    return '-m', _MODULE, f'--work={work}'


def main(_: Sequence[str]) -> int:
    """Do the work; return the exit status."""
    ((name, arguments),) = json.loads(flags.FLAGS.work).items()
    functions: dict[str, Callable[..., int]] = {'train': train, 'evaluate': evaluate}
    return functions[name](**arguments)


if __name__ == '__main__':
    # Defined here and not on import, so that tools.reproduce does not get this flag.
    flags.DEFINE_string('work', None, 'JSON: {function: {argument: value}}.', required=True)
    command.run(main)
