"""Propagation of the labels of some frames to all frames of a clip, in the order of time.

Between two labelled frames, labels are propagated forwards from the earlier and backwards from the
later one. Both labelled frames are in the context of both directions. `agreement` says in which
frames which side counts. Before the first and after the last labelled frame, labels come from one
side; the next labelled frame on the other side is in the context too. So there are never more than
two labelled frames in a context, however many are given.

At most two frames are in memory at a time, besides the context of the propagator. Labels from both
sides are stored on disk until it is known which count, at most from one labelled frame to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import itertools
from typing import Any, NamedTuple, Protocol

import numpy as np

from stfc3_tf import errors
from stfc3_tf.annotation import agreement
from stfc3_tf.annotation.agreement import Known
from stfc3_tf.annotation.given_labels import Given, Group
from stfc3_tf.propagation import ahead, choice, extractor, finer_cells
from stfc3_tf.propagation.extractor import FeatureExtractor
from stfc3_tf.propagation.input_size import InputSize
from stfc3_tf.propagation.label_geometry import Geometry
from stfc3_tf.propagation.settings import PropagationSettings
from stfc3_tf.storage.spool import Spool


class Frame(Protocol):
    """A frame, see `clips.frame.Frame`."""

    @property
    def number(self) -> int:
        """Its number."""

    @property
    def time(self) -> float:
        """Seconds since the first frame."""

    @property
    def image(self) -> np.ndarray:
        """Its pixels, uint8 RGB [height, width, 3]."""


class Clip(Protocol):
    """Frames in the order of their numbers, see `clips.footage.Footage`."""

    name: str
    size: tuple[int, int]

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Yield the frames from number `start` on."""

    def backwards(self, stop: int) -> Iterator[Frame]:
        """Yield the frames before number `stop`, the last first."""


class Span(NamedTuple):
    """The frames of a clip that get labels.

    Attributes:
      first: number of the first frame.
      last: number of the last frame; None for that of the clip.
    """

    first: int = 0
    last: int | None = None

    def holds(self, number: int) -> bool:
        """Return whether the frame of this number is one of them."""
        return self.first <= number and (self.last is None or number <= self.last)


class Labelled(NamedTuple):
    """The label of a frame.

    Attributes:
      number: of the frame.
      time: of the frame, in seconds.
      label: a `MaskLabel` or a `PointLabel`.
    """

    number: int
    time: float
    label: Any


class _Key(NamedTuple):
    """A labelled frame: its number, time and features."""

    number: int
    time: float
    features: np.ndarray


class _Step(NamedTuple):
    """A frame that labels were propagated to from one side.

    Attributes:
      frame: the frame.
      features: float32 [rows, columns, channels].
      maps: its labels, float32 [rows, columns, labels].
    """

    frame: Frame
    features: np.ndarray
    maps: np.ndarray


class _Soft(NamedTuple):
    """The label maps of a frame; None if its label is given."""

    number: int
    time: float
    maps: np.ndarray | None


class Carrier:
    """Carries the labels of some frames to all frames of a clip.

    Attributes:
      settings: of the propagation.
      span: the frames that get labels.
      latest: number of the frame that was looked at last, for messages.
    """

    def __init__(
        self,
        encoder: FeatureExtractor,
        clip: Clip,
        given: Given,
        settings: PropagationSettings,
        input_size: InputSize,
        advance: Callable[[], None] = lambda: None,
        propagator: choice.Maker = choice.propagator,
        span: Span | None = None,
        reads_ahead: bool = True,
    ):
        """Set what is propagated; nothing is read yet.

        Args:
          encoder: of the frames.
          clip: the frames.
          given: the labels; those outside the span are only context.
          settings: of the propagation.
          input_size: how the encoder sees frames.
          advance: called for every frame to which labels were propagated from one side.
          propagator: makes what carries the labels.
          span: the frames that get labels, by default all; every object or point has a label there.
          reads_ahead: whether another thread reads and encodes a frame before it is asked for.
        """
        self._encoder = finer_cells.of(encoder, input_size.finer)
        self._clip, self._given = clip, given
        self.settings, self._input_size, self._advance = settings, input_size, advance
        self._propagator, self.span = propagator, span or Span()
        # Several groups read the clip in turns, and readers in several threads could meet.
        self._reads_ahead = reads_ahead and len(given.groups) == 1
        self._features = Spool()
        self._places: dict[int, int] = {}
        self._times: dict[int, float] = {}
        self.latest = 0
        # An error on the way backwards, raised when everything else is done.
        self._error: errors.UserError | None = None

    def labels(self) -> Iterator[Labelled]:
        """Yield the label of every frame, in the order of time.

        Raises:
          errors.UserError: a labelled frame does not exist or cannot be read, or its label cannot
            be propagated.
          clips.source.UnreadableVideo: a frame cannot be read; the labels before were yielded.
        """
        return self._labels(_Way.maps)

    def labels_backwards(self) -> Iterator[Labelled]:
        """Yield the label of every frame, the last first; only that frame of the span has labels.

        Raises:
          errors.UserError: see `labels`.
          clips.source.UnreadableVideo: see `labels`.
        """
        return self._labels(_Way.maps_backwards)

    def _labels(self, maps_of: Callable[[_Way], Iterator[_Soft]]) -> Iterator[Labelled]:
        groups = self._given.groups
        geometry = self._look_at({frame for group in groups for frame in group.frames})
        self._given.check(geometry)
        ways = [maps_of(_Way(self, self._given, group, geometry)) for group in groups]
        for number, time, maps in _together(ways):
            yield Labelled(number, time, self._given.result(number, maps, geometry))
        if self._error is not None:
            raise self._error

    def _look_at(self, numbers: set[int]) -> Geometry:
        """Store the features of the labelled frames; return the sizes."""
        shape: tuple[int, ...] = ()
        for frame in self._reached(sorted(numbers)):
            features = self._features_of(frame)
            self._places[frame.number] = len(self._places)
            self._features.put(self._places[frame.number], features)
            self._times[frame.number] = frame.time
            shape = features.shape
        height, width = self._clip.size
        rows, columns, _ = shape
        size = self._input_size.of(height, width)
        return Geometry((height, width), size, (rows, columns), self._encoder.cell_grid)

    def _reached(self, numbers: Sequence[int]) -> Iterator[Frame]:
        """Yield the frames with these numbers."""
        frames = self._clip.frames(numbers[0])
        for number in numbers:
            try:
                frame = next((each for each in frames if each.number >= number), None)
            except errors.UserError as error:
                raise errors.UserError(f'Frame {number} cannot be reached: {error}') from error
            if frame is None or frame.number != number:
                raise self._missing(number)
            yield frame

    def _missing(self, number: int) -> errors.UserError:
        try:
            next(self._clip.frames(number), None)
        except errors.UserError as error:
            return error  # It says which frames there are.
        return errors.UserError(
            f'{self._clip.name} has no frame {number}, only frames before and after it: label one '
            'of them.'
        )

    def _features_of(self, frame: Frame) -> np.ndarray:
        """Return float32 [rows, columns, channels] of a frame."""
        self.latest = frame.number
        image = self._input_size.resize(frame.image)
        return extractor.unit_features(self._encoder, image[np.newaxis])[0]

    def key(self, number: int) -> _Key:
        """Return a labelled frame."""
        features = self._features.get(self._places[number])
        return _Key(number, self._times[number], features)

    def steps(
        self, frames: Iterator[Frame], start: Known, pinned: Sequence[Known]
    ) -> Iterator[_Step]:
        """Yield frames with the label maps that are propagated to them from one side.

        Args:
          frames: those after the labelled frame, in the direction of the propagation.
          start: the labelled frame.
          pinned: other labelled frames.
        """
        propagator = self._propagator(self.settings)
        propagator.start(*start, pinned)
        seen = ((frame, self._features_of(frame)) for frame in frames)
        for frame, features in ahead.one_ahead(seen) if self._reads_ahead else seen:
            yield _Step(frame, features, np.asarray(propagator.step(features)))
            self._advance()

    def back(self, stop: int) -> Iterator[Frame]:
        """Yield the frames before number `stop`, the last first; store an error and end."""
        try:
            yield from self._within(self._clip.backwards(stop))
        except errors.UserError as error:
            self._error = self._error or error

    def forth(self, start: int) -> Iterator[Frame]:
        """Yield the frames after number `start`."""
        frames = self._clip.frames(start)
        return self._within(frame for frame in frames if frame.number > start)

    def _within(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        return itertools.takewhile(lambda frame: self.span.holds(frame.number), frames)


class _Way:
    """The label maps of one group."""

    def __init__(self, carrier: Carrier, given: Given, group: Group, geometry: Geometry):
        self._carrier, self._given, self._group = carrier, given, group
        self._geometry, self._codec = geometry, given.codec(group)
        self._spool, self._backward = Spool(), Spool()

    def maps(self) -> Iterator[_Soft]:
        """Yield the maps of every frame, in the order of time."""
        earlier, *others = filter(self._carrier.span.holds, self._group.frames)
        yield from self._before(earlier)
        yield self._exact(earlier)
        onwards = self._carrier.forth(earlier)
        for later in others:
            yield from self._between(earlier, later, onwards)
            yield self._exact(later)
            earlier = later
        for frame, soft in self._from_one(onwards, earlier, self._beside(earlier, -1)):
            yield _Soft(frame.number, frame.time, soft)

    def maps_backwards(self) -> Iterator[_Soft]:
        """Yield the maps of the only labelled frame of the span, and of those before, backwards."""
        (number,) = filter(self._carrier.span.holds, self._group.frames)
        yield self._exact(number)
        for frame, soft in self._from_first(number):
            yield _Soft(frame.number, frame.time, soft)

    def _beside(self, number: int, step: int) -> int | None:
        """Return the labelled frame just before (step -1) or after (1) a labelled one, if any."""
        place = self._group.frames.index(number) + step
        return self._group.frames[place] if 0 <= place < len(self._group.frames) else None

    def _exact(self, number: int) -> _Soft:
        return _Soft(number, self._carrier.key(number).time, None)

    def _before(self, first: int) -> Iterator[_Soft]:
        shown = self._stored(self._from_first(first))
        for place in reversed(range(len(shown))):
            yield _Soft(*shown[place], self._spool.get(place))

    def _from_first(self, first: int) -> Iterator[tuple[Frame, np.ndarray]]:
        return self._from_one(self._carrier.back(first), first, self._beside(first, 1))

    def _stored(self, softs: Iterator[tuple[Frame, np.ndarray]]) -> list[tuple[int, float]]:
        """Store maps by their place; return number and time of their frames."""
        shown: list[tuple[int, float]] = []
        for frame, soft in softs:
            self._spool.put(len(shown), soft)
            shown.append((frame.number, frame.time))
        return shown

    def _from_one(
        self, frames: Iterator[Frame], start: int, pinned: int | None = None
    ) -> Iterator[tuple[Frame, np.ndarray]]:
        """Yield frames with their labels from one labelled frame.

        Args:
          frames: those after the labelled frame, in the direction of the propagation.
          start: number of the labelled frame.
          pinned: number of another labelled frame.
        """
        present = self._present(start)
        if present[self._codec.first_channel :].any():
            others = [] if pinned is None else [self._known(pinned, present)]
            for step in self._carrier.steps(frames, self._known(start, present), others):
                yield step.frame, self._codec.finished(step.maps)
        else:
            nothing = np.zeros((*self._geometry.grid_size, len(present)), np.float32)
            yield from ((frame, self._codec.finished(nothing)) for frame in frames)

    def _between(self, earlier: int, later: int, onwards: Iterator[Frame]) -> Iterator[_Soft]:
        """Yield the maps of the frames between two labelled ones."""
        shown = self._stored(self._from_one(_until(onwards, later), earlier, later))
        both = self._present(earlier) & self._present(later)
        if both[self._codec.first_channel :].any():
            shares = self._shares_of_earlier(earlier, later, both, len(shown))
        else:
            shares = np.ones((len(shown), len(both)))
        for place, (number, time) in enumerate(shown):
            forward, share = self._spool.get(place), shares[place]
            if (share < 1).any():
                forward = self._codec.meet(forward, self._backward.get(place), share)
            yield _Soft(number, time, forward)

    def _shares_of_earlier(
        self, earlier: int, later: int, both: np.ndarray, count: int
    ) -> np.ndarray:
        """Propagate labels backwards; return how much those from the earlier frame count.

        Args:
          earlier: number of the earlier labelled frame.
          later: number of the later labelled frame.
          both: bool [channels], the labels that both frames have.
          count: of the frames between them.

        Returns:
          float64 [frames, channels], 1 for labels that only the earlier frame has.
        """
        known = [self._known(number, both) for number in (earlier, later)]
        agreed = np.zeros((count, 2, len(both)))
        place = count
        # The frames between, and none that would be read ahead in vain.
        frames = itertools.islice(self._carrier.back(later), count)
        steps = self._carrier.steps(frames, known[1], known[:1])
        for place, step in zip(reversed(range(count)), steps):
            backward = self._codec.finished(step.maps)
            self._backward.put(place, backward)
            sides = self._spool.get(place), backward
            agreed[place] = agreement.agreement(step.features, sides, known, self._carrier.settings)
        shares = np.where(both, agreement.shares(agreed[:, 0], agreed[:, 1]), 1)
        # Frames that cannot be reached from behind keep their labels from the earlier frame.
        shares[:place] = 1
        return shares

    def _known(self, number: int, present: np.ndarray) -> Known:
        """Return a labelled frame; labels that are not in `present`, bool [channels], are 0."""
        return Known(self._carrier.key(number).features, self._labels(number) * present)

    def _labels(self, number: int) -> np.ndarray:
        return self._codec.maps(self._given.label(self._group, number), self._geometry)

    def _present(self, number: int) -> np.ndarray:
        return self._given.present(self._group, number)


def _until(frames: Iterator[Frame], number: int) -> Iterator[Frame]:
    """Yield the frames before one with a number, which is consumed too."""
    for frame in frames:
        if frame.number == number:
            return
        yield frame


def _together(
    ways: Sequence[Iterator[_Soft]],
) -> Iterator[tuple[int, float, list[np.ndarray | None]]]:
    """Yield number, time and the maps of all groups, for the frames that all of them have."""
    while True:
        softs = [soft for way in ways if (soft := next(way, None)) is not None]
        while len(softs) == len(ways) and len({soft.number for soft in softs}) > 1:
            # If the way backwards ended with an error, groups begin with different frames.
            latest = max(soft.number for soft in softs)
            moved = (
                soft if soft.number == latest else next(way, None) for way, soft in zip(ways, softs)
            )
            softs = [soft for soft in moved if soft is not None]
        if len(softs) < len(ways):
            return
        yield softs[0].number, softs[0].time, [soft.maps for soft in softs]
