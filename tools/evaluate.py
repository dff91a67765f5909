"""Evaluates an encoder, or a baseline, on a benchmark under a published protocol.

    python -m tools.evaluate --task=davis --data_dir=DAVIS --saved_model=MODEL --output_dir=OUT

Writes OUT/predictions in the benchmark's official submission format, OUT/results.json, and prints
the table. Sequences that are finished stay finished: run the same command again to continue.
"""

from collections.abc import Sequence
import pathlib

from absl import flags

from stfc3_tf import baselines
from stfc3_tf import command
from stfc3_tf import errors
from stfc3_tf import propagation
from stfc3_tf import tracking
from stfc3_tf.benchmarks import models
from stfc3_tf.benchmarks import runner
from stfc3_tf.benchmarks import tasks

_PROTOCOLS = pathlib.Path(__file__).parent.parent / 'gin' / 'eval'
_ENCODERS = {
    'colour': baselines.ColourFeatures,
    'random': baselines.RandomFeatures,
    'imagenet': baselines.ImageNetFeatures,
}

_TASK = flags.DEFINE_enum('task', None, list(tasks.TASKS), 'Benchmark.', required=True)
_DATA_DIR = flags.DEFINE_string('data_dir', None, 'Folder of the data set, in its official layout.')
_SAVED_MODEL = flags.DEFINE_string(
    'saved_model',
    None,
    'SavedModel with the signature `features` (tools.export, tools.import_torch).',
)
_BASELINE = flags.DEFINE_enum(
    'baseline',
    None,
    ['identity', *_ENCODERS],
    'Instead of --saved_model. identity: the first label, copied. colour: colours of 8x8 blocks. '
    'random: the encoder before training (RandomFeatures.seed, RandomFeatures.padding, resnet18.width). '
    'imagenet: a ResNet of keras.applications (ImageNetFeatures.weights: a path).',
)
_OUTPUT_DIR = flags.DEFINE_string(
    'output_dir', None, 'Where results and predictions go.', required=True
)
_GIN_FILE = flags.DEFINE_multi_string(
    'gin_file',
    [],
    "Protocol: a file of gin/eval/; later ones override earlier ones. Without it, the task's own.",
)
_GIN_BINDINGS = flags.DEFINE_multi_string(
    'gin_bindings', [], "One setting, e.g. 'PropagationSettings.radius = 5'."
)
_SEQUENCES = flags.DEFINE_list('sequences', [], 'Only these sequences, by name; all by default.')


def make_tracker() -> runner.Tracker:
    """Returns the tracker that --saved_model or --baseline asks for."""
    if (_SAVED_MODEL.value is None) == (_BASELINE.value is None):
        raise errors.UserError('Give either --saved_model or --baseline.')
    # Read also where nothing is propagated: all methods may be given the same protocol.
    settings, size = propagation.PropagationSettings(), tracking.InputSize()
    if _BASELINE.value == 'identity':
        return tracking.CopyFirst()
    extractor = (
        _ENCODERS[_BASELINE.value]() if _BASELINE.value else models.SavedEncoder(_SAVED_MODEL.value)
    )
    return tracking.PropagationTracker(extractor, settings, size)


def make_benchmark(task: tasks.Task) -> runner.Benchmark:
    """Returns the benchmark, reading --data_dir if it reads anything."""
    if not task.needs_data:
        return task.benchmark()
    if _DATA_DIR.value is None:
        raise errors.UserError(f'--task={_TASK.value} needs --data_dir.')
    return task.benchmark(data_dir=_DATA_DIR.value)


def main(_: Sequence[str]) -> None:
    """Parses the protocol, evaluates, prints the table."""
    task = tasks.TASKS[_TASK.value]
    gin_files = _GIN_FILE.value or [str(_PROTOCOLS / task.protocol)]
    command.parse_gin(gin_files, _GIN_BINDINGS.value)
    tasks.check_protocol(_TASK.value)
    protocol = ' + '.join([*(pathlib.Path(file).stem for file in gin_files), *_GIN_BINDINGS.value])
    benchmark, tracker = make_benchmark(task), make_tracker()
    command.check_bindings_used(_GIN_BINDINGS.value)
    results = runner.evaluate(
        benchmark,
        tracker,
        _OUTPUT_DIR.value,
        protocol=protocol,
        saved_model=_SAVED_MODEL.value,
        only=_SEQUENCES.value,
    )
    print(runner.table(results))


if __name__ == '__main__':
    command.run(main)
