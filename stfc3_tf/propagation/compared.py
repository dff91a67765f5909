"""Features that cells are compared by: in float32, or first rounded to bfloat16.

Processors that multiply bfloat16 compare rounded features about twice as fast. A product is
rounded, too: that of similar cells, which is near 1, would be known to 0.004 only. So another
channel subtracts 1 within the product. What is left is near 0, and its rounding is as small.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
from typing import NamedTuple

import tensorflow as tf

from stfc3_tf.propagation import whole_search

# Maps cells of the context, int32 [...], numbered through frames, rows and columns, to their
# features or labels [..., channels].
Reader = Callable[[tf.Tensor], tf.Tensor]

# Candidates that rounded features find beyond the k that are kept: rounding may rank some of the
# best below the k-th.
_SPARE = 4


class Compared(NamedTuple):
    """The features of a query frame and its context.

    Attributes:
      query: float32 [rows, columns, channels], or bfloat16 if rounded.
      read: reads those of the context, of the same type.
      ranked_by: the features in float32, if these are rounded.
    """

    query: tf.Tensor
    read: Reader
    ranked_by: Compared | None = None

    def of_columns(self, columns: slice) -> tf.Tensor:
        """Return the features of some columns of the query, [queries, channels], row by row."""
        return tf.reshape(self.query[:, columns], [-1, tf.shape(self.query)[2]])

    def count(self, top_k: int) -> int:
        """Return how many candidates to find, so that `top_k` can be kept."""
        return top_k if self.ranked_by is None else top_k + _SPARE

    def ranked(
        self, found: tuple[tf.Tensor, tf.Tensor], columns: slice, top_k: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the best of the candidates that were found by rounded features.

        Args:
          found: similarities, float32 [queries, candidates], -inf for none; and their cells, int32
            [queries, candidates].
          columns: of the query.
          top_k: how many are returned.

        Returns:
          Cosine similarities, float32 [queries, <= top_k], descending, and their cells. What was
          found by features in float32 is returned as it is.
        """
        if self.ranked_by is None:
            return found
        similarity, cell = found
        keys, queries = self.ranked_by.read(cell), self.ranked_by.of_columns(columns)
        exact = tf.where(tf.math.is_inf(similarity), similarity, tf.linalg.matvec(keys, queries))
        return whole_search.top(exact, cell, tf.constant(top_k))


def compared(query: tf.Tensor, context: tf.Tensor, precision: str) -> Compared:
    """Return the features of a query and its context, rounded if `precision` is 'fast'.

    Args:
      query: float32 [rows, columns, channels], L2-normalised over channels.
      context: float32 [cells, channels], likewise.
      precision: 'exact' or 'fast', see `PropagationSettings`.
    """
    exact = Compared(query, functools.partial(tf.gather, context))
    if precision == 'exact':
        return exact
    return rounded(exact, functools.partial(tf.gather, rounded_keys(context)))


def rounded(exact: Compared, read_keys: Reader) -> Compared:
    """Return features of which those of the query are rounded here.

    Args:
      exact: in float32.
      read_keys: reads those of the context, which `rounded_keys` returned.
    """
    return Compared(_rounded(exact.query, 1.0), read_keys, exact)


def rounded_keys(features: tf.Tensor) -> tf.Tensor:
    """Return the features of a context frame as rounded queries are compared with them.

    Args:
      features: float32 [..., channels], L2-normalised over channels.

    Returns:
      bfloat16 [..., channels + 1]. The product of a rounded query is the cosine similarity minus 1.
    """
    return _rounded(features, -1.0)


def _rounded(features: tf.Tensor, last: float) -> tf.Tensor:
    last_channel = tf.fill(tf.shape(features[..., :1]), last)
    return tf.cast(tf.concat([features, last_channel], -1), tf.bfloat16)
