"""A run of the preparation: list, plan, tasks, index."""

from __future__ import annotations

from collections.abc import Sequence
import time
from typing import Any

import tensorflow as tf

from stfc3_tf import errors, progress, wording
from stfc3_tf.preparation import engines, index, listing, settings, task
from stfc3_tf.preparation import plan as plan_lib
from stfc3_tf.storage import writing

LOCAL = 'local'


def prepare(
    inputs: Sequence[str],
    output: str,
    wanted: settings.Settings,
    *,
    workers: int = 1,
    runner: str = LOCAL,
    pipeline_options: Sequence[str] = (),
    quiet: bool = False,
) -> dict[str, Any]:
    """Write videos as shards, or continue an interrupted run.

    Args:
      inputs: see `listing.list_videos`.
      output: the folder of the shards and their index.
      wanted: how the videos become records.
      workers: processes, if `runner` is 'local'.
      runner: 'local', or the name of a runner of Apache Beam.
      pipeline_options: for Beam, '--name=value' each.
      quiet: show no progress.

    Returns:
      The contents of index.json.

    Raises:
      errors.UserError: no video is found or none can be read, or the output folder belongs to other
        videos or settings or cannot be written.
    """
    videos = listing.list_videos(inputs)
    plan = plan_lib.make_plan(videos, wanted)
    writing.clear_remains(output)
    try:
        plan_lib.agree(output, plan)
        if not quiet:
            count = wording.counted(len(plan.tasks), 'task')
            print(f'{wording.counted(len(videos), "video")} in {count}')
        if runner == LOCAL:
            _run_here(output, len(plan.tasks), workers, quiet)
        else:
            engines.on_beam(output, len(plan.tasks), runner, pipeline_options)
        contents = index.write_index(output, plan)
    except tf.errors.OpError as error:
        raise errors.UserError(
            f'{output}: {error.message}. Run the same command again: finished tasks are kept.'
        ) from error
    if not contents['records']:
        raise errors.UserError(_nothing(output, contents))
    return contents


def _run_here(output: str, tasks: int, workers: int, quiet: bool) -> None:
    """Run the tasks in processes of this machine, and show the progress."""
    meter = Meter(tasks, quiet)
    for done in engines.on_this_machine(output, tasks, workers):
        meter.add(done)
    meter.finish()


class Meter:
    """Shows the progress and the speed of a run.

    Args:
      tasks: number of tasks of the plan.
      quiet: show nothing.
    """

    def __init__(self, tasks: int, quiet: bool = False):
        self._display = None if quiet else progress.Display('preparation', 'tasks', tasks)
        self._start = time.perf_counter()
        self._done = self._kept = self._videos = self._frames = 0
        self._cpu_seconds = 0.0

    def add(self, done: task.Done) -> None:
        """Count and show a finished task; tasks of an earlier run do not count for the speed."""
        self._done += 1
        if done.cpu_seconds:
            self._videos += len(done.report.videos)
            self._frames += sum(video.frames for video in done.report.videos)
            self._cpu_seconds += done.cpu_seconds
        else:
            self._kept += 1
        if self._display:
            self._display.show(self._done, self._note())

    def finish(self) -> None:
        """Show the last state."""
        if self._display:
            self._display.finish()

    def _note(self) -> str:
        notes = []
        if self._kept:
            notes.append(f'{self._kept:,} from an earlier run')
        if self._videos:
            elapsed = time.perf_counter() - self._start
            notes += [
                f'{self._videos / elapsed:.1f} videos/s',
                f'{self._frames / elapsed:.0f} frames/s',
                f'{self._frames / self._cpu_seconds:.0f} frames per processor second',
            ]
        return ', '.join(notes)


def summary(contents: dict[str, Any], limit: int = 10) -> str:
    """Return the contents of index.json as text for people."""
    counted = wording.counted
    used = contents['videos'] - contents['videos_skipped']
    total = (
        f'{used:,} of {counted(contents["videos"], "video")} in '
        f'{counted(contents["records"], "record")} of {counted(contents["frames"], "frame")}, '
        f'{progress.duration(contents["seconds"])}; {counted(len(contents["shards"]), "shard")}, '
        f'{contents["bytes"] / 1e6:,.1f} MB'
    )
    lines = [total]
    for what, found in (
        ('skipped', contents['skipped']),
        ('not used to their end', contents['used_in_part']),
    ):
        if found:
            were = 'was' if len(found) == 1 else 'were'
            lines.append(f'{counted(len(found), "video")} {were} {what}:')
            lines += [f'  {path}: {problem}' for path, problem in list(found.items())[:limit]]
        if len(found) > limit:
            lines.append(f'  ... and {len(found) - limit:,} more: see videos.csv')
    return '\n'.join(lines)


def _nothing(output: str, contents: dict[str, Any]) -> str:
    reasons = [f'  {path}: {problem}' for path, problem in list(contents['skipped'].items())[:5]]
    videos = wording.counted(contents['videos'], 'video')
    what = f'None of {videos} could be read, so {output} has no records:'
    return '\n'.join([what, *reasons])
