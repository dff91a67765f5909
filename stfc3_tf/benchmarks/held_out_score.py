"""A quick score of features while an encoder trains, from a few built-in scenes.

Scenes are 128x160 pixels at 8 frames per second. Labels are propagated as in CRW's protocol, with 4
context frames and a radius of 6 cells. All values are fixed here, so that no configuration changes
the score.
"""

from __future__ import annotations

from collections.abc import Callable
import concurrent.futures
import functools
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from stfc3_tf.benchmarks.contract import Tracker
from stfc3_tf.benchmarks.synthetic_scenes import SyntheticBenchmark, mean_figures
from stfc3_tf.model import resnet
from stfc3_tf.propagation import codecs, tracks
from stfc3_tf.propagation import tracker as tracking
from stfc3_tf.propagation.extractor import FunctionExtractor
from stfc3_tf.propagation.input_size import native_size
from stfc3_tf.propagation.settings import crw_settings
from stfc3_tf.views.cell_grid import CellGrid

Result = TypeVar('Result')

# Height and width of the scenes.
SIZE = 128, 160


class HeldOutScore:
    """Scores a learner while it trains: 'J-Mean' of its stage-3 features, see `held_out_score`."""

    def __init__(self) -> None:
        self._encode: Callable[[Any], tf.Tensor] | None = None

    def __call__(self, learner: Any) -> float:
        """Return the score of a `learner.Learner`; the first call builds its graph."""
        if self._encode is None:
            self._encode = resnet.exported_features(learner.encoder)
        grid = learner.encoder.cell_grid['stage3']
        found = outside_strategy(functools.partial(held_out_score, self._encode, grid))
        return found['J-Mean']


def outside_strategy(function: Callable[[], Result]) -> Result:
    """Return what a function of no arguments returns; call it outside of a strategy's scope.

    Keras calls back inside the scope, where the propagator's variables would be mirrored over the
    devices. Another thread is outside of it.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(function).result()


def fits(cell_grid: CellGrid) -> bool:
    """Return whether cells of such a grid lie inside the scenes."""
    return 2 * cell_grid.first < min(SIZE)


def held_out_score(
    features: Callable[[np.ndarray], Any], cell_grid: CellGrid, scenes: int = 4, frames: int = 8
) -> dict[str, float]:
    """Score how well features carry labels through a few scenes that training never shows.

    Args:
      features: maps uint8 RGB [batch, height, width, 3] to float32 [batch, rows, columns,
        channels].
      cell_grid: positions of the cells, `CellGrid(first, stride)`.
      scenes: number of scenes.
      frames: frames per scene.

    Returns:
      'J-Mean' and 'Position-Accuracy' (TAP-Vid's, over the points of the objects) in [0, 1], and
      'Copy-J-Mean' and 'Copy-Position-Accuracy' of copying the first frame's labels.
    """
    tracker = held_out_tracker(features, cell_grid)
    found, copied = (_scores(each, scenes, frames) for each in (tracker, tracking.CopyFirst()))
    names = 'J-Mean', 'Position-Accuracy'
    return {name: found[name] for name in names} | {f'Copy-{name}': copied[name] for name in names}


def _scores(tracker: Tracker, scenes: int, frames: int) -> dict[str, float]:
    sequences = held_out_benchmark(scenes, frames).sequences()
    return mean_figures(sequence.score(sequence.track(tracker)) for sequence in sequences)


def held_out_tracker(
    features: Callable[[np.ndarray], Any], cell_grid: CellGrid
) -> tracking.PropagationTracker:
    """Return the tracker of `held_out_score`; see there for the arguments."""
    encoder = FunctionExtractor(features, cell_grid)
    return tracking.PropagationTracker(encoder, crw_settings(4, 6.0), native_size())


def held_out_benchmark(scenes: int, frames: int) -> SyntheticBenchmark:
    """Return the benchmark of `held_out_score`, with this many scenes and frames per scene."""
    exact = codecs.PointCodec(convention='exact', sigma=0.75, top=3, reach=2)
    return SyntheticBenchmark(
        scenes,
        frames,
        frame_rate=8.0,
        height=SIZE[0],
        width=SIZE[1],
        mask_codec=codecs.MaskCodec(shrink='bilinear', normalise='none', decide_at='label'),
        track_codec=tracks.TrackCodec(points=exact, visible_above=0.2),
    )
