"""The benchmarks by the names of `tools.evaluate --task`."""

from __future__ import annotations

from typing import NamedTuple

import gin

from stfc3_tf import errors
from stfc3_tf.benchmarks import badja, contract, davis, jhmdb, synthetic_scenes, tapvid, vw300


class Task(NamedTuple):
    """A benchmark that a command can run.

    Attributes:
      benchmark: its class.
      protocol: file of gin/eval/ to use if the user names none.
      needs_data: whether it reads a `data_dir`.
    """

    benchmark: type[contract.Benchmark]
    protocol: str
    needs_data: bool = True


# By default DAVIS and J-HMDB run CRW's protocols, as the paper's authors did too: the protocols of
# the paper's Table 6 use larger frames and take many times longer.
TASKS = {
    'davis': Task(davis.Davis, 'davis_crw.gin'),
    'jhmdb': Task(jhmdb.JhmdbPose, 'jhmdb_crw.gin'),
    'jhmdb_masks': Task(jhmdb.JhmdbMasks, 'jhmdb_masks.gin'),
    'badja': Task(badja.Badja, 'badja.gin'),
    '300vw': Task(vw300.Faces, '300vw_paper.gin'),
    'tapvid': Task(tapvid.TapVid, 'tapvid_first.gin'),
    'synthetic': Task(synthetic_scenes.SyntheticBenchmark, 'synthetic.gin', needs_data=False),
}


@gin.configurable('protocol')
def check_protocol(requested: str, task: str | None = None) -> None:
    """Raise UserError if `protocol.task` in the gin file is another task than the requested one."""
    if task not in (None, requested):
        raise errors.UserError(
            f'--task={requested}, but the --gin_file has protocol.task = {task!r}: choose '
            'a protocol of the requested task.'
        )
