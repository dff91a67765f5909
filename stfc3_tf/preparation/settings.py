"""The settings that, with the videos, determine the bytes of the shards."""

import dataclasses

from stfc3_tf import checks

# Seconds of a record and megabytes of a shard, lowest and highest.
_PIECES = (1e-6, 1e9)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of the conversion from videos to records.

    Attributes:
      short_side: pixels of the shorter side of the stored pictures. Smaller videos keep their size;
        with 0 all videos do.
      frame_rate: pictures per second, each the frame nearest in time. Slower videos keep their
        frames; with 0 all videos do.
      quality: of the JPEG pictures, 1 to 100.
      segment_seconds: the longest time in a record; longer videos are cut.
      shard_megabytes: a shard ends with the record that brings it to this size (10^6 bytes).
      videos_per_task: videos of a task, which is repeated as a whole after an interruption; 0 for
        up to 64.
      seed: of the order in which the videos are mixed.
      frame_folder_rate: pictures per second of folders of pictures, and frames per second of
        streams without times.

    Raises:
      errors.UserError: a setting is out of its range.
    """

    short_side: int = 256
    frame_rate: float = 8.0
    quality: int = 90
    segment_seconds: float = 20.0
    shard_megabytes: float = 128.0
    videos_per_task: int = 0
    seed: int = 0
    frame_folder_rate: float = 24.0

    def __post_init__(self):
        for name in ('short_side', 'videos_per_task', 'seed'):
            checks.whole_number(name, getattr(self, name), least=0)
        checks.whole_number('quality', self.quality, most=100)
        if self.frame_rate:
            checks.frame_rate('frame_rate', self.frame_rate)
        checks.frame_rate('frame_folder_rate', self.frame_folder_rate)
        for name in ('segment_seconds', 'shard_megabytes'):
            checks.between(name, getattr(self, name), *_PIECES)
