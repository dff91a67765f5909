"""The time of a correction in a session, beside that of a full run with the same labels.

A person labels frame 0 of a built-in scene of 70 frames and corrects one frame after the other.
After a correction only the stretches beside it are computed, from kept features. The full run
begins with nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import time

import numpy as np

from stfc3_tf.annotation import frame_lists, kept_features, stretches
from stfc3_tf.annotation.session import GivenMask
from stfc3_tf.clips import synthetic
from stfc3_tf.propagation.settings import PropagationSettings
from stfc3_tf.serving import loading

_FRAMES, _SIZE = 70, (480, 854)
_CORRECTED = (35, 17, 52, 26, 61)
_TIMED = (1, 3, 5)


def measure(saved_model: str, short_side: int | None) -> dict[str, float]:
    """Return seconds and ratios of the first, the third and the fifth correction.

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
    with kept_features.kept_for_now(encoder) as ours:
        session = _Session(ours, clip, short_side)
        session.carry(_first(given, 0), [])
        for count in _TIMED:
            before, after = _first(given, count - 1), _first(given, count)
            seconds = [session.carry(after, session.plan(before))]
            with kept_features.kept_for_now(encoder) as kept:
                full = dataclasses.replace(session, encoder=kept).carry(after, [])
            seconds.append(session.carry(after, session.plan(before)))
            figures[f'correction {count}, seconds'] = float(np.mean(seconds))
            figures[f'full run {count}, seconds'] = full
            figures[f'ratio {count}'] = float(np.mean(seconds)) / full
    return figures


def _first(given: Mapping[int, GivenMask], count: int) -> dict[int, GivenMask]:
    """Return the labels after so many corrections."""
    return {place: given[place] for place in (0, *_CORRECTED[:count])}


@dataclasses.dataclass(frozen=True)
class _Session:
    """A video, and the encoder that keeps its features."""

    encoder: kept_features.KeptFeatures
    clip: frame_lists.Listed
    short_side: int | None

    def plan(self, given: Mapping[int, GivenMask]) -> list[stretches.Planned]:
        return stretches.plan_masks(given, '')

    def carry(self, given: Mapping[int, GivenMask], done: Sequence[stretches.Planned]) -> float:
        """Compute all stretches that are not done; return the seconds that it took."""
        begun = time.monotonic()
        method = stretches.Method(
            self.encoder, PropagationSettings(), self.short_side, lambda: None
        )
        for planned in self.plan(given):
            if planned not in done:
                for _ in stretches.carry_masks(method, self.clip, planned, given):
                    pass
        return time.monotonic() - begun
