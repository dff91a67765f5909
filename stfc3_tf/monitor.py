"""What a run shows while it trains: TensorBoard, pictures, and the collapse probe.

TensorBoard gets, under the step of the run (which goes on counting when the run is resumed):

    train/loss, train/...     the learner's meters, means over the steps since the last entry
    train/learning_rate
    input/clips_per_second    while stepping: pictures, probes and checkpoints do not count
    input/wait_share          share of that time in which a step waited for its clips
    input/skipped_videos      videos that could not be read, so far
    probe/collapse_ratio      see `collapse_ratio`
    probe/held_out_score      if a held-out score is configured
    pictures/...              views, features and affinity of fixed clips
    configuration             the settings in force
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import time

from absl import logging
import gin
import numpy as np
import tensorflow as tf

from stfc3_tf import clips, errors, object_store, pictures, progress, views, walk
from stfc3_tf.checkpoints import Checkpoints
from stfc3_tf.learner import Learner

# uint8 [batch, height, width, 3] -> float32 [batch, rows, columns, channels], unit length.
Encode = Callable[[tf.Tensor], tf.Tensor]

# Of the fixed clips that pictures and probe look at: those of the paper's training clips.
_CLIP_FRAMES = 4
_FRAME_RATE = 8.0
# Seconds between sendings to an object store: each sends all that was ever written to the file.
_STORE_PAUSE = 300.0


def collapse_ratio(features_a: tf.Tensor, features_b: tf.Tensor, temperature: float) -> tf.Tensor:
    """Tells features that know where they are from features that know what they see (figure 3).

    The mean probability of stepping from a node to the same place in an UNRELATED frame, times the
    number of nodes. 1 is chance; an encoder that takes the shortcut goes towards the number of
    nodes.

    Args:
      features_a: float32 [..., nodes, channels], L2-normalised.
      features_b: float32 [..., nodes, channels], of frames that have nothing to do with those.
      temperature: of the transition.

    Returns:
      float32 [], the mean over all pairs.
    """
    probability = tf.linalg.diag_part(walk.transition(features_a, features_b, temperature))
    return tf.reduce_mean(probability) * tf.cast(tf.shape(probability)[-1], tf.float32)


def fixed_clips(source: clips.Source, count: int) -> list[np.ndarray]:
    """Reads a clip from the middle of each of up to `count` videos, spread over the source.

    Args:
      source: where videos come from; those that cannot be read are passed over.
      count: how many clips are wanted.

    Returns:
      uint8 [4, height, width, 3] each, frames 1/8 s apart; fewer than `count` where no more can be
      read.
    """
    candidates = np.linspace(0, len(source) - 1, 3 * count).astype(int)
    videos = dict.fromkeys(int(video) for part in range(3) for video in candidates[part::3])
    found = []
    for video in videos:
        try:
            found.append(source.read(video, 0.5, _CLIP_FRAMES, _FRAME_RATE))
        except clips.UnreadableVideo:
            continue
        if len(found) == count:
            break
    return found


def centre_view(frames: np.ndarray, size: int) -> np.ndarray:
    """Resizes frames' centre squares: uint8 [time, height, width, 3] -> [time, size, size, 3]."""
    box = views.centred_box(frames.shape[2] / frames.shape[1], (1.0, 1.0))
    return np.stack([views.to_uint8(views.resample(frame, box, size)).numpy() for frame in frames])


@gin.configurable
def watch(model: Learner, *, source: clips.Source, view_sampler: views.ViewSampler, model_dir: str,
          steps: int, skipped: clips.SkippedVideos, keeper: Checkpoints, log_interval: int = 50,
          probe_interval: int = 500, picture_interval: int = 1000, probe_videos: int = 8,
          held_out_score: Callable[[Learner], float] | None = None,
          ) -> list[tf.keras.callbacks.Callback]:
    """Makes the callbacks that watch a run; TensorBoard reads `model_dir`/tensorboard.

    Args:
      model: compiled.
      source: videos for the probe and the pictures; the same ones in every run on this source.
      view_sampler: makes the views that are shown.
      model_dir: the run's folder.
      steps: updates of the whole run.
      skipped: the videos that could not be read.
      keeper: keeps the weights with the best held-out score.
      log_interval: steps between entries of scalars, 0 for none.
      probe_interval: steps between probes, 0 for none.
      picture_interval: steps between pictures, 0 for none.
      probe_videos: from how many videos the probe's frames come, at least 2.
      held_out_score: figure of merit of a learner, higher is better, taken with each probe.

    Returns:
      The callbacks, in the order in which `Model.fit` is to call them.
    """
    folder = tf.io.gfile.join(model_dir, 'tensorboard')
    pause = _STORE_PAUSE if object_store.is_object_store(folder) else 0.0
    rarely = {'max_queue': 1_000_000, 'flush_millis': int(1000 * pause)} if pause else {}
    writer = tf.summary.create_file_writer(folder, **rarely)
    with writer.as_default(step=model.step):
        tf.summary.text('configuration', gin.markdown(gin.operative_config_str()))
    callbacks = [SkippedSteps()]
    if log_interval:
        callbacks.insert(0, Scalars(writer, log_interval, lambda: skipped.count, pause))
    if held_out_score and probe_interval:
        callbacks.append(HeldOut(writer, probe_interval, _keeping_the_best(model, keeper, held_out_score)))
    if probe_interval or picture_interval:
        found = unrelated_clips(source, probe_videos)
        callbacks += _looks(writer, model, view_sampler, found, probe_interval, picture_interval)
    return [*callbacks, progress.Progress(steps)]


def metering_interval(callbacks: Sequence[tf.keras.callbacks.Callback]) -> int:
    """Steps after which the callbacks of a run begin its meters anew, 0 for never."""
    return next((callback.interval for callback in callbacks if isinstance(callback, Scalars)), 0)


def follow(interval: int) -> list[tf.keras.callbacks.Callback]:
    """Callbacks of a worker that is not the chief: nothing is shown, but its steps are taken as the chief's.

    Args:
      interval: `metering_interval` of the chief's callbacks; meters are begun anew by all workers together.
    """
    meters = [Scalars(tf.summary.create_noop_writer(), interval, lambda: 0)] if interval else []
    return [*meters, SkippedSteps()]


def unrelated_clips(source: clips.Source, count: int) -> list[np.ndarray]:
    """Clips of different videos, see `fixed_clips`; built-in scenes stand in where there are not two videos."""
    found = fixed_clips(source, max(2, count))
    return found if len(found) > 1 else found + fixed_clips(clips.SyntheticScenes(), 2)


def _looks(writer, model, view_sampler, found, probe_interval, picture_interval):
    """The probe and the pictures, where they are wanted."""
    frames = np.stack([centre_view(clip, view_sampler.view_size) for clip in found])
    encode = tf.function(lambda images: model(images, training=False))
    looks = []
    if probe_interval:
        looks.append(Probe(writer, probe_interval, encode, frames[:, 0], model.temperature))
    if picture_interval:
        sample = view_sampler(tf.constant(found[0]), tf.constant([0, 0]))
        sample = {name: value.numpy() for name, value in sample.items()}
        looks.append(Pictures(writer, picture_interval, encode, sample, frames[0], frames[1, 0],
                              model.temperature))
    return looks


def _keeping_the_best(model: Learner, keeper: Checkpoints,
                      held_out_score: Callable[[Learner], float]) -> Callable[[], float]:
    """The score of the present weights, which are kept if it is the highest yet."""
    def score() -> float:
        value = float(held_out_score(model))
        keeper.save_if_best(value)
        return value
    return score


class Scalars(tf.keras.callbacks.Callback):
    """Writes the learner's meters, the learning rate and the speed every `interval` steps.

    The first step of a process is left out of the speed: it traces the graph. Keep this callback
    first, so that the others' time does not count either.
    """

    def __init__(self, writer: tf.summary.SummaryWriter, interval: int,
                 skipped_videos: Callable[[], int], pause: float = 0.0):
        """Sets where to, how often, whom to ask for the number of skipped videos.

        What is written can be read at once, or, with a `pause`, after that many seconds.
        """
        super().__init__()
        self._pause = pause
        self._sent = time.monotonic()
        self._writer = writer
        self.interval = interval
        self._skipped_videos = skipped_videos
        self._clock = progress.InputClock()
        self._traced = False

    def on_train_begin(self, logs=None):
        """Starts timing the input."""
        self._clock.attach(self.model)
        self._restart()

    def on_train_batch_begin(self, batch, logs=None):
        """Starts timing the step."""
        self._step_start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Writes where the step is a multiple of the interval."""
        self._seconds += time.perf_counter() - self._step_start
        self._logs = logs
        if not self._traced:
            self._traced = True
            self._restart_speed()
        if self.model.step % self.interval == 0:
            self._write()

    def on_train_end(self, logs=None):
        """Writes what the last, incomplete interval holds."""
        if self._logs:
            self._write()
        self._send()
        self._clock.detach(self.model)

    def _write(self):
        with self._writer.as_default(step=self.model.step):
            for name, value in self._logs.items():
                tf.summary.scalar(f'train/{name}', value)
            tf.summary.scalar('train/learning_rate', self.model.optimizer.learning_rate)
            for name, value in self._speed().items():
                tf.summary.scalar(f'input/{name}', value)
            tf.summary.scalar('input/skipped_videos', self._skipped_videos())
        if time.monotonic() - self._sent >= self._pause:
            self._send()
        self.model.reset_metrics()
        self._restart()

    def _send(self):
        self._writer.flush()
        self._sent = time.monotonic()

    def _speed(self) -> dict[str, float]:
        if not self._seconds:
            return {}
        clips_seen = self.model.clips_seen - self._first_clip
        return {'clips_per_second': clips_seen / self._seconds,
                'wait_share': (self._clock.seconds - self._waited) / self._seconds}

    def _restart(self):
        self._logs = None
        self._restart_speed()

    def _restart_speed(self):
        self._seconds = 0.0
        self._waited = self._clock.seconds
        self._first_clip = self.model.clips_seen


class _Occasional(tf.keras.callbacks.Callback):
    """Calls `act(step)` before the first step of a run and after every `interval` steps."""

    def __init__(self, interval: int):
        super().__init__()
        self._interval = interval

    def on_train_begin(self, logs=None):
        """Acts on the untrained encoder, the one to compare with; not when a run is resumed."""
        if self.model.step == 0:
            self.act(0)

    def on_train_batch_end(self, batch, logs=None):
        """Acts where the step is a multiple of the interval."""
        step = self.model.step
        # Who stops the run waits for the checkpoint; looks can take long.
        if step % self._interval == 0 and not self.model.stop_training:
            self.act(step)


class Probe(_Occasional):
    """Writes the collapse ratio of fixed frames."""

    def __init__(self, writer: tf.summary.SummaryWriter, interval: int, encode: Encode,
                 frames: np.ndarray, temperature: float):
        """Sets what is probed.

        Args:
          writer: to TensorBoard.
          interval: steps between probes.
          encode: the encoder in inference mode.
          frames: uint8 [frames, size, size, 3] of different videos; each is compared with the next
            and the last with the first. At least two.
          temperature: tau of the learner.
        """
        super().__init__(interval)
        self._writer = writer
        self._encode = encode
        self._frames = frames
        self._temperature = temperature

    def act(self, step: int) -> None:
        """Writes the figure under `step`."""
        features = self._encode(self._frames)
        nodes = tf.reshape(features, [len(self._frames), -1, features.shape[-1]])
        ratio = collapse_ratio(nodes, tf.roll(nodes, -1, axis=0), self._temperature)
        with self._writer.as_default(step=step):
            tf.summary.scalar('probe/collapse_ratio', ratio)


class HeldOut(_Occasional):
    """Writes a figure of merit of the present encoder."""

    def __init__(self, writer: tf.summary.SummaryWriter, interval: int, score: Callable[[], float]):
        """Sets where to, how often, and what."""
        super().__init__(interval)
        self._writer = writer
        self._score = score

    def act(self, step: int) -> None:
        """Writes the figure under `step`."""
        score = self._score()
        with self._writer.as_default(step=step):
            tf.summary.scalar('probe/held_out_score', score)


class SkippedSteps(tf.keras.callbacks.Callback):
    """Reports batches that were skipped; ends a run that does nothing else."""

    def __init__(self, patience: int = 100):
        """`patience`: how many steps in a row may be skipped."""
        super().__init__()
        self._patience = patience
        self._in_a_row = 0

    def on_train_begin(self, logs=None):
        """Counts from here."""
        self._known = self.model.skipped

    def on_train_batch_end(self, batch, logs=None):
        """Warns of a skipped step.

        Raises:
          errors.UserError: there were too many in a row.
        """
        skipped = self.model.skipped
        self._in_a_row = self._in_a_row + 1 if skipped > self._known else 0
        self._known = skipped
        if self._in_a_row:
            logging.warning('Step %d: the gradient is not finite; the batch is skipped (%d so far).',
                            self.model.step, skipped)
        if self._in_a_row >= self._patience:
            raise errors.UserError(
                f'{self._patience} steps in a row had no finite gradient: lower the learning rate, or train in float32. '
                'Go on from an earlier checkpoint of the model folder.')


class Pictures(_Occasional):
    """Draws the views of a fixed clip, its features as colours, and affinities."""

    def __init__(self, writer: tf.summary.SummaryWriter, interval: int, encode: Encode,
                 sample: Mapping[str, np.ndarray], clip: np.ndarray, unrelated: np.ndarray,
                 temperature: float):
        """Sets what is drawn.

        Args:
          writer: to TensorBoard.
          interval: steps between pictures.
          encode: the encoder in inference mode.
          sample: a training element, 'views' uint8 [tracks, time, size, size, 3] and
            'view_from_frame' float32 [tracks, 3, 3].
          clip: uint8 [time, size, size, 3], frames as they are.
          unrelated: uint8 [size, size, 3], a frame of another video.
          temperature: tau of the learner.
        """
        super().__init__(interval)
        self._writer = writer
        self._encode = encode
        self._views = view_picture(sample)
        self._clip = clip
        self._unrelated = unrelated
        self._temperature = temperature
        self._basis = None

    def act(self, step: int) -> None:
        """Writes the pictures under `step`; the views, which never change, each time too."""
        features = self._encode(np.concatenate([self._clip, self._unrelated[np.newaxis]])).numpy()
        self._basis = pictures.pca_basis(features[:-1], like=self._basis)
        drawn = {'views': self._views,
                 'features': feature_picture(self._clip, features[:-1], self._basis),
                 'affinity': affinity_picture(features[0], features[-2], features[-1],
                                              self._temperature)}
        with self._writer.as_default(step=step):
            for name, picture in drawn.items():
                tf.summary.image(f'pictures/{name}', picture[np.newaxis])


def view_picture(sample: Mapping[str, np.ndarray]) -> np.ndarray:
    """Draws the first frame's views of a training element, see `pictures.view_pair`."""
    forward, backward = (_legible(sample['views'][track][0]) for track in (0, -1))
    forward_from_frame, backward_from_frame = sample['view_from_frame'][[0, -1]]
    backward_from_forward = backward_from_frame @ np.linalg.inv(forward_from_frame)
    return pictures.view_pair(forward, backward, backward_from_forward)


def feature_picture(frames: np.ndarray, features: np.ndarray,
                    basis: pictures.PcaBasis) -> np.ndarray:
    """Draws frames above their features (figure 7).

    Args:
      frames: uint8 [time, size, size, 3].
      features: float32 [time, rows, columns, channels].
      basis: of the colours, shared by the frames.

    Returns:
      uint8 [height, width, 3].
    """
    frames = [_legible(frame) for frame in frames]
    colours = pictures.pca_colours(features, basis)
    factor = max(1, len(frames[0]) // colours.shape[1])
    enlarged = (pictures.enlarge(colour, factor) for colour in colours)
    return pictures.montage([*frames, *enlarged], columns=len(frames))


def _legible(image: np.ndarray) -> np.ndarray:
    """Enlarges a small image to at least 128 pixels in height, about what a caption needs."""
    return pictures.enlarge(image, -(-128 // len(image)))


def affinity_picture(first: np.ndarray, last: np.ndarray, unrelated: np.ndarray,
                     temperature: float) -> np.ndarray:
    """Draws transitions from a frame to a later one of its clip and to an unrelated one (figure 3).

    Args:
      first: float32 [rows, columns, channels], L2-normalised; so are the others.
      last: of the later frame.
      unrelated: of the other video's frame.
      temperature: tau.

    Returns:
      uint8 [height, width, 3], both at one scale. A diagonal on the right is the mark of collapse.
    """
    nodes = [frame.reshape(-1, frame.shape[-1]) for frame in (first, last, unrelated)]
    related, other = (walk.transition(nodes[0], to, temperature).numpy() for to in nodes[1:])
    limit = float(max(related.max(), other.max()))
    return pictures.montage([
        pictures.affinity_picture(related, 'to a later frame', limit=limit),
        pictures.affinity_picture(other, 'to another video', limit=limit)])
