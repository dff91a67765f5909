"""Masks that a user drew, read from a picture of any kind.

    transparency      opaque pixels are marked, black ones too; but number 0 is background
    palette           indices are object numbers; if index 0 is not black, colours count
    grey, small       values are object numbers 1, 2, ..., and 255 is void
    grey, others      black and white for one object; shades for several, the darkest first
    colours of DAVIS  their object numbers
    other colours     one per object on black, in the order of their codes #rrggbb

Borders that smoothing or a lossy format blurred get the most similar colour, with a warning.
"""

from __future__ import annotations

from collections.abc import Callable
import fractions
from typing import NamedTuple

from absl import logging
import numpy as np
from PIL import Image

from stfc3_tf import errors, wording
from stfc3_tf.annotation.marks import flat_colours
from stfc3_tf.storage import files, images, palette

# Larger values beside 255 are shades of grey.
_MOST_NUMBER_BESIDE_VOID = 31
_LOSSY_FORMATS = ('JPEG', 'MPO', 'WEBP', 'AVIF', 'JPEG2000')
# Objects that cover a larger share, up to all borders, may be the background by mistake.
_MOST_COVERED = 0.8
_BLACK = 10
_BLACK_LOSSY = 40


class NotFlatError(errors.UserError):
    """A picture is not a mask: it is a photograph, or smoothed."""


class Objects(NamedTuple):
    """The objects of a mask.

    Attributes:
      mask: uint8 [height, width] of object numbers, 0 the background.
      marks: how the file marks each object, by number.
      numbered: whether these numbers are in the file. If it has a palette of its own, the marks
        have colours as well.
    """

    mask: np.ndarray
    marks: dict[int, str]
    numbered: bool = False


def read(
    path: str,
    size: tuple[int, int],
    pixel_aspect: fractions.Fraction = fractions.Fraction(1),
    may_be_empty: bool = False,
) -> Objects:
    """Read a mask.

    Args:
      path: a picture; see above for the kinds.
      size: (height, width) of the frame that it marks.
      pixel_aspect: width / height of the frame's pixels as players show them.
      may_be_empty: whether a mask without objects is right: there are none in this frame.

    Returns:
      The objects, at the size of the frame.

    Raises:
      NotFlatError: it is a photograph.
      errors.UserError: it cannot be read, has another size, marks nothing, or is not a mask.
    """
    image = _picture(path)
    found = _objects(path, image)
    found = found._replace(mask=_resized(path, found.mask, size, pixel_aspect))
    if not (may_be_empty or found.mask.any()):
        raise errors.UserError(
            f'{path} is empty: paint the object in any colour other than black (a value other '
            'than 0).'
        )
    _warn_if_inverted(path, found.mask)
    return found


def _picture(path: str) -> Image.Image:
    contents = files.read_bytes(path)
    try:
        return images.decode(contents, path)
    except images.UnreadablePicture as error:
        raise errors.UserError(
            f'{path} is not a readable image ({error.reason}): give a mask as a palette or grey '
            'PNG.'
        ) from error


def _objects(path: str, image: Image.Image) -> Objects:
    if images.has_alpha(image):
        alpha = np.asarray(image.convert('RGBA'))[..., 3]
        if not (alpha >= images.OPAQUE).any():
            more = ', or more than half transparent' if alpha.any() else ''
            raise errors.UserError(f'{path} is empty: all of its pixels are transparent{more}.')
        if not (alpha >= images.OPAQUE).all():
            return _on_transparent(path, image, alpha)
    if image.mode == 'P':
        return _indexed(path, image)
    if image.mode.startswith('I'):
        return _grey(path, _eight_bits(path, np.asarray(image)), lossy=False)
    if image.mode == 'F':
        raise errors.UserError(f'{path} holds floating-point numbers: save it as PNG.')
    lossy = image.format in _LOSSY_FORMATS
    picture = np.asarray(image.convert('RGB'))
    if (picture == picture[..., :1]).all():
        return _grey(path, picture[..., 0], lossy)
    return _coloured(path, picture, lossy)


def _on_transparent(path: str, image: Image.Image, alpha: np.ndarray) -> Objects:
    """Return the opaque parts; their colours are different objects."""
    opaque = alpha >= images.OPAQUE
    _warn_of_transparency(path, int(((alpha > 0) & (alpha < 255)).sum()))
    picture = np.asarray(image.convert('RGBA'))[..., :3].copy()
    colours = np.unique(palette.packed_colours(picture[opaque]))
    index = _davis_colours(picture[opaque])
    if index is not None:
        numbers = np.zeros(opaque.shape, np.uint8)
        numbers[opaque] = index
        return _numbers(numbers, 'colour {} of DAVIS'.format)
    if len(colours) == 1:
        return Objects(opaque.astype(np.uint8), {1: f'opaque, {_code(colours[0])}'})
    if _has_ground(image, opaque):
        return _on_ground(path, image, opaque)
    flat = _flat_opaque(picture, opaque, colours)
    if flat is None:
        return Objects(opaque.astype(np.uint8), {1: 'opaque, in many colours'})
    # What is as the rest of the picture was filled is a border next to it.
    kept = np.isin(palette.packed_colours(flat.colours), colours)[flat.index]
    return _numbered(flat, black=-1, background=~(opaque & kept))


def _has_ground(image: Image.Image, opaque: np.ndarray) -> bool:
    """Return whether opaque black is the number 0 of a picture of numbers, and so background."""
    if image.mode not in ('P', 'L') or (image.mode == 'P' and _palette_of(image)[0].any()):
        return False
    return bool((np.asarray(image)[opaque] == 0).any())


def _on_ground(path: str, image: Image.Image, opaque: np.ndarray) -> Objects:
    """Return the objects of a picture of numbers of which transparent pixels are background."""
    logging.warning(
        '%s: %s of number 0, black and opaque, are background, as the transparent ones are. Save '
        'it with an alpha channel if black is an object.',
        path,
        wording.counted(int((np.asarray(image)[opaque] == 0).sum()), 'pixel'),
    )
    numbers = np.where(opaque, np.asarray(image), 0).astype(np.uint8)
    if image.mode == 'L':
        return _grey(path, numbers, lossy=False)
    opaque_image = Image.fromarray(numbers, 'P')
    opaque_image.putpalette(_palette_of(image).tobytes())
    return _indexed(path, opaque_image)


def _davis_colours(pixels: np.ndarray) -> np.ndarray | None:
    """Return the numbers of DAVIS' colours, or None for greys, black, and colours of others."""
    grey = (pixels == pixels[:, :1]).all()
    index = None if grey else palette.davis_index(pixels)
    return index if index is not None and index.all() else None


def _flat_opaque(
    picture: np.ndarray, opaque: np.ndarray, colours: np.ndarray
) -> flat_colours.Flat | None:
    """Find the colours of the opaque part; the colour of the rest must not mix with them."""
    # The codes are sorted, so the first that is not at its own place leaves that place free.
    gaps = np.flatnonzero(colours != np.arange(len(colours)))
    free = int(gaps[0]) if len(gaps) else len(colours)
    picture[~opaque] = [free >> 16, free >> 8 & 255, free & 255]
    return flat_colours.find(picture, exact=True)


def _indexed(path: str, image: Image.Image) -> Objects:
    """Return the objects of an image with a palette."""
    index = np.asarray(image)
    used = np.unique(index)
    colours = _palette_of(image)
    packed = palette.packed_colours(colours[used])
    if np.array_equal(colours[used], palette.DAVIS[used]) or len(set(packed.tolist())) < len(used):
        return _numbers(index, 'index {}'.format)
    picture = colours[index]
    if (colours[used] == used[:, np.newaxis]).all():
        return _grey(path, index, lossy=False)
    flat = flat_colours.find(picture, exact=True)
    if flat is None:
        raise _no_mask(path, f'{len(used)} colours')
    is_black = (colours[used] == 0).all(axis=-1)
    if is_black.any() and used[is_black][0] != 0:
        _warn(path, flat)
        return _numbered(flat, black=0)
    codes = palette.packed_colours(colours)
    mark = lambda number: f'index {number}, {_code(int(codes[number]))}'
    if not flat.changed:
        return _numbers(index, mark)
    _warn(path, flat)
    numbers = {int(code): int(number) for code, number in zip(packed, used)}
    kept = np.array([numbers[int(code)] for code in palette.packed_colours(flat.colours)])
    return _numbers(kept[flat.index].astype(np.uint8), mark)


def _palette_of(image: Image.Image) -> np.ndarray:
    """Return the colours of a palette, uint8 [256, 3]; black where it is shorter."""
    stored = np.array(image.getpalette('RGB') or [], np.uint8).reshape(-1, 3)[:256]
    return np.concatenate([stored, np.zeros((256 - len(stored), 3), np.uint8)])


def _eight_bits(path: str, numbers: np.ndarray) -> np.ndarray:
    """Return the values of a grey picture of more bits as uint8."""
    least, most = int(numbers.min()), int(numbers.max())
    if least >= 0 and 255 < most <= 0xFFFF:
        # 16 bits from black to white, as long as different shades stay different.
        shades = np.unique(numbers)
        exact = not (shades % 257).any()
        apart = len(np.unique(np.rint(shades / 257))) == len(shades)
        if exact or (apart and most == 0xFFFF):
            return np.rint(numbers / 257).astype(np.uint8)
    if least < 0 or most > 255:
        raise errors.UserError(f'{path} holds {least} to {most}: object numbers are 0 to 255.')
    return numbers.astype(np.uint8)


def _grey(path: str, values: np.ndarray, lossy: bool) -> Objects:
    """Return the objects of a grey picture: numbers, or shades."""
    used = [int(value) for value in np.unique(values) if value]
    others = [value for value in used if value != palette.VOID]
    if not lossy and max(others, default=0) <= _MOST_NUMBER_BESIDE_VOID:
        return _numbers(values, 'value {}'.format)
    flat = flat_colours.find(np.repeat(values[..., np.newaxis], 3, axis=-1), lossy)
    if flat is None:
        raise _no_mask(path, f'{len(np.unique(values))} shades of grey')
    if not flat.changed and palette.VOID not in used:
        return _numbers(values, 'value {}'.format)
    _warn(path, flat)
    return _numbered(flat, black=_BLACK_LOSSY if lossy else _BLACK)


def _coloured(path: str, picture: np.ndarray, lossy: bool) -> Objects:
    """Return the objects of a picture with one colour per object."""
    index = None if lossy else palette.davis_index(picture)
    if index is not None:
        return _numbers(index, 'colour {} of DAVIS'.format)
    flat = flat_colours.find(picture, lossy)
    if flat is None:
        raise _no_mask(path, f'{len(np.unique(palette.packed_colours(picture)))} colours')
    _warn(path, flat)
    black = _BLACK_LOSSY if lossy or flat.changed else _BLACK
    if not (flat.colours.max(axis=-1) <= black).any():
        raise errors.UserError(
            f'{path} has no black, which is the background: draw one colour per object on black '
            'or on a transparent background.'
        )
    return _numbered(flat, black)


def _numbers(values: np.ndarray, mark: Callable[[int], str]) -> Objects:
    """Return stored object numbers; 255 is void, or the only object if there is no other.

    Args:
      values: uint8 [height, width].
      mark: returns how the file marks a number.
    """
    used = [int(value) for value in np.unique(values) if value]
    if used == [palette.VOID]:
        return Objects((values == palette.VOID).astype(np.uint8), {1: 'white'})
    numbers = [number for number in used if number != palette.VOID]
    mask = np.where(values == palette.VOID, 0, values).astype(np.uint8)
    return Objects(mask, {number: mark(number) for number in numbers}, numbered=True)


def _numbered(flat: flat_colours.Flat, black: int, background: np.ndarray | None = None) -> Objects:
    """Return objects numbered in the order of the codes of their colours; black is background.

    Args:
      flat: the colours.
      black: the largest value of a channel of black.
      background: bool [height, width], pixels that are background whatever their colour.
    """
    index = flat.index if background is None else np.where(background, -1, flat.index)
    codes = palette.packed_colours(flat.colours)
    marked = [k for k in np.argsort(codes) if flat.colours[k].max() > black and (index == k).any()]
    mask = np.zeros(index.shape, np.uint8)
    marks = {}
    for number, k in enumerate(marked[: palette.MOST_NUMBER], 1):
        mask[index == k] = number
        marks[number] = _code(codes[k])
    return Objects(mask, marks)


def _code(packed: int) -> str:
    return f'#{int(packed):06x}'


def _warn(path: str, flat: flat_colours.Flat) -> None:
    """Log how many pixels did not have a flat colour."""
    if flat.mixed:
        found = 'at the borders of its objects had a colour between those beside them'
    elif flat.changed:
        found = 'had nearly a flat colour'
    else:
        return
    logging.warning(
        '%s is smoothed, or its format is lossy: %s %s, and got the nearest flat colour. For exact '
        'borders, save it as PNG without smoothing.',
        path,
        wording.counted(flat.mixed or flat.changed, 'pixel'),
        found,
    )


def _warn_of_transparency(path: str, count: int) -> None:
    if count:
        logging.warning(
            '%s is transparent in part: of %s between transparent and opaque, those that are '
            'opaque by half or more are taken as marked.',
            path,
            wording.counted(count, 'pixel'),
        )


def _warn_if_inverted(path: str, mask: np.ndarray) -> None:
    marked = mask > 0
    borders = (marked[0], marked[-1], marked[:, 0], marked[:, -1])
    if marked.mean() > _MOST_COVERED and all(border.any() for border in borders):
        logging.warning(
            '%s: its objects cover %.0f %% of the frame and touch all of its borders. Is the mask '
            'inverted? Black is the background, every other colour an object.',
            path,
            100 * marked.mean(),
        )


def _no_mask(path: str, found: str) -> NotFlatError:
    return NotFlatError(
        f'{path} has {found} that are not flat, so it is not a mask: a photograph, or smoothed, '
        'or saved in a lossy format. Draw one flat colour per object on black, without smoothing, '
        'and save it as PNG.'
    )


def _resized(
    path: str, mask: np.ndarray, size: tuple[int, int], pixel_aspect: fractions.Fraction
) -> np.ndarray:
    """Return the mask at the frame's size; a mask of the shown size is accepted too."""
    if mask.shape == tuple(size):
        return mask
    height, width = size
    shown = [(height, width * pixel_aspect), (height / pixel_aspect, width)]
    if pixel_aspect != 1 and any(_near(mask.shape, each) for each in shown):
        image = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)
        return np.asarray(image)
    also = f' ({round(width * pixel_aspect)}x{height} as shown)' if pixel_aspect != 1 else ''
    raise errors.UserError(
        f'{path} is {mask.shape[1]}x{mask.shape[0]} (width x height), the frames are '
        f'{width}x{height}{also}: give a mask of their size, as they are shown upright.'
    )


def _near(found: tuple[int, ...], expected: tuple) -> bool:
    """Return whether two sizes differ only by rounding; players round to even numbers."""
    return all(abs(one - other) <= 2 for one, other in zip(found, expected))
