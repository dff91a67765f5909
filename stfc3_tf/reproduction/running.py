"""The running of parts one after another; finished parts are kept, even if the program is killed.

A part is finished if its record says that it ended with status 0 under the current settings. An
evaluation with other settings is run again (it keeps the sequences that did not change). A training
run with other settings is refused, with a list of the changes, so that hours of work are never
thrown away silently.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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

from stfc3_tf import errors, progress, wording
from stfc3_tf.reproduction import parts as parts_lib
from stfc3_tf.reproduction.parts import Part
from stfc3_tf.storage import files, writing

FINISHED, FAILED, WAITING = 'finished', 'failed', 'not run'
# Seconds between records of the time spent on a part, so that the time of a killed part counts.
_NOTE_SECONDS = 60.0


class Outcome(NamedTuple):
    """The state of a part.

    Attributes:
      state: FINISHED, FAILED or WAITING.
      seconds: time spent, over all attempts.
      why: what went wrong; empty if nothing did.
    """

    state: str
    seconds: float = 0.0
    why: str = ''


def outcomes_on_disk(parts: Sequence[Part]) -> dict[str, Outcome]:
    """Return the outcomes of earlier runs, by the parts' names."""
    outcomes: dict[str, Outcome] = {}
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
    """Check that existing training runs have the current settings.

    Raises:
      errors.UserError: some have others; the message names them and the changes.
    """
    others = []
    for part in parts:
        if part.kind == parts_lib.TRAIN and part.folder.is_dir():
            changed = _changes(_read_record(part), _as_json(part.settings()))
            others += [f'{part.folder}: {changed}'] if changed else []
    if others:
        raise errors.UserError(
            'Training runs were started with other settings. Remove their folders to train them '
            'again, use another --output_dir to keep them, or leave them out with --only:\n'
            + '\n'.join(others)
        )


def run_all(
    parts: Sequence[Part],
    names: Collection[str],
    output_dir: pathlib.Path,
    after: Callable[[Mapping[str, Outcome]], None],
) -> tuple[dict[str, Outcome], int]:
    """Run every part that is not finished; a part that fails does not stop the others.

    Args:
      parts: all parts, in order; an evaluation comes after the training run of its model.
      names: of the parts to run.
      output_dir: of all parts; one program at a time works in it, others wait.
      after: called with all outcomes, by name, after every part that was run.

    Returns:
      All outcomes by name, and the signal that stopped the program early, or 0.

    Raises:
      errors.UserError: see `check_trained_alike`; then nothing is run.
    """
    _make(output_dir)
    chosen = [part for part in parts if part.name in names]
    with _alone_in(output_dir) as lock, _Stop() as stop:
        check_trained_alike(chosen)
        outcomes = outcomes_on_disk(parts)
        for number, part in enumerate(chosen, 1):
            if stop.signal:
                break
            # Read again, because its encoder may have been trained in the meantime.
            outcomes[part.name] = _outcome_on_disk(part, outcomes)
            if outcomes[part.name].state == FINISHED or not _ready(part, outcomes):
                continue
            left = progress.duration(seconds_left(chosen, outcomes))
            print(f'[{number} of {len(chosen)}] {part.name}; about {left} left', flush=True)
            outcomes[part.name] = outcome = _run(part, lock, stop)
            if outcome.state == FAILED:
                print(f'    FAILED: {outcome.why}', flush=True)
            after(outcomes)
    return outcomes, stop.signal


def _ready(part: Part, outcomes: Mapping[str, Outcome]) -> bool:
    return part.needs is None or outcomes[part.needs].state == FINISHED


def seconds_left(parts: Sequence[Part], outcomes: Mapping[str, Outcome]) -> float:
    """Return the expected time of all parts that are not finished."""
    waiting = [part for part in parts if outcomes[part.name].state != FINISHED]
    return sum(expected_seconds(part, parts, outcomes) for part in waiting)


def expected_seconds(part: Part, parts: Sequence[Part], outcomes: Mapping[str, Outcome]) -> float:
    """Return the expected time of a part.

    It is the mean time of finished parts of this kind, of the same row if possible. Without any,
    it is the time in the plan.

    Args:
      part: the part.
      parts: all parts.
      outcomes: of the parts, by name.

    Returns:
      Seconds.
    """
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
    """Return the command line of a part."""
    return shlex.join(['python', *part.arguments])


def _make(output_dir: pathlib.Path) -> None:
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.UserError(
            f'--output_dir={output_dir} cannot be made: {error.strerror}. Name another folder.'
        ) from error


def _run(part: Part, lock: int, stop: _Stop) -> Outcome:
    """Run the command of a part to its end; write its record and its log."""
    settings = _as_json(part.settings())
    before = _read_record(part)
    seconds = before['seconds'] if before and before['settings'] == settings else 0.0
    start = time.monotonic()

    def note(status: int | None, why: str = '') -> Outcome:
        spent = seconds + time.monotonic() - start
        _write_record(part, settings, status, spent, why)
        return Outcome({None: WAITING, 0: FINISHED}.get(status, FAILED), spent, why)

    note(None)
    status = _call(part, lock, stop, lambda: note(None))
    if not status:
        return note(0)
    if stop.signal:
        return note(None)
    return note(status, f'{_ended(status)}, see {part.log}: {_last_line(part.log)}')


def _call(part: Part, lock: int, stop: _Stop, meanwhile: Callable[[], Any]) -> int:
    """Run the command and append what it prints to the log; return its status.

    If `meanwhile` fails, the command is ended first.

    Args:
      part: the part.
      lock: file descriptor of the lock on the output folder.
      stop: passes signals on.
      meanwhile: called every `_NOTE_SECONDS`.
    """
    package = str(pathlib.Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get('PYTHONPATH')]))
    with open(part.log, 'ab') as log:
        log.write(f'$ {shell_command(part)}\n'.encode())
        log.flush()
        process = subprocess.Popen(
            [sys.executable, *part.arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, 'PYTHONPATH': path},
            # In a session of its own, Ctrl-C in the terminal reaches it only once, passed on by us.
            start_new_session=True,
            # If this program is killed, the folder stays locked until the command ends too.
            pass_fds=[lock],
        )
        with _ended_on_failure(process), stop.passed_on_to(process):
            while True:
                try:
                    return process.wait(_NOTE_SECONDS)
                except subprocess.TimeoutExpired:
                    meanwhile()


@contextlib.contextmanager
def _ended_on_failure(process: subprocess.Popen) -> Iterator[None]:
    try:
        yield
    except BaseException:
        process.terminate()
        process.wait()
        raise


class _Stop:
    """Catches SIGTERM and SIGINT and passes them on to the running command.

    Attributes:
      signal: the first that was caught, or 0.
    """

    def __init__(self):
        self.signal = 0
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> _Stop:
        self._before = {
            number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)
        }
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def passed_on_to(self, process: subprocess.Popen) -> Iterator[None]:
        """Pass signals on to `process` in the block, also one caught just before."""
        self._process = process
        try:
            if self.signal:
                process.send_signal(self.signal)
            yield
        finally:
            self._process = None

    def _note(self, number: int, _: Any) -> None:
        self.signal = self.signal or number
        if self._process is not None:
            self._process.send_signal(number)


@contextlib.contextmanager
def _alone_in(output_dir: pathlib.Path) -> Iterator[int]:
    """Lock the folder and yield the lock; wait until no other program works in the folder.

    A command that outlives its killed program also counts.
    """
    with open(output_dir / 'lock', 'w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logging.warning(
                'Another run, or a command of a killed run, is working in %s; waiting for its end.',
                output_dir,
            )
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _read_record(part: Part) -> dict[str, Any] | None:
    if not part.record.exists():
        return None
    return files.read_json(str(part.record), dict[str, Any], 'Remove it.')


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
    """Return the differences from the record's settings in one line; empty without a record."""
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
    more = f' and {wording.counted(len(lines) - 6, "more line")}' if len(lines) > 6 else ''
    return '; '.join(lines[:6]) + more


def _ended(status: int) -> str:
    if status < 0:
        return f'ended by {signal.Signals(-status).name}'
    return f'ended with status {status}'


def _last_line(log: pathlib.Path) -> str:
    """Return the last line of a log that has text: usually the error."""
    with open(log, 'rb') as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4000))
        lines = file.read().decode(errors='replace').split('\n')
    return next((line.strip() for line in reversed(lines) if line.strip()), '')
