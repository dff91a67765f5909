"""The videos that a folder, a glob or a table names, and the places of their labels."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping, Sequence
import csv
import dataclasses
import os
import posixpath

from stfc3_tf import errors, wording
from stfc3_tf.annotation.marks.request import Request, objects_of_frames
from stfc3_tf.clips import opening, video
from stfc3_tf.formats import reading
from stfc3_tf.preparation import listing
from stfc3_tf.storage import files, folders, text

_TABLES = ('.csv', '.tsv')
_POINTS = ('.json', '.csv', '.tsv', '.txt', '.xml', '.h5', '.slp')
_ADDITIONS = (*video.MASK_ADDITIONS, '_points')


def requests(videos: str, labels: str | None, plain: Request) -> dict[str, Request]:
    """Return name -> what is asked for each video; the name is that of its folder of results.

    Args:
      videos: a folder or a glob of video files and of folders of pictures; beside video files, a
        folder of pictures needs labels to be a video. Or a table with the columns `video` and
        `labels`, and perhaps `frame` and `objects`, a line for each file of labels.
      labels: folder of the labels, which have the names of the videos; by default they are beside
        the videos. A table names its labels itself.
      plain: settings of all videos.

    Raises:
      errors.UserError: there are no videos, or the table cannot be read.
    """
    if videos.lower().endswith(_TABLES):
        if labels is not None:
            raise errors.UserError(f'{videos} names the labels of each video: leave out --labels.')
        return _of_table(videos, plain)
    found, beside = listing.find(videos)
    base = _base(found)
    labels_of = {path: _label_of(path, base, labels) for path in found}
    labels_of |= _labelled_pictures(beside, base, labels, labels_of)
    names = _names(list(labels_of))
    return {names[path]: _with_labels(path, labels_of[path], plain) for path in sorted(labels_of)}


def _labelled_pictures(
    beside: Sequence[str], base: str, labels: str | None, of_videos: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """Return the labels of those folders of pictures that are videos; warn of the others.

    A folder of pictures beside video files can be a video, labels of another one, or neither. It is
    a video if it has labels itself.

    Args:
      beside: the folders.
      base: the folder that holds all video files.
      labels: the folder of the labels, or None.
      of_videos: the labels of each video file.
    """
    taken = {_whole(label) for found in of_videos.values() for label in found}
    labelled = {path: _label_of(path, base, labels) for path in beside if _whole(path) not in taken}
    taken |= {_whole(label) for found in labelled.values() for label in found}
    chosen = {
        path: labelled[path] for path in labelled if labelled[path] and _whole(path) not in taken
    }
    taken |= {posixpath.dirname(label) for label in taken}
    opening.warn_of_pictures(
        {path for path in beside if path not in chosen and _whole(path) not in taken},
        'they have no labels',
        'put labels with the name of the folder where those of the video files are',
    )
    return chosen


def _base(videos: Sequence[str]) -> str:
    """Return the folder that holds all videos, see `_whole`."""
    return posixpath.commonpath([posixpath.dirname(_whole(path)) for path in videos])


def _whole(path: str) -> str:
    """Return a path from the root, so that all can be compared; addresses, too, get a slash."""
    return f'/{path}' if folders.is_remote(path) else os.path.abspath(path)


def _names(videos: Sequence[str]) -> dict[str, str]:
    """Return video -> its path in the common folder, without its ending where that is enough."""
    base = _base(videos)
    whole = {path: os.path.relpath(_whole(path), base) for path in videos}
    short = {path: _stem(path, name) for path, name in whole.items()}
    often = collections.Counter(short.values())
    return {path: whole[path] if often[short[path]] > 1 else short[path] for path in videos}


def _stem(path: str, name: str) -> str:
    return name if folders.is_folder(path) else posixpath.splitext(name)[0]


def _label_of(path: str, base: str, labels: str | None) -> list[str]:
    """Return the labels of a video by its name: those in a folder, or those beside it."""
    relative = os.path.relpath(_whole(path), base)
    if labels and relative.split('/')[0] == '..':
        return []
    stem = _stem(path, posixpath.join(labels, relative) if labels else path)
    endings = ('', *video.PICTURE_SUFFIXES, *_POINTS)
    candidates = [f'{stem}{addition}{ending}' for addition in _ADDITIONS for ending in endings]
    found = [each for each in candidates if _whole(each) != _whole(path) and files.exists(each)]
    return [each for each in found if folders.is_folder(each) or each != stem]


def _with_labels(path: str, labels: Sequence[str], plain: Request) -> Request:
    """Return the request for a video with all of its labels, masks and points."""
    points = [label for label in labels if _is_of_points(label)]
    masks = [label for label in labels if label not in points]
    return dataclasses.replace(plain, video=path, masks=masks, points=points)


def _is_of_points(label: str) -> bool:
    """Return whether a file, or FRAME:PATH, holds points rather than masks."""
    path = label if files.exists(label) else label.partition(':')[2]
    if not label.lower().endswith(_POINTS) or not files.exists(path):
        return label.lower().endswith(_POINTS)
    return not reading.holds_objects(files.read_bytes(path))


def _of_table(path: str, plain: Request) -> dict[str, Request]:
    folder = posixpath.dirname(path)
    labels, objects = (collections.defaultdict[str, list[str]](list) for _ in range(2))
    spelt: dict[str, str] = {}
    kinds: dict[str, tuple[str, int]] = {}
    for line, row in _rows(path):
        if not row['video'] or not row['labels']:
            raise errors.UserError(f'{path}: a line names no video or no labels.')
        frame = row.get('frame', '')
        number = text.whole_number(frame)
        if frame and number is None:
            raise errors.UserError(f'{path}: the frame {frame!r} is not a whole number.')
        label = listing.place(folder, row['labels'])
        named = listing.place(folder, row['video'])
        # A line may name it by a relative path, and another one by its whole path.
        video = spelt.setdefault(_whole(named), named)
        kind = 'points' if _is_of_points(label) else 'masks'
        first, first_line = kinds.setdefault(video, (kind, line))
        if kind != first:
            raise errors.UserError(
                f'{path}: the column labels names {first} of {row["video"]} in line {first_line} '
                f'and {kind} in line {line}: give each video labels of one kind.'
            )
        labels[video].append(label if number is None else f'{number}:{label}')
        objects[video] += _objects(path, row.get('objects', ''), number)
    names = _names(list(labels))
    return {
        names[each]: dataclasses.replace(
            _with_labels(each, given, plain), objects=tuple(objects[each])
        )
        for each, given in labels.items()
    }


def _objects(path: str, field: str, frame: int | None) -> list[str]:
    """Return the entries of `Request.objects` that a line of a table gives.

    Args:
      path: of the table.
      field: 40:2,3, or several of this form with semicolons between them; 2,3 is enough where the
        line has a frame.
      frame: of the line, if it has one.
    """
    entries = [entry for entry in field.split(';') if entry.strip()]
    if frame is not None:
        entries = [entry if ':' in entry else f'{frame}:{entry}' for entry in entries]
    try:
        objects_of_frames(entries)
    except errors.UserError as error:
        raise errors.UserError(
            f'{path}: the objects {field!r}: write the frame and the numbers of objects, as 40:2,3.'
        ) from error
    return entries


def _rows(path: str) -> list[tuple[int, Mapping[str, str]]]:
    """Return the lines of a table with their numbers, see `_fields_by_name`."""
    lines = [
        (number, line)
        for number, line in enumerate(text.decode(files.read_bytes(path), path).splitlines(), 1)
        if line.strip()
    ]
    try:
        rows = list(_fields_by_name(path, lines))
    except csv.Error as error:
        raise errors.UserError(f'{path} is not a readable table: {error}.') from error
    if not rows:
        raise errors.UserError(
            f'{path}: expected a table with the columns video and labels, and a line for each file '
            'of labels. A column frame may say which frame it is of, and a column objects which '
            'objects it is about.'
        )
    return rows


def _fields_by_name(
    path: str, lines: Sequence[tuple[int, str]]
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield number and column -> field of the lines of a table, if it has the needed columns.

    Args:
      path: of the table.
      lines: their numbers in the file, and themselves; the first one names the columns.
    """
    wanted = {'video', 'labels'}
    first = lines[0][1] if lines else ''
    separator = text.separator_of(first, lambda heading: wanted <= set(heading))
    if separator is None:
        return
    heading = text.fields(first, separator)
    for number, line in lines[1:]:
        found = text.fields(line, separator)
        if len(found) != len(heading):
            raise errors.UserError(
                f'{path}: line {number} has {wording.counted(len(found), "field")}, the first line '
                f'{len(heading)}: give each column a field, and put names that hold a '
                f'{text.SEPARATORS[separator]} in quotation marks.'
            )
        yield number, dict(zip(heading, found))
