"""TAP-Vid: any points, given in any frame, tracked through the video; occlusion is scored too.

Reads the published pickles (DAVIS, RGB-Stacking, Kinetics shards): a dict or a list of

    {'video':    uint8 [time, height, width, 3], or a list of JPEG files as bytes
     'points':   float [points, time, 2], (x, y), 0 the image's left or top edge, 1 the opposite
     'occluded': bool [points, time]}

A pickle can run any program when it is opened. These are opened by a reader that only makes arrays
and plain values and refuses everything else. The output is <video>.npz, with arrays as in the
pickle but in pixels of 256x256: tracks [queries, time, 2], occluded [queries, time], query_points
[queries, 3] (time, y, x).

Points given in different frames are tracked separately, and all frames are encoded again each time:
with 'strided', a video of 100 frames is encoded 20 times.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import io
from typing import Any, ClassVar, NamedTuple

import gin
import numpy as np
import tensorflow as tf

from stfc3_tf import checks, errors, wording
from stfc3_tf.benchmarks import contract, frame_checks, metrics
from stfc3_tf.propagation import tracks
from stfc3_tf.storage import files, images, object_store, pickles, writing

# The official sampling of queries in the mode 'strided'.
_STRIDE = 5
# Characters of a video's name in messages.
_LONGEST_NAME = 100


@gin.configurable
@dataclasses.dataclass(frozen=True)
class TapVid(contract.Benchmark):
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
        checks.one_of('TapVid.query_mode', self.query_mode, ('first', 'strided'))

    def sequences(self) -> list['TrackSequence']:
        """Return the videos of all pickles in the order in which they are stored."""
        paths, shelf = self._paths(), Shelf()
        names = [
            (path, key, key if len(paths) == 1 else f'{files.stem(path)}/{key}')
            for path in paths
            for key in shelf.videos(path)
        ]
        return [TrackSequence(self, shelf, path, key, name) for path, key, name in names]

    def summary(self, records: Mapping[str, contract.Record]) -> dict[str, float]:
        """Return the mean of each figure over the videos."""
        scores = [metrics.TapVidScores(**record['counts']) for record in records.values()]
        return _figures(metrics.mean_scores(scores))

    def _paths(self) -> list[str]:
        if tf.io.gfile.isdir(self.data_dir):
            return files.list_files(self.data_dir, ('.pkl', '.pickle'), 'the pickles of TAP-Vid')
        return [self.data_dir]


class Shelf:
    """The pickle that was opened last; shards are large, so only one is kept in memory."""

    def __init__(self):
        self._path = None
        self._videos = {}

    def videos(self, path: str) -> dict[str, Any]:
        """Return the videos of a pickle by name, or by number if it is a list."""
        if path != self._path:
            self._videos = {}
            contents = read_pickle(path)
            if isinstance(contents, (list, tuple)):
                contents = {f'{number:04d}': video for number, video in enumerate(contents)}
            if not isinstance(contents, dict) or not contents:
                raise errors.UserError(f'{path} is not a dict or list of videos.')
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
    """Ground truth of a video.

    Attributes:
      points: float [points, time, 2], (x, y) in pixels of 256x256.
      occluded: bool [points, time].
    """

    points: np.ndarray
    occluded: np.ndarray

    def queries(self, mode: str) -> list[Query]:
        """Return the queries of the official samplers, grouped by frame."""
        time = self.occluded.shape[1]
        if mode == 'strided':
            frames = range(0, time, _STRIDE)
            given = [np.flatnonzero(~self.occluded[:, frame]) for frame in frames]
            ways: list[tuple[range, ...]] = [
                (range(frame, time), range(frame, -1, -1)) for frame in frames
            ]
        else:
            frames = range(time)
            first = np.where(self.occluded.all(axis=1), -1, np.argmin(self.occluded, axis=1))
            given = [np.flatnonzero(first == frame) for frame in frames]
            ways = [(range(frame, time),) for frame in frames]
        return [Query(*parts) for parts in zip(frames, given, ways) if len(parts[1])]

    def scored(self, query: Query) -> np.ndarray:
        """Return bool [points, frames]: whether the query's points are visible when tracked."""
        frames = [frame for stretch in query.stretches for frame in stretch[1:]]
        return ~self.occluded[query.points][:, frames]


class TrackSequence(contract.Sequence):
    """One video.

    Args:
      benchmark: the protocol.
      shelf: opens the pickle.
      path: of the pickle.
      key: of the video in the pickle.
      name: of the video in the results.
    """

    def __init__(self, benchmark: TapVid, shelf: Shelf, path: str, key: str, name: str):
        self.name = name
        self.output = f'{name}.npz'
        self._benchmark = benchmark
        self._shelf = shelf
        self._path = path
        self._key = key

    def files(self) -> list[str]:
        """Return the path of the pickle that holds this video and others."""
        return [self._path]

    def check(self) -> int:
        """Check shapes and types, decode every frame; return the number of frames to track."""
        frames, truth = self._frames(), self._annotation()
        if len(frames) != truth.occluded.shape[1]:
            raise errors.UserError(
                f'{self._where()}: {wording.counted(len(frames), "frame")}, but points of '
                f'{truth.occluded.shape[1]}.'
            )
        frame_checks.check_clip(self._where(), (_decoded(frame, self._where()) for frame in frames))
        queries = truth.queries(self._benchmark.query_mode)
        if not any(truth.scored(query).any() for query in queries):
            raise errors.UserError(
                f'{self._where()}: no point is visible in a query frame and, to be scored, in a '
                'frame tracked from there; leave this video out.'
            )
        return sum(len(stretch) for query in queries for stretch in query.stretches)

    def run(self, tracker: contract.Tracker, output: str) -> contract.Record:
        """Track every query, write the tracks, score them."""
        truth = self._annotation()
        queries = truth.queries(self._benchmark.query_mode)
        predicted = np.concatenate([self._track(tracker, query, truth) for query in queries])
        occluded = self._benchmark.codec.occluded(predicted)
        order = np.concatenate([query.points for query in queries])
        frames = np.concatenate([np.full(len(query.points), query.frame) for query in queries])
        given = truth.points[order, frames]
        _write(
            output,
            {
                'tracks': predicted[..., :2] + 0.5,
                'occluded': occluded,
                'query_points': np.concatenate([frames[:, None], given[:, ::-1] + 0.5], axis=1),
            },
        )
        scores = metrics.tapvid_scores(
            truth.points[order],
            truth.occluded[order],
            predicted[..., :2],
            occluded,
            frames,
            self._benchmark.query_mode,
        )
        return {'metrics': _figures(scores), 'counts': dataclasses.asdict(scores)}

    def _track(self, tracker: contract.Tracker, query: Query, truth: Annotation) -> np.ndarray:
        """Return tracks [points, time, 3]; NaN in frames that are not tracked."""
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
                '[points, time, 2] and [points, time].'
            )
        # The edges are at 0 and 256, so the centre of the first pixel, index 0, is at 0.5.
        return Annotation(points * float(metrics.TAPVID_SIZE) - 0.5, occluded.astype(bool))

    def _field(self, name: str) -> Any:
        entry = self._shelf.videos(self._path)[self._key]
        if not isinstance(entry, dict) or name not in entry:
            raise errors.UserError(
                f"{self._where()} has no '{name}'; expected video, points, occluded."
            )
        return entry[name]

    def _where(self) -> str:
        return f'{self._path}: video {" ".join(self._key.split())[:_LONGEST_NAME]}'


def read_pickle(path: str) -> Any:
    """Read a pickle of arrays, numbers, strings, bytes, lists, tuples and dicts.

    Raises:
      errors.UserError: it cannot be read, or it holds or calls anything else.
    """
    try:
        with object_store.reporting(path), pickles.Bounded(object_store.File(path)) as file:
            return pickles.load_plain(file)
    except errors.UserError:
        raise
    except pickles.Refused as refused:
        raise errors.UserError(
            f'{path} holds {refused}; expected arrays and plain values. It is not opened any other '
            'way, since a pickle can run any program.'
        ) from refused
    # A damaged pickle may fail anywhere in its interpreter.
    except Exception as error:
        raise errors.UserError(
            f'{path} cannot be read as a pickle of arrays and plain values: '
            f'{errors.one_line(error)}. Get the file again.'
        ) from error


def _decoded(frame: Any, where: str) -> np.ndarray:
    """Return uint8 [height, width, 3] from an array or an image file's bytes."""
    if isinstance(frame, bytes):
        return images.decode_frame(frame, f'{where}: a frame')
    found = f'{frame.dtype} {frame.shape}' if isinstance(frame, np.ndarray) else type(frame)
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.shape[2:] != (3,):
        raise errors.UserError(
            f'{where}: a frame is {found}, expected uint8 [height, width, 3] or an encoded picture.'
        )
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
