"""An endless stream of clips from a source; it can be resumed, sharded and repeated.

The video and the position of sample number i are pure functions of the seed and i. So a run resumes
by starting at another i, workers share the stream by taking every n-th i, and checkpoints need not
store the state of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
import contextlib

import numpy as np
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.clips import frame_rates, shuffle
from stfc3_tf.clips import source as source_lib

MAX_ATTEMPTS = 100
_LAST_INDEX = 2**62
# One number per purpose, so that draws for different purposes are independent.
_ORDER, _POSITION, _REPLACEMENT, _RATE = range(4)


def clip_dataset(
    source: source_lib.Source,
    *,
    frames: int = 4,
    frame_rate: float | Sequence[float] = 8.0,
    clips_per_video: int = 5,
    seed: int = 0,
    start_index: int = 0,
    shard_count: int = 1,
    shard_index: int = 0,
    skipped: source_lib.SkippedVideos,
    parallel_reads: int = tf.data.AUTOTUNE,
) -> tf.data.Dataset:
    """Make the endless, shuffled stream of clips.

    In each epoch every video gives `clips_per_video` clips, in a new order. A video that cannot be
    read is registered in `skipped` and replaced by another, chosen by seed and sample number.

    Args:
      source: the videos.
      frames: frames per clip.
      frame_rate: frames per second of a clip, or the lowest and the highest; see `FrameRates`.
      clips_per_video: clips per video and epoch.
      seed: a non-negative integer; the same seed gives the same stream.
      start_index: number of the first sample.
      shard_count: see `sample_numbers`.
      shard_index: see `sample_numbers`.
      skipped: where unreadable videos are registered.
      parallel_reads: clips that are read at the same time; the order does not depend on it.

    Returns:
      Elements {'frames': uint8 [frames, height, width, 3], 'index': int64 [], 'video': int64 []}:
      `index` is the sample's number in the unsharded stream, `video` the video it was read from.
      After 100 failures to read one sample, iteration fails with a `tf.errors.UnknownError`.

    Raises:
      errors.UserError: a setting is out of its range.
    """
    _check_settings(source, frames, clips_per_video, seed, start_index)
    indices = sample_numbers(start_index, shard_count, shard_index)
    sampler = ClipSampler(source, frames, frame_rate, clips_per_video, seed, skipped)

    def read(index: tf.Tensor) -> dict[str, tf.Tensor]:
        clip, video = tf.numpy_function(
            sampler.sample, [index], [tf.uint8, tf.int64], stateful=False
        )
        clip = tf.ensure_shape(clip, [frames, None, None, 3])
        return {'frames': clip, 'index': index, 'video': tf.ensure_shape(video, [])}

    return indices.map(read, num_parallel_calls=parallel_reads, deterministic=True)


def sample_numbers(start_index: int, shard_count: int, shard_index: int) -> tf.data.Dataset:
    """Return the numbers of a shard's samples, ascending: int64 [] each.

    Args:
      start_index: number of the first sample.
      shard_count: number of streams that share the samples.
      shard_index: this stream holds the samples whose number modulo `shard_count` is this.

    Returns:
      An endless dataset.

    Raises:
      errors.UserError: `shard_index` is out of its range.
    """
    if not 0 <= shard_index < shard_count:
        raise errors.UserError(f'shard_index={shard_index} is not in 0 ... {shard_count - 1}.')
    first = start_index + (shard_index - start_index) % shard_count
    return tf.data.Dataset.range(first, _LAST_INDEX, shard_count)


def _check_settings(
    source: source_lib.Source,
    frames: int,
    clips_per_video: int,
    seed: int,
    start_index: int,
) -> None:
    if not len(source):
        raise errors.UserError('The source of clips has no videos.')
    for name, value, low in (
        ('frames', frames, 1),
        ('clips_per_video', clips_per_video, 1),
        ('seed', seed, 0),
        ('start_index', start_index, 0),
    ):
        if value < low:
            raise errors.UserError(f'{name}={value}: must be at least {low}.')


class ClipSampler:
    """Reads the clip of a sample number; several threads may call it.

    Args:
      source: the videos.
      frames: frames per clip.
      frame_rate: see `clip_dataset`.
      clips_per_video: clips per video and epoch.
      seed: a non-negative integer.
      skipped: where unreadable videos are registered.
    """

    def __init__(
        self,
        source: source_lib.Source,
        frames: int,
        frame_rate: float | Sequence[float],
        clips_per_video: int,
        seed: int,
        skipped: source_lib.SkippedVideos,
    ):
        self._source = source
        self._frames = frames
        self._rates = frame_rates.of_setting('frame_rate', frame_rate)
        self._clips_per_video = clips_per_video
        self._seed = seed
        self._skipped = skipped
        # The reasons of videos that fail at every position; they are not opened again.
        self._unreadable: dict[int, str] = {}

    def sample(self, index: int) -> tuple[np.ndarray, np.int64]:
        """Read a sample.

        Returns:
          uint8 RGB [time, height, width, 3], and the number of the video it was read from.

        Raises:
          errors.UserError: 100 videos in a row could not be read.
        """
        failures: dict[str, str] = {}
        rates = self.frame_rates(int(index))
        for attempt in range(MAX_ATTEMPTS):
            video, position = self.candidate(int(index), attempt)
            try:
                return self._read(video, position, rates), np.int64(video)
            except source_lib.UnreadableVideo as error:
                failures[error.name] = error.reason
        raise errors.UserError(_too_many_failures(failures, len(self._source)))

    def candidate(self, index: int, attempt: int) -> tuple[int, float]:
        """Return the video and the position in [0, 1) for an attempt, from 0, to read a sample."""
        if attempt:
            draw = _generator(self._seed, _REPLACEMENT, index, attempt)
            return int(draw.integers(len(self._source))), float(draw.random())
        clips = len(self._source) * self._clips_per_video
        epoch, place = divmod(index, clips)
        key = np.random.SeedSequence((self._seed, _ORDER, epoch)).generate_state(1, np.uint64)
        video = shuffle.shuffled(place, clips, int(key[0])) // self._clips_per_video
        return video, float(_generator(self._seed, _POSITION, index).random())

    def frame_rates(self, index: int) -> tuple[float, ...]:
        """Return the rates to try for a sample, in order: a short video may allow the last only."""
        low, high = self._rates
        if low == high:
            return (high,)
        return self._rates.drawn(_generator(self._seed, _RATE, index)), high

    def _read(self, video: int, position: float, rates: Sequence[float]) -> np.ndarray:
        if video in self._unreadable:
            raise source_lib.UnreadableVideo(self._source.name(video), self._unreadable[video])
        *slower, fastest = rates
        for rate in slower:
            with contextlib.suppress(source_lib.UnreadableVideo):
                return self._source.read(video, position, self._frames, rate)
        try:
            return self._source.read(video, position, self._frames, fastest)
        except source_lib.UnreadableVideo as error:
            if error.everywhere:
                self._unreadable[video] = error.reason
            self._skipped.add(error.name, error.reason)
            raise


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def _too_many_failures(failures: dict[str, str], videos: int) -> str:
    shown = [f'  {name}: {reason}' for name, reason in list(failures.items())[:5]]
    return '\n'.join(
        [
            f'{MAX_ATTEMPTS} videos in a row, drawn from {videos}, could not be read '
            f'({len(failures)} different ones). Check that the data are complete, and that the '
            'requested clips are not longer than the videos. The first few:',
            *shown,
        ]
    )
