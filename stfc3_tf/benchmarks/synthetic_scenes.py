"""Built-in scenes as a benchmark: no download, exact truth, no annotation noise.

These are the scenes of `clips.synthetic`, with seeds that training never draws. Objects are tracked
as masks, together with points on them, from the first frame. The output is palette PNGs,
<scene>/00000.png, and <scene>/tracks.json.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import dataclasses
import json
import posixpath
from typing import ClassVar, NamedTuple

import gin
import numpy as np

from stfc3_tf import checks, errors
from stfc3_tf.benchmarks import contract, metrics
from stfc3_tf.clips import synthetic
from stfc3_tf.propagation import codecs, tracks
from stfc3_tf.propagation.label_geometry import Geometry
from stfc3_tf.storage import images, writing

# Training numbers its scenes from 0 and never reaches this number.
HELD_OUT_SEED = 1_000_000_000
# Scenes, and frames of each; all scenes are drawn before the first is scored.
_MOST = 10_000


class SceneLabel(NamedTuple):
    """The label that is tracked.

    Attributes:
      mask: uint8 [height, width], object numbers.
      tracks: float64 [points, 3], see `tracks.TrackCodec`.
    """

    mask: np.ndarray
    tracks: np.ndarray


@dataclasses.dataclass(frozen=True)
class SceneCodec:
    """Joins masks and tracks in one label map, so that features are computed once.

    Attributes:
      mask_codec: codec of the first channels.
      track_codec: codec of the other channels.
      channels: number of channels for the masks.
    """

    mask_codec: codecs.MaskCodec
    track_codec: tracks.TrackCodec
    channels: int

    def encode(self, label: SceneLabel, geometry: Geometry) -> np.ndarray:
        """Return float32 [rows, columns, channels + points]."""
        masks = self.mask_codec.encode(label.mask, geometry)
        points = self.track_codec.encode(label.tracks, geometry)
        return np.concatenate([masks, points], axis=-1)

    def decode(self, soft: np.ndarray, geometry: Geometry) -> SceneLabel:
        """Return the object with the largest value at each pixel, and the tracks."""
        return SceneLabel(
            self.mask_codec.decode(soft[..., : self.channels], geometry),
            self.track_codec.decode(soft[..., self.channels :], geometry),
        )


@gin.configurable
@dataclasses.dataclass(frozen=True)
class SyntheticBenchmark(contract.Benchmark):
    """Scenes to track and score.

    Attributes:
      scenes: number of scenes.
      frames: frames per scene.
      frame_rate: frames per second; lower is harder.
      height: of the frames, in pixels.
      width: of the frames, in pixels.
      mask_codec: codec of the objects.
      track_codec: codec of the points.
    """

    scenes: int = 20
    frames: int = 24
    frame_rate: float = 8.0
    height: int = 256
    width: int = 320
    mask_codec: codecs.MaskCodec = dataclasses.field(default_factory=codecs.MaskCodec)
    track_codec: tracks.TrackCodec = dataclasses.field(default_factory=tracks.TrackCodec)

    task: ClassVar[str] = 'synthetic'

    def __post_init__(self):
        checks.whole_number('SyntheticBenchmark.scenes', self.scenes, most=_MOST)
        checks.whole_number('SyntheticBenchmark.frames', self.frames, least=2, most=_MOST)
        checks.frame_rate('SyntheticBenchmark.frame_rate', self.frame_rate)
        for name in ('height', 'width'):
            synthetic.check_side(f'SyntheticBenchmark.{name}', getattr(self, name))

    def sequences(self) -> list[SceneSequence]:
        """Return the scenes in the order of their seeds."""
        return [SceneSequence(self, number) for number in range(self.scenes)]

    def summary(self, records: Mapping[str, contract.Record]) -> dict[str, float]:
        """Return the mean of each figure over the scenes."""
        return mean_figures(record['metrics'] for record in records.values())


class SceneSequence(contract.Sequence):
    """One scene."""

    def __init__(self, benchmark: SyntheticBenchmark, number: int):
        self.name = self.output = f'scene-{number:03d}'
        self._benchmark = benchmark
        size = benchmark.height, benchmark.width
        self._scene = synthetic.scene(HELD_OUT_SEED + number, *size)
        self._times = np.arange(benchmark.frames) / benchmark.frame_rate
        self._seen = self._scene.visible(0.0)

    def files(self) -> list[str]:
        """Return no files: a scene is computed from its number."""
        return []

    def check(self) -> int:
        """Return the number of frames; raise UserError if no point can be scored."""
        later = [self._scene.visible(time)[self._seen] for time in self._times[1:]]
        if not np.any(later):
            raise errors.UserError(
                f'{self.name}: no point of the first frame is visible later; raise '
                'SyntheticBenchmark.frame_rate, height or width.'
            )
        return len(self._times)

    def run(self, tracker: contract.Tracker, output: str) -> contract.Record:
        """Track the scene, write masks and tracks, and score them."""
        predictions = self.track(tracker)
        for number, prediction in enumerate(predictions):
            images.write_palette_mask(posixpath.join(output, f'{number:05d}.png'), prediction.mask)
        points = np.stack([prediction.tracks for prediction in predictions], axis=1)
        written = {
            'tracks': np.where(np.isnan(points), -1, points)[..., :2].tolist(),
            'occluded': self._benchmark.track_codec.occluded(points).tolist(),
        }
        writing.write_text(posixpath.join(output, 'tracks.json'), json.dumps(written))
        return {'metrics': self.score(predictions)}

    def track(self, tracker: contract.Tracker) -> list[SceneLabel]:
        """Track every object and every point that is visible in the first frame."""
        mask = self._scene.masks(0.0)
        size = self._benchmark.height, self._benchmark.width
        first = SceneLabel(mask, tracks.queries(self._scene.points(0.0)[self._seen]))
        codec = SceneCodec(
            self._benchmark.mask_codec, self._benchmark.track_codec, 1 + int(mask.max())
        )
        frames = map(self._scene.frame, self._times)
        return list(tracker.track(frames, first, codec, size))

    def score(self, predictions: list[SceneLabel]) -> dict[str, float]:
        """Return J of objects and TAP-Vid's measures of points, without the first frame."""
        truth = [self._scene.masks(time) for time in self._times[1:]]
        objects = range(1, 1 + int(self._scene.masks(0.0).max()))
        region = [
            metrics.region_similarity(mask == number, prediction.mask == number)
            for mask, prediction in zip(truth, predictions[1:])
            for number in objects
        ]
        predicted = np.stack([prediction.tracks for prediction in predictions], axis=1)
        points = self._score_points(predicted)
        return {
            'J-Mean': float(np.mean(region)),
            'Position-Accuracy': points.position_accuracy,
            'Occlusion-Accuracy': points.occlusion_accuracy,
            'Average-Jaccard': points.average_jaccard,
        }

    def _score_points(self, predicted: np.ndarray) -> metrics.TapVidScores:
        truth = np.stack([self._scene.points(time)[self._seen] for time in self._times], axis=1)
        visible = np.stack([self._scene.visible(time)[self._seen] for time in self._times], axis=1)
        occluded = self._benchmark.track_codec.occluded(predicted)
        # Thresholds are in pixels of a 256x256 image, whatever the size of the scene.
        scale = metrics.TAPVID_SIZE / np.array([self._benchmark.width, self._benchmark.height])
        return metrics.tapvid_scores(
            truth * scale,
            ~visible,
            predicted[..., :2] * scale,
            occluded,
            np.zeros(len(truth), int),
            'first',
        )


def mean_figures(scores: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each figure over scenes, by name."""
    scores = list(scores)
    return {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}
