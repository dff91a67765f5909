"""`python -m stfc3_tf.train` as a user runs it: trained, killed, stopped, resumed, refused."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import types

import av
import gin
import numpy as np
import pytest
import tensorflow as tf

from test_learner import tiny_learner

from stfc3_tf import checkpoints, errors, monitor, training
from stfc3_tf.command import parse_gin

ROOT = pathlib.Path(__file__).parent.parent
STEPS = 12
BINDINGS = [
    f'train.steps = {STEPS}',
    'train.batch_size = 2',
    'train.clip_frames = 3',
    'train.checkpoint_interval = 4',
    'resnet18.width = 4',
    'resnet18.head_widths = (8, 6)',
    'ViewSampler.view_size = 48',
]
# The looks at a run must not change it; most runs here do without.
UNWATCHED = ['watch.probe_interval = 0', 'watch.picture_interval = 0']


def command(model_dir, *more, bindings=(), program=('-m', 'stfc3_tf.train')):
    settings = [f'--gin_bindings={b}' for b in (*BINDINGS, *bindings)]
    return [
        sys.executable,
        *program,
        f'--gin_file={ROOT}/gin/stfc3.gin',
        f'--model_dir={model_dir}',
        *settings,
        *more,
    ]


def environment():
    return {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2', 'CUDA_VISIBLE_DEVICES': ''}


def run(*arguments, **keywords):
    done = subprocess.run(
        command(*arguments, **keywords),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stdout


def run_until_signal(model_dir, number, step, more=()):
    """Runs until the process sends itself a signal at the end of a step."""
    bindings = [
        *UNWATCHED,
        *more,
        'train.watch = @watch_and_signal',
        f'watch_and_signal.number = {int(number)}',
        f'watch_and_signal.step = {step}',
    ]
    return run(
        model_dir, bindings=bindings, program=(str(ROOT / 'tests' / 'signalled_training.py'),)
    )


def final_values(model_dir):
    """What the last checkpoint holds of the run; the best score is one of looking at it."""
    path = tf.train.latest_checkpoint(str(model_dir / 'checkpoints' / 'last'))
    assert path.endswith(f'step-{STEPS}'), path
    reader = tf.train.load_checkpoint(path)
    names = [
        n
        for n in reader.get_variable_to_shape_map()
        if not any(other in n for other in ('save_counter', 'OBJECT_GRAPH', 'best_score'))
    ]
    return {name: reader.get_tensor(name) for name in names}


def assert_same_run(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
    model_dir = tmp_path_factory.mktemp('unbroken')
    status, output = run(model_dir)
    assert status == 0, output
    return model_dir, output


def test_a_run_leaves_configuration_checkpoints_logs_and_export(unbroken):
    model_dir, output = unbroken
    assert 'synthetic scenes' in output  # it says that no data were given
    assert f'train.steps = {STEPS}' in (model_dir / 'config.gin').read_text()
    kept = sorted(p.name for p in (model_dir / 'checkpoints' / 'last').glob('*.index'))
    assert kept == ['step-12.index', 'step-4.index', 'step-8.index']
    assert list(model_dir.rglob('events.out.tfevents.*'))
    module = tf.saved_model.load(str(model_dir / 'saved_model'))
    features = module.signatures['features'](frames=tf.zeros([1, 40, 56, 3], tf.uint8))['features']
    assert features.shape == (1, 5, 7, 16)


def test_a_killed_run_goes_on_as_if_it_never_was(unbroken, tmp_path):
    status, _ = run_until_signal(tmp_path, signal.SIGKILL, step=6)
    assert status == -signal.SIGKILL
    assert not (tmp_path / 'saved_model').exists()
    status, output = run(tmp_path, bindings=UNWATCHED)
    assert status == 0 and 'Resuming from step 4' in output, output
    assert_same_run(final_values(unbroken[0]), final_values(tmp_path))


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_saves_first_and_says_so(unbroken, tmp_path, number):
    status, output = run_until_signal(tmp_path, number, step=6)
    assert status == 128 + number, output
    assert 'the checkpoint is written' in output and 'Traceback' not in output
    status, output = run(tmp_path, bindings=UNWATCHED)
    assert status == 0 and 'Resuming from step 6' in output, output
    assert_same_run(final_values(unbroken[0]), final_values(tmp_path))


def test_a_run_on_a_schedule_goes_on_along_it(unbroken, tmp_path):
    schedule = ['LEARNING_RATE = @CosineDecay()', 'CosineDecay.initial_learning_rate = 1e-3']
    schedule.append(f'CosineDecay.decay_steps = {STEPS}')
    status, output = run(tmp_path / 'unbroken', bindings=[*UNWATCHED, *schedule])
    assert status == 0, output
    status, output = run_until_signal(tmp_path / 'stopped', signal.SIGTERM, 6, schedule)
    assert status == 128 + signal.SIGTERM, output
    status, output = run(tmp_path / 'stopped', bindings=[*UNWATCHED, *schedule])
    assert status == 0 and 'Resuming from step 6' in output, output
    values = final_values(tmp_path / 'unbroken')
    assert_same_run(values, final_values(tmp_path / 'stopped'))
    constant = final_values(unbroken[0])  # the schedule made a difference
    assert any(np.abs(values[n] - constant[n]).max() > 1e-3 for n in values if 'encoder' in n)


@pytest.mark.parametrize('precision', ['float32', 'float16'])
def test_the_learning_rate_of_a_resumed_run_is_that_of_its_configuration(tmp_path, precision):
    def optimizer(rate):
        made = tf.keras.optimizers.Adam(rate)
        return tf.keras.mixed_precision.LossScaleOptimizer(made) if precision == 'float16' else made

    for rate in (1e-2, 2e-3):
        learner = tiny_learner(optimizer=optimizer(rate))
        keeper = checkpoints.Checkpoints(learner, str(tmp_path))
        assert keeper.restore() == (None if rate == 1e-2 else 0)
        np.testing.assert_allclose(learner.optimizer.learning_rate.numpy(), rate)
        keeper.save()


def test_a_run_stopped_while_it_is_built_does_not_speak_of_a_checkpoint(tmp_path):
    status, output = run_until_signal(tmp_path, signal.SIGTERM, step=0)
    assert status == 128 + signal.SIGTERM, output
    assert 'at step 0' in output and 'nothing was learnt yet' in output
    assert 'the checkpoint is written' not in output
    assert not list((tmp_path / 'checkpoints').rglob('step-*'))


def saves_of(model_dir):
    """How many checkpoints had been written when the last one was."""
    path = tf.train.latest_checkpoint(str(model_dir / 'checkpoints' / 'last'))
    return tf.train.load_checkpoint(path).get_tensor('save_counter/.ATTRIBUTES/VARIABLE_VALUE')


def test_a_checkpoint_is_written_once(tmp_path):
    learner = tiny_learner()
    keeper = checkpoints.Checkpoints(learner, str(tmp_path))
    for _ in range(2):
        keeper.save()
    assert saves_of(tmp_path) == 1 and keeper.last_step == 0
    keeper.best_score.assign(0.5)  # The step is the same, but the best score must not be forgotten.
    keeper.save()
    assert saves_of(tmp_path) == 2
    learner.counters['step'].assign(1)
    keeper.save()
    assert saves_of(tmp_path) == 3 and keeper.last_step == 1


def test_the_last_step_is_kept_before_the_training_loop_is_taken_down(tmp_path):
    learner = tiny_learner()
    keeper = checkpoints.Checkpoints(learner, str(tmp_path))
    saving = checkpoints.SaveCheckpoints(keeper, interval=4, minutes=60.0)
    saving.set_model(learner)
    for step in range(1, 7):
        learner.counters['step'].assign(step)
        saving.on_train_batch_end(step)
    assert keeper.last_step == 4
    saving.on_train_end()
    assert keeper.last_step == 6 and saves_of(tmp_path) == 2


def test_who_leaves_writing_to_another_writes_nothing(tmp_path):
    keeper = checkpoints.Checkpoints(tiny_learner(), str(tmp_path), writes=False)
    keeper.save()
    assert keeper.last_step == 0 and not list(tmp_path.rglob('step-*'))


def test_who_stops_a_run_does_not_wait_for_looks_at_it():
    scores = []
    look = monitor.HeldOut(tf.summary.create_noop_writer(), 2, lambda: scores.append(0) or 0.0)
    for stopping in (False, True):
        look.set_model(types.SimpleNamespace(step=4, stop_training=stopping))
        look.on_train_batch_end(0)
    assert len(scores) == 1


def test_other_clips_are_refused_on_resuming(unbroken):
    status, output = run(unbroken[0], bindings=['train.seed = 5'])
    assert status == 1
    assert 'seed was 0, is 5' in output and 'Traceback' not in output


def test_a_truncated_checkpoint_is_passed_over(unbroken, tmp_path):
    shutil.copytree(unbroken[0] / 'checkpoints', tmp_path / 'checkpoints')
    data = tmp_path / 'checkpoints' / 'last' / 'step-12.data-00000-of-00001'
    data.write_bytes(data.read_bytes()[:1000])
    status, output = run(tmp_path, bindings=UNWATCHED)
    assert status == 0, output
    assert 'trying the one before it' in output and 'Resuming from step 8' in output
    assert_same_run(final_values(unbroken[0]), final_values(tmp_path))


def write_video(path, frames=20):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (64, 80 + frames, 3), dtype=np.uint8)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('mpeg4', rate=16)
        stream.width, stream.height, stream.pix_fmt = 80, 64, 'yuv420p'
        for t in range(frames):
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(picture[:, t : t + 80]), format='rgb24'
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_a_corrupt_video_is_skipped_counted_and_named(tmp_path):
    videos = tmp_path / 'videos'
    videos.mkdir()
    for name in ('one.mp4', 'two.mp4'):
        write_video(videos / name)
    (videos / 'broken.mp4').write_bytes((videos / 'one.mp4').read_bytes()[:200])
    status, output = run(
        tmp_path / 'run', f'--data={videos}', bindings=[*UNWATCHED, 'train.steps = 4']
    )
    assert status == 0, output
    assert '1 videos could not be read' in output or '1 video could not be read' in output
    assert 'broken.mp4' in output


def test_a_mistake_is_said_in_one_message(tmp_path):
    status, output = run(tmp_path, '--data=/nowhere/videos')
    assert status == 1
    assert '/nowhere/videos' in output and 'Traceback' not in output


@pytest.mark.parametrize(
    'binding,message',
    [
        ('Learner.temprature = 1', 'temprature'),
        ('LERNING_RATE = 1', 'LERNING_RATE'),
        ('foward/ColourAugmentation.hue = 0', 'foward/ColourAugmentation.hue'),
        ('Adam.lerning_rate = 1', 'lerning_rate'),
        ("Learner.cycles = 'some'", "'some'"),
        ('Learner.accumulation_steps = 4', 'accumulation_steps = 4'),
        ("resnet18.padding = 'none'", 'view_size = 48'),
        ("resnet18.padding = 'mirror'", 'mirror'),
        ("train.devices = ['GPU:7']", 'GPU:7'),
        ("train.strategy = 'mirored'", 'mirored'),
        ('train.checkpoint_interval = 0', 'checkpoint_interval = 0'),
    ],
)
def test_a_wrong_setting_is_named_before_training(tmp_path, binding, message):
    gin.clear_config()
    bindings = [*BINDINGS, binding]
    with pytest.raises(errors.UserError, match=re.escape(message)):
        parse_gin([f'{ROOT}/gin/stfc3.gin'], bindings)
        training.train(str(tmp_path), None, bindings)
    gin.clear_config()
    assert not (tmp_path / 'config.gin').exists()


@pytest.mark.parametrize('precision', ['float32', 'float16'])
def test_a_learning_rate_must_last_as_long_as_the_run(precision):
    schedule = tf.keras.optimizers.schedules.CosineDecay(1e-3, decay_steps=10)
    optimizer = tf.keras.optimizers.Adam(schedule)
    if precision == 'float16':
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    training.check_schedule(optimizer, 10)
    with pytest.raises(errors.UserError, match='rate of step 12, the last, is 0'):
        training.check_schedule(optimizer, 12)
    training.check_schedule(tf.keras.optimizers.SGD(0.5), 10**9)


def test_a_schedule_that_keras_does_not_know_is_left_unchecked():
    class Falling(tf.keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 1.0 / (1.0 + tf.cast(step, tf.float32))

        def get_config(self):
            return {}

    optimizer = tf.keras.optimizers.SGD(Falling())
    with pytest.raises(TypeError):
        tf.keras.optimizers.schedules.deserialize(checkpoints.configured_rate(optimizer))(9)
    training.check_schedule(optimizer, 10)


def test_room_is_asked_for_what_is_not_there_yet(tmp_path, monkeypatch):
    (tmp_path / 'checkpoints' / 'last').mkdir(parents=True)
    (tmp_path / 'checkpoints' / 'last' / 'step-1.data').write_bytes(bytes(600_000))
    usage = types.SimpleNamespace(free=500_000)
    monkeypatch.setattr(checkpoints.shutil, 'disk_usage', lambda path: usage)
    checkpoints.check_writable(str(tmp_path), 1_100_000)
    with pytest.raises(errors.UserError, match='0.00 GB left'):
        checkpoints.check_writable(str(tmp_path), 1_100_001)


def test_a_folder_that_cannot_be_written_is_said_at_the_start(tmp_path):
    (tmp_path / 'file').write_text('not a folder')
    status, output = run(tmp_path / 'file' / 'run')
    assert status == 1
    assert 'cannot be written' in output and 'Traceback' not in output
