"""Results of a session: masks or points of frames, and the labels that they come from.

    SESSION/results/masks/000041.png    propagated masks
    SESSION/results/masks/before/       what they were before they last changed
    SESSION/results/masks/frames.jsonl  a frame per line: time, confidences, points; the last line
                                        of a frame counts
    SESSION/results/masks/done.json     stretches that are complete, and the labels they come from

and the same below results/points, without pictures. Everything here can be computed again: what is
damaged is dropped with a warning.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
import dataclasses
import json
import os
import shutil
import threading

from absl import logging
import numpy as np

from stfc3_tf import errors
from stfc3_tf.annotation.both_ways import Span
from stfc3_tf.storage import files, images, state, writing

_REMEDY = 'It is dropped; propagate again.'


@dataclasses.dataclass(frozen=True)
class Record:
    """What is known of a frame besides its mask.

    Attributes:
      frame: its number.
      time: seconds since the first frame.
      confidence: object or point -> 0 ... 1.
      points: point -> (x, y) in pixels, or None where it is lost.
      before: point -> what that was before it last changed; points that never did are not there.
    """

    frame: int
    time: float
    confidence: dict[int, float]
    points: dict[int, tuple[float, float] | None] = dataclasses.field(default_factory=dict)
    before: dict[int, tuple[float, float] | None] = dataclasses.field(default_factory=dict)

    def updated(self, other: Record) -> Record:
        """Return this record with what another, newer one knows."""
        moved = {n for n, at in other.points.items() if n in self.points and self.points[n] != at}
        return dataclasses.replace(
            other,
            confidence={**self.confidence, **other.confidence},
            points={**self.points, **other.points},
            before={**self.before, **{n: self.points[n] for n in moved}},
        )

    def of(self, things: Collection[int]) -> Record:
        """Return what this record knows of some objects or points."""
        return dataclasses.replace(
            self,
            confidence={n: sure for n, sure in self.confidence.items() if n in things},
            points={n: at for n, at in self.points.items() if n in things},
            before={n: at for n, at in self.before.items() if n in things},
        )


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Frames whose labels were carried from the same given labels.

    Attributes:
      first: number of the first frame.
      last: number of the last frame; None for the last one of the video.
      things: the objects or points.
      key: changes with the labels and settings that the results come from.
    """

    first: int
    last: int | None
    things: tuple[int, ...]
    key: str

    def numbers(self, count: int | None) -> range | None:
        """Return its frames in a video of `count` frames; None if its end is not known."""
        if self.last is None and count is None:
            return None
        end = count if self.last is None else self.last + 1
        return range(self.first, end or 0)

    @property
    def span(self) -> Span:
        """Its frames."""
        return Span(self.first, self.last)

    def overlaps(self, other: Stretch) -> bool:
        """Return whether both share things, and frames besides one at their ends."""
        ends = [float('inf') if each.last is None else each.last for each in (self, other)]
        return max(self.first, other.first) < min(ends) and not set(self.things).isdisjoint(
            other.things
        )


class Results:
    """The results of masks, or of points, in one folder. Several threads may use it."""

    def __init__(self, folder: str):
        """Read what is there, and drop the lines of frames.jsonl that later ones replace.

        Raises:
          errors.UserError: the shorter frames.jsonl cannot be written.
        """
        self._folder = folder
        self._lock = threading.RLock()
        self._records: dict[int, Record] = {}
        self.done: list[Stretch] = []
        try:
            is_compact = self._read()
        except errors.UserError as error:
            logging.warning('%s', error)
            self.clear()
            return
        if not is_compact:
            self._write(self._records)

    @property
    def records(self) -> list[Record]:
        """What is known of frames, in their order."""
        with self._lock:
            return [self._records[frame] for frame in sorted(self._records)]

    def get(self, frame: int) -> Record | None:
        """Return what is known of a frame, if anything."""
        with self._lock:
            return self._records.get(frame)

    def has(self, frame: int, things: Collection[int]) -> bool:
        """Return whether a frame has a mask, or all of these points."""
        record = self.get(frame)
        return self.has_mask(frame) or (record is not None and set(things) <= set(record.points))

    def has_mask(self, frame: int) -> bool:
        """Return whether a frame has a mask."""
        return os.path.exists(self._mask_path(frame))

    def mask(self, frame: int) -> np.ndarray | None:
        """Return the mask of a frame, uint8 [height, width], if there is one.

        A damaged one is dropped, and the stretches that it is in are not complete any more.
        """
        with self._lock:
            if not self.has_mask(frame):
                return None
            found = _undamaged(self._mask_path(frame))
            if found is None:
                self._set_done([each for each in self.done if not each.span.holds(frame)])
            return found

    def mask_before(self, frame: int) -> np.ndarray | None:
        """Return the mask that a frame had before it last changed, if it had one."""
        path = self._before_path(frame)
        with self._lock:
            return _undamaged(path) if os.path.exists(path) else None

    def put(self, record: Record, mask: np.ndarray | None = None) -> Record:
        """Keep the results of a frame.

        Args:
          record: what is known. Points that it does not name stay as they are.
          mask: uint8 [height, width]; None with points.

        Returns:
          What is known of the frame now.

        Raises:
          errors.UserError: they cannot be written.
        """
        with self._lock:
            if mask is not None:
                self._set_aside(record.frame, mask)
                images.write_palette_mask(self._mask_path(record.frame), mask)
            if mask is None and record.frame in self._records:
                record = self._records[record.frame].updated(record)
            self._records[record.frame] = record
            _append(self._path('frames.jsonl'), _line(record))
        return record

    def begin(self, stretch: Stretch) -> None:
        """Mark the stretches that overlap this one as not complete: it is computed now."""
        with self._lock:
            self._set_done([each for each in self.done if not each.overlaps(stretch)])

    def finish(self, stretch: Stretch) -> None:
        """Mark a stretch as complete."""
        with self._lock:
            self._set_done([*(e for e in self.done if not e.overlaps(stretch)), stretch])

    def keep_only(self, things: Collection[int]) -> None:
        """Keep the results of these objects or points alone.

        Raises:
          errors.UserError: the rest cannot be written.
        """
        with self._lock:
            kept = {frame: record.of(things) for frame, record in self._records.items()}
            if kept == self._records:
                return
            shutil.rmtree(self._path('before'), ignore_errors=True)
            for frame in kept:
                is_less = kept[frame] != self._records[frame]
                mask = self.mask(frame) if is_less else None
                if mask is not None:
                    mask = np.where(np.isin(mask, list(things)), mask, 0)
                    images.write_palette_mask(self._mask_path(frame), mask)
            self._write(kept)
            self._records = kept

    def clear(self) -> None:
        """Remove all results."""
        with self._lock:
            self._records, self.done = {}, []
            shutil.rmtree(self._folder, ignore_errors=True)

    def _set_done(self, done: list[Stretch]) -> None:
        if done != self.done:
            contents = [dataclasses.asdict(each) for each in done]
            writing.write_text(self._path('done.json'), json.dumps(contents) + '\n')
            self.done = done

    def _read(self) -> bool:
        """Read what is there; return whether frames.jsonl is as short as it can be."""
        path = self._path('frames.jsonl')
        if not os.path.exists(path):
            return True
        if not os.path.getsize(path):
            # Killed between the mask of the first frame and its line.
            raise errors.UserError(
                f'{path} is empty: a propagation was stopped before its first frame was kept. What '
                'it left is dropped; propagate again.'
            )
        *lines, rest = files.read_bytes(path).split(b'\n')
        read = [state.parse_json(line, Record, path, _REMEDY) for line in lines]
        self._records = {record.frame: record for record in read}
        if os.path.exists(self._path('done.json')):
            self.done = files.read_json(self._path('done.json'), list[Stretch], _REMEDY)
        # A killed process may have cut off the last line.
        return not rest and len(self._records) == len(lines)

    def _write(self, records: Mapping[int, Record]) -> None:
        """Replace frames.jsonl, at once, by one with a line per frame."""
        lines = [_line(record) for record in records.values()]
        writing.write_text(self._path('frames.jsonl'), ''.join(lines))

    def _set_aside(self, frame: int, newer: np.ndarray) -> None:
        """Keep the mask of a frame as the one before, unless the newer one is the same."""
        found = self.mask(frame)
        if found is not None and not np.array_equal(found, newer):
            os.makedirs(os.path.dirname(self._before_path(frame)), exist_ok=True)
            os.replace(self._mask_path(frame), self._before_path(frame))

    def _before_path(self, frame: int) -> str:
        return self._path(os.path.join('before', f'{frame:06d}.png'))

    def _mask_path(self, frame: int) -> str:
        return self._path(f'{frame:06d}.png')

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)


def _undamaged(path: str) -> np.ndarray | None:
    """Return a stored mask; remove a damaged one with a warning, and return None."""
    try:
        return images.read_index_mask(path)
    except errors.UserError as error:
        logging.warning('%s %s', error, _REMEDY)
        writing.remove(path)
        return None


def _line(record: Record) -> str:
    return json.dumps(dataclasses.asdict(record)) + '\n'


def _append(path: str, line: str) -> None:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'a', encoding='utf-8') as file:
            file.write(line)
    except OSError as error:
        raise errors.UserError(
            f'{path} cannot be written: {errors.one_line(error)}. Make room, or choose another '
            '--output_dir.'
        ) from error
