"""What a run shows: the collapse ratio by hand-made features, and TensorBoard files read back."""

from __future__ import annotations

import io
import re
import time

import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf import clips, monitor, progress, views


def unit(features):
    return tf.math.l2_normalize(tf.cast(features, tf.float32), axis=-1)


def test_constant_features_are_at_chance():
    features = unit(np.ones((2, 16, 5)))
    assert float(monitor.collapse_ratio(features, features, 0.05)) == 1.0


def test_features_that_encode_position_alone_are_at_the_number_of_nodes():
    features = tf.eye(36)[tf.newaxis]
    ratio = float(monitor.collapse_ratio(features, features, 0.05))
    assert ratio == pytest.approx(36 / (1 + 35 * np.exp(-20)), rel=1e-6)


def test_random_features_are_near_chance():
    generator = np.random.default_rng(0)
    a, b = unit(generator.normal(size=(2, 64, 400, 64)))
    assert float(monitor.collapse_ratio(a, b, 1.0)) == pytest.approx(1.0, abs=0.01)


def test_collapse_ratio_by_loops():
    generator = np.random.default_rng(1)
    a, b = unit(generator.normal(size=(2, 3, 7, 4))).numpy()
    expected = []
    for pair in range(3):
        for node in range(7):
            weights = [np.exp(a[pair, node] @ b[pair, other] / 0.2) for other in range(7)]
            expected.append(weights[node] / sum(weights))
    ratio = float(monitor.collapse_ratio(tf.constant(a), tf.constant(b), 0.2))
    assert ratio == pytest.approx(7 * np.mean(expected), rel=1e-5)


class Toy(tf.keras.Model):
    """A learner's outside with next to nothing inside: step n of a fit has loss 10 n."""

    temperature = 0.1

    def __init__(self, position=0.0):
        super().__init__()
        self.counters = {
            name: tf.Variable(0, dtype=tf.int64) for name in ('step', 'clips_seen', 'skipped')
        }
        self.weight = tf.Variable(1.0)
        self.meter = tf.keras.metrics.Mean(name='loss')
        self.position = position

    @property
    def step(self):
        return int(self.counters['step'].numpy())

    @property
    def clips_seen(self):
        return int(self.counters['clips_seen'].numpy())

    @property
    def skipped(self):
        return int(self.counters['skipped'].numpy())

    @property
    def metrics(self):
        return [self.meter]

    def call(self, frames, training=False):
        content = tf.cast(frames[:, ::8, ::8], tf.float32) / 255 - 0.5
        size = content.shape[1]
        where = tf.reshape(tf.eye(size * size), [1, size, size, size * size])
        where = tf.repeat(where, tf.shape(frames)[0], axis=0)
        return tf.math.l2_normalize(tf.concat([content, self.position * where], axis=-1), axis=-1)

    def train_step(self, batch):
        with tf.GradientTape() as tape:
            loss = self.weight**2
        self.optimizer.minimize(loss, [self.weight], tape)
        step = self.counters['step'].assign_add(1, read_value=True)
        self.counters['clips_seen'].assign_add(tf.shape(batch, tf.int64)[0])
        self.meter.update_state(10 * tf.cast(step, tf.float32))
        return {'loss': self.meter.result()}


def toy(**settings):
    model = Toy(**settings)
    schedule = tf.keras.optimizers.schedules.PiecewiseConstantDecay([5], [0.5, 0.25])
    model.compile(tf.keras.optimizers.SGD(schedule))
    return model


def batches(pause=0.0, size=3):
    def clip(_):
        time.sleep(pause)
        return np.zeros(size, np.float32)

    return tf.data.Dataset.range(1000).map(
        lambda i: tf.ensure_shape(tf.numpy_function(clip, [i], tf.float32), [size])
    )


def fit(model, callbacks, steps, dataset=None):
    model.fit(dataset or batches(), steps_per_epoch=steps, epochs=1, callbacks=callbacks, verbose=0)


def events(folder):
    """{tag: {step: value}} of every event file below a folder; pictures are decoded."""
    found = {}
    for file in sorted(folder.rglob('events.*')):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                array = tf.make_ndarray(value.tensor)
                if value.metadata.plugin_data.plugin_name == 'images':
                    array = tf.io.decode_png(array[2]).numpy()
                found.setdefault(value.tag, {})[event.step] = array
    return found


def test_scalars_are_means_since_the_last_entry(tmp_path):
    model = toy()
    writer = tf.summary.create_file_writer(str(tmp_path))
    fit(model, [monitor.Scalars(writer, 4, skipped_videos=lambda: 2)], steps=10)
    found = events(tmp_path)
    losses = {step: float(value) for step, value in found['train/loss'].items()}
    assert losses == {4: 25.0, 8: 65.0, 10: 95.0}
    rates = {step: float(value) for step, value in found['train/learning_rate'].items()}
    assert rates == {4: 0.5, 8: 0.25, 10: 0.25}
    assert {int(value) for value in found['input/skipped_videos'].values()} == {2}


def test_a_resumed_run_goes_on_counting(tmp_path):
    writer = tf.summary.create_file_writer(str(tmp_path))
    model = toy()
    for steps in (3, 4):
        fit(model, [monitor.Scalars(writer, 2, skipped_videos=lambda: 0)], steps)
    assert {step: float(value) for step, value in events(tmp_path)['train/loss'].items()} == {
        2: 15.0,
        3: 30.0,
        4: 40.0,
        6: 55.0,
        7: 70.0,
    }


def test_speed_leaves_out_the_step_that_traces(tmp_path):
    writer = tf.summary.create_file_writer(str(tmp_path))
    model = toy()
    fit(model, [monitor.Scalars(writer, 1, skipped_videos=lambda: 0)], steps=3)
    speed = events(tmp_path)['input/clips_per_second']
    assert sorted(speed) == [2, 3]
    assert all(value > 0 for value in speed.values())


@pytest.mark.parametrize('strategy', [tf.distribute.get_strategy, tf.distribute.MirroredStrategy])
def test_waiting_for_slow_input_is_told_from_working(tmp_path, strategy):
    with strategy().scope():
        model = toy()
    writer = tf.summary.create_file_writer(str(tmp_path))
    fit(model, [monitor.Scalars(writer, 5, skipped_videos=lambda: 0)], 10, batches(pause=0.1))
    assert 0.5 < events(tmp_path)['input/wait_share'][10] <= 1


def test_slow_steps_are_not_waiting(tmp_path):
    class Slow(Toy):
        def train_step(self, batch):
            with tf.control_dependencies([tf.numpy_function(lambda: time.sleep(0.1), [], [])]):
                return super().train_step(batch)

    model = Slow()
    model.compile(tf.keras.optimizers.SGD(0.1))
    writer = tf.summary.create_file_writer(str(tmp_path))
    fit(model, [monitor.Scalars(writer, 5, skipped_videos=lambda: 0)], 10, batches().prefetch(2))
    assert 0 <= events(tmp_path)['input/wait_share'][10] < 0.5


def test_the_clock_changes_nothing_about_training(tmp_path):
    def trained(callbacks, jit_compile):
        model = Toy()
        model.compile(tf.keras.optimizers.Adam(0.1, jit_compile=False), jit_compile=jit_compile)
        fit(model, callbacks, steps=5)
        return float(model.weight), model.step, model.clips_seen

    for jit_compile in (False, True):
        scalars = monitor.Scalars(tf.summary.create_file_writer(str(tmp_path)), 2, lambda: 0)
        assert trained([scalars], jit_compile) == trained([], jit_compile)


def test_the_clock_gives_the_train_function_back(tmp_path):
    model = toy()
    original = model.make_train_function()
    writer = tf.summary.create_file_writer(str(tmp_path))
    fit(model, [monitor.Scalars(writer, 2, lambda: 0)], steps=2)
    assert model.train_function is original


def frames_of_scenes(count, size=32):
    source = clips.SyntheticScenes(count=count, height=40, width=56)
    found = monitor.fixed_clips(source, count)
    return np.stack([monitor.centre_view(clip, size)[0] for clip in found])


def test_probe_sees_through_an_encoder_that_knows_where_it_is(tmp_path):
    frames = frames_of_scenes(4)
    ratios = {}
    for position in (0.0, 100.0):
        model = toy(position=position)
        writer = tf.summary.create_file_writer(str(tmp_path / str(position)))
        probe = monitor.Probe(writer, 2, model, frames, 0.1)
        fit(model, [probe, monitor.HeldOut(writer, 2, lambda: 0.25)], steps=4)
        found = events(tmp_path / str(position))
        assert sorted(found['probe/collapse_ratio']) == [0, 2, 4]
        assert float(found['probe/held_out_score'][4]) == 0.25
        ratios[position] = float(found['probe/collapse_ratio'][4])
    assert ratios[100.0] == pytest.approx(16 / (1 + 15 * np.exp(-10)), rel=0.05)
    assert ratios[0.0] < 4


def test_probe_and_pictures_of_a_resumed_run_wait_for_their_step(tmp_path):
    model = toy()
    model.counters['step'].assign(3)
    writer = tf.summary.create_file_writer(str(tmp_path))
    fit(model, [monitor.Probe(writer, 5, model, frames_of_scenes(2), 0.1)], steps=4)
    assert sorted(events(tmp_path)['probe/collapse_ratio']) == [5]


class Unreadable(clips.SyntheticScenes):
    """Synthetic scenes of which the even ones are corrupt."""

    def read(self, video, position, count, frame_rate):
        if video % 2 == 0:
            raise clips.UnreadableVideo(self.name(video), 'corrupt')
        return super().read(video, position, count, frame_rate)


def test_fixed_clips_are_the_same_every_time_from_different_videos():
    source = clips.SyntheticScenes(count=50, height=40, width=56)
    once, again = monitor.fixed_clips(source, 5), monitor.fixed_clips(source, 5)
    np.testing.assert_array_equal(once, again)
    assert np.shape(once) == (5, 4, 40, 56, 3)
    assert len({clip.tobytes() for clip in once}) == 5


def test_fixed_clips_pass_over_what_cannot_be_read():
    assert len(monitor.fixed_clips(Unreadable(count=40, height=16, width=16), 5)) == 5
    assert len(monitor.fixed_clips(Unreadable(count=2, height=16, width=16), 5)) == 1


def test_centre_view_keeps_the_middle_square():
    frames = np.zeros((2, 8, 16, 3), np.uint8)
    frames[:, :, 4:12] = 200
    assert (monitor.centre_view(frames, 8) == 200).all()
    assert monitor.centre_view(frames.transpose(0, 2, 1, 3), 4).shape == (2, 4, 4, 3)


class Keeper:
    """Notes what it is asked to keep."""

    def __init__(self):
        self.scores = []

    def save_if_best(self, score):
        self.scores.append(score)


def watch(model, tmp_path, source, keeper=None, **settings):
    sampler = views.ViewSampler(view_size=32, colours=(None, None))
    return monitor.watch(
        model,
        source=source,
        view_sampler=sampler,
        model_dir=str(tmp_path),
        steps=4,
        skipped=clips.SkippedVideos(),
        keeper=keeper,
        **{'log_interval': 2, 'probe_interval': 2, 'picture_interval': 4, 'probe_videos': 3, **settings},
    )


@pytest.mark.parametrize('interval', [0, 7])
def test_those_who_follow_begin_their_meters_anew_when_the_chief_does(tmp_path, interval):
    source = clips.SyntheticScenes(count=4)
    shown = watch(toy(), tmp_path, source, log_interval=interval, probe_interval=0, picture_interval=0)
    assert monitor.metering_interval(shown) == interval
    for callbacks in (shown, monitor.follow(interval)):
        model = toy()
        fit(model, callbacks, steps=3)
        # At the end of a run, the meters of an interval that is not over are written too.
        assert float(model.meter.result()) == (0 if interval else 20)
        assert monitor.metering_interval(callbacks) == interval


def test_watch_writes_everything(tmp_path):
    model, keeper = toy(), Keeper()
    source = clips.SyntheticScenes(count=9, height=40, width=56)
    callbacks = watch(
        model, tmp_path, source, keeper, held_out_score=lambda learner: float(learner.step)
    )
    fit(model, callbacks, steps=4)
    found = events(tmp_path / 'tensorboard')
    assert sorted(found['train/loss']) == [2, 4]
    assert sorted(found['probe/collapse_ratio']) == [0, 2, 4]
    assert keeper.scores == [0.0, 2.0, 4.0]
    for name in ('views', 'features', 'affinity'):
        assert sorted(found[f'pictures/{name}']) == [0, 4]
    assert found['pictures/features'][4].shape == (2 * 128 + 4, 4 * 128 + 3 * 4, 3)
    assert len(found['configuration']) == 1
    # Features of this encoder are its frames' colours: the lower row must vary as the upper does.
    assert found['pictures/features'][4][132:].std() > 20
    np.testing.assert_array_equal(found['pictures/views'][0], found['pictures/views'][4])


def test_watch_of_a_single_video_compares_it_with_built_in_scenes(tmp_path):
    source = Unreadable(count=2, height=16, width=16)
    assert len(monitor.unrelated_clips(source, 8)) == 3
    model = toy()
    fit(model, watch(model, tmp_path, source), steps=4)
    found = events(tmp_path / 'tensorboard')
    assert sorted(found['train/loss']) == [2, 4]
    assert sorted(found['probe/collapse_ratio']) == [0, 2, 4]


def test_a_run_that_only_skips_is_ended(caplog):
    model = toy()

    class Skip(tf.keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if model.step != 2:
                model.counters['skipped'].assign_add(1)

    with pytest.raises(errors.UserError, match='3 steps in a row'):
        fit(model, [Skip(), monitor.SkippedSteps(patience=3)], steps=9)
    assert model.step == 5  # the third of the steps 3, 4, 5


def test_view_picture_of_one_track_covers_everything():
    view = np.full((1, 2, 16, 16, 3), 90, np.uint8)
    matrix = np.diag([-2.0, 2.0, 1.0])[np.newaxis]
    picture = monitor.view_picture({'views': view, 'view_from_frame': matrix})
    panels = [picture[-128:, left : left + 128] for left in (0, 132, 264, 396)]
    assert all((panel == 90).all() for panel in panels[:3]) and (panels[3] == 255).all()


def test_view_picture_lays_the_same_content_over_itself():
    frames = monitor.fixed_clips(clips.SyntheticScenes(count=1, height=96, width=128), 1)[0]
    sampler = views.ViewSampler(view_size=128, crop_area=(0.5, 1.0), colours=(None, None))
    for seed in range(6):
        sample = sampler(tf.constant(frames), tf.constant([seed, 1]))
        picture = monitor.view_picture({name: value.numpy() for name, value in sample.items()})
        _, backward, mixed, mask = (
            picture[-128:, 132 * panel : 132 * panel + 128].astype(float) for panel in range(4)
        )
        visible = mask[..., 0] > 0
        assert visible.mean() > 0.2
        # Half of what differs shows; wrong matrices (swapped, equal) give 18 to 30.
        assert np.abs(mixed - backward)[visible].mean() < 1


def test_affinity_picture_shows_a_diagonal_only_where_there_is_one():
    position = np.eye(16).reshape(4, 4, 16)
    picture = monitor.affinity_picture(position, position, np.roll(position, 5, axis=-1), 0.05)
    left, right = (picture[-256:, start : start + 256].astype(int) for start in (0, 260))
    bright, dark = left[0, 0].sum(), left[0, 255].sum()
    assert bright > 2 * dark
    assert all(left[16 * i, 16 * i].sum() == bright for i in range(16))
    assert all(right[16 * i, 16 * i].sum() == dark for i in range(16))


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def progress_of(stream, steps=4, goal=10, **settings):
    model = toy()
    fit(model, [progress.Progress(goal, stream, **settings)], steps)
    return stream.getvalue()


def test_progress_lines_in_a_file():
    lines = progress_of(io.StringIO(), seconds=0.0).splitlines()
    assert lines[0].startswith('step 1 of 10  loss 10.0000')
    assert len(lines) == 5
    assert re.fullmatch(r'step 4 of 10  loss 25\.0000  [\d.]+ clips/s  \d+ s left', lines[-1])


def test_progress_in_a_terminal_stays_on_one_line():
    text = progress_of(Terminal(), seconds=0.0)
    assert text.count('\n') == 1 and text.endswith('\n')
    assert text.count('\r') == 5
    assert len({len(part) for part in text.strip('\n').split('\r')[1:]}) == 1


def test_progress_is_sparing():
    lines = progress_of(io.StringIO(), seconds=1000.0).splitlines()
    assert [line.split('  ')[0] for line in lines] == ['step 1 of 10', 'step 4 of 10']


def test_estimate_of_the_time_left():
    line = progress.Progress(1000, io.StringIO())
    model = toy()
    line.set_model(model)
    line._start = 100.0, 10, 40
    model.counters['step'].assign(110)
    model.counters['clips_seen'].assign(440)
    assert line.line(150.0, {'loss': 1.0}) == (
        'step 110 of 1,000  loss 1.0000  8.0 clips/s  7 min left'
    )


@pytest.mark.parametrize(
    'seconds, text',
    [
        (0.4, '0 s'),
        (59.4, '59 s'),
        (59.6, '1 min'),
        (3569, '59 min'),
        (3599, '1 h 0 min'),
        (12000, '3 h 20 min'),
        (86390, '1 d 0 h'),
        (190800, '2 d 5 h'),
    ],
)
def test_durations(seconds, text):
    assert progress.duration(seconds) == text
