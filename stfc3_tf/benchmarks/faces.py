"""300VW: 68 face landmarks given in the first frame, tracked through thousands of frames.

Reads the official layout,

    <video>/vid.avi (or any other ending), or all frames, <video>/frames/000001.jpg
    <video>/annot/000001.pts           68 points, 1-based pixels; the number is the frame's, from 1

and writes <video>/000001.pts, in pixels of the original frames, and cumulative_error.csv.

Faces are cropped once, by the landmarks of the first frame, and enlarged or shrunk to one size.
Errors in pixels are pixels of that crop. The paper does not say how it cropped;
`Faces.crop_scale` is this project's choice, wide enough for heads that move.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import dataclasses
import itertools
import posixpath
from typing import ClassVar, NamedTuple

import cv2
import gin
import numpy as np
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf import metrics
from stfc3_tf import writing
from stfc3_tf.benchmarks import codecs
from stfc3_tf.benchmarks import files
from stfc3_tf.benchmarks import runner
from stfc3_tf.clips import video

LANDMARKS = 68
# The test videos of the challenge (Shen et al. 2015): 1 well lit, 2 mixed, 3 arbitrary conditions.
CATEGORIES = {
    1: (
        114, 124, 125, 126, 150, 158, 401, 402, 505, 506, 507, 508, 509, 510, 511, 514,
        515, 518, 519, 520, 521, 522, 524, 525, 537, 538, 540, 541, 546, 547, 548),
    2: (
        203, 208, 211, 212, 213, 214, 218, 224, 403, 404, 405, 406, 407, 408, 409, 412,
        550, 551, 553),
    3: (410, 411, 516, 517, 526, 528, 529, 530, 531, 533, 557, 558, 559, 562),
}
# Share of the interocular distance at which the challenge's curves end; a frame beyond has failed.
FAILURE = 0.08
_CURVE = np.linspace(0, 0.2, 401)


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Faces(runner.Benchmark):
    """300VW under one protocol.

    Attributes:
      data_dir: the folder that holds one folder a video.
      category: 1, 2 or 3, the challenge's test videos of that category; 0, all videos there are.
      crop_scale: side of the square crop, as a multiple of the longer side of the box of the first
        frame's landmarks.
      crop_size: pixels a side to which the crop is resized.
      codec: between landmarks and label maps.
    """

    data_dir: str
    category: int = 0
    crop_scale: float = 2.0
    crop_size: int = 320
    codec: codecs.PointCodec = dataclasses.field(default_factory=codecs.PointCodec)

    task: ClassVar[str] = '300vw'

    def __post_init__(self):
        if self.category not in (0, *CATEGORIES):
            raise errors.UserError(f'Faces.category={self.category} is none of 0 (all), 1, 2, 3.')
        if self.crop_scale <= 0 or self.crop_size < 1:
            raise errors.UserError(
                f'Faces.crop_scale={self.crop_scale}, Faces.crop_size={self.crop_size}: both must '
                'be positive.')

    def sequences(self) -> list['FaceSequence']:
        """Returns the videos of the category, or all in the order of their names."""
        names = self._of_category() if self.category else self._present()
        return [FaceSequence(self, name) for name in names]

    def summary(self, records: Mapping[str, runner.Record]) -> dict[str, float]:
        """Returns the figures over the frames of all videos together, as the challenge counts."""
        return _figures(_pooled(records))

    def reports(self, records: Mapping[str, runner.Record]) -> dict[str, str]:
        """Returns the share of frames with at most each error, in interocular distances."""
        pooled = _pooled(records)['interocular']
        curve = zip(_CURVE, metrics.cumulative_error(pooled, _CURVE))
        lines = ['error,share', *(f'{level:.4f},{share:.6f}' for level, share in curve)]
        return {'cumulative_error.csv': '\n'.join(lines) + '\n'}

    def missing(self) -> list[str]:
        """Returns the names of the category's videos that `data_dir` lacks."""
        present = set(self._present())
        return [name for name in self._of_category() if name not in present]

    def _of_category(self) -> list[str]:
        return [f'{number:03d}' for number in CATEGORIES.get(self.category, ())]

    def _present(self) -> list[str]:
        names = tf.io.gfile.listdir(self.data_dir) if tf.io.gfile.isdir(self.data_dir) else []
        found = [
            name for name in sorted(name.rstrip('/') for name in names)
            if tf.io.gfile.isdir(posixpath.join(self.data_dir, name, 'annot'))]
        if not found:
            raise errors.UserError(
                f'{self.data_dir} holds no video; expected folders <video> with vid.avi (or '
                'frames/) and annot/000001.pts.')
        return found


class FaceCrop(NamedTuple):
    """A square of whole pixels of the frame, resized to `size` pixels a side; may reach outside."""

    left: int
    top: int
    side: int
    size: int

    @classmethod
    def around(cls, landmarks: np.ndarray, scale: float, size: int) -> 'FaceCrop':
        """The square about the box of the landmarks [68, 2], `scale` times its longer side."""
        low, high = landmarks.min(axis=0), landmarks.max(axis=0)
        side = max(int(np.ceil(scale * (high - low).max())), 1)
        left, top = np.rint((low + high + 1 - side) / 2).astype(int)
        return cls(int(left), int(top), side, size)

    def of(self, frame: np.ndarray) -> np.ndarray:
        """Returns uint8 [size, size, 3]; outside the frame its border pixels are repeated."""
        height, width = frame.shape[:2]
        rows = np.clip(np.arange(self.top, self.top + self.side), 0, height - 1)
        columns = np.clip(np.arange(self.left, self.left + self.side), 0, width - 1)
        shrinks = self.side > self.size
        return cv2.resize(
            frame[rows[:, None], columns], (self.size, self.size),
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)

    def from_frame(self, points: np.ndarray) -> np.ndarray:
        """Pixels of the frame [..., 2] -> pixels of the crop."""
        return (points + 0.5 - (self.left, self.top)) * (self.size / self.side) - 0.5

    def to_frame(self, points: np.ndarray) -> np.ndarray:
        """Pixels of the crop [..., 2] -> pixels of the frame."""
        return (points + 0.5) * (self.side / self.size) + (self.left, self.top) - 0.5


class FaceSequence(runner.Sequence):
    """The face of one video, from its first annotated frame to its last."""

    def __init__(self, benchmark: Faces, name: str):
        self.name = self.output = name
        self._benchmark = benchmark
        self._folder = posixpath.join(benchmark.data_dir, name)

    def files(self) -> list[str]:
        """Returns the video or its frames, then the annotations."""
        if not tf.io.gfile.isdir(self._folder):
            raise errors.UserError(
                f'{self._benchmark.data_dir} lacks the video {self.name}; of category '
                f'{self._benchmark.category} it lacks {", ".join(self._benchmark.missing())}. '
                '--sequences takes some of them, Faces.category = 0 the videos there are.')
        film = self._film()
        return [*([film] if film else self._pictures()), *self._annotations()]

    def check(self) -> int:
        """Reads every annotation and decodes the video; returns the number of frames to track."""
        numbers, _ = self._truth()
        if len(numbers) < 2:
            raise errors.UserError(
                f'{self._folder}/annot holds one file; expected two annotated frames or more.')
        count = files.check_clip(self._film() or self._folder, self._frames(numbers))
        if count < numbers[-1] - numbers[0] + 1:
            raise errors.UserError(
                f'{self._annotations()[-1]} annotates frame {numbers[-1]}, but {self._folder} ends '
                f'with frame {numbers[0] - 1 + count}; remove what annotates no frame.')
        return count

    def run(self, tracker: runner.Tracker, output: str) -> runner.Record:
        """Tracks the first frame's landmarks in the crop; errors of all later annotated frames."""
        numbers, truth = self._truth()
        size = self._benchmark.crop_size
        crop = FaceCrop.around(truth[0], self._benchmark.crop_scale, size)
        truth = crop.from_frame(truth)
        frames = map(crop.of, self._frames(numbers))
        codec = self._benchmark.codec
        tracked = np.stack(list(tracker.track(frames, truth[0], codec, (size, size))))
        predictions = hold_last(tracked)
        for number, points in enumerate(crop.to_frame(predictions), numbers[0]):
            write_landmarks(posixpath.join(output, f'{number:06d}.pts'), points)
        truth, scored = truth[1:], np.array(numbers[1:]) - numbers[0]
        frame_errors = _frame_errors(truth, predictions[scored])
        return {
            'metrics': {
                **_figures(frame_errors),
                'Lost': np.isnan(tracked[scored, :, 0]).mean(),
                'Outside-crop': np.any((truth < -0.5) | (truth > size - 0.5), axis=-1).mean(),
            },
            'per_frame': {'frame': numbers[1:], **frame_errors},
        }

    def _film(self) -> str | None:
        names = tf.io.gfile.listdir(self._folder)
        films = sorted(name for name in names if files.stem(name) == 'vid')
        if len(films) > 1:
            raise errors.UserError(f'{self._folder} holds {", ".join(films)}; keep one of them.')
        return posixpath.join(self._folder, films[0]) if films else None

    def _pictures(self) -> list[str]:
        folder = posixpath.join(self._folder, 'frames')
        if not tf.io.gfile.isdir(folder):
            raise errors.UserError(
                f'{self._folder} holds neither vid.avi (or another ending) nor a folder frames/.')
        return video.pictures_in(folder)

    def _frames(self, numbers: list[int]) -> Iterator[np.ndarray]:
        """Yields the frames from the first annotated to the last, uint8 [height, width, 3]."""
        film = self._film()
        if film:
            frames = (frame for _, frame in video.frames_of_video(film))
        else:
            frames = map(video.read_picture, self._pictures())
        return itertools.islice(frames, numbers[0] - 1, numbers[-1])

    def _annotations(self) -> list[str]:
        return files.list_files(
            posixpath.join(self._folder, 'annot'), ('.pts',), 'annotations 000001.pts, ...')

    def _truth(self) -> tuple[list[int], np.ndarray]:
        """Returns frame numbers, from 1, and landmarks [annotated frames, 68, 2], 0-based."""
        numbered = {}
        for path in self._annotations():
            name = files.stem(path)
            if not name.isdecimal() or int(name) < 1:
                raise errors.UserError(f'{path}: expected a frame number, from 1, as its name.')
            numbered[int(name)] = path
        numbers = sorted(numbered)
        return numbers, np.stack([read_landmarks(numbered[number]) for number in numbers])


def read_landmarks(path: str) -> np.ndarray:
    """Returns the 68 points of a .pts file, float64 [68, 2], (x, y), 0-based pixels.

    Raises:
      errors.UserError: unreadable, or not 68 points.
    """
    text = files.read_bytes(path).decode(errors='replace')
    try:
        numbers = text.partition('{')[2].partition('}')[0].split()
        points = np.array(numbers, np.float64).reshape(-1, 2)
    except ValueError as error:
        raise errors.UserError(f'{path}: expected lines `x y` between braces: {error}') from error
    if len(points) != LANDMARKS or not np.isfinite(points).all():
        raise errors.UserError(
            f'{path} holds {len(points)} points; expected {LANDMARKS}, all finite.')
    return points - 1


def write_landmarks(path: str, points: np.ndarray) -> None:
    """Writes points [points, 2], 0-based pixels, as a .pts file, which is 1-based."""
    coordinates = [f'{x:.3f} {y:.3f}' for x, y in points + 1]
    lines = ['version: 1', f'n_points: {len(points)}', '{', *coordinates, '}']
    writing.write_text(path, '\n'.join(lines) + '\n')


def hold_last(tracks: np.ndarray) -> np.ndarray:
    """Gives lost points the position they had last: losing a point is no way to avoid its error.

    Args:
      tracks: float [time, points, 2], NaN where lost; all present in the first frame.

    Returns:
      The same shape without NaN.
    """
    held = tracks.copy()
    for now, before in zip(held[1:], held):
        now[np.isnan(now)] = before[np.isnan(now)]
    return held


def _frame_errors(truth: np.ndarray, predictions: np.ndarray) -> dict[str, np.ndarray]:
    mean = metrics.mean_point_error(truth, predictions)
    return {
        'rms': metrics.root_mean_square_error(truth, predictions),
        'mean': mean,
        'interocular': mean / metrics.interocular_distance(truth),
        'box': mean / metrics.box_diagonal(truth),
    }


def _figures(frame_errors: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The mean over frames of each error; curve and failures of the interocular one."""
    relative = frame_errors['interocular']
    return {
        'RMSE': float(np.mean(frame_errors['rms'])),
        'Point-to-point': float(np.mean(frame_errors['mean'])),
        'NME-interocular': float(np.mean(relative)),
        'NME-box': float(np.mean(frame_errors['box'])),
        f'AUC@{FAILURE}': metrics.area_under_cumulative_error(relative, FAILURE),
        f'Failures@{FAILURE}': metrics.failure_rate(relative, FAILURE),
    }


def _pooled(records: Mapping[str, runner.Record]) -> dict[str, np.ndarray]:
    per_frame = [record['per_frame'] for record in records.values()]
    names = 'rms', 'mean', 'interocular', 'box'
    return {name: np.concatenate([errors_of[name] for errors_of in per_frame]) for name in names}
