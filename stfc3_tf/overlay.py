"""Points with short trails and their names, drawn on the frames of a video in order."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import cv2
import numpy as np

from stfc3_tf import palette, pictures

# Frames before the current one whose points are joined.
_TRAIL = 12
# Share of the short side that no point moves from one frame to the next.
_LEAP = 0.1
# Below this confidence a point is a ring instead of a disc; the benchmark TAP-Vid then takes it for
# occluded.
_VISIBLE_ABOVE = 0.2
# More names would hide the picture.
_MOST_NAMES = 10
_SUBPIXEL_BITS = 4
_DARK, _LIGHT = (0, 0, 0), (255, 255, 255)


class PointTrails:
    """Draws one frame after the other; point i has colour i + 1 of DAVIS."""

    def __init__(self, names: Sequence[str]):
        self._names = names
        self._past: collections.deque[np.ndarray] = collections.deque(maxlen=_TRAIL)

    def draw(self, image: np.ndarray, points: np.ndarray, confidence: np.ndarray) -> np.ndarray:
        """Draws the points of the next frame.

        Args:
          image: uint8 [height, width, 3].
          points: float [points, 2], (x, y) in pixels; NaN for a lost point, which is left out.
          confidence: float [points]; a point below 0.2 is a ring.

        Returns:
          uint8 [height, width, 3].
        """
        radius = max(2.0, min(image.shape[:2]) / 120)
        canvas = np.ascontiguousarray(image).copy()
        self._past.append(np.asarray(points))
        self._draw_trails(canvas, max(1, round(radius / 2)))
        canvas = pictures.overlay_points(canvas, points, confidence >= _VISIBLE_ABOVE, radius)
        if len(self._names) <= _MOST_NAMES:
            self._draw_names(canvas, points, radius)
        return canvas

    def _draw_trails(self, canvas: np.ndarray, thickness: int) -> None:
        past = np.stack(self._past)
        steps = np.linalg.norm(np.diff(past, axis=0), axis=-1)
        # Where a point is lost, or leaps to another place, its trail begins anew.
        broken = ~(steps <= _LEAP * min(canvas.shape[:2]))
        for point in range(past.shape[1]):
            trail = past[np.flatnonzero(broken[:, point]).max(initial=-1) + 1 :, point]
            if len(trail) > 1:
                trail = np.rint(trail * (1 << _SUBPIXEL_BITS)).astype(np.int32)
                curve = [trail], False, _colour(point), thickness, cv2.LINE_AA, _SUBPIXEL_BITS
                cv2.polylines(canvas, *curve)

    def _draw_names(self, canvas: np.ndarray, points: np.ndarray, radius: float) -> None:
        scale = max(0.35, radius / 9)
        for name, point in zip(self._names, points):
            if np.isfinite(point).all():
                x, y = np.rint(point + [radius + 2, -radius]).astype(int).tolist()
                for colour, thickness in ((_DARK, 2), (_LIGHT, 1)):
                    text = name, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness
                    cv2.putText(canvas, *text, cv2.LINE_AA)


def _colour(number: int) -> list[int]:
    return palette.DAVIS[1 + number % 255].tolist()
