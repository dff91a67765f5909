"""Object numbers of masks in colours, so that a colour is the same object in every mask."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
import itertools
import re

from absl import logging
import numpy as np

from stfc3_tf import errors
from stfc3_tf.annotation.marks.mask_file import Objects
from stfc3_tf.storage import palette

# Lossy formats change a colour by less than this in every channel.
_SAME = 24
# Marks that any object may have.
_NO_COLOUR = ('white', 'opaque, in many colours')


def numbered_alike(
    masks: Mapping[int, Objects], named: Mapping[int, Collection[int]] | None = None
) -> dict[int, Objects]:
    """Return the masks of some frames with one number for each colour.

    Colours are numbered in the order of the frames in which they first appear, and within a frame
    in the order of their codes. Masks that hold object numbers stay as they are, and give the
    colours of their palettes these numbers. But if two palettes number one colour differently,
    the colours count in both.

    Beside masks of numbers without colours, a new colour gets a number that those of earlier frames
    do not use; if the first mask has numbers, one that none uses. Later ones may be corrected
    results of a run that numbered these very colours. A log line says which colour got which.

    Args:
      masks: frame -> its objects.
      named: frame -> the objects that its mask is about. One alone is the one that a new colour
        alone shows, if a mask of numbers has it.

    Raises:
      errors.UserError: there are more colours than a mask can number, or a mask shows one object in
        no colour of its own and others have several numbers.
    """
    known = _colours_of_palettes(masks.values())
    if known is None:
        masks = {frame: _by_colours(found) for frame, found in masks.items()}
        known = {}
    numbering = _Numbering(known, masks, named or {})
    found = {frame: numbering.renumbered(frame, masks[frame]) for frame in sorted(masks)}
    numbering.warn()
    return found


def _colours_of_palettes(masks: Iterable[Objects]) -> dict[int, list[np.ndarray]] | None:
    """Return number -> colours in masks that hold both, or None if a colour has two numbers."""
    numbers: dict[bytes, int] = {}
    known: dict[int, list[np.ndarray]] = {}
    for found in masks:
        for number, code in _colours(found).items() if found.numbered else ():
            if numbers.setdefault(code.tobytes(), number) != number:
                return None
            known.setdefault(number, []).append(code)
    return known


def _by_colours(found: Objects) -> Objects:
    """Return objects whose colours count, if the file has colours."""
    return found._replace(numbered=found.numbered and not _colours(found))


class _Numbering:
    """Numbers for the colours of masks, frame by frame in the order of time."""

    def __init__(
        self,
        known: dict[int, list[np.ndarray]],
        masks: Mapping[int, Objects],
        named: Mapping[int, Collection[int]],
    ):
        """Begin.

        Args:
          known: number -> its colours; new ones join.
          masks: see `numbered_alike`.
          named: see `numbered_alike`.
        """
        self._known, self._named = known, named
        self._new: dict[str, int] = {}
        alone = {frame: set(each.marks) - set(_colours(each)) for frame, each in masks.items()}
        self._alone = {frame: numbers for frame, numbers in alone.items() if numbers}
        self._used: set[int] = set().union(*self._alone.values())
        first = min((frame for frame, found in masks.items() if found.marks), default=None)
        self._numbers_first = first is not None and (masks[first].numbered or first in self._alone)

    def renumbered(self, frame: int, found: Objects) -> Objects:
        """Return the objects of a frame with the numbers of their colours."""
        if found.numbered:
            return found
        codes = _colours(found)
        numbers: dict[int, int] = {}
        for number in found.marks:
            near = self._near(codes[number], set(numbers.values())) if number in codes else None
            numbers[number] = near or self._added(frame, found, number)
        mask = np.zeros_like(found.mask)
        for number, new in numbers.items():
            mask[found.mask == number] = new
        return Objects(mask, {numbers[number]: mark for number, mark in found.marks.items()})

    def _near(self, code: np.ndarray, others: set[int]) -> int | None:
        """Return the number that has a colour, if any but `others` has."""
        free = set(self._known) - others
        distances = {
            k: min(int(np.abs(each - code).max()) for each in self._known[k]) for k in free
        }
        nearest = min(distances, key=lambda k: (distances[k], k), default=None)
        return None if nearest is None or distances[nearest] >= _SAME else nearest

    def _added(self, frame: int, found: Objects, number: int) -> int:
        """Return the number of an object with a new colour, or with none."""
        code = _colour(found.marks[number])
        new = self._named_alone(frame, found)
        if new is None:
            taken = self._taken(frame, found)
            _check_clear(frame, found, taken if code is not None else taken | set(self._known))
            taken |= set() if code is None else set(self._known)
            new = next(k for k in itertools.count(1) if k not in taken)
            _check(frame, len(taken | {new}))
        if code is not None:
            self._known.setdefault(new, []).append(code)
            self._new[found.marks[number]] = new
        return new

    def _named_alone(self, frame: int, found: Objects) -> int | None:
        """Return the only object that a mask is about, if it shows one and others know it."""
        named = set(self._named.get(frame, ()))
        others = self._used | set(self._known)
        is_clear = self._used and len(found.marks) == len(named) == 1 and named <= others
        return named.pop() if is_clear else None

    def _taken(self, frame: int, found: Objects) -> set[int]:
        """Return the numbers without colours that new colours of a mask do not get."""
        earlier = [
            numbers
            for each, numbers in self._alone.items()
            if each < frame or (self._numbers_first and each != frame)
        ]
        taken: set[int] = set().union(*earlier)
        # One object here, and one there: a correction.
        is_same = len(found.marks) == 1 and taken == {1} and set(self._known) <= {1}
        if is_same and (not self._known or not _colours(found)):
            return set()
        return taken

    def warn(self) -> None:
        """Log which colours got which numbers beside objects without, unless that is clear."""
        is_one = self._used == {1} and set(self._new.values()) == {1}
        if not self._used or not self._new or (is_one and all(map(_is_cut_out, self._new))):
            return
        logging.warning(
            'Objects have numbers without colours in frame %d (%s), and colours in others: %s. If '
            'that is wrong, draw all masks in the same colours, or all with numbers.',
            min(self._alone),
            ', '.join(map(str, sorted(self._used))),
            ', '.join(f'{mark} is object {number}' for mark, number in self._new.items()),
        )


def _is_cut_out(mark: str) -> bool:
    """Return whether a mark is that of a mask of one object."""
    return mark == 'white' or mark.startswith('opaque')


def _check_clear(frame: int, found: Objects, taken: set[int]) -> None:
    """Raise UserError if a mask shows one of several objects, and does not say which."""
    if len(taken) > 1 and any(mark in _NO_COLOUR for mark in found.marks.values()):
        mark = next(iter(found.marks.values()))
        raise errors.UserError(
            f'The mask of frame {frame} shows one object ({mark}), and other masks the objects '
            f'{", ".join(map(str, sorted(taken)))}: which is it? Draw it with its number or '
            f'colour, or name the one it is about, as --objects={frame}:{max(taken)}.'
        )


def _check(frame: int, count: int) -> None:
    if count > palette.MOST_NUMBER:
        raise errors.UserError(
            f'The masks up to frame {frame} show {count} colours, and each is an object: a mask '
            f'holds {palette.MOST_NUMBER}. Give an object the same colour in all masks.'
        )


def _colours(found: Objects) -> dict[int, np.ndarray]:
    """Return number -> colour of the objects that the file marks by one."""
    colours = {number: _colour(mark) for number, mark in found.marks.items()}
    return {number: colour for number, colour in colours.items() if colour is not None}


def _colour(mark: str) -> np.ndarray | None:
    """Return the colour by which a file marks an object, int [3], or None for a number."""
    code = re.search('#([0-9a-f]{6})', '#ffffff' if mark == 'white' else mark)
    return np.array(list(bytes.fromhex(code[1])), int) if code else None
