"""J-HMDB: 15 joints (PCK) and puppet masks (IoU), propagated from the first frame.

Reads the official layout,

    splits/<class>_test_split1.txt                        lines `<clip>.avi 2`: 2 test, 1 train
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

from stfc3_tf import errors, wording
from stfc3_tf.benchmarks import contract, frame_checks, metrics
from stfc3_tf.clips import video
from stfc3_tf.propagation import codecs
from stfc3_tf.propagation.label_geometry import Codec
from stfc3_tf.storage import files, images

_TEST, _TRAIN = '2', '1'


@dataclasses.dataclass(frozen=True)
class Clip:
    """A clip of the lists; its files are searched for when they are needed.

    If both official forms exist, the frames are read: CRW's lists name them, and the videos were
    compressed once more.

    Attributes:
      name: <class>/<clip>.
      data_dir: folder of the data set.
    """

    name: str
    data_dir: str

    @functools.cached_property
    def paths(self) -> list[str]:
        """The frames in order, or one video; UserError if there is neither."""
        folder = posixpath.join(self.data_dir, 'Rename_Images', self.name)
        video_file = posixpath.join(self.data_dir, 'ReCompress_Videos', f'{self.name}.avi')
        if files.exists(video_file) and not files.exists(folder):
            return [video_file]
        return files.list_frames(
            folder, ('.png', '.jpg'), f'the frames of {self.name}, or {video_file}'
        )

    @property
    def footage(self) -> str:
        """The form that is read: 'Rename_Images' or 'ReCompress_Videos'."""
        return 'ReCompress_Videos' if self.paths[0].endswith('.avi') else 'Rename_Images'

    def frames(self, count: int | None) -> Iterator[np.ndarray]:
        """Return the first `count` frames, or all, one by one: uint8 [height, width, 3]."""
        frames: Iterator[np.ndarray]
        if self.footage == 'ReCompress_Videos':
            frames = (frame for _, frame in video.frames_of_video(self.paths[0]))
        else:
            frames = images.read_frames(self.paths)
        return itertools.islice(frames, count)

    def check(self, annotation: str, count: int) -> None:
        """Decode the whole clip.

        Args:
          annotation: path of the clip's annotation, for messages.
          count: number of frames in it.

        Raises:
          errors.UserError: the clip cannot be read, changes its size or is shorter than `count`.
        """
        name = self.paths[0]
        found = frame_checks.check_clip(name, self.frames(None))
        if found > count:
            logging.warning(
                '%s: the last %d of %d frames have no annotation and are not used.',
                name,
                found - count,
                found,
            )
        if found < count or count < 2:
            raise errors.UserError(
                f'{name}: {wording.counted(found, "frame")} can be read, but '
                f'{annotation} describes {count}; both must be equal, and at least 2.'
            )

    def size(self) -> tuple[int, int]:
        """Return the (height, width) of the frames."""
        return images.size_of(next(self.frames(1)))


@dataclasses.dataclass(frozen=True)
class _Jhmdb(contract.Benchmark):
    """The part that both tasks of J-HMDB share: the list of clips."""

    data_dir: str
    split: int = 1
    subset: str = 'test'

    def __post_init__(self):
        if self.split not in (1, 2, 3) or self.subset not in ('test', 'train'):
            raise errors.UserError(
                f"J-HMDB split={self.split}, subset='{self.subset}': the split must be 1, 2 or 3, "
                "the subset 'test' or 'train'."
            )

    def clips(self) -> list[Clip]:
        """Return the clips of the split, class by class."""
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
                raise errors.UserError(f"{path}: '{line}' is not <clip>.avi and then 0, 1 or 2.")
            if mark == wanted:
                yield Clip(f'{action}/{clip.removesuffix(".avi")}', self.data_dir)


class _ClipSequence(contract.Sequence):
    """A clip with its annotation, which is `<kind>/<clip>/<kind>.mat`.

    Args:
      benchmark: the protocol.
      clip: the clip.
      codec: converts between annotations and label maps.
    """

    kind: ClassVar[str]

    def __init__(self, benchmark: _Jhmdb, clip: Clip, codec: Codec):
        self.name = clip.name
        self.output = posixpath.join(self.kind, clip.name)
        self._clip = clip
        self._codec = codec
        self._annotation = posixpath.join(benchmark.data_dir, self.output, f'{self.kind}.mat')

    def files(self) -> list[str]:
        """Return the video or the frames, then the annotation."""
        return [*self._clip.paths, self._annotation]


@gin.configurable
@dataclasses.dataclass(frozen=True)
class JhmdbPose(_Jhmdb):
    """J-HMDB's joints under one protocol; PCK.

    Attributes:
      data_dir: the folder that holds splits, joint_positions and the frames.
      split: number of the official split, 1 to 3.
      subset: 'test' or 'train'.
      codec: converts between joints and label maps.
    """

    codec: codecs.PointCodec = dataclasses.field(default_factory=codecs.PointCodec)

    task: ClassVar[str] = 'jhmdb'

    def sequences(self) -> list[PoseSequence]:
        """Return the clips of the split."""
        return [PoseSequence(self, clip, self.codec) for clip in self.clips()]

    def summary(self, records: Mapping[str, contract.Record]) -> dict[str, float]:
        """Return both PCKs: per joint over all clips, then averaged over the 15 joints."""
        counts = [record['counts'] for record in records.values()]
        return _pck_figures(
            *(
                sum((_tally(count[key]) for count in counts[1:]), start=_tally(counts[0][key]))
                for key in ('crw', 'visible')
            )
        )


class PoseSequence(_ClipSequence):
    """The joints of one clip."""

    kind = 'joint_positions'

    def check(self) -> int:
        """Decode the clip and read the joints; return the number of annotated frames."""
        truth = self._truth()
        self._clip.check(self._annotation, len(truth))
        return len(truth)

    def run(self, tracker: contract.Tracker, output: str) -> contract.Record:
        """Track the first frame's joints; score PCK by CRW's rule and over all joints in sight."""
        truth = self._truth()
        size = self._clip.size()
        frames = self._clip.frames(len(truth))
        predictions = np.stack(list(tracker.track(frames, truth[0], self._codec, size)))
        inside = np.all((truth >= 0) & (truth <= np.array(size[::-1]) - 1), axis=-1)
        # A joint outside the first frame is not given to the method.
        visible = inside & inside[0]
        tallies = (
            metrics.pck_crw(truth, predictions, visible),
            metrics.pck_visible(truth, predictions, visible),
        )
        write_joints(posixpath.join(output, 'joint_positions.mat'), predictions)
        crw, by_visibility = (dataclasses.asdict(tally) for tally in tallies)
        return {
            'metrics': _pck_figures(*tallies),
            'counts': {'crw': crw, 'visible': by_visibility},
            'footage': self._clip.footage,
        }

    def _truth(self) -> np.ndarray:
        """Return the joints, float64 [time, 15, 2], (x, y), 0-based pixels."""
        joints = files.read_mat(self._annotation, 'pos_img', 3)
        if joints.shape[:2] != (2, 15):
            raise errors.UserError(
                f'{self._annotation}: pos_img is {joints.shape}, expected (2, 15, frames).'
            )
        return np.moveaxis(joints.astype(np.float64), (0, 1, 2), (2, 1, 0)) - 1


@gin.configurable
@dataclasses.dataclass(frozen=True)
class JhmdbMasks(_Jhmdb):
    """J-HMDB's puppet masks under one protocol: one person per clip; IoU.

    Attributes:
      data_dir: the folder that holds splits, puppet_mask and the frames.
      split: number of the official split, 1 to 3.
      subset: 'test' or 'train'.
      codec: converts between masks and label maps.
    """

    codec: codecs.MaskCodec = dataclasses.field(default_factory=codecs.MaskCodec)

    task: ClassVar[str] = 'jhmdb_masks'

    def sequences(self) -> list[MaskSequence]:
        """Return the clips of the split."""
        return [MaskSequence(self, clip, self.codec) for clip in self.clips()]

    def summary(self, records: Mapping[str, contract.Record]) -> dict[str, float]:
        """Return the means over the clips."""
        names = ('J-Mean', 'J-Recall', 'J-Decay')
        return {
            name: float(np.mean([record['metrics'][name] for record in records.values()]))
            for name in names
        }


class MaskSequence(_ClipSequence):
    """The puppet mask of one clip."""

    kind = 'puppet_mask'

    def check(self) -> int:
        """Decode the clip and read the masks; return the number of annotated frames."""
        truth = self._truth()
        self._clip.check(self._annotation, len(truth))
        frame_checks.check_size(self._annotation, images.size_of(truth[0]), self._clip.size())
        if not truth[0].any():
            raise errors.UserError(
                f'{self._annotation}: the first mask is empty; it should show the person.'
            )
        return len(truth)

    def run(self, tracker: contract.Tracker, output: str) -> contract.Record:
        """Track the first mask; score the IoU of all later frames."""
        truth = self._truth()
        size, frames = images.size_of(truth[0]), self._clip.frames(len(truth))
        predictions = np.stack(list(tracker.track(frames, truth[0], self._codec, size)))
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
        """Return the masks, uint8 [time, height, width], 1 on the person."""
        parts = files.read_mat(self._annotation, 'part_mask', 3)
        return (np.moveaxis(parts, -1, 0) > 0).astype(np.uint8)


def write_joints(path: str, joints: np.ndarray) -> None:
    """Write joints as joint_positions.mat.

    Args:
      path: file to write. Like the data set's own it has 1-based pixels; a lost joint is (-1, -1).
      joints: float [time, joints, 2], (x, y), 0-based pixels, NaN where lost.
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
