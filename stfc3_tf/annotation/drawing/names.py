"""The size of names so that they fit into a picture, and substitutes for those that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import functools
from typing import NamedTuple

from absl import logging

from stfc3_tf.figures import lettering
from stfc3_tf.figures.lettering import Lettering

Box = tuple[int, int, int, int]
# Whether names with these boxes (see `lettering.extent`), in letters of this height, fit.
Fits = Callable[[Sequence[Box], int], bool]

# Letters are at least as high as this, in pixels, and as the short side divided by this.
_LEAST_LETTERS, _LEAST_SHARE = 8, 60
# Names are shortened to these numbers of characters, one after the other, until they fit.
_SHORTER = (24, 16, 12, 8)


class Written(NamedTuple):
    """Names as they are written.

    Attributes:
      letterings: one for each name; none if nothing fits.
      height: of their letters, in pixels.
    """

    letterings: list[Lettering]
    height: int


class Names:
    """Names of objects or points, fitted into pictures of some size.

    Smaller letters come first, then shortened names, then numbers; if these do not fit, nothing is
    written. The log says so in the last two cases.
    """

    def __init__(self, kind: str, names: Sequence[str], numbers: Sequence[int]):
        """Choose fonts.

        Args:
          kind: 'object' or 'point', for messages.
          names: of them all.
          numbers: in their place.
        """
        self._kind, self._names = kind, lettering.letterings(names)
        self._numbers = [lettering.of(str(number)) for number in numbers]
        self._written: dict[tuple[int, int], Written] = {}

    def written(self, size: tuple[int, int], height: int, fits: Fits) -> Written:
        """Return how the names are written in pictures of a size.

        Args:
          size: (height, width) of the pictures.
          height: of the letters, in pixels, if there is room.
          fits: see above.
        """
        if size not in self._written:
            found = self._fitted(min(size), height, fits)
            self._log(found.letterings, size)
            self._written[size] = found
        return self._written[size]

    def _fitted(self, short_side: int, height: int, fits: Fits) -> Written:
        least = min(height, max(_LEAST_LETTERS, round(short_side / _LEAST_SHARE)))
        for letterings in self._choices():
            for tried in (*range(height, least, -max(1, height // 8)), least):
                if fits([lettering.extent(each, tried) for each in letterings], tried):
                    return Written(letterings, tried)
        return Written([], height)

    def _choices(self) -> Iterator[list[Lettering]]:
        yield self._names
        for most in _SHORTER:
            shorter = [lettering.shortened(name, most) for name in self._names]
            # Names that look the same tell nothing.
            if len(set(shorter)) == len(set(self._names)):
                yield shorter
        yield self._numbers

    def _log(self, letterings: list[Lettering], size: tuple[int, int]) -> None:
        if letterings != self._names and letterings in (self._numbers, []):
            _log_once(len(self._names), self._kind, size, bool(letterings))


# A preview and an overlay show the same names.
@functools.lru_cache(maxsize=1024)
def _log_once(count: int, kind: str, size: tuple[int, int], as_numbers: bool) -> None:
    logging.warning(
        'Pictures of %dx%d pixels (width x height) have no room for the names of %d %ss: %s.',
        *(size[1], size[0], count, kind),
        'their numbers are drawn' if as_numbers else 'none are drawn',
    )
