"""J-HMDB: 15 joints (PCK) and puppet masks (IoU), propagated from the first frame.

Reads the official layout,

    splits/<class>_test_split1.txt                        lines `<clip>.avi 2`; 2 is test, 1 train
    Rename_Images/<class>/<clip>/00001.png                or ReCompress_Videos/<class>/<clip>.avi
    joint_positions/<class>/<clip>/joint_positions.mat    pos_img, 2 x 15 x time, 1-based pixels
    puppet_mask/<class>/<clip>/puppet_mask.mat            part_mask, height x width x time

and writes predictions as the same .mat files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import dataclasses
import functools
import itertools
import posixpath
from typing import Any, ClassVar

from absl import logging
import gin
import numpy as np

from stfc3_tf import errors
from stfc3_tf import metrics
from stfc3_tf.benchmarks import codecs
from stfc3_tf.benchmarks import files
from stfc3_tf.benchmarks import runner
from stfc3_tf.clips import video

_TEST, _TRAIN = '2', '1'


@dataclasses.dataclass(frozen=True)
class Clip:
    """A clip of the lists; its frames are looked for when they are asked for.

    Where both official forms lie there, the frames are read: CRW's lists name them, and videos were
    compressed once more.
    """

    name: str
    data_dir: str

    @functools.cached_property
    def paths(self) -> list[str]:
        """The frames in order, or one video; raises UserError if there is neither."""
        folder = posixpath.join(self.data_dir, 'Rename_Images', self.name)
        film = posixpath.join(self.data_dir, 'ReCompress_Videos', f'{self.name}.avi')
        if files.exists(film) and not files.exists(folder):
            return [film]
        return files.list_files(folder, ('.png', '.jpg'), f'the frames of {self.name}, or {film}')

    @property
    def footage(self) -> str:
        """Which of the two forms is read: 'Rename_Images' or 'ReCompress_Videos'."""
        return 'ReCompress_Videos' if self.paths[0].endswith('.avi') else 'Rename_Images'

    def frames(self, count: int | None) -> Iterator[np.ndarray]:
        """Yields the first `count` frames (None: all), uint8 [height, width, 3]."""
        if self.footage == 'ReCompress_Videos':
            frames = (frame for _, frame in video.frames_of_video(self.paths[0]))
        else:
            frames = files.read_frames(self.paths)
        return itertools.islice(frames, count)

    def check(self, annotation: str, count: int) -> None:
        """Decodes the clip.

        Raises:
          errors.UserError: unreadable, of changing size, or with fewer than the `count` frames that
            the file `annotation` speaks of.
        """
        name = self.paths[0]
        found = files.check_clip(name, self.frames(None))
        if found > count:
            logging.warning(
                '%s: the last %d of %d frames have no annotation and are not used.',
                name,
                found - count,
                found,
            )
        if found < count or count < 2:
            raise errors.UserError(
                f'{name}: {found} frames can be read, {annotation} describes {count}; expected as '
                'many frames as annotations, and at least 2.'
            )

    def size(self) -> tuple[int, int]:
        """Returns the (height, width) of its frames."""
        return next(self.frames(1)).shape[:2]


@dataclasses.dataclass(frozen=True)
class _Jhmdb(runner.Benchmark):
    """What the two tasks on J-HMDB share: the list of clips and their frames."""

    data_dir: str
    split: int = 1
    subset: str = 'test'

    def __post_init__(self):
        if self.split not in (1, 2, 3) or self.subset not in ('test', 'train'):
            raise errors.UserError(
                f"J-HMDB split={self.split}, subset='{self.subset}': splits are 1, 2, 3, subsets "
                "'test', 'train'."
            )

    def clips(self) -> list[Clip]:
        """Returns the clips of the split, class by class."""
        ending = f'_test_split{self.split}.txt'
        lists = files.list_files(
            posixpath.join(self.data_dir, 'splits'),
            (ending,),
            f'the official lists <class>{ending}',
        )
        return [clip for path in lists for clip in self._clips_of_class(path, ending)]

    def _clips_of_class(self, path: str, ending: str) -> Iterator[Clip]:
        action = posixpath.basename(path).removesuffix(ending)
        wanted = _TEST if self.subset == 'test' else _TRAIN
        for line in files.read_lines(path, 'lines <clip>.avi 1 (train) or 2 (test)'):
            clip, _, mark = line.rpartition(' ')
            if mark not in (_TEST, _TRAIN, '0') or not clip.endswith('.avi'):
                raise errors.UserError(f"{path}: '{line}' is not of the form <clip>.avi 0, 1 or 2.")
            if mark == wanted:
                yield Clip(f'{action}/{clip.removesuffix(".avi")}', self.data_dir)


@gin.configurable
@dataclasses.dataclass(frozen=True)
class JhmdbPose(_Jhmdb):
    """Joints under one protocol.

    Attributes:
      data_dir: the folder that holds splits, joint_positions and the frames.
      split: which of the three official splits.
      subset: 'test' or 'train'.
      codec: between joints and label maps.
    """

    codec: codecs.PointCodec = dataclasses.field(default_factory=codecs.PointCodec)

    task: ClassVar[str] = 'jhmdb'

    def sequences(self) -> list['PoseSequence']:
        """Returns the clips of the split."""
        return [PoseSequence(self, clip) for clip in self.clips()]

    def summary(self, records: Mapping[str, runner.Record]) -> dict[str, float]:
        """Returns both PCKs, joints pooled over all clips, then averaged over the 15 joints."""
        counts = [record['counts'] for record in records.values()]
        return _pck_figures(
            *(
                sum((_tally(count[key]) for count in counts[1:]), start=_tally(counts[0][key]))
                for key in ('crw', 'visible')
            )
        )


class PoseSequence(runner.Sequence):
    """The joints of one clip."""

    def __init__(self, benchmark: JhmdbPose, clip: Clip):
        self.name = clip.name
        self.output = posixpath.join('joint_positions', clip.name)
        self._benchmark = benchmark
        self._clip = clip
        self._annotation = posixpath.join(
            benchmark.data_dir, 'joint_positions', clip.name, 'joint_positions.mat'
        )

    def files(self) -> list[str]:
        """Returns the video or frames, then joint_positions.mat."""
        return [*self._clip.paths, self._annotation]

    def check(self) -> int:
        """Decodes the clip and reads the joints; returns the number of annotated frames."""
        truth = self._truth()
        self._clip.check(self._annotation, len(truth))
        return len(truth)

    def run(self, tracker: runner.Tracker, output: str) -> runner.Record:
        """Tracks the first frame's joints; PCK by CRW's rule and by the visibility of the truth."""
        truth = self._truth()
        size = self._clip.size()
        predictions = np.stack(
            list(
                tracker.track(self._clip.frames(len(truth)), truth[0], self._benchmark.codec, size)
            )
        )
        inside = np.all((truth >= 0) & (truth <= np.array(size[::-1]) - 1), axis=-1)
        # A joint outside the first frame was never given to the method.
        visible = inside & inside[0]
        tallies = metrics.pck_crw(truth, predictions, visible), metrics.pck_visible(
            truth, predictions, visible
        )
        write_joints(posixpath.join(output, 'joint_positions.mat'), predictions)
        crw, by_visibility = (dataclasses.asdict(tally) for tally in tallies)
        return {
            'metrics': _pck_figures(*tallies),
            'counts': {'crw': crw, 'visible': by_visibility},
            'footage': self._clip.footage,
        }

    def _truth(self) -> np.ndarray:
        """Returns the joints, float64 [time, 15, 2], (x, y), 0-based pixels."""
        joints = files.read_mat(self._annotation, 'pos_img', 3)
        if joints.shape[:2] != (2, 15):
            raise errors.UserError(
                f'{self._annotation}: pos_img is {joints.shape}, expected (2, 15, frames).'
            )
        return np.moveaxis(joints.astype(np.float64), (0, 1, 2), (2, 1, 0)) - 1


@gin.configurable
@dataclasses.dataclass(frozen=True)
class JhmdbMasks(_Jhmdb):
    """Puppet masks under one protocol: one person a clip, IoU.

    Attributes:
      data_dir: the folder that holds splits, puppet_mask and the frames.
      split: which of the three official splits.
      subset: 'test' or 'train'.
      codec: between masks and label maps.
    """

    codec: codecs.MaskCodec = dataclasses.field(default_factory=codecs.MaskCodec)

    task: ClassVar[str] = 'jhmdb_masks'

    def sequences(self) -> list['MaskSequence']:
        """Returns the clips of the split."""
        return [MaskSequence(self, clip) for clip in self.clips()]

    def summary(self, records: Mapping[str, runner.Record]) -> dict[str, float]:
        """Returns the means over the clips."""
        names = ('J-Mean', 'J-Recall', 'J-Decay')
        return {
            name: float(np.mean([record['metrics'][name] for record in records.values()]))
            for name in names
        }


class MaskSequence(runner.Sequence):
    """The puppet mask of one clip."""

    def __init__(self, benchmark: JhmdbMasks, clip: Clip):
        self.name = clip.name
        self.output = posixpath.join('puppet_mask', clip.name)
        self._benchmark = benchmark
        self._clip = clip
        self._annotation = posixpath.join(
            benchmark.data_dir, 'puppet_mask', clip.name, 'puppet_mask.mat'
        )

    def files(self) -> list[str]:
        """Returns the video or frames, then puppet_mask.mat."""
        return [*self._clip.paths, self._annotation]

    def check(self) -> int:
        """Decodes the clip and reads the masks; returns the number of annotated frames."""
        truth = self._truth()
        self._clip.check(self._annotation, len(truth))
        files.check_size(self._annotation, truth.shape[1:], self._clip.size())
        if not truth[0].any():
            raise errors.UserError(
                f'{self._annotation}: the first mask is empty; expected a person.'
            )
        return len(truth)

    def run(self, tracker: runner.Tracker, output: str) -> runner.Record:
        """Tracks the first mask; IoU of all later frames."""
        truth = self._truth()
        predictions = np.stack(
            list(
                tracker.track(
                    self._clip.frames(len(truth)), truth[0], self._benchmark.codec, truth.shape[1:]
                )
            )
        )
        scores = np.array(list(map(metrics.region_similarity, truth, predictions)))[1:]
        files.write_mat(
            posixpath.join(output, 'puppet_mask.mat'), part_mask=np.moveaxis(predictions, 0, -1)
        )
        figures = dataclasses.asdict(metrics.sequence_statistics(scores))
        return {
            'metrics': {f'J-{name.capitalize()}': value for name, value in figures.items()},
            'footage': self._clip.footage,
            'per_frame': {'J': scores},
        }

    def _truth(self) -> np.ndarray:
        """Returns the masks, uint8 [time, height, width], 1 on the person."""
        parts = files.read_mat(self._annotation, 'part_mask', 3)
        return (np.moveaxis(parts, -1, 0) > 0).astype(np.uint8)


def write_joints(path: str, joints: np.ndarray) -> None:
    """Writes joints, float [time, joints, 2], 0-based, NaN where lost, as joint_positions.mat.

    The file holds 1-based pixels as the data set's own; a lost joint is (-1, -1).
    """
    one_based = np.where(np.isnan(joints), -1, joints + 1)
    files.write_mat(path, pos_img=np.moveaxis(one_based, (0, 1, 2), (2, 1, 0)))


def _tally(count: Mapping[str, Any]) -> metrics.PckTally:
    return metrics.PckTally(**{name: np.array(value) for name, value in count.items()})


def _pck_figures(crw: metrics.PckTally, by_visibility: metrics.PckTally) -> dict[str, float]:
    figures = {}
    for label, tally in (('PCK', crw), ('PCK-visible', by_visibility)):
        for threshold, value in zip(metrics.PCK_THRESHOLDS, tally.mean):
            figures[f'{label}@{threshold}'] = float(value)
    return {**figures, 'coverage': crw.coverage}
