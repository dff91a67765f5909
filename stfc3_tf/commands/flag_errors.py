"""Mistakes in flags, as one line."""

from __future__ import annotations

from collections.abc import Sequence
import re
import sys
from typing import NoReturn

from absl import flags

_MISSING = re.compile(r'Flag --(\w+) must have a value other than None')
# What absl says, and plainer words for it.
_PLAIN = (
    (r'^flag (--)', r'\1'),
    (r"invalid literal for int\(\) with base 10: '.*'", 'give a whole number'),
    (r"could not convert string to float: '.*'", 'give a number'),
    (r'value should be one of <(.*)>', lambda match: f'choose {match[1].replace("|", ", ")}'),
    (
        r'\. Did you mean: (.*) \?$',
        lambda match: f' (do you mean --{match[1].replace(", ", " or --")}?)',
    ),
)


def parse(arguments: Sequence[str]) -> list[str]:
    """Parse the flags of a command; for `absl.app.run`.

    Args:
      arguments: the program and its flags.

    Returns:
      The program.

    Raises:
      SystemExit: a flag is wrong or not text in UTF-8, or something is not a flag; which was
        printed.
    """
    for argument in arguments[1:]:
        # TensorFlow opens no such file, and no model card or description can hold such a text.
        if argument.encode(errors='ignore').decode() != argument:
            _end(f'{argument!a} is not in UTF-8: rename the file, or give another text')
    try:
        rest = flags.FLAGS(arguments)
    except flags.Error as error:
        _end(_in_words(error))
    if len(rest) > 1:
        _end(f'Unexpected arguments: {" ".join(rest[1:])}')
    return rest


def _end(message: str) -> NoReturn:
    print(f'error: {message}. --help shows the flags.', file=sys.stderr)
    sys.exit(1)


def _in_words(error: flags.Error) -> str:
    missing = _MISSING.findall(str(error))
    if missing:
        return f'Give {" and ".join(f"--{name}" for name in missing)}'
    text = ' '.join(str(error).split())
    for said, plain in _PLAIN:
        text = re.sub(said, plain, text)
    return text.rstrip('.')
