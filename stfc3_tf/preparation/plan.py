"""The plan, which assigns videos to tasks; it depends only on the videos and the settings."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import functools
import hashlib
import json
import re
from typing import Any

import numpy as np
import tensorflow as tf
from typing_extensions import TypedDict

from stfc3_tf import errors, wording
from stfc3_tf.preparation import settings as settings_lib
from stfc3_tf.storage import files, writing

_MOST_VIDEOS_PER_TASK = 64
_FEWEST_TASKS = 16  # So that all cores have work for a small set, too.


@dataclasses.dataclass(frozen=True)
class Plan:
    """All tasks.

    Attributes:
      settings: of every task.
      tasks: the videos of each task, in the order in which they are written.
    """

    settings: settings_lib.Settings
    tasks: tuple[tuple[str, ...], ...]

    @property
    def videos(self) -> list[str]:
        """All videos, sorted."""
        return sorted(video for task in self.tasks for video in task)

    def shard_name(self, task: int, part: int) -> str:
        """Return the name of a shard; tasks and their parts count from 0."""
        return f'clips-{task:05d}-of-{len(self.tasks):05d}-{part:03d}.tfrecord'

    def is_shard(self, name: str) -> bool:
        """Return whether a file has the name of a shard, of whatever task and part."""
        count = len(self.tasks)
        return bool(re.fullmatch(rf'clips-\d{{5,}}-of-{count:05d}-\d{{3,}}\.tfrecord', name))

    def digest(self, task: int) -> str:
        """Return the SHA-256 of everything that determines what a task writes."""
        return hashlib.sha256(
            json.dumps([dataclasses.asdict(self.settings), self.tasks[task]]).encode()
        ).hexdigest()


def make_plan(videos: Sequence[str], settings: settings_lib.Settings) -> Plan:
    """Shuffle the videos and assign them to tasks.

    Args:
      videos: paths, sorted, at least one.
      settings: of every task.
    """
    order = np.random.Generator(np.random.Philox(settings.seed)).permutation(len(videos))
    size = settings.videos_per_task or min(
        _MOST_VIDEOS_PER_TASK, max(1, len(videos) // _FEWEST_TASKS)
    )
    return Plan(
        settings,
        tuple(
            tuple(videos[k] for k in order[begin : begin + size])
            for begin in range(0, len(videos), size)
        ),
    )


def agree(output: str, plan: Plan) -> None:
    """Write the plan into the output folder, or check that it is the same as there.

    Raises:
      errors.UserError: the folder contains another plan.
    """
    path = _path(output)
    if not tf.io.gfile.exists(path):
        contents = {'settings': dataclasses.asdict(plan.settings), 'tasks': plan.tasks}
        writing.write_text(path, json.dumps(contents, indent=0) + '\n')
        read_plan.cache_clear()
        return
    found = read_plan(output)
    if found != plan:
        raise errors.UserError(
            f'{output} was made with {_difference(found, plan)}. To continue, give the same '
            'settings and videos. To start again, give another --output or delete the folder.'
        )


class _Contents(TypedDict):
    """The contents of plan.json."""

    settings: dict[str, Any]
    tasks: list[list[str]]


@functools.lru_cache(maxsize=1)
def read_plan(output: str) -> Plan:
    """Read the plan of an output folder.

    Raises:
      errors.UserError: missing, or written by another version of this command.
    """
    remedy = 'Choose another --output.'
    contents = files.read_json(_path(output), _Contents, remedy)
    try:
        settings = settings_lib.Settings(**contents['settings'])
    except (ValueError, TypeError, errors.UserError) as error:
        raise errors.UserError(
            f'{_path(output)} is not a plan of this version ({errors.one_line(error)}). Choose '
            'another --output.'
        ) from error
    return Plan(settings, tuple(map(tuple, contents['tasks'])))


def _difference(found: Plan, wanted: Plan) -> str:
    before, now = dataclasses.asdict(found.settings), dataclasses.asdict(wanted.settings)
    changed = [
        f'{name}={before[name]}, not {now[name]}' for name in now if before[name] != now[name]
    ]
    if changed:
        return '; '.join(changed)
    odd = sorted(set(found.videos) ^ set(wanted.videos))
    counts = f'{wording.counted(len(found.videos), "video")}, not {len(wanted.videos)}'
    return f'{counts} ({odd[0]} is in only one of the lists)'


def _path(output: str) -> str:
    return tf.io.gfile.join(output, 'plan.json')
