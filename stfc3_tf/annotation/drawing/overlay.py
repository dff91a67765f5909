"""The overlay of a video: objects with a legend, or points with trails and names."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np

from stfc3_tf.annotation.drawing import label_places
from stfc3_tf.figures import lettering, pictures
from stfc3_tf.storage import palette

# Frames before the current one whose points are joined.
_TRAIL = 12
# A point that moves by more than this share of the short side jumps, which ends its trail.
_LEAP = 0.1
# More names would hide the picture.
_MOST_NAMES = 10
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
# A legend that covers a larger share of the picture is left out.
_MOST_LEGEND = 0.12


def object_names(numbers: Iterable[int], known: Mapping[int, str]) -> dict[int, str]:
    """Return the names of objects by number; those that are not known are `object 1` and so on."""
    return {number: known.get(number, f'object {number}') for number in numbers}


class MaskPictures:
    """Draws frame after frame; object i has colour i of `palette.DISTINCT`."""

    def __init__(self, names: Mapping[int, str]):
        self._numbers = list(names)
        few = len(names) <= _MOST_NAMES
        self._letterings = lettering.letterings(list(names.values())) if few else []
        self._corner: tuple[bool, bool] | None = None

    def draw(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Tint the objects of the next frame, with a light edge inside and a dark one outside.

        Args:
          image: uint8 [height, width, 3].
          mask: uint8 [height, width] of object numbers.

        Returns:
          uint8 [height, width, 3].
        """
        tinted = cv2.addWeighted(image, 1 - _OPACITY, palette.DISTINCT[mask], _OPACITY, 0)
        canvas = np.where((mask > 0)[..., np.newaxis], tinted, image)
        edge = pictures.outline(mask, max(1, round(min(mask.shape) / _OUTLINE_SHARE)))
        canvas[edge & (mask == 0)] = _DARK
        canvas[edge & (mask > 0)] = _LIGHT
        self._draw_legend(canvas, mask)
        return canvas

    def _draw_legend(self, canvas: np.ndarray, mask: np.ndarray) -> None:
        """Write the names in the corner that is freest in the first frame."""
        if not self._letterings:
            return
        height = max(_LEAST_LETTERS, round(min(mask.shape) / _LEGEND_SHARE))
        line = round(1.5 * height)
        boxes = [lettering.extent(each, height) for each in self._letterings]
        width = min(mask.shape[1], max(box[2] for box in boxes) + 3 * height)
        total = min(mask.shape[0], line * len(boxes) + height // 2)
        if total * width > _MOST_LEGEND * mask.size:
            return
        if self._corner is None:
            self._corner = label_places.freest_corner(mask > 0, (total, width))
        top, left = (
            (side - part) * last
            for side, part, last in zip(mask.shape, (total, width), self._corner)
        )
        area = canvas[top : top + total, left : left + width]
        area[:] = (area * _BEHIND_LEGEND).astype(np.uint8)
        for place, (number, name) in enumerate(zip(self._numbers, self._letterings)):
            base = top + line * (place + 1) - height // 4
            swatch = (
                (left + height // 2, base - height + height // 5),
                (left + 3 * height // 2, base),
            )
            cv2.rectangle(canvas, *swatch, palette.DISTINCT[number % 256].tolist(), cv2.FILLED)
            lettering.write(canvas, name, (left + 2 * height, base), height)


class PointTrails:
    """Draws frame after frame; point i has colour i + 1 of `palette.DISTINCT`."""

    def __init__(self, names: Sequence[str]):
        self._letterings = lettering.letterings(names) if len(names) <= _MOST_NAMES else []
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
        canvas = pictures.overlay_points(canvas, points, visible, radius, palette.DISTINCT)
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
                curve = [trail], False, _colour(point), thickness, cv2.LINE_AA, _SUBPIXEL_BITS
                cv2.polylines(canvas, *curve)

    def _draw_names(self, canvas: np.ndarray, points: np.ndarray, radius: float) -> None:
        """Write the names beside the points, none over another or beyond the picture."""
        height = max(_LEAST_LETTERS, round(2.5 * radius))
        there = np.isfinite(points).all(axis=-1)
        taken = [label_places.around(point, radius + 1) for point in points[there]]
        for number, (name, point) in enumerate(zip(self._letterings, points)):
            if there[number]:
                box = lettering.extent(name, height)
                self._sides[number], place = label_places.beside(
                    point, box, radius + 2, taken, canvas.shape[:2], self._sides[number]
                )
                taken.append(np.array(box) + [*place, *place])
                lettering.write(canvas, name, place, height, tuple(_colour(number)))


def _colour(number: int) -> list[int]:
    return palette.DISTINCT[1 + number % 255].tolist()
