"""Evaluate an encoder, or a baseline, on a benchmark under a published protocol.

    python -m tools.evaluate --task=davis --data_dir=DAVIS --saved_model=MODEL --output_dir=OUT

The command writes OUT/predictions in the benchmark's official submission format and
OUT/results.json, and prints the table. Finished sequences are kept: run the same command again to
continue.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from stfc3_tf.benchmarks import runner, tasks
from stfc3_tf.benchmarks.evaluation import BASELINES, Evaluation
from stfc3_tf.commands import command, gin_files, idle_flags

_TASK = flags.DEFINE_enum('task', None, list(tasks.TASKS), 'Benchmark.', required=True)
_DATA_DIR = flags.DEFINE_string('data_dir', None, 'Folder of the data set, in its official layout.')
_SAVED_MODEL = flags.DEFINE_string(
    'saved_model',
    None,
    'An export (tools.export, tools.import_torch), a SavedModel with the signature `features`, or '
    'the name of an encoder that comes with the package, such as stfc3-small.',
)
_BASELINE = flags.DEFINE_enum(
    'baseline',
    None,
    list(BASELINES),
    'Instead of --saved_model. identity: the first label, copied. colour: colours of 8x8 blocks. '
    'random: the encoder before training (RandomFeatures.seed, RandomFeatures.padding, '
    'resnet18.width). imagenet: a ResNet of keras.applications (ImageNetFeatures.weights: a path).',
)
_OUTPUT_DIR = flags.DEFINE_string(
    'output_dir', None, 'Folder for results and predictions.', required=True
)
_GIN_FILE = flags.DEFINE_multi_string(
    'gin_file',
    [],
    'Protocol: a file of gin/eval/, by default that of the task; later files override earlier',
)
_GIN_BINDINGS = flags.DEFINE_multi_string(
    'gin_bindings', [], "A setting, such as 'PropagationSettings.radius = 5'"
)
_SEQUENCES = flags.DEFINE_list('sequences', [], 'Only these sequences, by name; all by default.')
_WORKERS = flags.DEFINE_integer(
    'workers',
    1,
    'Processes that run sequences side by side, each on its part of the cores and without a GPU.',
    lower_bound=1,
    upper_bound=1024,
)


def main(_: Sequence[str]) -> None:
    """Evaluate, then print the table."""
    if _TASK.value == 'synthetic':
        idle_flags.refuse('--task=synthetic', [_DATA_DIR])
    default = str(gin_files.FOLDER / 'eval' / tasks.TASKS[_TASK.value].protocol)
    evaluation = Evaluation(
        task=_TASK.value,
        output_dir=_OUTPUT_DIR.value,
        gin_files=_GIN_FILE.value or [default],
        gin_bindings=_GIN_BINDINGS.value,
        data_dir=_DATA_DIR.value,
        saved_model=_SAVED_MODEL.value,
        baseline=_BASELINE.value,
        sequences=_SEQUENCES.value,
        workers=_WORKERS.value,
    )
    print(runner.table(evaluation.run()))


if __name__ == '__main__':
    command.run(main)
