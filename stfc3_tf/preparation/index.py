"""The index of a finished output folder: counts, durations, checksums, skipped videos."""

from __future__ import annotations

from collections.abc import Collection, Sequence
import concurrent.futures
import csv
import dataclasses
import io
import json
from typing import Any

import tensorflow as tf
from typing_extensions import TypedDict

from stfc3_tf import errors
from stfc3_tf.preparation import plan as plan_lib
from stfc3_tf.preparation import task
from stfc3_tf.storage import files, folders, writing


def write_index(output: str, plan: plan_lib.Plan) -> dict[str, Any]:
    """Write the index from the reports of all tasks, when all are finished.

    The files are videos.csv (the result of each video), SHA256SUMS (for `sha256sum -c`) and, last,
    index.json. Shards that no report names are removed: an earlier attempt may have needed more.

    Args:
      output: the folder of the shards.
      plan: of the tasks.

    Returns:
      The contents of index.json.

    Raises:
      errors.UserError: a task is not finished.
    """
    reports = [_report(output, number) for number in range(len(plan.tasks))]
    videos = sorted((v for report in reports for v in report.videos), key=lambda v: v.path)
    shards = [shard for report in reports for shard in report.shards]
    contents = {
        'settings': dataclasses.asdict(plan.settings),
        **_counts(videos),
        'bytes': sum(shard.bytes for shard in shards),
        'shards': [dataclasses.asdict(shard) for shard in shards],
        'skipped': {v.path: v.problem for v in videos if not v.records},
        'used_in_part': {v.path: v.problem for v in videos if v.records and v.problem},
    }
    _remove_others(output, plan, {shard.name for shard in shards})
    sums = ''.join(f'{shard.sha256}  {shard.name}\n' for shard in shards)
    writing.write_text(tf.io.gfile.join(output, 'videos.csv'), _table(videos))
    writing.write_text(tf.io.gfile.join(output, 'SHA256SUMS'), sums)
    writing.write_text(_path(output), json.dumps(contents, indent=1) + '\n')
    return contents


def _remove_others(output: str, plan: plan_lib.Plan, shards: Collection[str]) -> None:
    """Remove the shards that are not among the named ones."""
    for name in folders.names_in(output):
        if plan.is_shard(name) and name not in shards:
            tf.io.gfile.remove(tf.io.gfile.join(output, name))


def verify(output: str, workers: int) -> tuple[int, list[str]]:
    """Read all shards of a finished output folder and compare them with the index.

    Args:
      output: the folder.
      workers: shards that are read at the same time.

    Returns:
      The number of shards in the index, and a message for each that is missing or changed.

    Raises:
      errors.UserError: the folder has no index.
    """
    remedy = 'The folder is not finished: run the command that made it again.'
    try:
        shards = files.read_json(_path(output), _Index, remedy)['shards']
    except errors.UserError as error:
        raise errors.UserError(str(error) if remedy in str(error) else f'{error} {remedy}') from (
            error
        )
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        found = pool.map(lambda shard: task.problems(output, [shard]), shards)
        return len(shards), [problem for problems in found for problem in problems]


class _Index(TypedDict):
    """The part of index.json that is used here."""

    shards: list[task.Shard]


def _report(output: str, number: int) -> task.Report:
    report = task.read_report(output, number)
    if report is None:
        raise errors.UserError(f'{output}: task {number} is not finished. Run the command again.')
    return report


def _counts(videos: Sequence[task.Video]) -> dict[str, Any]:
    return {
        'videos': len(videos),
        'videos_whole': sum(not video.problem for video in videos),
        'videos_used_in_part': sum(bool(v.records and v.problem) for v in videos),
        'videos_skipped': sum(not video.records for video in videos),
        'records': sum(video.records for video in videos),
        'frames': sum(video.frames for video in videos),
        'seconds': round(sum(video.seconds for video in videos), 3),
    }


def _table(videos: Sequence[task.Video]) -> str:
    text = io.StringIO()
    names = [field.name for field in dataclasses.fields(task.Video)]
    writer = csv.DictWriter(text, names, lineterminator='\n')
    writer.writeheader()
    writer.writerows(map(dataclasses.asdict, videos))
    return text.getvalue()


def _path(output: str) -> str:
    return tf.io.gfile.join(output, 'index.json')
