"""Video files as a source of clips."""

from collections.abc import Sequence

import numpy as np

from stfc3_tf.clips import decoder, source
from stfc3_tf.clips import video as video_lib


class VideoFiles(source.PathSource):
    """Video files in any container and codec FFmpeg knows.

    Args:
      paths: the files, on any file systems TensorFlow knows.
      stream_rate: frames per second of files without times, such as raw H.264 streams.
    """

    def __init__(self, paths: Sequence[str], stream_rate: float = decoder.ASSUMED_RATE):
        super().__init__(paths)
        self._stream_rate = stream_rate

    def read(self, video: int, position: float, count: int, frame_rate: float) -> np.ndarray:
        """See `source.Source.read`."""
        path = self._paths[video]
        return video_lib.read_clip(path, position, count, frame_rate, self._stream_rate)
