"""Labels of some frames carried through a video, stretch by stretch.

A stretch lies between two frames in which everything is labelled, or before the first or after the
last of them. Its labels depend on those given within it; before the first and after the last, also
on the next labelled frame on the other side. After a correction, the stretches on its two sides are
computed again, and one at an end of the video if the labelled frame beside it is another now.
Points do not depend on each other, so each has stretches of its own; those of the same frames are
computed together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
import dataclasses
import hashlib
import itertools
from typing import Any, NamedTuple

import numpy as np

from stfc3_tf.annotation import both_ways, given_labels, propagate
from stfc3_tf.annotation.both_ways import Frame
from stfc3_tf.annotation.label_codecs import PointLabel
from stfc3_tf.annotation.session import GivenMask, Position
from stfc3_tf.annotation.session_results import Record, Stretch
from stfc3_tf.propagation import choice
from stfc3_tf.propagation.extractor import FeatureExtractor
from stfc3_tf.propagation.settings import PropagationSettings

Masks = Mapping[int, GivenMask]
Points = Mapping[int, Mapping[int, Position]]
_NOWHERE = (float('nan'), float('nan'))


class Planned(NamedTuple):
    """A stretch to compute.

    Attributes:
      stretch: its frames.
      labelled: frames in it, or at its ends, that have labels.
      beside: other labelled frames, which are context.
    """

    stretch: Stretch
    labelled: tuple[int, ...]
    beside: tuple[int, ...] = ()

    def steps(self, count: int) -> int:
        """Return about how many frames are read in a video of `count` frames."""
        first, last = self.stretch.first, self.stretch.last
        frames = (count if last is None else last + 1) - first
        between = self.labelled[-1] - self.labelled[0]
        return max(1, frames + between)


class Carried(NamedTuple):
    """The labels that were carried to a frame.

    Attributes:
      record: what is known of the frame.
      mask: uint8 [height, width]; None for points.
    """

    record: Record
    mask: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Method:
    """How labels are carried.

    Attributes:
      encoder: of the frames.
      settings: of the propagation.
      short_side: see `propagate.propagate_masks`.
      advance: called for every frame that is looked at.
      propagator: makes what carries the labels.
      reads_ahead: see `both_ways.Carrier`; not where a stretch is left before its end.
    """

    encoder: FeatureExtractor
    settings: PropagationSettings
    short_side: int | None
    advance: Callable[[], None]
    propagator: choice.Maker = choice.propagator
    reads_ahead: bool = True

    def carrier(
        self, clip: both_ways.Clip, given: given_labels.Given, span: both_ways.Span
    ) -> both_ways.Carrier:
        """Return what carries labels through a span of a clip.

        Args:
          clip: the video.
          given: the labels in the span, and others that are context.
          span: the frames that get labels.
        """
        size = propagate.input_size(clip.size, self.short_side)
        return both_ways.Carrier(
            self.encoder,
            clip,
            given,
            self.settings,
            size,
            self.advance,
            self.propagator,
            span,
            self.reads_ahead,
        )


def plan_masks(given: Masks, method: str) -> list[Planned]:
    """Return the stretches of masks.

    Args:
      given: frame -> its mask.
      method: a text that changes with everything else that changes results.
    """
    about = {frame: each.objects for frame, each in given.items()}
    return _plan(about, {frame: each.digest for frame, each in given.items()}, method)


def plan_points(given: Points, method: str) -> list[Planned]:
    """Return the stretches of points, of each on its own; see `plan_masks`."""
    found = []
    for number in sorted({number for points in given.values() for number in points}):
        digests = {n: repr(points[number]) for n, points in given.items() if number in points}
        found += _plan(dict.fromkeys(digests, (number,)), digests, method)
    return found


def batches(planned: Sequence[Planned]) -> list[list[Planned]]:
    """Return stretches of the same frames and labelled frames together, in the order given."""
    found: dict[Any, list[Planned]] = {}
    for each in planned:
        found.setdefault(place_of(each), []).append(each)
    return [*found.values()]


def place_of(planned: Planned) -> tuple[Any, ...]:
    """Return the frames of a stretch and its labelled frames: what is compared depends on them."""
    return planned.stretch.first, planned.stretch.last, planned.labelled, planned.beside


def joined(batch: Sequence[Planned]) -> Planned:
    """Return one of `batches` as one stretch."""
    things = sorted({thing for each in batch for thing in each.stretch.things})
    first = batch[0]
    return first._replace(stretch=dataclasses.replace(first.stretch, things=tuple(things)))


def _plan(
    about: Mapping[int, Collection[int]], digests: Mapping[int, str], method: str
) -> list[Planned]:
    """Return stretches, in the order of time.

    Args:
      about: frame -> the objects, or points, that its labels are about.
      digests: frame -> a text that changes with its labels.
      method: see `plan_masks`.
    """
    things = tuple(sorted(set().union(*about.values())))
    whole = [frame for frame in sorted(about) if set(things) <= set(about[frame])]
    ends: list[tuple[int, int | None]] = [*zip([0, *whole], [*whole, None])]
    found = []
    for first, last in ends:
        labelled = [n for n in sorted(about) if n >= first and (last is None or n <= last)]
        beside = _beside(sorted(about), whole, labelled)
        text = repr([method, things, [(n, digests[n]) for n in (*labelled, *beside)]])
        key = hashlib.sha256(text.encode()).hexdigest()
        if labelled and first != last:
            found.append(Planned(Stretch(first, last, things, key), tuple(labelled), beside))
    return found


def _beside(about: Sequence[int], whole: Sequence[int], labelled: Sequence[int]) -> tuple[int, ...]:
    """Return the labelled frames that are context of a stretch at an end of the video.

    Args:
      about: the labelled frames.
      whole: those in which everything is labelled.
      labelled: those of the stretch.
    """
    if len(whole) < 2:
        return ()
    if labelled[-1:] == whole[:1]:
        return tuple(n for n in about if whole[0] < n <= whole[1])
    if labelled[:1] == whole[-1:]:
        return tuple(n for n in about if whole[-2] <= n < whole[-1])
    return ()


def nearest_first(planned: list[Planned], frame: int) -> list[Planned]:
    """Return stretches in the order in which a person at a frame wants them; onwards first."""

    def distance(each: Planned) -> tuple[float, int]:
        first, last = each.stretch.first, each.stretch.last
        before = 0 if last is None else max(0, frame - last)
        return max(before, first - frame), -first

    return sorted(planned, key=distance)


def carry_masks(
    method: Method, footage: both_ways.Clip, planned: Planned, given: Masks
) -> Iterator[Carried]:
    """Yield the masks of the frames of a stretch, each as soon as it is known.

    Args:
      method: how.
      footage: the video.
      planned: the stretch.
      given: the masks of its labelled frames, and any others.

    Raises:
      errors.UserError: a frame cannot be read, or an object is too small for the encoder.
    """
    ours = {frame: given[frame].over(None) for frame in planned.labelled}
    numbers = {int(n) for mask in ours.values() for n in np.unique(mask)} - {0}
    if not numbers:
        for frame in _frames(footage, planned):
            method.advance()
            mask = np.zeros_like(ours[planned.labelled[0]])
            yield Carried(Record(frame.number, frame.time, {}), mask)
        return
    for number in planned.beside:
        mask = given[number].over(None)
        ours[number] = np.where(np.isin(mask, list(numbers)), mask, 0)
    objects = {number: [n for n in given[number].objects if n in numbers] for number in ours}
    masks = given_labels.GivenMasks(ours, objects)
    for place, time, label in _carried(method, footage, planned, masks):
        confidence = {int(each): float(sure) for each, sure in label.confidence.items()}
        yield Carried(Record(place, time, confidence), label.mask.astype(np.uint8))


def carry_points(
    method: Method, footage: both_ways.Clip, planned: Planned, given: Points
) -> Iterator[Carried]:
    """Yield the points of the frames of a stretch, each as soon as it is known.

    Args:
      method: how.
      footage: the video.
      planned: the stretch.
      given: the points of its labelled frames, and any others.

    Raises:
      errors.UserError: a frame cannot be read.
    """
    things, frames = planned.stretch.things, (*planned.labelled, *planned.beside)
    present = [n for n in things if any(given[frame][n] for frame in planned.labelled)]
    if not present:
        for frame in _frames(footage, planned):
            method.advance()
            yield _points_carried(planned, [], frame.number, frame.time, None)
        return
    placed = {frame: np.array([given[frame][n] or _NOWHERE for n in present]) for frame in frames}
    points = given_labels.GivenPoints(
        len(present), {frame: dict(enumerate(each)) for frame, each in placed.items()}
    )
    for number, time, label in _carried(method, footage, planned, points):
        yield _points_carried(planned, present, number, time, label)


def _points_carried(
    planned: Planned, present: Sequence[int], number: int, time: float, label: PointLabel | None
) -> Carried:
    """Return the points of a frame; those not in `present` get no position and confidence 0."""
    points: dict[int, Position] = dict.fromkeys(planned.stretch.things)
    confidence = dict.fromkeys(planned.stretch.things, 0.0)
    if label is not None:
        for each, at, sure in zip(present, label.points.tolist(), label.confidence.tolist()):
            points[each] = (at[0], at[1]) if np.isfinite(at).all() else None
            confidence[each] = sure
    return Carried(Record(number, time, confidence, points), None)


def _carried(
    method: Method, footage: both_ways.Clip, planned: Planned, given: given_labels.Given
) -> Iterator[both_ways.Labelled]:
    """Yield the labels of a stretch, each as soon as it is known: backwards from its last frame."""
    carrier = method.carrier(footage, given, planned.stretch.span)
    if planned.labelled == (planned.stretch.last,):
        return carrier.labels_backwards()
    return carrier.labels()


def _frames(footage: both_ways.Clip, planned: Planned) -> Iterator[Frame]:
    """Yield the frames of a stretch that shows nothing, in the order of time."""
    span = planned.stretch.span
    frames = footage.frames(span.first)
    return itertools.takewhile(lambda frame: span.holds(frame.number), frames)
