"""What a file of another tool says of some frames, in one form for all formats.

Things of one name in one frame are parts of one object if the file says which instance they are of;
otherwise each is an object.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Mapping, Sequence
import posixpath
from typing import NamedTuple

import numpy as np

from stfc3_tf import errors
from stfc3_tf.storage import frame_names


class Place(NamedTuple):
    """A frame as a file gives it.

    Attributes:
      number: of the frame; None where the file names a picture.
      picture: its name, which may be a path.
    """

    number: int | None
    picture: str = ''


class Thing(NamedTuple):
    """An object or a point in a frame.

    Attributes:
      place: the frame.
      name: as the file gives it.
      instance: tells things of one name apart; None where the file does not say it.
      label: of an object, bool [height, width]; of a point, float64 [2], (x, y) in pixels, pixel
        centres at integers; None where it is said not to be there.
    """

    place: Place
    name: str
    instance: str | None
    label: np.ndarray | None


class Found(NamedTuple):
    """What a file holds.

    Attributes:
      objects: in the order of the file.
      points: in the order of the file.
      others: what is neither, such as boxes, and is left out.
      each_alone: whether a frame speaks only of the objects that it names; otherwise objects that
        it does not name are not there.
    """

    objects: Sequence[Thing]
    points: Sequence[Thing]
    others: Sequence[str] = ()
    each_alone: bool = False


def check_size(path: str, found: tuple[int, int], size: tuple[int, int]) -> None:
    """Raise UserError if labels were made for frames of another size.

    Args:
      path: of the labels.
      found: (height, width) that the file states.
      size: (height, width) of the frames.
    """
    if tuple(found) != tuple(size):
        raise errors.UserError(
            f'{path} is about pictures of {found[1]}x{found[0]} (width x height), the frames are '
            f'{size[1]}x{size[0]}: give labels of frames of their size.'
        )


def unreadable(path: str, what: str, error: Exception, remedy: str) -> errors.UserError:
    """Return the error of a file that is damaged.

    Args:
      path: of the file.
      what: it should be, such as 'a file of SLEAP'.
      error: what its reader raised.
      remedy: what to do, a sentence.
    """
    return errors.UserError(f'{path} cannot be read as {what} ({errors.one_line(error)}). {remedy}')


def by_frame(
    path: str, things: Sequence[Thing], number_of: Callable[[Place], int]
) -> dict[int, dict[str, np.ndarray | None]]:
    """Return frame -> name -> label, with one name for each object or point.

    Args:
      path: of the file, for messages.
      things: objects or points.
      number_of: returns the number of a frame.

    Raises:
      errors.UserError: it is not clear which of the objects of a name are the same.
    """
    groups: dict[int, list[Thing]] = {}
    for thing in things:
        groups.setdefault(number_of(thing.place), []).append(thing)
    instances: dict[str, set[str | None]] = {}
    for thing in things:
        instances.setdefault(thing.name, set()).add(thing.instance)
    return {
        number: _named(path, number, group, instances, len(groups))
        for number, group in sorted(groups.items())
    }


def _named(
    path: str,
    number: int,
    things: Sequence[Thing],
    instances: Mapping[str, set[str | None]],
    frames: int,
) -> dict[str, np.ndarray | None]:
    """Return name -> label in one frame."""
    seen: collections.Counter[str] = collections.Counter()
    found: dict[str, np.ndarray | None] = {}
    for thing in things:
        name = thing.name
        if thing.instance is not None and len(instances[name]) > 1:
            name = f'{name} {thing.instance}'
        elif thing.instance is None:
            seen[name] += 1
            if seen[name] > 1 and frames > 1:
                raise errors.UserError(
                    f'{path} does not say which {name!r} of frame {number} is the same in other '
                    'frames: give each its own name, or a number (group_id, track_id).'
                )
            name = name if seen[name] == 1 else f'{name} {seen[name]}'
        found[name] = _united(found.get(name), thing.label)
    return found


def _united(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    """Return both parts of an object; of a point, the later position."""
    if one is None or other is None or one.dtype != bool:
        return one if other is None else other
    return one | other


def _twice(pictures: Iterable[str]) -> str:
    """Return a name that pictures of different folders have."""
    names = sorted(map(posixpath.basename, pictures))
    return next(name for name, following in zip(names, names[1:]) if name == following)


def numbering(
    path: str, places: Iterable[Place], pictures: Mapping[str, int], default: int | None
) -> Callable[[Place], int]:
    """Return what gives the number of a frame.

    Args:
      path: of the file, for messages.
      places: all frames of the file.
      pictures: name -> number of the pictures of the video, if it is a folder.
      default: of the frame of a file that is about one frame; None if there is none.

    Raises:
      errors.UserError: it is not clear which frames are meant.
    """
    pictures_named = {p.picture.replace('\\', '/') for p in places} - {''}
    names = sorted({posixpath.basename(picture) for picture in pictures_named})
    if len(names) < len(pictures_named):
        raise errors.UserError(
            f'{path}: pictures of different folders have the same name, such as '
            f'{_twice(pictures_named)}: give labels of one video at a time.'
        )
    known = {name: pictures[name] for name in names if name in pictures}
    if len(known) < len(names):
        numbers = frame_names.numbers(names)
        if numbers is None and len(names) == 1 and default is not None:
            numbers = [default]
        if numbers is None:
            raise errors.UserError(
                f'{path}: which frames do its pictures belong to? Their names, such as {names[0]}, '
                'must differ in one number alone, that of the frame; or give one file for each '
                'frame, as FRAME:PATH.'
            )
        known = dict(zip(names, numbers))

    def number_of(place: Place) -> int:
        if place.number is not None:
            return place.number
        return known[posixpath.basename(place.picture.replace('\\', '/'))]

    return number_of
