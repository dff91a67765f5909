"""YOLO: a text file per frame, for segmentation or for poses, and data.yaml.

    YOLO/labels/000000.txt   objects: class x1 y1 x2 y2 ...
                             points:  class x y width height  x1 y1 v1  x2 y2 v2 ...
    YOLO/data.yaml

Pictures belong into YOLO/images. Without `path` in data.yaml, tools look for them beside it.

Coordinates are shares of the width and height, pixel edges at integers: the centre of the top left
pixel is (0.5 / width, 0.5 / height). An object is one polygon; its parts and holes are joined by
lines that go there and back. v is 2 (visible), 1 (occluded) or 0 (without a position).
"""

from __future__ import annotations

from collections.abc import Sequence
import json
import posixpath

import numpy as np

from stfc3_tf.formats import polygons, results
from stfc3_tf.storage import writing


def write_masks(found: results.MaskResults, folder: str) -> None:
    """Write the files for segmentation."""
    for frame in found.frames:
        lines = [
            _line(place, _shares(polygons.outline(mask), found.video))
            for place, _, mask in results.objects_of(frame, found)
        ]
        _write_frame(folder, frame.number, lines)
    _write_data(folder, list(found.names.values()), [])


def write_points(found: results.PointResults, folder: str) -> None:
    """Write the files for poses: all points are one object."""
    for frame in found.frames:
        _write_frame(folder, frame.number, [_pose(frame, found)] if frame.known.any() else [])
    _write_data(folder, ['points'], [f'kpt_shape: [{len(found.names)}, 3]', *_names(found.names)])


def _pose(frame: results.PointFrame, found: results.PointResults) -> str:
    """Return the line of a frame."""
    known = frame.known
    x, y, width, height = results.box_around(frame.points[known])
    box = np.array([[x + width / 2, y + height / 2], [width, height]])
    shares = _shares(frame.points + 0.5, found.video)
    points = np.column_stack([np.where(known[:, np.newaxis], shares, 0), frame.flags])
    return _line(0, np.concatenate([_shares(box, found.video).ravel(), points.ravel()]))


def _shares(positions: np.ndarray, video: results.Video) -> np.ndarray:
    return positions / np.array(video.size[::-1])


def _line(number: int, values: np.ndarray) -> str:
    # Eight digits, so that rounding down to pixels is exact in any picture.
    return ' '.join([str(number), *(f'{value:.8g}' for value in values.ravel())])


def _write_frame(folder: str, number: int, lines: Sequence[str]) -> None:
    name = posixpath.splitext(results.file_name(number))[0]
    text = ''.join(f'{line}\n' for line in lines)
    writing.write_text(posixpath.join(folder, 'labels', f'{name}.txt'), text)


def _write_data(folder: str, names: Sequence[str], more: Sequence[str]) -> None:
    lines = ['train: ./images', 'val: ./images', 'names:']
    lines += [f'  {place}: {_quoted(name)}' for place, name in enumerate(names)]
    writing.write_text(posixpath.join(folder, 'data.yaml'), '\n'.join([*lines, *more, '']))


def _names(names: Sequence[str]) -> list[str]:
    """Return the lines that name the points of the class 0."""
    return ['kpt_names:', '  0:', *(f'    - {_quoted(name)}' for name in names)]


def _quoted(name: str) -> str:
    """Return a text for YAML, in which strings of JSON are strings."""
    return json.dumps(name, ensure_ascii=False)
