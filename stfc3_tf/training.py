"""A training run: source, views, encoder and learner under a strategy, resumed, fitted and exported.

Interrupted runs lose nothing: a run that finds a checkpoint in its model folder goes on from it, and the clips it
sees are those an unbroken run would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import signal
from typing import NamedTuple

from absl import logging
import gin
import tensorflow as tf

from stfc3_tf import checkpoints, clips, command, errors, monitor, propagation, serving
from stfc3_tf import encoder as encoders

# Registers HeldOutScore, which configurations name.
from stfc3_tf.benchmarks import synthetic_scenes  # noqa: F401
from stfc3_tf.learner import Learner
from stfc3_tf.views import ViewSampler, add_views

gin.external_configurable(tf.keras.optimizers.Adam, 'Adam')
gin.external_configurable(tf.keras.optimizers.SGD, 'SGD')
gin.external_configurable(tf.keras.optimizers.schedules.CosineDecay, 'CosineDecay')
gin.external_configurable(
    tf.keras.optimizers.schedules.PiecewiseConstantDecay, 'PiecewiseConstantDecay'
)


@gin.configurable
def train(
    model_dir: str,
    data: str | None,
    bindings: Sequence[str] = (),
    *,
    encoder: Callable[..., encoders.Encoder] = gin.REQUIRED,
    learner: Callable[..., Learner] = gin.REQUIRED,
    view_sampler: ViewSampler = gin.REQUIRED,
    optimizer: Callable[[], tf.keras.optimizers.Optimizer] = gin.REQUIRED,
    batch_size: int = gin.REQUIRED,
    steps: int = gin.REQUIRED,
    clip_frames: int = 4,
    frame_rate: float = 8.0,
    clips_per_video: int = 5,
    frame_folder_rate: float = 24.0,
    seed: int = 0,
    devices: Sequence[str] | None = None,
    jit_compile: bool = False,
    checkpoint_interval: int = 500,
    checkpoint_minutes: float = 10.0,
    keep_checkpoints: int = 3,
    watch: Callable[..., list[tf.keras.callbacks.Callback]] = monitor.watch,
) -> int:
    """Trains, resuming where an earlier run in `model_dir` stopped, and exports the encoder.

    Args:
      model_dir: the run's folder, on any file system TensorFlow knows.
      data: where the videos are, see `clips.open_source`; None for synthetic scenes.
      bindings: settings of the command line, which must all have an effect.
      encoder: makes the encoder; called with `synchronised_norm`.
      learner: makes the learner of an encoder.
      view_sampler: one clip -> views and matrices.
      optimizer: makes the optimiser.
      batch_size: clips of the global batch, a multiple of devices times `Learner.accumulation_steps`.
      steps: updates of the whole run.
      clip_frames: T, frames of a clip.
      frame_rate: frames per second of a clip.
      clips_per_video: clips taken from each video in an epoch.
      frame_folder_rate: frames per second at which frame folders were extracted.
      seed: of clips and views; the encoder and the learner have their own.
      devices: device names for MirroredStrategy; None for every GPU, or the CPU.
      jit_compile: compile the step with XLA (one device).
      checkpoint_interval: steps between checkpoints.
      checkpoint_minutes: the longest time between checkpoints.
      keep_checkpoints: how many of the last stay.
      watch: makes the callbacks that watch the run.

    Returns:
      The signal that stopped the run early, or 0.

    Raises:
      errors.UserError: a setting, the data or the model folder is not usable; said before training.
    """
    _check_positive(
        batch_size=batch_size,
        steps=steps,
        checkpoint_interval=checkpoint_interval,
        keep_checkpoints=keep_checkpoints,
        frame_rate=frame_rate,
        clips_per_video=clips_per_video,
    )
    stream = ClipStream(clip_frames, frame_rate, clips_per_video, seed, clips.SkippedVideos())
    with StopOnSignal() as stop:
        source = clips.open_source(data, frame_folder_rate)
        strategy = make_strategy(devices, jit_compile)
        with strategy.scope():
            model = make_learner(learner, encoder, optimizer, view_sampler, clip_frames, jit_compile)
            keeper = checkpoints.Checkpoints(model, model_dir, keep_checkpoints)
        check_batch(batch_size, strategy.num_replicas_in_sync, model.accumulation_steps)
        checkpoints.check_writable(model_dir, checkpoints.bytes_needed(model, keep_checkpoints))
        first_step = keeper.restore() or 0
        checkpoints.check_same_stream(model_dir, stream.identity(source), resumed=first_step > 0)
        logging.info(
            '%s from step %d to %d on %d device(s); %d videos from %s.',
            'Resuming' if first_step else 'Training',
            first_step,
            steps,
            strategy.num_replicas_in_sync,
            len(source),
            data or 'built-in synthetic scenes (no --data given)',
        )
        callbacks = watch(
            model,
            source=source,
            view_sampler=view_sampler,
            model_dir=model_dir,
            steps=steps,
            skipped=stream.skipped,
            keeper=keeper,
        )
        saving = checkpoints.SaveCheckpoints(keeper, checkpoint_interval, checkpoint_minutes)
        settings = propagation.PropagationSettings()
        command.check_bindings_used(bindings)
        checkpoints.write_config(model_dir)
        if first_step < steps and not stop.signal:
            dataset = strategy.distribute_datasets_from_function(
                lambda context: stream.batches(source, view_sampler, batch_size, model.clips_seen, context)
            )
            fit(model, dataset, steps - first_step, [*callbacks, saving, stop], keeper)
        if stream.skipped.count:
            logging.warning('%s', stream.skipped.report())
        if stop.signal:
            logging.warning(
                'Stopped by signal %d at step %d of %d; the checkpoint is written. '
                'Run the same command to go on.',
                stop.signal,
                model.step,
                steps,
            )
            return stop.signal
        metadata = {'config': gin.operative_config_str(), 'step': model.step}
        exported = tf.io.gfile.join(model_dir, 'saved_model')
        serving.export(model.encoder, exported, metadata=metadata, settings=settings)
    return 0


def make_learner(
    learner: Callable[..., Learner],
    encoder: Callable[..., encoders.Encoder],
    optimizer: Callable[[], tf.keras.optimizers.Optimizer],
    view_sampler: ViewSampler,
    clip_frames: int,
    jit_compile: bool,
) -> Learner:
    """Builds and compiles the learner in the present strategy's scope.

    Raises:
      errors.UserError: the optimiser has no such argument, or the views are too small for the encoder.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    model = learner(encoder(synchronised_norm=replicas > 1))
    try:
        made = optimizer()
    except TypeError as error:
        raise errors.UserError(f'train.optimizer cannot be made: {error}') from error
    model.compile(made, clip_frames, jit_compile)
    model.map_size(view_sampler.view_size)
    return model


def check_batch(batch_size: int, devices: int, parts: int) -> None:
    """Makes sure that the batch can be shared out evenly.

    Raises:
      errors.UserError: it cannot.
    """
    if batch_size % (devices * parts):
        raise errors.UserError(
            f'train.batch_size = {batch_size} is not a multiple of {devices} device(s) times '
            f'Learner.accumulation_steps = {parts}.'
        )


def _check_positive(**settings: float) -> None:
    for name, value in settings.items():
        if value <= 0:
            raise errors.UserError(f'train.{name} = {value}: must be above 0.')


def encoder_of_run(model_dir: str, which: str = 'last') -> tuple[encoders.Encoder, int]:
    """Rebuilds a run's encoder with the weights of a checkpoint, and the step it was written at.

    The run's configuration becomes the present one.

    Args:
      model_dir: the run's folder.
      which: 'last', 'best', or 'none' for the encoder before training.

    Raises:
      errors.UserError: the folder holds no such run.
    """
    command.parse_text(read_config(model_dir), model_dir)
    encoder = gin.get_bindings('train')['encoder'](dtype_policy='float32')
    return encoder, 0 if which == 'none' else checkpoints.restore_encoder(encoder, model_dir, which)


def read_config(model_dir: str) -> str:
    """The configuration that a run was started with.

    Raises:
      errors.UserError: the folder holds no run.
    """
    path = tf.io.gfile.join(model_dir, checkpoints.CONFIG_NAME)
    if not tf.io.gfile.exists(path):
        raise errors.UserError(
            f'{path} does not exist: is {model_dir} the --model_dir of a training run?'
        )
    with tf.io.gfile.GFile(path) as file:
        return file.read()


def make_strategy(devices: Sequence[str] | None, jit_compile: bool) -> tf.distribute.Strategy:
    """MirroredStrategy over the devices; with XLA, which it does not support, the one device alone.

    Raises:
      errors.UserError: a device does not exist, or XLA was asked for on several.
    """
    if devices is not None:
        known = {device.name.replace('/device:', '') for device in tf.config.list_logical_devices()}
        unknown = [
            device
            for device in devices
            if device.replace('/device:', '').lstrip('/').upper() not in known
        ]
        if unknown:
            raise errors.UserError(
                f'train.devices names {", ".join(unknown)}; there are {", ".join(sorted(known))}.'
            )
    strategy = tf.distribute.MirroredStrategy(devices)
    if not jit_compile:
        return strategy
    if strategy.num_replicas_in_sync > 1:
        raise errors.UserError(
            f'train.jit_compile = True works on one device, and there are '
            f'{strategy.num_replicas_in_sync}: set train.devices to one of them, or '
            'train.jit_compile = False.'
        )
    return tf.distribute.OneDeviceStrategy(strategy.extended.worker_devices[0])


class ClipStream(NamedTuple):
    """Which clips a run sees, in which order.

    Attributes:
      clip_frames: T, frames of a clip.
      frame_rate: frames per second of a clip.
      clips_per_video: clips taken from each video in an epoch.
      seed: of clips and views.
      skipped: where unreadable videos are registered.
    """

    clip_frames: int
    frame_rate: float
    clips_per_video: int
    seed: int
    skipped: clips.SkippedVideos

    def identity(self, source: clips.Source) -> dict[str, int]:
        """What the order of the clips follows from, by name."""
        return {
            'seed': self.seed,
            'videos': len(source),
            'clips_per_video': self.clips_per_video,
        }

    def batches(
        self,
        source: clips.Source,
        view_sampler: ViewSampler,
        batch_size: int,
        start_index: int,
        context: tf.distribute.InputContext,
    ) -> tf.data.Dataset:
        """Joins clips, views and batches: what one input pipeline feeds to its devices.

        Args:
          source: the videos.
          view_sampler: one clip -> views and matrices.
          batch_size: clips of the global batch.
          start_index: clips before this one were seen.
          context: which of how many pipelines this is, and how many devices they feed.

        Returns:
          An endless dataset of {'views': uint8 [batch, tracks, time, size, size, 3],
          'view_from_frame': float32 [batch, tracks, 3, 3], 'index': int64 [batch], 'video': int64
          [batch]}, batches being those of one device.
        """
        dataset = clips.clip_dataset(
            source,
            frames=self.clip_frames,
            frame_rate=self.frame_rate,
            clips_per_video=self.clips_per_video,
            seed=self.seed,
            start_index=start_index,
            shard_count=context.num_input_pipelines,
            shard_index=context.input_pipeline_id,
            skipped=self.skipped,
        )
        dataset = add_views(dataset, view_sampler, self.seed)
        size = context.get_per_replica_batch_size(batch_size)
        return dataset.batch(size, drop_remainder=True).prefetch(2)


def fit(
    model: Learner,
    dataset: tf.data.Dataset,
    steps: int,
    callbacks: list[tf.keras.callbacks.Callback],
    keeper: checkpoints.Checkpoints,
) -> None:
    """Runs Keras' training loop for `steps` updates and keeps what was learnt, also if it fails.

    Raises:
      errors.UserError: the input failed for a reason the user can mend.
    """
    try:
        model.fit(dataset, steps_per_epoch=steps, epochs=1, callbacks=callbacks, verbose=0)
    except tf.errors.OpError as error:
        keeper.save()
        raise errors.from_tensorflow(error) from error
    keeper.save()


class StopOnSignal(tf.keras.callbacks.Callback):
    """Ends training after the present step on SIGTERM or SIGINT; a second signal ends the program at once.

    Used as a context manager, so that a signal that comes while the run is being built or exported is
    noted too.

    Attributes:
      signal: the signal that came, or 0.
    """

    def __init__(self):
        super().__init__()
        self.signal = 0
        self._former = {}

    def __enter__(self) -> 'StopOnSignal':
        for number in (signal.SIGTERM, signal.SIGINT):
            self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def on_train_batch_end(self, batch, logs=None):
        """Stops the loop once a signal came."""
        if self.signal:
            self.model.stop_training = True

    def _note(self, number, frame):
        self.signal = number
        signal.signal(number, self._former[number])
