"""A task, which writes its videos as shards; doing it again writes the same bytes."""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses
import functools
import json
import time
from typing import Any, NamedTuple

from absl import logging
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.clips import shard_writer
from stfc3_tf.preparation import plan as plan_lib
from stfc3_tf.preparation import segments
from stfc3_tf.storage import files, object_store, writing


@dataclasses.dataclass
class Video:
    """The result of preparing a video.

    Attributes:
      path: of the video.
      records: number of its records, which follow each other.
      frames: number of frames in the records.
      seconds: from the first frame to the last, summed over the records.
      shard: name of the shard with the first record.
      record: number of the first record in that shard.
      problem: why the video was skipped or not used to its end; None for a complete video.
    """

    path: str
    records: int = 0
    frames: int = 0
    seconds: float = 0.0
    shard: str | None = None
    record: int | None = None
    problem: str | None = None


@dataclasses.dataclass
class Shard:
    """A finished shard.

    Attributes:
      name: of the file.
      sha256: checksum of the file.
      bytes: size of the file.
      offsets: bytes from the start of the file to each record.
    """

    name: str
    sha256: str
    bytes: int
    offsets: list[int]


@dataclasses.dataclass
class Report:
    """The result of a task.

    Attributes:
      digest: of the task in its plan.
      shards: those that it wrote.
      videos: all videos of the task, in its order.
    """

    digest: str
    shards: list[Shard]
    videos: list[Video]


class Done(NamedTuple):
    """A finished task.

    Attributes:
      report: of the task.
      cpu_seconds: its processor time; 0 if it was finished in an earlier run.
    """

    report: Report
    cpu_seconds: float


def do(output: str, number: int) -> Done:
    """Do a task of the plan in the output folder, unless its shards are there and intact."""
    start = time.process_time()
    _make_usable(output)
    plan = plan_lib.read_plan(output)
    _make_usable(*sorted({'/'.join(video.split('/', 3)[:3]) for video in plan.tasks[number]}))
    report = read_report(output, number)
    if report and report.digest == plan.digest(number) and not problems(output, report.shards):
        return Done(report, 0.0)
    writer = _Shards(output, plan, number)
    videos = [_prepare(path, plan.settings, writer) for path in plan.tasks[number]]
    report = Report(plan.digest(number), writer.finish(), videos)
    # Written last: a report means that its shards are finished.
    contents = json.dumps(dataclasses.asdict(report), indent=1)
    writing.write_text(_report_path(output, number), contents + '\n')
    return Done(report, time.process_time() - start)


@functools.cache
def _make_usable(*paths: str) -> None:
    """Register the file systems of paths, once per process."""
    object_store.register(*(path for path in paths if '://' in path))


def read_report(output: str, number: int) -> Report | None:
    """Read the report of a task; None if it is not finished or the report is damaged."""
    path = _report_path(output, number)
    if not tf.io.gfile.exists(path):
        return None
    try:
        return files.read_json(path, Report, 'The task is done again.')
    except errors.UserError as error:
        logging.warning('%s', error)
        return None


def problems(output: str, expected: Iterable[Shard]) -> list[str]:
    """Read shards again; return a message for each that is missing or changed."""
    return [problem for shard in expected if (problem := _problem(output, shard))]


def _problem(output: str, shard: Shard) -> str | None:
    path = tf.io.gfile.join(output, shard.name)
    try:
        with object_store.reporting(path):
            if (
                tf.io.gfile.stat(path).length == shard.bytes
                and files.digest(path).hex() == shard.sha256
            ):
                return None
    except tf.errors.OpError as error:
        return f'{path}: {error.message}'
    return f'{path}: has changed since it was written: its SHA-256 differs'


def _prepare(path: str, settings: Any, writer: _Shards) -> Video:
    """Write the records of a video."""
    source, video = segments.SegmentedVideo(path, settings), Video(path)
    for pictures in source.segments():
        shard, record = writer.write(shard_writer.record_of(pictures, path))
        if not video.records:
            video.shard, video.record = shard, record
        video.records += 1
        video.frames += len(pictures)
        video.seconds = round(video.seconds + pictures[-1].seconds - pictures[0].seconds, 6)
    video.problem = source.problem
    if not video.records and not video.problem:
        video.problem = 'no segment has two frames'
    return video


class _Shards:
    """Writes the shards of a task one after the other, each up to the wanted size."""

    def __init__(self, output: str, plan: plan_lib.Plan, task: int):
        self._output, self._plan, self._task = output, plan, task
        self._limit = plan.settings.shard_megabytes * 1e6
        self._finished: list[Shard] = []
        self._writer: shard_writer.ShardWriter | None = None

    def write(self, record: bytes) -> tuple[str, int]:
        """Append a record; return the name of its shard and its number there."""
        writer = self._writer
        if writer is None:
            writer = shard_writer.ShardWriter(tf.io.gfile.join(self._output, self._name()))
            self._writer = writer
        place = self._name(), len(writer.offsets)
        writer.write(record)
        if writer.bytes >= self._limit:
            self._close(writer)
        return place

    def finish(self) -> list[Shard]:
        """Finish the last shard; return all shards."""
        if self._writer is not None:
            self._close(self._writer)
        return self._finished

    def _name(self) -> str:
        return self._plan.shard_name(self._task, len(self._finished))

    def _close(self, writer: shard_writer.ShardWriter) -> None:
        name = self._name()
        writer.finish()
        # Computed from the stored file, so that errors in writing show.
        digest = files.digest(tf.io.gfile.join(self._output, name)).hex()
        self._finished.append(Shard(name, digest, writer.bytes, writer.offsets))
        self._writer = None


def _report_path(output: str, number: int) -> str:
    return tf.io.gfile.join(output, 'tasks', f'{number:05d}.json')
