"""The secret that the workers of a run share, and proofs that a sender knows it."""

from __future__ import annotations

from collections.abc import Mapping
import hashlib
import hmac
import json
import os
from typing import Any

from stfc3_tf import errors, wording

VARIABLE = 'STFC3_SECRET'
FILE_VARIABLE = 'STFC3_SECRET_FILE'
_SHORTEST = 16


def find(environment: Mapping[str, str] = os.environ) -> bytes:
    """Return the secret of STFC3_SECRET, or of the file that STFC3_SECRET_FILE names, or b''.

    Raises:
      errors.UserError: the file cannot be read, or the secret is too short.
    """
    text = environment.get(VARIABLE, '').encode()
    path = environment.get(FILE_VARIABLE)
    if not text and path:
        try:
            with open(path, 'rb') as file:
                text = file.read()
        except OSError as error:
            raise errors.UserError(f'{FILE_VARIABLE}={path} cannot be read: {error}.') from error
    text = text.strip()
    if (path or text) and len(text) < _SHORTEST:
        raise errors.UserError(
            f'The secret of {VARIABLE} or {FILE_VARIABLE} has '
            f'{wording.counted(len(text), "character")}; give at least {_SHORTEST}, for example '
            'from `openssl rand -hex 32`.'
        )
    return text


def proof(secret: bytes, *parts: Any) -> str:
    """Return the HMAC-SHA256 of parts, which are ready for JSON, as hexadecimal digits."""
    text = json.dumps(parts, sort_keys=True).encode()
    return hmac.new(secret, text, hashlib.sha256).hexdigest()


def proves(secret: bytes, given: Any, *parts: Any) -> bool:
    """Return whether `given` is the proof for parts."""
    return isinstance(given, str) and hmac.compare_digest(
        given.encode(errors='replace'), proof(secret, *parts).encode()
    )
