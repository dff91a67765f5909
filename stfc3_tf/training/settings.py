"""The settings of a training run, in groups.

Each function takes the group that it needs. `Settings` joins the groups, so that gin names every
setting the same way: `train.steps`, `train.clip_frames`, `train.devices`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses

import gin
import tensorflow as tf

from stfc3_tf import checks, errors
from stfc3_tf.benchmarks.held_out_score import HeldOutScore
from stfc3_tf.clips import frame_rates
from stfc3_tf.model import patches as _patches  # noqa: F401  registers PatchLearner
from stfc3_tf.model import resnet
from stfc3_tf.model.learner import WalkLearner
from stfc3_tf.training import monitor
from stfc3_tf.views import patches as _views  # noqa: F401  registers PatchSampler
from stfc3_tf.views.sampler import Sampler

# What the gin files of this project name, and no decorator makes configurable.
gin.external_configurable(HeldOutScore, 'HeldOutScore')
gin.external_configurable(tf.keras.optimizers.Adam, 'Adam')
gin.external_configurable(tf.keras.optimizers.SGD, 'SGD')
gin.external_configurable(tf.keras.optimizers.schedules.CosineDecay, 'CosineDecay')
gin.external_configurable(
    tf.keras.optimizers.schedules.PiecewiseConstantDecay, 'PiecewiseConstantDecay'
)

# More clips or frames than any memory holds are refused before they are read.
_COUNTS = {
    'batch_size': 65_536,
    'clip_frames': 1000,
    'clips_per_video': checks.LARGEST,
    'steps': checks.LARGEST,
    'checkpoint_interval': checks.LARGEST,
    'keep_checkpoints': checks.LARGEST,
}


@dataclasses.dataclass(frozen=True)
class Parts:
    """The parts that a run is made of.

    Attributes:
      encoder: makes the encoder; called with `synchronised_norm`.
      learner: makes the learner from an encoder.
      view_sampler: makes the views of a clip.
      optimizer: makes the optimiser.
      initial_encoder: the name or the folder of an encoder whose weights the run goes on from, see
        `initial_weights.load_into`; None to start from random weights.
      watch: makes the callbacks that watch the run, see `monitor.watch`.
    """

    encoder: Callable[..., resnet.Encoder] = gin.REQUIRED
    learner: Callable[..., WalkLearner] = gin.REQUIRED
    view_sampler: Sampler = gin.REQUIRED
    optimizer: Callable[[], tf.keras.optimizers.Optimizer] = gin.REQUIRED
    initial_encoder: str | None = None
    watch: Callable[..., list[tf.keras.callbacks.Callback]] = monitor.watch


@dataclasses.dataclass(frozen=True)
class Clips:
    """The clips that the run sees.

    Attributes:
      batch_size: clips of the global batch, a multiple of the number of devices times
        `Learner.accumulation_steps`.
      clip_frames: T, frames of a clip.
      frame_rate: frames per second of a clip, or the lowest and the highest; see
        `clips.frame_rates.FrameRates`.
      clips_per_video: clips taken from each video in an epoch.
      frame_folder_rate: frames per second of folders of pictures.
      still_pictures: whether each picture of the data is a clip of its own, in which nothing moves,
        and not a frame of its folder.
      seed: of clips and views; the encoder and the learner have their own.
    """

    batch_size: int = gin.REQUIRED
    clip_frames: int = 4
    frame_rate: float | Sequence[float] = 8.0
    clips_per_video: int = 5
    frame_folder_rate: float = 24.0
    still_pictures: bool = False
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Machines:
    """The devices and machines of the run.

    Attributes:
      strategy: 'default' (one device), 'mirrored' (all devices of this machine) or 'multi_worker'
        (those of several processes, see `stfc3_tf.cluster.strategy`).
      devices: device names, of each worker; None for every GPU, or the CPU.
      jit_compile: whether XLA compiles the step, which needs one device; the edges that are dropped
        then differ.
      data_servers: host:port of each `tools.data_server` that reads the clips; empty to read them
        in this process.
    """

    strategy: str = 'mirrored'
    devices: Sequence[str] | None = None
    jit_compile: bool = False
    data_servers: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Saving:
    """The length of the run and its checkpoints.

    Attributes:
      steps: updates of the whole run.
      checkpoint_interval: steps between checkpoints.
      checkpoint_minutes: the longest time between checkpoints.
      keep_checkpoints: how many of the last checkpoints stay.
    """

    steps: int = gin.REQUIRED
    checkpoint_interval: int = 500
    checkpoint_minutes: float = 10.0
    keep_checkpoints: int = 3


@gin.configurable('train', module='stfc3_tf.training')
@dataclasses.dataclass(frozen=True)
class Settings(Parts, Clips, Machines, Saving):
    """All settings of a run.

    Raises:
      errors.UserError: a number is out of its range, or two settings exclude each other.
    """

    def __post_init__(self) -> None:
        for name, most in _COUNTS.items():
            checks.whole_number(f'train.{name}', getattr(self, name), most=most)
        checks.whole_number('train.seed', self.seed, least=0)
        checks.positive_number('train.checkpoint_minutes', self.checkpoint_minutes)
        frame_rates.of_setting('train.frame_rate', self.frame_rate)
        checks.frame_rate('train.frame_folder_rate', self.frame_folder_rate)
        if self.still_pictures and self.data_servers:
            raise errors.UserError(
                'train.still_pictures = True with train.data_servers: data servers read videos and '
                'folders of frames only. Leave one of the two out.'
            )
