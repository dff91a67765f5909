"""300VW: 68 face landmarks given in the first frame, tracked through thousands of frames.

Reads the official layout,

    <video>/vid.avi (or any other ending), or all frames, <video>/frames/000001.jpg
    <video>/annot/000001.pts           68 points, 1-based pixels; the name counts frames from 1

and writes <video>/000001.pts, in pixels of the original frames, and cumulative_error.csv.

Faces are cropped once, around the landmarks of the first frame, and resized to one size. Errors are
in pixels of that crop. The paper does not state its crop; `Faces.crop_scale` is this project's
choice, wide enough for heads that move.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
import dataclasses
import itertools
import posixpath
import re
from typing import ClassVar, NamedTuple

import cv2
import gin
import numpy as np
import tensorflow as tf

from stfc3_tf import errors, wording
from stfc3_tf.benchmarks import contract, frame_checks, metrics
from stfc3_tf.clips import video
from stfc3_tf.propagation import codecs
from stfc3_tf.storage import files, writing

LANDMARKS = 68
# The test videos of the challenge (Shen et al. 2015): 1 well lit, 2 mixed, 3 arbitrary conditions.
_CATEGORY_LISTS = {
    1: """
        114 124 125 126 150 158 401 402 505 506 507 508 509 510 511 514 515 518 519
        520 521 522 524 525 537 538 540 541 546 547 548
    """,
    2: """
        203 208 211 212 213 214 218 224 403 404 405 406 407 408 409 412 550 551 553
    """,
    3: """
        410 411 516 517 526 528 529 530 531 533 557 558 559 562
    """,
}
CATEGORIES = {
    category: tuple(int(number) for number in numbers.split())
    for category, numbers in _CATEGORY_LISTS.items()
}
# The challenge's curves end at this share of the interocular distance; larger errors are failures.
FAILURE = 0.08
_CURVE = np.linspace(0, 0.2, 401)


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Faces(contract.Benchmark):
    """300VW under one protocol.

    Attributes:
      data_dir: the folder that holds one folder per video.
      category: 1, 2 or 3 for the challenge's test videos of that category; 0 for all videos in
        `data_dir`.
      crop_scale: side of the square crop, as a multiple of the longer side of the box of the first
        frame's landmarks.
      crop_size: side of the resized crop, in pixels.
      codec: converts between landmarks and label maps.
    """

    data_dir: str
    category: int = 0
    crop_scale: float = 2.0
    crop_size: int = 320
    codec: codecs.PointCodec = dataclasses.field(default_factory=codecs.PointCodec)

    task: ClassVar[str] = '300vw'

    def __post_init__(self):
        if self.category not in (0, *CATEGORIES):
            raise errors.UserError(f'Faces.category={self.category}: give 0 (all), 1, 2 or 3.')
        if self.crop_scale <= 0 or self.crop_size < 1:
            raise errors.UserError(
                f'Faces.crop_scale={self.crop_scale}, Faces.crop_size={self.crop_size}: both must '
                'be positive.'
            )

    def sequences(self) -> list[FaceSequence]:
        """Return the videos of the category, or all in the order of their names."""
        names = self._of_category() if self.category else self._present()
        return [FaceSequence(self, name) for name in names]

    def summary(self, records: Mapping[str, contract.Record]) -> dict[str, float]:
        """Return the figures over the frames of all videos together, as the challenge does."""
        return _figures(_pooled(records))

    def reports(self, records: Mapping[str, contract.Record]) -> dict[str, str]:
        """Return the share of frames up to each error, in interocular distances, as a table."""
        pooled = _pooled(records)['interocular']
        curve = zip(_CURVE, metrics.cumulative_error(pooled, _CURVE))
        lines = ['error,share', *(f'{level:.4f},{share:.6f}' for level, share in curve)]
        return {'cumulative_error.csv': '\n'.join(lines) + '\n'}

    def missing(self) -> list[str]:
        """Return the names of the category's videos that are not in `data_dir`."""
        present = set(self._present())
        return [name for name in self._of_category() if name not in present]

    def _of_category(self) -> list[str]:
        return [f'{number:03d}' for number in CATEGORIES.get(self.category, ())]

    def _present(self) -> list[str]:
        names = files.names_in(self.data_dir) if tf.io.gfile.isdir(self.data_dir) else []
        found = [
            name
            for name in names
            if tf.io.gfile.isdir(posixpath.join(self.data_dir, name, 'annot'))
        ]
        if not found:
            raise errors.UserError(
                f'{self.data_dir} holds no video; expected folders <video> with vid.avi (or '
                'frames/) and annot/000001.pts.'
            )
        return found


class FaceCrop(NamedTuple):
    """A square of the frame, resized; it may reach outside of the frame.

    Attributes:
      left: first column, in pixels of the frame.
      top: first row.
      side: in whole pixels of the frame.
      size: side after resizing, in pixels.
    """

    left: int
    top: int
    side: int
    size: int

    @classmethod
    def around(cls, landmarks: np.ndarray, scale: float, size: int) -> FaceCrop:
        """Return the square around landmarks.

        Args:
          landmarks: float [68, 2], pixels of the frame.
          scale: side of the square as a multiple of the longer side of the landmarks' box.
          size: side after resizing, in pixels.

        Returns:
          The crop.
        """
        low, high = landmarks.min(axis=0), landmarks.max(axis=0)
        side = max(int(np.ceil(scale * (high - low).max())), 1)
        left, top = np.rint((low + high + 1 - side) / 2).astype(int)
        return cls(int(left), int(top), side, size)

    def of(self, frame: np.ndarray) -> np.ndarray:
        """Return the crop, uint8 [size, size, 3]; border pixels are repeated outside the frame."""
        height, width = frame.shape[:2]
        rows = np.clip(np.arange(self.top, self.top + self.side), 0, height - 1)
        columns = np.clip(np.arange(self.left, self.left + self.side), 0, width - 1)
        shrinks = self.side > self.size
        return cv2.resize(
            frame[rows[:, None], columns],
            (self.size, self.size),
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        )

    def from_frame(self, points: np.ndarray) -> np.ndarray:
        """Return points [..., 2] in pixels of the crop, given in pixels of the frame."""
        return (points + 0.5 - (self.left, self.top)) * (self.size / self.side) - 0.5

    def to_frame(self, points: np.ndarray) -> np.ndarray:
        """Return points [..., 2] in pixels of the frame, given in pixels of the crop."""
        return (points + 0.5) * (self.side / self.size) + (self.left, self.top) - 0.5


class FaceSequence(contract.Sequence):
    """The face of one video, from its first annotated frame to its last."""

    def __init__(self, benchmark: Faces, name: str):
        self.name = self.output = name
        self._benchmark = benchmark
        self._folder = posixpath.join(benchmark.data_dir, name)

    def files(self) -> list[str]:
        """Return the video or its frames, then the annotations."""
        if not tf.io.gfile.isdir(self._folder):
            raise errors.UserError(
                f'{self._benchmark.data_dir} lacks the video {self.name}. Missing of category '
                f'{self._benchmark.category}: {", ".join(self._benchmark.missing())}. Choose '
                'videos with --sequences, or all that are there with Faces.category = 0.'
            )
        video_file = self._video_file()
        return [*([video_file] if video_file else self._pictures()), *self._annotations()]

    def check(self) -> int:
        """Read every annotation and decode the video; return the number of frames to track."""
        numbers, _ = self._truth()
        if len(numbers) < 2:
            raise errors.UserError(
                f'{self._folder}/annot holds 1 file; at least 2 annotated frames are needed.'
            )
        count = frame_checks.check_clip(self._video_file() or self._folder, self._frames(numbers))
        if count < numbers[-1] - numbers[0] + 1:
            raise errors.UserError(
                f'{self._annotations()[-1]} annotates frame {numbers[-1]}, but {self._folder} ends '
                f'with frame {numbers[0] - 1 + count}; remove annotations without a frame.'
            )
        return count

    def run(self, tracker: contract.Tracker, output: str) -> contract.Record:
        """Track the first frame's landmarks in the crop; score all later annotated frames."""
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

    def _video_file(self) -> str | None:
        video_files = [name for name in files.names_in(self._folder) if files.stem(name) == 'vid']
        if len(video_files) > 1:
            raise errors.UserError(
                f'{self._folder} holds {", ".join(video_files)}; keep only one of them.'
            )
        return posixpath.join(self._folder, video_files[0]) if video_files else None

    def _pictures(self) -> list[str]:
        folder = posixpath.join(self._folder, 'frames')
        if not tf.io.gfile.isdir(folder):
            raise errors.UserError(
                f'{self._folder} has neither a video vid.* nor a folder frames/.'
            )
        paths = video.pictures_in(folder)
        _check_numbers(paths)
        return paths

    def _frames(self, numbers: list[int]) -> Iterator[np.ndarray]:
        """Return the frames from the first annotated one to the last, uint8 [height, width, 3]."""
        video_file = self._video_file()
        frames: Iterator[np.ndarray]
        if video_file:
            frames = (frame for _, frame in video.frames_of_video(video_file))
        else:
            frames = map(video.read_picture, self._pictures())
        return itertools.islice(frames, numbers[0] - 1, numbers[-1])

    def _annotations(self) -> list[str]:
        return files.list_files(
            posixpath.join(self._folder, 'annot'), ('.pts',), 'annotations 000001.pts, ...'
        )

    def _truth(self) -> tuple[list[int], np.ndarray]:
        """Return frame numbers, from 1, and landmarks [annotated frames, 68, 2], 0-based pixels."""
        numbered = by_number(self._annotations())
        numbers = sorted(numbered)
        return numbers, np.stack([read_landmarks(numbered[number]) for number in numbers])


def by_number(paths: Iterable[str]) -> dict[int, str]:
    """Return frame number, from 1 -> path of files with landmarks.

    Args:
      paths: of .pts files; their names are the numbers.

    Raises:
      errors.UserError: a name is no number of a frame, or two files are of one frame.
    """
    numbered: dict[int, str] = {}
    for path in paths:
        name = files.stem(path)
        if not name.isdecimal() or int(name) < 1:
            raise errors.UserError(f'{path}: its name must be the number of a frame, from 1 on.')
        if int(name) in numbered:
            raise errors.UserError(
                f'{path} and {numbered[int(name)]} annotate the same frame; keep one of them.'
            )
        numbered[int(name)] = path
    return numbered


def _check_numbers(paths: list[str]) -> None:
    """Raise UserError if a frame is missing: annotations would be those of other frames."""
    numbers = [re.findall(r'\d+', files.stem(path)) for path in paths]
    if not all(numbers):
        return
    if int(numbers[0][-1]) != 1:
        raise errors.UserError(
            f'{paths[0]} has the number {numbers[0][-1]}: annotations count frames from 1. All '
            'frames of the video are needed, numbered from 000001 on.'
        )
    for before, number, path in zip(numbers, numbers[1:], paths[1:]):
        if int(number[-1]) != int(before[-1]) + 1:
            raise errors.UserError(
                f'{path} follows the frame {before[-1]}: a frame is missing. All frames of the '
                'video are needed, numbered without gaps.'
            )


def read_landmarks(path: str) -> np.ndarray:
    """Return the 68 points of a .pts file, float64 [68, 2], (x, y), 0-based pixels.

    Raises:
      errors.UserError: the file cannot be read, or does not hold 68 points.
    """
    text = files.read_bytes(path).decode(errors='replace')
    try:
        inside, brace, _ = text.partition('{')[2].partition('}')
        if not brace:
            raise ValueError('the closing brace is missing, so the file is cut off')
        numbers = inside.split()
        points = np.array(numbers, np.float64).reshape(-1, 2)
    except ValueError as error:
        raise errors.UserError(f'{path}: expected lines `x y` between braces: {error}') from error
    if len(points) != LANDMARKS or not np.isfinite(points).all():
        raise errors.UserError(
            f'{path} holds {wording.counted(len(points), "point")}; expected {LANDMARKS}, all '
            'finite.'
        )
    return points - 1


def write_landmarks(path: str, points: np.ndarray) -> None:
    """Write points [points, 2], 0-based pixels, as a .pts file, which is 1-based."""
    coordinates = [f'{x:.3f} {y:.3f}' for x, y in points + 1]
    lines = ['version: 1', f'n_points: {len(points)}', '{', *coordinates, '}']
    writing.write_text(path, '\n'.join(lines) + '\n')


def hold_last(tracks: np.ndarray) -> np.ndarray:
    """Give lost points their last position, so that a lost point still has an error.

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
    """Return the mean of each error, and the curve and failures of the interocular one."""
    relative = frame_errors['interocular']
    return {
        'RMSE': float(np.mean(frame_errors['rms'])),
        'Point-to-point': float(np.mean(frame_errors['mean'])),
        'NME-interocular': float(np.mean(relative)),
        'NME-box': float(np.mean(frame_errors['box'])),
        f'AUC@{FAILURE}': metrics.area_under_cumulative_error(relative, FAILURE),
        f'Failures@{FAILURE}': metrics.failure_rate(relative, FAILURE),
    }


def _pooled(records: Mapping[str, contract.Record]) -> dict[str, np.ndarray]:
    per_frame = [record['per_frame'] for record in records.values()]
    names = 'rms', 'mean', 'interocular', 'box'
    return {name: np.concatenate([errors_of[name] for errors_of in per_frame]) for name in names}
