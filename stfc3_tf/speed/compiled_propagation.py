"""The speed of the propagation that XLA compiles, compared with the other one."""

from __future__ import annotations

import numpy as np

from stfc3_tf.propagation.choice import AnyPropagator
from stfc3_tf.speed import timing
from stfc3_tf.speed.propagation import first_label, smooth_maps
from stfc3_tf.speed.timing import Figures


def measure(
    rows: int = 60, columns: int = 107, channels: int = 128, labels: int = 2, frames: int = 24
) -> Figures:
    """Compare the propagator that XLA compiles with the other one, on this machine's device.

    Args:
      rows: of the feature map.
      columns: of the feature map.
      channels: of the features.
      labels: that are propagated.
      frames: of the video; the last four are timed.

    Returns:
      Wall and processor seconds per frame of both; the same for all frames in one graph; and how
      far the labels of the last frame are apart.
    """
    from stfc3_tf.propagation import compiled_propagator
    from stfc3_tf.propagation import propagator as engine
    from stfc3_tf.propagation import settings as settings_lib

    settings = settings_lib.crw_settings()
    maps, first = smooth_maps(rows, columns, channels, frames), first_label(rows, columns, labels)
    compiled, last = _last_frames(compiled_propagator.CompiledPropagator(settings), maps, first)
    other, expected = _last_frames(engine.Propagator(settings), maps, first)
    clip = maps[np.newaxis], first[np.newaxis], settings
    whole = timing.seconds_per_call(
        lambda: compiled_propagator.propagate_clips(*clip).numpy(), repeats=1
    )
    seconds = {'compiled': compiled, 'other': other, 'clip': [s / (frames - 1) for s in whole]}
    return {
        **{f'{name}_seconds_per_frame': wall for name, (wall, _) in seconds.items()},
        **{f'{name}_cpu_s_per_frame': cpu for name, (_, cpu) in seconds.items()},
        'largest_difference': float(np.abs(last - expected).max()),
    }


def _last_frames(
    propagator: AnyPropagator, maps: np.ndarray, first: np.ndarray
) -> tuple[tuple[float, float], np.ndarray]:
    """Return wall and processor seconds per frame of the last frames, and the last labels."""
    propagator.start(maps[0], first)
    for query in maps[1:-4]:
        propagator.step(query)
    queries, last = iter(maps[-4:]), []
    step = lambda: last.append(np.asarray(propagator.step(next(queries))))
    return timing.seconds_per_call(step, 3), last[-1]
