"""Scores of a run's encoder on built-in scenes that it was not trained on, and pictures of it.

No data and no labels are needed: the truth of the scenes is exact. The encoder is compared with
copying the first label and with itself before training, and is checked for the shortcut.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.benchmarks import held_out_score, synthetic_scenes
from stfc3_tf.clips import synthetic
from stfc3_tf.figures import pictures
from stfc3_tf.model import diagnostics, resnet
from stfc3_tf.training import run_pictures

_UNRELATED = 8


class Score(NamedTuple):
    """A row of the table.

    Attributes:
      name: what was scored.
      region: mean J of the objects' masks, in [0, 1].
      position: TAP-Vid's position accuracy of the points, in [0, 1].
      collapse: `diagnostics.collapse_ratio` of the features of the walk, 1 is chance; None if there
        are no features.
    """

    name: str
    region: float
    position: float
    collapse: float | None


def score(name: str, encoder: resnet.Encoder, temperature: float) -> tuple[Score, Score]:
    """Score an encoder's stage-3 features, and copying the first label, on held-out scenes.

    Args:
      name: for the row.
      encoder: with trained weights or without.
      temperature: of the collapse probe.

    Returns:
      The encoder's row and that of copying.

    Raises:
      errors.UserError: the scenes are too small for the encoder.
    """
    _check_fits(encoder)
    features = resnet.exported_features(encoder)
    found = held_out_score.held_out_score(features, encoder.cell_grid['stage3'])
    collapse = float(diagnostics.collapse_ratio(*unrelated_nodes(encoder), temperature))
    copied = Score(
        'copying the first label', found['Copy-J-Mean'], found['Copy-Position-Accuracy'], None
    )
    return Score(name, found['J-Mean'], found['Position-Accuracy'], collapse), copied


def _check_fits(encoder: resnet.Encoder) -> None:
    if not held_out_score.fits(grid := encoder.cell_grid['stage3']):
        height, width = held_out_score.SIZE
        raise errors.UserError(
            f'The built-in scenes, {height} x {width} pixels, are too small for an encoder '
            "without padding (resnet18.padding = 'none'): its first cell is centred "
            f'{grid.first:g} pixels from the border. Score it on a benchmark with larger frames: '
            'python -m tools.evaluate.'
        )


def held_out_frames(time: float) -> np.ndarray:
    """Return frames of unrelated scenes at `time` seconds, uint8 [scenes, height, width, 3]."""
    seeds = range(synthetic_scenes.HELD_OUT_SEED, synthetic_scenes.HELD_OUT_SEED + _UNRELATED)
    return np.stack([synthetic.scene(seed, *held_out_score.SIZE).frame(time) for seed in seeds])


def unrelated_nodes(encoder: resnet.Encoder) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the nodes of scenes and those of other scenes, [scenes, nodes, channels] each."""
    maps = resnet.unit_features(encoder, held_out_frames(0.0), 'head')
    nodes = tf.reshape(maps, [len(maps), -1, maps.shape[-1]])
    return nodes, tf.roll(nodes, -1, axis=0)


def table(rows: list[Score]) -> str:
    """Return the rows as text, with headings and a legend."""
    lines = [f'{"on held-out built-in scenes":34}{"J (masks)":>10}{"points":>9}{"collapse":>10}']
    for row in rows:
        collapse = '' if row.collapse is None else f'{row.collapse:.1f} x'
        lines.append(f'{row.name:34}{row.region:10.3f}{row.position:9.3f}{collapse:>10}')
    lines.append(
        'J: overlap with the true masks. points: share within 1 to 16 pixels (of 256), averaged. '
        'collapse: what unrelated\nframes put on the diagonal, relative to chance: '
        '1 is good, more is the shortcut.'
    )
    return '\n'.join(lines)


def draw(encoder: resnet.Encoder, temperature: float) -> dict[str, np.ndarray]:
    """Draw an encoder at work on held-out scenes, uint8 [height, width, 3] each, by name."""
    scene = synthetic.scene(synthetic_scenes.HELD_OUT_SEED, *held_out_score.SIZE)
    times = np.arange(4) / 8
    frames = np.stack([scene.frame(time) for time in times])
    maps = resnet.exported_features(encoder)(frames).numpy()
    first, later = resnet.unit_features(encoder, frames[[0, -1]], 'head').numpy()
    unrelated = resnet.unit_features(encoder, held_out_frames(0.0)[1:2], 'head').numpy()[0]
    return {
        'features': run_pictures.feature_picture(frames, maps, pictures.pca_basis(maps)),
        'affinity': run_pictures.affinity_picture(first, later, unrelated, temperature),
        'masks': run_pictures.mask_picture(
            resnet.exported_features(encoder), encoder.cell_grid['stage3']
        ),
    }
