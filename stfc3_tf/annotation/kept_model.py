"""The encoder and the settings behind the results of a session, kept in the session.

    SESSION/results/model.json      the identity of the encoder of the last propagation
    SESSION/results/settings.json   its settings, see `result_file.how`

An export names them, also when that encoder is not loaded, or the command has other settings.
"""

from __future__ import annotations

from collections.abc import Mapping
import json
import os
from typing import Any

from absl import logging

from stfc3_tf import errors
from stfc3_tf.storage import files, writing

_MODEL, _SETTINGS = 'model.json', 'settings.json'
_REMEDY = 'It is not used; propagate again to write it.'


def write(session: str, identity: Mapping[str, Any], how: Mapping[str, Any]) -> None:
    """Note the encoder of a propagation, and its settings.

    Args:
      session: folder of the session.
      identity: of the encoder, ready for JSON.
      how: see `result_file.how`.

    Raises:
      errors.UserError: a file cannot be written.
    """
    writing.write_text(_path(session, _MODEL), json.dumps(identity, indent=2) + '\n')
    writing.write_text(_path(session, _SETTINGS), json.dumps(how, indent=2) + '\n')


def read(session: str) -> dict[str, Any]:
    """Return the identity of the encoder of the last propagation; {} if it is not known."""
    return _read(_path(session, _MODEL))


def read_how(session: str) -> dict[str, Any]:
    """Return the settings of the last propagation; {} if they are not known."""
    return _read(_path(session, _SETTINGS))


def _read(path: str) -> dict[str, Any]:
    if not os.path.exists(path):
        return {}
    try:
        return files.read_json(path, dict[str, Any], _REMEDY)
    except errors.UserError as error:
        logging.warning('%s', error)
        return {}


def _path(session: str, name: str) -> str:
    return os.path.join(session, 'results', name)
