"""What a run writes while a learner trains, read back from TensorBoard's files."""

from __future__ import annotations

import time
import types

import numpy as np
import pytest
import tensorflow as tf
from tiny_learners import batch_of, tiny_learner

from stfc3_tf import clips, errors
from stfc3_tf.model.learner import Learner
from stfc3_tf.training import (
    checkpoints,
    encoder_callbacks,
    event_writer,
    monitor,
    probe_clips,
    skipped_steps,
)
from stfc3_tf.training.run_folder import RunFolder
from stfc3_tf.training.scalars import Scalars
from stfc3_tf.views import sampler as views

BATCH = 3


@pytest.fixture(scope='module')
def compiled():
    return learner_at_two_rates()


@pytest.fixture
def learner(compiled):
    """Return the learner as it was at first: it is compiled once, which takes seconds."""
    for counter in (*compiled.counters.values(), compiled.optimizer.iterations):
        counter.assign(0)
    compiled.reset_metrics()
    return compiled


def learner_at_two_rates():
    schedule = tf.keras.optimizers.schedules.PiecewiseConstantDecay([5], [0.5, 0.25])
    return tiny_learner(tf.keras.optimizers.SGD(schedule))


def batches(pause=0.0):
    batch = batch_of(BATCH)

    def slowly(number):
        time.sleep(pause)
        return number

    def element(number):
        number = tf.numpy_function(slowly, [number], tf.int64)
        return {**batch, 'index': batch['index'] + number}

    return tf.data.Dataset.range(1000).map(element)


def fit(model, callbacks, steps, dataset=None):
    model.fit(dataset or batches(), steps_per_epoch=steps, epochs=1, callbacks=callbacks, verbose=0)


def scalars(folder, interval, **settings):
    writer = event_writer.EventWriter(RunFolder(str(folder)))
    return Scalars(writer, interval, **{'skipped_videos': lambda: 2, **settings})


def events(folder):
    """Return {tag: {step: value}} of all event files below a folder; pictures are decoded."""
    found = {}
    for file in sorted(folder.rglob('events.*')):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                array = tf.make_ndarray(value.tensor)
                if value.metadata.plugin_data.plugin_name == 'images':
                    array = tf.io.decode_png(array[2]).numpy()
                found.setdefault(value.tag, {})[event.step] = array
    return found


class Losses(tf.keras.callbacks.Callback):
    """Notes the sum of the losses since the meters were reset."""

    def __init__(self):
        super().__init__()
        self.sums = {}

    def on_train_batch_end(self, batch, logs=None):
        meter = next(meter for meter in self.model.metrics if meter.name == 'loss')
        self.sums[self.model.step] = float(meter.total)


@pytest.mark.slow
def test_scalars_are_means_since_the_last_entry(learner, tmp_path):
    losses = Losses()  # Called first, before the meters are reset.
    fit(learner, [losses, scalars(tmp_path, 4)], steps=10)
    found = events(tmp_path)
    written = {step: float(value) for step, value in found['train/loss'].items()}
    means = {4: losses.sums[4] / 4, 8: losses.sums[8] / 4, 10: losses.sums[10] / 2}
    assert written == pytest.approx(means, rel=1e-6)
    # The sums are of different steps: each interval begins at nothing.
    assert losses.sums[5] < losses.sums[4] and losses.sums[9] < losses.sums[8]
    rates = {step: float(value) for step, value in found['train/learning_rate'].items()}
    assert rates == {4: 0.5, 8: 0.25, 10: 0.25}
    assert {int(value) for value in found['reading/skipped_videos'].values()} == {2}
    assert {int(value) for value in found['train/skipped_steps'].values()} == {0}


def test_a_resumed_run_goes_on_counting(learner, tmp_path):
    for steps in (3, 4):
        fit(learner, [scalars(tmp_path, 2)], steps)
    assert sorted(events(tmp_path)['train/loss']) == [2, 3, 4, 6, 7]
    assert len(list((tmp_path / 'tensorboard').iterdir())) == 2


def test_speed_leaves_out_the_step_that_traces(learner, tmp_path):
    fit(learner, [scalars(tmp_path, 1)], steps=3)
    speed = events(tmp_path)['reading/clips_per_second']
    assert sorted(speed) == [2, 3]
    assert all(value > 0 for value in speed.values())


@pytest.mark.slow
@pytest.mark.parametrize('strategy', [tf.distribute.get_strategy, tf.distribute.MirroredStrategy])
def test_waiting_for_slow_input_is_distinguished_from_working(tmp_path, strategy):
    with strategy().scope():
        model = learner_at_two_rates()
    fit(model, [scalars(tmp_path, 5)], 10, batches(pause=0.5))
    assert 0.5 < events(tmp_path)['reading/wait_share'][10] <= 1


@pytest.mark.slow
def test_slow_steps_are_not_waiting(tmp_path):
    class Slow(Learner):
        def train_step(self, batch):
            with tf.control_dependencies([tf.numpy_function(lambda: time.sleep(0.1), [], [])]):
                return super().train_step(batch)

    model = Slow(tiny_learner().encoder)
    model.compile(tf.keras.optimizers.SGD(0.1), clip_frames=3)
    fit(model, [scalars(tmp_path, 5)], 10, batches().prefetch(2))
    assert 0 <= events(tmp_path)['reading/wait_share'][10] < 0.5


def positions(frames):
    """Features that encode the position of a cell, and nothing else."""
    size = frames.shape[1] // 8
    where = np.eye(size * size, dtype=np.float32).reshape(1, size, size, -1)
    return tf.constant(np.repeat(where, len(frames), axis=0))


def content(frames):
    """Features that are the colours of cells, and nothing else."""
    return tf.math.l2_normalize(tf.cast(frames[:, ::8, ::8], tf.float32) / 255 - 0.5, axis=-1)


def frames_of_scenes(count, size=32):
    source = clips.SyntheticScenes(count=count, height=40, width=56)
    found = probe_clips.fixed_clips(source, count)
    return np.stack([probe_clips.centre_view(clip, size)[0] for clip in found])


def test_the_probe_sees_through_features_that_tell_only_where_they_are(learner, tmp_path):
    ratios = {}
    for encode in (positions, content):
        folder = tmp_path / encode.__name__
        writer = event_writer.EventWriter(RunFolder(str(folder)))
        probe = encoder_callbacks.Probe(writer, 2, encode, frames_of_scenes(4), 0.1)
        learner.counters['step'].assign(0)
        fit(learner, [probe, encoder_callbacks.HeldOut(writer, 2, lambda: 0.25)], steps=4)
        writer.send()
        found = events(folder)
        assert sorted(found['probe/collapse_ratio']) == [0, 2, 4]
        assert float(found['probe/held_out_score'][4]) == 0.25
        ratios[encode] = float(found['probe/collapse_ratio'][4])
    assert ratios[positions] == pytest.approx(16 / (1 + 15 * np.exp(-10)), rel=1e-4)
    assert ratios[content] < 4


def test_a_resumed_run_is_probed_at_its_next_interval(learner, tmp_path):
    learner.counters['step'].assign(3)
    writer = event_writer.EventWriter(RunFolder(str(tmp_path)))
    fit(learner, [encoder_callbacks.Probe(writer, 5, learner, frames_of_scenes(2), 0.1)], steps=4)
    writer.send()
    assert sorted(events(tmp_path)['probe/collapse_ratio']) == [5]


def test_a_run_that_is_being_stopped_does_not_wait_for_looks(learner, tmp_path):
    class Stop(tf.keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = self.model.step == 4

    scores = []
    writer = event_writer.EventWriter(RunFolder(str(tmp_path)))
    look = encoder_callbacks.HeldOut(writer, 2, lambda: scores.append(learner.step) or 0.0)
    fit(learner, [Stop(), look], steps=8)
    assert learner.step == 4 and scores == [0, 2]


def watch(model, folder, source, **settings):
    run = RunFolder(str(folder))
    sampler = views.ViewSampler(view_size=32, colours=(None, None))
    intervals = {'log_interval': 2, 'probe_interval': 2, 'picture_interval': 4, 'probe_videos': 3}
    watched = monitor.Watched(
        model=model,
        source=source,
        view_sampler=sampler,
        folder=run,
        steps=4,
        skipped=clips.SkippedVideos(),
        keeper=checkpoints.Checkpoints(model, run),
    )
    return monitor.watch(watched, **{**intervals, **settings})


@pytest.mark.parametrize('interval', [0, 7])
def test_followers_reset_their_meters_when_the_chief_does(learner, tmp_path, interval):
    source = clips.SyntheticScenes(count=4)
    chief = watch(
        learner, tmp_path, source, log_interval=interval, probe_interval=0, picture_interval=0
    )
    assert monitor.metering_interval(chief) == interval
    meters = []
    for callbacks in (chief, monitor.follow(interval)):
        learner.reset_metrics()
        fit(learner, callbacks, steps=3)
        # At the end of a run, the meters of an interval that is not over are written too.
        meters.append([float(meter.count) for meter in learner.metrics])
        assert monitor.metering_interval(callbacks) == interval
    assert meters[0] == meters[1]
    assert meters[0][0] == (0 if interval else 3)


def test_watch_writes_everything(learner, tmp_path):
    source = clips.SyntheticScenes(count=9, height=40, width=56)
    scores = {0: 0.5, 2: 0.75, 4: 0.25}
    callbacks = watch(learner, tmp_path, source, held_out_score=lambda model: scores[model.step])
    fit(learner, callbacks, steps=4)
    found = events(tmp_path / 'tensorboard')
    assert sorted(found['train/loss']) == [2, 4]
    assert sorted(found['probe/collapse_ratio']) == [0, 2, 4]
    assert {n: float(v) for n, v in found['probe/held_out_score'].items()} == scores
    best = sorted(path.name for path in (tmp_path / 'checkpoints' / 'best').glob('*.index'))
    assert best == ['step-2.index']
    for name in ('views', 'features', 'affinity', 'masks'):
        assert sorted(found[f'visuals/{name}']) == [0, 4]
    assert found['visuals/features'][4].shape == (2 * 128 + 4, 4 * 128 + 3 * 4, 3)
    assert len(found['configuration']) == 1
    np.testing.assert_array_equal(found['visuals/views'][0], found['visuals/views'][4])
    # The encoder has been trained: the pictures of its features change.
    assert (found['visuals/features'][0] != found['visuals/features'][4]).any()


def test_every_scalar_and_picture_is_described(learner, tmp_path):
    source = clips.SyntheticScenes(count=9, height=40, width=56)
    fit(learner, watch(learner, tmp_path, source, held_out_score=lambda model: 0.5), steps=2)
    described = {
        value.tag: value.metadata.summary_description
        for file in sorted((tmp_path / 'tensorboard').glob('events.*'))
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name in ('scalars', 'images')
    }
    assert {'probe/collapse_ratio', 'train/loss', 'reading/wait_share'} <= set(described)
    assert {'visuals/views', 'visuals/masks'} <= set(described)
    assert [tag for tag, text in described.items() if not text.endswith('.')] == []


class Unreadable(clips.SyntheticScenes):
    """Synthetic scenes; those of even numbers are corrupt."""

    def read(self, video, position, count, frame_rate):
        if video % 2 == 0:
            raise clips.UnreadableVideo(self.name(video), 'corrupt')
        return super().read(video, position, count, frame_rate)


def test_watch_of_a_single_video_compares_it_with_built_in_scenes(learner, tmp_path):
    source = Unreadable(count=2, height=16, width=16)
    assert len(probe_clips.unrelated_clips(source, 8)) == 3
    fit(learner, watch(learner, tmp_path, source), steps=4)
    assert sorted(events(tmp_path / 'tensorboard')['probe/collapse_ratio']) == [0, 2, 4]


def test_a_run_that_only_skips_is_ended(learner, caplog):
    def bad_from_step_3(batch):
        bad = batch['index'][0] > 1  # the first index is the number of the step - 1
        shape = tf.shape(batch['view_from_frame'])
        return {
            **batch,
            'view_from_frame': tf.where(
                bad, tf.fill(shape, float('nan')), batch['view_from_frame']
            ),
        }

    patience = skipped_steps.SkippedSteps(patience=3)
    with pytest.raises(errors.UserError, match='3 steps in a row'):
        fit(learner, [patience], steps=9, dataset=batches().map(bad_from_step_3))
    assert learner.step == 5 and learner.skipped == 3  # steps 3, 4, 5
    assert sum('the batch is skipped' in record.getMessage() for record in caplog.records) == 3


def test_a_full_disk_is_one_line(learner, tmp_path):
    writer = event_writer.EventWriter(RunFolder(str(tmp_path)))
    writer._writer = types.SimpleNamespace(flush=_no_space)
    with pytest.raises(errors.UserError, match='Cannot write .*tensorboard: No space') as raised:
        writer.send()
    assert '\n' not in str(raised.value)


def _no_space():
    raise tf.errors.ResourceExhaustedError(None, None, 'No space left on device')
