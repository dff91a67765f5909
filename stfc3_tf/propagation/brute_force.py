"""Label propagation computed as it is defined: slow, for comparison."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from stfc3_tf.propagation.settings import PropagationSettings


def brute_force(
    query: np.ndarray,
    context: np.ndarray,
    labels: np.ndarray,
    unrestricted: np.ndarray,
    settings: PropagationSettings,
    chunk: int = 256,
) -> np.ndarray:
    """Return the labels of one frame, computed as the reference scripts do.

    Every cell is compared with every cell of all context frames; the similarities are masked,
    sorted and gathered.

    Args:
      query: float32 [rows, columns, channels], L2-normalised over channels.
      context: float32 [frames, rows, columns, channels], likewise.
      labels: float32 [frames, rows, columns, labels], of the context frames.
      unrestricted: bool [frames], context frames to which the spatial window does not apply.
      settings: see `PropagationSettings`; the window is a disc and ties are cut.
      chunk: cells of the query that are computed at once, which bounds memory.

    Returns:
      float32 [rows, columns, labels].
    """
    _, rows, columns, channels = context.shape
    y, x = np.divmod(np.arange(rows * columns), columns)
    queries = tf.reshape(query, [-1, channels])
    keys = tf.reshape(context, [-1, channels])
    flat_labels = tf.reshape(labels, [-1, labels.shape[-1]])
    everywhere = np.asarray(unrestricted)[None, :, None]
    result = []
    for start in range(0, rows * columns, chunk):
        part = slice(start, start + chunk)
        near = np.hypot(y[part, None] - y, x[part, None] - x) < settings.radius
        allowed = (near[:, None] | everywhere).reshape(len(near), -1)
        similarity = tf.matmul(queries[part], keys, transpose_b=True)
        values, cells = tf.math.top_k(tf.where(allowed, similarity, -np.inf), settings.top_k)
        weights = tf.nn.softmax(values / settings.temperature)
        result.append(tf.einsum('qk,qkl->ql', weights, tf.gather(flat_labels, cells)).numpy())
    return np.concatenate(result).reshape(rows, columns, -1)
