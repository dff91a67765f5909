"""Figures of a reproduction, from what its training runs logged and learnt.

curves.csv                 the figures that are watched, of every run at every step
curves.png                 the same of each row's first seed
loss_and_quality.png       training loss against propagation quality (figure 1 of the paper)
affinity_<view size>.png   (and temperature, where a size has several) what the walk sees of related and unrelated frames (figure 3)
features.png               three principal components of exported features (figure 7)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import csv
import io
import pathlib

import gin
import numpy as np
import tensorflow as tf

from stfc3_tf import clips, encoder as encoders, figures, monitor, scorecard, serving, training
from stfc3_tf import writing
from stfc3_tf.figures import events
from stfc3_tf.reproduction import parts as parts_lib
from stfc3_tf.reproduction.parts import Part
from stfc3_tf.reproduction.running import FINISHED, Outcome

LOSS, QUALITY = 'train/loss', 'probe/held_out_score'
# Pixels; enough for encoders without padding.
_FEATURE_SIDE = 256
_WATCHED = (LOSS, 'train/return_probability', QUALITY, 'probe/collapse_ratio')


def draw(
    parts: Sequence[Part],
    outcomes: Mapping[str, Outcome],
    data: str | None,
    output_dir: pathlib.Path,
) -> None:
    """Draws the finished training runs; without any, nothing.

    Args:
      parts: of the reproduction.
      outcomes: by the parts' names.
      data: videos to take frames from, see `clips.open_source`.
      output_dir: where to.
    """
    runs = [
        part
        for part in parts
        if part.kind == parts_lib.TRAIN and outcomes[part.name].state == FINISHED
    ]
    if not runs:
        return
    writing.write_text(str(output_dir / 'curves.csv'), _curves_as_csv(runs))
    folders = first_seeds(runs)
    figures.training_curves(folders, None, str(output_dir / 'curves.png'))
    points = {row: _loss_and_quality(folder) for row, folder in folders.items()}
    points = {row: path for row, path in points.items() if path}
    if points:
        figures.loss_against_quality(points, str(output_dir / 'loss_and_quality.png'))
    shown = monitor.unrelated_clips(clips.open_source(data), 2)
    _draw_affinities(folders, shown, output_dir)
    models = {row: serving.load(f'{folder}/saved_model') for row, folder in folders.items()}
    frames = monitor.centre_view(shown[0], _FEATURE_SIDE)
    figures.features(models, frames, str(output_dir / 'features.png'))


def first_seeds(runs: Sequence[Part]) -> dict[str, str]:
    """Row -> folder of its first run, in the order of the runs."""
    folders = {}
    for run in runs:
        folders.setdefault(run.row, str(run.folder))
    return folders


def _curves_as_csv(runs: Sequence[Part]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(['row', 'seed', 'figure', 'step', 'value'])
    for run in runs:
        scalars = events.read_scalars(str(run.folder))
        for tag in _WATCHED:
            for step, value in zip(*scalars.get(tag, ((), ()))):
                writer.writerow([run.row, run.seed, tag, step, value])
    return file.getvalue()


def _loss_and_quality(folder: str) -> list[tuple[int, float, float]]:
    """(step, loss, quality) where both were logged."""
    scalars = events.read_scalars(folder)
    loss, quality = (dict(zip(*scalars.get(tag, ((), ())))) for tag in (LOSS, QUALITY))
    return [(step, loss[step], value) for step, value in quality.items() if step in loss]


class _Walked:
    """The features that a run's walk is on, which is where it takes its shortcut."""

    def __init__(self, encoder: encoders.Encoder):
        self.cell_grid = encoder.cell_grid['head']
        self._encoder = encoder

    def features(self, frames: np.ndarray) -> tf.Tensor:
        return scorecard.walked_features(self._encoder, frames)


def _draw_affinities(
    folders: Mapping[str, str], shown: Sequence[np.ndarray], output_dir: pathlib.Path
) -> None:
    """A figure for each size of views, because a shortcut is learnt for one size, and each temperature."""
    groups = {}
    for row, folder in folders.items():
        learner, _ = training.learner_of_run(folder)
        size = gin.get_bindings('train')['view_sampler'].view_size
        groups.setdefault((size, learner.temperature), {})[row] = _Walked(learner.encoder)
        gin.clear_config()
    names = affinity_names(list(groups))
    for (size, temperature), models in groups.items():
        one, other = (monitor.centre_view(clip, size) for clip in shown[:2])
        figures.affinities(
            models,
            (one[0], one[-1]),
            (one[0], other[0]),
            str(output_dir / names[size, temperature]),
            temperature,
        )


def affinity_names(groups: Sequence[tuple[int, float]]) -> dict[tuple[int, float], str]:
    """File names of view sizes and temperatures; the temperature is named where a size has several."""
    sizes = [size for size, _ in groups]
    return {
        (size, temperature): f'affinity_{size}.png'
        if sizes.count(size) == 1
        else f'affinity_{size}_temperature_{temperature:g}.png'
        for size, temperature in groups
    }
