"""TAP-Vid: any points, given in any frame, tracked through the video; occlusion is scored too.

Reads the published pickles (DAVIS, RGB-Stacking, Kinetics shards): a dict or a list of

    {'video':    uint8 [time, height, width, 3], or a list of JPEG files as bytes
     'points':   float [points, time, 2], (x, y), 0 the image's left or top edge, 1 the opposite
     'occluded': bool [points, time]}

A pickle can run any program when it is opened; these are opened by a reader that makes arrays and
plain values only and refuses the rest. Written is <video>.npz with arrays as in the pickle, but in
pixels of 256x256: tracks [queries, time, 2], occluded [queries, time], query_points [queries, 3]
(time, y, x).

Points given in different frames are tracked apart, each time with all frames encoded anew: with
'strided', a video of 100 frames is encoded 20 times.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import io
import pickle
from typing import Any, ClassVar, NamedTuple

import gin
import numpy as np
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf import metrics
from stfc3_tf import object_store
from stfc3_tf import writing
from stfc3_tf.benchmarks import files
from stfc3_tf.benchmarks import runner
from stfc3_tf.benchmarks import tracks

# The official sampling of queries in the mode 'strided'.
_STRIDE = 5
# Bytes read at once of a pickle.
_PIECE = 1 << 20
# All that arrays and plain values need; NumPy 2 renamed the folder of its own.
_SAFE = frozenset({
    'numpy.core.multiarray._reconstruct',
    'numpy.core.multiarray.scalar',
    'numpy.core.numeric._frombuffer',
    'numpy._core.multiarray._reconstruct',
    'numpy._core.multiarray.scalar',
    'numpy._core.numeric._frombuffer',
    'numpy.ndarray',
    'numpy.dtype',
    '_codecs.encode',
})


@gin.configurable
@dataclasses.dataclass(frozen=True)
class TapVid(runner.Benchmark):
    """TAP-Vid under one protocol.

    Attributes:
      data_dir: a pickle, or a folder of pickles (.pkl).
      query_mode: 'first' (a point is given in the first frame that shows it and tracked forwards)
        or 'strided' (in every fifth frame, if that shows it, and tracked both ways).
      codec: between tracks and label maps.
    """

    data_dir: str
    query_mode: str = 'first'
    codec: tracks.TrackCodec = dataclasses.field(default_factory=tracks.TrackCodec)

    task: ClassVar[str] = 'tapvid'

    def __post_init__(self):
        if self.query_mode not in ('first', 'strided'):
            raise errors.UserError(
                f"TapVid.query_mode='{self.query_mode}' is none of first, strided.")

    def sequences(self) -> list['TrackSequence']:
        """Returns the videos of all pickles in the order in which they are stored."""
        paths, shelf = self._paths(), Shelf()
        names = [
            (path, key, key if len(paths) == 1 else f'{files.stem(path)}/{key}')
            for path in paths for key in shelf.videos(path)]
        return [TrackSequence(self, shelf, path, key, name) for path, key, name in names]

    def summary(self, records: Mapping[str, runner.Record]) -> dict[str, float]:
        """Returns the mean over the videos of each figure."""
        scores = [metrics.TapVidScores(**record['counts']) for record in records.values()]
        return _figures(metrics.mean_scores(scores))

    def _paths(self) -> list[str]:
        if tf.io.gfile.isdir(self.data_dir):
            return files.list_files(self.data_dir, ('.pkl', '.pickle'), 'the pickles of TAP-Vid')
        return [self.data_dir]


class Shelf:
    """The pickle opened last; shards are large, so only one is held."""

    def __init__(self):
        self._path = None
        self._videos = {}

    def videos(self, path: str) -> dict[str, Any]:
        """Returns the videos of a pickle by name, or by number where it is a list."""
        if path != self._path:
            self._videos = {}
            contents = read_pickle(path)
            if isinstance(contents, (list, tuple)):
                contents = {f'{number:04d}': video for number, video in enumerate(contents)}
            if not isinstance(contents, dict) or not contents:
                raise errors.UserError(f'{path} holds no dict or list of videos.')
            self._path, self._videos = path, {str(key): video for key, video in contents.items()}
        return self._videos


class Query(NamedTuple):
    """Points given in one frame, and the stretches of frames through which to track them.

    Attributes:
      frame: where they are given.
      points: int [points], which.
      stretches: frame numbers, each stretch beginning with `frame`.
    """

    frame: int
    points: np.ndarray
    stretches: tuple[range, ...]


class Annotation(NamedTuple):
    """Truth of a video: points [points, time, 2] in pixels of 256x256, occluded [points, time]."""

    points: np.ndarray
    occluded: np.ndarray

    def queries(self, mode: str) -> list[Query]:
        """Returns the queries of the official samplers, grouped by frame."""
        time = self.occluded.shape[1]
        if mode == 'strided':
            frames = range(0, time, _STRIDE)
            given = [np.flatnonzero(~self.occluded[:, frame]) for frame in frames]
            ways = [(range(frame, time), range(frame, -1, -1)) for frame in frames]
        else:
            frames = range(time)
            first = np.where(self.occluded.all(axis=1), -1, np.argmin(self.occluded, axis=1))
            given = [np.flatnonzero(first == frame) for frame in frames]
            ways = [(range(frame, time),) for frame in frames]
        return [Query(*parts) for parts in zip(frames, given, ways) if len(parts[1])]

    def scored(self, query: Query) -> np.ndarray:
        """Whether the query's points are visible in the frames tracked: bool [points, frames]."""
        frames = [frame for stretch in query.stretches for frame in stretch[1:]]
        return ~self.occluded[np.ix_(query.points, frames)]


class TrackSequence(runner.Sequence):
    """One video."""

    def __init__(self, benchmark: TapVid, shelf: Shelf, path: str, key: str, name: str):
        self.name = name
        self.output = f'{name}.npz'
        self._benchmark = benchmark
        self._shelf = shelf
        self._path = path
        self._key = key

    def files(self) -> list[str]:
        """Returns the pickle that holds the video, and others."""
        return [self._path]

    def check(self) -> int:
        """Checks shapes and types, decodes every frame; returns the number of frames to track."""
        frames, truth = self._frames(), self._annotation()
        if len(frames) != truth.occluded.shape[1]:
            raise errors.UserError(
                f'{self._where()}: {len(frames)} frames, but points of {truth.occluded.shape[1]}.')
        files.check_clip(self._where(), (_decoded(frame, self._where()) for frame in frames))
        queries = truth.queries(self._benchmark.query_mode)
        if not any(truth.scored(query).any() for query in queries):
            raise errors.UserError(
                f'{self._where()}: no point is visible in a query frame and, to be scored, in a '
                'frame tracked from there; leave this video out.')
        return sum(len(stretch) for query in queries for stretch in query.stretches)

    def run(self, tracker: runner.Tracker, output: str) -> runner.Record:
        """Tracks every query, writes the tracks, scores them."""
        truth = self._annotation()
        queries = truth.queries(self._benchmark.query_mode)
        predicted = np.concatenate([self._track(tracker, query, truth) for query in queries])
        occluded = self._benchmark.codec.occluded(predicted)
        order = np.concatenate([query.points for query in queries])
        frames = np.concatenate([np.full(len(query.points), query.frame) for query in queries])
        given = truth.points[order, frames]
        _write(output, {
            'tracks': predicted[..., :2] + 0.5,
            'occluded': occluded,
            'query_points': np.concatenate([frames[:, None], given[:, ::-1] + 0.5], axis=1),
        })
        scores = metrics.tapvid_scores(
            truth.points[order], truth.occluded[order], predicted[..., :2], occluded, frames,
            self._benchmark.query_mode)
        return {'metrics': _figures(scores), 'counts': dataclasses.asdict(scores)}

    def _track(self, tracker: runner.Tracker, query: Query, truth: Annotation) -> np.ndarray:
        """Returns tracks [points, time, 3]; NaN in frames that are not tracked."""
        size = metrics.TAPVID_SIZE, metrics.TAPVID_SIZE
        first = tracks.queries(truth.points[query.points, query.frame])
        predicted = np.full((len(first), truth.occluded.shape[1], 3), np.nan)
        for stretch in query.stretches:
            found = tracker.track(self._read(stretch), first, self._benchmark.codec, size)
            for frame, label in zip(stretch, found):
                predicted[:, frame] = label
        return predicted

    def _read(self, stretch: range) -> Iterator[np.ndarray]:
        frames = self._frames()
        return (_decoded(frames[number], self._where()) for number in stretch)

    def _frames(self) -> Any:
        return self._field('video')

    def _annotation(self) -> Annotation:
        points, occluded = np.asarray(self._field('points')), np.asarray(self._field('occluded'))
        if points.ndim != 3 or points.shape != (*occluded.shape, 2):
            raise errors.UserError(
                f'{self._where()}: points {points.shape} and occluded {occluded.shape}; expected '
                '[points, time, 2] and [points, time].')
        # Edges at 0 and 256, hence the first pixel's centre, index 0, at 0.5.
        return Annotation(points * float(metrics.TAPVID_SIZE) - 0.5, occluded.astype(bool))

    def _field(self, name: str) -> Any:
        entry = self._shelf.videos(self._path)[self._key]
        if not isinstance(entry, dict) or name not in entry:
            raise errors.UserError(
                f"{self._where()} has no '{name}'; expected video, points, occluded.")
        return entry[name]

    def _where(self) -> str:
        return f'{self._path}: video {self._key}'


class _SafeUnpickler(pickle.Unpickler):
    """Makes arrays and plain values; anything else in the file is refused before it is made."""

    def find_class(self, module, name):
        if f'{module}.{name}' not in _SAFE:
            raise pickle.UnpicklingError(f'it asks for {module}.{name}')
        return super().find_class(module, name)


def read_pickle(path: str) -> Any:
    """Reads a pickle of arrays, numbers, strings, bytes, lists, tuples and dicts.

    Raises:
      errors.UserError: unreadable, or it holds or calls anything else.
    """
    try:
        with io.BufferedReader(object_store.File(path), _PIECE) as file:
            return _SafeUnpickler(file).load()
    except (tf.errors.OpError, pickle.UnpicklingError, EOFError, ValueError, TypeError,
            AttributeError, ImportError, IndexError, KeyError) as error:
        raise errors.UserError(
            f'{path} cannot be read as a pickle of arrays and plain values: {error}. It is not '
            'opened any other way, since a pickle can run any program.') from error


def _decoded(frame: Any, where: str) -> np.ndarray:
    """Returns uint8 [height, width, 3] of an array or an image file's bytes."""
    if isinstance(frame, bytes):
        try:
            return tf.io.decode_image(frame, channels=3, expand_animations=False).numpy()
        except tf.errors.InvalidArgumentError as error:
            raise errors.UserError(f'{where}: a frame is not a readable image.') from error
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3:
        raise errors.UserError(
            f'{where}: a frame is {frame.dtype} {frame.shape}, expected uint8 [height, width, 3].')
    return frame


def _write(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    contents = io.BytesIO()
    np.savez_compressed(contents, **arrays)
    writing.write_bytes(path, contents.getvalue())


def _figures(scores: metrics.TapVidScores) -> dict[str, float]:
    figures = {
        'Average-Jaccard': float(scores.average_jaccard),
        'Position-Accuracy': float(scores.position_accuracy),
        'Occlusion-Accuracy': float(scores.occlusion_accuracy),
    }
    for name, values in (('Jaccard', scores.jaccard), ('Within', scores.within)):
        for threshold, value in zip(metrics.TAPVID_THRESHOLDS, values):
            figures[f'{name}@{threshold}'] = float(value)
    return figures
