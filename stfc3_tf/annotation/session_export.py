"""The results of a session as the files that `tools.propagate` writes.

    EXPORT/masks/000000.png, EXPORT/confidence.csv    objects
    EXPORT/tracks.csv, EXPORT/tracks.json             points
    EXPORT/overlay.mp4
    EXPORT/result.json

Where labels were given, they are exported as given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import os
from typing import Any

import numpy as np

from stfc3_tf import errors, wording
from stfc3_tf.annotation import outputs, result_file
from stfc3_tf.annotation.label_codecs import MaskLabel, PointLabel
from stfc3_tf.annotation.session import Position, Session
from stfc3_tf.annotation.session_results import Results
from stfc3_tf.clips import video_writer
from stfc3_tf.clips.footage import Footage
from stfc3_tf.clips.frame import Frame
from stfc3_tf.formats import results
from stfc3_tf.storage import writing


class MaskSource:
    """The masks of a session, given or propagated."""

    def __init__(self, session: Session, results: Results):
        self._given, self._results = session.masks, results
        self.numbers = sorted({n for given in self._given.values() for n in given.objects})
        self._things = session.things.objects
        propagated = [r.frame for r in results.records if results.has_mask(r.frame)]
        self.frames = {*self._given, *propagated}

    def files(self, folder: str, options: outputs.Options) -> outputs.MaskFiles:
        """Return the files that keep them."""
        names = {thing.number: thing.name for thing in self._things}
        colours = {thing.number: thing.colour for thing in self._things}
        return outputs.MaskFiles(folder, self.numbers, names, options, colours)

    def label(self, frame: int) -> MaskLabel:
        """Return the mask of a frame; what was given in it, over what was propagated.

        Objects that are not there have no confidence.
        """
        mask, record = self._results.mask(frame), self._results.get(frame)
        carried = record.confidence if record else {}
        given = self._given.get(frame)
        if given is not None:
            others = {n: sure for n, sure in carried.items() if n not in given.objects}
            return MaskLabel(given.over(mask), {**others, **dict.fromkeys(given.shown, 1.0)})
        if mask is None:
            raise errors.UserError(
                f'The propagated mask {frame:06d}.png of the session was damaged and is dropped: '
                'propagate again, then export.'
            )
        return MaskLabel(mask, carried)


class PointSource:
    """The points of a session, given or propagated."""

    def __init__(self, session: Session, results: Results):
        self._given, self._results = session.points, results
        marked = {number for points in self._given.values() for number in points}
        self._things = [thing for thing in session.things.points if thing.number in marked]
        self.numbers = [thing.number for thing in self._things]
        self.frames = {*self._given, *(record.frame for record in results.records)}

    def files(self, folder: str, options: outputs.Options) -> outputs.TrackFiles:
        """Return the files that keep them."""
        names = [thing.name for thing in self._things]
        colours = [thing.colour for thing in self._things]
        return outputs.TrackFiles(folder, names, options, colours)

    def label(self, frame: int) -> PointLabel:
        """Return the points of a frame; what was given in it, over what was propagated.

        Points that are not there have the confidence 0.
        """
        record, given = self._results.get(frame), self._given.get(frame, {})
        points: dict[int, Position] = {**(record.points if record else {}), **given}
        exact = {number: float(position is not None) for number, position in given.items()}
        sure = {**(record.confidence if record else {}), **exact}
        nowhere = (float('nan'), float('nan'))
        positions = [points.get(number) or nowhere for number in self.numbers]
        return PointLabel(
            np.array(positions, np.float64).reshape(-1, 2),
            np.array([sure.get(number, 0.0) for number in self.numbers]),
        )


@dataclasses.dataclass(frozen=True)
class Export:
    """What to export.

    Attributes:
      session: the session.
      masks: its propagated masks.
      points: its propagated points.
      footage: the video.
      model: what tells the encoder that propagated from others, for result.json; {} for none.
      how: settings of that propagation, see `result_file.how`.
      options: what is written beside the usual files.
      numbers: by which people know the frames, and which are written; None for 0, 1, ...
    """

    session: Session
    masks: Results
    points: Results
    footage: Footage
    model: dict[str, Any]
    how: dict[str, Any]
    options: outputs.Options = outputs.Options()
    numbers: Sequence[int] | None = None

    def write(self, folder: str, advance: Callable[[int, int], None]) -> None:
        """Write a new folder, whole or not at all.

        Args:
          folder: where; nothing is there yet.
          advance: called with the frames done and the frames in all.

        Raises:
          errors.UserError: there are no labels, or the folder cannot be written.
        """
        video_writer.check_encoder()
        sources = [
            source
            for source in (
                MaskSource(self.session, self.masks),
                PointSource(self.session, self.points),
            )
            if source.numbers
        ]
        if not sources:
            raise errors.UserError('There is nothing to export yet: mark something first.')
        writing.write_whole(folder, lambda partial: self._fill(partial, sources, advance))

    def _fill(
        self,
        folder: str,
        sources: Sequence[MaskSource | PointSource],
        advance: Callable[[int, int], None],
    ) -> None:
        files = [source.files(folder, self.options) for source in sources]
        frames = sorted(set().union(*(source.frames for source in sources)))

        def drawn() -> Iterator[tuple[float, np.ndarray]]:
            for done, frame in enumerate(self._read(frames), 1):
                yield frame.time, self._kept_and_drawn(frame, sources, files)
                advance(done, len(frames))

        os.makedirs(folder, exist_ok=True)
        rate, aspect = self.footage.frame_rate, self.footage.pixel_aspect
        video_writer.write_timed_video(os.path.join(folder, 'overlay.mp4'), drawn(), rate, aspect)
        for source, each in zip(sources, files):
            each.finish([*map(self._number, sorted(source.frames))], self._video())
        outputs.write_json(os.path.join(folder, 'result.json'), self._record(frames))

    def _read(self, frames: Sequence[int]) -> Iterator[Frame]:
        wanted = set(frames)
        for frame in self.footage.frames(frames[0]):
            if frame.number in wanted:
                yield frame
            if frame.number >= frames[-1]:
                return

    def _video(self) -> results.Video:
        size = self.session.video.height, self.session.video.width
        return results.Video(self.footage.name, size, self.footage.frame_rate)

    def _record(self, frames: Sequence[int]) -> dict[str, Any]:
        """Return the contents of result.json."""
        labelled = sorted(map(self._number, {*self.session.masks, *self.session.points}))
        missing = frames[-1] + 1 - frames[0] - len(frames)
        reason = f'{wording.counted(missing, "frame")} between them not propagated yet'
        result = result_file.Result(
            self._number(frames[0]),
            self._number(frames[-1]),
            len(frames),
            reason if missing else None,
        )
        determined = result_file.identity(
            self._video(), labelled, self.model, self.how, self.options
        )
        things = dataclasses.asdict(self.session.things)
        return {**result_file.contents(determined, result), **things}

    def _number(self, frame: int) -> int:
        return frame if self.numbers is None else self.numbers[frame]

    def _kept_and_drawn(
        self,
        frame: Frame,
        sources: Sequence[MaskSource | PointSource],
        files: Sequence[Any],
    ) -> np.ndarray:
        """Keep the labels of a frame, and return it with them drawn on it."""
        drawn = dataclasses.replace(frame, number=self._number(frame.number))
        for source, each in zip(sources, files):
            if frame.number in source.frames:
                each.put(drawn, source.label(frame.number))
                drawn = Frame.of_image(drawn.number, frame.time, each.draw(drawn))
        return drawn.image
