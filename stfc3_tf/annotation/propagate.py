"""Propagation of masks or points from some frames through a video, with confidences.

The method is that of the benchmarks (`tracker.PropagationTracker`), with settings for ordinary
videos. Results have the size of the frames, whatever the size at which the encoder sees them.

Frames are read one by one, when their results are requested. To propagate labels of one frame
backwards in time, give the frames in reverse order. For labels of several frames, see `both_ways`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from stfc3_tf import checks, errors
from stfc3_tf.annotation import both_ways, frame_lists, given_labels, label_codecs
from stfc3_tf.annotation.label_codecs import MaskLabel, PointLabel
from stfc3_tf.propagation import choice, extractor
from stfc3_tf.propagation import tracker as tracking
from stfc3_tf.propagation.extractor import FeatureExtractor
from stfc3_tf.propagation.input_size import MOST_LONG_SIDE
from stfc3_tf.propagation.settings import PropagationSettings

# By default, frames with a longer short side, in pixels, are shrunk to this size, at which DAVIS is
# evaluated.
MOST_SHORT_SIDE = 480
# A small video is enlarged: its objects would be a few cells of 8 pixels.
LEAST_SHORT_SIDE = 240


def propagate_masks(
    encoder: FeatureExtractor,
    frames: Iterable[np.ndarray] | both_ways.Clip,
    first_mask: np.ndarray | None = None,
    settings: PropagationSettings | None = None,
    short_side: int | None = None,
    labels: Mapping[int, np.ndarray] | None = None,
    objects: Mapping[int, Collection[int]] | None = None,
) -> Iterator[MaskLabel]:
    """Propagate a mask from the first frame, or masks from any frames, to the others.

    Args:
      encoder: from `stfc3_tf.load(path)`, or any `FeatureExtractor`.
      frames: uint8 [height, width, 3] RGB, all of one size; each is read when its result is
        requested. With `labels`, an array, a list, or a video from `open_footage`.
      first_mask: int [height, width] of object numbers, 0 the background, of the first frame; or
        bool [height, width], the pixels of one object, which gets the number 1.
      settings: of the propagation; by default `PropagationSettings()`.
      short_side: length in pixels of the short side at which the encoder sees frames; more is
        finer and slower. By default that of the frames, but from 240 to 480.
      labels: instead of `first_mask`: masks by frame number. An object that a mask does not show
        is absent until a later mask shows it again.
      objects: the objects to which a mask in `labels` applies, by frame number; others continue.
        By default all.

    Returns:
      An iterator of one label per frame, in the order of time; labelled frames have the given one.

    Raises:
      errors.UserError: there are no frames, no objects, or a mask has another size than the
        frames, or something is not what it should be, such as a path instead of frames; on
        iterating: a frame has another size than the first.
    """
    extractor.check(encoder)
    if (first_mask is None) == (labels is None):
        raise errors.UserError('Give either first_mask or labels.')
    if objects is not None and labels is None:
        raise errors.UserError(
            'objects says which objects the masks in labels are about: give labels={0: mask} '
            'instead of first_mask, or leave objects out.'
        )
    if labels is None:
        return _from_first_mask(encoder, frames, first_mask, settings, short_side)
    clip = frame_lists.clip(frames)
    masks = {int(n): _checked_mask(mask, clip.size, n) for n, mask in labels.items()}
    given = given_labels.GivenMasks(masks, objects or {})
    _check_numbers(given.numbers)
    return propagate_given(encoder, clip, given, settings, short_side)


def _from_first_mask(
    encoder: FeatureExtractor,
    frames: Any,
    first_mask: Any,
    settings: PropagationSettings | None,
    short_side: int | None,
) -> Iterator[MaskLabel]:
    first, checked = frame_lists.opened(frame_lists.iterable(frames))
    mask = _checked_mask(first_mask, first.shape[:2], 0)
    numbers = [int(number) for number in np.unique(mask) if number]
    _check_numbers(numbers)
    tracker = _tracker(encoder, first, settings, short_side)
    label = MaskLabel(mask.astype(np.min_scalar_type(numbers[-1])), dict.fromkeys(numbers, 1.0))
    codec = label_codecs.MaskCodec(numbers)
    return tracker.track(checked, label, codec, (mask.shape[0], mask.shape[1]))


def propagate_points(
    encoder: FeatureExtractor,
    frames: Iterable[np.ndarray] | both_ways.Clip,
    first_points: np.ndarray | None = None,
    settings: PropagationSettings | None = None,
    short_side: int | None = None,
    labels: Mapping[int, np.ndarray | Mapping[int, np.ndarray]] | None = None,
) -> Iterator[PointLabel]:
    """Propagate points from the first frame, or points of any frames, to the others.

    Args:
      encoder: see `propagate_masks`.
      frames: see `propagate_masks`.
      first_points: float [points, 2], (x, y) in pixels of the first frame, pixel centres at
        integers.
      settings: see `propagate_masks`.
      short_side: see `propagate_masks`.
      labels: instead of `first_points`: points by frame number, as an array of all points, NaN for
        absent ones, or as (x, y) by the number of the point; other points continue.

    Returns:
      An iterator of one label per frame, in the order of time; labelled frames have the given one.

    Raises:
      errors.UserError: there are no frames, no points, or a point lies outside the frame, or
        something is not what it should be, such as a path instead of frames; on iterating: a frame
        has another size than the first.
    """
    extractor.check(encoder)
    if (first_points is None) == (labels is None):
        raise errors.UserError('Give either first_points or labels.')
    if labels is not None:
        clip = frame_lists.clip(frames)
        points = {int(number): _named(each) for number, each in labels.items()}
        return propagate_given(
            encoder, clip, _given_points(points, clip.size), settings, short_side
        )
    first, checked = frame_lists.opened(frame_lists.iterable(frames))
    array = _array_of_points(first_points)
    height, width = first.shape[:2]
    _check_inside(dict(enumerate(array)), 'the first frame', (height, width))
    tracker = _tracker(encoder, first, settings, short_side)
    label = PointLabel(array, np.ones(len(array)))
    return tracker.track(checked, label, label_codecs.PointCodec(), (height, width))


def propagate_given(
    encoder: FeatureExtractor,
    clip: both_ways.Clip,
    given: given_labels.Given,
    settings: PropagationSettings | None = None,
    short_side: int | None = None,
    propagator: choice.Maker = choice.propagator,
    span: both_ways.Span | None = None,
) -> Iterator[Any]:
    """Propagate labels of some frames to the frames of a clip.

    Args:
      encoder: see `propagate_masks`.
      clip: the frames.
      given: the labels.
      settings: see `propagate_masks`.
      short_side: see `propagate_masks`.
      propagator: makes what carries the labels.
      span: the frames that get labels, by default all; labels outside it are only context.

    Returns:
      An iterator of one label per frame, in the order of time.
    """
    size, chosen = input_size(clip.size, short_side), settings or PropagationSettings()
    carrier = both_ways.Carrier(
        encoder, clip, given, chosen, size, propagator=propagator, span=span
    )
    return (labelled.label for labelled in carrier.labels())


def input_size(frame_size: tuple[int, int], short_side: int | None) -> tracking.InputSize:
    """Return the size at which the encoder sees frames.

    Args:
      frame_size: (height, width) of the frames.
      short_side: see `propagate_masks`.

    Raises:
      errors.UserError: `short_side` is not a whole number of 16 or more, or the long side gets too
        large.
    """
    shorter, longer = sorted(frame_size)
    usual = min(max(shorter, LEAST_SHORT_SIDE), MOST_SHORT_SIDE)
    side = usual if short_side is None else short_side
    checks.whole_number('short_side', side, least=frame_lists.LEAST_SIDE)
    long_side = longer * side / shorter
    if long_side > MOST_LONG_SIDE:
        raise errors.UserError(
            f'With a short side of {side} pixels, frames of {shorter} x {longer} have a long side '
            f'of {long_side:.0f}; at most {MOST_LONG_SIDE} is possible. Lower short_side.'
        )
    interpolation = 'area' if side < shorter else 'bilinear'
    return tracking.InputSize('short_side', side, interpolation=interpolation)


def _checked_mask(mask: Any, size: tuple[int, ...], frame: int) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.dtype == bool:
        mask = mask.astype(np.uint8)
    if mask.shape != tuple(size) or not np.issubdtype(mask.dtype, np.integer):
        raise errors.UserError(
            f'The mask of frame {frame} is {mask.dtype.name} {list(mask.shape)}; the frame needs '
            f'whole numbers or bool [height, width] = {list(size)}.'
        )
    return mask


def _check_numbers(numbers: Sequence[int]) -> None:
    if not numbers or numbers[0] < 0:
        raise errors.UserError(
            'The mask has no object, or negative numbers: mark objects by 1, 2, ...'
        )


def _array_of_points(points: Any) -> np.ndarray:
    if isinstance(points, Mapping):
        raise errors.UserError(
            'Points of the first frame are an array [points, 2], not a dictionary: leave out the '
            'names with numpy.array(list(points.values())).'
        )
    try:
        points = np.asarray(points, np.float64)
    except (TypeError, ValueError) as error:
        raise errors.UserError(
            f'Points must be numbers [points, 2], (x, y): {errors.one_line(error)}.'
        ) from error
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise errors.UserError(f'Points must be [points, 2], (x, y), not {list(points.shape)}.')
    return points


def _check_inside(named: Mapping[int, np.ndarray], where: str, size: tuple[int, int]) -> None:
    """Raise UserError if a position [2], by the number of its point, lies outside the frame."""
    height, width = size
    for place, (x, y) in named.items():
        if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
            raise errors.UserError(
                f'Point {place} of {where}, ({x:g}, {y:g}), lies outside the frame of '
                f'{width}x{height} pixels (x from 0 to {width - 1}, y from 0 to {height - 1}).'
            )


def _named(points: Any) -> dict[int, np.ndarray]:
    """Return positions by the number of the point, from an array or a mapping."""
    if isinstance(points, Mapping):
        places = list(points)
        return dict(zip(places, _array_of_points([points[place] for place in places])))
    return dict(enumerate(_array_of_points(points)))


def _given_points(
    points: Mapping[int, Mapping[int, np.ndarray]], size: tuple[int, int]
) -> given_labels.GivenPoints:
    """Return points of some frames; raise UserError if one is missing or outside the frame."""
    seen: set[int] = set()
    for frame, named in points.items():
        seen |= {place for place, position in named.items() if np.isfinite(position).all()}
        present = {place: at for place, at in named.items() if not np.isnan(at).any()}
        _check_inside(present, f'frame {frame}', size)
    if seen != set(range(len(seen))) or not seen:
        raise errors.UserError(
            'Points are numbered 0, 1, ..., and each needs a position in one of the frames.'
        )
    return given_labels.GivenPoints(len(seen), points)


def _tracker(
    encoder: FeatureExtractor,
    first: np.ndarray,
    settings: PropagationSettings | None,
    short_side: int | None,
) -> tracking.PropagationTracker:
    size = input_size((first.shape[0], first.shape[1]), short_side)
    return tracking.PropagationTracker(encoder, settings or PropagationSettings(), size)
