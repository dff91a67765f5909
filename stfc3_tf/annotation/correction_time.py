"""The time of a correction in a session, beside that of a full run with the same labels.

A person labels frame 0 of a built-in scene of 70 frames and corrects one frame after the other.
After a correction only the stretches beside it are computed, from what was kept before. While a
person marks, the page searches for similar cells, which do not depend on the mark: so a correction
is carried twice, first with another mask, which is that search, and then with the right one. The
full run begins with nothing. Times are those of all processor cores together, so that other work on
the machine changes them little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import time

import numpy as np

from stfc3_tf.annotation import frame_lists, kept_features, kept_matches, stretches
from stfc3_tf.annotation.session import GivenMask
from stfc3_tf.clips import synthetic
from stfc3_tf.propagation.extractor import FeatureExtractor
from stfc3_tf.propagation.settings import PropagationSettings
from stfc3_tf.serving import loading

_FRAMES, _SIZE = 70, (480, 854)
_CORRECTED = (35, 17, 52, 26, 61)


def measure(saved_model: str, short_side: int | None) -> dict[str, float]:
    """Return the seconds of each correction, of the search before it, and of a full run.

    The ratio is that of the correction and the full run; without the search before it, a correction
    takes about as long as that search.

    Args:
      saved_model: see `loading.load`.
      short_side: see `propagate.propagate_masks`.
    """
    scene = synthetic.scene(1_000_000_007, *_SIZE)
    clip = frame_lists.Listed([scene.frame(place / 24) for place in range(_FRAMES)])
    masks = {place: scene.masks(place / 24) for place in (0, *_CORRECTED)}
    numbers = tuple(int(n) for n in np.unique(np.stack([*masks.values()])) if n)
    given = {place: GivenMask(mask.astype(np.uint8), numbers) for place, mask in masks.items()}
    encoder = loading.load(saved_model)
    figures: dict[str, float] = {}
    with _nothing_kept(encoder, clip, short_side) as session:
        session.carry(_first(given, 0), [])
        for count in range(1, 1 + len(_CORRECTED)):
            before, after = _first(given, count - 1), _first(given, count)
            other = {**after, _CORRECTED[count - 1]: given[0]}
            done = session.plan(before)
            searching, seconds = (session.carry(masks, done) for masks in (other, after))
            with _nothing_kept(encoder, clip, short_side) as fresh:
                full = fresh.carry(after, [])
            figures[f'search {count}, seconds'] = searching
            figures[f'correction {count}, seconds'] = seconds
            figures[f'full run {count}, seconds'] = full
            figures[f'ratio {count}'] = seconds / full
            figures[f'ratio {count}, not searched'] = searching / full
    return figures


def _first(given: Mapping[int, GivenMask], count: int) -> dict[int, GivenMask]:
    """Return the labels after so many corrections."""
    return {place: given[place] for place in (0, *_CORRECTED[:count])}


@dataclasses.dataclass(frozen=True)
class _Session:
    """A video, and how labels are carried through it."""

    method: stretches.Method
    clip: frame_lists.Listed

    def plan(self, given: Mapping[int, GivenMask]) -> list[stretches.Planned]:
        return stretches.plan_masks(given, '')

    def carry(self, given: Mapping[int, GivenMask], done: Sequence[stretches.Planned]) -> float:
        """Compute all stretches that are not done; return the seconds of all cores together."""
        begun = time.process_time()
        for planned in self.plan(given):
            if planned not in done:
                for _ in stretches.carry_masks(self.method, self.clip, planned, given):
                    pass
        return time.process_time() - begun


@contextlib.contextmanager
def _nothing_kept(
    encoder: FeatureExtractor, clip: frame_lists.Listed, short_side: int | None
) -> Iterator[_Session]:
    """Return a session that has kept nothing yet; what it keeps is removed at the end."""
    with kept_features.kept_for_now(encoder) as ours, kept_matches.matches_for_now() as matches:
        settings, nothing = PropagationSettings(), lambda: None
        method = stretches.Method(ours, settings, short_side, nothing, matches.propagator)
        yield _Session(method, clip)
