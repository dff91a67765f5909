"""Make TFRecord shards of JPEG frames of many videos, for training.

    python -m tools.prepare_clips --input=VIDEOS --output=SHARDS

Run the same command again to continue after an interruption: finished shards are kept. Besides the
shards, SHARDS contains index.json (counts, durations, settings, checksums, what was skipped and
why), videos.csv (the same per video) and SHA256SUMS.
"""

from __future__ import annotations

from collections.abc import Sequence
import os

from absl import flags

from stfc3_tf import processes
from stfc3_tf.commands import command, idle_flags
from stfc3_tf.preparation import index, run, settings

_DEFAULT = settings.Settings()

_INPUT = flags.DEFINE_multi_string(
    'input',
    [],
    'Videos: a folder (searched with all its subfolders), a glob, or a CSV list with a column '
    '`path` (relative to the list). Where there are no video files, folders of pictures are the '
    'videos',
)
_OUTPUT = flags.DEFINE_string('output', None, 'Folder of the shards.', required=True)
_SHORT_SIDE = flags.DEFINE_integer(
    'short_side',
    _DEFAULT.short_side,
    'Pixels of the shorter side of the stored frames. Smaller videos keep their size; 0: all do.',
)
_FRAME_RATE = flags.DEFINE_float(
    'frame_rate',
    _DEFAULT.frame_rate,
    'Frames per second, chosen by time. Slower videos keep their frames; 0: all videos do.',
)
_QUALITY = flags.DEFINE_integer(
    'quality', _DEFAULT.quality, 'Quality of the JPEG frames, 1 to 100.'
)
_SEGMENT_SECONDS = flags.DEFINE_float(
    'segment_seconds',
    _DEFAULT.segment_seconds,
    'Longer videos are cut into records of at most this length.',
)
_SHARD_MEGABYTES = flags.DEFINE_float(
    'shard_megabytes',
    _DEFAULT.shard_megabytes,
    'A shard ends with the record that brings it to this size.',
)
_VIDEOS_PER_TASK = flags.DEFINE_integer(
    'videos_per_task',
    _DEFAULT.videos_per_task,
    'Videos per task. A task is repeated as a whole after an interruption; its videos '
    'share shards. 0: a sixteenth of all videos, at most 64.',
)
_SEED = flags.DEFINE_integer('seed', _DEFAULT.seed, 'Seed of the order in which videos are mixed.')
_FRAME_FOLDER_RATE = flags.DEFINE_float(
    'frame_folder_rate',
    _DEFAULT.frame_folder_rate,
    'Pictures per second of folders of pictures, and frames per second of streams without times.',
)
_WORKERS = flags.DEFINE_integer(
    'workers', None, 'Processes of this machine; by default one per core.', 1, 1024
)
_RUNNER = flags.DEFINE_string(
    'runner',
    run.LOCAL,
    'local: processes of this machine. Or a runner of Apache Beam (DirectRunner, FlinkRunner, '
    "SparkRunner, DataflowRunner), which needs pip install 'stfc3-tf[beam]'. The shards are the "
    'same.',
)
_PIPELINE_OPTIONS = flags.DEFINE_multi_string(
    'pipeline_options', [], "An option of Beam's runner, for example '--region=us-east1'"
)
_VERIFY = flags.DEFINE_boolean(
    'verify',
    False,
    'Write nothing; compare the shards in --output with the checksums of the index.',
)

_SETTINGS = (
    *(_SHORT_SIDE, _FRAME_RATE, _QUALITY, _SEGMENT_SECONDS, _SHARD_MEGABYTES),
    *(_VIDEOS_PER_TASK, _SEED, _FRAME_FOLDER_RATE),
)


def main(_: Sequence[str]) -> int | None:
    """Prepare shards, or verify them."""
    # Before any worker starts: each would report on standard error that it found no GPU.
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    workers = _WORKERS.value or processes.cores()
    if _VERIFY.value:
        idle_flags.refuse('--verify', [_INPUT, *_SETTINGS, _RUNNER, _PIPELINE_OPTIONS])
        return _verify(workers)
    if _RUNNER.value == run.LOCAL:
        idle_flags.refuse(f'--runner={run.LOCAL}', [_PIPELINE_OPTIONS])
    else:
        idle_flags.refuse(f'--runner={_RUNNER.value}', [_WORKERS])
    wanted = settings.Settings(
        short_side=_SHORT_SIDE.value,
        frame_rate=_FRAME_RATE.value,
        quality=_QUALITY.value,
        segment_seconds=_SEGMENT_SECONDS.value,
        shard_megabytes=_SHARD_MEGABYTES.value,
        videos_per_task=_VIDEOS_PER_TASK.value,
        seed=_SEED.value,
        frame_folder_rate=_FRAME_FOLDER_RATE.value,
    )
    contents = run.prepare(
        _INPUT.value,
        _OUTPUT.value,
        wanted,
        workers=workers,
        runner=_RUNNER.value,
        pipeline_options=_PIPELINE_OPTIONS.value,
    )
    print(run.summary(contents))
    return 0


def _verify(workers: int) -> int:
    shards, problems = index.verify(_OUTPUT.value, workers)
    print(*problems, sep='\n', end='\n' if problems else '')
    print(f'{shards - len(problems)} of {shards} shards are as they were written.')
    if problems:
        print('Run the command that made them again: it replaces these and keeps the others.')
    return 1 if problems else 0


if __name__ == '__main__':
    command.run(main)
