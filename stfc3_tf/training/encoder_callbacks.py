"""Callbacks that evaluate the encoder in training: collapse probe, held-out score, pictures."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
import functools

import numpy as np
import tensorflow as tf

from stfc3_tf.benchmarks import held_out_score
from stfc3_tf.figures import pictures
from stfc3_tf.model import diagnostics
from stfc3_tf.training import run_pictures
from stfc3_tf.training.event_writer import EventWriter
from stfc3_tf.views.cell_grid import CellGrid

# Maps uint8 [batch, height, width, 3] to float32 [batch, rows, columns, channels], unit length.
Encode = Callable[[tf.Tensor], tf.Tensor]


class PeriodicCallback(tf.keras.callbacks.Callback, abc.ABC):
    """Calls `act(step)` before the first step of a run and after every `interval` steps."""

    def __init__(self, interval: int):
        super().__init__()
        self._interval = interval

    @abc.abstractmethod
    def act(self, step: int) -> None:
        """Evaluate the encoder, and write the result under `step`."""

    def on_train_begin(self, logs=None):
        """Evaluate the untrained encoder, for comparison; not if the run is resumed."""
        if self.model.step == 0:
            self.act(0)

    def on_train_batch_end(self, batch, logs=None):
        """Evaluate the encoder if the step is a multiple of the interval."""
        step = self.model.step
        # This can take long; a run that is being stopped must write its checkpoint before.
        if step % self._interval == 0 and not self.model.stop_training:
            self.act(step)


class Probe(PeriodicCallback):
    """Writes the collapse ratio of fixed frames."""

    def __init__(
        self,
        writer: EventWriter,
        interval: int,
        encode: Encode,
        frames: np.ndarray,
        temperature: float,
    ):
        """Set what is probed.

        Args:
          writer: to TensorBoard.
          interval: steps between probes.
          encode: the encoder in inference mode.
          frames: uint8 [frames, size, size, 3] of two or more different videos; each is compared
            with the next, and the last with the first.
          temperature: tau of the learner.
        """
        super().__init__(interval)
        self._writer = writer
        self._encode = encode
        self._frames = frames
        self._temperature = temperature

    def act(self, step: int) -> None:
        """Write the ratio under `step`."""
        features = self._encode(self._frames)
        nodes = tf.reshape(features, [len(self._frames), -1, features.shape[-1]])
        ratio = diagnostics.collapse_ratio(nodes, tf.roll(nodes, -1, axis=0), self._temperature)
        with self._writer.at(step):
            self._writer.scalar('probe/collapse_ratio', ratio)


class HeldOut(PeriodicCallback):
    """Writes a score of the current encoder.

    Args:
      writer: to TensorBoard.
      interval: steps between scores.
      score: computes the score.
    """

    def __init__(self, writer: EventWriter, interval: int, score: Callable[[], float]):
        super().__init__(interval)
        self._writer = writer
        self._score = score

    def act(self, step: int) -> None:
        """Write the score under `step`."""
        score = self._score()
        with self._writer.at(step):
            self._writer.scalar('probe/held_out_score', score)


class Pictures(PeriodicCallback):
    """Draws the views of a fixed clip, its features as colours, and affinities."""

    def __init__(
        self,
        writer: EventWriter,
        interval: int,
        encode: Encode,
        sample: Mapping[str, np.ndarray],
        clip: np.ndarray,
        unrelated: np.ndarray,
        temperature: float,
    ):
        """Set what is drawn.

        Args:
          writer: to TensorBoard.
          interval: steps between pictures.
          encode: the encoder in inference mode.
          sample: a training element, see `run_pictures.view_picture`.
          clip: uint8 [time, size, size, 3], frames without augmentation.
          unrelated: uint8 [size, size, 3], a frame of another video.
          temperature: tau of the learner.
        """
        super().__init__(interval)
        self._writer = writer
        self._encode = encode
        self._views = run_pictures.view_picture(sample)
        self._clip = clip
        self._unrelated = unrelated
        self._temperature = temperature
        self._basis: pictures.PcaBasis | None = None

    def act(self, step: int) -> None:
        """Write the pictures under `step`; the views are the same every time."""
        features = self._encode(np.concatenate([self._clip, self._unrelated[np.newaxis]])).numpy()
        self._basis = pictures.pca_basis(features[:-1], like=self._basis)
        drawn = {
            'views': self._views,
            'features': run_pictures.feature_picture(self._clip, features[:-1], self._basis),
            'affinity': run_pictures.affinity_picture(
                features[0], features[-2], features[-1], self._temperature
            ),
        }
        with self._writer.at(step):
            for name, picture in drawn.items():
                self._writer.picture(f'visuals/{name}', picture)


class CarriedMask(PeriodicCallback):
    """Draws a mask carried through a built-in scene, see `run_pictures.mask_picture`.

    Args:
      writer: to TensorBoard.
      interval: steps between pictures.
      encode: the encoder in inference mode, with the features that are exported.
      cell_grid: of the features.
    """

    def __init__(self, writer: EventWriter, interval: int, encode: Encode, cell_grid: CellGrid):
        super().__init__(interval)
        self._writer = writer
        self._draw = functools.partial(run_pictures.mask_picture, encode, cell_grid)

    def act(self, step: int) -> None:
        """Write the picture under `step`."""
        picture = held_out_score.outside_strategy(self._draw)
        with self._writer.at(step):
            self._writer.picture('visuals/masks', picture)
