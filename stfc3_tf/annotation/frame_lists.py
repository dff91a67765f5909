"""Frames from a program, as an array, a list or an iterator, checked one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
import itertools
import os
from typing import Any, NamedTuple

import numpy as np

from stfc3_tf import errors
from stfc3_tf.annotation import both_ways

# Encoders that pad by reflection need this many pixels.
LEAST_SIDE = 16
# What messages call a frame, by its number.
_FROM_LABELLED = 'Frame {} counted from the labelled one'
_IN_LIST = 'Frame {}'


class Still(NamedTuple):
    """A frame of `Listed`.

    Attributes:
      number: from 0.
      time: its number, as there is no frame rate.
      image: uint8 [height, width, 3].
    """

    number: int
    time: float
    image: np.ndarray


class Listed:
    """A clip of frames that are all in memory."""

    name = 'the list of frames'

    def __init__(self, frames: Sequence[np.ndarray]):
        first, _ = opened(frames[:1], _IN_LIST)
        self._frames, self._shape = frames, first.shape
        self.size = first.shape[0], first.shape[1]

    def frames(self, start: int = 0) -> Iterator[Still]:
        """See `both_ways.Clip`."""
        if not 0 <= start < len(self._frames):
            raise errors.UserError(
                f'There is no frame {start}: the frames are numbered 0 to {len(self._frames) - 1}.'
            )
        return map(self._read, range(start, len(self._frames)))

    def backwards(self, stop: int) -> Iterator[Still]:
        """See `both_ways.Clip`."""
        return map(self._read, reversed(range(stop)))

    def _read(self, number: int) -> Still:
        arrays = _arrays(self._frames[number : number + 1], number, _IN_LIST)
        (image,) = _checked(arrays, self._shape, number, _IN_LIST)
        return Still(number, float(number), image)


def iterable(frames: Any) -> Iterable[np.ndarray]:
    """Return frames as they are, or the images of a clip."""
    _check_no_path(frames)
    if hasattr(frames, 'backwards'):
        return (frame.image for frame in frames.frames())
    return frames


def clip(frames: Any) -> both_ways.Clip:
    """Return frames that can be read in both directions."""
    _check_no_path(frames)
    if hasattr(frames, 'backwards'):
        return frames
    if not hasattr(frames, '__getitem__'):
        raise errors.UserError(
            'Labels of several frames go both ways: give the frames as an array or a list, or a '
            'video that open_footage opened, not as an iterator.'
        )
    return Listed(frames)


def _check_no_path(frames: Any) -> None:
    if isinstance(frames, (str, os.PathLike)):
        path = os.fspath(frames)
        raise errors.UserError(
            f'{path} is a path, not frames: open it with stfc3_tf.open_footage({path!r}).'
        )


def opened(
    frames: Iterable[np.ndarray], called: str = _FROM_LABELLED
) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """Return the first frame, and an iterator over all of them that checks each.

    Args:
      frames: see `propagate.propagate_masks`.
      called: what messages call a frame, with {} for its number from 0.

    Raises:
      errors.UserError: there are none, or the first cannot be used; on iterating: another cannot.
    """
    arrays = _arrays(frames, 0, called)
    first = next(arrays, None)
    if first is None:
        raise errors.UserError('There are no frames: give the labelled frame first.')
    shape = first.shape
    if len(shape) != 3 or shape[2] != 3 or min(shape[:2]) < LEAST_SIDE:
        raise errors.UserError(
            f'Frames must be [height, width, 3] with sides of {LEAST_SIDE} pixels or more, not '
            f'{list(shape)}.'
        )
    if first.dtype != np.uint8:
        raise errors.UserError(
            f'Frames must be uint8 arrays, not {first.dtype.name}: convert {_conversion(first)}.'
        )
    return first, _checked(itertools.chain([first], arrays), shape, 0, called)


def _conversion(frame: np.ndarray) -> str:
    """Return how to make a frame uint8. Floats from 0 to 1 need a factor: else all become 0."""
    wide = 'values from 0 to 255 with numpy.asarray(frame, numpy.uint8)'
    if not np.issubdtype(frame.dtype, np.floating):
        return wide
    unit = '(255 * numpy.asarray(frame)).round().astype(numpy.uint8)'
    return f'values from 0 to 1 with {unit}, {wide}'


def _arrays(frames: Iterable[np.ndarray], start: int, called: str) -> Iterator[np.ndarray]:
    """Yield frames, which may be given as nested lists, as arrays."""
    for number, frame in enumerate(frames, start):
        try:
            yield np.asarray(frame)
        except (ValueError, TypeError) as error:
            raise errors.UserError(
                f'{called.format(number)} is not an array [height, width, 3]: '
                f'{errors.one_line(error)}'
            ) from error


def _checked(
    frames: Iterable[np.ndarray], shape: tuple[int, ...], start: int, called: str
) -> Iterator[np.ndarray]:
    for number, frame in enumerate(frames, start):
        if frame.shape != shape or frame.dtype != np.uint8:
            raise errors.UserError(
                f'{called.format(number)} is {frame.dtype.name} {list(frame.shape)}; '
                f'all must be uint8 {list(shape)}.'
            )
        yield frame
