"""Which video goes into which task: a pure function of the list of videos and the settings."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from stfc3_tf import errors, writing
from stfc3_tf.preparation import settings as settings_lib

_MOST_VIDEOS_PER_TASK = 64
_FEWEST_TASKS = 16  # Of a small set, so that all cores have work.


@dataclasses.dataclass(frozen=True)
class Plan:
    """The work.

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
        """Name of the n-th shard of a task; both count from 0."""
        return f'clips-{task:05d}-of-{len(self.tasks):05d}-{part:03d}.tfrecord'

    def digest(self, task: int) -> str:
        """SHA-256 of all that decides what a task writes."""
        return hashlib.sha256(
            json.dumps([dataclasses.asdict(self.settings), self.tasks[task]]).encode()
        ).hexdigest()


def make_plan(videos: Sequence[str], settings: settings_lib.Settings) -> Plan:
    """Mixes the videos and deals them out.

    Args:
      videos: paths, sorted, at least one.
      settings: see there.
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
    """Writes the plan into the output folder, unless it is there already.

    Raises:
      errors.UserError: the folder holds shards made to another plan.
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
            f'{output} was begun with {_difference(found, plan)}. Give what it was begun with to '
            'go on, or another --output, or delete the folder to begin anew.'
        )


@functools.lru_cache(maxsize=1)
def read_plan(output: str) -> Plan:
    """Reads the plan of an output folder.

    Raises:
      errors.UserError: there is none, or it is of another version of this command.
    """
    try:
        with tf.io.gfile.GFile(_path(output)) as file:
            contents = json.load(file)
        settings = settings_lib.Settings(**contents['settings'])
        return Plan(settings, tuple(map(tuple, contents['tasks'])))
    except tf.errors.OpError as error:
        raise errors.UserError(f'{_path(output)}: {error.message}') from error
    except (ValueError, TypeError, KeyError) as error:
        raise errors.UserError(
            f'{_path(output)} is no plan of this version ({error}). Choose another --output.'
        ) from error


def _difference(found: Plan, wanted: Plan) -> str:
    before, now = dataclasses.asdict(found.settings), dataclasses.asdict(wanted.settings)
    changed = [
        f'{name}={before[name]}, not {now[name]}' for name in now if before[name] != now[name]
    ]
    if changed:
        return '; '.join(changed)
    odd = sorted(set(found.videos) ^ set(wanted.videos))
    return f'{len(found.videos)} videos, not {len(wanted.videos)} ({odd[0]} is in one list only)'


def _path(output: str) -> str:
    return tf.io.gfile.join(output, 'plan.json')
