"""Records of finished sequences: kept while settings, model, data and code stay the same.

OUT/predictions/...          the benchmark's own submission format
OUT/sequences/<name>.json    the record of a finished sequence; a rerun skips it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import functools
import hashlib
import json
import math
import pathlib
import posixpath
import time
from typing import Any, Optional, Union

from absl import logging
import numpy as np
import pydantic
import tensorflow as tf
from typing_extensions import NotRequired, TypedDict

from stfc3_tf import errors
from stfc3_tf.benchmarks.contract import Record, Sequence, Tracker
from stfc3_tf.storage import files, names, writing
from stfc3_tf.version import __version__

# The modules that an evaluation runs. Changes of others, such as training, do not matter.
_CODE = (
    'benchmarks/**/*.py',
    'checks.py',
    'clips/**/*.py',
    'errors.py',
    'commands/__init__.py',
    'commands/flag_check.py',
    'model/**/*.py',
    'propagation/**/*.py',
    'serving/**/*.py',
    'stack.py',
    'stopping.py',
    'storage/**/*.py',
    'version.py',
    'views/**/*.py',
    'wording.py',
)


_Figures = dict[str, Optional[Union[float, str]]]


@pydantic.with_config(pydantic.ConfigDict(extra='allow'))
class _Record(TypedDict):
    """The fields of a record that are read again; a benchmark may write others."""

    fingerprint: str
    name: str
    frames: int
    seconds: float
    metrics: _Figures
    counts: NotRequired[dict[str, Any]]


@functools.cache
def code_digest() -> str:
    """Return the SHA-256 of the modules that compute the figures; changed code is run again."""
    digest = hashlib.sha256()
    package = pathlib.Path(__file__).parents[1]
    for path in sorted(path for pattern in _CODE for path in package.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of everything that computes the figures."""
    return {
        'stfc3_tf': __version__,
        'tensorflow': tf.__version__,
        'numpy': np.__version__,
        'code_sha256': code_digest(),
    }


def fingerprint(
    settings: Mapping[str, Any], sequence: Sequence, digest_of: Callable[[str], bytes]
) -> str:
    """Return a digest of everything that determines the record of a sequence.

    Args:
      settings: of benchmark and tracker, model included, ready for JSON.
      sequence: the sequence; its name and its files count.
      digest_of: returns the SHA-256 of a file.

    Returns:
      SHA-256 in hexadecimal digits.
    """
    made_with = [sequence.name, settings, versions()]
    digest = hashlib.sha256(json.dumps(made_with, sort_keys=True).encode())
    for path in sequence.files():
        # The name counts: it may be the number of the frame.
        digest.update(posixpath.basename(path).encode() + b'\0' + digest_of(path))
    return digest.hexdigest()


def finished(output_dir: str, sequence: Sequence, key: str) -> Record | None:
    """Return the record of a finished sequence, or None if it has to be run.

    Args:
      output_dir: OUT.
      sequence: the sequence.
      key: its `fingerprint`; a record with another one does not count.

    Returns:
      The record, or None.
    """
    path = _record_path(output_dir, sequence)
    predictions = _predictions_path(output_dir, sequence)
    if not (tf.io.gfile.exists(path) and tf.io.gfile.exists(predictions)):
        return None
    try:
        record = files.read_json(path, _Record, 'The sequence is run again.')
    except errors.UserError as error:
        logging.warning('%s', error)
        return None
    if record['fingerprint'] == key:
        return record
    logging.info('%s: settings, model, data or code have changed; running it again.', path)
    return None


def run(
    sequence: Sequence, tracker: Tracker, output_dir: str, key: str, advance: Callable[[], None]
) -> Record:
    """Run a sequence; write its predictions and its record.

    Args:
      sequence: the sequence.
      tracker: what is evaluated.
      output_dir: OUT.
      key: its `fingerprint`.
      advance: called after every tracked frame.

    Returns:
      The record.
    """
    start = time.monotonic()
    scored: Record = {}
    counted = _Counted(tracker, advance)
    # However the program ends, no record may be left beside predictions of another run.
    writing.remove(_record_path(output_dir, sequence))
    writing.write_whole(
        _predictions_path(output_dir, sequence),
        lambda partial: scored.update(sequence.run(counted, partial)),
    )
    record = plain(
        {
            'fingerprint': key,
            'name': sequence.name,
            'frames': counted.frames,
            'seconds': time.monotonic() - start,
            **scored,
        }
    )
    writing.write_text(_record_path(output_dir, sequence), json.dumps(record, indent=1))
    return record


class _Counted:
    """A tracker that counts and reports every frame it has finished."""

    def __init__(self, tracker: Tracker, advance: Callable[[], None]):
        self._tracker = tracker
        self._advance = advance
        self.frames = 0

    def settings(self) -> dict[str, Any]:
        return self._tracker.settings()

    def track(self, frames, first_label, codec, label_size):
        for label in self._tracker.track(frames, first_label, codec, label_size):
            self.frames += 1
            self._advance()
            yield label


def _record_path(output_dir: str, sequence: Sequence) -> str:
    return posixpath.join(output_dir, 'sequences', names.path_inside(f'{sequence.name}.json'))


def _predictions_path(output_dir: str, sequence: Sequence) -> str:
    return posixpath.join(output_dir, 'predictions', names.path_inside(sequence.output))


def plain(value: Any) -> Any:
    """Return a copy ready for JSON: Python's values, None for NaN, text for infinity."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
