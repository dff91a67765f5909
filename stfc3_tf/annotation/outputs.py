"""Write the labels of a video, masks or tracks, frame by frame in the order of time.

What goes into tables is kept on disk until the end, so that memory does not grow with the video.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import json
import posixpath
from typing import Generic, Protocol, TypeVar

import numpy as np
import tensorflow as tf

from stfc3_tf import checks, errors
from stfc3_tf.annotation.drawing import overlay
from stfc3_tf.annotation.label_codecs import VISIBLE_ABOVE, MaskLabel, PointLabel
from stfc3_tf.clips.footage import Frame
from stfc3_tf.formats import results
from stfc3_tf.formats import writing as formats
from stfc3_tf.storage import images, palette, writing
from stfc3_tf.storage.spool import Spool


@dataclasses.dataclass(frozen=True)
class Options:
    """What is written beside the usual files.

    Attributes:
      formats: of other tools, see `formats.NAMES`.
      visible_above: a point with at least this confidence counts as visible.
    """

    formats: Sequence[str] = ()
    visible_above: float = VISIBLE_ABOVE

    def __post_init__(self):
        checks.share('visible_above', self.visible_above)


class Timed(Protocol):
    """The number of a frame, and its time in seconds."""

    @property
    def number(self) -> int:
        """The number."""

    @property
    def time(self) -> float:
        """The time."""


class MaskFiles:
    """Writes masks/000000.png, …, palette PNGs of the frames' size, and confidence.csv."""

    def __init__(
        self,
        folder: str,
        numbers: Sequence[int],
        names: Mapping[int, str] | None = None,
        options: Options | None = None,
        colours: Mapping[int, str] | None = None,
    ):
        """Set what is written; no file exists yet.

        Args:
          folder: where the files go.
          numbers: of the objects.
          names: of the objects; by default `object 1` and so on.
          options: what else is written.
          colours: of the objects in the overlay, see `overlay.MaskPictures`.

        Raises:
          errors.UserError: a PNG cannot hold a number.
        """
        if max(numbers, default=0) > palette.MOST_NUMBER:
            raise errors.UserError(
                f'Object {max(numbers)} does not fit into a mask as a PNG: number the objects from '
                f'1 to {palette.MOST_NUMBER}, or use propagate_masks, which writes no files.'
            )
        self._folder = folder
        self._numbers = numbers
        self._names = overlay.object_names(numbers, names or {})
        self._formats = (options or Options()).formats
        self._pictures = overlay.MaskPictures(self._names, colours)
        self._rows = _Rows()

    def put(self, frame: Timed, label: MaskLabel) -> None:
        """Store the label of a frame; an object that is not there has no confidence."""
        images.write_palette_mask(self._path(frame.number), label.mask)
        confidences = [label.confidence.get(number, np.nan) for number in self._numbers]
        self._rows.put(frame.number, [frame.time, *confidences])

    def draw(self, frame: Frame) -> np.ndarray:
        """Return a frame with its label drawn on it, uint8 [height, width, 3]."""
        return self._pictures.draw(frame.image, images.read_index_mask(self._path(frame.number)))

    def finish(self, frames: Sequence[int], video: results.Video) -> None:
        """Write the table of the given frames, and the files of other tools."""
        self._write_table(frames)
        found = results.MaskResults(video, self._names, _Frames(frames, self._result))
        formats.write_masks(self._formats, found, self._folder)

    def _result(self, number: int) -> results.MaskFrame:
        time, *confidences = self._rows.get(number).tolist()
        known = {n: c for n, c in zip(self._numbers, confidences) if np.isfinite(c)}
        return results.MaskFrame(number, time, images.read_index_mask(self._path(number)), known)

    def _write_table(self, frames: Sequence[int]) -> None:
        with tf.io.gfile.GFile(posixpath.join(self._folder, 'confidence.csv'), 'w') as file:
            file.write('frame,time,object,confidence\n')
            for number in frames:
                time, *confidences = self._rows.get(number)
                for name, confidence in zip(self._numbers, confidences):
                    if np.isfinite(confidence):
                        file.write(f'{number},{time:.6f},{name},{confidence:.4f}\n')

    def _path(self, number: int) -> str:
        return posixpath.join(self._folder, 'masks', f'{number:06d}.png')


class TrackFiles:
    """Writes tracks.json and tracks.csv: name, frame, time, x, y, confidence, visible.

    Times are in seconds, positions in pixels; `visible` is 1 or 0 in the CSV file.
    """

    def __init__(
        self,
        folder: str,
        names: Sequence[str],
        options: Options | None = None,
        colours: Sequence[str] = (),
    ):
        """Set what is written; no file exists yet.

        Args:
          folder: where the files go.
          names: of the points.
          options: what else is written.
          colours: of the points in the overlay, see `overlay.PointTrails`.
        """
        self._folder = folder
        self._names = names
        self._options = options or Options()
        self._rows = _Rows()
        self._trails = overlay.PointTrails(names, colours)

    def put(self, frame: Timed, label: PointLabel) -> None:
        """Store the label of a frame."""
        points = np.column_stack([label.points, label.confidence])
        self._rows.put(frame.number, [frame.time, *points.ravel()])

    def draw(self, frame: Frame) -> np.ndarray:
        """Return a frame with its label drawn on it, and trails from the frames drawn before."""
        found = self._result(frame.number)
        return self._trails.draw(frame.image, found.points, found.visible)

    def finish(self, frames: Sequence[int], video: results.Video) -> None:
        """Write the tables of the given frames, and the files of other tools."""
        for name, lines in (('tracks.csv', self._csv), ('tracks.json', self._json)):
            with tf.io.gfile.GFile(posixpath.join(self._folder, name), 'w') as file:
                for line in lines(frames):
                    file.write(line)
        found = results.PointResults(video, self._names, _Frames(frames, self._result))
        formats.write_points(self._options.formats, found, self._folder)

    def _csv(self, frames: Sequence[int]) -> Iterator[str]:
        yield 'name,frame,time,x,y,confidence,visible\n'
        names = [_quoted(name) for name in self._names]
        for found in map(self._result, frames):
            rows = zip(names, found.points, found.confidence, found.visible)
            for name, (x, y), confidence, visible in rows:
                position = f'{x:.3f},{y:.3f}' if np.isfinite(x) else ','
                yield (
                    f'{name},{found.number},{found.time:.6f},{position},{confidence:.4f},'
                    f'{int(visible)}\n'
                )

    def _json(self, frames: Sequence[int]) -> Iterator[str]:
        """Yield one line per frame, so that a program may also read it line by line."""
        yield '{"frames": [\n'
        for found in map(self._result, frames):
            columns = found.points.tolist(), found.confidence.tolist(), found.visible.tolist()
            yield json.dumps(
                {
                    'frame': found.number,
                    'time': round(found.time, 6),
                    'points': [_entry(*point) for point in zip(self._names, *columns)],
                }
            ) + (',\n' if found.number != frames[-1] else '\n')
        yield ']}\n'

    def _result(self, number: int) -> results.PointFrame:
        row = self._rows.get(number)
        columns = row[1:].reshape(-1, 3)
        label = PointLabel(columns[:, :2], columns[:, 2])
        visible = label.visible(self._options.visible_above)
        return results.PointFrame(number, float(row[0]), *label, visible)


def write_json(path: str, contents: dict) -> None:
    """Write a small JSON file for people to read."""
    writing.write_text(path, json.dumps(contents, indent=2) + '\n')


def _entry(name: str, position: list[float], confidence: float, visible: bool) -> dict:
    x, y = (round(value, 3) if np.isfinite(value) else None for value in position)
    return {'name': name, 'x': x, 'y': y, 'confidence': round(confidence, 4), 'visible': visible}


def _quoted(name: str) -> str:
    """Return a field of a CSV table."""
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"\r\n') else name


_Result = TypeVar('_Result')


class _Frames(Generic[_Result]):
    """Results of frames that are read each time they are iterated over."""

    def __init__(self, numbers: Sequence[int], read: Callable[[int], _Result]):
        self._numbers, self._read = numbers, read

    def __iter__(self) -> Iterator[_Result]:
        return map(self._read, self._numbers)


class _Rows:
    """Numbers of every frame, float64 [columns] each, on disk."""

    def __init__(self):
        self._spool = Spool(np.float64)
        self._places: dict[int, int] = {}

    def put(self, number: int, values: Sequence[float]) -> None:
        self._spool.put(self._places.setdefault(number, len(self._places)), values)

    def get(self, number: int) -> np.ndarray:
        return self._spool.get(self._places[number])
