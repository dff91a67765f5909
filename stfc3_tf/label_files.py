"""The files that a propagated video leaves: masks or tracks, frame by frame, in any order.

Labels come onwards and backwards from the labelled frame, tables and overlay are in the order of
time. What lies between is on disk, so that memory does not grow with the video.
"""

from __future__ import annotations

import json
import posixpath
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from stfc3_tf import annotate, overlay, pictures, writing
from stfc3_tf.benchmarks import files
from stfc3_tf.clips.footage import Frame


class MaskFiles:
    """masks/000000.png, ..., palette PNGs of the frames' size, and confidence.csv."""

    def __init__(self, folder: str, numbers: Sequence[int]):
        self._folder = folder
        self._numbers = numbers
        self._rows = _Rows(1 + len(numbers))

    def put(self, frame: Frame, label: annotate.MaskLabel) -> None:
        """Keeps the label of a frame."""
        files.write_palette_mask(self._path(frame.number), label.mask)
        confidences = [label.confidence[number] for number in self._numbers]
        self._rows.put(frame.number, [frame.time, *confidences])

    def draw(self, frame: Frame) -> np.ndarray:
        """Returns a frame with its label drawn on it, uint8 [height, width, 3]."""
        return pictures.overlay_mask(frame.image, files.read_index_mask(self._path(frame.number)))

    def finish(self, frames: range) -> None:
        """Writes the table of the given frames."""
        with tf.io.gfile.GFile(posixpath.join(self._folder, 'confidence.csv'), 'w') as file:
            file.write('frame,time,object,confidence\n')
            for number in frames:
                time, *confidences = self._rows.get(number)
                for name, confidence in zip(self._numbers, confidences):
                    file.write(f'{number},{time:.6f},{name},{confidence:.4f}\n')

    def _path(self, number: int) -> str:
        return posixpath.join(self._folder, 'masks', f'{number:06d}.png')


class TrackFiles:
    """tracks.json and tracks.csv: name, frame, time in seconds, x and y in pixels, confidence."""

    def __init__(self, folder: str, names: Sequence[str]):
        self._folder = folder
        self._names = names
        self._rows = _Rows(1 + 3 * len(names))
        self._trails = overlay.PointTrails(names)

    def put(self, frame: Frame, label: annotate.PointLabel) -> None:
        """Keeps the label of a frame."""
        points = np.column_stack([label.points, label.confidence])
        self._rows.put(frame.number, [frame.time, *points.ravel()])

    def draw(self, frame: Frame) -> np.ndarray:
        """Returns a frame with its label drawn on it and trails of the frames drawn before."""
        _, points = self._get(frame.number)
        return self._trails.draw(frame.image, points[:, :2], points[:, 2])

    def finish(self, frames: range) -> None:
        """Writes the tables of the given frames."""
        for name, lines in (('tracks.csv', self._csv), ('tracks.json', self._json)):
            with tf.io.gfile.GFile(posixpath.join(self._folder, name), 'w') as file:
                for line in lines(frames):
                    file.write(line)

    def _csv(self, frames: range) -> Iterator[str]:
        yield 'name,frame,time,x,y,confidence\n'
        names = [_quoted(name) for name in self._names]
        for number in frames:
            time, points = self._get(number)
            for name, (x, y, confidence) in zip(names, points):
                position = f'{x:.3f},{y:.3f}' if np.isfinite(x) else ','
                yield f'{name},{number},{time:.6f},{position},{confidence:.4f}\n'

    def _json(self, frames: range) -> Iterator[str]:
        """One line a frame, so that a program may also read it line by line."""
        yield '{"frames": [\n'
        for number in frames:
            time, points = self._get(number)
            yield json.dumps(
                {
                    'frame': number,
                    'time': round(time, 6),
                    'points': [_entry(*point) for point in zip(self._names, points.tolist())],
                }
            ) + (',\n' if number != frames[-1] else '\n')
        yield ']}\n'

    def _get(self, number: int) -> tuple[float, np.ndarray]:
        """Time, and float64 [points, 3]: x, y, confidence."""
        row = self._rows.get(number)
        return float(row[0]), row[1:].reshape(-1, 3)


def write_json(path: str, contents: dict) -> None:
    """Writes a small JSON file for people to read."""
    writing.write_text(path, json.dumps(contents, indent=2) + '\n')


def _entry(name: str, point: list[float]) -> dict:
    x, y, confidence = point
    lost = not np.isfinite(x)
    return {
        'name': name,
        'x': None if lost else round(x, 3),
        'y': None if lost else round(y, 3),
        'confidence': round(confidence, 4),
    }


def _quoted(name: str) -> str:
    """A field of a CSV table."""
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"\r\n') else name


class _Rows:
    """Numbers of every frame, float64 [columns] each, in a file without a name."""

    def __init__(self, columns: int):
        self._bytes = 8 * columns
        self._file = tempfile.TemporaryFile()  # noqa: SIM115, it lives as long as this object.

    def put(self, number: int, values: Sequence[float]) -> None:
        self._file.seek(number * self._bytes)
        self._file.write(np.asarray(values, np.float64).tobytes())

    def get(self, number: int) -> np.ndarray:
        self._file.seek(number * self._bytes)
        return np.frombuffer(self._file.read(self._bytes), np.float64)
