"""The whole of it: list, plan, tasks, index."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TextIO

import tensorflow as tf

from stfc3_tf import errors, progress
from stfc3_tf.preparation import engines, index, listing, settings, task
from stfc3_tf.preparation import plan as plan_lib

LOCAL = 'local'


def prepare(
    inputs: Sequence[str],
    output: str,
    wanted: settings.Settings,
    *,
    workers: int = 1,
    runner: str = LOCAL,
    pipeline_options: Sequence[str] = (),
    show: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Makes shards of videos, or goes on making them where a run was broken off.

    Args:
      inputs: see `listing.list_videos`.
      output: the folder of the shards and their index.
      wanted: how the videos become records.
      workers: processes, if `runner` is 'local'.
      runner: 'local', or the name of a runner of Apache Beam.
      pipeline_options: for Beam, '--name=value' each.
      show: told now and then how far it is.

    Returns:
      The contents of index.json.

    Raises:
      errors.UserError: no video is found, or none could be read; the output folder belongs to
        another set of videos or settings, or cannot be written.
    """
    videos = listing.list_videos(inputs)
    plan = plan_lib.make_plan(videos, wanted)
    try:
        plan_lib.agree(output, plan)
        show(f'{len(videos):,} videos in {len(plan.tasks):,} tasks')
        if runner == LOCAL:
            meter = Meter(len(plan.tasks), workers)
            for done in engines.on_this_machine(output, len(plan.tasks), workers):
                meter.add(done)
                show(meter.line())
        else:
            engines.on_beam(output, len(plan.tasks), runner, pipeline_options)
        contents = index.write_index(output, plan)
    except tf.errors.OpError as error:
        raise errors.UserError(
            f'{output}: {error.message}. Run the same command again: what is finished is kept.'
        ) from error
    if not contents['records']:
        raise errors.UserError(_nothing(output, contents))
    return contents


class Meter:
    """How far a run is and how fast it goes.

    Args:
      tasks: of the plan.
      workers: processes.
    """

    def __init__(self, tasks: int, workers: int):
        self._tasks, self._workers = tasks, workers
        self._start = time.perf_counter()
        self._done = self._kept = self._videos = self._frames = 0
        self._cpu_seconds = 0.0

    def add(self, done: task.Done) -> None:
        """Counts a finished task; those finished in an earlier run do not count for the speed."""
        self._done += 1
        if not done.cpu_seconds:
            self._kept += 1
            return
        self._videos += len(done.report.videos)
        self._frames += sum(video.frames for video in done.report.videos)
        self._cpu_seconds += done.cpu_seconds

    def line(self) -> str:
        """Says it."""
        elapsed = time.perf_counter() - self._start
        text = f'{self._done:,} of {self._tasks:,} tasks'
        if self._kept:
            text += f', {self._kept:,} of them from before'
        if self._videos:
            left = elapsed / (self._done - self._kept) * (self._tasks - self._done)
            text += (
                f'  {self._videos / elapsed:.1f} videos/s  {self._frames / elapsed:.0f} frames/s, '
                f'{self._frames / self._cpu_seconds:.0f} per processor second  '
                f'{progress.duration(left)} left'
            )
        return text


class Line:
    """Shows text in one line of a terminal, or as lines now and then elsewhere.

    Args:
      stream: where to; None for standard output.
      seconds: between lines where there is no terminal.
    """

    def __init__(self, stream: TextIO | None = None, seconds: float = 30.0):
        self._line = progress.Line(stream)
        self._pause = 0.0 if self._line.terminal else seconds
        self._shown, self._text = float('-inf'), ''

    def __call__(self, text: str) -> None:
        self._text = text
        if time.perf_counter() - self._shown >= self._pause:
            self._write()

    def close(self) -> None:
        """Leaves the last line standing."""
        if self._text:
            self._write()
        self._line.leave()

    def _write(self) -> None:
        self._line.write(self._text)
        self._shown, self._text = time.perf_counter(), ''


def summary(contents: dict[str, Any], limit: int = 10) -> str:
    """What index.json holds, for people."""
    used = contents['videos'] - contents['videos_skipped']
    total = (
        f'{used:,} of {contents["videos"]:,} videos in {contents["records"]:,} records of '
        f'{contents["frames"]:,} frames, {progress.duration(contents["seconds"])}; '
        f'{len(contents["shards"]):,} shards, {contents["bytes"] / 1e6:,.1f} MB'
    )
    lines = [total]
    for what, found in (
        ('skipped', contents['skipped']),
        ('not used to their end', contents['used_in_part']),
    ):
        if found:
            lines.append(f'{len(found):,} videos were {what}:')
            lines += [f'  {path}: {problem}' for path, problem in list(found.items())[:limit]]
        if len(found) > limit:
            lines.append(f'  ... and {len(found) - limit:,} more: see videos.csv')
    return '\n'.join(lines)


def _nothing(output: str, contents: dict[str, Any]) -> str:
    reasons = [f'  {path}: {problem}' for path, problem in list(contents['skipped'].items())[:5]]
    what = f'None of the {contents["videos"]:,} videos could be read, {output} is of no use:'
    return '\n'.join([what, *reasons])
