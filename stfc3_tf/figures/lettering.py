"""Text in pictures, in any script for which this machine has a font.

The font that comes with Matplotlib has Latin, Greek, Cyrillic and Arabic letters; for others the
fonts of the system are searched. A text may need several fonts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
import functools
import itertools
from typing import NamedTuple
import unicodedata

from absl import logging
from matplotlib import font_manager, ft2font
import numpy as np
from PIL import Image, ImageDraw, ImageFont

_DARK, _LIGHT = (0, 0, 0), (255, 255, 255)
# Pixels.
_EDGE = 1
# Stands for a character of which no font is here.
_MISSING = '□'


class Part(NamedTuple):
    """A part of a text in one font.

    Attributes:
      text: the part.
      font: the path of the font file.
    """

    text: str
    font: str


class Lettering(NamedTuple):
    """A text in fonts that have its characters.

    Attributes:
      parts: from left to right.
    """

    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """What is written."""
        return ''.join(part.text for part in self.parts)


def letterings(names: Sequence[str]) -> list[Lettering]:
    """Choose fonts for names; log a warning about names with characters of which no font is here.

    Such a character becomes □; a name of such characters alone becomes its number in the list,
    from 1.
    """
    _warn(names)
    return [Lettering(_parts(_written(name, f'{number}'))) for number, name in enumerate(names, 1)]


def of(text: str) -> Lettering:
    """Choose fonts for a text, on one line; see `letterings` for characters without a font."""
    _warn([text])
    return Lettering(_parts(_written(text, _MISSING)))


def shortened(lettering: Lettering, most: int) -> Lettering:
    """Return a text of at most `most` characters; the last one is … if some are left out."""
    text = lettering.text
    if len(text) <= most:
        return lettering
    return Lettering(_parts(f'{text[: most - 1].rstrip()}…'))


def families(texts: Iterable[str]) -> list[str]:
    """Return the families of fonts in which Matplotlib can draw texts; its own comes first."""
    texts = list(texts)
    _warn(texts)
    parts = (part for text in texts for part in _parts(_written(text, _MISSING)))
    fonts = dict.fromkeys([_own_font(), *(part.font for part in parts)])
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for path in fonts.keys() - known:
        font_manager.fontManager.addfont(path)
    return [ft2font.FT2Font(path).family_name for path in fonts]


def write(
    canvas: np.ndarray,
    lettering: Lettering,
    place: tuple[int, int],
    height: int,
    colour: tuple[int, ...] = _LIGHT,
    edge: tuple[int, ...] | None = _DARK,
) -> None:
    """Write a text into a picture, by default light with a dark edge.

    Args:
      canvas: uint8 [height, width, 3], is changed.
      lettering: the text.
      place: (x, y) of the left end of the base line, in pixels.
      height: of the letters, in pixels.
      colour: of the letters, RGB.
      edge: the colour of their edge; None for no edge.
    """
    left, top, right, bottom = extent(lettering, height)
    x, y = place
    rows = slice(max(0, y + top), max(0, y + bottom))
    columns = slice(max(0, x + left), max(0, x + right))
    part = canvas[rows, columns]
    if not part.size:
        return
    image = Image.fromarray(part)
    draw = ImageDraw.Draw(image)
    for start, (text, font) in zip(_starts(lettering, height), lettering.parts):
        draw.text(
            (x + start - columns.start, y - rows.start),
            text,
            fill=colour,
            font=_sized(font, height),
            anchor='ls',
            stroke_width=0 if edge is None else _EDGE,
            stroke_fill=edge,
        )
    canvas[rows, columns] = np.asarray(image)


@functools.lru_cache(maxsize=4096)
def extent(lettering: Lettering, height: int) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of a written text with its edge in pixels from its place.

    Args:
      lettering: the text.
      height: see `write`.

    Returns:
      The box.
    """
    boxes = [(0, 0, 0, 0)]
    for start, (text, font) in zip(_starts(lettering, height), lettering.parts):
        box = _sized(font, height).getbbox(text, anchor='ls', stroke_width=_EDGE)
        boxes.append((start + int(box[0]), int(box[1]), start + int(box[2]), int(box[3])))
    left, top, right, bottom = zip(*boxes)
    return min(left), min(top), max(right) + 1, max(bottom) + 1


def _starts(lettering: Lettering, height: int) -> list[int]:
    """Return where the parts begin, in pixels from the place."""
    lengths = [_sized(part.font, height).getlength(part.text) for part in lettering.parts]
    return [round(start) for start in itertools.accumulate(lengths, initial=0)]


@functools.lru_cache(maxsize=64)
def _sized(path: str, height: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, height)


def _warn(texts: Sequence[str]) -> None:
    missing = tuple(text for text in texts if any(map(_is_missing, _clean(text))))
    if missing:
        _warn_once(missing)


# The same names are drawn in a preview, an overlay and many frames.
@functools.lru_cache(maxsize=1024)
def _warn_once(texts: tuple[str, ...]) -> None:
    logging.warning(
        'No font here has all characters of %s: pictures show %s or a number instead. Install a '
        'font that has them, such as Noto. Tables have the names as given.',
        ', '.join(map(repr, texts)),
        _MISSING,
    )


def _clean(text: str) -> str:
    """Return a text on one line, its accents joined with their letters where there is one sign."""
    return unicodedata.normalize('NFC', ' '.join(text.split()))


def _written(text: str, otherwise: str) -> str:
    """Return a text with □ for characters of no font, or `otherwise` if there is no other."""
    text = _clean(text)
    found = ''.join(_MISSING if _is_missing(character) else character for character in text)
    return otherwise if text and not found.strip(f'{_MISSING} ') else found


def _is_missing(character: str) -> bool:
    return _font_of(frozenset(character)) is None


@functools.lru_cache(maxsize=1024)
def _parts(text: str) -> tuple[Part, ...]:
    """Return a text, whose characters all have a font, in as few fonts as it needs."""
    whole = _font_of(frozenset(text))
    if whole:
        return (Part(text, whole),) if text else ()
    parts: list[Part] = []
    for character in text:
        last = parts[-1] if parts else None
        if last and (character == ' ' or ord(character) in _characters_in(last.font)):
            parts[-1] = Part(last.text + character, last.font)
        else:
            parts.append(Part(character, _font_of(frozenset(character)) or _own_font()))
    return tuple(parts)


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
