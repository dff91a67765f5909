"""Object numbers of masks in colours, so that a colour is the same object in every mask."""

from __future__ import annotations

from collections.abc import Mapping
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
    in the order of their codes. Masks that hold object numbers stay as they are.

    Args:
      masks: frame -> its objects.

    Raises:
      errors.UserError: there are more colours than a mask can number.
    """
    colours: list[np.ndarray] = []
    return {frame: _renumbered(frame, masks[frame], colours) for frame in sorted(masks)}


def _renumbered(frame: int, found: Objects, colours: list[np.ndarray]) -> Objects:
    marks = [(number, _colour(mark)) for number, mark in found.marks.items()]
    codes = {number: code for number, code in marks if code is not None}
    if len(codes) < len(marks):
        return found  # The file holds numbers.
    numbers: dict[int, int] = {}
    for number, code in codes.items():
        free = [k for k in range(len(colours)) if k + 1 not in numbers.values()]
        near = [k for k in free if np.abs(colours[k] - code).max() < _SAME]
        if near:
            numbers[number] = 1 + min(near, key=lambda k: int(np.abs(colours[k] - code).max()))
        else:
            colours.append(code)
            numbers[number] = len(colours)
    _check(frame, len(colours))
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


def _colour(mark: str) -> np.ndarray | None:
    """Return the colour by which a file marks an object, int [3], or None for a number."""
    code = re.search('#([0-9a-f]{6})', '#ffffff' if mark == 'white' else mark)
    return np.array(list(bytes.fromhex(code[1])), int) if code else None
