"""A check that the values of a gin configuration have the types of their parameters.

gin itself gives any value to any parameter, and a wrong one would fail later, with a traceback from
the code that uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import inspect
import json
import typing
from typing import Any

import gin
import pydantic

from stfc3_tf import checks, errors

# Parameters by scope and configurable, then their values by name, as gin stores them.
Config = Mapping[tuple[str, str], Mapping[str, Any]]

_MACRO = 'gin.macro'
# What to give, by pydantic's name for what is wrong.
_REMEDIES = {
    'bool_type': 'give True or False',
    'callable_type': 'give a function or class, such as @name',
    'dataclass_type': 'give an object, such as @Name()',
    'float_type': 'give a number',
    'int_type': 'give a whole number',
    'list_type': "give a list, such as ['a', 'b']",
    'needs_python_object': 'give an object, such as @Name()',
    'string_type': 'give a text in quotation marks',
    'tuple_type': 'give a list, such as (1, 2)',
}


def check(config: Config) -> None:
    """Raise `UserError` if a value does not have the type of its parameter; a hook of gin.

    Values that are computed only when they are used, such as `@Adam()`, are not looked at, and no
    parameters without a type.
    """
    for (scope, configurable), values in config.items():
        types = _types(gin.get_configurable(configurable))
        for parameter in sorted(values.keys() & types.keys()):
            text = _as_json(values[parameter], config)
            if text is not None:
                name = f'{configurable.split(".")[-1]}.{parameter}'
                _check_type(f'{scope}/{name}' if scope else name, text, types[parameter])


def _types(configurable: Callable[..., Any]) -> dict[str, Any]:
    """Return the type of each parameter that has one."""
    called = configurable.__init__ if inspect.isclass(configurable) else configurable
    try:
        return typing.get_type_hints(called)
    except (NameError, TypeError):
        # Types that are imported for type checkers only; and Python 3.9 cannot read `int | None`.
        return {}


def _as_json(value: Any, config: Config) -> str | None:
    """Return a value, or that of a macro, as JSON; None if something in it has to be called.

    JSON has one kind of list, as gin's users see it: (1, 2) and [1, 2] mean the same.
    """
    for _ in config:  # A macro may name another, but must not come back to itself.
        if not isinstance(value, gin.config.ConfigurableReference):
            break
        if value.config_key[1] != _MACRO or value.config_key not in config:
            return None
        value = config[value.config_key].get('value')
    try:
        return json.dumps(value)
    except TypeError:
        return None


def _check_type(setting: str, text: str, expected: Any) -> None:
    """Raise `UserError` if a value, as JSON text, does not have a type."""
    try:
        _adapter(expected).validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        remedy = _REMEDIES.get(problem['type'], problem['msg'])
        shown = checks.shown(json.loads(text))
        raise errors.UserError(f'{setting}={shown}: {remedy}.') from error


def _adapter(expected: Any) -> pydantic.TypeAdapter[Any]:
    if getattr(expected, '_is_protocol', False):
        # Its methods cannot be seen in advance, but no number, text or list has them.
        expected = _Object
    arbitrary = pydantic.ConfigDict(arbitrary_types_allowed=True)
    return pydantic.TypeAdapter(expected, config=arbitrary)


class _Object:
    """Stands for a type of which gin writes no values."""
