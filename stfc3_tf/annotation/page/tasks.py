"""Propagation and export of the marks of an open video, in a thread."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import functools
import os
import time
from typing import Any

from absl import logging
import numpy as np

from stfc3_tf.annotation import kept_model, outputs, result_file, session_export, stretches
from stfc3_tf.annotation import propagate as annotate
from stfc3_tf.annotation.kept_features import KeptFeatures
from stfc3_tf.annotation.kept_matches import KeptMatches
from stfc3_tf.annotation.page.frame_store import FrameStore
from stfc3_tf.annotation.page.job import Advance, Change
from stfc3_tf.annotation.page.loading_encoder import LoadingEncoder
from stfc3_tf.annotation.page.options import Missing, Options
from stfc3_tf.annotation.replaced_frames import ReplacedFrames
from stfc3_tf.annotation.session import Session
from stfc3_tf.annotation.session_results import Record, Results


@dataclasses.dataclass(frozen=True)
class Due:
    """Stretches to compute.

    Attributes:
      batches: kind and stretches, see `stretches.batches`.
      masks: frame -> mask given in it.
      points: frame -> point -> where it is given.
    """

    batches: Sequence[tuple[str, list[stretches.Planned]]]
    masks: stretches.Masks
    points: stretches.Points

    @property
    def searches(self) -> frozenset[Any]:
        """What tells searches apart: what is there in which frames, but not where in a frame."""
        found = []
        for kind, (first, *_) in self.batches:
            present = tuple(map(self._present, (*first.labelled, *first.beside)))
            found.append((kind, stretches.place_of(first), present))
        return frozenset(found)

    def _present(self, frame: int) -> Any:
        """Return what the labels of a frame are about, and what they show."""
        mask, points = self.masks.get(frame), self.points.get(frame, {})
        present = frozenset((number, at is not None) for number, at in points.items())
        return mask and (mask.objects, mask.shown), present


class Tasks:
    """The work on the marks of one video.

    Args:
      session: with the marks.
      results: 'masks' and 'points' -> what was propagated.
      frames: of the video.
      encoder: of the frames.
      options: of the page.
      numbers: by which people know the frames; None for 0, 1, ...
    """

    def __init__(
        self,
        session: Session,
        results: Mapping[str, Results],
        frames: FrameStore,
        encoder: LoadingEncoder,
        options: Options,
        numbers: Sequence[int] | None,
    ):
        self._session, self._results, self._frames = session, results, frames
        self._encoder, self._options, self._numbers = encoder, options, numbers

    def warm_up(self) -> None:
        """Propagate something once, so that the first propagated frame comes soon."""
        height, width = self._frames.footage.size
        frames = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
        mask = np.zeros((height, width), np.uint8)
        mask[height // 4 : -(height // 4), width // 4 : -(width // 4)] = 1
        options = self._options
        try:
            encoder = self._encoder.get()
            labels = annotate.propagate_masks(
                encoder, frames, mask, options.settings, options.short_side
            )
            collections.deque(labels, maxlen=0)
        except Exception as error:  # noqa: BLE001 It will come again, and be shown then.
            logging.debug('The encoder does not work yet: %s', error)

    def stretch_states(self) -> list[dict[str, Any]]:
        """Return which stretches are there, and whether their results are those of the labels."""
        return [
            {
                'kind': kind,
                'first': each.stretch.first,
                'last': each.stretch.last,
                'done': each.stretch in self._results[kind].done,
            }
            for kind, planned in self._plans().items()
            for each in planned
        ]

    def propagate(self, allowed: ReplacedFrames, advance: Advance) -> None:
        """Carry labels through the stretches that are not done.

        Args:
          allowed: which frames it begins with, and which ones may change.
          advance: called after each step, and with each change.
        """
        self._encoder.get()  # Stretches are told apart by its identity, too.
        due = self.due(allowed)
        options = self._options
        how = result_file.how(self._frames.footage.size, options.short_side, options.settings)
        kept_model.write(self._session.folder, self._encoder.identity, how)
        count = self._count(advance, [batch[0] for _, batch in due.batches], allowed)
        carried_by = self._carrier(due, lambda: count(None), allowed.are_all)
        for kind, batch in due.batches:
            planned = stretches.joined(batch)
            self._results[kind].begin(planned.stretch)
            carried = carried_by(kind, planned)
            if self._keep(kind, planned, allowed, carried, count):
                for each in batch:
                    self._results[kind].finish(each.stretch)

    def wait_for_encoder(self, advance: Callable[[], None]) -> None:
        """Wait until the encoder is loaded, or cannot be; `advance` may end the waiting."""
        while self._encoder.state == 'loading':
            advance()
            time.sleep(0.05)

    def search(self, due: Due, step: Callable[[], None]) -> None:
        """Carry labels and drop them: the similar cells are kept, and do not depend on the labels.

        Args:
          due: the stretches that the next propagation will compute.
          step: called for every frame that is looked at.
        """
        carried_by = self._carrier(due, step, True)
        for kind, batch in due.batches:
            collections.deque(carried_by(kind, stretches.joined(batch)), maxlen=0)

    def due(self, allowed: ReplacedFrames) -> Due:
        """Return the stretches to compute; see `propagate`."""
        batches = [
            (kind, batch)
            for kind, plan in self._plans().items()
            for batch in self._due(kind, plan, allowed)
        ]
        return Due(batches, self._session.masks, self._session.points)

    def _carrier(
        self, due: Due, step: Callable[[], None], reads_ahead: bool
    ) -> Callable[[str, stretches.Planned], Iterator[stretches.Carried]]:
        """Return what yields the labels of a stretch of a kind, with what is kept.

        Args:
          due: the labels that are given.
          step: called for every frame that is looked at.
          reads_ahead: see `stretches.Method`.
        """
        options = self._options
        features, matches = (os.path.join(self._session.folder, n) for n in ('features', 'matches'))
        encoder = KeptFeatures(self._encoder.get(), features, options.features_bytes)
        kept = KeptMatches(matches, options.features_bytes)
        method = stretches.Method(
            encoder, options.settings, options.short_side, step, kept.propagator, reads_ahead
        )

        def carried(kind: str, planned: stretches.Planned) -> Iterator[stretches.Carried]:
            video = self._frames.to_read()
            if kind == 'masks':
                return stretches.carry_masks(method, video, planned, due.masks)
            return stretches.carry_points(method, video, planned, due.points)

        return carried

    def new_export(self) -> str:
        """Return the name of the next export."""
        numbers = [int(name) for name in self._exports() if name.isdigit()]
        return f'{max(numbers, default=0) + 1:03d}'

    def export_folder(self, name: str) -> str:
        """Return the folder of an export; raise `Missing` if there is none."""
        if name not in self._exports():
            raise Missing(f'There is no export {name}.')
        return os.path.join(self._session.folder, 'exports', name)

    def export(self, name: str, chosen: Sequence[str], advance: Advance) -> None:
        """Write what was given and propagated into a new folder.

        Args:
          name: of the folder, see `new_export`.
          chosen: formats of other tools.
          advance: called after each step, and with what was written.
        """
        folder = os.path.join(self._session.folder, 'exports', name)
        export = session_export.Export(
            self._session,
            self._results['masks'],
            self._results['points'],
            self._frames.to_read(),
            kept_model.read(self._session.folder),
            kept_model.read_how(self._session.folder),
            outputs.Options(chosen),
            self._numbers,
        )
        export.write(folder, lambda done, total: advance(done, total, None))
        found = {
            'folder': os.path.abspath(folder),
            'name': name,
            'written': _listed(folder),
        }
        advance(1, 1, lambda: found)

    def _exports(self) -> list[str]:
        folder = os.path.join(self._session.folder, 'exports')
        return os.listdir(folder) if os.path.isdir(folder) else []

    def _method(self) -> str:
        """Return a text that changes with everything that changes results, but the labels.

        An encoder that is not loaded counts as the one of the last propagation.
        """
        identity = self._encoder.identity or kept_model.read(self._session.folder)
        return repr((identity, self._options.settings, self._options.short_side))

    def _plans(self) -> dict[str, list[stretches.Planned]]:
        method = self._method()
        return {
            'masks': stretches.plan_masks(self._session.masks, method),
            'points': stretches.plan_points(self._session.points, method),
        }

    def _due(
        self, kind: str, plan: Sequence[stretches.Planned], allowed: ReplacedFrames
    ) -> list[list[stretches.Planned]]:
        """Return the stretches to compute, in batches, those around a frame first."""
        results, count = self._results[kind], self._frames.count
        due = [
            planned
            for planned in plan
            if planned.stretch not in results.done
            and allowed.touches(planned.stretch, results, count)
        ]
        return stretches.batches(stretches.nearest_first(due, allowed.frame))

    def _keep(
        self,
        kind: str,
        planned: stretches.Planned,
        allowed: ReplacedFrames,
        carried: Iterable[stretches.Carried],
        count: Callable[[Change | None], None],
    ) -> bool:
        """Keep the results that may change, and stop after the last; return whether all were."""
        results, stretch, is_whole = self._results[kind], planned.stretch, True
        left = allowed.among(stretch, results, self._frames.count)
        others = set(stretch.numbers(self._frames.count) or ()) - (left or set())
        for record, mask in carried:
            if allowed.takes(record.frame, stretch, results):
                count(functools.partial(_put, kind, results, record, mask))
            elif record.frame not in planned.labelled:
                is_whole = False
            if left is not None:
                left.discard(record.frame)
                if not left and others:
                    return others <= set(planned.labelled)
        return is_whole

    def _count(
        self, advance: Advance, work: Sequence[stretches.Planned], allowed: ReplacedFrames
    ) -> Callable[[Change | None], None]:
        """Return what is called with None for each step, and with what makes each change."""
        frames = self._frames.count or self._frames.footage.stated_count
        if frames and allowed.last is not None:
            frames = min(frames, allowed.last + 1)
        total = sum(planned.steps(frames) for planned in work) if frames else None
        done = 0

        def count(change: Change | None) -> None:
            nonlocal done
            done += change is None
            advance(done, total and max(total, done), change)

        return count


def _put(kind: str, results: Results, record: Record, mask: np.ndarray | None) -> dict[str, Any]:
    """Keep the results of a frame; return what the page learns of them."""
    kept = results.put(record, mask).of(record.confidence)
    return {'kind': kind, **dataclasses.asdict(kept)}


def _listed(folder: str) -> list[str]:
    """Return the names in a folder, those of folders with a slash at the end."""
    with os.scandir(folder) as entries:
        return sorted(entry.name + '/' * entry.is_dir() for entry in entries)
