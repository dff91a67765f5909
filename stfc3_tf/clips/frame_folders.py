"""Folders of pictures as a source of clips."""

from collections.abc import Sequence

import numpy as np

from stfc3_tf.clips import source, video as video_lib


class FrameFolders(source.Source):
    """Each folder is a video whose frames are the pictures in it, in the order of their numbers.

    Args:
      folders: the folders, on any file systems TensorFlow knows.
      frame_rate: pictures per second, the same for all.
    """

    def __init__(self, folders: Sequence[str], frame_rate: float):
        self._folders = list(folders)
        self.assumed_frame_rate = frame_rate

    def __len__(self) -> int:
        return len(self._folders)

    def name(self, video: int) -> str:
        return self._folders[video]

    def read(self, video: int, position: float, count: int, frame_rate: float) -> np.ndarray:
        files = video_lib.pictures_in(self._folders[video])
        shown = np.arange(len(files)) / self.assumed_frame_rate
        times = source.clip_times(
            self.name(video), shown[0], shown[-1], position, count, frame_rate
        )
        frames = [video_lib.read_picture(files[k]) for k in source.nearest(shown, times)]
        if len({frame.shape for frame in frames}) > 1:
            raise source.UnreadableVideo(self.name(video), 'its pictures differ in size')
        return np.stack(frames)
