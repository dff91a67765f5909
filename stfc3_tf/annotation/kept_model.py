"""The identity of the encoder behind the results of a session, kept in the session.

    SESSION/results/model.json   the identity of the encoder of the last propagation

An export names it, also when that encoder is not loaded, or another one is.
"""

from __future__ import annotations

from collections.abc import Mapping
import json
import os
from typing import Any

from absl import logging

from stfc3_tf import errors
from stfc3_tf.storage import files, writing

_REMEDY = 'It is not used; propagate again to write it.'


def write(session: str, identity: Mapping[str, Any]) -> None:
    """Note the encoder of a propagation.

    Args:
      session: folder of the session.
      identity: of the encoder, ready for JSON.

    Raises:
      errors.UserError: the file cannot be written.
    """
    writing.write_text(_path(session), json.dumps(identity, indent=2) + '\n')


def read(session: str) -> dict[str, Any]:
    """Return the identity of the encoder of the last propagation; {} if it is not known."""
    if not os.path.exists(_path(session)):
        return {}
    try:
        return files.read_json(_path(session), dict[str, Any], _REMEDY)
    except errors.UserError as error:
        logging.warning('%s', error)
        return {}


def _path(session: str) -> str:
    return os.path.join(session, 'results', 'model.json')
