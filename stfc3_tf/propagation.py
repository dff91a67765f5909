"""Label propagation: labels of the first frame carried through a video, one frame in, labels out.

For every cell of the query frame: cosine similarities to all cells of the context frames that lie
within a spatial window, the top k of them over all context frames together, a softmax at a
temperature over those k, and the weighted sum of their labels. Context: the frames just before the
query, with their predicted labels, and the first frame.

Exact, yet only windows are multiplied: the query grid is cut into tiles, and one matrix product
compares a tile with its surroundings in all context frames. Candidates are then grouped, and a
group is looked at only if its maximum is among the k largest maxima: every value of the overall top
k lies in such a group, since otherwise those k maxima would all exceed it.
"""

from collections.abc import Callable, Iterable, Iterator
import dataclasses
import functools
from typing import NamedTuple

import gin
import numpy as np
import tensorflow as tf

from stfc3_tf import errors

# Cells a side of a query tile. Smaller tiles waste less of the square around a round window, larger
# ones make better matrix products.
_TILE = 8


@gin.configurable
@dataclasses.dataclass(frozen=True)
class PropagationSettings:
    """What distinguishes the propagation of one published protocol from another's.

    Attributes:
      context: number m of frames just before the query that are looked at, besides the first frame.
      radius: size of the spatial window in cells of the feature grid; infinite for no window.
      window: 'disc', cells at a Euclidean distance < radius (CRW, VFS), or 'square', cells whose
        row and column both differ by <= radius (DINO).
      top_k: number k of candidates kept for a query cell, over all context frames together.
      temperature: of the softmax over the kept similarities.
      restrict_first: whether the window also applies to the pinned first frame (VFS, DINO: yes;
        CRW: no).
      first_among_preceding: whether the first frame, as long as it is one of the m preceding ones,
        counts there too, besides being pinned (CRW, VFS: yes; DINO: no).
      repeat_first: whether copies of the first frame stand in front of the video, so that there are
        always m preceding frames (CRW: yes). The copies take places in the top k.
      keep_ties: whether all candidates as similar as the k-th are kept (DINO); otherwise exactly k.
    """

    context: int = 20
    radius: float = 12.0
    window: str = 'disc'
    top_k: int = 10
    temperature: float = 0.05
    restrict_first: bool = False
    first_among_preceding: bool = True
    repeat_first: bool = True
    keep_ties: bool = False

    def __post_init__(self):
        for name in ('context', 'top_k'):
            value = getattr(self, name)
            if value != int(value) or value < 1:
                raise errors.UserError(f'PropagationSettings.{name} = {value}: give a whole number >= 1.')
        for name in ('radius', 'temperature'):
            if not getattr(self, name) > 0:
                raise errors.UserError(
                    f'PropagationSettings.{name} = {getattr(self, name)}: give a number > 0.'
                )
        if self.window not in ('disc', 'square'):
            raise errors.UserError(
                f"PropagationSettings.window = {self.window!r}: choose 'disc' or 'square'."
            )
        if self.repeat_first and not self.first_among_preceding:
            raise errors.UserError(
                'PropagationSettings.repeat_first needs first_among_preceding: copies of the first '
                'frame stand among the preceding frames.'
            )


def propagate(
    query: tf.Tensor,
    context_features: tf.Tensor,
    context_labels: tf.Tensor,
    unrestricted: tf.Tensor,
    settings: PropagationSettings,
    repeats: tf.Tensor | None = None,
) -> tf.Tensor:
    """Labels of one frame from those of its context frames.

    Works eagerly and inside a tf.function, on any device, with static or dynamic shapes. Of
    `settings`, `radius`, `window`, `top_k`, `temperature` and `keep_ties` are used. Besides the
    context, memory holds the surroundings of one strip of the query, 8 columns wide.

    Args:
      query: float32 [rows, columns, channels], L2-normalised over channels.
      context_features: float32 [frames, rows, columns, channels], likewise.
      context_labels: float32 [frames, rows, columns, labels].
      unrestricted: bool [frames], context frames to which the spatial window does not apply.
      settings: see `PropagationSettings`.
      repeats: int32 [frames], how many times a context frame counts, as if it were given so often;
        0 leaves it out. By default 1 each. At least one frame must count.

    Returns:
      float32 [rows, columns, labels], soft labels.
    """
    frames, rows, columns, channels = tf.unstack(tf.shape(context_features))
    if repeats is None:
        repeats = tf.ones([frames], tf.int32)
    cells = tf.reshape(tf.range(frames * rows * columns), [frames, rows, columns])
    features = tf.reshape(context_features, [-1, channels])
    labels = tf.reshape(context_labels, [-1, tf.shape(context_labels)[-1]])
    windowed = tf.boolean_mask(cells, (repeats > 0) & ~unrestricted)
    everywhere = tf.boolean_mask(cells, (repeats > 0) & unrestricted)
    everywhere = _keys(features, tf.reshape(everywhere, [1, -1, columns]))
    reach = _reach(settings, tf.maximum(rows, columns))
    nearby = _nearby(settings, reach)

    def strip(left, right):
        first = tf.maximum(left - reach, 0)
        around = _keys(features, tf.transpose(windowed[:, :, first : right + reach], [1, 0, 2]))
        near = nearby[:, first - left + reach :, :, : right - left]

        def tile(top, bottom):
            queries = query[top:bottom, left:right]
            limited = _rows_around(around, near, top, bottom, reach)
            similarity, cell = _kept(tf.reshape(queries, [-1, channels]), limited, everywhere, settings)
            weights = _weights(similarity, tf.gather(repeats, cell // (rows * columns)), settings)
            result = tf.linalg.matvec(tf.gather(labels, cell), weights, transpose_a=True)
            return tf.reshape(result, [bottom - top, right - left, tf.shape(labels)[1]])

        return tf.transpose(_tile_by_tile(tile, rows), [1, 0, 2])

    return tf.transpose(_tile_by_tile(strip, columns), [1, 0, 2])


class _Keys(NamedTuple):
    """Context cells to compare a tile with. A group is everything along `members`.

    Attributes:
      features: float32 [outer, members, inner, channels].
      cell: int32 [outer, members, inner], their rows in the flattened context.
      allowed: bool [outer, inner, queries], which groups a query may use; None for all.
    """

    features: tf.Tensor
    cell: tf.Tensor
    allowed: tf.Tensor | None = None


def _keys(features: tf.Tensor, cell: tf.Tensor) -> _Keys:
    return _Keys(tf.gather(features, cell), cell)


def _rows_around(
    strip: _Keys, near: tf.Tensor, top: tf.Tensor, bottom: tf.Tensor, reach: tf.Tensor
) -> _Keys:
    """The rows of a strip that surround its tile [top, bottom), and what is in the window of what.

    Slices along the first axis are not copied.
    """
    first = tf.maximum(top - reach, 0)
    features, cell = strip.features[first : bottom + reach], strip.cell[first : bottom + reach]
    height, width = tf.shape(cell)[0], tf.shape(cell)[2]
    row = first - top + reach
    allowed = near[row : row + height, :width, : bottom - top]
    return _Keys(features, cell, tf.reshape(allowed, [height, width, -1]))


def _reach(settings: PropagationSettings, largest: tf.Tensor) -> tf.Tensor:
    """Largest difference of rows or columns in the window, at most the `largest` side of the grid."""
    if np.isinf(settings.radius):
        return largest
    reach = np.ceil(settings.radius) - 1 if settings.window == 'disc' else np.floor(settings.radius)
    return tf.minimum(tf.constant(int(reach)), largest)


def _nearby(settings: PropagationSettings, reach: tf.Tensor) -> tf.Tensor:
    """Which cells around a tile are in the window of which cells of the tile.

    Returns:
      bool [tile + 2 reach, tile + 2 reach, tile, tile]: row and column around the tile, the first
      being `reach` before the tile's own; row and column within the tile.
    """
    offset = tf.range(-reach, _TILE + reach)[:, None] - tf.range(_TILE)
    offset = tf.cast(tf.abs(offset), tf.float32)
    vertical, horizontal = offset[:, None, :, None], offset[None, :, None, :]
    if settings.window == 'disc':
        return vertical**2 + horizontal**2 < settings.radius**2
    return tf.maximum(vertical, horizontal) <= settings.radius


def _tile_by_tile(part: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], length: tf.Tensor) -> tf.Tensor:
    """Cuts range(length) into the fewest (nearly) equal tiles and joins `part(start, end)` of each,
    rank 3, along the first axis. One at a time, so that memory is bounded."""
    tiles = (length + _TILE - 1) // _TILE
    parts = tf.TensorArray(tf.float32, tiles, infer_shape=False, element_shape=[None, None, None])

    def body(tile, parts):
        start, end = tile * length // tiles, (tile + 1) * length // tiles
        return tile + 1, parts.write(tile, part(start, end))

    start = (tf.constant(0), parts)
    _, parts = tf.while_loop(lambda tile, _: tile < tiles, body, start, parallel_iterations=1)
    return parts.concat()


def _kept(
    queries: tf.Tensor, windowed: _Keys, everywhere: _Keys, settings: PropagationSettings
) -> tuple[tf.Tensor, tf.Tensor]:
    """Similarities and cells of the candidates to weigh, [queries, candidates], most similar first."""

    def best(count):
        parts = [_most_similar(queries, keys, count) for keys in (windowed, everywhere)]
        similarity, cell = (tf.concat(part, 1) for part in zip(*parts))
        return _top(similarity, cell, count)

    similarity, cell = best(settings.top_k)
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


def _most_similar(queries: tf.Tensor, keys: _Keys, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The `count` most similar of the keys (all, if there are fewer), for each query.

    Args:
      queries: float32 [queries, channels].
      keys: see `_Keys`.
      count: int32 scalar.

    Returns:
      similarities, float32 [queries, <= count], descending, -inf where a key is not allowed; and
      their cells, int32 [queries, <= count].
    """
    outer, members, inner = tf.unstack(tf.shape(keys.cell))
    number, channels = tf.unstack(tf.shape(queries))
    similarity = tf.matmul(tf.reshape(keys.features, [-1, channels]), queries, transpose_b=True)
    largest = tf.reduce_max(tf.reshape(similarity, [outer, members, inner * number]), 1)
    if keys.allowed is not None:
        largest = tf.where(keys.allowed, tf.reshape(largest, [outer, inner, number]), -np.inf)
    largest = tf.transpose(tf.reshape(largest, [outer * inner, number]))
    largest, group = tf.math.top_k(largest, tf.minimum(count, outer * inner))
    key = (group // inner * members * inner + group % inner)[:, :, None] + inner * tf.range(members)
    flat = key * number + tf.range(number)[:, None, None]
    candidates = tf.gather(tf.reshape(similarity, [-1]), flat)
    candidates = tf.where(largest[:, :, None] > -np.inf, candidates, -np.inf)
    shape = [number, tf.shape(group)[1] * members]
    similarity, key = _top(tf.reshape(candidates, shape), tf.reshape(key, shape), count)
    return similarity, tf.gather(tf.reshape(keys.cell, [-1]), key)


def _top(values: tf.Tensor, companions: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The `count` largest of each row (or all of them), descending, and their companions."""
    values, position = tf.math.top_k(values, tf.minimum(count, tf.shape(values)[1]))
    return values, tf.gather(companions, position, batch_dims=1)


def _weights(similarity: tf.Tensor, repeats: tf.Tensor, settings: PropagationSettings) -> tf.Tensor:
    """Softmax over the kept candidates, [queries, candidates], each counting `repeats` times."""
    before = tf.cumsum(repeats, 1, exclusive=True)
    if settings.keep_ties:
        kth = tf.reduce_min(tf.where(before < settings.top_k, similarity, np.inf), 1, keepdims=True)
        copies = tf.where(similarity >= kth, repeats, 0)
    else:
        copies = tf.clip_by_value(settings.top_k - before, 0, repeats)
    scaled = (similarity - similarity[:, :1]) / settings.temperature
    weights = tf.cast(copies, tf.float32) * tf.exp(scaled)
    return weights / tf.reduce_sum(weights, 1, keepdims=True)


@functools.lru_cache(maxsize=None)
def _compiled(settings: PropagationSettings) -> Callable[..., tf.Tensor]:
    """`propagate` as one graph for all grid sizes and numbers of frames."""
    maps = tf.TensorSpec([None] * 4, tf.float32)
    signature = [
        tf.TensorSpec([None] * 3, tf.float32),
        maps,
        maps,
        tf.TensorSpec([None], tf.bool),
        tf.TensorSpec([None], tf.int32),
    ]

    def function(query, features, labels, unrestricted, repeats):
        return propagate(query, features, labels, unrestricted, settings, repeats)

    return tf.function(function, input_signature=signature, autograph=False)


class Propagator:
    """Carries labels through a video, frame by frame, in memory that does not grow.

    Feed frames in reverse order to go backward in time. An instance may be started again.
    """

    def __init__(self, settings: PropagationSettings):
        self._settings = settings
        self._frame = 0

    def start(self, features: tf.Tensor, labels: tf.Tensor) -> None:
        """Takes the frame whose labels are known.

        Args:
          features: float32 [rows, columns, channels], L2-normalised over channels.
          labels: float32 [rows, columns, labels].

        Raises:
          errors.UserError: the two grids differ.
        """
        features, labels = tf.convert_to_tensor(features), tf.convert_to_tensor(labels)
        if features.shape[:2] != labels.shape[:2]:
            raise errors.UserError(
                f'Features have {features.shape[0]}x{features.shape[1]} cells, labels '
                f'{labels.shape[0]}x{labels.shape[1]}: bring the labels to the grid of the features.'
            )
        slots = 1 + self._settings.context
        self._features = tf.Variable(tf.zeros([slots, *features.shape]), trainable=False)
        self._labels = tf.Variable(tf.zeros([slots, *labels.shape]), trainable=False)
        self._frame = 0
        self._put(0, features, labels)
        self._put(1, features, labels)

    def step(self, features: tf.Tensor) -> tf.Tensor:
        """Soft labels float32 [rows, columns, labels] of the next frame, which joins the context.

        Raises:
          errors.UserError: `start` was not called, or the grid is another.
        """
        features = tf.convert_to_tensor(features)
        if not hasattr(self, '_features'):
            raise errors.UserError('Propagator.step before Propagator.start: give labels first.')
        if features.shape != self._features.shape[1:]:
            raise errors.UserError(
                f'Frame {self._frame + 1} has features of shape {tuple(features.shape)}, the first '
                f'frame {tuple(self._features.shape[1:])}: all frames must have one size.'
            )
        self._frame += 1
        slots = 1 + self._settings.context
        unrestricted = (np.arange(slots) == 0) & (not self._settings.restrict_first)
        labels = _compiled(self._settings)(
            features, self._features, self._labels, unrestricted, self._repeats()
        )
        self._put(1 + self._frame % self._settings.context, features, labels)
        return labels

    def _put(self, slot, features, labels):
        self._features[slot].assign(features)
        self._labels[slot].assign(labels)

    def _repeats(self) -> np.ndarray:
        """How often each slot counts for the current frame: the pinned first frame, then a ring in
        which frame t has place t % context."""
        settings = self._settings
        repeats = np.zeros(1 + settings.context, np.int32)
        repeats[0] = 1
        preceding = range(self._frame - settings.context, self._frame)
        for frame in preceding:
            if frame > 0 or (frame == 0 and settings.first_among_preceding):
                repeats[1 + frame % settings.context] = 1
        if settings.repeat_first:
            repeats[1] += sum(frame < 0 for frame in preceding)
        return repeats


def propagate_stream(
    features: Iterable[tf.Tensor], first_labels: tf.Tensor, settings: PropagationSettings
) -> Iterator[tf.Tensor]:
    """Labels of every frame, the first one's unchanged, as its features come in.

    Args:
      features: float32 [rows, columns, channels] of each frame, L2-normalised over channels.
      first_labels: float32 [rows, columns, labels].
      settings: see `PropagationSettings`.

    Yields:
      float32 [rows, columns, labels], soft labels, one for each frame.
    """
    features = iter(features)
    propagator = Propagator(settings)
    first = next(features, None)
    if first is None:
        return
    propagator.start(first, first_labels)
    yield tf.convert_to_tensor(first_labels)
    for frame in features:
        yield propagator.step(frame)


def normalise_labels(labels: tf.Tensor, over: str) -> tf.Tensor:
    """Stretches soft labels to [0, 1], as some protocols do before the argmax.

    Args:
      labels: float32 [rows, columns, labels].
      over: 'classes', each pixel over its classes (CRW's norm_mask), or 'space', each class over
        the frame (VFS and DINO, after upsampling). A class that is nowhere stays as it is.

    Returns:
      float32 [rows, columns, labels].
    """
    axes = {'classes': [2], 'space': [0, 1]}
    if over not in axes:
        raise errors.UserError(f"normalise_labels(over={over!r}): choose 'classes' or 'space'.")
    low = tf.reduce_min(labels, axes[over], keepdims=True)
    high = tf.reduce_max(labels, axes[over], keepdims=True)
    return tf.where(high > 0, tf.math.divide_no_nan(labels - low, high - low), labels)
