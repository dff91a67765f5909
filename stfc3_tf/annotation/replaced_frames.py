"""The frames whose results a propagation may replace."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Optional

import pydantic

from stfc3_tf import errors
from stfc3_tf.annotation.session_results import Results, Stretch

_Number = Annotated[int, pydantic.Field(ge=0, lt=10**9)]
_Last = Optional[_Number]


@dataclasses.dataclass(frozen=True)
class ReplacedFrames:
    """The frames that a propagation may write.

    Attributes:
      frame: the frame around which it begins.
      first: the first frame that may change.
      last: the last frame that may change; None for the last one of the video.
      missing: whether frames that have results already keep them.
    """

    frame: _Number = 0
    first: _Number = 0
    last: _Last = None
    missing: bool = False

    @property
    def are_all(self) -> bool:
        """Whether every frame of the video may change."""
        return not (self.first or self.missing) and self.last is None

    def check(self) -> None:
        """Raise UserError if there is no frame from `first` to `last`."""
        if self.last is not None and self.last < self.first:
            raise errors.UserError(
                f'There is no frame from {self.first} to {self.last}: swap the two numbers.'
            )

    def touches(self, stretch: Stretch, results: Results, count: int | None) -> bool:
        """Return whether a stretch has frames that may change.

        Args:
          stretch: the frames that are propagated to.
          results: of earlier propagations.
          count: frames of the video; None if it is not known.
        """
        found = self.among(stretch, results, count)
        if found is None:
            return self.last is None or self.last >= stretch.first
        return bool(found)

    def among(self, stretch: Stretch, results: Results, count: int | None) -> set[int] | None:
        """Return the frames of a stretch that may change; None if its end is not known.

        Args:
          stretch: the frames that are propagated to.
          results: of earlier propagations.
          count: see `touches`.
        """
        numbers = stretch.numbers(count)
        if numbers is None:
            return None
        return {number for number in numbers if self.takes(number, stretch, results)}

    def takes(self, number: int, stretch: Stretch, results: Results) -> bool:
        """Return whether a frame of a stretch may change.

        Args:
          number: of the frame.
          stretch: the frames that are propagated to.
          results: of earlier propagations.
        """
        if number < self.first or (self.last is not None and number > self.last):
            return False
        return not (self.missing and results.has(number, stretch.things))
