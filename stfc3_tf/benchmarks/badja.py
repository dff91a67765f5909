"""BADJA: joints of animals in DAVIS sequences, propagated from the first annotated frame; PCK.

Reads `joint_annotations/<sequence>.json` (a list of annotated frames: image_path,
segmentation_path, joints as (row, column) in pixels of the full-resolution image, visibility) and
the frames of a DAVIS folder; writes the same JSON with predicted joints.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import json
import posixpath
from typing import Annotated, Any, ClassVar, Union

from absl import logging
import annotated_types
import gin
import numpy as np
import pydantic
from typing_extensions import TypedDict

from stfc3_tf import checks, errors
from stfc3_tf.benchmarks import contract, frame_checks, metrics
from stfc3_tf.propagation import codecs
from stfc3_tf.storage import files, folders, images, writing

_JOINTS = 37
# The joints that the data set's own reader uses. The files have others too, such as the chin (34).
_ANNOTATED = (8, 9, 10, 12, 13, 14, 15, 18, 19, 20, 22, 23, 24, 25, 28, 31, 32, 33, 35, 36)
_DAVIS = 'DAVIS'
_Number = Union[int, float, bool]


@pydantic.with_config(pydantic.ConfigDict(extra='allow'))
class _Entry(TypedDict):
    """An annotated frame."""

    image_path: str
    segmentation_path: str
    joints: Annotated[list[tuple[_Number, _Number]], annotated_types.Len(_JOINTS, _JOINTS)]
    visibility: Annotated[list[_Number], annotated_types.Len(_JOINTS, _JOINTS)]


_KEYS = ('image_path', 'segmentation_path', 'joints', 'visibility')


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Badja(contract.Benchmark):
    """BADJA under one protocol.

    A joint is right if it is at most `threshold` * sqrt(area of the animal's mask) away from the
    truth (Biggs et al. 2018, with 0.2). The joints visible in the first annotated frame are given.
    They are scored in every later annotated frame that shows them.

    Attributes:
      data_dir: the folder that holds joint_annotations.
      davis_dir: the DAVIS folder (JPEGImages, Annotations); None for data_dir/DAVIS.
      frames: name of the folder of the frames below JPEGImages and of the masks below Annotations.
      full_size: (height, width) of the images that the annotated pixels refer to.
      threshold: share of the square root of the mask's area.
      codec: converts between joints and label maps.
    """

    data_dir: str
    davis_dir: str | None = None
    frames: str = 'Full-Resolution'
    full_size: tuple[int, int] = (1080, 1920)
    threshold: float = 0.2
    codec: codecs.PointCodec = dataclasses.field(default_factory=codecs.PointCodec)

    task: ClassVar[str] = 'badja'

    def __post_init__(self):
        checks.positive_number('Badja.threshold', self.threshold)
        if not isinstance(self.full_size, (tuple, list)) or len(self.full_size) != 2:
            raise errors.UserError(
                f'Badja.full_size={self.full_size!r}: give (height, width) in pixels.'
            )
        for side in self.full_size:
            checks.whole_number('Badja.full_size: a side', side)
        if not isinstance(self.frames, str) or not self.frames:
            raise errors.UserError(
                f"Badja.frames={self.frames!r}: give a folder's name, such as 'Full-Resolution'."
            )

    def settings(self) -> dict[str, Any]:
        """Return every field that changes the figures; the folder of the frames does not."""
        fields = super().settings()
        fields.pop('davis_dir')
        return fields

    def sequences(self) -> list[BadjaSequence]:
        """Return the annotated sequences that are DAVIS sequences, by name."""
        paths = files.list_files(
            posixpath.join(self.data_dir, 'joint_annotations'),
            ('.json',),
            "BADJA's <sequence>.json",
        )
        sequences = [BadjaSequence(self, path) for path in paths]
        others = [sequence.name for sequence in sequences if not sequence.is_davis()]
        if others:
            logging.info(
                'Left out, because they are not sequences of DAVIS: %s.', ', '.join(others)
            )
        return [sequence for sequence in sequences if sequence.name not in others]

    def summary(self, records: Mapping[str, contract.Record]) -> dict[str, float]:
        """Return PCK averaged over sequences, and PCK over all joints of all sequences."""
        correct, visible, placed = (
            sum(record['counts'][key] for record in records.values())
            for key in ('correct', 'visible', 'placed')
        )
        name = pck_name(self.threshold)
        return {
            name: float(np.mean([record['metrics'][name] for record in records.values()])),
            f'{name}-pooled': correct / visible,
            'coverage': placed / visible,
        }


class BadjaSequence(contract.Sequence):
    """The joints of one animal."""

    def __init__(self, benchmark: Badja, annotation: str):
        self.name = files.stem(annotation)
        self.output = posixpath.join('joint_annotations', f'{self.name}.json')
        self._benchmark = benchmark
        self._annotation = annotation

    def is_davis(self) -> bool:
        """Return whether the frames are frames of DAVIS: image_path is DAVIS/JPEGImages/..."""
        return _DAVIS in posixpath.normpath(self._entries()[0]['image_path']).split('/')

    def files(self) -> list[str]:
        """Return the annotation, the frames from the first to the last annotated one, and masks."""
        entries = self._entries()
        return [self._annotation, *self._frames(entries), *map(self._mask, entries)]

    def check(self) -> int:
        """Decode frames and masks; return the number of frames to track."""
        entries = self._entries()
        frames = self._frames(entries)
        size = frame_checks.check_frames(frames)
        for entry in entries:
            path = self._mask(entry)
            frame_checks.check_size(path, images.size_of(images.read_index_mask(path)), size)
        given = self._visible(entries)
        if not (given[0] & given[1:]).any():
            raise errors.UserError(
                f'{self._annotation}: no joint that is visible in the first annotated frame is '
                'visible later, so there is nothing to score.'
            )
        return len(frames)

    def run(self, tracker: contract.Tracker, output: str) -> contract.Record:
        """Track the joints of the first annotated frame; score the later annotated frames."""
        entries = self._entries()
        paths = self._frames(entries)
        truth = np.array([entry['joints'] for entry in entries], np.float64)[..., ::-1]
        visible = self._visible(entries)
        first = np.where(visible[0][:, np.newaxis], truth[0], np.nan)
        annotated = {files.stem(entry['image_path']): index for index, entry in enumerate(entries)}
        tracked = tracker.track(
            images.read_frames(paths), first, self._benchmark.codec, self._benchmark.full_size
        )
        predictions = np.stack(
            [points for path, points in zip(paths, tracked) if files.stem(path) in annotated]
        )
        self._write(output, entries, predictions)
        return self._score(entries, truth, predictions, visible)

    def _score(
        self,
        entries: list[dict[str, Any]],
        truth: np.ndarray,
        predictions: np.ndarray,
        visible: np.ndarray,
    ) -> contract.Record:
        """Score joints [annotated frames, joints, 2] if `visible` [annotated frames, joints]."""
        limits = np.array([self._limit(entry) for entry in entries[1:]])
        scored = (visible & visible[0])[1:]
        lost = metrics.is_lost(predictions)[1:]
        distances = np.where(lost, np.inf, metrics.point_errors(truth, predictions)[1:])
        counts = {
            'correct': int(np.sum(scored & (distances <= limits[:, np.newaxis]))),
            'visible': int(np.sum(scored)),
            'placed': int(np.sum(scored & ~lost)),
        }
        return {
            'metrics': {
                pck_name(self._benchmark.threshold): counts['correct'] / counts['visible'],
                'coverage': counts['placed'] / counts['visible'],
            },
            'counts': counts,
        }

    def _limit(self, entry: Mapping[str, Any]) -> float:
        """Return the largest error of a right joint, in pixels of the full-resolution image."""
        mask = images.read_index_mask(self._mask(entry)) > 0
        return self._benchmark.threshold * np.sqrt(mask.mean() * np.prod(self._benchmark.full_size))

    def _write(self, output: str, entries: list[dict[str, Any]], predictions: np.ndarray) -> None:
        found = [
            {
                **entry,
                'joints': np.where(np.isnan(points), 0, points)[:, ::-1].tolist(),
                'visibility': (~metrics.is_lost(points)).tolist(),
            }
            for entry, points in zip(entries, predictions)
        ]
        writing.write_text(output, json.dumps(found))

    def _entries(self) -> list[dict[str, Any]]:
        entries = read_entries(self._annotation)
        if len(entries) < 2:
            raise errors.UserError(
                f'{self._annotation}: expected at least 2 annotated frames, each with '
                f'{", ".join(_KEYS)} and {_JOINTS} joints.'
            )
        entries = sorted(entries, key=lambda entry: folders.natural_order(entry['image_path']))
        named = [files.stem(entry['image_path']) for entry in entries]
        twice = [name for name, following in zip(named, named[1:]) if name == following]
        if twice:
            raise errors.UserError(f'{self._annotation} annotates the frame {twice[0]} twice.')
        return entries

    def _visible(self, entries: list[dict[str, Any]]) -> np.ndarray:
        """Return which joints are visible and annotated, bool [annotated frames, joints]."""
        marked = np.array([entry['visibility'] for entry in entries], bool)
        return marked & np.isin(np.arange(_JOINTS), _ANNOTATED)

    def _folder(self, kind: str, path: str) -> str:
        """Return the folder of frames or masks for the annotation's path DAVIS/.../<name>/*."""
        root = self._benchmark.davis_dir or posixpath.join(self._benchmark.data_dir, _DAVIS)
        return posixpath.join(
            root, kind, self._benchmark.frames, posixpath.basename(posixpath.dirname(path))
        )

    def _frames(self, entries: list[dict[str, Any]]) -> list[str]:
        folder = self._folder('JPEGImages', entries[0]['image_path'])
        paths = files.list_frames(
            folder,
            ('.jpg', '.jpeg', '.png'),
            'the DAVIS frames of the animal (set Badja.davis_dir and Badja.frames)',
        )
        names = [files.stem(path) for path in paths]
        wanted = [files.stem(entry['image_path']) for entry in entries]
        missing = sorted(set(wanted) - set(names))
        if missing:
            raise errors.UserError(f'{folder} lacks the annotated frames {", ".join(missing[:5])}.')
        return paths[names.index(wanted[0]) : names.index(wanted[-1]) + 1]

    def _mask(self, entry: Mapping[str, Any]) -> str:
        name = posixpath.basename(entry['segmentation_path'])
        return posixpath.join(self._folder('Annotations', entry['segmentation_path']), name)


def read_entries(path: str) -> list[dict[str, Any]]:
    """Read a file of annotated frames.

    Raises:
      errors.UserError: it cannot be read, or has other contents.
    """
    remedy = (
        f'Expected a list of annotated frames, each with {", ".join(_KEYS)} and {_JOINTS} joints.'
    )
    return files.read_json(path, list[_Entry], remedy)


def pck_name(threshold: float) -> str:
    """Return the name of the figure in results.json."""
    return f'PCK@{threshold:g}'
