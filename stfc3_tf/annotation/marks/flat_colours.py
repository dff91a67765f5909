"""The flat colours of a drawn mask whose borders smoothing or a lossy format blurred.

A flat colour fills a patch of 3x3 pixels. Pixels of other colours lie at borders: each gets the
most similar flat colour within a few pixels. Thin lines in few colours are not borders: their
colours count as flat too.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import cv2
import numpy as np

from stfc3_tf.storage import palette

_MOST_COLOURS = 256
# More colours without a patch are a sign of smoothing or of a lossy format.
_MOST_SINGLE = 32
_MOST_THIN = 16
# Shares of all pixels: at borders at most, and close to their flat colour at least.
_MOST_BORDERS = 0.25
_LEAST_CLOSE = 0.85
_CLOSE = 24


@dataclasses.dataclass(frozen=True)
class Flat:
    """A picture in flat colours.

    Attributes:
      index: int64 [height, width], the number of each pixel's colour.
      colours: uint8 [colours, 3].
      changed: number of pixels that had another colour.
      mixed: number of those whose colour was not even close to that which they got: they lie at
        borders.
    """

    index: np.ndarray
    colours: np.ndarray
    changed: int
    mixed: int


class _Tolerance(NamedTuple):
    """Largest differences of a channel, and the reach in pixels.

    Attributes:
      same: between pixels of one flat colour.
      patch: within a patch.
      between: by which a border may leave the range of the colours on its sides.
      reach: from a border to the colours on its sides.
    """

    same: int
    patch: int
    between: int
    reach: int


_EXACT = _Tolerance(same=0, patch=0, between=24, reach=4)
_CLEAN = _Tolerance(same=2, patch=0, between=24, reach=4)
_LOSSLESS = _Tolerance(same=8, patch=0, between=24, reach=4)
_LOSSY = _Tolerance(same=60, patch=16, between=60, reach=8)


def find(picture: np.ndarray, lossy: bool = False, exact: bool = False) -> Flat | None:
    """Return a picture in its flat colours.

    Args:
      picture: uint8 [height, width, 3].
      lossy: whether its file format changes colours.
      exact: whether very similar colours are different on purpose, as those of a palette are.

    Returns:
      The flat picture; None for a photograph, or if it is too smooth.
    """
    tolerance = _tolerance(picture, lossy, exact)
    colours = _patch_colours(picture, tolerance)
    if not 0 < len(colours) <= _MOST_COLOURS:
        return None
    index = _assigned(picture, colours, tolerance.same)
    border = index < 0
    if border.mean() > _MOST_BORDERS:
        return None
    strange = border & ~_between(picture, border, tolerance)
    thin = np.unique(palette.packed_colours(picture[strange]))
    if len(thin) > _MOST_THIN or (len(thin) and tolerance is _LOSSY):
        if strange.mean() > 1e-3:
            return None
    elif len(thin):
        colours = np.concatenate([colours, _unpacked(thin)])
        index = np.where(strange, _assigned(picture, colours, 0), index)
    index = _with_borders(picture, index, colours, tolerance.reach)
    distance = _distance(picture, colours[index])
    mixed = distance > _CLOSE
    if mixed.mean() > 1 - _LEAST_CLOSE:
        return None
    return Flat(index, colours, int((distance > 0).sum()), int(mixed.sum()))


def _tolerance(picture: np.ndarray, lossy: bool, exact: bool) -> _Tolerance:
    if exact or lossy:
        return _EXACT if exact else _LOSSY
    single = _single_colours(picture)
    if single > _MOST_SINGLE:
        return _LOSSY
    return _LOSSLESS if single else _CLEAN


def _distance(picture: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return the largest difference of a channel, int [...]."""
    return np.abs(picture.astype(np.int16) - colours.astype(np.int16)).max(axis=-1)


def _patches(picture: np.ndarray, most: int) -> np.ndarray:
    """Return bool [height, width]: whether the 3x3 pixels around a pixel differ by up to `most`."""
    kernel = np.ones((3, 3), np.uint8)
    spread = cv2.dilate(picture, kernel).astype(np.int16) - cv2.erode(picture, kernel)
    return (spread <= most).all(axis=-1)


def _single_colours(picture: np.ndarray) -> int:
    """Return the number of colours that do not fill a patch."""
    packed = palette.packed_colours(picture)
    return len(np.unique(packed)) - len(np.unique(packed[_patches(picture, 0)]))


def _patch_colours(picture: np.ndarray, tolerance: _Tolerance) -> np.ndarray:
    """Return the colours that fill patches, the most frequent first, without similar ones."""
    packed = palette.packed_colours(picture[_patches(picture, tolerance.patch)])
    values, counts = np.unique(packed, return_counts=True)
    left = _unpacked(values[np.argsort(-counts, kind='stable')])
    chosen: list[np.ndarray] = []
    while len(left) and len(chosen) <= _MOST_COLOURS:
        chosen.append(left[0])
        left = left[_distance(left, left[0]) > tolerance.same]
    return np.array(chosen, np.uint8).reshape(-1, 3)


def _unpacked(packed: np.ndarray) -> np.ndarray:
    return np.stack([packed >> 16, packed >> 8, packed], axis=-1).astype(np.uint8)


def _assigned(picture: np.ndarray, colours: np.ndarray, most: int) -> np.ndarray:
    """Return the number of the first colour that differs by at most `most`; -1 for none."""
    packed = palette.packed_colours(picture)
    values, inverse = np.unique(packed, return_inverse=True)
    found = np.full(len(values), -1)
    for number in reversed(range(len(colours))):
        found[_distance(_unpacked(values), colours[number]) <= most] = number
    return found[inverse.reshape(packed.shape)]


def _between(picture: np.ndarray, border: np.ndarray, tolerance: _Tolerance) -> np.ndarray:
    """Return bool [height, width]: whether a colour is in the range of the flat ones nearby."""
    kernel = _square(tolerance.reach)
    most = cv2.dilate(np.where(border[..., np.newaxis], 0, picture).astype(np.uint8), kernel)
    least = cv2.erode(np.where(border[..., np.newaxis], 255, picture).astype(np.uint8), kernel)
    wide = picture.astype(np.int16)
    above = wide >= least.astype(np.int16) - tolerance.between
    return (above & (wide <= most.astype(np.int16) + tolerance.between)).all(axis=-1)


def _with_borders(
    picture: np.ndarray, index: np.ndarray, colours: np.ndarray, reach: int
) -> np.ndarray:
    """Give border pixels, -1 in `index`, the most similar of the flat colours nearby."""
    border = index < 0
    if not border.any():
        return index
    pixels = picture[border]
    best, least = np.zeros(len(pixels), np.int64), np.full(len(pixels), 1 << 15)
    for number, colour in enumerate(colours):
        near = cv2.dilate((index == number).astype(np.uint8), _square(reach))[border] > 0
        distance = np.where(near, _distance(pixels, colour), _distance(pixels, colour) + 1024)
        best = np.where(distance < least, number, best)
        least = np.minimum(distance, least)
    index = index.copy()
    index[border] = best
    return index


def _square(reach: int) -> np.ndarray:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
