"""Video files as a source of clips."""

from collections.abc import Sequence

import numpy as np

from stfc3_tf.clips import source, video as video_lib


class VideoFiles(source.Source):
    """Video files in any container and codec FFmpeg knows.

    Args:
      paths: the files, on any file systems TensorFlow knows.
    """

    def __init__(self, paths: Sequence[str]):
        self._paths = list(paths)

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, video: int) -> str:
        return self._paths[video]

    def read(self, video: int, position: float, count: int, frame_rate: float) -> np.ndarray:
        return video_lib.read_clip(self._paths[video], position, count, frame_rate)
