"""The propagator in two parts: a search for similar cells, and labels carried by what it found.

It gives the labels of `propagator.Propagator` to float accuracy; with `precision` 'fast' only
nearly, as rounded features may miss others where known frames are searched one by one. Similar
cells do not depend on labels, so a search that keeps them makes the second pass over the same
frames much faster.
"""

from __future__ import annotations

from collections.abc import Sequence
import hashlib
from typing import NamedTuple, Protocol

import numpy as np

from stfc3_tf import errors
from stfc3_tf.propagation import numpy_propagator, shapes
from stfc3_tf.propagation.candidates import Candidates
from stfc3_tf.propagation.settings import PropagationSettings


class Frame(NamedTuple):
    """A frame to compare.

    Attributes:
      features: float32 [rows, columns, channels], L2-normalised over channels.
      digest: a text that changes with the features.
    """

    features: np.ndarray
    digest: str


class Search(Protocol):
    """Finds the most similar cells, see `candidates`."""

    def within_window(self, query: Frame, context: Sequence[Frame]) -> Candidates:
        """Return candidates of all context frames together."""

    def anywhere(self, query: Frame, frame: Frame) -> Candidates:
        """Return candidates of a whole frame."""


class MatchedPropagator:
    """Carries labels through a video as `propagator.Propagator` does, without `keep_ties`."""

    def __init__(self, settings: PropagationSettings, search: Search):
        if settings.keep_ties:
            raise errors.UserError('Candidates that are kept are cut: set keep_ties to False.')
        self._settings, self._search = settings, search
        self._known: list[Frame] = []
        # The frames before, by their place modulo the context; place 0 is the labelled frame.
        self._ring: dict[int, Frame] = {}
        # [slots, cells, labels]: first the ring, then the known frames.
        self._labels = np.zeros((0, 0, 0), np.float32)
        self._place = 0

    def start(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        pinned: Sequence[tuple[np.ndarray, np.ndarray]] = (),
    ) -> None:
        """See `propagator.Propagator.start`."""
        shapes.check_labelled(np.shape(features), np.shape(labels), pinned)
        given = [(features, labels), *pinned]
        self._known = [_frame(each) for each, _ in given]
        self._ring, self._place = {0: self._known[0]}, 0
        rows, columns, count = np.shape(labels)
        slots = self._settings.context + len(given)
        self._labels = np.zeros((slots, rows * columns, count), np.float32)
        self._labels[0] = np.reshape(labels, (-1, count))
        for slot, (_, known) in enumerate(given, self._settings.context):
            self._labels[slot] = np.reshape(known, (-1, count))

    def step(self, features: np.ndarray) -> np.ndarray:
        """Return the soft labels of the next frame, see `propagator.Propagator.step`."""
        if not self._known:
            raise shapes.not_started()
        query = _frame(features)
        first = self._known[0].features.shape
        shapes.check_shape(query.features.shape, first, self._place + 1)
        self._place += 1
        labels = self._carried(self._found(query))
        slot = self._place % self._settings.context
        self._ring[slot], self._labels[slot] = query, labels
        return labels.reshape(*first[:2], -1)

    def _found(self, query: Frame) -> list[_Found]:
        """Return the candidates among the frames before and among the known frames."""
        settings, found = self._settings, []
        places = range(max(0, self._place - settings.context), self._place)
        if not settings.first_among_preceding:
            places = range(max(1, places.start), self._place)
        if places:
            slots = np.array(places) % settings.context
            repeats = np.ones_like(slots)
            if places[0] == 0 and settings.repeat_first:
                repeats[0] += settings.context - self._place
            context = [self._ring[slot] for slot in slots.tolist()]
            found.append(_Found(self._search.within_window(query, context), slots, repeats))
        for slot, known in enumerate(self._known, settings.context):
            if settings.restrict_first:
                candidates = self._search.within_window(query, [known])
            else:
                candidates = self._search.anywhere(query, known)
            found.append(_Found(candidates, np.array([slot]), np.array([1])))
        return found

    def _carried(self, found: Sequence[_Found]) -> np.ndarray:
        """Return the mean labels of the best candidates, float32 [cells, labels]."""
        _, cells, count = self._labels.shape
        parts = [each.flat(cells) for each in found]
        similarity, rows, repeats = (np.concatenate(part, axis=1) for part in zip(*parts))
        most = min(self._settings.top_k, similarity.shape[1])
        best = np.argpartition(similarity, -most, axis=1)[:, -most:]
        order = np.argsort(-np.take_along_axis(similarity, best, 1), axis=1, kind='stable')
        best = np.take_along_axis(best, order, 1)
        similarity, rows, repeats = (
            np.take_along_axis(each, best, 1) for each in (similarity, rows, repeats)
        )
        labels = self._labels.reshape(-1, count)[rows]
        return numpy_propagator.mean_labels(similarity, labels, repeats, self._settings)


class _Found(NamedTuple):
    """Candidates of a frame.

    Attributes:
      candidates: see `Candidates`.
      slots: int [frames], where the labels of the context frames are.
      repeats: int [frames], how often each of them counts.
    """

    candidates: Candidates
    slots: np.ndarray
    repeats: np.ndarray

    def flat(self, cells: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return similarities, rows of the labels and repeats, each [cells, candidates]."""
        frame, cell = np.divmod(self.candidates.cell, cells)
        rows = self.slots[frame] * cells + cell
        return self.candidates.similarity, rows, self.repeats[frame]


def _frame(features: np.ndarray) -> Frame:
    features = np.ascontiguousarray(features, np.float32)
    return Frame(features, hashlib.blake2b(features.data, digest_size=20).hexdigest())
