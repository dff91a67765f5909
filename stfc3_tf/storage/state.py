"""JSON that the package stored or receives, read by one parser and checked against a schema.

A file may be cut short, edited by hand or made by a stranger. Any fault in it raises an error of
one line with the name of the file.
"""

from __future__ import annotations

import functools
import json
import math
from typing import Any

import pydantic

from stfc3_tf import errors

# Larger numbers fit into no array and no count.
_LARGEST = 1 << 63
_LONGEST_NUMBER = 40


def parse_json(contents: bytes | str, schema: Any, path: str, remedy: str) -> Any:
    """Return what JSON holds, checked.

    Args:
      contents: the text, in UTF-8.
      schema: the type that it must have: a dataclass, a typed dictionary, `list[int]` ...
      path: where it comes from, for messages.
      remedy: what the user can do about a damaged file, for messages.

    Returns:
      A value of the type of `schema`.

    Raises:
      errors.UserError: it is not JSON, is nested too deeply, holds numbers that are too large or a
        name twice, or does not fit the schema.
    """
    try:
        found = json.loads(
            contents, parse_int=_whole, parse_float=_finite, object_pairs_hook=_each_once
        )
    except RecursionError:
        raise errors.UserError(f'{path} is nested too deeply. {remedy}') from None
    except ValueError as error:
        raise errors.UserError(
            f'{path} is not readable as JSON ({errors.one_line(error)}). {remedy}'
        ) from error
    return checked(found, schema, path, remedy)


def checked(found: Any, schema: Any, path: str, remedy: str) -> Any:
    """Return a value, checked against a schema and converted to its type.

    Args:
      found: the value.
      schema: see `parse_json`.
      path: where the value comes from, for messages.
      remedy: see `parse_json`.

    Returns:
      The converted value.

    Raises:
      errors.UserError: the value does not fit the schema.
    """
    try:
        return _adapter(schema).validate_python(found)
    except (pydantic.ValidationError, RecursionError) as error:
        raise errors.UserError(f'{path} is damaged: {_first(error)}. {remedy}') from error


def _first(error: Exception) -> str:
    """Return the first of the problems that pydantic found, on one line."""
    if not isinstance(error, pydantic.ValidationError):
        return errors.one_line(error)
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = '.'.join(map(str, problem['loc']))
    return ' '.join(f'{place[:80] or "the whole"}: {problem["msg"]}'.split())


# Building an adapter is slow; each schema needs one per process.
@functools.lru_cache(maxsize=64)
def _adapter(schema: Any) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(schema)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise ValueError(f'the name {twice[:80]!r} is given twice')
    return found


def _whole(text: str) -> int:
    if len(text) > _LONGEST_NUMBER or abs(int(text)) >= _LARGEST:
        raise ValueError(f'the number {text[:20]}... is too large')
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f'the number {text[:20]} is too large')
    return value
