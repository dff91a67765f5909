"""DAVIS-2016 and DAVIS-2017, semi-supervised: objects are given in the first frame; J and F.

Reads the official layout,

    ImageSets/<year>/<split>.txt (or DAVIS-2016's own ImageSets/480p/<split>.txt)
    JPEGImages/<resolution>/<sequence>/00000.jpg
    Annotations/<resolution>/<sequence>/00000.png

and writes palette PNGs, <sequence>/00000.png, and the toolkit's two tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import dataclasses
import posixpath
from typing import ClassVar

import gin
import numpy as np

from stfc3_tf import errors, wording
from stfc3_tf.benchmarks import contract, frame_checks, metrics
from stfc3_tf.propagation import codecs
from stfc3_tf.storage import files, images, palette

_FIGURES = ('J-Mean', 'J-Recall', 'J-Decay', 'F-Mean', 'F-Recall', 'F-Decay')


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Davis(contract.Benchmark):
    """DAVIS under one protocol.

    Attributes:
      data_dir: the folder that holds ImageSets, JPEGImages and Annotations.
      year: 2017 (several objects: masks hold object numbers, 255 is void) or 2016 (one object:
        everything that is not 0).
      split: name of the list file: 'val', 'train', ...
      frames: folder of the frames below JPEGImages: '480p', or 'Full-Resolution' ('1080p' in 2016).
      masks: folder of the annotations below Annotations. Predictions have the size of these
        masks, so frames in full resolution can be scored at the official 480p.
      codec: converts between masks and label maps.
    """

    data_dir: str
    year: int = 2017
    split: str = 'val'
    frames: str = '480p'
    masks: str = '480p'
    codec: codecs.MaskCodec = dataclasses.field(default_factory=codecs.MaskCodec)

    task: ClassVar[str] = 'davis'

    def __post_init__(self):
        if self.year not in (2016, 2017):
            raise errors.UserError(f'Davis.year={self.year} is neither 2016 nor 2017.')

    def sequences(self) -> list[DavisSequence]:
        """Return the sequences of the split's list file."""
        return [DavisSequence(self, name) for name in self._names()]

    def summary(self, records: Mapping[str, contract.Record]) -> dict[str, float]:
        """Return the toolkit's figures: means over all objects of all sequences."""
        return _figures(
            [
                figures
                for record in records.values()
                for figures in record['counts']['objects'].values()
            ]
        )

    def reports(self, records: Mapping[str, contract.Record]) -> dict[str, str]:
        """Return the toolkit's global_results-<split>.csv and per-sequence_results-<split>.csv."""
        summary = self.summary(records)
        whole = [','.join(summary), ','.join(f'{value:.3f}' for value in summary.values())]
        parts = ['Sequence,J-Mean,F-Mean'] + [
            f'{name}_{number},{figures["J-Mean"]:.3f},{figures["F-Mean"]:.3f}'
            for name, record in records.items()
            for number, figures in record['counts']['objects'].items()
        ]
        return {
            f'global_results-{self.split}.csv': '\n'.join(whole) + '\n',
            f'per-sequence_results-{self.split}.csv': '\n'.join(parts) + '\n',
        }

    def read_mask(self, path: str) -> np.ndarray:
        """Return an annotation's object numbers, uint8 [height, width]; 255 is void in 2017."""
        mask = images.read_index_mask(path)
        return (mask > 0).astype(np.uint8) if self.year == 2016 else mask

    def _names(self) -> list[str]:
        official = posixpath.join(self.data_dir, 'ImageSets', str(self.year), f'{self.split}.txt')
        if self.year == 2016 and not files.exists(official):
            original = posixpath.join(self.data_dir, 'ImageSets', '480p', f'{self.split}.txt')
            if files.exists(original):
                lines = files.read_lines(original, 'a frame and its mask per line')
                return list(
                    dict.fromkeys(
                        posixpath.basename(posixpath.dirname(x.split()[0])) for x in lines
                    )
                )
        return files.read_lines(
            official,
            f'the sequences of DAVIS-{self.year}, one per line (Davis.year is 2016 or 2017, '
            'Davis.split names the list)',
        )


class DavisSequence(contract.Sequence):
    """One sequence of DAVIS."""

    def __init__(self, benchmark: Davis, name: str):
        self.name = name
        self.output = name
        self._benchmark = benchmark
        data_dir = benchmark.data_dir
        self._frame_folder = posixpath.join(data_dir, 'JPEGImages', benchmark.frames, name)
        self._mask_folder = posixpath.join(data_dir, 'Annotations', benchmark.masks, name)

    def files(self) -> list[str]:
        """Return frames, then masks; raise UserError unless every frame has a mask."""
        frames = files.list_frames(
            self._frame_folder, ('.jpg', '.jpeg', '.png'), 'the frames of a sequence'
        )
        masks = files.list_files(self._mask_folder, ('.png',), 'a mask for every frame')
        missing = {files.stem(path) for path in frames} ^ {files.stem(path) for path in masks}
        if missing:
            raise errors.UserError(
                f'{self._mask_folder} and {self._frame_folder} do not fit together: only one of '
                f'them has {", ".join(sorted(missing)[:5])}. Every frame needs a mask.'
            )
        return frames + masks

    def check(self) -> int:
        """Decode every frame and mask; return the number of frames."""
        frames, masks = self._paths()
        if len(frames) < 3:
            raise errors.UserError(
                f'{self._frame_folder} has {wording.counted(len(frames), "frame")}; at least 3 are '
                'needed, because the first and the last are not scored.'
            )
        frame_checks.check_frames(frames)
        first = self._benchmark.read_mask(masks[0])
        if not self._objects(first):
            raise errors.UserError(
                f'{masks[0]} shows no object; expected object numbers from 1 on (a mask of 0 and '
                '255 needs Davis.year = 2016).'
            )
        for path in masks:
            found = images.size_of(self._benchmark.read_mask(path))
            frame_checks.check_size(path, found, images.size_of(first))
        return len(frames)

    def run(self, tracker: contract.Tracker, output: str) -> contract.Record:
        """Track the first mask; score J and F of every object without the first and last frame."""
        frames, masks = self._paths()
        first = self._benchmark.read_mask(masks[0])
        objects = self._objects(first)
        first = np.where(first == palette.VOID, 0, first)
        predictions = tracker.track(
            images.read_frames(frames), first, self._benchmark.codec, images.size_of(first)
        )
        scores = np.array(list(self._scores(predictions, masks, objects, output)))
        scores = np.moveaxis(scores, 0, -1)[..., metrics.scored_frames(len(frames))]
        per_object = {
            str(number): _object_figures(*scores[:, index]) for index, number in enumerate(objects)
        }
        return {
            'metrics': _figures(list(per_object.values())),
            'counts': {'objects': per_object},
            'per_frame': {'J': scores[0], 'F': scores[1]},
        }

    def _scores(
        self, predictions: Iterator[np.ndarray], masks: list[str], objects: list[int], output: str
    ) -> Iterator[tuple[list[float], list[float]]]:
        """Write each prediction; yield (J of the objects, F of the objects) per frame."""
        for prediction, path in zip(predictions, masks):
            images.write_palette_mask(posixpath.join(output, f'{files.stem(path)}.png'), prediction)
            truth = self._benchmark.read_mask(path)
            prediction = np.where(truth == palette.VOID, 0, prediction)
            pairs = [(truth == number, prediction == number) for number in objects]
            yield (
                [metrics.region_similarity(*pair) for pair in pairs],
                [metrics.boundary_accuracy(*pair) for pair in pairs],
            )

    def _paths(self) -> tuple[list[str], list[str]]:
        paths = self.files()
        return paths[: len(paths) // 2], paths[len(paths) // 2 :]

    def _objects(self, first: np.ndarray) -> list[int]:
        """Return the objects that the toolkit scores: 1 to the largest number of the first mask."""
        return list(range(1, int(first[first != palette.VOID].max(initial=0)) + 1))


def _object_figures(region: np.ndarray, boundary: np.ndarray) -> dict[str, float]:
    figures = {}
    for measure, scores in (('J', region), ('F', boundary)):
        for name, value in dataclasses.asdict(metrics.sequence_statistics(scores)).items():
            figures[f'{measure}-{name.capitalize()}'] = value
    return figures


def _figures(objects: list[dict[str, float]]) -> dict[str, float]:
    means = {name: float(np.mean([figures[name] for figures in objects])) for name in _FIGURES}
    return {'J&F-Mean': (means['J-Mean'] + means['F-Mean']) / 2, **means}
