"""Names in pictures, in any script for which this machine has a font.

The font that comes with Matplotlib has Latin, Greek, Cyrillic and Arabic letters; for others the
fonts of the system are searched.
"""

from __future__ import annotations

from collections.abc import Sequence
import functools
from typing import NamedTuple

from absl import logging
from matplotlib import font_manager, ft2font
import numpy as np
from PIL import Image, ImageDraw, ImageFont

_DARK, _LIGHT = (0, 0, 0), (255, 255, 255)


class Lettering(NamedTuple):
    """A name in a font.

    Attributes:
      text: the name, or a number in its place if no font has its characters.
      font: the path of the font file.
    """

    text: str
    font: str


def letterings(names: Sequence[str]) -> list[Lettering]:
    """Choose a font for each name; log a warning about names for which there is none.

    Such a name is replaced by its number in the list, from 1.
    """
    chosen = [_font_of(frozenset(name)) for name in names]
    missing = [name for name, font in zip(names, chosen) if font is None]
    if missing:
        logging.warning(
            'No font here has the characters of %s: the overlay shows a number instead. Install a '
            'font that has them, such as Noto. The tables have the names as given.',
            ', '.join(map(repr, missing)),
        )
    return [
        Lettering(f'{number}', _own_font())
        if font is None
        else Lettering(' '.join(name.split()), font)
        for number, (name, font) in enumerate(zip(names, chosen), 1)
    ]


def write(
    canvas: np.ndarray,
    lettering: Lettering,
    place: tuple[int, int],
    height: int,
    colour: tuple[int, ...] = _LIGHT,
) -> None:
    """Write a name into a picture, light with a dark edge.

    Args:
      canvas: uint8 [height, width, 3], is changed.
      lettering: the name.
      place: (x, y) of the left end of the base line, in pixels.
      height: of the letters, in pixels.
      colour: of the letters, RGB; a light one.
    """
    font = _sized(lettering.font, height)
    left, top, right, bottom = extent(lettering, height)
    x, y = place
    rows = slice(max(0, y + top), max(0, y + bottom))
    columns = slice(max(0, x + left), max(0, x + right))
    part = canvas[rows, columns]
    if not part.size:
        return
    image = Image.fromarray(part)
    ImageDraw.Draw(image).text(
        (x - columns.start, y - rows.start),
        lettering.text,
        fill=colour,
        font=font,
        anchor='ls',
        stroke_width=1,
        stroke_fill=_DARK,
    )
    canvas[rows, columns] = np.asarray(image)


def extent(lettering: Lettering, height: int) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of a written name in pixels from its place.

    Args:
      lettering: the name.
      height: see `write`.

    Returns:
      The box.
    """
    font = _sized(lettering.font, height)
    left, top, right, bottom = font.getbbox(lettering.text, anchor='ls', stroke_width=1)
    return int(left), int(top), int(right) + 1, int(bottom) + 1


@functools.lru_cache(maxsize=64)
def _sized(path: str, height: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, height)


def _own_font() -> str:
    return font_manager.findfont('DejaVu Sans')


@functools.lru_cache(maxsize=1024)
def _font_of(characters: frozenset[str]) -> str | None:
    """Return a font that has all characters, or None."""
    needed = {ord(character) for character in characters if not character.isspace()}
    for path in (_own_font(), *_system_fonts()):
        if needed <= _characters_in(path):
            return path
    return None


@functools.lru_cache(maxsize=1)
def _system_fonts() -> tuple[str, ...]:
    return tuple(sorted(font_manager.findSystemFonts()))


@functools.lru_cache(maxsize=1024)
def _characters_in(path: str) -> frozenset[int]:
    try:
        ImageFont.truetype(path, 10)
        return frozenset(ft2font.FT2Font(path).get_charmap())
    # A font of the system may be damaged, or of a kind that one of the two libraries cannot read.
    except (OSError, RuntimeError, ValueError):
        return frozenset()
