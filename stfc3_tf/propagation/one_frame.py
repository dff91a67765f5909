"""Labels of one frame from its context frames.

For every cell of the query frame: cosine similarities to all cells of the context frames within a
spatial window, the top k of them over all context frames together, a softmax at a temperature over
those k, and the weighted sum of their labels.

The result is exact, but for candidates that rounded features miss (`compared`). The cost per cell
grows with the window, not with the grid: see `window_search`, and `whole_search` for frames without
a window.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from stfc3_tf.propagation import whole_search, window_search
from stfc3_tf.propagation.compared import Compared, Reader, compared
from stfc3_tf.propagation.settings import PropagationSettings


def propagate(
    query: tf.Tensor,
    context_features: tf.Tensor,
    context_labels: tf.Tensor,
    unrestricted: tf.Tensor,
    settings: PropagationSettings,
    repeats: tf.Tensor | None = None,
) -> tf.Tensor:
    """Return the labels of one frame, given those of its context frames.

    Works eagerly and inside a tf.function, on any device, with static or dynamic shapes. Of
    `settings`, `radius`, `window`, `top_k`, `temperature`, `keep_ties` and `precision` are used.
    Besides the context, memory holds the surroundings of one strip of the query, and its
    similarities.

    Args:
      query: float32 [rows, columns, channels], L2-normalised over channels.
      context_features: float32 [frames, rows, columns, channels], likewise.
      context_labels: float32 [frames, rows, columns, labels].
      unrestricted: bool [frames], context frames to which the spatial window does not apply.
      settings: see `PropagationSettings`.
      repeats: int32 [frames], how often each context frame counts, as if it were given so many
        times; 0 leaves it out. By default 1 each. At least one frame must count.

    Returns:
      float32 [rows, columns, labels], soft labels.
    """
    features = tf.reshape(context_features, [-1, tf.shape(query)[2]])
    labels = tf.reshape(context_labels, [-1, tf.shape(context_labels)[3]])
    if repeats is None:
        repeats = tf.ones_like(unrestricted, tf.int32)
    return propagate_read(
        compared(query, features, settings.precision),
        functools.partial(tf.gather, labels),
        unrestricted,
        repeats,
        settings,
    )


def propagate_read(
    features: Compared,
    read_labels: Reader,
    unrestricted: tf.Tensor,
    repeats: tf.Tensor,
    settings: PropagationSettings,
) -> tf.Tensor:
    """Return the labels of one frame from a context that is read through functions.

    Args:
      features: of the query and the context.
      read_labels: reads the labels of the context.
      unrestricted: see `propagate`.
      repeats: see `propagate`.
      settings: see `propagate`.

    Returns:
      float32 [rows, columns, labels], soft labels.
    """
    rows, columns, _ = tf.unstack(tf.shape(features.query))
    shape = [tf.size(repeats), rows, columns]
    cells = tf.reshape(tf.range(tf.reduce_prod(shape)), shape)
    unrestricted |= window_search.covers(settings.radius, settings.window, rows, columns)
    windowed = tf.boolean_mask(cells, (repeats > 0) & ~unrestricted)
    everywhere = tf.boolean_mask(cells, (repeats > 0) & unrestricted)
    keys = whole_search.keys_of(everywhere, features.read)

    def strip(strip_columns: slice, within_window: window_search.Best) -> tf.Tensor:
        """Propagate to a strip: [rows, width, labels]."""
        similarity, cell = _kept(features, strip_columns, within_window, keys, settings)
        shares = weights(similarity, tf.gather(repeats, cell // (rows * columns)), settings)
        result = tf.linalg.matvec(read_labels(cell), shares, transpose_a=True)
        return tf.reshape(result, [rows, -1, tf.shape(result)[1]])

    return window_search.by_strips(
        strip, features.query, windowed, features.read, settings.radius, settings.window
    )


def _kept(
    features: Compared,
    columns: slice,
    within_window: window_search.Best,
    everywhere: whole_search.Keys,
    settings: PropagationSettings,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return similarities and cells of the candidates, [queries, candidates], best first."""
    queries = features.of_columns(columns)

    def best(count):
        parts = within_window(count), whole_search.most_similar(queries, everywhere, count)
        similarity, cell = (tf.concat(part, 1) for part in zip(*parts))
        return whole_search.top(similarity, cell, count)

    found = best(features.count(settings.top_k))
    similarity, cell = features.ranked(found, columns, settings.top_k)
    if not settings.keep_ties:
        return similarity, cell

    kth = similarity[:, -1]

    def cut_through_ties(count, similarity, _):
        last = similarity[:, -1]
        more = tf.shape(similarity)[1] == count
        return more & tf.reduce_any((last == kth) & (last > -np.inf))

    count = tf.constant(settings.top_k)
    unknown = tf.TensorShape([None, None])
    return tf.while_loop(
        cut_through_ties,
        lambda count, *_: (2 * count, *best(2 * count)),
        (count, similarity, cell),
        shape_invariants=(count.shape, unknown, unknown),
    )[1:]


def weights(similarity: tf.Tensor, repeats: tf.Tensor, settings: PropagationSettings) -> tf.Tensor:
    """Return the softmax over the candidates of each query.

    Args:
      similarity: float32 [queries, candidates], the best first.
      repeats: int32 [queries, candidates], how often each candidate counts.
      settings: `top_k`, `temperature` and `keep_ties` are used.

    Returns:
      float32 [queries, candidates].
    """
    before = tf.cumsum(repeats, 1, exclusive=True)
    if settings.keep_ties:
        kth = tf.reduce_min(tf.where(before < settings.top_k, similarity, np.inf), 1, keepdims=True)
        copies = tf.where(similarity >= kth, repeats, 0)
    else:
        copies = tf.clip_by_value(settings.top_k - before, 0, repeats)
    scaled = (similarity - similarity[:, :1]) / settings.temperature
    mass = tf.cast(copies, tf.float32) * tf.exp(scaled)
    return mass / tf.reduce_sum(mass, 1, keepdims=True)
