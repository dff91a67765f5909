"""What a user marks in one frame: a mask or points, read from a file and checked against the frame.

Masks: palette or grey PNG (also of 16 bits) of object numbers 1, 2, ... on background 0, where 255 is
void; or black and white, 0 and 255, grey or in colour, for object 1.

Points: JSON, `{"points": [{"name": "nose", "x": 310.5, "y": 120}, ...]}` or, shorter,
`{"nose": [310.5, 120], ...}`; or CSV with the columns name, x, y. Pixels, pixel centres at
integers.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from stfc3_tf import annotate, errors, label_files, tracking
from stfc3_tf.benchmarks import files
from stfc3_tf.propagation import PropagationSettings

_VOID = 255
# A grey picture with more values than this is a drawing or a photograph, not object numbers.
_MOST_GREYS = 64
_POINTS_MEND = (
    'Expected JSON {"points": [{"name": "nose", "x": 310.5, "y": 120}, ...]} or '
    '{"nose": [310.5, 120], ...}, or CSV with the columns name,x,y.'
)


@dataclasses.dataclass(frozen=True)
class MaskAnnotation:
    """Objects of the labelled frame.

    Attributes:
      mask: uint8 [height, width] of object numbers, 0 the background.
    """

    mask: np.ndarray

    def propagate(
        self,
        encoder: tracking.FeatureExtractor,
        frames: Iterable[np.ndarray],
        settings: PropagationSettings,
        short_side: int | None,
    ) -> Iterator[annotate.MaskLabel]:
        """See `annotate.propagate_masks`."""
        return annotate.propagate_masks(encoder, frames, self.mask, settings, short_side)

    def files(self, folder: str) -> label_files.MaskFiles:
        """Where the labels of all frames are kept."""
        return label_files.MaskFiles(folder, [int(n) for n in np.unique(self.mask) if n])


@dataclasses.dataclass(frozen=True)
class PointAnnotation:
    """Points of the labelled frame.

    Attributes:
      names: one for each point.
      points: float64 [points, 2], (x, y) in pixels, pixel centres at integers.
    """

    names: tuple[str, ...]
    points: np.ndarray

    def propagate(
        self,
        encoder: tracking.FeatureExtractor,
        frames: Iterable[np.ndarray],
        settings: PropagationSettings,
        short_side: int | None,
    ) -> Iterator[annotate.PointLabel]:
        """See `annotate.propagate_points`."""
        return annotate.propagate_points(encoder, frames, self.points, settings, short_side)

    def files(self, folder: str) -> label_files.TrackFiles:
        """Where the labels of all frames are kept."""
        return label_files.TrackFiles(folder, self.names)


def read_mask(path: str, size: tuple[int, int]) -> MaskAnnotation:
    """Reads a mask.

    Args:
      path: a palette, grey or black-and-white image, or one in the colours of DAVIS.
      size: (height, width) of the frame it marks.

    Raises:
      errors.UserError: it cannot be read, has another size, marks nothing, or is no mask.
    """
    grey = _is_grey(path)
    mask = files.read_index_mask(path)
    if mask.shape != tuple(size):
        raise errors.UserError(
            f'{path} is {mask.shape[1]}x{mask.shape[0]} (width x height), the frames are '
            f'{size[1]}x{size[0]}: give a mask of their size, as they are shown upright.'
        )
    numbers = [int(number) for number in np.unique(mask) if number]
    if grey and len(numbers) > _MOST_GREYS:
        raise errors.UserError(
            f'{path} has {len(numbers) + 1} shades of grey, so it is no mask: give object numbers '
            '0, 1, 2, ... or 0 and 255, without smoothing, in a format without loss (PNG).'
        )
    if not numbers:
        raise errors.UserError(f'{path} is empty: mark the object with a value other than 0.')
    # Alone, 255 is white: the one object. Beside object numbers it is void.
    return MaskAnnotation(np.where(mask == _VOID, numbers == [_VOID], mask).astype(np.uint8))


def _is_grey(path: str) -> bool:
    """Whether an image holds shades of grey, after making sure that it is an image."""
    try:
        image = Image.open(io.BytesIO(_contents(path)))
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise errors.UserError(
            f'{path} is not a readable image: give a mask as a palette or grey PNG.'
        ) from error
    return image.mode == 'L' or image.mode.startswith('I')


def _contents(path: str) -> bytes:
    try:
        with tf.io.gfile.GFile(path, 'rb') as file:
            return file.read()
    except tf.errors.OpError as error:
        raise errors.UserError(f'{path} is missing or cannot be read: {error.message}') from error


def read_points(path: str, size: tuple[int, int]) -> PointAnnotation:
    """Reads named points.

    Args:
      path: JSON or CSV, told apart by their contents.
      size: (height, width) of the frame they lie in.

    Raises:
      errors.UserError: it cannot be read, holds no point, a name twice, or a point outside the
        frame.
    """
    try:
        text = _contents(path).decode('utf-8-sig')
        named = _json_points(text) if text.lstrip()[:1] in ('{', '[') else _csv_points(text)
        names = [str(name).strip() for name, _, _ in named]
        points = np.array([(float(x), float(y)) for _, x, y in named]).reshape(-1, 2)
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        reason = error if isinstance(error, ValueError) else repr(error)
        raise errors.UserError(
            f'{path} cannot be read as points ({reason}). {_POINTS_MEND}'
        ) from error
    if not names:
        raise errors.UserError(f'{path} holds no points. {_POINTS_MEND}')
    _check_points(path, names, points, size)
    return PointAnnotation(tuple(names), points)


def _json_points(text: str) -> list[tuple[str, float, float]]:
    contents = json.loads(text, object_pairs_hook=_each_once)
    if isinstance(contents, dict) and isinstance(contents.get('points', {}), dict):
        return [(name, *_pair(position)) for name, position in contents.items()]
    points = contents['points'] if isinstance(contents, dict) else contents
    return [(point['name'], point['x'], point['y']) for point in points]


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """What `dict` does, but that of two values of one name the first would be lost."""
    names = [name for name, _ in pairs]
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        raise ValueError(f'the name {twice[0]!r} is given twice')
    return dict(pairs)


def _pair(position: list[float]) -> tuple[float, float]:
    x, y = position
    return x, y


def _csv_points(text: str) -> list[tuple[str, float, float]]:
    rows = csv.DictReader(io.StringIO(text), skipinitialspace=True, strict=True)
    missing = {'name', 'x', 'y'} - set(rows.fieldnames or ['name', 'x', 'y'])
    if missing:
        raise ValueError(f'its first line names no column {", ".join(sorted(missing))}')
    points = []
    for row in rows:
        # As of numbers with a decimal comma.
        if None in row.values() or any(row.get(None, ())):
            raise ValueError(f'line {rows.line_num} has not as many fields as the first')
        points.append((row['name'], row['x'], row['y']))
    return points


def _check_points(path: str, names: list[str], points: np.ndarray, size: tuple[int, int]) -> None:
    height, width = size
    for number, (name, (x, y)) in enumerate(zip(names, points)):
        if not name or name in names[:number]:
            raise errors.UserError(
                f'{path}: the name {name!r} is empty or given twice: every point needs its own.'
            )
        if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
            raise errors.UserError(
                f'{path}: the point {name!r} at ({x:g}, {y:g}) lies outside the frame of '
                f'{width}x{height} pixels (x from 0 to {width - 1}, y from 0 to {height - 1}).'
            )
