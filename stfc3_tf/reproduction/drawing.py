"""Figures of a reproduction, from the logs and the encoders of its training runs.

curves.csv                 loss, return probability, held-out score, collapse ratio of every run
curves.png                 the same of each row's first seed
loss_and_quality.png       training loss against propagation quality (figure 1 of the paper)
affinity_<view size>.png   affinities of related and of unrelated frames for the walk (figure 3);
                           the name also has the temperature if a view size has several
features.png               three principal components of exported features (figure 7)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import csv
import functools
import io
import pathlib

import gin
import numpy as np

from stfc3_tf import clips, figures
from stfc3_tf.figures import events
from stfc3_tf.model.learner import WalkLearner
from stfc3_tf.propagation.extractor import FunctionExtractor
from stfc3_tf.reproduction import parts as parts_lib
from stfc3_tf.reproduction.parts import Part
from stfc3_tf.reproduction.running import FINISHED, Outcome
from stfc3_tf.serving import saved_model
from stfc3_tf.storage import writing
from stfc3_tf.training import probe_clips, reload
from stfc3_tf.training.run_folder import RunFolder

LOSS, QUALITY = 'train/loss', 'probe/held_out_score'
# Pixels; large enough for encoders without padding.
_FEATURE_SIDE = 256
_WATCHED = (LOSS, 'train/return_probability', QUALITY, 'probe/collapse_ratio')


def draw(
    parts: Sequence[Part],
    outcomes: Mapping[str, Outcome],
    data: str | None,
    output_dir: pathlib.Path,
) -> None:
    """Draw the figures of the finished training runs, if there are any.

    Args:
      parts: of the reproduction.
      outcomes: of the parts, by name.
      data: videos to take frames from, see `clips.open_source`.
      output_dir: folder to write to.
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
    shown = probe_clips.unrelated_clips(clips.open_source(data), 2)
    _draw_affinities(folders, shown, output_dir)
    models = {
        row: saved_model.load(RunFolder(folder).saved_model) for row, folder in folders.items()
    }
    frames = probe_clips.centre_view(shown[0], _FEATURE_SIDE)
    figures.features(models, frames, str(output_dir / 'features.png'))


def first_seeds(runs: Sequence[Part]) -> dict[str, str]:
    """Return row -> folder of its first run, in the order of the runs."""
    folders: dict[str, str] = {}
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
    """Return (step, loss, quality) at the steps where both were logged."""
    scalars = events.read_scalars(folder)
    loss, quality = (dict(zip(*scalars.get(tag, ((), ())))) for tag in (LOSS, QUALITY))
    return [(step, loss[step], value) for step, value in quality.items() if step in loss]


def _walked(learner: WalkLearner) -> FunctionExtractor:
    """Return the features that the walk of training uses; shortcuts show there."""
    features = functools.partial(learner.objective.features, training=False)
    return FunctionExtractor(features, learner.objective.cell_grid)


def _draw_affinities(
    folders: Mapping[str, str], shown: Sequence[np.ndarray], output_dir: pathlib.Path
) -> None:
    """Draw a figure per view size and temperature; a shortcut is learnt for one view size."""
    groups: dict[tuple[int, float], dict[str, FunctionExtractor]] = {}
    for row, folder in folders.items():
        learner, _ = reload.learner_of_run(RunFolder(folder))
        size = gin.get_bindings('train')['view_sampler'].view_size
        groups.setdefault((size, learner.temperature), {})[row] = _walked(learner)
        gin.clear_config()
    names = affinity_names(list(groups))
    for (size, temperature), models in groups.items():
        one, other = (probe_clips.centre_view(clip, size) for clip in shown[:2])
        figures.affinities(
            models,
            (one[0], one[-1]),
            (one[0], other[0]),
            str(output_dir / names[size, temperature]),
            temperature,
        )


def affinity_names(groups: Sequence[tuple[int, float]]) -> dict[tuple[int, float], str]:
    """Return (view size, temperature) -> file name; see the top of this file."""
    sizes = [size for size, _ in groups]
    return {
        (size, temperature): f'affinity_{size}.png'
        if sizes.count(size) == 1
        else f'affinity_{size}_temperature_{temperature:g}.png'
        for size, temperature in groups
    }
