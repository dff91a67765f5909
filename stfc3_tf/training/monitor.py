"""The callbacks that show a run: TensorBoard, pictures, the collapse probe, a progress line.

TensorBoard gets, under the step of the run (a resumed run continues the count):

    train/loss, train/...     the learner's meters, means over the steps since the last entry
    train/learning_rate
    reading/clips_per_second  during steps: pictures, probes and checkpoints do not count
    reading/wait_share        share of that time in which a step waited for its clips
    reading/skipped_videos    videos that could not be read so far
    probe/collapse_ratio      see `diagnostics.collapse_ratio`
    probe/held_out_score      if a held-out score is configured
    visuals/...               views, features and affinity of fixed clips, a carried mask
    configuration             the settings in force
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import gin
import numpy as np
import tensorflow as tf

from stfc3_tf import checks, clips, progress
from stfc3_tf.benchmarks import held_out_score
from stfc3_tf.model import resnet
from stfc3_tf.model.learner import WalkLearner
from stfc3_tf.training import encoder_callbacks, probe_clips
from stfc3_tf.training.checkpoints import Checkpoints
from stfc3_tf.training.event_writer import EventWriter, NoWriter
from stfc3_tf.training.run_folder import RunFolder
from stfc3_tf.training.scalars import Scalars
from stfc3_tf.training.skipped_steps import SkippedSteps
from stfc3_tf.views.sampler import Sampler

Callbacks = list[tf.keras.callbacks.Callback]

# A clip of each is in memory.
_MOST_PROBE_VIDEOS = 1000


class Watched(NamedTuple):
    """A run that is watched.

    Attributes:
      model: compiled.
      source: videos for the probe and the pictures; the same ones in every run on this source.
      view_sampler: makes the views that are shown.
      folder: of the run.
      steps: updates of the whole run.
      skipped: the videos that could not be read.
      keeper: saves the weights with the best held-out score.
    """

    model: WalkLearner
    source: clips.Source
    view_sampler: Sampler
    folder: RunFolder
    steps: int
    skipped: clips.SkippedVideos
    keeper: Checkpoints


@gin.configurable
def watch(
    run: Watched,
    *,
    log_interval: int = 50,
    probe_interval: int = 500,
    picture_interval: int = 1000,
    probe_videos: int = 8,
    held_out_score: Callable[[WalkLearner], float] | None = None,
) -> Callbacks:
    """Make the callbacks that watch a run; TensorBoard reads the folder `tensorboard` of the run.

    Args:
      run: what is watched.
      log_interval: steps between entries of scalars, 0 for none.
      probe_interval: steps between probes, 0 for none.
      picture_interval: steps between pictures, 0 for none.
      probe_videos: number of videos from which the probe takes frames, at least 2.
      held_out_score: scores a learner, higher is better; called with each probe.

    Returns:
      The callbacks, in the order in which `Model.fit` is to call them.

    Raises:
      errors.UserError: a number is out of its range.
    """
    for name, steps in (
        ('log_interval', log_interval),
        ('probe_interval', probe_interval),
        ('picture_interval', picture_interval),
    ):
        checks.whole_number(f'watch.{name}', steps, least=0)
    checks.whole_number('watch.probe_videos', probe_videos, least=2, most=_MOST_PROBE_VIDEOS)
    writer = EventWriter(run.folder)
    with writer.at(run.model.step):
        tf.summary.text('configuration', gin.markdown(gin.operative_config_str()))
    callbacks: Callbacks = [SkippedSteps()]
    if log_interval:
        callbacks.insert(0, Scalars(writer, log_interval, lambda: run.skipped.count))
    if held_out_score and probe_interval:
        score = _keeping_the_best(run.model, run.keeper, held_out_score)
        callbacks.append(encoder_callbacks.HeldOut(writer, probe_interval, score))
    if probe_interval or picture_interval:
        found = probe_clips.unrelated_clips(run.source, probe_videos)
        callbacks += _encoder_callbacks(writer, run, found, probe_interval, picture_interval)
    return [*callbacks, progress.TrainingProgress(run.steps)]


def metering_interval(callbacks: Sequence[tf.keras.callbacks.Callback]) -> int:
    """Return the number of steps after which callbacks reset the meters of a run, 0 for never."""
    return next((callback.interval for callback in callbacks if isinstance(callback, Scalars)), 0)


def follow(interval: int) -> Callbacks:
    """Make the callbacks of a worker that is not the chief and shows nothing.

    Args:
      interval: `metering_interval` of the chief's callbacks; all workers reset their meters
        together.
    """
    meters = [Scalars(NoWriter(), interval, lambda: 0)] if interval else []
    return [*meters, SkippedSteps()]


def _encoder_callbacks(
    writer: EventWriter,
    run: Watched,
    found: Sequence[np.ndarray],
    probe_interval: int,
    picture_interval: int,
) -> Callbacks:
    """Make the probe and the pictures of clips uint8 [time, height, width, 3], if wanted."""
    size, temperature = run.view_sampler.view_size, run.model.temperature
    frames = np.stack([probe_clips.centre_view(clip, size) for clip in found])
    encode = tf.function(lambda images: run.model(images, training=False))
    made: Callbacks = []
    if probe_interval:
        made.append(
            encoder_callbacks.Probe(writer, probe_interval, encode, frames[:, 0], temperature)
        )
    if picture_interval:
        sample = run.view_sampler(tf.constant(found[0]), tf.constant([0, 0]))
        sample = {name: value.numpy() for name, value in sample.items()}
        shown = (sample, frames[0], frames[1, 0])
        made.append(
            encoder_callbacks.Pictures(writer, picture_interval, encode, *shown, temperature)
        )
        made += _carried_mask(writer, run, picture_interval)
    return made


def _carried_mask(writer: EventWriter, run: Watched, interval: int) -> Callbacks:
    """Make the picture of a carried mask, unless the scene is too small for the encoder."""
    encoder = run.model.encoder
    grid = encoder.cell_grid['stage3']
    if not held_out_score.fits(grid):
        return []
    encode = resnet.exported_features(encoder)
    return [encoder_callbacks.CarriedMask(writer, interval, encode, grid)]


def _keeping_the_best(
    model: WalkLearner, keeper: Checkpoints, held_out_score: Callable[[WalkLearner], float]
) -> Callable[[], float]:
    """Return a function that scores the current weights, and saves them if they are the best."""

    def score() -> float:
        value = float(held_out_score(model))
        keeper.save_if_best(value)
        return value

    return score
