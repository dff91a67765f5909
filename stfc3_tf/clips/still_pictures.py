"""Single pictures as a source of clips: each is a video in which nothing moves."""

import numpy as np

from stfc3_tf.clips import source
from stfc3_tf.clips import video as video_lib


class StillPictures(source.PathSource):
    """Pictures as videos; sizes may differ, and names need no numbers.

    Args:
      paths: the pictures, on any file systems TensorFlow knows.
    """

    def read(self, video: int, position: float, count: int, frame_rate: float) -> np.ndarray:
        """See `source.Source.read`; every frame is the picture."""
        del position, frame_rate
        try:
            picture = video_lib.read_picture(self._paths[video])
        except source.UnreadableVideo as error:
            raise source.UnreadableVideo(error.name, error.reason, everywhere=True) from error
        return np.repeat(picture[np.newaxis], count, axis=0)
