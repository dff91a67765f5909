"""Work for a page, in a thread: propagation, an export, or a search. One at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import itertools
import threading
import time
from typing import Any, Optional

from absl import logging

from stfc3_tf import errors

# Makes a change, and returns what is said of it.
Change = Callable[[], Any]
# Called with the steps done, the total of steps or None, and what makes a change, if any is made.
Advance = Callable[[int, Optional[int], Optional[Change]], None]
_numbers = itertools.count(1)


class Stopped(Exception):
    """Ends work that was stopped."""


class Job:
    """A piece of work that can be watched and stopped."""

    def __init__(self, task: str, work: Callable[[Advance], None], before: Sequence[Job] = ()):
        """Start.

        Args:
          task: 'propagate', 'export' or 'search'.
          work: does it, and calls what it is given after each step.
          before: jobs that were stopped or have ended; this one begins when their threads have.
        """
        self.task, self._number = task, next(_numbers)
        self._work, self._before = work, before
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._state, self._message = 'running', ''
        self._done = 0
        self._total: int | None = None
        self._first: tuple[float, int] | None = None
        self._changes: list[Any] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it neither ended nor was stopped."""
        return self._state == 'running'

    @property
    def has_failed(self) -> bool:
        """Whether an error ended it."""
        return self._state == 'failed'

    @property
    def has_ended(self) -> bool:
        """Whether its thread has ended: after it was stopped, that may take a step."""
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Stop at once for those who watch; the thread ends after the step that it is making."""
        with self._lock:
            if self.is_running:
                self._stopped.set()
                self._state, self._message = 'stopped', ''

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the end of the thread."""
        self._thread.join(seconds)

    def progress(self, since: int = 0) -> dict[str, Any]:
        """Return how far it is, ready for JSON.

        Args:
          since: how many changes were seen before.
        """
        with self._lock:
            return {
                'task': self.task,
                'number': self._number,
                'state': self._state,
                'message': self._message,
                'done': self._done,
                'total': self._total,
                'seconds_left': self._seconds_left(),
                'changes': self._changes[since:],
                'seen': len(self._changes),
            }

    def _seconds_left(self) -> float | None:
        if not self.is_running or not self._total or self._first is None:
            return None
        # The first step includes preparations.
        begun, already = self._first
        steps = self._done - already
        return (time.monotonic() - begun) / steps * (self._total - self._done) if steps else None

    def _run(self) -> None:
        for job in self._before:
            job.wait()
        self._before = ()  # They hold all that they changed.
        try:
            self._advance(0, None, None)
            self._work(self._advance)
            self._end('done', '')
        except Stopped:
            pass
        except errors.UserError as error:
            self._end('failed', str(error))
        except Exception as error:  # noqa: BLE001 The page has to say it, whatever it is.
            logging.exception('%s failed', self.task)
            self._end('failed', f'The work failed: {errors.one_line(error)}')

    def _advance(self, done: int, total: int | None, change: Change | None) -> None:
        """Note a step and make its change; raise `Stopped` if no more are wanted."""
        with self._lock:
            if self._stopped.is_set():
                raise Stopped
            self._done, self._total = done, total
            if done:
                self._first = self._first or (time.monotonic(), done)
            if change is not None:
                self._changes.append(change())

    def _end(self, state: str, message: str) -> None:
        with self._lock:
            if self.is_running:
                self._state, self._message = state, message
