"""Label propagation: labels of the first frame carried through a video, one frame in, labels out.

For every cell of the query frame: cosine similarities to all cells of the context frames that lie
within a spatial window, the top k of them over all context frames together, a softmax at a
temperature over those k, and the weighted sum of their labels. Context: the frames just before the
query, with their predicted labels, and the first frame.

Exact; `candidates` says how a frame costs the window's size a cell, not the grid's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
import dataclasses
import functools

import gin
import numpy as np
import tensorflow as tf

from stfc3_tf import candidates
from stfc3_tf import checks
from stfc3_tf import errors

_SWITCHES = ('restrict_first', 'first_among_preceding', 'repeat_first', 'keep_ties')


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
        for check, names in (
            (checks.whole_number, ('context', 'top_k')),
            (checks.positive_number, ('radius', 'temperature')),
            (checks.switch, _SWITCHES),
        ):
            for name in names:
                check(f'PropagationSettings.{name}', getattr(self, name))
        checks.one_of('PropagationSettings.window', self.window, ('disc', 'square'))
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
    context, memory holds the surroundings of one strip of the query, a tile wide, and the
    similarities of one tile.

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
    features = tf.reshape(context_features, [-1, tf.shape(query)[2]])
    labels = tf.reshape(context_labels, [-1, tf.shape(context_labels)[3]])
    if repeats is None:
        repeats = tf.ones_like(unrestricted, tf.int32)
    return _propagate(
        query,
        functools.partial(tf.gather, features),
        functools.partial(tf.gather, labels),
        unrestricted,
        repeats,
        settings,
    )


# Given cells of the context, int32 [...], numbered through frames, rows and columns, returns their
# features or labels, float32 [..., channels].
_Reader = Callable[[tf.Tensor], tf.Tensor]


def _propagate(
    query: tf.Tensor,
    read_features: _Reader,
    read_labels: _Reader,
    unrestricted: tf.Tensor,
    repeats: tf.Tensor,
    settings: PropagationSettings,
) -> tf.Tensor:
    """See `propagate`, which leaves open only where the context is kept."""
    rows, columns, channels = tf.unstack(tf.shape(query))
    shape = [tf.size(repeats), rows, columns]
    cells = tf.reshape(tf.range(tf.reduce_prod(shape)), shape)
    windowed = tf.boolean_mask(cells, (repeats > 0) & ~unrestricted)
    everywhere = tf.boolean_mask(cells, (repeats > 0) & unrestricted)
    everywhere = tf.reshape(everywhere, [-1, candidates.group_rows(rows), columns])
    everywhere = candidates.Keys(read_features(everywhere), everywhere)
    reach = candidates.reach_of(settings.radius, settings.window, tf.maximum(rows, columns))
    nearby = candidates.nearby(settings.radius, settings.window, reach)

    def strip(left, right):
        first = tf.maximum(left - reach, 0)
        strip_cells = tf.transpose(windowed[:, :, first : right + reach], [1, 0, 2])
        around = candidates.Keys(read_features(strip_cells), strip_cells)
        near = nearby[:, first - left + reach :, :, : right - left]

        def tile(top, bottom):
            queries = tf.reshape(query[top:bottom, left:right], [-1, channels])
            limited = candidates.rows_around(around, near, top, bottom, reach)
            similarity, cell = _kept(queries, limited, everywhere, settings)
            weights = _weights(similarity, tf.gather(repeats, cell // (rows * columns)), settings)
            result = tf.linalg.matvec(read_labels(cell), weights, transpose_a=True)
            return tf.reshape(result, [bottom - top, right - left, tf.shape(result)[1]])

        return tf.transpose(candidates.tile_by_tile(tile, rows), [1, 0, 2])

    return tf.transpose(candidates.tile_by_tile(strip, columns), [1, 0, 2])


def _kept(
    queries: tf.Tensor,
    windowed: candidates.Keys,
    everywhere: candidates.Keys,
    settings: PropagationSettings,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Similarities and cells of the candidates to weigh, [queries, candidates], best first."""

    def best(count):
        parts = [candidates.most_similar(queries, keys, count) for keys in (windowed, everywhere)]
        similarity, cell = (tf.concat(part, 1) for part in zip(*parts))
        return candidates.top(similarity, cell, count)

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
    """`_propagate` on rings of a `Propagator`, one graph for all grid sizes and label counts."""

    def function(query, features, labels, unrestricted, repeats):
        return _propagate(
            query, _reader(features), _reader(labels), unrestricted, repeats, settings
        )

    resource = tf.TensorSpec([], tf.resource)
    frames = [tf.TensorSpec([None], tf.bool), tf.TensorSpec([None], tf.int32)]
    signature = [tf.TensorSpec([None, None, None]), resource, resource, *frames]
    return tf.function(function, input_signature=signature, autograph=False)


def _reader(resource: tf.Tensor) -> _Reader:
    return lambda cells: tf.raw_ops.ResourceGather(
        resource=resource, indices=cells, dtype=tf.float32
    )


class _Ring:
    """Maps of the context frames, in one tensor that is written in place.

    A plain `variable[slot].assign` copies the whole, on writing or at the next reading; scattering
    and gathering cells does not.
    """

    def __init__(self, slots: int, shape: Iterable[int]):
        rows, columns, channels = shape
        self._cells = rows * columns
        self._variable = tf.Variable(tf.zeros([slots * self._cells, channels]), trainable=False)

    @property
    def handle(self) -> tf.Tensor:
        return self._variable.handle

    def put(self, slot: int, values: tf.Tensor) -> None:
        cells = tf.range(slot * self._cells, (slot + 1) * self._cells)
        values = tf.reshape(values, [self._cells, -1])
        self._variable.scatter_update(tf.IndexedSlices(values, cells))


class Propagator:
    """Carries labels through a video, frame by frame, in memory that does not grow.

    Feed frames in reverse order to go backward in time. An instance may be started again.
    """

    def __init__(self, settings: PropagationSettings):
        self._settings = settings
        self._features = self._labels = self._shape = None
        self._frame = 0

    def start(self, features: tf.Tensor, labels: tf.Tensor) -> None:
        """Takes the frame whose labels are known.

        Args:
          features: float32 [rows, columns, channels], L2-normalised over channels.
          labels: float32 [rows, columns, labels].

        Raises:
          errors.UserError: the two grids differ.
        """
        features, labels = tf.cast(features, tf.float32), tf.cast(labels, tf.float32)
        if features.shape[:2] != labels.shape[:2]:
            raise errors.UserError(
                f'Features have {features.shape[0]}x{features.shape[1]} cells, labels '
                f'{labels.shape[0]}x{labels.shape[1]}: bring the labels to the features\' grid.'
            )
        slots = 1 + self._settings.context
        self._shape = features.shape
        self._features, self._labels = _Ring(slots, features.shape), _Ring(slots, labels.shape)
        self._frame = 0
        for slot in (0, 1):
            self._features.put(slot, features)
            self._labels.put(slot, labels)

    def step(self, features: tf.Tensor) -> tf.Tensor:
        """Soft labels float32 [rows, columns, labels] of the next frame, which joins the context.

        Raises:
          errors.UserError: `start` was not called, or the features have another shape.
        """
        features = tf.cast(features, tf.float32)
        if self._shape is None:
            raise errors.UserError('Propagator.step before Propagator.start: give labels first.')
        if features.shape != self._shape:
            raise errors.UserError(
                f'Frame {self._frame + 1} has features of shape {tuple(features.shape)}, the first '
                f'frame {tuple(self._shape)}: all frames must have one size.'
            )
        self._frame += 1
        context = self._settings.context
        unrestricted = (np.arange(1 + context) == 0) & (not self._settings.restrict_first)
        rings = self._features.handle, self._labels.handle
        labels = _compiled(self._settings)(features, *rings, unrestricted, self._repeats())
        self._features.put(1 + self._frame % context, features)
        self._labels.put(1 + self._frame % context, labels)
        return labels

    def _repeats(self) -> np.ndarray:
        """How often each slot counts for the current frame, int32 [1 + context].

        Slot 0 holds the pinned first frame, slot 1 + t % context frame t of the preceding ones.
        """
        settings = self._settings
        repeats = np.zeros(1 + settings.context, np.int32)
        repeats[0] = 1
        for frame in range(self._frame - settings.context, self._frame):
            if (
                frame > 0
                or (frame == 0 and settings.first_among_preceding)
                or (frame < 0 and settings.repeat_first)
            ):
                repeats[1 + max(frame, 0) % settings.context] += 1
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
    yield tf.cast(first_labels, tf.float32)
    for frame in features:
        yield propagator.step(frame)
