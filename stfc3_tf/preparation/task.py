"""One task: its videos into shards. Pure but for the files it writes; done again, the same bytes."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import tensorflow as tf

from stfc3_tf import object_store, writing
from stfc3_tf.clips import shards
from stfc3_tf.preparation import plan as plan_lib
from stfc3_tf.preparation import segments

_PIECE_BYTES = 1 << 22


@dataclasses.dataclass
class Video:
    """What became of a video.

    Attributes:
      path: as it was found.
      records: it gave, in sequence.
      frames: in them.
      seconds: from the first frame to the last, summed over the records.
      shard: name of that with the first of the records.
      record: number in it of the first.
      problem: None for a whole video; else why it was skipped, or not used to its end.
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
      sha256: of the file.
      bytes: of the file.
      offsets: in it, of the records.
    """

    name: str
    sha256: str
    bytes: int
    offsets: list[int]


@dataclasses.dataclass
class Report:
    """What a task did.

    Attributes:
      digest: of the task in its plan.
      shards: it wrote.
      videos: all of the task's, in its order.
    """

    digest: str
    shards: list[Shard]
    videos: list[Video]


class Done(NamedTuple):
    """A finished task and what it cost; `cpu_seconds` is 0 where it was finished before."""

    report: Report
    cpu_seconds: float


def do(output: str, number: int) -> Done:
    """Does a task of the plan in the output folder, unless its shards are there and intact."""
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
    # Last, so that a report means that its shards are finished.
    contents = json.dumps(dataclasses.asdict(report), indent=1)
    writing.write_text(_report_path(output, number), contents + '\n')
    return Done(report, time.process_time() - start)


@functools.cache
def _make_usable(*paths: str) -> None:
    """Registers the file systems of paths, once in each process."""
    object_store.register(*(path for path in paths if '://' in path))


def read_report(output: str, number: int) -> Report | None:
    """Reads what a task reported; None if it is not finished."""
    path = _report_path(output, number)
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        contents = json.load(file)
    return Report(
        contents['digest'],
        [Shard(**shard) for shard in contents['shards']],
        [Video(**video) for video in contents['videos']],
    )


def problems(output: str, expected: Iterable[Shard]) -> list[str]:
    """Reads shards again; says of each that is missing or not as it was written what is wrong."""
    return [problem for shard in expected if (problem := _problem(output, shard))]


def _problem(output: str, shard: Shard) -> str | None:
    path = tf.io.gfile.join(output, shard.name)
    try:
        with object_store.reporting(path):
            if tf.io.gfile.stat(path).length == shard.bytes and sha256(path) == shard.sha256:
                return None
    except tf.errors.OpError as error:
        return f'{path}: {error.message}'
    return f'{path}: is not what was written: its SHA-256 differs'


def sha256(path: str) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with object_store.reporting(path), object_store.File(path) as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _prepare(path: str, settings: Any, writer: _Shards) -> Video:
    """Writes the records of a video."""
    source, video = segments.SegmentedVideo(path, settings), Video(path)
    for pictures in source.segments():
        shard, record = writer.write(shards.record_of(pictures, path))
        if not video.records:
            video.shard, video.record = shard, record
        video.records += 1
        video.frames += len(pictures)
        video.seconds = round(video.seconds + pictures[-1].seconds - pictures[0].seconds, 6)
    video.problem = source.problem
    if not video.records and not video.problem:
        video.problem = 'holds no two frames of one segment'
    return video


class _Shards:
    """The shards of a task, one after the other, each up to the wanted size."""

    def __init__(self, output: str, plan: plan_lib.Plan, task: int):
        self._output, self._plan, self._task = output, plan, task
        self._limit = plan.settings.shard_megabytes * 1e6
        self._finished: list[Shard] = []
        self._writer: shards.ShardWriter | None = None

    def write(self, record: bytes) -> tuple[str, int]:
        """Appends a record; returns the name of its shard and its number there."""
        if self._writer is None:
            self._writer = shards.ShardWriter(tf.io.gfile.join(self._output, self._name()))
        place = self._name(), len(self._writer.offsets)
        self._writer.write(record)
        if self._writer.bytes >= self._limit:
            self._close()
        return place

    def finish(self) -> list[Shard]:
        """Finishes the last shard; returns all."""
        if self._writer is not None:
            self._close()
        return self._finished

    def _name(self) -> str:
        return self._plan.shard_name(self._task, len(self._finished))

    def _close(self) -> None:
        name = self._name()
        self._writer.finish()
        # Read back: what counts is what the store holds.
        digest = sha256(tf.io.gfile.join(self._output, name))
        self._finished.append(Shard(name, digest, self._writer.bytes, self._writer.offsets))
        self._writer = None


def _report_path(output: str, number: int) -> str:
    return tf.io.gfile.join(output, 'tasks', f'{number:05d}.json')
