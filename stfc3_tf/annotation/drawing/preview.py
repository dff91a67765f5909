"""A picture of the labelled frames, to look at before a long run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

from stfc3_tf import errors
from stfc3_tf.clips.footage import Footage
from stfc3_tf.figures import pictures
from stfc3_tf.storage import writing

_MOST_FRAMES = 9
_ENDINGS = ('.png', '.jpg', '.jpeg')


class Annotation(Protocol):
    """What labelled frames show, see `inputs`."""

    @property
    def frames(self) -> list[int]:
        """The labelled frames, ascending."""

    def drawn(self, frame: int, image: np.ndarray) -> np.ndarray:
        """Return a frame with its labels, uint8 [height, width, 3]."""


def check(path: str) -> None:
    """Raise UserError if a preview cannot be written to a path."""
    if not path.lower().endswith(_ENDINGS):
        raise errors.UserError(f'--preview={path}: its ending must be {" or ".join(_ENDINGS)}.')
    writing.check_file(path)


def check_folder(path: str) -> None:
    """Raise UserError if previews of many videos cannot be written to a folder."""
    if path.lower().endswith(_ENDINGS):
        raise errors.UserError(
            f'--preview={path}: with --videos, name a folder for a picture of each video.'
        )
    writing.check_folder(path)


def write(path: str, video: Footage, annotation: Annotation) -> None:
    """Write the labelled frames with their labels; of more than nine, nine of them.

    Args:
      path: a PNG or JPEG file.
      video: the frames.
      annotation: their labels.

    Raises:
      errors.UserError: the file cannot be written, or the video cannot be read to these frames.
    """
    chosen = _spread(annotation.frames)
    drawn, last = {}, chosen[-1]
    for frame in video.frames(chosen[0]):
        if frame.number in chosen:
            labelled = annotation.drawn(frame.number, frame.image)
            drawn[frame.number] = pictures.square_pixels(labelled, float(video.pixel_aspect))
        if frame.number >= last:
            break
    picture = pictures.montage(
        list(drawn.values()), [f'frame {number}' for number in drawn], min(3, len(drawn))
    )
    ending = path[path.rindex('.') :].lower()
    writing.write_bytes(path, cv2.imencode(ending, picture[..., ::-1])[1].tobytes())


def _spread(frames: Sequence[int]) -> list[int]:
    places = np.linspace(0, len(frames) - 1, min(len(frames), _MOST_FRAMES))
    return [frames[place] for place in np.rint(places).astype(int)]
