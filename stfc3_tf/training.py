"""A training run: source, views, encoder and learner under a strategy, resumed, fitted and exported.

Interrupted runs lose nothing: a run that finds a checkpoint in its model folder goes on from it, and the clips it
sees are those an unbroken run would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import signal

from absl import logging
import gin
import tensorflow as tf

from stfc3_tf import checkpoints, clips, errors, monitor, serving
from stfc3_tf import encoder as encoders
from stfc3_tf.benchmarks import synthetic_scenes as _  # registers HeldOutScore for configurations
from stfc3_tf.learner import Learner
from stfc3_tf.views import ViewSampler, add_views

gin.external_configurable(tf.keras.optimizers.Adam, 'Adam')
gin.external_configurable(tf.keras.optimizers.SGD, 'SGD')
gin.external_configurable(tf.keras.optimizers.schedules.CosineDecay, 'CosineDecay')
gin.external_configurable(tf.keras.optimizers.schedules.PiecewiseConstantDecay, 'PiecewiseConstantDecay')


@gin.configurable
def train(model_dir: str, data: str | None, encoder: Callable[..., encoders.Encoder] = gin.REQUIRED,
          learner: Callable[..., Learner] = gin.REQUIRED, view_sampler: ViewSampler = gin.REQUIRED,
          optimizer: Callable[[], tf.keras.optimizers.Optimizer] = gin.REQUIRED, batch_size: int = gin.REQUIRED,
          steps: int = gin.REQUIRED, clip_frames: int = 4, frame_rate: float = 8.0, clips_per_video: int = 5,
          seed: int = 0, devices: Sequence[str] | None = None, jit_compile: bool = False,
          checkpoint_interval: int = 500, keep_checkpoints: int = 3,
          watch: Callable[..., list[tf.keras.callbacks.Callback]] = monitor.watch) -> int:
    """Trains, resuming where an earlier run in `model_dir` stopped, and exports the encoder.

    Args:
      model_dir: the run's folder, on any file system TensorFlow knows.
      data: where the videos are, see `clips.open_source`; None for synthetic scenes.
      encoder: makes the encoder; called with `synchronised_norm`.
      learner: makes the learner of an encoder.
      view_sampler: one clip -> views and matrices.
      optimizer: makes the optimiser.
      batch_size: clips of the global batch, a multiple of the number of devices.
      steps: updates of the whole run.
      clip_frames: T, frames of a clip.
      frame_rate: frames per second of a clip.
      clips_per_video: clips taken from each video in an epoch.
      seed: of everything random.
      devices: device names for MirroredStrategy; None for every GPU, or the CPU.
      jit_compile: compile the step with XLA (one device).
      checkpoint_interval: steps between checkpoints.
      keep_checkpoints: how many of the last stay.
      watch: makes the callbacks that watch the run.

    Returns:
      The signal that stopped the run early, or 0.

    Raises:
      errors.UserError: a setting, the data or the model folder is not usable; said before training.
    """
    source = clips.open_source(data)
    strategy = make_strategy(devices, batch_size, jit_compile)
    tf.keras.utils.set_random_seed(seed)
    with strategy.scope():
        model = learner(encoder(synchronised_norm=strategy.num_replicas_in_sync > 1))
        model.compile(optimizer=optimizer(), clip_frames=clip_frames, jit_compile=jit_compile)
        keeper = checkpoints.Checkpoints(model, model_dir, keep_checkpoints)
    checkpoints.check_writable(model_dir, checkpoints.bytes_needed(model, keep_checkpoints))
    resumed = keeper.restore()
    first_step = resumed or 0
    logging.info('%s from step %d to %d on %d device(s); %d videos from %s.',
                 'Resuming' if resumed else 'Training', first_step, steps, strategy.num_replicas_in_sync,
                 len(source), data or 'built-in synthetic scenes (no --data given)')
    skipped = clips.SkippedVideos()

    def input_of(context: tf.distribute.InputContext) -> tf.data.Dataset:
        return batches(source, view_sampler, context.get_per_replica_batch_size(batch_size), skipped=skipped, seed=seed,
                       clip_frames=clip_frames, frame_rate=frame_rate, clips_per_video=clips_per_video,
                       start_index=model.clips_seen, shard_count=context.num_input_pipelines,
                       shard_index=context.input_pipeline_id)

    checkpoints.write_config(model_dir)
    stop = StopOnSignal()
    callbacks = [*watch(model, source=source, view_sampler=view_sampler, model_dir=model_dir, steps=steps,
                        skipped=skipped, keeper=keeper), checkpoints.SaveCheckpoints(keeper, checkpoint_interval), stop]
    if first_step < steps:
        fit(model, strategy.distribute_datasets_from_function(input_of), steps - first_step, callbacks)
    keeper.save()
    if skipped.count:
        logging.warning('%s', skipped.report())
    if stop.signal:
        logging.warning('Stopped by signal %d at step %d of %d; the checkpoint is written. Run the same command to go on.',
                        stop.signal, model.step, steps)
        return stop.signal
    # float32 whatever the training precision: exact, and fast on any machine it is served on.
    exported = encoder(dtype_policy='float32')
    exported.set_weights(model.encoder.get_weights())
    serving.export(exported, tf.io.gfile.join(model_dir, 'saved_model'),
                   metadata={'config': gin.operative_config_str(), 'step': model.step})
    return 0


def encoder_of_run(model_dir: str, which: str = 'last') -> tuple[encoders.Encoder, int]:
    """Rebuilds a run's encoder in float32, with the weights of a checkpoint and the step it was written at.

    Args:
      model_dir: the run's folder.
      which: 'last', 'best', or 'none' for the encoder before training.

    Raises:
      errors.UserError: the folder holds no such run.
    """
    path = tf.io.gfile.join(model_dir, checkpoints.CONFIG_NAME)
    if not tf.io.gfile.exists(path):
        raise errors.UserError(f'{model_dir} holds no {checkpoints.CONFIG_NAME}: is it the --model_dir of a training run?')
    with tf.io.gfile.GFile(path) as file:
        gin.parse_config(file.read())
    encoder = gin.get_bindings('train')['encoder'](dtype_policy='float32')
    return encoder, 0 if which == 'none' else checkpoints.restore_encoder(encoder, model_dir, which)


def make_strategy(devices: Sequence[str] | None, batch_size: int, jit_compile: bool) -> tf.distribute.Strategy:
    """Spreads the batch over devices with MirroredStrategy.

    Raises:
      errors.UserError: the batch cannot be spread evenly, or XLA was asked for on several devices.
    """
    strategy = tf.distribute.MirroredStrategy(devices)
    count = strategy.num_replicas_in_sync
    if batch_size % count:
        raise errors.UserError(f'train.batch_size = {batch_size} is not a multiple of the {count} devices.')
    if not jit_compile:
        return strategy
    if count > 1:
        raise errors.UserError(f'train.jit_compile = True works on one device, and there are {count}: set train.devices '
                               'to one of them, or train.jit_compile = False.')
    return tf.distribute.get_strategy()


def batches(source: clips.Source, view_sampler: ViewSampler, batch_size: int, *, skipped: clips.SkippedVideos,
            seed: int, clip_frames: int, frame_rate: float, clips_per_video: int, start_index: int,
            shard_count: int = 1, shard_index: int = 0) -> tf.data.Dataset:
    """Joins clips, views and batches: what one input pipeline feeds to its devices.

    Returns:
      An endless dataset of {'views': uint8 [batch, tracks, time, size, size, 3], 'view_from_frame': float32
      [batch, tracks, 3, 3], 'index': int64 [batch], 'video': int64 [batch]}.
    """
    dataset = clips.clip_dataset(
        source, frames=clip_frames, frame_rate=frame_rate, clips_per_video=clips_per_video, seed=seed,
        start_index=start_index, shard_count=shard_count, shard_index=shard_index, skipped=skipped)
    dataset = add_views(dataset, view_sampler, seed)
    return dataset.batch(batch_size, drop_remainder=True).prefetch(2)


def fit(model: Learner, dataset: tf.data.Dataset, steps: int, callbacks: list[tf.keras.callbacks.Callback]) -> None:
    """Runs Keras' training loop for `steps` updates; an error that names a user's mend comes out as one."""
    try:
        model.fit(dataset, steps_per_epoch=steps, epochs=1, callbacks=callbacks, verbose=0)
    except tf.errors.OpError as error:
        raise errors.from_tensorflow(error) from error


class StopOnSignal(tf.keras.callbacks.Callback):
    """Ends training after the present step on SIGTERM or SIGINT; a second signal ends it at once.

    Attributes:
      signal: the signal that came, or 0.
    """

    def __init__(self):
        super().__init__()
        self.signal = 0
        self._former = {}

    def on_train_begin(self, logs=None):
        """Takes over the two signals."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._former[number] = signal.signal(number, self._note)

    def on_train_batch_end(self, batch, logs=None):
        """Stops the loop once a signal came."""
        if self.signal:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        """Gives the signals back."""
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        self.signal = number
        signal.signal(number, self._former[number])
