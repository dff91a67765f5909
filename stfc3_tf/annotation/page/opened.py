"""A video that is open on the page, with its session: labels kept, propagated, exported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import contextlib
import dataclasses
import os
import sys
import threading
from typing import Any

import numpy as np

from stfc3_tf import errors
from stfc3_tf.annotation import propagate as annotate
from stfc3_tf.annotation import session as session_lib
from stfc3_tf.annotation import session_import
from stfc3_tf.annotation.page import sent_mask
from stfc3_tf.annotation.page.frame_store import FrameStore
from stfc3_tf.annotation.page.job import Advance, Job
from stfc3_tf.annotation.page.loading_encoder import LoadingEncoder
from stfc3_tf.annotation.page.options import Missing, Options
from stfc3_tf.annotation.page.search_ahead import SearchAhead
from stfc3_tf.annotation.page.tasks import Tasks
from stfc3_tf.annotation.replaced_frames import ReplacedFrames
from stfc3_tf.annotation.session import Session
from stfc3_tf.annotation.session_results import Results
from stfc3_tf.clips import footage, part
from stfc3_tf.formats import writing as formats

_Version = dict[str, str]
# Seconds by which times may differ from those of a constant rate; containers round them.
_EVEN = 1e-3


class Opened:
    """A video that is open, with its session.

    Args:
      identifier: the name of its session's folder.
      path: of the video.
      options: of the page.
      encoder: of its frames.
    """

    def __init__(self, identifier: str, path: str, options: Options, encoder: LoadingEncoder):
        self.identifier = identifier
        self._options, self._encoder = options, encoder
        self._lock = threading.RLock()  # One change at a time.
        folder = os.path.join(options.output_dir, identifier)
        with contextlib.ExitStack() as parts:
            self.frames = FrameStore(lambda: footage.open_footage(path, options.frame_rate))
            parts.callback(self.frames.close)
            self._video = self.frames.footage
            annotate.input_size(self._video.size, options.short_side)
            self.session = Session(folder, session_lib.identity_of(self._video))
            parts.callback(self.session.close)
            self.results = {
                kind: Results(os.path.join(folder, 'results', kind)) for kind in ('masks', 'points')
            }
            self._forget_what_is_gone()
            self._numbers = part.numbers_in(path)
            options.labels.put(self.session, session_import.places(self._numbers))
            self._parts = parts.pop_all()
        self._tasks = Tasks(
            self.session, self.results, self.frames, encoder, options, self._numbers
        )
        self.job: Job | None = None
        self.search = SearchAhead(self._tasks)
        self._last_marked: int | None = None
        self._is_closed = False
        threading.Thread(target=self._tasks.warm_up, daemon=True).start()

    @property
    def _jobs(self) -> list[Job]:
        """The last jobs of each kind, if there were any."""
        return [*self.search.jobs, *([] if self.job is None else [self.job])]

    @property
    def is_idle(self) -> bool:
        """Whether no work is done, not even the last step of what was stopped."""
        return all(job.has_ended for job in self._jobs)

    def close(self, seconds: float | None = None) -> None:
        """Stop the work and the reading; then another process may open the session.

        Args:
          seconds: that the work may take to stop, None for as long as it takes; if it goes on, the
            session stays open.
        """
        with self._lock:
            self._is_closed = True
            self.stop()
        for job in self._jobs:
            job.wait(seconds)
        if self.is_idle:
            self._parts.close()

    def state(self) -> dict[str, Any]:
        """Return everything except results and frames, ready for JSON."""
        frames = self.frames
        return {
            **self._marked(),
            'id': self.identifier,
            'name': os.path.basename(self._video.name.rstrip('/')),
            'folder': os.path.abspath(self.session.folder),
            'height': self.session.video.height,
            'width': self.session.video.width,
            'frame_rate': self._video.frame_rate,
            # Whether `times` are others than those of the rate.
            'uneven': self._is_uneven(),
            'pixel_aspect': float(self._video.pixel_aspect),
            'frames': frames.count,
            # By which people know the frames; None for 0, 1, ...
            'numbers': self._numbers,
            'seen': frames.seen,
            'trouble': frames.trouble,
            'small': sorted(frames.small),
            'colours': session_lib.COLOURS,
            'formats': self._formats(),
            'encoder': {'state': self._encoder.state, 'message': self._encoder.message},
            'stretches': self._tasks.stretch_states(),
            # The changes are asked for with `progress`.
            'job': self.job.progress(sys.maxsize) if self.job else None,
        }

    def times(self) -> bytes:
        """Return the times of all frames in seconds, as little-endian float64.

        Raises:
          Missing: the frames are not counted yet.
        """
        if self.frames.count is None:
            raise Missing('The frames are not counted yet.')
        return self.frames.times().astype('<f8').tobytes()

    def _is_uneven(self) -> bool:
        times = self.frames.times()
        even = np.arange(len(times)) / self._video.frame_rate
        return bool(len(times)) and bool(np.abs(times - even).max() > _EVEN)

    def _formats(self) -> list[dict[str, Any]]:
        """Return the formats of other tools, and which are chosen at first."""
        return [
            {
                'name': name,
                'chosen': name in self._options.formats,
                'for_points': name in formats.FOR_POINTS,
            }
            for name in formats.NAMES
        ]

    def _marked(self) -> dict[str, Any]:
        """Return what is marked, and its version."""
        session = self.session
        with self._lock:
            return {
                'version': session.version,
                'things': dataclasses.asdict(session.things),
                'masks': {frame: given.objects for frame, given in session.masks.items()},
                'points': session.points,
            }

    def records(self) -> dict[str, Any]:
        """Return what is known of frames, ready for JSON."""
        return {
            kind: [dataclasses.asdict(record) for record in results.records]
            for kind, results in self.results.items()
        }

    def _change(self, known: str | None, change: Callable[..., None], *given: Any) -> _Version:
        """Change what is marked; return the version of it.

        Args:
          known: the version on which the change is based; None for any.
          change: makes the change.
          *given: what it is called with.

        Raises:
          errors.UserError: something else is marked by now.
        """
        with self._lock:
            if known is not None and known != self.session.version:
                raise errors.UserError(
                    'Your last change was not kept, because another window changed this video: '
                    'look at what is marked now.'
                )
            change(*given)
            return {'version': self.session.version}

    def _mark(
        self, known: str | None, put: Callable[..., None], frame: int, *given: Any
    ) -> _Version:
        """Change the marks of a frame, see `_change`; then search what they need."""
        with self._lock:
            version = self._change(known, put, frame, *given)
            self._last_marked = frame
            if not (self.job and self.job.is_running):
                self._search_ahead()
            return version

    def _search_ahead(self) -> None:
        """Search what the next propagation needs, around the frame that was marked last."""
        with self._lock:
            wanted = self._options.features_bytes and not self._is_closed
            if wanted and self._last_marked is not None:
                self.search.begin(self._last_marked, self._jobs)

    def set_things(self, things: session_lib.Things, known: str | None = None) -> _Version:
        """Replace objects and points; what is gone loses its labels and results.

        Args:
          things: all of them.
          known: see `_change`, also for what is returned.

        Raises:
          errors.UserError: see `Session.set_things` and `_change`; or something is removed during
            a propagation.
        """
        return self._change(known, self._set_things, things)

    def _set_things(self, things: session_lib.Things) -> None:
        is_less = not _numbers(self.session.things) <= _numbers(things)
        if is_less and self.job is not None and self.job.is_running:
            raise errors.UserError(
                'Labels are being propagated: stop that before you remove objects or points.'
            )
        self.session.set_things(things)
        if is_less:
            self._forget_what_is_gone()

    def _forget_what_is_gone(self) -> None:
        things = self.session.things
        self.results['masks'].keep_only({thing.number for thing in things.objects})
        self.results['points'].keep_only({thing.number for thing in things.points})

    def put_mask(
        self, frame: int, png: bytes, objects: list[int], known: str | None = None
    ) -> _Version:
        """Keep a mask.

        Args:
          frame: its number.
          png: the file. Its values are object numbers, 0 the background.
          objects: see `Session.put_mask`.
          known: see `_change`, also for what is returned.

        Raises:
          errors.UserError: as `Session.put_mask` and `_change` do, and if the file is not a PNG
            of the frame's size.
        """
        self._check_frame(frame)
        size = self.session.video.height, self.session.video.width
        mask = sent_mask.decoded(png, size)
        return self._mark(known, self.session.put_mask, frame, mask, objects)

    def remove_mask(self, frame: int, known: str | None = None) -> _Version:
        """Remove the mask given in a frame."""
        size = self.session.video.height, self.session.video.width
        nothing = np.zeros(size, np.uint8)
        return self._mark(known, self.session.put_mask, frame, nothing, [])

    def put_points(
        self, frame: int, points: Mapping[int, session_lib.Position], known: str | None = None
    ) -> _Version:
        """Keep points.

        Args:
          frame: its number.
          points: see `Session.put_points`, also for what is refused.
          known: see `_change`, also for what is returned.
        """
        if points:  # Marks after the end can be removed.
            self._check_frame(frame)
        return self._mark(known, self.session.put_points, frame, points)

    def mask(self, frame: int) -> np.ndarray:
        """Return the mask of a frame: what was given in it, over what was propagated.

        Raises:
          Missing: there is neither.
        """
        given, propagated = self.session.masks.get(frame), self.results['masks'].mask(frame)
        if given is not None:
            return given.over(propagated)
        if propagated is None:
            raise Missing(f'Frame {frame} has no mask yet.')
        return propagated

    def mask_before(self, frame: int) -> np.ndarray | None:
        """Return what was propagated to a frame before: before it was marked, or before it changed.

        Return None if there is nothing that differs from its mask.
        """
        results = self.results['masks']
        propagated = [results.mask(frame), results.mask_before(frame)]
        if all(found is None for found in propagated):
            return None
        now = self.mask(frame)
        others = (e for e in propagated if e is not None and not np.array_equal(e, now))
        return next(others, None)

    def propagate(self, allowed: ReplacedFrames) -> None:
        """Begin to propagate what has changed.

        A stretch of which frames are left out is not complete: the next propagation computes it.

        Args:
          allowed: which frames it begins with, and which ones may change.

        Raises:
          errors.UserError: something is running, nothing is marked, or frames after the end are, or
            no frame may change.
        """
        allowed.check()
        self._check_marks()
        if not self.session.masks and not self.session.points:
            raise errors.UserError('Nothing is marked yet: mark an object or a point first.')
        self._start('propagate', lambda advance: self._tasks.propagate(allowed, advance))

    def export(self, names: Sequence[str]) -> str:
        """Begin an export; return the name of its folder.

        Args:
          names: of the formats of other tools in which labels are written, too.

        Raises:
          errors.UserError: something is running, there is nothing to export, or a format cannot be
            written.
        """
        chosen = tuple(dict.fromkeys(names))
        formats.check(chosen, masks=bool(self.session.masks), points=bool(self.session.points))
        if not self.session.masks and not self.session.points:
            raise errors.UserError('There is nothing to export yet: mark something first.')
        name = self._tasks.new_export()
        self._start('export', lambda advance: self._tasks.export(name, chosen, advance))
        return name

    def stop(self) -> None:
        """Stop what is running, if anything is."""
        self.search.stop()
        if self.job is not None:
            self.job.stop()

    def progress(self, since: int) -> dict[str, Any]:
        """Return how far the work is; see `Job.progress`."""
        if self.job is None:
            return {'state': 'none', 'number': None, 'seen': 0, 'changes': []}
        return self.job.progress(since)

    def export_folder(self, name: str) -> str:
        """Return the folder of an export; raise `Missing` if there is none."""
        return self._tasks.export_folder(name)

    def _start(self, task: str, work: Callable[[Advance], None]) -> None:
        def then_search(advance: Advance) -> None:
            """Work; then search what was marked meanwhile needs."""
            work(advance)
            self._search_ahead()

        with self._lock:
            if self.job is not None and self.job.is_running:
                raise errors.UserError(f'The work on "{self.job.task}" is not done: stop it first.')
            self.search.stop()
            self.job = Job(task, then_search, self._jobs)

    def _check_frame(self, frame: int) -> None:
        count = self.frames.count
        if count is not None and frame >= count:
            raise errors.UserError(f'There is no frame {frame}: the last is {count - 1}.')

    def _check_marks(self) -> None:
        """Raise UserError if a frame is marked that the video does not have."""
        last = max((*self.session.masks, *self.session.points), default=0)
        count = self.frames.count
        if count is not None and last >= count:
            raise errors.UserError(
                f'Frame {last} is marked, but the video has only {count} frames: remove the marks '
                'after the end.'
            )


def _numbers(things: session_lib.Things) -> set[tuple[str, int]]:
    kinds = {'object': things.objects, 'point': things.points}
    return {(kind, thing.number) for kind, each in kinds.items() for thing in each}
