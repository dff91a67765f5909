"""Labels of some frames from files of other tools: LabelMe, COCO, CVAT, DeepLabCut, SLEAP.

`formats` reads them. Here their names become numbers of objects, and their pictures numbers of
frames.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
import posixpath
import re
from typing import NamedTuple

from absl import logging
import numpy as np

from stfc3_tf import errors, wording
from stfc3_tf.clips import video
from stfc3_tf.formats import labels, reading
from stfc3_tf.storage import files, folders, palette

# Of files that stand in a folder of labels, a file for each picture.
ENDINGS = ('.json', '.xml')
_NUMBER = re.compile('(?:object )?([1-9][0-9]{0,2})')


class Frames(NamedTuple):
    """How the frames of a video are numbered.

    Attributes:
      size: (height, width) of a frame.
      pictures: name -> number of the frames of a folder of pictures.
      default: number of the frame of a file that does not say it.
    """

    size: tuple[int, int]
    pictures: Mapping[str, int]
    default: int


class Masks(NamedTuple):
    """The objects of some frames.

    Attributes:
      masks: frame -> uint8 [height, width] of object numbers.
      names: object number -> name.
      about: frame -> the objects that its mask is about; frames that are about all are left out.
    """

    masks: dict[int, np.ndarray]
    names: dict[int, str]
    about: dict[int, list[int]]


def read_points(
    path: str, contents: bytes, frames: Frames, number: int | None
) -> dict[int, dict[str, np.ndarray | None]] | None:
    """Return frame -> name -> position of the points of a file; None if it is of no other tool.

    Args:
      path: of the file.
      contents: of the file.
      frames: of the video.
      number: of the frame that the file is about; None if the file says it.

    Raises:
      errors.UserError: the file is damaged, holds no points, or does not fit the video.
    """
    found = _found(path, contents, frames)
    if found is None:
        return None
    if not found.points:
        also = f'; its {wording.counted(len(found.objects), "object")} can be given with --mask'
        raise errors.UserError(f'{path} holds no points{also if found.objects else ""}.')
    return _by_frame(path, found.points, frames, number)


def read_masks(entries: Sequence[tuple[int | None, str]], frames: Frames) -> Masks | None:
    """Return the objects of files; None if the first file is of no other tool.

    Args:
      entries: pairs of the frame that a file is about, None if the file says it, and its path.
      frames: of the video.

    Raises:
      errors.UserError: a file is damaged, does not fit the video, or, unlike the first one, is of
        no other tool; or a frame is in two files.
    """
    if not entries or _holds_pictures(entries[0][1]):
        return None
    named: dict[int, dict[str, np.ndarray | None]] = {}
    alone: set[int] = set()
    for number, path in entries:
        found = _found(path, files.read_bytes(path), frames)
        if found is None:
            if not named:
                return None
            raise errors.UserError(
                f'{path} is not like {entries[0][1]}: give either pictures or files of other tools.'
            )
        if not found.objects:
            also = f'; its {wording.counted(len(found.points), "point")} can be given with --points'
            raise errors.UserError(f'{path} holds no objects{also if found.points else ""}.')
        each = _by_frame(path, found.objects, frames, number)
        twice = sorted(set(each) & set(named))
        if twice:
            raise errors.UserError(f'Frame {twice[0]} is in {path} and in another file, too.')
        named.update(each)
        alone |= set(each) if found.each_alone else set()
    return _numbered({frame: named[frame] for frame in sorted(named)}, alone, frames.size)


def _holds_pictures(path: str) -> bool:
    """Return whether a path is a picture or, without files of other tools, a folder."""
    return video.is_picture(posixpath.basename(path)) or folders.is_folder(path)


def _found(path: str, contents: bytes, frames: Frames) -> labels.Found | None:
    read = reading.reader_of(path, contents)
    if read is None:
        return None
    found = read(frames.size)
    if found.others:
        counts = collections.Counter(found.others)
        logging.warning(
            '%s: left out: %s. Polygons, masks and points are read.',
            path,
            ', '.join(f'{kind} ({count})' for kind, count in counts.items()),
        )
    return found


def needless_number(path: str, says: str, number: int) -> errors.UserError:
    """Return the error that a file with a number says its frames itself.

    Args:
      path: of the file.
      says: what it says of its frames, a part of a sentence.
      number: of the frame that was given with it.
    """
    return errors.UserError(
        f'{path} {says}: give it without the number {number}, before its name or as --frame.'
    )


def _by_frame(
    path: str, things: Sequence[labels.Thing], frames: Frames, number: int | None
) -> dict[int, dict[str, np.ndarray | None]]:
    places = {thing.place for thing in things}
    if number is None:
        number_of = labels.numbering(path, places, frames.pictures, frames.default)
        return labels.by_frame(path, things, number_of)
    if len(places) > 1:
        raise needless_number(path, f'is about {len(places)} frames', number)
    return labels.by_frame(path, things, lambda place: number)


def _numbered(
    named: Mapping[int, Mapping[str, np.ndarray | None]], alone: set[int], size: tuple[int, int]
) -> Masks:
    """Return masks of numbers; where objects overlap, the later one counts."""
    names = list(dict.fromkeys(name for each in named.values() for name in each))
    stated = [_NUMBER.fullmatch(name) for name in names]
    numbers = [int(match[1]) for match in stated if match]
    if len(set(numbers)) < len(names) or max(numbers) > palette.MOST_NUMBER:
        numbers = list(range(1, len(names) + 1))
    if len(names) > palette.MOST_NUMBER:
        raise errors.UserError(
            f'There are {len(names)} objects; a mask holds {palette.MOST_NUMBER}.'
        )
    number_of = dict(zip(names, numbers))
    masks = {}
    for frame, objects in named.items():
        masks[frame] = np.zeros(size, np.uint8)
        for name, mask in objects.items():
            if mask is not None:
                masks[frame][mask] = number_of[name]
    about = {frame: sorted(number_of[name] for name in named[frame]) for frame in alone}
    return Masks(masks, {number: name for name, number in number_of.items()}, about)
