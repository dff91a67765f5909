"""Labels given in some frames of a video, and the presence of objects and points.

A mask applies to all objects, or only to those that are named with it. An object that it applies to
and does not show is absent. Points apply to those that they name; a named point without a position
is absent. In other frames an object or a point is present or absent as in the last earlier frame
that applies to it; before the first such frame, as in that frame.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
import dataclasses
import functools
import hashlib
from typing import Any, NamedTuple, Protocol

from absl import logging
import numpy as np

from stfc3_tf import errors
from stfc3_tf.annotation import label_codecs
from stfc3_tf.annotation.label_codecs import MaskLabel, PointLabel
from stfc3_tf.propagation.label_geometry import Geometry


class Group(NamedTuple):
    """Objects or points to which the same frames apply.

    Attributes:
      members: object numbers, ascending, or places of points.
      frames: numbers of the frames, ascending.
    """

    members: list[int]
    frames: list[int]


class GroupCodec(Protocol):
    """Converts between labels of a group and soft label maps, see `label_codecs`.

    Attributes:
      first_channel: the first channel of the maps that belongs to an object or a point.
    """

    first_channel: int

    def maps(self, label: Any, geometry: Geometry) -> np.ndarray:
        """Return float32 [rows, columns, channels]."""

    def meet(self, forward: np.ndarray, backward: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Return the labels of a frame between two labelled ones.

        Args:
          forward: soft label maps that were propagated from the earlier frame.
          backward: those from the later frame.
          share: of the earlier frame, 0 to 1, float64 [channels].

        Returns:
          float32 [rows, columns, channels].
        """

    def finished(self, soft: np.ndarray) -> np.ndarray:
        """Return normalised labels of a frame that has labels from one side only."""


class Given(Protocol):
    """Labels given in some frames."""

    @property
    def groups(self) -> list[Group]:
        """The groups; every object or point is in exactly one."""

    def codec(self, group: Group) -> GroupCodec:
        """Return the codec of a group."""

    def label(self, group: Group, frame: int) -> Any:
        """Return the label of a group in a labelled frame."""

    def present(self, group: Group, frame: int) -> np.ndarray:
        """Return the channels that a group has from a labelled frame on, bool [channels]."""

    def check(self, geometry: Geometry) -> None:
        """Raise UserError if a label cannot be propagated."""

    def digest(self) -> str:
        """Return a text that changes with the labels."""

    def result(
        self, frame: int, maps: Sequence[np.ndarray | None], geometry: Geometry
    ) -> MaskLabel | PointLabel:
        """Return the label of a frame.

        Args:
          frame: its number.
          maps: the soft label maps of each group; None for groups whose label is given here.
          geometry: the sizes of label and maps.

        Returns:
          The label at the size of the frames.
        """


@dataclasses.dataclass(frozen=True)
class GivenMasks:
    """Masks of some frames.

    Attributes:
      masks: int [height, width] of object numbers, 0 the background, by frame.
      objects: the objects to which a mask applies, by frame; by default all.
    """

    masks: Mapping[int, np.ndarray]
    objects: Mapping[int, Collection[int]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if strange := set(self.objects) - set(self.masks):
            raise errors.UserError(
                f'Objects are named for frame {min(strange)}, which has no mask: give its mask.'
            )
        for frame, named in self.objects.items():
            if missing := set(named) - set(self.numbers):
                raise errors.UserError(
                    f'The mask of frame {frame} is about object {min(missing)}, which no mask '
                    f'shows: {self._painted(frame)}. Name objects that masks show.'
                )

    def _painted(self, frame: int) -> str:
        """Return which objects the mask of a frame holds, whatever it is about, and others do."""
        held = {each: set(np.unique(mask).tolist()) - {0} for each, mask in self.masks.items()}
        others = set().union(*held.values()) - held[frame]
        text = f'it has {_listed(held[frame])}'
        return f'{text}, others {_listed(others)}' if others else text

    @functools.cached_property
    def numbers(self) -> list[int]:
        """The objects that any frame shows, ascending."""
        return sorted(set().union(*self._shown.values()))

    @functools.cached_property
    def dtype(self) -> np.dtype:
        """The type of the results' masks: unsigned, and wide enough for all objects."""
        return np.min_scalar_type(max(self.numbers, default=0))

    @functools.cached_property
    def groups(self) -> list[Group]:
        """See `Given.groups`."""
        return _grouped({number: self._frames_about(number) for number in self.numbers})

    def codec(self, group: Group) -> label_codecs.MaskCodec:
        """See `Given.codec`."""
        return label_codecs.MaskCodec(group.members)

    def label(self, group: Group, frame: int) -> MaskLabel:
        """See `Given.label`; other objects are background."""
        mask = np.where(np.isin(self.masks[frame], group.members), self.masks[frame], 0)
        return MaskLabel(mask, {})

    def present(self, group: Group, frame: int) -> np.ndarray:
        """See `Given.present`; the background is always present."""
        shown = self._shown[frame]
        return np.array([True, *(number in shown for number in group.members)])

    def is_present(self, number: int, frame: int) -> bool:
        """Return whether an object is present in a frame according to the masks."""
        about = next(group.frames for group in self.groups if number in group.members)
        earlier = [each for each in about if each <= frame]
        return number in self._shown[earlier[-1] if earlier else about[0]]

    def check(self, geometry: Geometry) -> None:
        """Raise UserError if an object is lost between the cells in all of its frames."""
        codec = label_codecs.MaskCodec(self.numbers)
        kept = {
            frame: codec.winners(codec.maps(MaskLabel(mask, {}), geometry))
            for frame, mask in self.masks.items()
        }
        for number in self.numbers:
            frames = [frame for frame in self.masks if number in self._shown[frame]]
            lost = [frame for frame in frames if number not in kept[frame]]
            pixels = [int(np.sum(self.masks[frame] == number)) for frame in frames]
            if len(lost) == len(frames):
                raise label_codecs.too_small(number, max(pixels), geometry)
            if lost:
                logging.warning(
                    'Object %d is too small in frame %d: it is lost between feature cells.',
                    number,
                    lost[0],
                )

    def result(
        self, frame: int, maps: Sequence[np.ndarray | None], geometry: Geometry
    ) -> MaskLabel:
        """See `Given.result`; the background is the minimum over the groups."""
        groups = self.groups
        exact = [m for group, soft in zip(groups, maps) if soft is None for m in group.members]
        found = self._decoded(groups, maps, geometry) if len(exact) < len(self.numbers) else None
        mask, confidence = found or (np.zeros_like(self.masks[min(self.masks)]), {})
        if exact:
            given = self.masks[frame]
            mask = np.where(np.isin(given, exact), given, mask)
        return MaskLabel(
            mask.astype(self.dtype),
            {
                number: 1.0 if number in exact else confidence[number]
                for number in self.numbers
                if self.is_present(number, frame)
            },
        )

    def _decoded(
        self, groups: list[Group], maps: Sequence[np.ndarray | None], geometry: Geometry
    ) -> MaskLabel:
        found = [(group, soft) for group, soft in zip(groups, maps) if soft is not None]
        members = [number for group, _ in found for number in group.members]
        order = np.argsort(members)
        channels = np.concatenate([soft[..., 1:] for _, soft in found], axis=-1)[..., order]
        background = np.min([soft[..., :1] for _, soft in found], axis=0)
        codec = label_codecs.MaskCodec(sorted(members))
        return codec.decode(np.concatenate([background, channels], axis=-1), geometry)

    def digest(self) -> str:
        """See `Given.digest`."""
        digest = hashlib.sha256()
        for frame in sorted(self.masks):
            mask = np.ascontiguousarray(self.masks[frame], np.int64)
            digest.update(repr((frame, mask.shape, self.about(frame))).encode())
            digest.update(mask.data)
        return digest.hexdigest()

    def shown(self, frame: int) -> list[int]:
        """Return the objects that a mask shows among those that it is about."""
        return sorted(self._shown[frame])

    def about(self, frame: int) -> list[int]:
        """Return the objects that a mask is about."""
        return sorted(self.objects.get(frame, self.numbers))

    @functools.cached_property
    def _shown(self) -> dict[int, set[int]]:
        """The objects that each mask shows, of those to which it applies."""
        shown = {frame: set(np.unique(mask).tolist()) - {0} for frame, mask in self.masks.items()}
        for frame, named in self.objects.items():
            shown[frame] &= set(named)
        return shown

    def _frames_about(self, number: int) -> list[int]:
        return sorted(
            frame for frame in self.masks if number in self.objects.get(frame, self.numbers)
        )


@dataclasses.dataclass(frozen=True)
class GivenPoints:
    """Points of some frames.

    Attributes:
      count: number of points.
      points: positions [2], (x, y) in pixels, by frame and point; NaN for an absent point. Points
        that a frame does not name continue.
    """

    count: int
    points: Mapping[int, Mapping[int, np.ndarray]]

    @functools.cached_property
    def groups(self) -> list[Group]:
        """See `Given.groups`."""
        about = {
            point: sorted(frame for frame, named in self.points.items() if point in named)
            for point in range(self.count)
        }
        return _grouped(about)

    def codec(self, group: Group) -> label_codecs.PointCodec:
        """See `Given.codec`."""
        return label_codecs.PointCodec()

    def label(self, group: Group, frame: int) -> PointLabel:
        """See `Given.label`."""
        points = np.array([self.points[frame][point] for point in group.members], np.float64)
        return PointLabel(points, np.isfinite(points).all(axis=-1).astype(np.float64))

    def present(self, group: Group, frame: int) -> np.ndarray:
        """See `Given.present`."""
        return self.label(group, frame).confidence > 0

    def check(self, geometry: Geometry) -> None:
        """Do nothing: any point within the frame can be propagated."""

    def digest(self) -> str:
        """See `Given.digest`."""
        listed = [
            (frame, sorted((point, *np.asarray(at, float).tolist()) for point, at in named.items()))
            for frame, named in sorted(self.points.items())
        ]
        return hashlib.sha256(repr(listed).encode()).hexdigest()

    def result(
        self, frame: int, maps: Sequence[np.ndarray | None], geometry: Geometry
    ) -> PointLabel:
        """See `Given.result`."""
        points, confidence = np.full((self.count, 2), np.nan), np.zeros(self.count)
        for group, soft in zip(self.groups, maps):
            label = (
                self.label(group, frame)
                if soft is None
                else self.codec(group).decode(soft, geometry)
            )
            points[group.members], confidence[group.members] = label
        return PointLabel(points, confidence)


def _listed(numbers: Collection[int]) -> str:
    return ', '.join(map(str, sorted(numbers))) or 'none'


def _grouped(about: Mapping[int, list[int]]) -> list[Group]:
    """Return groups of objects or points, from the frames that apply to each."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for member, frames in about.items():
        groups.setdefault(tuple(frames), []).append(member)
    return [Group(members, list(frames)) for frames, members in groups.items()]
