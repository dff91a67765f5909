"""Similar cells of the frames of a video, kept on disk: propagation searches them once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import contextlib
import hashlib
import tempfile

import numpy as np

from stfc3_tf.propagation import candidates, choice
from stfc3_tf.propagation.candidates import Candidates
from stfc3_tf.propagation.matched_propagator import Frame, MatchedPropagator
from stfc3_tf.propagation.settings import PropagationSettings
from stfc3_tf.storage.bounded_folder import MOST_TEMPORARY, BoundedFolder


class KeptMatches:
    """The most similar cells of pairs of frames, in a folder."""

    def __init__(self, folder: str, most_bytes: int):
        """Look at what is kept; see `BoundedFolder`."""
        self._kept = BoundedFolder(folder, most_bytes)

    def propagator(self, settings: PropagationSettings) -> choice.AnyPropagator:
        """Return a propagator that keeps and uses what is here, if the settings allow it."""
        if settings.keep_ties:
            return choice.propagator(settings)
        return MatchedPropagator(settings, _Search(self._kept, settings))


@contextlib.contextmanager
def matches_for_now() -> Iterator[KeptMatches]:
    """Keep similar cells until the block ends, at most 4 GiB."""
    with tempfile.TemporaryDirectory() as folder:
        yield KeptMatches(folder, MOST_TEMPORARY)


class _Search:
    """See `matched_propagator.Search`."""

    def __init__(self, kept: BoundedFolder, settings: PropagationSettings):
        self._kept, self._settings = kept, settings

    def within_window(self, query: Frame, context: Sequence[Frame]) -> Candidates:
        """See `matched_propagator.Search`."""

        def search() -> Candidates:
            features = np.stack([frame.features for frame in context])
            return candidates.within_window(query.features, features, self._settings)

        chosen = self._settings
        settings = chosen.top_k, chosen.precision, chosen.window, chosen.radius
        return self._once(repr(settings), [query, *context], search)

    def anywhere(self, query: Frame, frame: Frame) -> Candidates:
        """See `matched_propagator.Search`."""
        return self._once(
            repr((self._settings.top_k, self._settings.precision)),
            [query, frame],
            lambda: candidates.anywhere(query.features, frame.features, self._settings),
        )

    def _once(
        self, salt: str, frames: Sequence[Frame], search: Callable[[], Candidates]
    ) -> Candidates:
        """Return what is kept of a search, or search and keep it."""
        text = ' '.join([salt, *(frame.digest for frame in frames)])
        name = hashlib.sha256(text.encode()).hexdigest()[:40]
        packed = self._kept.get(name)
        if packed is None:
            found = search()
            self._kept.put(name, np.stack([found.similarity.view(np.int32), found.cell]))
            return found
        return Candidates(packed[0].view(np.float32), packed[1])
