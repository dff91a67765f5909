"""Pictures of a training run: views of a clip, features as colours, affinities, carried masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from stfc3_tf.benchmarks import held_out_score, synthetic_scenes
from stfc3_tf.clips import synthetic
from stfc3_tf.figures import pictures
from stfc3_tf.model import walk
from stfc3_tf.views import geometry
from stfc3_tf.views.cell_grid import CellGrid

_CARRIED_FRAMES, _EVERY = 9, 2


def view_picture(sample: Mapping[str, np.ndarray]) -> np.ndarray:
    """Draw the views of the first frame of a training element, see `pictures.view_pair`.

    Args:
      sample: 'views' uint8 [tracks, time, size, size, 3], 'view_from_frame' float32
        [tracks, 3, 3]; or 'views' uint8 [1, time, patches, size, size, 3] alone, drawn as a grid.

    Returns:
      uint8 [height, width, 3].
    """
    if 'view_from_frame' not in sample:
        drawn = list(sample['views'][0][0])
        return pictures.montage(drawn, columns=round(len(drawn) ** 0.5))
    forward, backward = (_legible(sample['views'][track][0]) for track in (0, -1))
    view_from_frame = tf.constant(sample['view_from_frame'], tf.float32)
    backward_from_forward = geometry.backward_from_forward(view_from_frame[-1], view_from_frame[0])
    return pictures.view_pair(forward, backward, backward_from_forward.numpy())


def feature_picture(
    frames: np.ndarray, features: np.ndarray, basis: pictures.PcaBasis
) -> np.ndarray:
    """Draw frames above their features (figure 7 of the paper).

    Args:
      frames: uint8 [time, size, size, 3].
      features: float32 [time, rows, columns, channels].
      basis: of the colours, shared by the frames.

    Returns:
      uint8 [height, width, 3].
    """
    shown = [_legible(frame) for frame in frames]
    colours = pictures.pca_colours(features, basis)
    factor = max(1, len(shown[0]) // colours.shape[1])
    enlarged = (pictures.enlarge(colour, factor) for colour in colours)
    return pictures.montage([*shown, *enlarged], columns=len(shown))


def affinity_picture(
    first: np.ndarray, last: np.ndarray, unrelated: np.ndarray, temperature: float
) -> np.ndarray:
    """Draw transitions from a frame to a later one and to one of another video (figure 3).

    Args:
      first: float32 [rows, columns, channels], L2-normalised features of a frame.
      last: those of a later frame of the same clip.
      unrelated: those of a frame of another video.
      temperature: tau of the transitions.

    Returns:
      uint8 [height, width, 3], both on one scale. A diagonal in the right half shows collapse.
    """
    nodes = [frame.reshape(-1, frame.shape[-1]) for frame in (first, last, unrelated)]
    related, other = (walk.transition(nodes[0], to, temperature).numpy() for to in nodes[1:])
    limit = float(max(related.max(), other.max()))
    return pictures.montage(
        [
            pictures.affinity_picture(related, 'to a later frame', limit=limit),
            pictures.affinity_picture(other, 'to another video', limit=limit),
        ]
    )


def mask_picture(features: Callable[[np.ndarray], Any], cell_grid: CellGrid) -> np.ndarray:
    """Draw masks carried through a held-out built-in scene, above the true ones.

    Args:
      features: see `held_out_score.held_out_score`.
      cell_grid: of the features.

    Returns:
      uint8 [height, width, 3]: every second of 9 frames, from left to right.
    """
    benchmark = held_out_score.held_out_benchmark(1, _CARRIED_FRAMES)
    tracker = held_out_score.held_out_tracker(features, cell_grid)
    found = benchmark.sequences()[0].track(tracker)[::_EVERY]
    scene = synthetic.scene(synthetic_scenes.HELD_OUT_SEED, *held_out_score.SIZE)
    times = np.arange(0, _CARRIED_FRAMES, _EVERY) / benchmark.frame_rate
    masks = [label.mask for label in found] + [scene.masks(time) for time in times]
    drawn = [
        pictures.enlarge(pictures.overlay_mask(scene.frame(time), mask), 2)
        for time, mask in zip([*times, *times], masks)
    ]
    captions = [f'{"given" if not time else "found"}, {time:.2f} s' for time in times]
    return pictures.montage(drawn, captions + ['truth'] * len(times), columns=len(times))


def _legible(image: np.ndarray) -> np.ndarray:
    """Enlarge a small image to at least 128 pixels in height, which a caption needs."""
    return pictures.enlarge(image, -(-128 // len(image)))
