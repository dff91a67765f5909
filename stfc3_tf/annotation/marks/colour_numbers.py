"""Object numbers of masks in colours, so that a colour is the same object in every mask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import itertools
import re

import numpy as np

from stfc3_tf import errors
from stfc3_tf.annotation.marks.mask_file import Objects
from stfc3_tf.storage import palette

# Lossy formats change a colour by less than this in every channel.
_SAME = 24


def numbered_alike(masks: Mapping[int, Objects]) -> dict[int, Objects]:
    """Return the masks of some frames with one number for each colour.

    Colours are numbered in the order of the frames in which they first appear, and within a frame
    in the order of their codes. Masks that hold object numbers stay as they are, and give the
    colours of their palettes these numbers. But if two palettes number one colour differently,
    the colours count in both.

    Args:
      masks: frame -> its objects.

    Raises:
      errors.UserError: there are more colours than a mask can number.
    """
    known = _colours_of_palettes(masks.values())
    if known is None:
        masks = {frame: _by_colours(found) for frame, found in masks.items()}
        known = {}
    return {frame: _renumbered(frame, masks[frame], known) for frame in sorted(masks)}


def _colours_of_palettes(masks: Iterable[Objects]) -> dict[int, np.ndarray] | None:
    """Return number -> colour in masks that hold both, or None if a colour has two numbers."""
    numbers: dict[bytes, int] = {}
    known: dict[int, np.ndarray] = {}
    for found in masks:
        for number, code in _colours(found).items() if found.numbered else ():
            if numbers.setdefault(code.tobytes(), number) != number:
                return None
            known.setdefault(number, code)
    return known


def _by_colours(found: Objects) -> Objects:
    """Return objects whose colours count, if the file has colours."""
    return found._replace(numbered=found.numbered and not _colours(found))


def _renumbered(frame: int, found: Objects, known: dict[int, np.ndarray]) -> Objects:
    """Return the objects of a frame with the numbers of their colours; new ones join `known`."""
    codes = _colours(found)
    if found.numbered or len(codes) < len(found.marks):
        return found
    numbers: dict[int, int] = {}
    for number, code in codes.items():
        free = set(known) - set(numbers.values())
        distances = {k: int(np.abs(known[k] - code).max()) for k in free}
        nearest = min(distances, key=lambda k: (distances[k], k), default=None)
        if nearest is None or distances[nearest] >= _SAME:
            nearest = next(k for k in itertools.count(1) if k not in known)
            known[nearest] = code
        numbers[number] = nearest
    _check(frame, len(known))
    mask = np.zeros_like(found.mask)
    for number, new in numbers.items():
        mask[found.mask == number] = new
    return Objects(mask, {numbers[number]: mark for number, mark in found.marks.items()})


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
