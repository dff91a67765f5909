"""A training run: built, resumed, fitted, finished.

A run that finds a checkpoint in its model folder resumes from it, and sees the same clips as a run
that was not interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import contextlib
from typing import Any

from absl import logging
import gin
import tensorflow as tf

from stfc3_tf import clips, wording
from stfc3_tf.cluster import data_service
from stfc3_tf.cluster import strategy as distribution
from stfc3_tf.commands import configuration
from stfc3_tf.model.learner import WalkLearner
from stfc3_tf.propagation.propagator import PropagationSettings
from stfc3_tf.serving import saved_model
from stfc3_tf.storage import object_store, writing
from stfc3_tf.training import build, initial_weights, learning_rate, monitor, resume_check
from stfc3_tf.training.checkpoints import Checkpoints, SaveCheckpoints
from stfc3_tf.training.input_pipeline import ClipStream
from stfc3_tf.training.run_folder import RunFolder
from stfc3_tf.training.settings import Settings
from stfc3_tf.training.signals import StopOnSignal
from stfc3_tf.version import __version__


def train(
    settings: Settings,
    model_dir: str,
    data: str | None,
    bindings: Sequence[str] = (),
    allow_changes: bool = False,
) -> int:
    """Train, resuming where an earlier run in `model_dir` stopped, and export the encoder.

    Args:
      settings: of the run.
      model_dir: the run's folder, on any file system that TensorFlow knows.
      data: where the videos are, see `clips.open_source`; None for synthetic scenes.
      bindings: settings of the command line; each must have an effect.
      allow_changes: whether an earlier run may resume with other settings or data.

    Returns:
      The signal that stopped the run early, or 0.

    Raises:
      errors.UserError: a setting, the data or the model folder cannot be used (before training),
        or the input, the disk or another worker fails (in training).
    """
    source = clips.open_source(data, settings.frame_folder_rate, settings.still_pictures)
    described = resume_check.data_of(source)
    workers = distribution.join(
        settings.strategy,
        settings.devices,
        settings.jit_compile,
        _shared_facts(settings, described),
    )
    object_store.check_text(model_dir)
    folder = RunFolder(model_dir)
    with workers.explaining(), StopOnSignal(workers) as stop, contextlib.ExitStack() as locked:
        data_name = _name_of(source, data, settings.initial_encoder)
        run = Run(settings, folder, source, data_name, workers, stop)
        if workers.is_chief:
            folder.check_writable(run.keeper.bytes_needed())
            locked.enter_context(folder.locked())
        run.resume(described, allow_changes)
        run.log_start()
        callbacks = run.callbacks()
        propagation = PropagationSettings()
        if workers.is_chief:
            configuration.check_bindings_used(bindings)
            folder.write_config(gin.operative_config_str())
        run.fit(callbacks)
        run.finish(propagation)
    return stop.signal


def _shared_facts(settings: Settings, described: Mapping[str, Any]) -> dict[str, str]:
    """Return what must be the same for all workers, by name."""
    return {
        'versions': f'stfc3_tf {__version__}\nTensorFlow {tf.__version__}',
        'settings': gin.config_str(),
        'initial encoders': initial_weights.fingerprint(settings.initial_encoder),
        'clips': '\n'.join(f'{name} = {value}' for name, value in described.items()),
    }


def _name_of(source: clips.Source, data: str | None, initial_encoder: str | None) -> str:
    """Return a description of what is learnt from, without the paths of folders."""
    name = wording.counted(len(source), 'built-in synthetic scene')
    if data is not None:
        name = f'{wording.counted(len(source), "video")} of {data.rstrip("/").split("/")[-1]}'
    if initial_encoder:
        name += f', going on from the weights of {initial_weights.name_of(initial_encoder)}'
    return name


class Run:
    """A run, built from its settings.

    Attributes:
      model: the compiled learner.
      keeper: saves and restores it.
      first_step: the step that the run resumes from, 0 for a new run.
    """

    def __init__(
        self,
        settings: Settings,
        folder: RunFolder,
        source: clips.Source,
        data_name: str,
        workers: distribution.Workers,
        stop: StopOnSignal,
    ):
        """Build the learner under the strategy of the workers; nothing is written yet.

        Args:
          settings: of the run.
          folder: of the run.
          source: the videos.
          data_name: describes the videos in the log and the model card.
          workers: the processes that share the batches.
          stop: receives signals.

        Raises:
          errors.UserError: the batch or the learning rate does not fit the other settings, or the
            initial encoder cannot be used.
        """
        self.first_step = 0
        self._settings = settings
        self._folder = folder
        self._source = source
        self._data_name = data_name
        self._workers = workers
        self._stop = stop
        self._skipped = clips.SkippedVideos()
        self._devices = workers.strategy.num_replicas_in_sync
        with workers.strategy.scope():
            self.model: WalkLearner = build.make_learner(
                settings, settings.clip_frames, settings.jit_compile
            )
            self.keeper = Checkpoints(
                self.model, folder, settings.keep_checkpoints, workers.is_chief
            )
        build.check_batch(settings.batch_size, self._devices, self.model.accumulation_steps)
        learning_rate.check(self.model.optimizer, settings.steps)
        # A run that resumes does not need it, so it may be gone by then.
        if settings.initial_encoder and self.keeper.newest() is None:
            initial_weights.load_into(self.model.encoder, settings.initial_encoder)

    def resume(self, described: Mapping[str, Any], allow_changes: bool) -> None:
        """Restore the newest checkpoint that can be read, if there is one.

        Args:
          described: the data, see `resume_check.data_of`.
          allow_changes: whether settings and data may differ from those of the earlier run.

        Raises:
          errors.UserError: the model folder is not the same for all workers, or holds a run of
            other settings or data.
        """
        if self._workers.is_chief:
            self.keeper.clear_unfinished()
            writing.clear_remains(self._folder.path)
            # Restoring first would only report that the checkpoints do not fit.
            resume_check.check(
                self._folder,
                gin.operative_config_str(),
                described,
                self.keeper.newest(),
                allow_changes,
            )
        self.first_step = self.keeper.restore() or 0
        self._workers.check_same(
            f'checkpoint (is --model_dir={self._folder.path} one folder for all?)', self.first_step
        )

    def log_start(self) -> None:
        """Log where the run starts, on how many devices and videos."""
        if self.first_step >= self._settings.steps:
            logging.info(
                'The run is finished, at step %d; train.steps = %d.',
                self.first_step,
                self._settings.steps,
            )
            return
        logging.info(
            '%s from step %d to %d on %s, on %s.',
            'Resuming' if self.first_step else 'Training',
            *(self.first_step, self._settings.steps),
            wording.counted(self._devices, 'device'),
            self._data_name,
        )

    def callbacks(self) -> monitor.Callbacks:
        """Return the callbacks of this worker; all workers must call this together."""
        made: monitor.Callbacks = []
        if self._workers.is_chief:
            made = self._settings.watch(
                monitor.Watched(
                    self.model,
                    self._source,
                    self._settings.view_sampler,
                    self._folder,
                    self._settings.steps,
                    self._skipped,
                    self.keeper,
                )
            )
        (interval,) = self._workers.total([monitor.metering_interval(made)])
        return made if self._workers.is_chief else monitor.follow(int(interval))

    def fit(self, callbacks: monitor.Callbacks) -> None:
        """Train for the steps that are left, unless a signal came.

        A checkpoint is saved also if the input fails.

        Raises:
          tf.errors.OpError: the input failed, or another worker was lost.
        """
        steps = self._settings.steps - self.first_step
        if steps <= 0 or self._stop.agree():
            return
        dataset = self._workers.strategy.distribute_datasets_from_function(self._batches)
        callbacks = [self._stop, *callbacks, self._saving()]
        if self._workers.cluster is None:
            # Also after the evaluations, which can take long; several workers would have to agree.
            callbacks.append(self._stop)
        with data_service.watched(self._settings.data_servers):
            try:
                self.model.fit(
                    dataset, steps_per_epoch=steps, epochs=1, callbacks=callbacks, verbose=0
                )
            except tf.errors.OpError:
                # If another worker was lost, the step is half done: it must not be saved.
                if self._workers.cluster is None:
                    self.keeper.save()
                raise

    def _batches(self, context: tf.distribute.InputContext) -> tf.data.Dataset:
        """Return the batches that one input pipeline feeds to its devices."""
        settings = self._settings
        stream = ClipStream(
            settings.clip_frames,
            settings.frame_rate,
            settings.clips_per_video,
            settings.seed,
            self._skipped,
            settings.data_servers,
        )
        return stream.batches(
            self._source,
            settings.view_sampler,
            settings.batch_size,
            self.model.clips_seen,
            context,
        )

    def _saving(self) -> SaveCheckpoints:
        return SaveCheckpoints(
            self.keeper, self._settings.checkpoint_interval, self._settings.checkpoint_minutes
        )

    def finish(self, propagation: PropagationSettings) -> None:
        """Log the skipped videos; export the encoder if the run is complete.

        All workers must call this; they wait for each other.

        Args:
          propagation: settings of the exported signature.
        """
        if self._skipped.count:
            logging.warning('%s', self._skipped.report())
        if self._stop.signal:
            self._log_stop()
        elif self._workers.is_chief:
            export(self.model, self._folder, propagation, self._data_name)
            logging.info('Wrote %s', self._folder.saved_model)
        self._workers.wait_for_end()

    def _log_stop(self) -> None:
        if self.keeper.last_step is None:
            state = 'nothing was learnt yet'
        else:
            state = f'the checkpoint is written, at step {self.keeper.last_step}'
        logging.warning(
            'Stopped by signal %d at step %d of %d; %s. Run the same command to resume.',
            *(self._stop.signal, self.model.step, self._settings.steps, state),
        )


def export(
    model: WalkLearner, folder: RunFolder, propagation: PropagationSettings, training_data: str
) -> None:
    """Write the encoder to the `saved_model` of a run.

    Args:
      model: the learner around the encoder.
      folder: of the run.
      propagation: settings of the signature `propagate`.
      training_data: for the model card.
    """
    metadata = {
        'config': gin.operative_config_str(),
        'step': model.step,
        'training_data': training_data,
    }
    saved_model.export(model.encoder, folder.saved_model, metadata=metadata, settings=propagation)
