"""Propagation of the first frame's labels through a video, frame by frame.

The context of a frame is the frames just before it, with their predicted labels, and the first
frame. `one_frame` computes labels from the context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
import functools

import numpy as np
import tensorflow as tf

from stfc3_tf.propagation import compared, shapes
from stfc3_tf.propagation.one_frame import propagate, propagate_read
from stfc3_tf.propagation.settings import PropagationSettings

__all__ = ['PropagationSettings', 'Propagator', 'propagate', 'propagate_stream']


@functools.cache
def _compiled(settings: PropagationSettings) -> Callable[..., tf.Tensor]:
    """Return `propagate_read` on rings: one graph for all grid sizes and numbers of labels."""

    def function(query, features, labels, rounded_keys, unrestricted, repeats):
        comparison = compared.Compared(query, _reader(features))
        if settings.precision == 'fast':
            comparison = compared.rounded(comparison, _reader(rounded_keys, tf.bfloat16))
        return propagate_read(comparison, _reader(labels), unrestricted, repeats, settings)

    resource = tf.TensorSpec([], tf.resource)
    frames = [tf.TensorSpec([None], tf.bool), tf.TensorSpec([None], tf.int32)]
    signature = [tf.TensorSpec([None, None, None]), *[resource] * 3, *frames]
    return tf.function(function, input_signature=signature, autograph=False)


def _reader(resource: tf.Tensor, kind: tf.DType = tf.float32) -> compared.Reader:
    return lambda cells: tf.raw_ops.ResourceGather(resource=resource, indices=cells, dtype=kind)


class _Ring:
    """Maps of the context frames, in one tensor that is written in place.

    A plain `variable[slot].assign` copies the whole tensor, on writing or at the next reading;
    scattering and gathering cells does not.
    """

    def __init__(self, slots: int, like: tf.Tensor):
        rows, columns, channels = like.shape
        self._cells = rows * columns
        zeros = tf.zeros([slots * self._cells, channels], like.dtype)
        self._variable = tf.Variable(zeros, trainable=False)

    @property
    def handle(self) -> tf.Tensor:
        return self._variable.handle

    def put(self, slot: int, values: tf.Tensor) -> None:
        cells = tf.range(slot * self._cells, (slot + 1) * self._cells)
        values = tf.reshape(values, [self._cells, -1])
        self._variable.scatter_update(tf.IndexedSlices(values, cells))


class _Context:
    """Features, labels and rounded features of the frames that the next one is compared with."""

    def __init__(self, features: tf.Tensor, labels: tf.Tensor, slots: int, precision: str):
        self.shape = features.shape
        self._keys = compared.rounded_keys if precision == 'fast' else _no_channels
        self._rings = [_Ring(slots, maps) for maps in self._maps(features, labels)]

    @property
    def handles(self) -> list[tf.Tensor]:
        return [ring.handle for ring in self._rings]

    def put(self, slot: int, features: tf.Tensor, labels: tf.Tensor) -> None:
        for ring, maps in zip(self._rings, self._maps(features, labels)):
            ring.put(slot, maps)

    def _maps(self, features: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return features, labels, self._keys(features)


def _no_channels(features: tf.Tensor) -> tf.Tensor:
    """Return nothing for each cell: one graph takes the rings of both precisions."""
    return features[..., :0]


class Propagator:
    """Carries labels through a video, frame by frame, in memory that does not grow.

    Feed frames in reverse order to go backward in time. An instance may be started again.
    """

    def __init__(self, settings: PropagationSettings):
        self._settings = settings
        self._context: _Context | None = None
        self._frame = self._pinned = 0

    def start(
        self,
        features: tf.Tensor,
        labels: tf.Tensor,
        pinned: Sequence[tuple[tf.Tensor, tf.Tensor]] = (),
    ) -> None:
        """Take the frame whose labels are known.

        Args:
          features: float32 [rows, columns, channels], L2-normalised over channels.
          labels: float32 [rows, columns, labels].
          pinned: features and labels of other frames with known labels, of the same shapes; they
            are always in the context, and the window applies to them as to the first frame.

        Raises:
          errors.UserError: the two grids differ, or `pinned` has other shapes.
        """
        features, labels = tf.cast(features, tf.float32), tf.cast(labels, tf.float32)
        shapes.check_labelled(features.shape, labels.shape, pinned)
        slots = 1 + self._settings.context
        self._context = _Context(features, labels, slots + len(pinned), self._settings.precision)
        self._frame, self._pinned = 0, len(pinned)
        for slot in (0, 1):
            self._context.put(slot, features, labels)
        for slot, (others, known) in enumerate(pinned, slots):
            self._context.put(slot, tf.cast(others, tf.float32), tf.cast(known, tf.float32))

    def step(self, features: tf.Tensor) -> tf.Tensor:
        """Return the soft labels of the next frame, which joins the context.

        Args:
          features: float32 [rows, columns, channels], L2-normalised over channels.

        Returns:
          float32 [rows, columns, labels].

        Raises:
          errors.UserError: `start` was not called, or the features have another shape.
        """
        features = tf.cast(features, tf.float32)
        if self._context is None:
            raise shapes.not_started()
        shapes.check_shape(features.shape, self._context.shape, self._frame + 1)
        self._frame += 1
        unrestricted = np.array(self._settings.unrestricted(self._pinned))
        repeats = np.array(self._settings.repeats(self._frame, self._pinned), np.int32)
        handles = self._context.handles
        labels = _compiled(self._settings)(features, *handles, unrestricted, repeats)
        self._context.put(1 + self._frame % self._settings.context, features, labels)
        return labels


def propagate_stream(
    features: Iterable[tf.Tensor], first_labels: tf.Tensor, settings: PropagationSettings
) -> Iterator[tf.Tensor]:
    """Yield the labels of every frame as its features come in; the first frame's are unchanged.

    Args:
      features: float32 [rows, columns, channels] of each frame, L2-normalised over channels.
      first_labels: float32 [rows, columns, labels].
      settings: see `PropagationSettings`.

    Yields:
      float32 [rows, columns, labels], soft labels, one map per frame.
    """
    features = iter(features)
    propagator = Propagator(settings)
    first = next(features, None)
    if first is None:
        return
    propagator.start(first, first_labels)
    yield tf.cast(first_labels, tf.float32)
    for frame in features:
        yield propagator.step(frame)
