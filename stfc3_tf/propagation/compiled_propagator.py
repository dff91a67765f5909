"""Propagation that XLA compiles, for GPUs, TPUs and `tf.function(jit_compile=True)`.

It gives the labels of `propagator` to float accuracy. Every size of features and labels is compiled
once, which takes seconds. Several videos of one size are computed together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.propagation import grids, one_frame, shapes, static_search
from stfc3_tf.propagation.settings import PropagationSettings


class Context(NamedTuple):
    """The frames that the next one is compared with, in the slots of `settings.repeats`.

    Attributes:
      features: float32 [slots, videos, rows, columns, channels], L2-normalised over channels.
      labels: float32 [slots, videos, rows, columns, labels].
    """

    features: tf.Tensor
    labels: tf.Tensor

    def with_frame(self, slot: tf.Tensor, features: tf.Tensor, labels: tf.Tensor) -> Context:
        """Return the context with another frame in a slot.

        Args:
          slot: int32 [], its number.
          features: float32 [videos, rows, columns, channels].
          labels: float32 [videos, rows, columns, labels].
        """
        put = lambda ring, maps: tf.tensor_scatter_nd_update(ring, [[slot]], [maps])
        return Context(put(self.features, features), put(self.labels, labels))


def propagate(
    query: tf.Tensor,
    context: Context,
    unrestricted: Sequence[bool],
    repeats: tf.Tensor,
    settings: PropagationSettings,
) -> tf.Tensor:
    """Return the labels of one frame of each video, given those of its context frames.

    All shapes are static. Of `settings`, `radius`, `window`, `top_k` and `temperature` are used.

    Args:
      query: float32 [videos, rows, columns, channels], L2-normalised over channels.
      context: of the same videos.
      unrestricted: whether the spatial window does not apply to a slot.
      repeats: int32 [slots], how often a slot counts; 0 leaves it out. At least one must count.
      settings: see `PropagationSettings`.

    Returns:
      float32 [videos, rows, columns, labels], soft labels.

    Raises:
      errors.UserError: the settings have `keep_ties`, or `precision` is 'fast'.
    """
    check(settings)
    slots, videos, rows, columns, channels = context.labels.shape
    found = _found(query, context.features, unrestricted, repeats, settings)
    similarity, cell = (tf.reshape(each, [-1, each.shape[2]]) for each in found)
    slot = cell // (rows * columns)
    weights = one_frame.weights(similarity, tf.gather(repeats, slot), settings)
    video = tf.repeat(tf.range(videos), rows * columns)[:, None]
    place = (slot * videos + video) * rows * columns + cell % (rows * columns)
    labels = tf.gather(tf.reshape(context.labels, [-1, channels]), place)
    # Not a matrix product: GPUs may round those.
    labels = tf.reduce_sum(weights[:, :, None] * labels, 1)
    return tf.reshape(labels, [videos, rows, columns, channels])


def check(settings: PropagationSettings) -> None:
    """Raise UserError unless XLA is to compile propagation with the settings."""
    if settings.keep_ties:
        raise errors.UserError(
            'XLA cannot compile propagation with PropagationSettings.keep_ties: set it to False, '
            'or use stfc3_tf.Propagator.'
        )
    if settings.precision == 'fast':
        raise errors.UserError(
            'PropagationSettings.precision = "fast" is for CPUs: set it to "exact" for a GPU or '
            'XLA, or set propagator.compiled = False.'
        )


def _found(
    query: tf.Tensor,
    features: tf.Tensor,
    unrestricted: Sequence[bool],
    repeats: tf.Tensor,
    settings: PropagationSettings,
) -> static_search.Found:
    """Return the candidates of all slots; their cells are numbered through slots."""
    cells = query.shape[1] * query.shape[2]
    whole_frames = np.array(unrestricted) | _covers(query.shape[1:3], settings)
    similarities, numbers = [], []
    for whole in (False, True):
        slots = np.flatnonzero(whole_frames == whole).astype(np.int32)
        if slots.size:
            search = static_search.anywhere if whole else static_search.within_window
            counts = tf.gather(repeats > 0, slots)
            similarity, cell = search(query, tf.gather(features, slots), counts, settings)
            similarities.append(similarity)
            numbers.append(tf.gather(slots, cell // cells) * cells + cell % cells)
    similarity, cell = (tf.concat(each, 2) for each in (similarities, numbers))
    similarity, best = tf.math.top_k(similarity, min(settings.top_k, similarity.shape[2]))
    return static_search.Found(similarity, tf.gather(cell, best, batch_dims=2))


def _covers(grid: Sequence[int], settings: PropagationSettings) -> bool:
    """Return whether the window of every cell is the whole grid."""
    rows, columns = grid
    corner = np.float32(rows - 1), np.float32(columns - 1)
    return bool(grids.inside(*corner, settings.radius, settings.window))


def propagate_clips(
    features: tf.Tensor, first_labels: tf.Tensor, settings: PropagationSettings
) -> tf.Tensor:
    """Return the labels of every frame of several videos, computed by one compiled graph.

    It also works inside a tf.function that is compiled.

    Args:
      features: float32 [videos, time, rows, columns, channels], L2-normalised over channels, of
        static shape.
      first_labels: float32 [videos, rows, columns, labels], of static shape.
      settings: see `PropagationSettings`.

    Returns:
      float32 [videos, time, rows, columns, labels], soft labels; the first frames' are unchanged.

    Raises:
      errors.UserError: grids or numbers of videos differ, the settings have `keep_ties`, or
        `precision` is 'fast'.
    """
    check(settings)
    features, first_labels = tf.cast(features, tf.float32), tf.cast(first_labels, tf.float32)
    shapes.check_grids(features.shape[2:], first_labels.shape[1:])
    if features.shape[0] != first_labels.shape[0]:
        raise errors.UserError(
            f'{features.shape[0]} videos have features and {first_labels.shape[0]} have labels: '
            'give labels of the first frame of every video.'
        )
    return _clips(settings)(features, first_labels)


@functools.cache
def _clips(settings: PropagationSettings) -> Callable[..., tf.Tensor]:
    """Return `propagate_clips`, compiled."""

    def clips(features, first_labels):
        """See `propagate_clips`."""
        by_time = tf.transpose(features, [1, 0, 2, 3, 4])
        time = by_time.shape[0]
        # Slots that no frame of so short a video fills are left out.
        slots = 1 + min(settings.context, time)
        repeats = [settings.repeats(frame)[:slots] for frame in range(time)]
        repeats = tf.constant(repeats, tf.int32)
        unrestricted = settings.unrestricted()[:slots]

        def body(frame, context, done):
            # Not [frame], for which XLA in TensorFlow 2.15 pads the whole tensor.
            query, counts = tf.gather(by_time, frame), tf.gather(repeats, frame)
            labels = propagate(query, context, unrestricted, counts, settings)
            slot = 1 + frame % settings.context
            return frame + 1, context.with_frame(slot, query, labels), done.write(frame, labels)

        done = tf.TensorArray(tf.float32, time, element_shape=first_labels.shape)
        context = _started((by_time[0], first_labels), slots - 2)
        start = tf.constant(1), context, done.write(0, first_labels)
        *_, done = tf.while_loop(
            lambda frame, *_: frame < time, body, start, maximum_iterations=time - 1
        )
        return tf.transpose(done.stack(), [1, 0, 2, 3, 4])

    return tf.function(clips, jit_compile=True, autograph=False)


def _started(
    first: tuple[tf.Tensor, tf.Tensor],
    empty: int,
    pinned: Sequence[tuple[tf.Tensor, tf.Tensor]] = (),
) -> Context:
    """Return a context with the first frame in slots 0 and 1.

    Args:
      first: its features and labels, float32 [videos, rows, columns, ...].
      empty: number of empty slots after it.
      pinned: features and labels of the frames in the last slots.
    """
    rings = []
    for number, maps in enumerate(first):
        zeros = tf.zeros([empty, *maps.shape])
        rings.append(tf.concat([[maps, maps], zeros, *([known[number]] for known in pinned)], 0))
    return Context(*rings)


class CompiledPropagator:
    """Carries labels through a video, frame by frame, as `propagator.Propagator` does."""

    def __init__(self, settings: PropagationSettings):
        check(settings)
        self._settings = settings
        self._context: Context | None = None
        self._frame = self._pinned = 0

    def start(
        self,
        features: tf.Tensor,
        labels: tf.Tensor,
        pinned: Sequence[tuple[tf.Tensor, tf.Tensor]] = (),
    ) -> None:
        """See `propagator.Propagator.start`."""
        shapes.check_labelled(np.shape(features), np.shape(labels), pinned)
        one_video = lambda maps: tf.cast(maps, tf.float32)[tf.newaxis]
        first, *others = (tuple(map(one_video, pair)) for pair in ((features, labels), *pinned))
        self._context = _started(first, self._settings.context - 1, others)
        self._frame, self._pinned = 0, len(others)

    def step(self, features: tf.Tensor) -> tf.Tensor:
        """See `propagator.Propagator.step`."""
        if self._context is None:
            raise shapes.not_started()
        features = tf.cast(features, tf.float32)
        shapes.check_shape(features.shape, self._context.features.shape[2:], self._frame + 1)
        self._frame += 1
        repeats = tf.constant(self._settings.repeats(self._frame, self._pinned), tf.int32)
        slot = tf.constant(1 + self._frame % self._settings.context)
        step = _step(self._settings)
        labels, self._context = step(features[tf.newaxis], self._context, repeats, slot)
        return labels[0]


@functools.cache
def _step(settings: PropagationSettings) -> Callable[..., tuple[tf.Tensor, Context]]:
    """Return a compiled function of a frame, its context, `repeats` and the frame's slot."""

    def step(query, context, repeats, slot):
        unrestricted = settings.unrestricted(repeats.shape[0] - 1 - settings.context)
        labels = propagate(query, context, unrestricted, repeats, settings)
        return labels, context.with_frame(slot, query, labels)

    return tf.function(step, jit_compile=True, autograph=False)
