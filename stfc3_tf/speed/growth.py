"""Growth of the time of propagation with frames, context, window, objects and clip length.

All but one are those of CRW's protocol for DAVIS at 480p, with the channels of `stfc3-small`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stfc3_tf.speed import propagation, timing
from stfc3_tf.speed.timing import Figures

_STRIDE = 8
# Frames of 480 x 854 pixels, and the channels of `stfc3-small`.
_GRID = {'rows': 60, 'columns': 107, 'channels': 128}


def by_height(heights: Sequence[int] = (240, 360, 480, 720), calls: int = 3) -> Figures:
    """Measure propagation on frames of 16:9.

    Args:
      heights: of the frames, pixels.
      calls: see `_curve`, also for what is returned.
    """
    grids = [(-(-height // _STRIDE), -(-height * 16 // 9 // _STRIDE)) for height in heights]
    settings = [{'rows': rows, 'columns': columns} for rows, columns in grids]
    return _curve('height of the frame', heights, settings, calls)


def by_context(frames: Sequence[int] = (5, 10, 20, 40), calls: int = 3) -> Figures:
    """Measure propagation from so many frames, see `by_height`."""
    return _curve('frames of context', frames, [{'context': count} for count in frames], calls)


def by_radius(radii: Sequence[float] = (6, 12, 18, 24), calls: int = 3) -> Figures:
    """Measure propagation with windows of so many cells, see `by_height`."""
    return _curve('radius of the window', radii, [{'radius': radius} for radius in radii], calls)


def by_objects(objects: Sequence[int] = (1, 5, 10, 20), calls: int = 3) -> Figures:
    """Measure propagation of so many objects beside the background, see `by_height`."""
    settings = [{'labels': 1 + count} for count in objects]
    return _curve('objects', objects, settings, calls)


def by_length(lengths: Sequence[int] = (5, 10, 20, 40, 60)) -> Figures:
    """Measure propagation through clips of so many frames, each frame once; see `by_height`."""
    from stfc3_tf.propagation.propagator import Propagator
    from stfc3_tf.propagation.settings import crw_settings

    maps = propagation.smooth_maps(**_GRID, frames=max(lengths))
    label = propagation.first_label(_GRID['rows'], _GRID['columns'], 2)
    propagator, spent = Propagator(crw_settings()), []
    propagator.start(maps[0], label)
    propagator.step(maps[1])  # Compiles.
    propagator.start(maps[0], label)
    for frame in maps[1:]:
        spent.append(timing.seconds_of(lambda: np.asarray(propagator.step(frame)), 1))  # noqa: B023
    sums = np.cumsum(spent, axis=0)
    return _figures('frames of the clip', lengths, [sums[n - 2] / (n - 1) for n in lengths])


def _curve(
    axis: str, values: Sequence[float], settings: Sequence[Mapping[str, Any]], calls: int
) -> Figures:
    """Measure propagation once per value.

    Args:
      axis: what the values are.
      values: of the axis.
      settings: per value, what differs from CRW's protocol in `propagation.prepare`.
      calls: how often each is measured; the least seconds are kept.

    Returns:
      'axis', 'values', and per value 'seconds' and 'processor_seconds' per frame.
    """
    least = []
    for changed in settings:
        call = propagation.prepare(**{**_GRID, **changed})
        call()
        least.append(np.min([timing.seconds_of(call, 1) for _ in range(calls)], axis=0))
    return _figures(axis, values, least)


def _figures(axis: str, values: Sequence[float], seconds: Sequence[np.ndarray]) -> Figures:
    wall, processor = np.array(seconds).T.tolist()
    return {
        'axis': axis,
        'values': list(values),
        'seconds': wall,
        'processor_seconds': processor,
    }
