"""Labels of some frames from a file of another tool, in one form for all formats.

Things of one name in one frame are parts of one object if the file says which instance they are of;
otherwise each is an object. Points that are parts of one thing, such as a person, have one number.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
import itertools
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
      whole: what a point is a part of, such as a person: its kind, and a number that tells it apart
        in the file; None for objects, and for points by themselves.
    """

    place: Place
    name: str
    instance: str | None
    label: np.ndarray | None
    whole: tuple[str, int] | None = None


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
    numbered = _numbered(things)
    return {
        number: _named(path, number, group, numbered, len(groups))
        for number, group in sorted(groups.items())
    }


def _numbered(things: Sequence[Thing]) -> set[tuple[str, str | None]]:
    """Return name and instance of things that need the instance in their names.

    These are those of which another instance has the name, and the other parts of the same whole.
    """
    instances: dict[str, set[str | None]] = {}
    for thing in things:
        instances.setdefault(thing.name, set()).add(thing.instance)
    shared = {name for name, found in instances.items() if len(found) > 1}
    wholes = {(t.whole[0], t.instance) for t in things if t.whole and t.name in shared}
    return {
        (t.name, t.instance)
        for t in things
        if t.name in shared or (t.whole and (t.whole[0], t.instance) in wholes)
    }


def _named(
    path: str,
    number: int,
    things: Sequence[Thing],
    numbered: Collection[tuple[str, str | None]],
    frames: int,
) -> dict[str, np.ndarray | None]:
    """Return name -> label in one frame.

    Args:
      path: of the file, for messages.
      number: of the frame.
      things: in this frame.
      numbered: see `_numbered`.
      frames: how many the file is about.
    """
    wholes: dict[str, list[int]] = {}
    found: dict[str, np.ndarray | None] = {}
    for thing in things:
        name = thing.name
        if thing.instance is not None and (name, thing.instance) in numbered:
            name = f'{name} {thing.instance}'
        elif thing.instance is None:
            name = _spelt(name, _place(thing, wholes), found)
            if name != thing.name and frames > 1:
                raise errors.UserError(
                    f'{path} does not say which {thing.name!r} of frame {number} is the same in '
                    'other frames: give each its own name, or a number (group_id, track_id).'
                )
        found[name] = _united(found.get(name), thing.label)
    return found


def _place(thing: Thing, wholes: dict[str, list[int]]) -> int:
    """Return 1 for a part of the first whole of its kind, and so on; 1 for a thing by itself.

    Args:
      thing: an object or a point.
      wholes: kind -> those before it; is changed.
    """
    if thing.whole is None:
        return 1
    kind, each = thing.whole
    before = wholes.setdefault(kind, [])
    if each not in before:
        before.append(each)
    return before.index(each) + 1


def _spelt(name: str, number: int, taken: Collection[str]) -> str:
    """Return a name with its number, without the number 1; with the next one if it is taken."""
    spelt = (name if n == 1 else f'{name} {n}' for n in itertools.count(number))
    return next(each for each in spelt if each not in taken)


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
