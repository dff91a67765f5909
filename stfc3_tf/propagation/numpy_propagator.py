"""The propagator without TensorFlow, for encoders that run without it.

It gives the labels of `propagator.Propagator` to float accuracy. The query grid is cut into square
tiles, and one matrix product compares a tile with its surroundings in all context frames. If
candidates are equally similar and `keep_ties` is off, the two may keep others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Optional

import numpy as np

from stfc3_tf import errors
from stfc3_tf.propagation import grids, shapes
from stfc3_tf.propagation.settings import PropagationSettings

TILE = 12  # Rows and columns of a query tile.


class _Keys(NamedTuple):
    """Context cells to compare a tile with. A group is everything along `members`.

    Attributes:
      features: float32 [outer, members, inner, channels].
      cell: int [outer, members, inner], their rows in the flattened context.
    """

    features: np.ndarray
    cell: np.ndarray


# Similarities [outer, members, inner, queries], the keys, and the groups that a query may use.
_Compared = tuple[np.ndarray, _Keys, Optional[np.ndarray]]


class NumpyPropagator:
    """Carries labels through a video, frame by frame, as `propagator.Propagator` does."""

    def __init__(self, settings: PropagationSettings):
        if settings.precision == 'fast':
            raise errors.UserError(
                'PropagationSettings.precision = "fast" needs TensorFlow: leave "exact".'
            )
        self._settings = settings
        self._features = self._labels = np.zeros([0, 0, 0, 0], np.float32)
        self._frame = self._pinned = 0

    def start(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        pinned: Sequence[tuple[np.ndarray, np.ndarray]] = (),
    ) -> None:
        """See `propagator.Propagator.start`."""
        shapes.check_labelled(np.shape(features), np.shape(labels), pinned)
        slots = 1 + self._settings.context
        self._features = np.zeros([slots + len(pinned), *np.shape(features)], np.float32)
        self._labels = np.zeros([slots + len(pinned), *np.shape(labels)], np.float32)
        self._features[:2], self._labels[:2] = features, labels
        for slot, known in enumerate(pinned, slots):
            self._features[slot], self._labels[slot] = known
        self._frame, self._pinned = 0, len(pinned)

    def step(self, features: np.ndarray) -> np.ndarray:
        """See `propagator.Propagator.step`."""
        features = np.asarray(features, np.float32)
        if not len(self._features):
            raise shapes.not_started()
        shapes.check_shape(features.shape, self._features.shape[1:], self._frame + 1)
        self._frame += 1
        repeats = np.array(self._settings.repeats(self._frame, self._pinned))
        labels = _Step(self._settings, self._features, self._labels, repeats).labels_of(features)
        slot = 1 + self._frame % self._settings.context
        self._features[slot], self._labels[slot] = features, labels
        return labels


class _Step:
    """Labels of one frame from its context."""

    def __init__(
        self,
        settings: PropagationSettings,
        features: np.ndarray,
        labels: np.ndarray,
        repeats: np.ndarray,
    ):
        """Keep the context.

        Args:
          settings: of the propagation.
          features: float32 [slots, rows, columns, channels].
          labels: float32 [slots, rows, columns, labels].
          repeats: int [slots], how often each slot counts.
        """
        self._settings, self._features, self._repeats = settings, features, repeats
        self._labels = labels.reshape(-1, labels.shape[-1])
        self._cells = np.arange(features[..., 0].size).reshape(features.shape[:3])
        pinned = len(repeats) - 1 - settings.context
        unrestricted = np.array(settings.unrestricted(pinned))
        self._windowed = np.flatnonzero((repeats > 0) & ~unrestricted)
        self._everywhere = self._whole_frames(np.flatnonzero((repeats > 0) & unrestricted))
        self._reach = grids.reach(settings.radius, settings.window)

    def labels_of(self, query: np.ndarray) -> np.ndarray:
        """Return float32 [rows, columns, labels] of features [rows, columns, channels]."""
        labels = np.empty((*query.shape[:2], self._labels.shape[1]), np.float32)
        for columns in _tiles(query.shape[1]):
            first_column = max(columns.start - self._reach, 0)
            strip = self._strip(slice(first_column, columns.stop + self._reach))
            for rows in _tiles(len(query)):
                first = max(rows.start - self._reach, 0)
                around = slice(first, rows.stop + self._reach)
                keys = _Keys(strip.features[around], strip.cell[around])
                near = self._near(rows, columns, first, first_column, keys.cell.shape)
                queries = query[rows, columns].reshape(-1, query.shape[2])
                found = self._labels_of_tile(queries, keys, near)
                labels[rows, columns] = found.reshape(labels[rows, columns].shape)
        return labels

    def _strip(self, columns: slice) -> _Keys:
        """Return the windowed frames of a strip, [rows, frames, columns]."""
        order = 1, 0, 2
        features = self._features[self._windowed, :, columns].transpose(*order, 3)
        cells = self._cells[self._windowed, :, columns].transpose(order)
        return _Keys(np.ascontiguousarray(features), cells)

    def _whole_frames(self, slots: np.ndarray) -> _Keys:
        """Return frames that are compared as a whole, in groups of a few rows of one column."""
        _, rows, columns, channels = self._features.shape
        members = grids.group_rows(rows)
        shape = len(slots) * rows // members, members, columns, channels
        features = self._features[slots].reshape(shape)
        return _Keys(features, self._cells[slots].reshape(features.shape[:3]))

    def _near(
        self, rows: slice, columns: slice, row: int, column: int, shape: tuple[int, ...]
    ) -> np.ndarray:
        """Return which cells each query may use, bool [rows around, columns around, queries]."""
        down, right = (
            first + np.arange(count)[:, None] - np.arange(own.start, own.stop)
            for first, count, own in ((row, shape[0], rows), (column, shape[2], columns))
        )
        vertical, horizontal = down[:, None, :, None], right[None, :, None, :]
        near = grids.inside(vertical, horizontal, self._settings.radius, self._settings.window)
        return near.reshape(shape[0], shape[2], -1)

    def _labels_of_tile(self, queries: np.ndarray, keys: _Keys, near: np.ndarray) -> np.ndarray:
        """Return float32 [queries, labels]."""
        compared: list[_Compared] = [
            (_similarity(queries, keys), keys, near),
            (_similarity(queries, self._everywhere), self._everywhere, None),
        ]
        parts = [_best(*part, self._settings.top_k) for part in compared]
        values, cells = (np.concatenate(part, axis=1) for part in zip(*parts))
        values, cells = _top(values, cells, self._settings.top_k)
        repeats = self._repeats[cells // self._cells[0].size]
        if not self._settings.keep_ties:
            return mean_labels(values, self._labels[cells], repeats, self._settings)
        before = np.cumsum(repeats, axis=1) - repeats
        kth = np.where(before < self._settings.top_k, values, np.inf).min(1)
        return self._labels_with_ties(compared, values[:, 0], kth)

    def _labels_with_ties(
        self, compared: list[_Compared], largest: np.ndarray, kth: np.ndarray
    ) -> np.ndarray:
        """Return float32 [queries, labels] of all candidates at least as similar as the k-th."""
        total = np.zeros((len(kth), self._labels.shape[1]))
        mass = np.zeros((len(kth), 1))
        for similarity, keys, near in compared:
            kept = (similarity >= kth) & (True if near is None else near[:, np.newaxis])
            scaled = (similarity - largest) / self._settings.temperature
            repeats = self._repeats[keys.cell // self._cells[0].size]
            weights = np.exp(np.where(kept, scaled, -np.inf)) * repeats[..., np.newaxis]
            weights = weights.reshape(-1, len(kth)).T
            total += weights @ self._labels[keys.cell.reshape(-1)]
            mass += weights.sum(1, keepdims=True)
        return (total / mass).astype(np.float32)


def mean_labels(
    similarity: np.ndarray, labels: np.ndarray, repeats: np.ndarray, settings: PropagationSettings
) -> np.ndarray:
    """Return the mean of the labels of candidates, without `keep_ties`.

    Args:
      similarity: float32 [queries, candidates], the best first.
      labels: float32 [queries, candidates, labels].
      repeats: int [queries, candidates], how often each candidate counts.
      settings: `top_k` and `temperature` are used.

    Returns:
      float32 [queries, labels].
    """
    before = np.cumsum(repeats, axis=1) - repeats
    copies = np.clip(settings.top_k - before, 0, repeats)
    weights = copies * np.exp((similarity - similarity[:, :1]) / settings.temperature)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return np.einsum('qk,qkl->ql', weights, labels)


def _tiles(length: int) -> Iterator[slice]:
    """Yield the fewest, nearly equal parts of range(length) of at most `TILE`."""
    count = -(-length // TILE)
    for tile in range(count):
        yield slice(tile * length // count, (tile + 1) * length // count)


def _similarity(queries: np.ndarray, keys: _Keys) -> np.ndarray:
    """Return float32 [outer, members, inner, queries]."""
    flat = keys.features.reshape(-1, queries.shape[1]) @ queries.T
    return flat.reshape(*keys.cell.shape, len(queries))


def _best(
    similarity: np.ndarray, keys: _Keys, near: np.ndarray | None, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the members of the best groups of each query, which hold its best keys.

    Args:
      similarity: float32 [outer, members, inner, queries].
      keys: of the same shape.
      near: bool [outer, inner, queries], the groups that a query may use; None for all.
      count: number of groups.

    Returns:
      Similarities, float32 [queries, candidates], -inf where a key is not allowed; and their
      cells, int [queries, candidates].
    """
    outer, members, inner, queries = similarity.shape
    if not outer:
        return np.empty((queries, 0), np.float32), np.empty((queries, 0), int)
    largest = similarity.max(1)
    if near is not None:
        largest = np.where(near, largest, -np.inf)
    largest = np.ascontiguousarray(largest.reshape(outer * inner, queries).T)
    largest, group = _top(largest, np.broadcast_to(np.arange(outer * inner), largest.shape), count)
    place = group // inner, slice(None), group % inner
    values = similarity[(*place, np.arange(queries)[:, None])]
    values = np.where(largest[..., None] > -np.inf, values, -np.inf)
    return values.reshape(queries, -1), keys.cell[place].reshape(queries, -1)


def _top(values: np.ndarray, companions: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the `count` largest values of each row, or all, descending, with their companions."""
    if count < values.shape[1]:
        kept = np.argpartition(values, values.shape[1] - count, axis=1)[:, -count:]
        values, companions = (np.take_along_axis(a, kept, 1) for a in (values, companions))
    order = np.argsort(-values, axis=1, kind='stable')
    return np.take_along_axis(values, order, 1), np.take_along_axis(companions, order, 1)
