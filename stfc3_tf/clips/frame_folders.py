"""Folders of pictures as a source of clips."""

from collections.abc import Sequence

import numpy as np

from stfc3_tf.clips import source
from stfc3_tf.clips import video as video_lib


class FrameFolders(source.PathSource):
    """Folders as videos: the frames are the pictures in a folder, in the order of their numbers.

    Args:
      folders: the folders, on any file systems TensorFlow knows.
      frame_rate: pictures per second, the same for all.
    """

    def __init__(self, folders: Sequence[str], frame_rate: float):
        super().__init__(folders)
        self._frame_rate = frame_rate
        self.assumed_frame_rate = frame_rate

    def read(self, video: int, position: float, count: int, frame_rate: float) -> np.ndarray:
        """See `source.Source.read`."""
        files = video_lib.pictures_in(self._paths[video])
        shown = np.arange(len(files)) / self._frame_rate
        times = source.clip_times(
            self.name(video), shown[0], shown[-1], position, count, frame_rate
        )
        frames = [video_lib.read_picture(files[k]) for k in source.nearest(shown, times)]
        if len({frame.shape for frame in frames}) > 1:
            raise source.UnreadableVideo(
                self.name(video), 'its pictures differ in size', everywhere=False
            )
        return np.stack(frames)
