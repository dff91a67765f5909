"""LabelMe: a JSON file per picture, with polygons, rectangles, circles, masks and points.

Coordinates have pixel edges at integers: the centre of the top left pixel is (0.5, 0.5).
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
import pydantic
from typing_extensions import NotRequired, TypedDict

from stfc3_tf import errors
from stfc3_tf.formats import labels, polygons
from stfc3_tf.storage import images, state

_REMEDY = 'Save it again in LabelMe.'


class _Shape(TypedDict):
    label: str
    points: list[tuple[pydantic.FiniteFloat, pydantic.FiniteFloat]]
    shape_type: NotRequired[str | None]
    group_id: NotRequired[int | str | None]
    mask: NotRequired[str | None]


class _File(TypedDict):
    shapes: list[_Shape]
    imagePath: NotRequired[str | None]
    imageHeight: NotRequired[int | None]
    imageWidth: NotRequired[int | None]


def recognised(contents: Any) -> bool:
    """Return whether JSON is of LabelMe."""
    shapes = contents.get('shapes') if isinstance(contents, dict) else None
    return isinstance(shapes, list) and all(isinstance(shape, dict) for shape in shapes)


def read(path: str, contents: Any, size: tuple[int, int]) -> labels.Found:
    """Return what a file holds.

    Args:
      path: of the file, for messages.
      contents: the JSON.
      size: (height, width) of the frames.

    Raises:
      errors.UserError: it is damaged, or about pictures of another size.
    """
    found: _File = state.checked(contents, _File, path, _REMEDY)
    height, width = found.get('imageHeight'), found.get('imageWidth')
    if height and width:
        labels.check_size(path, (height, width), size)
    place = labels.Place(None, found.get('imagePath') or path)
    objects, points, others = [], [], []
    for shape in found['shapes']:
        kind = shape.get('shape_type') or 'polygon'
        group = shape.get('group_id')
        name, instance = shape['label'].strip(), None if group is None else str(group)
        if kind == 'point' and len(shape['points']) == 1:
            at = np.array(shape['points'][0]) - 0.5
            whole = None if instance is None else ('group', 0)
            points.append(labels.Thing(place, name, instance, at, whole))
            continue
        mask = _mask(path, shape, kind, size)
        if mask is None:
            others.append(kind)
        else:
            objects.append(labels.Thing(place, name, instance, mask))
    return labels.Found(objects, points, others)


def _mask(path: str, shape: _Shape, kind: str, size: tuple[int, int]) -> np.ndarray | None:
    """Return the mask of a shape, bool [height, width]; None if it has none."""
    points = np.array(shape['points'], np.float64).reshape(-1, 2)
    if kind == 'polygon' and len(points) > 2:
        return polygons.fill([points], size)
    if len(points) != 2:
        return None
    if kind == 'mask':
        return _pasted(path, shape.get('mask') or '', points, size)
    if kind == 'rectangle':
        return polygons.fill([polygons.rectangle(*points)], size)
    if kind == 'circle':
        radius = np.hypot(*(points[1] - points[0]))
        angles = np.linspace(0, 2 * np.pi, 360, endpoint=False)
        around = np.column_stack([np.cos(angles), np.sin(angles)])
        return polygons.fill([points[0] + radius * around], size)
    return None


def _pasted(path: str, picture: str, corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a mask that is stored as a PNG with the corners of its place."""
    try:
        part = np.asarray(
            images.decode(base64.b64decode(picture, validate=True), path).convert('L')
        )
        left, top = corners.min(axis=0).astype(int)
        if min(left, top) < 0:
            raise ValueError('its corner lies outside the picture')
        rows, columns = slice(top, top + part.shape[0]), slice(left, left + part.shape[1])
        mask = np.zeros(size, bool)
        mask[rows, columns] = part > 0
    except (binascii.Error, ValueError, OverflowError, images.UnreadablePicture) as error:
        raise errors.UserError(
            f'{path} holds a mask that cannot be read ({errors.one_line(error)}). {_REMEDY}'
        ) from error
    return mask
