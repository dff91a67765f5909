"""A session: what a person marked in a video, kept in a folder.

    SESSION/session.json         the video, and the names and colours of objects and points
    SESSION/masks/000040.png     the mask given in frame 40: object numbers, a palette PNG
    SESSION/points/000040.json   the points given in frame 40
    SESSION/results/             what was propagated, see `session_results`
    SESSION/session.lock         held by the process that has the session open

Each file is written whole at once. A process that is killed loses at most the write it was in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import os
import re
import threading
from typing import Annotated, Optional

import numpy as np
import pydantic

from stfc3_tf import errors, wording
from stfc3_tf.clips import video
from stfc3_tf.clips.footage import Footage
from stfc3_tf.storage import files, images, lock, palette, writing

COLOURS = palette.SHOWN
MOST_OBJECTS = palette.MOST_NUMBER
LONGEST_NAME = 80  # Characters.
_REMEDY = 'Put back a copy of the file, or move the folder of the session away to begin again.'
_END = 1 << 20
# The keyword of the objects that a mask is about, in its PNG.
_OBJECTS = 'objects'
_LABEL_NAME = re.compile(r'(\d{6,9})\.(png|json)')

Number = Annotated[int, pydantic.Field(ge=1, le=MOST_OBJECTS)]
Frame = Annotated[int, pydantic.Field(ge=0, lt=10**9)]
# Where a point is, (x, y) in pixels, pixel centres at integers; None where it is not there.
Position = Optional[tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class VideoIdentity:
    """What tells a video from others.

    Attributes:
      path: where it was when the session began.
      bytes: of the file, or of all pictures of a folder.
      sha256: of the first and the last MiB; of a folder, of the names and sizes of its pictures.
      height: of its frames, in pixels.
      width: of its frames, in pixels.
      frame_rate: frames per second.
    """

    path: str
    bytes: int
    sha256: str
    height: Annotated[int, pydantic.Field(ge=1)]
    width: Annotated[int, pydantic.Field(ge=1)]
    frame_rate: Annotated[float, pydantic.Field(gt=0)]

    def is_same(self, other: VideoIdentity) -> bool:
        """Return whether both are the same video, wherever it lies."""
        return dataclasses.replace(self, path='') == dataclasses.replace(other, path='')


@dataclasses.dataclass(frozen=True)
class Thing:
    """An object or a point.

    Attributes:
      number: of the object in masks, or of the point in its files.
      name: as people call it; objects have different names, and so have points.
      colour: '#rrggbb'.
    """

    number: Number
    name: Annotated[str, pydantic.Field(min_length=1, max_length=LONGEST_NAME)]
    colour: Annotated[str, pydantic.Field(pattern='^#[0-9a-f]{6}$')]


@dataclasses.dataclass(frozen=True)
class Things:
    """What is marked in a video: objects by masks, and points."""

    objects: list[Thing] = dataclasses.field(default_factory=list)
    points: list[Thing] = dataclasses.field(default_factory=list)

    def check(self) -> None:
        """Raise `UserError` if two objects, or two points, have one number or one name."""
        for kind, things in (('objects', self.objects), ('points', self.points)):
            for values in ([str(t.number) for t in things], [t.name for t in things]):
                if len(set(values)) < len(values):
                    twice = next(value for value in values if values.count(value) > 1)
                    raise errors.UserError(f'Two {kind} are called {twice}: rename one.')


@dataclasses.dataclass(frozen=True)
class GivenMask:
    """The mask given in a frame.

    Attributes:
      mask: uint8 [height, width] of object numbers, 0 the background.
      objects: the objects that it is about: those of them that it does not show are not there. Of
        other objects it says nothing.
    """

    mask: np.ndarray
    objects: tuple[int, ...]

    @functools.cached_property
    def digest(self) -> str:
        """A text that changes with the mask and its objects."""
        text = repr(self.objects).encode()
        return hashlib.sha256(text + np.ascontiguousarray(self.mask).tobytes()).hexdigest()

    @functools.cached_property
    def shown(self) -> tuple[int, ...]:
        """The objects that it is about and shows, ascending."""
        return tuple(n for n in np.unique(self.mask).tolist() if n in self.objects)

    def over(self, mask: np.ndarray | None) -> np.ndarray:
        """Return these objects laid over another mask of the frame, if there is one."""
        ours = np.where(np.isin(self.mask, self.objects), self.mask, 0)
        if mask is None:
            return ours
        return np.where(ours > 0, ours, np.where(np.isin(mask, self.objects), 0, mask))


@dataclasses.dataclass(frozen=True)
class _State:
    """Contents of session.json."""

    version: Annotated[int, pydantic.Field(ge=1, le=1)]
    video: VideoIdentity
    things: Things


class Session:
    """A session folder. Several threads may use it, but one process at a time."""

    def __init__(self, folder: str, identity: VideoIdentity):
        """Open the folder, or make it; it stays locked until `close`, or the end of the process.

        Args:
          folder: of the session.
          identity: of the video.

        Raises:
          errors.UserError: another process has it open, or it is of another video, damaged, or
            cannot be written.
        """
        self.folder = folder
        self._lock = threading.RLock()
        self._masks: dict[int, GivenMask] = {}
        self._points: dict[int, dict[int, Position]] = {}
        with contextlib.ExitStack() as held:
            held.enter_context(lock.held(os.path.join(folder, 'session.lock'), self._refusal))
            self._open(identity)
            self._held = held.pop_all()

    def close(self) -> None:
        """Let others open the folder; nothing may be changed any more."""
        self._held.close()

    def _refusal(self, holder: str) -> str:
        return (
            f'{self.folder} is in use by another command ({holder}): end that command and open the '
            'video again, or open another video.'
        )

    def _open(self, identity: VideoIdentity) -> None:
        path = os.path.join(self.folder, 'session.json')
        if files.exists(path):
            found = files.read_json(path, _State, _REMEDY)
            _check_same(path, found.video, identity)
            found.things.check()
            self.video, self._things = found.video, found.things
            self._masks = self._read_masks()
            self._points = self._read_points()
        else:
            self.video, self._things = identity, Things()
            self._write_state()

    @property
    def things(self) -> Things:
        """Objects and points."""
        return self._things

    @property
    def masks(self) -> dict[int, GivenMask]:
        """Frame -> the mask given in it."""
        with self._lock:
            return dict(self._masks)

    @property
    def points(self) -> dict[int, dict[int, Position]]:
        """Frame -> point -> where it was marked; points that are not named here continue."""
        with self._lock:
            return {frame: dict(points) for frame, points in self._points.items()}

    @property
    def version(self) -> str:
        """A text that changes with everything that is marked."""
        with self._lock:
            masks = [(frame, given.digest) for frame, given in sorted(self._masks.items())]
            marked = masks, sorted(self._points.items()), self._things
            return hashlib.sha256(repr(marked).encode()).hexdigest()[:20]

    def set_things(self, things: Things) -> None:
        """Replace objects and points; labels of those that are gone are removed.

        Raises:
          errors.UserError: two have one number or name, or a file cannot be written.
        """
        things.check()
        with self._lock:
            objects = {thing.number for thing in things.objects}
            points = {thing.number for thing in things.points}
            for frame, given in self.masks.items():
                if not set(given.objects) <= objects:
                    left = [number for number in given.objects if number in objects]
                    self._put_mask(frame, given.mask * np.isin(given.mask, left), left)
            for frame, marked in self.points.items():
                if not set(marked) <= points:
                    self._put_points(frame, {n: at for n, at in marked.items() if n in points})
            self._things = things
            self._write_state()

    def put_mask(self, frame: int, mask: np.ndarray, objects: Sequence[int]) -> None:
        """Keep the mask of a frame.

        Args:
          frame: its number.
          mask: uint8 [height, width] of object numbers, 0 the background.
          objects: see `GivenMask`; objects that the mask shows are among them in any case. Without
            any, the mask of the frame is removed.

        Raises:
          errors.UserError: it does not fit the video, shows an object that is not in `things`, or
            cannot be written.
        """
        size = self.video.height, self.video.width
        if mask.dtype != np.uint8 or mask.shape != size:
            raise errors.UserError(
                f'The mask is {mask.dtype.name} {list(mask.shape)}; the frames need uint8 '
                f'[height, width] = {list(size)}.'
            )
        about = sorted({*np.unique(mask).tolist(), *objects} - {0})
        with self._lock:
            _check_known('object', about, self._things.objects)
            self._put_mask(frame, mask, about)

    def put_points(self, frame: int, points: Mapping[int, Position]) -> None:
        """Keep the points of a frame.

        Args:
          frame: its number.
          points: point -> (x, y) in pixels, pixel centres at integers, or None where it is not
            there. Points that are not named continue. Without any, the points of the frame are
            removed.

        Raises:
          errors.UserError: one lies outside the frame or is not in `things`, or the file cannot be
            written.
        """
        for number, position in points.items():
            self._check_inside(number, position)
        with self._lock:
            _check_known('point', sorted(points), self._things.points)
            self._put_points(frame, dict(points))

    def _check_inside(self, number: int, position: Position) -> None:
        if position is None:
            return
        width, height = self.video.width, self.video.height
        x, y = position
        # This form also refuses NaN.
        if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
            raise errors.UserError(
                f'Point {number} at ({x:g}, {y:g}) lies outside the frame of {width}x{height} '
                'pixels.'
            )

    def _put_mask(self, frame: int, mask: np.ndarray, objects: Sequence[int]) -> None:
        path = os.path.join(self.folder, 'masks', f'{frame:06d}.png')
        if objects:
            notes = {_OBJECTS: ' '.join(map(str, objects))}
            writing.write_bytes(path, images.palette_mask(mask, notes))
            self._masks[frame] = GivenMask(mask.copy(), tuple(objects))
        else:
            writing.remove(path)
            self._masks.pop(frame, None)

    def _put_points(self, frame: int, points: dict[int, Position]) -> None:
        path = os.path.join(self.folder, 'points', f'{frame:06d}.json')
        if points:
            writing.write_text(path, json.dumps(points) + '\n')
            self._points[frame] = points
        else:
            writing.remove(path)
            self._points.pop(frame, None)

    def _write_state(self) -> None:
        contents = dataclasses.asdict(_State(1, self.video, self._things))
        text = json.dumps(contents, indent=2, ensure_ascii=False) + '\n'
        writing.write_text(os.path.join(self.folder, 'session.json'), text)

    def _read_masks(self) -> dict[int, GivenMask]:
        found = {}
        for frame, path in self._labels('masks'):
            mask, noted = _mask_and_note(path)
            size = self.video.height, self.video.width
            if mask.shape != size or not re.fullmatch(r'[\d ]{0,2000}', noted):
                raise errors.UserError(f'{path} is not a mask of this video. {_REMEDY}')
            # A mask without the note, from another program, is about all objects.
            listed = [int(n) for n in noted.split()] or [t.number for t in self._things.objects]
            about = sorted({*np.unique(mask).tolist(), *listed} - {0})
            found[frame] = GivenMask(mask, tuple(about))
        return self._with_objects_of(found)

    def _with_objects_of(self, masks: dict[int, GivenMask]) -> dict[int, GivenMask]:
        """Add objects that masks show and session.json does not list, and return the masks."""
        known = {thing.number for thing in self._things.objects}
        shown = {number for given in masks.values() for number in given.objects}
        objects = [*self._things.objects]
        for number in sorted(shown - known):
            objects.append(_unnamed_object(number, {thing.name for thing in objects}))
        self._things = dataclasses.replace(self._things, objects=objects)
        return masks

    def _read_points(self) -> dict[int, dict[int, Position]]:
        found = {}
        for frame, path in self._labels('points'):
            found[frame] = files.read_json(path, dict[Number, Position], _REMEDY)
            try:
                self._check_listed(found[frame])
            except errors.UserError as error:
                raise errors.UserError(f'{path}: {error} {_REMEDY}') from error
        return found

    def _check_listed(self, points: Mapping[int, Position]) -> None:
        """Raise UserError if points of a file are not in session.json, or outside the frame."""
        known = {thing.number for thing in self._things.points}
        for number, position in points.items():
            if number not in known:
                raise errors.UserError(f'Point {number} is not listed in session.json.')
            self._check_inside(number, position)

    def _labels(self, kind: str) -> list[tuple[int, str]]:
        """Return the frames that have a file of labels, and its path."""
        folder = os.path.join(self.folder, kind)
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        matches = [match for name in names if (match := _LABEL_NAME.fullmatch(name))]
        return [(int(match[1]), os.path.join(folder, match[0])) for match in matches]


def _mask_and_note(path: str) -> tuple[np.ndarray, str]:
    """Return a mask and the objects that it is about, as they are written in its file."""
    try:
        return images.read_index_mask(path), images.read_image(path).info.get(_OBJECTS, '')
    except images.UnreadablePicture as error:
        raise errors.UserError(
            f'{path} is not a readable image ({error.reason}). {_REMEDY}'
        ) from error
    except errors.UserError as error:
        raise errors.UserError(f'{error} {_REMEDY}') from error


def identity_of(footage: Footage) -> VideoIdentity:
    """Return what tells an opened video from others."""
    path = footage.name
    paths = video.pictures_in(path) if os.path.isdir(path) else [path]
    sizes = [os.path.getsize(each) for each in paths]
    digest = hashlib.sha256()
    if os.path.isdir(path):
        digest.update(json.dumps([*zip(map(os.path.basename, paths), sizes)]).encode())
    else:
        digest.update(_ends(path))
    height, width = footage.size
    rate = footage.frame_rate if math.isfinite(footage.frame_rate) else 1.0
    return VideoIdentity(path, sum(sizes), digest.hexdigest(), height, width, rate)


def _ends(path: str) -> bytes:
    with open(path, 'rb') as file:
        first = file.read(_END)
        file.seek(max(_END, os.path.getsize(path) - _END))
        return first + file.read(_END)


def _check_same(path: str, found: VideoIdentity, wanted: VideoIdentity) -> None:
    if not found.is_same(wanted):
        raise errors.UserError(
            f'{path} is of another video ({found.path}, {found.width}x{found.height}, '
            f'{wording.counted(found.bytes, "byte")}) than {wanted.path}: name another '
            '--output_dir, or move that session away.'
        )


def _check_known(kind: str, numbers: Sequence[int], things: Sequence[Thing]) -> None:
    known = {thing.number for thing in things}
    strange = [number for number in numbers if number not in known]
    if strange:
        raise errors.UserError(f'There is no {kind} {strange[0]}: add it to the list first.')


def _unnamed_object(number: int, taken: Collection[str]) -> Thing:
    """Return an object with a name that no other has."""
    name = f'object {number}'
    while name in taken:
        name += "'"
    return Thing(number, name, COLOURS[(number - 1) % len(COLOURS)])
