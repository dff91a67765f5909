"""The overlay of a video: objects with a legend, or points with trails and names."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
import functools

import cv2
import numpy as np

from stfc3_tf.annotation.drawing import label_places
from stfc3_tf.annotation.drawing.names import Box, Names
from stfc3_tf.figures import lettering, pictures
from stfc3_tf.storage import palette

# Frames before the current one whose points are joined.
_TRAIL = 12
# A point that moves by more than this share of the short side jumps, which ends its trail.
_LEAP = 0.1
_SUBPIXEL_BITS = 4
# Pixels.
_LEAST_LETTERS = 11
_OPACITY = 0.45
_LIGHT, _DARK = 255, 24
# An outline is as wide, in pixels, as the short side divided by this.
_OUTLINE_SHARE = 480
# Letters of the legend are as high as the short side divided by this.
_LEGEND_SHARE = 26
_BEHIND_LEGEND = 0.45
# Names cover at most this share of the picture.
_MOST_COVERED = 0.12
# Names are written in a colour that is at least as bright as this, of 255.
_LEAST_BRIGHTNESS = 150


def object_names(numbers: Iterable[int], known: Mapping[int, str]) -> dict[int, str]:
    """Return the names of objects by number; those that are not known are `object 1` and so on."""
    return {number: known.get(number, f'object {number}') for number in numbers}


class MaskPictures:
    """Draws frame after frame, objects tinted, with a legend of their names."""

    def __init__(self, names: Mapping[int, str], colours: Mapping[int, str] | None = None):
        """Choose how names are written.

        Args:
          names: of the objects by number.
          colours: '#rrggbb' by number; that of object i is by default colour i of
            `palette.DISTINCT`.
        """
        self._numbers = list(names)
        self._names = Names('object', list(names.values()), self._numbers)
        self._colours = _with(colours or {})
        self._corner: tuple[bool, bool] | None = None

    def draw(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Tint the objects of the next frame, with a light edge inside and a dark one outside.

        Args:
          image: uint8 [height, width, 3].
          mask: uint8 [height, width] of object numbers.

        Returns:
          uint8 [height, width, 3].
        """
        tinted = cv2.addWeighted(image, 1 - _OPACITY, self._colours[mask], _OPACITY, 0)
        canvas = np.where((mask > 0)[..., np.newaxis], tinted, image)
        edge = pictures.outline(mask, max(1, round(min(mask.shape) / _OUTLINE_SHARE)))
        canvas[edge & (mask == 0)] = _DARK
        canvas[edge & (mask > 0)] = _LIGHT
        self._draw_legend(canvas, mask)
        return canvas

    def _draw_legend(self, canvas: np.ndarray, mask: np.ndarray) -> None:
        """Write the names in the corner that is freest in the first frame."""
        size = mask.shape[0], mask.shape[1]
        letters = max(_LEAST_LETTERS, round(min(size) / _LEGEND_SHARE))
        names, height = self._names.written(size, letters, functools.partial(_legend_fits, size))
        if not names:
            return
        total, width = _legend_size([lettering.extent(each, height) for each in names], height)
        if self._corner is None:
            self._corner = label_places.freest_corner(mask > 0, (total, width))
        top, left = (
            (side - part) * last for side, part, last in zip(size, (total, width), self._corner)
        )
        area = canvas[top : top + total, left : left + width]
        area[:] = (area * _BEHIND_LEGEND).astype(np.uint8)
        for place, (number, name) in enumerate(zip(self._numbers, names), 1):
            base = top + _line(height) * place - height // 4
            swatch = (
                (left + height // 2, base - height + height // 5),
                (left + 3 * height // 2, base),
            )
            cv2.rectangle(canvas, *swatch, self._colours[number % 256].tolist(), cv2.FILLED)
            lettering.write(canvas, name, (left + 2 * height, base), height)


def _line(height: int) -> int:
    return round(1.5 * height)


def _legend_size(boxes: Sequence[Box], height: int) -> tuple[int, int]:
    """Return (height, width) of a legend; `height` is that of its letters."""
    return _line(height) * len(boxes) + height // 2, max(box[2] for box in boxes) + 3 * height


def _legend_fits(size: tuple[int, int], boxes: Sequence[Box], height: int) -> bool:
    if not boxes:
        return False
    total, width = _legend_size(boxes, height)
    is_small = total * width <= _MOST_COVERED * size[0] * size[1]
    return is_small and total <= size[0] and width <= size[1]


class PointTrails:
    """Draws frame after frame, points with trails and names."""

    def __init__(self, names: Sequence[str], colours: Sequence[str] = ()):
        """Choose how names are written.

        Args:
          names: of the points.
          colours: '#rrggbb' of each; that of point i is by default colour i + 1 of
            `palette.DISTINCT`.
        """
        self._names = Names('point', names, range(1, len(names) + 1))
        self._colours = _with(dict(enumerate(colours, 1)))
        self._past: collections.deque[np.ndarray] = collections.deque(maxlen=_TRAIL)
        self._sides = [0] * len(names)

    def draw(self, image: np.ndarray, points: np.ndarray, visible: np.ndarray) -> np.ndarray:
        """Draw the points of the next frame.

        Args:
          image: uint8 [height, width, 3].
          points: float [points, 2], (x, y) in pixels; NaN for a lost point, which is left out.
          visible: bool [points]; a point that is not visible is a ring.

        Returns:
          uint8 [height, width, 3].
        """
        radius = max(2.0, min(image.shape[:2]) / 120)
        canvas = np.ascontiguousarray(image).copy()
        self._past.append(np.asarray(points))
        self._draw_trails(canvas, max(1, round(radius / 2)))
        canvas = pictures.overlay_points(canvas, points, visible, radius, self._colours)
        self._draw_names(canvas, points, radius)
        return canvas

    def _draw_trails(self, canvas: np.ndarray, thickness: int) -> None:
        past = np.stack(self._past)
        steps = np.linalg.norm(np.diff(past, axis=0), axis=-1)
        # A new trail begins when a point is lost or jumps.
        broken = ~(steps <= _LEAP * min(canvas.shape[:2]))
        for point in range(past.shape[1]):
            trail = past[np.flatnonzero(broken[:, point]).max(initial=-1) + 1 :, point]
            if len(trail) > 1:
                trail = np.rint(trail * (1 << _SUBPIXEL_BITS)).astype(np.int32)
                line = self._colour(point), thickness, cv2.LINE_AA, _SUBPIXEL_BITS
                cv2.polylines(canvas, [trail], False, *line)

    def _draw_names(self, canvas: np.ndarray, points: np.ndarray, radius: float) -> None:
        """Write the names beside the points, none over another or beyond the picture."""
        size = canvas.shape[0], canvas.shape[1]
        letters = max(_LEAST_LETTERS, round(2.5 * radius))
        names, height = self._names.written(size, letters, functools.partial(_labels_fit, size))
        present = np.isfinite(points).all(axis=-1)
        taken = [label_places.around(point, radius + 1) for point in points[present]]
        for number, (name, point) in enumerate(zip(names, points)):
            if present[number]:
                box = lettering.extent(name, height)
                self._sides[number], place = label_places.beside(
                    point, box, radius + 2, taken, size, self._sides[number]
                )
                taken.append(np.array(box) + [*place, *place])
                lettering.write(canvas, name, place, height, _bright(self._colour(number)))

    def _colour(self, point: int) -> list[int]:
        return self._colours[1 + point % 255].tolist()


def _labels_fit(size: tuple[int, int], boxes: Sequence[Box], height: int) -> bool:
    corners = np.array(boxes).reshape(-1, 2, 2)
    sides = corners[:, 1] - corners[:, 0]
    is_inside = np.all(sides <= size[::-1])
    return bool(is_inside and sides.prod(axis=1).sum() <= _MOST_COVERED * size[0] * size[1])


def _with(colours: Mapping[int, str]) -> np.ndarray:
    """Return `palette.DISTINCT` with other colours for some numbers, uint8 [256, 3]."""
    table = palette.DISTINCT.copy()
    for number, code in colours.items():
        table[number % len(table)] = list(bytes.fromhex(code[1:]))
    return table


def _bright(colour: Sequence[int]) -> tuple[int, ...]:
    """Return a colour, RGB, mixed with white until its letters are legible on a dark edge."""
    red, green, blue = colour
    brightness = min(0.299 * red + 0.587 * green + 0.114 * blue, _LEAST_BRIGHTNESS)
    white = (_LEAST_BRIGHTNESS - brightness) / (255 - brightness)
    return tuple(round(channel + white * (255 - channel)) for channel in colour)
