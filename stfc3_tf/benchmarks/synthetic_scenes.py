"""Built-in scenes with exact truth: nothing to download, and no annotation noise.

The scenes of `clips.synthetic`, with seeds that training never draws. Objects are tracked as masks
and points on them as points, together, from the first frame. Written are palette PNGs
<scene>/00000.png and <scene>/tracks.json.
"""

from collections.abc import Callable, Iterable, Mapping
import concurrent.futures
import dataclasses
import functools
import json
import posixpath
from typing import Any, ClassVar, NamedTuple

import gin
import numpy as np
import tensorflow as tf

from stfc3_tf import encoder as encoders
from stfc3_tf import errors
from stfc3_tf import metrics
from stfc3_tf import propagation
from stfc3_tf import tracking
from stfc3_tf import writing
from stfc3_tf.benchmarks import codecs
from stfc3_tf.benchmarks import files
from stfc3_tf.benchmarks import runner
from stfc3_tf.benchmarks import tracks
from stfc3_tf.clips import synthetic

# Training counts its scenes from 0; no run gets this far.
HELD_OUT_SEED = 1_000_000_000


class SceneLabel(NamedTuple):
    """What is tracked: a mask [height, width] of object numbers, and tracks [points, 3]."""

    mask: np.ndarray
    tracks: np.ndarray


@dataclasses.dataclass(frozen=True)
class SceneCodec:
    """Masks and tracks side by side in one label map, so that features are computed once.

    Attributes:
      mask_codec: codec of the first channels.
      track_codec: codec of the others.
      channels: how many channels the masks take.
    """

    mask_codec: codecs.MaskCodec
    track_codec: tracks.TrackCodec
    channels: int

    def encode(self, label: SceneLabel, geometry: tracking.Geometry) -> np.ndarray:
        """Returns float32 [rows, columns, channels + points]."""
        masks = self.mask_codec.encode(label.mask, geometry)
        points = self.track_codec.encode(label.tracks, geometry)
        return np.concatenate([masks, points], axis=-1)

    def decode(self, soft: np.ndarray, geometry: tracking.Geometry) -> SceneLabel:
        """Returns the largest object at each pixel, and the tracks."""
        return SceneLabel(
            self.mask_codec.decode(soft[..., :self.channels], geometry),
            self.track_codec.decode(soft[..., self.channels:], geometry))


@gin.configurable
@dataclasses.dataclass(frozen=True)
class SyntheticBenchmark(runner.Benchmark):
    """Scenes to track and score.

    Attributes:
      scenes: how many.
      frames: length of each.
      frame_rate: frames a second; lower is harder.
      height: pixels.
      width: pixels.
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
        if self.scenes < 1 or self.frames < 2:
            raise errors.UserError(
                f'SyntheticBenchmark.scenes={self.scenes}, frames={self.frames}: expected a scene '
                'of two frames or more.')

    def sequences(self) -> list['SceneSequence']:
        """Returns the scenes in the order of their seeds."""
        return [SceneSequence(self, number) for number in range(self.scenes)]

    def summary(self, records: Mapping[str, runner.Record]) -> dict[str, float]:
        """Returns the mean over the scenes of each figure."""
        return _mean(record['metrics'] for record in records.values())


class SceneSequence(runner.Sequence):
    """One scene."""

    def __init__(self, benchmark: SyntheticBenchmark, number: int):
        self.name = self.output = f'scene-{number:03d}'
        self._benchmark = benchmark
        size = benchmark.height, benchmark.width
        self._scene = synthetic.scene(HELD_OUT_SEED + number, *size)
        self._times = np.arange(benchmark.frames) / benchmark.frame_rate
        self._seen = self._scene.visible(0.0)

    def files(self) -> list[str]:
        """Returns none: a scene follows from its number."""
        return []

    def check(self) -> int:
        """Returns the number of frames; raises UserError if no point can be scored."""
        later = [self._scene.visible(time)[self._seen] for time in self._times[1:]]
        if not np.any(later):
            raise errors.UserError(
                f'{self.name}: no point of the first frame is seen again; raise '
                'SyntheticBenchmark.frame_rate, height or width.')
        return len(self._times)

    def run(self, tracker: runner.Tracker, output: str) -> runner.Record:
        """Tracks the scene, writes masks and tracks, scores them."""
        predictions = self.track(tracker)
        for number, prediction in enumerate(predictions):
            files.write_palette_mask(posixpath.join(output, f'{number:05d}.png'), prediction.mask)
        points = np.stack([prediction.tracks for prediction in predictions], axis=1)
        written = {
            'tracks': np.where(np.isnan(points), -1, points)[..., :2].tolist(),
            'occluded': self._benchmark.track_codec.occluded(points).tolist(),
        }
        writing.write_text(posixpath.join(output, 'tracks.json'), json.dumps(written))
        return {'metrics': self.score(predictions)}

    def track(self, tracker: runner.Tracker) -> list[SceneLabel]:
        """Tracks every object and point that is visible in the first frame."""
        mask = self._scene.masks(0.0)
        first = SceneLabel(mask, tracks.queries(self._scene.points(0.0)[self._seen]))
        codec = SceneCodec(
            self._benchmark.mask_codec, self._benchmark.track_codec, 1 + int(mask.max()))
        frames = map(self._scene.frame, self._times)
        return list(tracker.track(frames, first, codec, mask.shape))

    def score(self, predictions: list[SceneLabel]) -> dict[str, float]:
        """J of the objects, and TAP-Vid's measures of the points; the first frame is not scored."""
        truth = [self._scene.masks(time) for time in self._times[1:]]
        objects = range(1, 1 + int(self._scene.masks(0.0).max()))
        region = [
            metrics.region_similarity(mask == number, prediction.mask == number)
            for mask, prediction in zip(truth, predictions[1:]) for number in objects]
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
        # Thresholds are pixels of an image of 256x256, whatever the scene's size.
        scale = metrics.TAPVID_SIZE / np.array([self._benchmark.width, self._benchmark.height])
        return metrics.tapvid_scores(
            truth * scale, ~visible, predicted[..., :2] * scale, occluded,
            np.zeros(len(truth), int), 'first')


class Encoder:
    """An encoder given as a function; see `tracking.FeatureExtractor`."""

    def __init__(self, features: Callable[[np.ndarray], Any], cell_grid: Any):
        self.features = features
        self.cell_grid = cell_grid

    def settings(self) -> dict[str, Any]:
        """Returns nothing: a function has no name to be recognised by."""
        return {}


@gin.configurable
class HeldOutScore:
    """Figure of merit of a learner while it trains: 'J-Mean' of its stage-3 features.

    See `held_out_score`.
    """

    def __init__(self):
        self._encode = None

    def __call__(self, learner: Any) -> float:
        """Scores a `learner.Learner`; the first call builds the graph for it."""
        if self._encode is None:
            self._encode = tf.function(functools.partial(stage3_features, learner.encoder))
        # Keras calls back inside the strategy's scope, where the propagator's variables would be
        # mirrored over the devices; another thread is outside of it.
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            score = thread.submit(held_out_score, self._encode, learner.encoder.cell_grid['stage3'])
            return score.result()['J-Mean']


def stage3_features(encoder: tf.keras.Model, frames: tf.Tensor) -> tf.Tensor:
    """What an exported encoder gives: unit-length stage-3 features of uint8 RGB frames.

    [batch, height, width, 3] -> float32 [batch, rows, columns, channels].
    """
    outputs = encoder(encoders.normalise_frames(frames, encoder.statistics), training=False)
    return tf.math.l2_normalize(outputs['stage3'], axis=-1)


def held_out_score(
    features: Callable[[np.ndarray], Any], cell_grid: Any, scenes: int = 4, frames: int = 8
) -> dict[str, float]:
    """How well features carry labels through a few scenes they were not trained on, in seconds.

    Scenes are 128x160 pixels at 8 frames a second; propagation as in CRW's protocol with 4 context
    frames and a radius of 6 cells.

    Args:
      features: uint8 RGB [batch, height, width, 3] -> float32 [batch, rows, columns, channels],
        L2-normalised.
      cell_grid: where the cells are, `encoder.CellGrid(first, stride)`.
      scenes: how many.
      frames: of each scene.

    Returns:
      'J-Mean' and 'Position-Accuracy' (TAP-Vid's, over the points of the objects) in [0, 1], and
      'Copy-J-Mean' and 'Copy-Position-Accuracy' of leaving the first frame's labels where they are.
    """
    tracker = held_out_tracker(features, cell_grid)
    sequences = held_out_benchmark(scenes, frames).sequences()
    found = _mean(sequence.score(sequence.track(tracker)) for sequence in sequences)
    copied = _mean(sequence.score(sequence.track(tracking.CopyFirst())) for sequence in sequences)
    names = 'J-Mean', 'Position-Accuracy'
    return {name: found[name] for name in names} | {f'Copy-{name}': copied[name] for name in names}


def held_out_tracker(
    features: Callable[[np.ndarray], Any], cell_grid: Any
) -> tracking.PropagationTracker:
    """The tracker of `held_out_score`: all values are given, so that no configuration changes it."""
    settings = propagation.PropagationSettings(
        context=4, radius=6.0, window='disc', top_k=10, temperature=0.05, restrict_first=False,
        first_among_preceding=True, repeat_first=True, keep_ties=False)
    size = tracking.InputSize(
        rule='native', size=0, long_side_multiple=1, interpolation='bilinear')
    return tracking.PropagationTracker(Encoder(features, cell_grid), settings, size)


def held_out_benchmark(scenes: int, frames: int) -> SyntheticBenchmark:
    """The scenes of `held_out_score`, likewise of no configuration."""
    exact = codecs.PointCodec(convention='exact', sigma=0.75, top=3, reach=2)
    return SyntheticBenchmark(
        scenes, frames, frame_rate=8.0, height=128, width=160,
        mask_codec=codecs.MaskCodec(shrink='bilinear', normalise='none', decide_at='label'),
        track_codec=tracks.TrackCodec(points=exact, visible_above=0.2))


def _mean(scores: Iterable[Mapping[str, float]]) -> dict[str, float]:
    scores = list(scores)
    return {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}
