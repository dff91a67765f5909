"""Points that a user marked, read from a file.

JSON, `{"points": [{"name": "nose", "x": 310.5, "y": 120}, ...]}` or, shorter,
`{"nose": [310.5, 120], ...}`; or a table with the columns name, x and y, separated by commas,
semicolons, tabs or spaces; with semicolons, decimal commas are taken too. Pixels, pixel centres at
integers.

Points of several frames: each has a field or a column `frame`; or, shorter,
`{"0": {"nose": [310.5, 120]}, "40": {...}}`; or the files `tracks.json` and `tracks.csv` that a
propagation wrote. A point without a position (null, or empty) is not there in its frame.

Files of LabelMe, COCO, CVAT, DeepLabCut and SLEAP are read, too, see `other_tools`.
"""

from __future__ import annotations

from collections.abc import Mapping
import csv
import json
import math
import re
from typing import Any, NamedTuple, Union

import numpy as np

from stfc3_tf import errors
from stfc3_tf.annotation.marks import other_tools
from stfc3_tf.storage import files, state, text

_REMEDY = (
    'Expected JSON {"points": [{"name": "nose", "x": 310.5, "y": 120}, ...]} or '
    '{"nose": [310.5, 120], ...}, or CSV with the columns name,x,y; and frame, for several frames.'
)
_LONGEST_REASON = 300
_COLUMNS = ('name', 'x', 'y')


class NamedPoint(NamedTuple):
    """A point as a file gives it.

    Attributes:
      name: of the point.
      x: in pixels; NaN where it is not there.
      y: likewise.
      frame: number of its frame; None where the file does not say it.
    """

    name: str
    x: float
    y: float
    frame: int | None = None


def read(path: str, frames: other_tools.Frames, number: int | None = None) -> list[NamedPoint]:
    """Read named points.

    Args:
      path: JSON or a table, or a file of another tool; the contents decide.
      frames: of the video.
      number: of the frame that the file is about; None if it says it.

    Raises:
      errors.UserError: it cannot be read, holds no point, a name twice, or a point outside the
        frame; or says that it is about other frames.
    """
    stored = files.read_bytes(path)
    others = other_tools.read_points(path, stored, frames, number)
    if others is not None:
        points = _of_other_tool(others)
        _check(path, points, frames.size)
        return points
    contents = text.decode(stored, path)
    is_json = contents.lstrip()[:1] in ('{', '[')
    try:
        points = _json_points(contents, path) if is_json else _table_points(contents)
    except (ValueError, RecursionError, csv.Error) as error:
        reason = ' '.join(str(error).split())[:_LONGEST_REASON]
        raise errors.UserError(f'{path} cannot be read as points ({reason}). {_REMEDY}') from error
    if not points:
        raise errors.UserError(f'{path} holds no points. {_REMEDY}')
    _check(path, points, frames.size)
    _check_number(path, points, number)
    return points


def _check_number(path: str, points: list[NamedPoint], number: int | None) -> None:
    """Raise UserError if all points say their frames, and a number says otherwise."""
    stated = list(dict.fromkeys(point.frame for point in points))
    if number is None or None in stated or stated == [number]:
        return
    frames = f'frame {stated[0]}' if len(stated) == 1 else f'{len(stated)} frames'
    raise other_tools.needless_number(path, f'says that it is about {frames}', number)


def _of_other_tool(frames: Mapping[int, Mapping[str, np.ndarray | None]]) -> list[NamedPoint]:
    return [
        NamedPoint(name, math.nan, math.nan, frame)
        if at is None
        else NamedPoint(name, float(at[0]), float(at[1]), frame)
        for frame, named in frames.items()
        for name, at in named.items()
    ]


def _json_points(contents: str, path: str) -> list[NamedPoint]:
    found = state.parse_json(contents, Union[dict, list], path, _REMEDY)
    if isinstance(found, list):
        return _entries(found)
    frames = found.get('frames')
    if isinstance(frames, list) and all(isinstance(frame, dict) for frame in frames):
        return [
            point._replace(frame=_number(frame.get('frame')))
            for frame in frames
            for point in _entries(_listed(frame))
        ]
    if found and all(name.isdecimal() and isinstance(p, dict) for name, p in found.items()):
        return [
            _named(name, position)._replace(frame=int(frame))
            for frame, named in found.items()
            for name, position in named.items()
        ]
    listed = found.get('points')
    # A point may be called "points".
    if isinstance(listed, list) and all(isinstance(entry, dict) for entry in listed):
        return _entries(listed)
    return [_named(name, position) for name, position in found.items()]


def _listed(frame: Mapping[str, Any]) -> list[Any]:
    """Return the points of a frame; null stands for none."""
    points = frame.get('points')
    if points is not None and not isinstance(points, list):
        raise ValueError(f'the points of the frame {_shown(frame.get("frame"))} are not a list')
    return points or []


def _entries(entries: list[Any]) -> list[NamedPoint]:
    """Return points of the form {"name": ..., "x": ..., "y": ...}."""
    points = []
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict) or not set(_COLUMNS) <= set(entry):
            raise ValueError(
                f'point {number} is {_shown(entry)}, not an object with "name", "x" and "y"'
            )
        point = _point(entry['name'], entry['x'], entry['y'])
        points.append(point._replace(frame=_number(entry['frame'])) if 'frame' in entry else point)
    return points


def _number(value: Any) -> int:
    """Return the number of a frame."""
    number = None if isinstance(value, bool) else text.whole_number(str(value))
    if number is None:
        raise ValueError(f'the frame {_shown(value)} is not a whole number')
    return number


def _named(name: str, position: Any) -> NamedPoint:
    """Return a point of the form "name": [x, y]."""
    if position is None:
        return _point(name, None, None)
    if not isinstance(position, list) or len(position) != 2:
        raise ValueError(f'the point {name!r} is {_shown(position)}, not [x, y]')
    return _point(name, *position)


def _point(name: Any, x: Any, y: Any) -> NamedPoint:
    if isinstance(name, bool) or not isinstance(name, (str, int)):
        raise ValueError(f'the name {_shown(name)} is not a text')
    if x is None and y is None:
        return NamedPoint(str(name).strip(), math.nan, math.nan)
    for value in (x, y):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f'the point {name!r} has {_shown(value)} where a number is needed')
    try:
        return NamedPoint(str(name).strip(), float(x), float(y))
    except OverflowError:
        raise ValueError(f'the point {name!r} has a number that is too large') from None


def _shown(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 60 else f'{shown[:57]}...'


def _table_points(contents: str) -> list[NamedPoint]:
    lines = [(n, line) for n, line in enumerate(contents.splitlines(), 1) if line.strip()]
    if not lines:
        return []
    first = lines[0][1]
    separator = text.separator_of(first, lambda names: set(_COLUMNS) <= set(names))
    if separator is None:
        names = text.fields(first, ',')
        missing = [column for column in _COLUMNS if column not in names]
        raise ValueError(f'its first line has no column {", ".join(missing)}')
    heading = text.fields(first, separator)
    return [_point_of_line(number, line, separator, heading) for number, line in lines[1:]]


def _point_of_line(number: int, line: str, separator: str, heading: list[str]) -> NamedPoint:
    """Return the point in a line of a table.

    Args:
      number: of the line, from 1.
      line: its text.
      separator: of its fields.
      heading: names of the columns.
    """
    found = text.fields(line, separator)
    if len(found) != len(heading):
        has_more = separator == ',' and len(found) > len(heading)
        hint = ': write 160.5 for 160,5' if has_more else ''  # They may be decimal commas.
        raise ValueError(f'line {number} has another number of fields than the first{hint}')
    name, *position = (found[heading.index(column)] for column in _COLUMNS)
    x, y = math.nan, math.nan
    if any(position):
        x, y = (_decimal(value, number, separator) for value in position)
    frame = _number(found[heading.index('frame')]) if 'frame' in heading else None
    return NamedPoint(name, x, y, frame)


def _decimal(value: str, line: int, separator: str) -> float:
    """Return a number of a table; beside semicolons, spreadsheets write decimal commas."""
    has_comma = re.fullmatch(r'[+-]?\d+,\d+', value) is not None
    pointed = value.replace(',', '.') if has_comma else value
    if has_comma and separator != ';':
        raise ValueError(f'line {line} has a decimal comma: write {pointed} for {value}')
    try:
        return float(pointed)
    except ValueError:
        raise ValueError(f'line {line} has {_shown(value)} where a number is needed') from None


def _check(path: str, points: list[NamedPoint], size: tuple[int, int]) -> None:
    height, width = size
    seen: set[tuple[int | None, str]] = set()
    for name, x, y, frame in points:
        if name.encode(errors='ignore').decode() != name:
            # JSON can name half of a character, which no file holds.
            raise errors.UserError(
                f'{path}: the name {name!a} cannot be written as text: give the point another.'
            )
        if not name or (frame, name) in seen:
            raise errors.UserError(
                f'{path}: the name {name!r} is empty or given twice: every point needs its own.'
            )
        seen.add((frame, name))
        if not (math.isnan(x) and math.isnan(y)) and not (
            -0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5
        ):
            raise errors.UserError(
                f'{path}: the point {name!r} at ({x:g}, {y:g}) lies outside the frame of '
                f'{width}x{height} pixels (x from 0 to {width - 1}, y from 0 to {height - 1}).'
            )
