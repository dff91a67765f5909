"""Labels of one frame carried through a video of any size: masks or points, with confidences.

The method is that of the benchmarks (`tracking.PropagationTracker`), with settings that suit videos
nobody prepared. Results have the size of the frames, whatever size the encoder is shown.

Streaming: of `frames`, an iterable, one is held at a time. Frames in reverse order carry labels
backwards in time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np

from stfc3_tf import checks, errors, labels, tracking
from stfc3_tf.benchmarks import codecs
from stfc3_tf.propagation import PropagationSettings

# Pixels of the short side above which frames are shrunk for the encoder, unless told otherwise:
# the size at which DAVIS is evaluated.
MOST_SHORT_SIDE = 480
# Below this, encoders that pad by reflection have nothing to reflect.
_LEAST_SIDE = 16


class MaskLabel(NamedTuple):
    """Objects in one frame.

    Attributes:
      mask: unsigned [height, width] of object numbers, 0 the background.
      confidence: object number -> 0 ... 1, the mean soft label of the object in the cells that it
        wins, and 0 if it wins none. 1 in the labelled frame. Not a probability: it falls where
        the frames looked back at disagree about what they see.
    """

    mask: np.ndarray
    confidence: dict[int, float]


class PointLabel(NamedTuple):
    """Points in one frame.

    Attributes:
      points: float64 [points, 2], (x, y) in pixels, pixel centres at integers; NaN where a point
        has no label left.
      confidence: float64 [points], 0 ... 1: the largest soft label of the point, divided by what
        it is for a label just drawn at that position. 1 in the labelled frame. Not a probability:
        it falls where the point is occluded or its surroundings look alike.
    """

    points: np.ndarray
    confidence: np.ndarray


def propagate_masks(
    encoder: tracking.FeatureExtractor,
    frames: Iterable[np.ndarray],
    first_mask: np.ndarray,
    settings: PropagationSettings | None = None,
    short_side: int | None = None,
) -> Iterator[MaskLabel]:
    """Carries a mask from the first of some frames to the others.

    Args:
      encoder: `serving.load(path)`, or anything with its `features` and `cell_grid`.
      frames: uint8 [height, width, 3] RGB, all of one size; read as results are asked for.
      first_mask: int [height, width] of object numbers, 0 the background, of the first frame.
      settings: of the propagation; by default `PropagationSettings()`.
      short_side: pixels of the short side at which frames are shown to the encoder; more is finer
        and slower. By default that of the frames, but at most 480.

    Returns:
      An iterator of one label a frame, the first being the one given.

    Raises:
      errors.UserError: there are no frames, the mask is empty or has another size than the first
        frame; on iterating: a frame has another size than the first.
    """
    first, frames = _opened(frames)
    mask = np.asarray(first_mask)
    if mask.shape != first.shape[:2] or not np.issubdtype(mask.dtype, np.integer):
        raise errors.UserError(
            f'The mask is {mask.dtype.name} {list(mask.shape)}; the first frame needs whole '
            f'numbers [height, width] = {list(first.shape[:2])}.'
        )
    numbers = [int(number) for number in np.unique(mask) if number]
    if not numbers or numbers[0] < 0:
        raise errors.UserError(
            'The mask shows no object, or negative numbers: mark objects 1, 2, ...'
        )
    tracker = _tracker(encoder, first, settings, short_side)
    label = MaskLabel(mask, dict.fromkeys(numbers, 1.0))
    return tracker.track(frames, label, _MaskCodec(numbers), first.shape[:2])


def propagate_points(
    encoder: tracking.FeatureExtractor,
    frames: Iterable[np.ndarray],
    first_points: np.ndarray,
    settings: PropagationSettings | None = None,
    short_side: int | None = None,
) -> Iterator[PointLabel]:
    """Carries points from the first of some frames to the others.

    Args:
      encoder: as of `propagate_masks`.
      frames: likewise.
      first_points: float [points, 2], (x, y) in pixels of the first frame, pixel centres at
        integers.
      settings: as of `propagate_masks`.
      short_side: likewise.

    Returns:
      An iterator of one label a frame, the first being the one given.

    Raises:
      errors.UserError: there are no frames, no points, or a point lies outside the first frame; on
        iterating: a frame has another size than the first.
    """
    first, frames = _opened(frames)
    points = np.asarray(first_points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise errors.UserError(f'Points must be [points, 2], (x, y), not {list(points.shape)}.')
    height, width = first.shape[:2]
    if not np.all((points >= -0.5) & (points <= np.array([width, height]) - 0.5)):
        raise errors.UserError(f'Points lie outside the first frame of {width}x{height} pixels.')
    tracker = _tracker(encoder, first, settings, short_side)
    label = PointLabel(points, np.ones(len(points)))
    return tracker.track(frames, label, _PointCodec(), (height, width))


def input_size(frame_size: tuple[int, int], short_side: int | None) -> tracking.InputSize:
    """How frames of size (height, width) are shown to the encoder, see `propagate_masks`.

    Raises:
      errors.UserError: `short_side` is no whole number of 16 or more.
    """
    shorter = min(frame_size)
    side = min(shorter, MOST_SHORT_SIDE) if short_side is None else short_side
    checks.whole_number('short_side', side, least=_LEAST_SIDE)
    interpolation = 'area' if side < shorter else 'bilinear'
    return tracking.InputSize('short_side', side, interpolation=interpolation)


def _opened(frames: Iterable[np.ndarray]) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """The first frame, and all of them, checked as they come."""
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise errors.UserError('There are no frames: give the labelled frame first.')
    shape = np.shape(first)
    if len(shape) != 3 or shape[2] != 3 or min(shape[:2]) < _LEAST_SIDE:
        raise errors.UserError(
            f'Frames must be [height, width, 3] with sides of {_LEAST_SIDE} pixels or more, not '
            f'{list(shape)}.'
        )
    return first, _checked(itertools.chain([first], frames), shape)


def _checked(frames: Iterable[np.ndarray], shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    for number, frame in enumerate(frames):
        if frame.shape != shape or frame.dtype != np.uint8:
            raise errors.UserError(
                f'Frame {number} counted from the labelled one is {frame.dtype.name} '
                f'{list(frame.shape)}; all must be uint8 {list(shape)}.'
            )
        yield frame


def _tracker(
    encoder: tracking.FeatureExtractor,
    first: np.ndarray,
    settings: PropagationSettings | None,
    short_side: int | None,
) -> tracking.PropagationTracker:
    size = input_size(first.shape[:2], short_side)
    return tracking.PropagationTracker(encoder, settings or PropagationSettings(), size)


class _MaskCodec:
    """Between `MaskLabel` and soft label maps, channel 0 the background.

    A cell's label is the mean over the pixels about its centre; a pixel's is read between the true
    centres of the cells. The benchmarks' codec takes cells for blocks of the
    image, as published scripts do, which is wrong by half a cell, and more without padding.
    """

    def __init__(self, numbers: list[int]):
        self._numbers = numbers

    def encode(self, label: MaskLabel, geometry: tracking.Geometry) -> np.ndarray:
        """Returns float32 [rows, columns, 1 + objects]; raises UserError if one is too small."""
        pixels_from_cells = _pixels_from_cells(geometry)
        # Odd, so that the pixels averaged lie about the cell's centre.
        extent = pixels_from_cells.diagonal()[:2].astype(int) | 1
        means = cv2.blur(labels.one_hot(label.mask, self._numbers), extent.tolist())
        soft = _resample(means, pixels_from_cells, geometry.grid_size)
        winners = np.unique(soft.argmax(axis=-1))
        for channel, number in enumerate(self._numbers, 1):
            if channel not in winners:
                raise errors.UserError(
                    f'Object {number} of the mask, {np.sum(label.mask == number)} pixels, is lost '
                    f'between feature cells of {extent[0]}x{extent[1]} pixels: mark more of it, '
                    'leave it out, or raise short_side.'
                )
        return soft

    def decode(self, soft: np.ndarray, geometry: tracking.Geometry) -> MaskLabel:
        """Returns the mask at the frames' size."""
        cells_from_pixels = np.linalg.inv(_pixels_from_cells(geometry))
        enlarged = _resample(soft, cells_from_pixels, geometry.label_size)
        mask = np.array([0, *self._numbers], np.min_scalar_type(self._numbers[-1]))
        winner = soft.argmax(axis=-1)
        confidence = {
            number: (
                min(1.0, float(soft[winner == channel, channel].mean()))
                if channel in winner
                else 0.0
            )
            for channel, number in enumerate(self._numbers, 1)
        }
        return MaskLabel(mask[enlarged.argmax(axis=-1)], confidence)


def _pixels_from_cells(geometry: tracking.Geometry) -> np.ndarray:
    """float64 [3, 3], acts on (column, row, 1): the pixel of the frame on which it is centred."""
    pixels = np.array(geometry.label_size[::-1]) / np.array(geometry.input_size[::-1])
    offset = (geometry.cell_grid.first + 0.5) * pixels - 0.5
    return np.array(
        [
            [geometry.cell_grid.stride * pixels[0], 0, offset[0]],
            [0, geometry.cell_grid.stride * pixels[1], offset[1]],
            [0, 0, 1],
        ]
    )


def _resample(
    maps: np.ndarray, source_from_target: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Bilinear, in indices, [height, width, channels] -> another size; the edge goes on outside."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_REPLICATE
    return cv2.warpAffine(maps, source_from_target[:2], size[::-1], flags=flags, borderMode=border)


class _PointCodec:
    """Between `PointLabel` and soft label maps, a channel a point, at true sub-cell positions."""

    def __init__(self):
        self._codec = codecs.PointCodec(convention='exact', sigma=0.75)

    def encode(self, label: PointLabel, geometry: tracking.Geometry) -> np.ndarray:
        """Returns float32 [rows, columns, points]."""
        return self._codec.encode(label.points, geometry)

    def decode(self, soft: np.ndarray, geometry: tracking.Geometry) -> PointLabel:
        """Returns the points in pixels of the frames."""
        points = self._codec.decode(soft, geometry)
        fresh = self._codec.encode(points, geometry).max(axis=(0, 1)).astype(np.float64)
        share = soft.max(axis=(0, 1)) / np.where(fresh > 0, fresh, np.inf)
        return PointLabel(points, np.minimum(share, 1))
