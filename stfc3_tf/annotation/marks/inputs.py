"""Masks or points that a user marked in some frames of a video, ready to be propagated."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
import dataclasses
import fractions

import numpy as np

from stfc3_tf import errors, wording
from stfc3_tf.annotation import outputs
from stfc3_tf.annotation.drawing import overlay
from stfc3_tf.annotation.given_labels import GivenMasks, GivenPoints
from stfc3_tf.annotation.marks import colour_numbers, mask_file, other_tools, points_file


@dataclasses.dataclass(frozen=True)
class MaskAnnotation:
    """Objects of some frames.

    Attributes:
      given: the masks.
      marks: frame -> object number -> how its file marks it, for `description`.
      names: of objects, by number, where their files say them.
    """

    given: GivenMasks
    marks: Mapping[int, Mapping[int, str]] = dataclasses.field(default_factory=dict)
    names: Mapping[int, str] = dataclasses.field(default_factory=dict)

    @property
    def frames(self) -> list[int]:
        """The labelled frames, ascending."""
        return sorted(self.given.masks)

    def only(self, frames: Collection[int]) -> MaskAnnotation:
        """Return the labels of some frames; objects that none of them shows are left out."""
        shown = set().union(*(self.given.shown(frame) for frame in frames))
        objects = {
            frame: sorted(shown & set(self.given.objects[frame]))
            for frame in frames
            if frame in self.given.objects
        }
        kept = [frame for frame in frames if objects.get(frame, shown)]
        return MaskAnnotation(
            GivenMasks(
                {frame: self.given.masks[frame] for frame in kept},
                {frame: about for frame, about in objects.items() if about},
            ),
            self.marks,
            {number: name for number, name in self.names.items() if number in shown},
        )

    def description(self) -> list[str]:
        """Return a line per object and labelled frame, and one per object that leaves."""
        return [line for frame in self.frames for line in self._lines(frame)]

    def _lines(self, frame: int) -> list[str]:
        where = f'frame {frame}: '
        mask, marks = self.given.masks[frame], self.marks.get(frame, {})
        lines = [
            f'{where}object {number}: {wording.counted(int(np.sum(mask == number)), "pixel")}'
            + (f' ({marks[number]})' if number in marks else '')
            for number in self.given.shown(frame)
        ]
        gone = [n for n in self.given.about(frame) if n not in self.given.shown(frame)]
        return lines + [f'{where}object {number} is not there' for number in gone]

    def drawn(self, frame: int, image: np.ndarray) -> np.ndarray:
        """Return a labelled frame with its objects, uint8 [height, width, 3]."""
        names = overlay.object_names(self.given.numbers, self.names)
        return overlay.MaskPictures(names).draw(image, self.given.masks[frame])

    def files(self, folder: str, options: outputs.Options) -> outputs.MaskFiles:
        """Return the files that keep the labels of all frames."""
        return outputs.MaskFiles(folder, self.given.numbers, self.names, options)


@dataclasses.dataclass(frozen=True)
class PointAnnotation:
    """Points of some frames.

    Attributes:
      names: one for each point.
      given: where they are, (x, y) in pixels, pixel centres at integers.
    """

    names: tuple[str, ...]
    given: GivenPoints

    @property
    def frames(self) -> list[int]:
        """The labelled frames, ascending."""
        return sorted(self.given.points)

    def only(self, frames: Collection[int]) -> PointAnnotation:
        """Return the labels of some frames; points without a position in them are left out."""
        points = {frame: self.given.points[frame] for frame in frames}
        shown = sorted(
            {n for named in points.values() for n, at in named.items() if np.isfinite(at).all()}
        )
        places = {point: place for place, point in enumerate(shown)}
        named = {
            frame: {places[point]: at for point, at in each.items() if point in places}
            for frame, each in points.items()
        }
        kept = {frame: each for frame, each in named.items() if each}
        return PointAnnotation(
            tuple(self.names[point] for point in shown), GivenPoints(len(shown), kept)
        )

    def description(self) -> list[str]:
        """Return a line per point and labelled frame."""
        return [
            f'frame {frame}: point {self.names[point]}'
            + (f': ({x:g}, {y:g})' if np.isfinite(x) else ' is not there')
            for frame in self.frames
            for point, (x, y) in self.given.points[frame].items()
        ]

    def drawn(self, frame: int, image: np.ndarray) -> np.ndarray:
        """Return a labelled frame with its points, uint8 [height, width, 3]."""
        points = np.full((len(self.names), 2), np.nan)
        for point, position in self.given.points[frame].items():
            points[point] = position
        return overlay.PointTrails(self.names).draw(image, points, np.ones(len(points), bool))

    def files(self, folder: str, options: outputs.Options) -> outputs.TrackFiles:
        """Return the files that keep the labels of all frames."""
        return outputs.TrackFiles(folder, self.names, options)


def read_masks(
    paths: Mapping[int, str],
    size: tuple[int, int],
    pixel_aspect: fractions.Fraction = fractions.Fraction(1),
    objects: Mapping[int, Collection[int]] | None = None,
) -> MaskAnnotation:
    """Read the masks of some frames.

    Args:
      paths: frame -> its mask; see `mask_file.read`.
      size: (height, width) of the frames.
      pixel_aspect: width / height of the frames' pixels as players show them.
      objects: frame -> the objects that its mask is about; see `GivenMasks`.

    Raises:
      errors.UserError: a mask cannot be read, or none shows an object.
    """
    empty = len(paths) > 1
    read = {
        frame: mask_file.read(paths[frame], size, pixel_aspect, empty) for frame in sorted(paths)
    }
    found = colour_numbers.numbered_alike(read, objects)
    given = GivenMasks({frame: each.mask for frame, each in found.items()}, objects or {})
    if not given.numbers:
        raise errors.UserError(f'{paths[min(paths)]} and the other masks are empty: mark objects.')
    return MaskAnnotation(given, {frame: each.marks for frame, each in found.items()})


def read_masks_of_other_tools(
    entries: Sequence[tuple[int | None, str]],
    frames: other_tools.Frames,
    objects: Mapping[int, Collection[int]] | None = None,
) -> MaskAnnotation | None:
    """Read the objects of files of other tools; return None if the first is of no other tool.

    Args:
      entries: see `other_tools.read_masks`.
      frames: of the video.
      objects: see `read_masks`.

    Raises:
      errors.UserError: see `other_tools.read_masks`; or none shows an object.
    """
    found = other_tools.read_masks(entries, frames)
    if found is None:
        return None
    masks, names, about = found
    given = GivenMasks(masks, {**about, **(objects or {})})
    if not given.numbers:
        raise errors.UserError(f'{entries[0][1]} shows no object inside the frame.')
    return MaskAnnotation(given, dict.fromkeys(masks, names), names)


def read_point_files(
    files: Sequence[tuple[int | None, str]], frames: other_tools.Frames
) -> PointAnnotation:
    """Read the named points of some frames.

    Args:
      files: pairs of a frame, or None, and the path of a file; points that say their frame are of
        that one. See `points_file.read`.
      frames: of the video.

    Raises:
      errors.UserError: a file cannot be read, or a point is given twice in one frame or is in none.
    """
    points: dict[int, dict[str, np.ndarray]] = {}
    first_file: dict[str, str] = {}
    for number, path in files:
        frame = frames.default if number is None else number
        for point in points_file.read(path, frames, number):
            named = points.setdefault(frame if point.frame is None else point.frame, {})
            if point.name in named:
                raise errors.UserError(f'{path}: {point.name!r} is given twice in one frame.')
            named[point.name] = np.array([point.x, point.y])
            first_file.setdefault(point.name, path)
    names = dict.fromkeys(name for frame in sorted(points) for name in points[frame])
    for name in names:
        if not any(np.isfinite(named.get(name, np.nan)).all() for named in points.values()):
            raise errors.UserError(
                f'{first_file[name]}: the point {name!r} has no position anywhere.'
            )
    places = {name: place for place, name in enumerate(names)}
    numbered = {
        frame: {places[name]: at for name, at in named.items()} for frame, named in points.items()
    }
    return PointAnnotation(tuple(names), GivenPoints(len(names), numbered))
