"""The benchmarks by the name that `tools.evaluate --task` takes."""

from __future__ import annotations

from typing import NamedTuple

import gin

from stfc3_tf import errors
from stfc3_tf.benchmarks import badja
from stfc3_tf.benchmarks import davis
from stfc3_tf.benchmarks import faces
from stfc3_tf.benchmarks import jhmdb
from stfc3_tf.benchmarks import runner
from stfc3_tf.benchmarks import synthetic_scenes
from stfc3_tf.benchmarks import tapvid


class Task(NamedTuple):
    """A benchmark as a command makes it.

    Attributes:
      benchmark: its class.
      protocol: the file of gin/eval/ used where none is named.
      needs_data: whether it reads a `data_dir`.
    """

    benchmark: type[runner.Benchmark]
    protocol: str
    needs_data: bool = True


# The paper's DAVIS and J-HMDB rows use larger input than most machines are patient with; without a
# protocol named, these tasks run CRW's, which the paper's authors ran too.
TASKS = {
    'davis': Task(davis.Davis, 'davis_crw.gin'),
    'jhmdb': Task(jhmdb.JhmdbPose, 'jhmdb_crw.gin'),
    'jhmdb_masks': Task(jhmdb.JhmdbMasks, 'jhmdb_masks.gin'),
    'badja': Task(badja.Badja, 'badja.gin'),
    '300vw': Task(faces.Faces, '300vw_paper.gin'),
    'tapvid': Task(tapvid.TapVid, 'tapvid_first.gin'),
    'synthetic': Task(synthetic_scenes.SyntheticBenchmark, 'synthetic.gin', needs_data=False),
}


@gin.configurable('protocol')
def check_protocol(requested: str, task: str | None = None) -> None:
    """Raises UserError if the protocol, by `protocol.task` in its file, is for another task."""
    if task not in (None, requested):
        raise errors.UserError(
            f'--task={requested}, but protocol.task = {task!r} in the --gin_file: choose a '
            'protocol of the task.'
        )
