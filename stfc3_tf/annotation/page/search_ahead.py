"""A search for similar cells while a person marks, so that the propagation is fast."""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
import itertools
from typing import Any

from stfc3_tf.annotation.page.job import Advance, Job
from stfc3_tf.annotation.page.tasks import Due, Tasks
from stfc3_tf.annotation.replaced_frames import ReplacedFrames

# Steps of one search, about three minutes on two cores; a frame between two marks takes two. More
# would be too much work for what may not be asked for, and push other matches out of what is kept.
_MOST_STEPS = 500


class _Enough(Exception):
    """Ends a search that was long enough."""


class SearchAhead:
    """Searches for the next propagation, in a thread, until that begins.

    The first stroke of an object in a frame says which stretches will be computed. The
    similar cells do not depend on its other strokes.
    """

    def __init__(self, tasks: Tasks):
        self._tasks = tasks
        self._searches: frozenset[Any] = frozenset()
        self.job: Job | None = None

    @property
    def jobs(self) -> list[Job]:
        """The last search, if there was one."""
        return [] if self.job is None else [self.job]

    def begin(self, frame: int, before: Sequence[Job]) -> None:
        """Search what the marks need, unless that is done or under way.

        Args:
          frame: in which something was marked.
          before: earlier jobs, also of the search; see `Job`.
        """
        due = self._tasks.due(ReplacedFrames(frame))
        if due.searches == self._searches and self.job is not None and not self.job.has_failed:
            return
        self.stop()
        self._searches = due.searches
        if not due.batches:
            return
        self.job = Job('search', lambda advance: self._search(due, advance), before)

    def stop(self) -> None:
        """Stop the search, if there is one; its thread ends after the step that it is making."""
        self._searches = frozenset()
        if self.job is not None:
            self.job.stop()

    def _search(self, due: Due, advance: Advance) -> None:
        # An export that comes meanwhile must not wait for the encoder.
        self._tasks.wait_for_encoder(lambda: advance(0, None, None))
        steps = itertools.count(1)

        def step() -> None:
            done = next(steps)
            advance(done, None, None)
            if done >= _MOST_STEPS:
                raise _Enough

        with contextlib.suppress(_Enough):
            self._tasks.search(due, step)
