"""Checks of the sizes of the frames of a sequence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from stfc3_tf import errors
from stfc3_tf.storage import images


def check_frames(paths: Sequence[str]) -> tuple[int, int]:
    """Decode all image files, at least one; return their common (height, width).

    Raises:
      errors.UserError: a file cannot be read, or has another size than the first.
    """
    size = images.size_of(images.read_frame(paths[0]))
    for path in paths[1:]:
        check_size(path, images.size_of(images.read_frame(path)), size)
    return size


def check_clip(name: str, frames: Iterable[np.ndarray]) -> int:
    """Count frames, [height, width, 3] each; raise UserError unless all have one size."""
    count, size = 0, None
    for count, frame in enumerate(frames, 1):
        size = size or images.size_of(frame)
        check_size(f'{name}: frame {count}', images.size_of(frame), size)
    return count


def check_size(path: str, found: tuple[int, int], expected: tuple[int, int]) -> None:
    """Raise UserError unless an image has the expected (height, width).

    Args:
      path: of the image, for the message.
      found: its (height, width).
      expected: that of the sequence.
    """
    if found != expected:
        raise errors.UserError(
            f'{path} is {found[1]}x{found[0]} (width x height), expected '
            f'{expected[1]}x{expected[0]}, the size of its sequence.'
        )
