"""A training run: source, views, encoder and learner under a strategy, resumed, fitted and exported.

Interrupted runs lose nothing: a run that finds a checkpoint in its model folder goes on from it, and the clips it
sees are those an unbroken run would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import signal

from absl import logging
import gin
import tensorflow as tf

import stfc3_tf
from stfc3_tf import (
    checkpoints,
    clips,
    command,
    data_service,
    distribution,
    errors,
    monitor,
    propagation,
    serving,
)
from stfc3_tf import encoder as encoders

# Registers HeldOutScore, which configurations name.
from stfc3_tf.benchmarks import synthetic_scenes  # noqa: F401
from stfc3_tf.learner import Learner
from stfc3_tf.stream import ClipStream
from stfc3_tf.views import ViewSampler

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
    strategy: str = 'mirrored',
    devices: Sequence[str] | None = None,
    jit_compile: bool = False,
    data_servers: Sequence[str] = (),
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
      strategy: 'default' (one device), 'mirrored' (all devices of this machine) or 'multi_worker' (those of
        several processes, see `distribution`).
      devices: device names, of each worker; None for every GPU, or the CPU.
      jit_compile: compile the step with XLA (one device), which draws other dropped edges from the same seed.
      data_servers: host:port of each `tools.data_server` that is to read the clips; none to read them here.
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
    stream = ClipStream(
        clip_frames, frame_rate, clips_per_video, seed, clips.SkippedVideos(), data_servers
    )
    source = clips.open_source(data, frame_folder_rate)
    identity = stream.identity(source)
    workers = distribution.join(strategy, devices, jit_compile, _shared_facts(identity))
    with workers.explaining(), StopOnSignal(workers) as stop:
        replicas = workers.strategy.num_replicas_in_sync
        with workers.strategy.scope():
            model = make_learner(
                learner, encoder, optimizer, view_sampler, clip_frames, jit_compile
            )
            keeper = checkpoints.Checkpoints(model, model_dir, keep_checkpoints, workers.is_chief)
        check_batch(batch_size, replicas, model.accumulation_steps)
        check_schedule(model.optimizer, steps)
        first_step = resume(keeper, model_dir, identity, workers)
        _log_start(first_step, steps, replicas, source, data)
        callbacks = _watching(
            watch,
            workers,
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
        if workers.is_chief:
            command.check_bindings_used(bindings)
            checkpoints.write_config(model_dir)
        if first_step < steps and not stop.agree():
            dataset = workers.strategy.distribute_datasets_from_function(
                lambda context: stream.batches(
                    source, view_sampler, batch_size, model.clips_seen, context
                )
            )
            callbacks = [stop, *callbacks, saving]
            if workers.cluster is None:
                # Again after the looks; several workers would pay for asking each other twice.
                callbacks.append(stop)
            with data_service.watched(data_servers):
                fit(model, dataset, steps - first_step, callbacks, keeper, workers)
        report(model, steps, stream.skipped, stop.signal, keeper)
        if not stop.signal and workers.is_chief:
            export(model, model_dir, settings)
        workers.wait()
    return stop.signal


def _shared_facts(identity: Mapping[str, int]) -> dict[str, str]:
    """What all workers must have in common, by name."""
    return {
        'versions': f'stfc3_tf {stfc3_tf.__version__}\nTensorFlow {tf.__version__}',
        'settings': gin.config_str(),
        'clips': '\n'.join(f'{name} = {value}' for name, value in identity.items()),
    }


def resume(
    keeper: checkpoints.Checkpoints,
    model_dir: str,
    identity: Mapping[str, int],
    workers: distribution.Workers,
) -> int:
    """Goes back to the run's newest checkpoint that can be read; returns its step, or 0.

    Raises:
      errors.UserError: the model folder cannot be written, is not the same for all workers, or holds a
        run on other clips.
    """
    if workers.is_chief:
        checkpoints.check_writable(model_dir, keeper.bytes_needed())
    first_step = keeper.restore() or 0
    workers.check_same(f'checkpoint (is --model_dir={model_dir} one folder for all?)', first_step)
    if workers.is_chief:
        checkpoints.check_same_stream(model_dir, identity, resumed=first_step > 0)
    return first_step


def _watching(
    watch: Callable[..., list[tf.keras.callbacks.Callback]],
    workers: distribution.Workers,
    model: Learner,
    **watched,
) -> list[tf.keras.callbacks.Callback]:
    """The chief's callbacks, and those of a worker that keeps in step with it; all must call it together."""
    callbacks = watch(model, **watched) if workers.is_chief else []
    (interval,) = workers.total([monitor.metering_interval(callbacks)])
    return callbacks if workers.is_chief else monitor.follow(int(interval))


def _log_start(
    first_step: int, steps: int, devices: int, source: clips.Source, data: str | None
) -> None:
    logging.info(
        '%s from step %d to %d on %d device(s); %d videos from %s.',
        'Resuming' if first_step else 'Training',
        first_step,
        steps,
        devices,
        len(source),
        data or 'built-in synthetic scenes (no --data given)',
    )


def export(model: Learner, model_dir: str, settings: propagation.PropagationSettings) -> None:
    """Writes the encoder to the run's `saved_model`."""
    metadata = {'config': gin.operative_config_str(), 'step': model.step}
    output_dir = tf.io.gfile.join(model_dir, 'saved_model')
    serving.export(model.encoder, output_dir, metadata=metadata, settings=settings)


def report(
    model: Learner,
    steps: int,
    skipped: clips.SkippedVideos,
    stopped_by: int,
    keeper: checkpoints.Checkpoints,
) -> None:
    """Says what a run left out, and where it stopped if it was told to."""
    if skipped.count:
        logging.warning('%s', skipped.report())
    if not stopped_by:
        return
    if keeper.last_step is None:
        state = 'nothing was learnt yet'
    else:
        state = f'the checkpoint is written, at step {keeper.last_step}'
    logging.warning(
        'Stopped by signal %d at step %d of %d; %s. Run the same command to go on.',
        stopped_by,
        model.step,
        steps,
        state,
    )


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
    with distribution.statistics_kept_locally():
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


def check_schedule(optimizer: tf.keras.optimizers.Optimizer, steps: int) -> None:
    """Makes sure that the learning rate, if Keras knows its schedule, lasts as long as the run.

    Raises:
      errors.UserError: at the last step nothing would be learnt any more.
    """
    rate = checkpoints.configured_rate(optimizer)
    if isinstance(rate, dict):
        try:
            rate = tf.keras.optimizers.schedules.deserialize(rate)(steps - 1)
        except TypeError:  # A schedule of the user's own, which Keras cannot make again.
            return
    if rate <= 0:
        raise errors.UserError(
            f'The learning rate of step {steps}, the last, is {float(rate):g}: lengthen its schedule '
            '(such as CosineDecay.decay_steps; STEPS in gin/small) or lower train.steps.'
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


def learner_of_run(model_dir: str, which: str = 'last') -> tuple[Learner, int]:
    """The same with the learner around the encoder, whose settings are those of the run."""
    encoder, step = encoder_of_run(model_dir, which)
    return gin.get_bindings('train')['learner'](encoder), step


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


def fit(
    model: Learner,
    dataset: tf.data.Dataset,
    steps: int,
    callbacks: list[tf.keras.callbacks.Callback],
    keeper: checkpoints.Checkpoints,
    workers: distribution.Workers,
) -> None:
    """Runs Keras' training loop for `steps` updates; what was learnt is kept also if its input fails.

    Raises:
      tf.errors.OpError: the input failed, or another worker was lost.
    """
    try:
        model.fit(dataset, steps_per_epoch=steps, epochs=1, callbacks=callbacks, verbose=0)
    except tf.errors.OpError:
        # A step that waited in vain for another worker is half done, and not to be kept.
        if workers.cluster is None:
            keeper.save()
        raise


class StopOnSignal(tf.keras.callbacks.Callback):
    """Ends training after the present step on SIGTERM or SIGINT; a second signal ends the program at once.

    A signal to any worker stops all of them, after the same step. Used as a context manager, so that a signal
    that comes while the run is being built or exported is noted too.

    Attributes:
      signal: the signal that the workers agreed to stop on, or 0.
    """

    _SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, workers: distribution.Workers):
        super().__init__()
        self.signal = 0
        self._workers = workers
        self._noted = 0
        self._former = {}

    def __enter__(self) -> 'StopOnSignal':
        for number in self._SIGNALS:
            self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def agree(self) -> int:
        """The signal that came to any worker, or 0; every worker must call this."""
        noted = self._workers.total([int(self._noted == number) for number in self._SIGNALS])
        self.signal = next((int(number) for number, count in zip(self._SIGNALS, noted) if count), 0)
        return self.signal

    def on_train_batch_end(self, batch, logs=None):
        """Stops the loop once a signal came."""
        if self.agree():
            self.model.stop_training = True

    def _note(self, number, frame):
        self._noted = number
        signal.signal(number, self._former[number])
