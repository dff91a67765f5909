"""The speed of the whole way from frames to masks, alone and against others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
import dataclasses
import itertools
import time
from typing import Any, Literal

import numpy as np

from stfc3_tf.speed import alternation
from stfc3_tf.speed.overlap import smallest_overlap
from stfc3_tf.speed.timing import Figures


def whole_loop(
    saved_model: str | None = None, height: int = 480, width: int = 854, frames: int = 40
) -> Figures:
    """Measure the whole way from uint8 frames to masks, with the tracker of `tools.evaluate`.

    Args:
      saved_model: see `loading.load`; None for an encoder of full width that is not trained.
      height: of the frames, pixels.
      width: of the frames, pixels.
      frames: of the video.

    Returns:
      Seconds per frame.
    """
    from stfc3_tf.benchmarks import baselines
    from stfc3_tf.serving import loading

    encoder = loading.load(saved_model) if saved_model else baselines.RandomFeatures()
    codec = _mask_codec()
    shown, first = scene(height, width, frames)
    _timed_loop(encoder, shown[:2], first, codec)
    seconds, _ = _timed_loop(encoder, shown, first, codec)
    return {'seconds_per_frame': seconds}


def whole_loop_against_brute_force(
    height: int = 480, width: int = 854, frames: int = 40, compared: Sequence[int] = (1, 20, 39)
) -> Figures:
    """Compare the whole loop with features and brute force on some of its frames.

    Brute force gets the features and the labels that the loop had before the frame. Features are
    timed again, because the loop computes them beside other work.

    Args:
      height: of the frames, pixels.
      width: of the frames, pixels.
      frames: of the video.
      compared: numbers of the frames on which features and brute force run.

    Returns:
      Seconds per frame of both, and how well their labels and masks agree.
    """
    from stfc3_tf.benchmarks import baselines
    from stfc3_tf.propagation import brute_force
    from stfc3_tf.propagation.settings import crw_settings

    plain = baselines.RandomFeatures()
    encoder, codec = _RecordedEncoder(plain), _RecordedCodec(_mask_codec())
    shown, first = scene(height, width, frames)
    _timed_loop(plain, shown[:2], first, _mask_codec())
    seconds, masks = _timed_loop(encoder, shown, first, codec)
    encoding, spent, differences, overlaps = [], [], [], []
    for frame in compared:
        context = _context(frame, encoder, codec)
        start = time.perf_counter()
        plain.features(shown[frame][np.newaxis])
        encoding.append(time.perf_counter() - start)
        start = time.perf_counter()
        soft = brute_force.brute_force(encoder.maps[frame], *context, crw_settings())
        spent.append(time.perf_counter() - start)
        differences.append(np.abs(soft - codec.labels[frame]).max())
        overlaps.append(smallest_overlap(_mask_codec().decode(soft, codec.geometry), masks[frame]))
    parts = float(np.mean(encoding)), float(np.mean(spent))
    return {
        'seconds_per_frame': seconds,
        'features_seconds_per_frame': parts[0],
        'brute_force_seconds_per_frame': parts[1],
        'times_faster': sum(parts) / seconds,
        'largest_difference': float(max(differences)),
        'smallest_iou': min(overlaps),
    }


def fast_against_exact(
    saved_model: str, height: int = 480, width: int = 854, frames: int = 40, rounds: int = 3
) -> Figures:
    """Compare the whole loop with `precision` 'fast' with the exact one, in turn.

    Args:
      saved_model: see `loading.load`.
      height: of the frames, pixels.
      width: of the frames, pixels.
      frames: of the video.
      rounds: how often both run.

    Returns:
      The times per frame of both, see `alternation.summary`, and how well the masks agree.
    """
    from stfc3_tf.serving import loading

    encoder, codec = loading.load(saved_model), _mask_codec()
    shown, first = scene(height, width, frames)

    def loop(precision: Literal['exact', 'fast']) -> tuple[list[float], list[np.ndarray]]:
        """Return the seconds per frame, on the clock and of the processors, and the masks."""
        before = time.process_time()
        seconds, masks = _timed_loop(encoder, shown, first, codec, precision)
        return [seconds, (time.process_time() - before) / frames], masks

    loop('exact')
    runs = [(loop('exact'), loop('fast')) for _ in range(rounds)]
    overlaps = [min(map(smallest_overlap, exact[1], fast[1])) for exact, fast in runs]
    spent = {
        name: np.array([seconds for seconds, _ in each])
        for name, each in zip(('exact', 'fast'), zip(*runs))
    }
    return {**alternation.summary(spent, 'fast'), 'smallest_iou': min(overlaps)}


def _context(
    frame: int, encoder: _RecordedEncoder, codec: _RecordedCodec
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features, labels and unrestricted slots of what the loop had before a frame."""
    from stfc3_tf.propagation.settings import crw_settings

    before = [0, *(max(0, n) for n in range(frame - crw_settings().context, frame))]
    maps = np.stack([encoder.maps[n] for n in before])
    labels = np.stack([codec.labels[n] for n in before])
    return maps, labels, np.arange(len(before)) == 0


def prepare(frames: Sequence[np.ndarray], first: np.ndarray) -> Callable[[], np.ndarray]:
    """Return the tracking of one more frame at full width, from its pixels to its mask.

    Args:
      frames: uint8 [height, width, 3], shown again and again.
      first: uint8 [height, width], the mask of the first frame.

    Returns:
      A function that returns the next mask, uint8 [height, width]. The context is full.
    """
    from stfc3_tf.benchmarks import baselines
    from stfc3_tf.propagation.settings import crw_settings

    shown, codec = itertools.cycle(frames), _mask_codec()
    # A frame that is read ahead would be encoded beside the clock.
    masks = _track(baselines.RandomFeatures(), shown, first, codec, reads_ahead=False)
    for _ in range(1 + crw_settings().context):
        next(masks)
    return lambda: next(masks)


def scene(height: int, width: int, frames: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Return frames of a built-in scene, and the mask of its objects in the first.

    Args:
      height: of the frames, pixels.
      width: of the frames, pixels.
      frames: how many.

    Returns:
      Frames uint8 [height, width, 3], and the mask uint8 [height, width].
    """
    from stfc3_tf.clips import synthetic

    scene = synthetic.scene(0, height, width)
    return [scene.frame(number / 24) for number in range(frames)], scene.masks(0.0)


def _mask_codec() -> Any:
    """Return CRW's codec, independent of gin."""
    from stfc3_tf.propagation import codecs

    return codecs.MaskCodec(shrink='bilinear', normalise='none', decide_at='input')


def _timed_loop(
    encoder: Any,
    frames: list[np.ndarray],
    first: np.ndarray,
    codec: Any,
    precision: Literal['exact', 'fast'] = 'exact',
) -> tuple[float, list[np.ndarray]]:
    """Return the seconds per frame of tracking, and the masks."""
    start = time.perf_counter()
    masks = list(_track(encoder, frames, first, codec, precision=precision))
    return (time.perf_counter() - start) / len(frames), masks


def _track(
    encoder: Any,
    frames: Iterable[np.ndarray],
    first: np.ndarray,
    codec: Any,
    reads_ahead: bool = True,
    precision: Literal['exact', 'fast'] = 'exact',
) -> Iterator[np.ndarray]:
    """Return the masks of frames under CRW's protocol."""
    from stfc3_tf.propagation.input_size import native_size
    from stfc3_tf.propagation.settings import crw_settings
    from stfc3_tf.propagation.tracker import PropagationTracker

    settings = dataclasses.replace(crw_settings(), precision=precision)
    tracker = PropagationTracker(encoder, settings, native_size(), reads_ahead=reads_ahead)
    return tracker.track(frames, first, codec, (first.shape[0], first.shape[1]))


class _RecordedEncoder:
    """An encoder that keeps its features."""

    def __init__(self, encoder: Any):
        self._encoder = encoder
        self.cell_grid = encoder.cell_grid
        self.maps: list[np.ndarray] = []

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Return the features of the encoder, see `extractor.FeatureExtractor`."""
        found = self._encoder.features(frames)
        self.maps.append(found[0])
        return found


class _RecordedCodec:
    """A codec that keeps the soft labels of every frame."""

    def __init__(self, codec: Any):
        self._codec = codec
        self.geometry: Any = None
        self.labels: list[np.ndarray] = []

    def encode(self, label: np.ndarray, geometry: Any) -> np.ndarray:
        self.geometry = geometry
        self.labels.append(self._codec.encode(label, geometry))
        return self.labels[0]

    def decode(self, soft: np.ndarray, geometry: Any) -> np.ndarray:
        self.labels.append(soft)
        return self._codec.decode(soft, geometry)
