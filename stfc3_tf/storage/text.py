"""Text files that people wrote: their encoding, and the separator of their columns."""

from __future__ import annotations

import codecs
from collections.abc import Callable
import csv
import re

from stfc3_tf import errors

# The mark of UTF-32 begins with that of UTF-16, so UTF-32 comes first.
_MARKS = (
    (codecs.BOM_UTF8, 'utf-8-sig'),
    (codecs.BOM_UTF32_LE, 'utf-32'),
    (codecs.BOM_UTF32_BE, 'utf-32'),
    (codecs.BOM_UTF16_LE, 'utf-16'),
    (codecs.BOM_UTF16_BE, 'utf-16'),
)
# Tables write 43.0 where a column lacks some of its numbers. 1.000 may be a thousand.
_WHOLE = re.compile('([0-9]{1,9})(?:[.,]0)?')
SEPARATORS = {',': 'comma', ';': 'semicolon', '\t': 'tab', ' ': 'space', '|': 'bar'}


def decode(contents: bytes, path: str) -> str:
    """Return the text in a file, without a byte order mark.

    Args:
      contents: UTF-8; or UTF-16 or UTF-32 with a byte order mark.
      path: where the contents come from, for messages.

    Raises:
      errors.UserError: the text has another encoding.
    """
    encoding = next((name for mark, name in _MARKS if contents.startswith(mark)), 'utf-8')
    try:
        text = contents.decode(encoding)
    except UnicodeDecodeError as error:
        line = contents[: error.start].count(b'\n') + 1
        byte = contents[error.start : error.start + 1].hex()
        raise errors.UserError(
            f'{path} is not text in {encoding.upper()}: byte 0x{byte} in line {line} (it may be '
            'Latin-1 or another encoding). Save it as UTF-8.'
        ) from error
    if '\0' in text:
        raise errors.UserError(
            f'{path} is not text in UTF-8: it holds zero bytes (it may be UTF-16 without a byte '
            'order mark, or no text at all). Save it as UTF-8.'
        )
    # Files that were joined or converted twice may have more than one mark.
    return text.lstrip('\ufeff')


def fields(line: str, separator: str) -> list[str]:
    """Return the fields of one line of a table, without spaces around them."""
    rows = list(csv.reader([line], delimiter=separator, skipinitialspace=True))
    return [field.strip() for field in rows[0]] if rows else []


def separator_of(heading: str, fits: Callable[[list[str]], bool]) -> str | None:
    """Return the separator that splits a heading into the expected columns.

    Args:
      heading: the first line of a table.
      fits: returns whether fields are the expected columns.

    Returns:
      The first of `SEPARATORS` that fits; None if there is none.
    """
    return next((one for one in SEPARATORS if fits(fields(heading, one))), None)


def whole_number(field: str) -> int | None:
    """Return a number of up to nine digits, also if it is written as 43.0; None for other texts."""
    match = _WHOLE.fullmatch(field.strip())
    return int(match[1]) if match else None
