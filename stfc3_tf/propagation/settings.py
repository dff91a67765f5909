"""The settings of label propagation."""

from __future__ import annotations

import dataclasses
from typing import Literal

import gin

from stfc3_tf import checks, errors

# The features of so many frames are kept, and so many candidates of each cell.
_MOST_CONTEXT = 10_000
_MOST_KEPT = 1_000_000
_SWITCHES = ('restrict_first', 'first_among_preceding', 'repeat_first', 'keep_ties')


@gin.configurable
@dataclasses.dataclass(frozen=True)
class PropagationSettings:
    """Settings in which the propagation of published protocols differs.

    Attributes:
      context: number m of frames just before the query frame that are compared with it, besides
        the first frame.
      radius: size of the spatial window in cells of the feature grid; infinite for no window.
      window: 'disc', cells at a Euclidean distance < radius (CRW, VFS), or 'square', cells whose
        row and column both differ by <= radius (DINO).
      top_k: number k of candidates kept per query cell, over all context frames together.
      temperature: of the softmax over the kept similarities.
      restrict_first: whether the window also applies to the first frame (VFS, DINO: yes; CRW: no).
      first_among_preceding: whether the first frame, while it is one of the m preceding frames,
        counts there too (CRW, VFS: yes; DINO: no).
      repeat_first: whether copies of the first frame are put in front of the video, so that there
        are always m preceding frames (CRW: yes). The copies count among the top k.
      keep_ties: whether all candidates as similar as the k-th are kept (DINO), instead of exactly
        k.
      precision: 'exact', or 'fast' to find candidates by features rounded to bfloat16 before they
        are ranked in float32. That is faster on processors with bfloat16 instructions, and needs
        half as much memory again for the features of the context.
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
    precision: Literal['exact', 'fast'] = 'exact'

    def __post_init__(self) -> None:
        for check, names in (
            (checks.positive_number, ('radius',)),
            (checks.temperature, ('temperature',)),
            (checks.switch, _SWITCHES),
        ):
            for name in names:
                check(f'PropagationSettings.{name}', getattr(self, name))
        checks.whole_number('PropagationSettings.context', self.context, most=_MOST_CONTEXT)
        checks.whole_number('PropagationSettings.top_k', self.top_k, most=_MOST_KEPT)
        checks.one_of('PropagationSettings.window', self.window, ('disc', 'square'))
        checks.one_of('PropagationSettings.precision', self.precision, ('exact', 'fast'))
        if self.keep_ties and self.precision == 'fast':
            raise errors.UserError(
                'PropagationSettings.keep_ties needs precision = "exact": rounded features have '
                'other ties.'
            )
        if self.repeat_first and not self.first_among_preceding:
            raise errors.UserError(
                'PropagationSettings.repeat_first needs first_among_preceding: copies of the first '
                'frame stand among the preceding frames.'
            )

    def repeats(self, frame: int, pinned: int = 0) -> list[int]:
        """Return how often each kept frame counts when labels are carried to a frame.

        Slot 0 holds the first frame, slot 1 + t % context frame t of the preceding ones; pinned
        frames follow.

        Args:
          frame: number of the frame that gets labels, from 1.
          pinned: how many other frames with known labels are always in the context.

        Returns:
          1 + context + pinned numbers.
        """
        repeats = [1] + [0] * self.context
        for before in range(frame - self.context, frame):
            if (
                before > 0
                or (before == 0 and self.first_among_preceding)
                or (before < 0 and self.repeat_first)
            ):
                repeats[1 + max(before, 0) % self.context] += 1
        return repeats + [1] * pinned

    def unrestricted(self, pinned: int = 0) -> list[bool]:
        """Return for each slot of `repeats` whether the spatial window does not apply to it."""
        known = not self.restrict_first
        return [known] + [False] * self.context + [known] * pinned


def crw_settings(context: int = 20, radius: float = 12.0) -> PropagationSettings:
    """Return the settings of CRW, by default those for DAVIS, independent of gin."""
    return PropagationSettings(
        context=context,
        radius=radius,
        window='disc',
        top_k=10,
        temperature=0.05,
        restrict_first=False,
        first_among_preceding=True,
        repeat_first=True,
        keep_ties=False,
        precision='exact',
    )
