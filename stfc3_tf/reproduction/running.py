"""Runs parts one after another; what is finished stays finished, whenever the program is killed.

A part is finished if its record says that its command ended well with the settings of today. An
evaluation made with other settings is made again (its own command keeps the sequences that did not
change). A training run is not: hours of work are never thrown away unasked, so it is refused with
what has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
import contextlib
import difflib
import fcntl
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time
from typing import Any, NamedTuple

from absl import logging

from stfc3_tf import errors, progress, writing
from stfc3_tf.reproduction import parts as parts_lib
from stfc3_tf.reproduction.parts import Part

FINISHED, FAILED, WAITING = 'finished', 'failed', 'not run'
# How often it is noted what a part has cost so far, so that a killed one counts.
_NOTE_SECONDS = 60.0


class Outcome(NamedTuple):
    """How a part stands.

    Attributes:
      state: FINISHED, FAILED or WAITING.
      seconds: its command took, over all attempts.
      why: what went wrong, if anything did.
    """

    state: str
    seconds: float = 0.0
    why: str = ''


def outcomes_on_disk(parts: Sequence[Part]) -> dict[str, Outcome]:
    """How the parts stand, by name, after earlier runs of this program."""
    outcomes = {}
    for part in parts:
        outcomes[part.name] = _outcome_on_disk(part, outcomes)
    return outcomes


def _outcome_on_disk(part: Part, outcomes: Mapping[str, Outcome]) -> Outcome:
    record = _read_record(part)
    if record is None or not _ready(part, outcomes):
        return Outcome(WAITING)
    if record['status'] is None or record['settings'] != _as_json(part.settings()):
        return Outcome(WAITING)
    if record['status']:
        return Outcome(FAILED, record['seconds'], record['why'])
    return Outcome(FINISHED if part.result.exists() else WAITING, record['seconds'])


def check_trained_alike(parts: Sequence[Part]) -> None:
    """Makes sure that training runs which were begun are of the settings that are asked for now.

    Raises:
      errors.UserError: naming those that are not, and what has changed.
    """
    others = []
    for part in parts:
        if part.kind == parts_lib.TRAIN and part.folder.is_dir():
            changed = _changes(_read_record(part), _as_json(part.settings()))
            others += [f'{part.folder}: {changed}'] if changed else []
    if others:
        raise errors.UserError(
            'Training runs were begun with other settings; remove their folders to train them '
            'again, take another --output_dir to keep them, or leave them out by --only:\n'
            + '\n'.join(others)
        )


def run_all(
    parts: Sequence[Part],
    names: Collection[str],
    output_dir: pathlib.Path,
    import_path: str,
    after: Callable[[Mapping[str, Outcome]], None],
) -> tuple[dict[str, Outcome], int]:
    """Runs every part that is not finished; one that fails does not stop the others.

    Args:
      parts: all there are, in order; an evaluation comes after the training run of its model.
      names: of those that are run.
      output_dir: of all of them; one program at a time works in it, others wait.
      import_path: where the commands are imported from.
      after: called with all outcomes, by name, after every part that was run.

    Returns:
      All outcomes by name, and the signal that stopped the program early, or 0.

    Raises:
      errors.UserError: see `check_trained_alike`; nothing is run then.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    chosen = [part for part in parts if part.name in names]
    with _alone_in(output_dir) as lock, _Stop() as stop:
        check_trained_alike(chosen)
        outcomes = outcomes_on_disk(parts)
        for number, part in enumerate(chosen, 1):
            if stop.signal:
                break
            # Anew, because its encoder may have been trained since.
            outcomes[part.name] = _outcome_on_disk(part, outcomes)
            if outcomes[part.name].state == FINISHED or not _ready(part, outcomes):
                continue
            left = progress.duration(seconds_left(chosen, outcomes))
            print(f'[{number} of {len(chosen)}] {part.name}; about {left} left', flush=True)
            outcomes[part.name] = outcome = _run(part, lock, import_path, stop)
            if outcome.state == FAILED:
                print(f'    FAILED: {outcome.why}', flush=True)
            after(outcomes)
    return outcomes, stop.signal


def _ready(part: Part, outcomes: Mapping[str, Outcome]) -> bool:
    return part.needs is None or outcomes[part.needs].state == FINISHED


def seconds_left(parts: Sequence[Part], outcomes: Mapping[str, Outcome]) -> float:
    """What the parts that are not finished are expected to take."""
    waiting = [part for part in parts if outcomes[part.name].state != FINISHED]
    return sum(expected_seconds(part, parts, outcomes) for part in waiting)


def expected_seconds(part: Part, parts: Sequence[Part], outcomes: Mapping[str, Outcome]) -> float:
    """What such parts took, those of the same row if there are any; else what the plan says."""
    alike = [
        other
        for other in parts
        if other.kind == part.kind and outcomes[other.name].state == FINISHED
    ]
    alike = [other for other in alike if other.row == part.row] or alike
    if not alike:
        return 60 * part.minutes
    return sum(outcomes[other.name].seconds for other in alike) / len(alike)


def shell_command(part: Part) -> str:
    """The part's command as one would type it."""
    return shlex.join(['python', *part.arguments])


def _run(part: Part, lock: int, import_path: str, stop: _Stop) -> Outcome:
    """Runs a part's command to its end; leaves a record and a log."""
    settings = _as_json(part.settings())
    before = _read_record(part)
    seconds = before['seconds'] if before and before['settings'] == settings else 0.0
    start = time.monotonic()

    def note(status: int | None, why: str = '') -> Outcome:
        spent = seconds + time.monotonic() - start
        _write_record(part, settings, status, spent, why)
        return Outcome({None: WAITING, 0: FINISHED}.get(status, FAILED), spent, why)

    note(None)
    status = _call(part, lock, import_path, stop, lambda: note(None))
    if not status:
        return note(0)
    if stop.signal:
        return note(None)
    return note(status, f'{_ended(status)}, see {part.log}: {_last_line(part.log)}')


def _call(
    part: Part, lock: int, import_path: str, stop: _Stop, meanwhile: Callable[[], Any]
) -> int:
    """Runs the command, calling `meanwhile` now and then; returns its status.

    What it prints is appended to the log.
    """
    path = os.pathsep.join(filter(None, [import_path, os.environ.get('PYTHONPATH')]))
    with open(part.log, 'ab') as log:
        log.write(f'$ {shell_command(part)}\n'.encode())
        log.flush()
        process = subprocess.Popen(
            [sys.executable, *part.arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, 'PYTHONPATH': path},
            # A terminal's Ctrl-C must reach it once, through us.
            start_new_session=True,
            # Should we be killed, the folder stays locked until it has ended too.
            pass_fds=[lock],
        )
        with stop.passed_on_to(process):
            while True:
                try:
                    return process.wait(_NOTE_SECONDS)
                except subprocess.TimeoutExpired:
                    meanwhile()


class _Stop:
    """Notes SIGTERM and SIGINT and passes them on to the command at work.

    Attributes:
      signal: the first that came, or 0.
    """

    def __init__(self):
        self.signal = 0
        self._process = None

    def __enter__(self) -> _Stop:
        self._before = {
            number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)
        }
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def passed_on_to(self, process: subprocess.Popen):
        """Signals go to `process` meanwhile, one that came just before too."""
        self._process = process
        try:
            if self.signal:
                process.send_signal(self.signal)
            yield
        finally:
            self._process = None

    def _note(self, number, _):
        self.signal = self.signal or number
        if self._process is not None:
            self._process.send_signal(number)


@contextlib.contextmanager
def _alone_in(output_dir: pathlib.Path):
    """Waits until no other program, nor a command that a killed one left, works in the folder."""
    with open(output_dir / 'lock', 'w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logging.warning(
                'Another run, or a command that a killed one started, is at work in %s: waiting '
                'for its end.',
                output_dir,
            )
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _read_record(part: Part) -> dict[str, Any] | None:
    try:
        return json.loads(part.record.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise errors.UserError(f'{part.record} is not JSON: remove it. {error}') from error


def _write_record(
    part: Part, settings: Mapping[str, Any], status: int | None, seconds: float, why: str = ''
) -> None:
    record = {
        'part': part.name,
        'command': shell_command(part),
        'status': status,
        'seconds': seconds,
        'why': why,
        'settings': settings,
    }
    writing.write_text(str(part.record), json.dumps(record, indent=1) + '\n')


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _changes(record: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> str:
    """What differs from the record's settings, in a line; nothing if there is no record."""
    if record is None or record['settings'] == settings:
        return ''
    before, now = (
        [f'data = {found["data"]}', *found['configuration'].splitlines()]
        for found in (record['settings'], settings)
    )
    lines = [
        line
        for line in difflib.unified_diff(before, now, lineterm='', n=0)
        if line[0] in '+-' and line[:3] not in ('+++', '---')
    ]
    more = f' and {len(lines) - 6} lines more' if len(lines) > 6 else ''
    return '; '.join(lines[:6]) + more


def _ended(status: int) -> str:
    if status < 0:
        return f'ended by {signal.Signals(-status).name}'
    return f'ended with status {status}'


def _last_line(log: pathlib.Path) -> str:
    """The last line with text of a log: as a rule the error."""
    lines = log.read_bytes()[-4000:].decode(errors='replace').split('\n')
    return next((line.strip() for line in reversed(lines) if line.strip()), '')
