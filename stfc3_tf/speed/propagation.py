"""The speed of propagation from feature maps to labels, alone and against brute force."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import functools
import time

import numpy as np

from stfc3_tf.propagation.settings import PropagationSettings, crw_settings
from stfc3_tf.speed import timing
from stfc3_tf.speed.overlap import smallest_overlap
from stfc3_tf.speed.timing import Figures


def propagation(
    rows: int = 60, columns: int = 107, channels: int = 256, labels: int = 2, frames: int = 40
) -> Figures:
    """Measure propagation of labels once the context is full; the defaults are DAVIS at 480p.

    Args:
      rows: of the feature map.
      columns: of the feature map.
      channels: of the features.
      labels: that are propagated.
      frames: of the video.

    Returns:
      Seconds per frame, and the mean of each label in the last frame.
    """
    from stfc3_tf.propagation import propagator as engine

    maps, first = smooth_maps(rows, columns, channels, frames), first_label(rows, columns, labels)
    propagator = engine.Propagator(crw_settings())
    propagator.start(maps[0], first)
    seconds = []
    for query in maps[1:]:
        start = time.perf_counter()
        out = np.asarray(propagator.step(query))
        seconds.append(time.perf_counter() - start)
    return {
        'seconds_per_frame': float(np.mean(seconds[-10:])),
        'mean_label': out.mean((0, 1)).tolist(),
    }


def propagation_against_brute_force(
    rows: int = 60, columns: int = 107, channels: int = 256, frames: int = 24
) -> Figures:
    """Compare the propagator with the brute-force definition on the same frame.

    Args:
      rows: of the feature map.
      columns: of the feature map.
      channels: of the features.
      frames: of the video that the features come from.

    Returns:
      Seconds per frame of both, and how well their labels agree.
    """
    from stfc3_tf.propagation import brute_force

    settings = crw_settings()
    given = full_context(rows, columns, channels, frames=frames)
    fast = _graph(given, settings)
    slow = functools.partial(brute_force.brute_force, *given, settings)
    ours, _ = timing.seconds_per_call(fast, 5)
    brute, _ = timing.seconds_per_call(slow, 1)
    a, b = fast(), slow()
    return {
        'seconds_per_frame': ours,
        'brute_force_seconds_per_frame': brute,
        'times_faster': brute / ours,
        'largest_difference': float(np.abs(a - b).max()),
        'iou': smallest_overlap(a.argmax(-1), b.argmax(-1)),
    }


def prepare(
    rows: int,
    columns: int,
    channels: int,
    labels: int = 2,
    context: int = 20,
    radius: float = 12.0,
) -> Callable[[], np.ndarray]:
    """Return the propagation of labels to a frame whose context is full.

    Args:
      rows: of the feature map.
      columns: of the feature map.
      channels: of the features.
      labels: that are propagated.
      context: frames before the frame; the first is compared besides.
      radius: of the window, in cells.

    Returns:
      A function that returns float32 [rows, columns, labels].
    """
    given = full_context(rows, columns, channels, labels, context)
    return _graph(given, crw_settings(context, radius))


def _graph(given: Sequence[np.ndarray], settings: PropagationSettings) -> Callable[[], np.ndarray]:
    """Return the propagation from what `full_context` returned."""
    import tensorflow as tf

    from stfc3_tf.propagation import propagator as engine

    tensors = [tf.constant(array) for array in given]
    propagate = tf.function(functools.partial(engine.propagate, settings=settings))
    return lambda: propagate(*tensors).numpy()


def full_context(
    rows: int,
    columns: int,
    channels: int,
    labels: int = 2,
    context: int = 20,
    frames: int = 24,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return a frame, its context, and the context's labels.

    Args:
      rows: of the feature map.
      columns: of the feature map.
      channels: of the features.
      labels: that are propagated.
      context: frames before the frame.
      frames: of the video, which ends with the frame; more if the context needs them.

    Returns:
      Features float32 [rows, columns, channels], those of the first and the preceding frames
      [1 + context, rows, columns, channels], their labels [1 + context, rows, columns, labels], and
      bool [1 + context], to which frames the window does not apply.
    """
    maps = smooth_maps(rows, columns, channels, max(frames, context + 2))
    rng = np.random.default_rng(1)
    known = rng.dirichlet([0.2] * labels, (1 + context, rows, columns)).astype('f4')
    before = np.stack([maps[0], *maps[-1 - context : -1]])
    return maps[-1], before, known, np.arange(1 + context) == 0


def smooth_maps(rows: int, columns: int, channels: int, frames: int) -> np.ndarray:
    """Return random feature maps that are smooth in space and time.

    Args:
      rows: of a map.
      columns: of a map.
      channels: of a map.
      frames: number of maps.

    Returns:
      float32 [frames, rows, columns, channels], L2-normalised over channels.
    """
    import cv2

    rng = np.random.default_rng(0)
    coarse = rng.standard_normal((channels, rows // 4 + 8, columns // 4 + 8)).astype('f4')
    enlarged = [cv2.resize(c, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC) for c in coarse]
    picture = np.stack(enlarged, -1)
    shifts = np.arange(frames) % 16
    maps = np.stack([picture[s : s + rows, s : s + columns] for s in shifts])
    maps += 0.2 * rng.standard_normal(maps.shape).astype('f4')
    return maps / np.linalg.norm(maps, axis=-1, keepdims=True)


def first_label(rows: int, columns: int, labels: int) -> np.ndarray:
    """Return one-hot labels in vertical stripes.

    Args:
      rows: of the map.
      columns: of the map.
      labels: how many stripes.

    Returns:
      float32 [rows, columns, labels].
    """
    stripes = np.arange(columns) * labels // columns
    return np.eye(labels, dtype='f4')[np.broadcast_to(stripes, (rows, columns))]
