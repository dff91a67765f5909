"""`python -m stfc3_tf.train` as a user runs it: trained, killed, stopped, resumed, refused."""

import json
import re
import shutil
import signal
import subprocess
import sys

import av
import gin
import numpy as np
import pytest
import tensorflow as tf
from training_runs import (
    BINDINGS,
    ROOT,
    STEPS,
    UNWATCHED,
    assert_same_run,
    call,
    command,
    environment,
    final_values,
    kill_after,
    run,
    run_until_signal,
)

from stfc3_tf import errors
from stfc3_tf.commands.configuration import parse_gin
from stfc3_tf.training import run as training
from stfc3_tf.training import settings

pytestmark = pytest.mark.slow


def test_a_run_leaves_configuration_checkpoints_logs_and_export(unbroken):
    model_dir, output = unbroken
    assert 'synthetic scenes' in output  # it says that no data were given
    assert f'Wrote {model_dir}/saved_model' in output
    assert f'train.steps = {STEPS}' in (model_dir / 'config.gin').read_text()
    kept = sorted(p.name for p in (model_dir / 'checkpoints' / 'last').glob('*.index'))
    assert kept == ['step-12.index', 'step-4.index', 'step-8.index']
    assert list(model_dir.rglob('events.out.tfevents.*'))
    module = tf.saved_model.load(str(model_dir / 'saved_model'))
    features = module.signatures['features'](frames=tf.zeros([1, 40, 56, 3], tf.uint8))['features']
    assert features.shape == (1, 5, 7, 16)


def test_a_killed_run_resumes_with_the_results_of_an_unbroken_one(unbroken, tmp_path):
    kill_after(tmp_path, step=6)
    assert not (tmp_path / 'saved_model').exists()
    unfinished = tmp_path / 'checkpoints' / 'last' / 'step-8_temp'
    unfinished.mkdir()
    (unfinished / 'part-00000-of-00001.data').write_bytes(b'half')
    status, output = run(tmp_path, bindings=UNWATCHED)
    assert status == 0 and 'Resuming from step 4' in output, output
    assert not unfinished.exists()
    assert_same_run(final_values(unbroken[0]), final_values(tmp_path))


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_saves_first_and_says_so(unbroken, tmp_path, number):
    status, output = run_until_signal(tmp_path, number, step=6)
    assert status == 128 + number, output
    assert 'the checkpoint is written' in output and 'Traceback' not in output
    assert output.count('Stopping after this step, then writing a checkpoint') == 1, output
    status, output = run(tmp_path, bindings=UNWATCHED)
    assert status == 0 and 'Resuming from step 6' in output, output
    assert_same_run(final_values(unbroken[0]), final_values(tmp_path))


def test_a_run_whose_output_nobody_reads_saves_first(unbroken, tmp_path):
    """As after Ctrl-C in `train | tee log`, which ends tee, too."""
    code = (
        'import runpy\n'
        'from stfc3_tf import progress\n'
        'progress._FILE_PAUSE = 1e-9  # Each step is shown.\n'
        'runpy.run_module("stfc3_tf.train", run_name="__main__", alter_sys=True)\n'
    )
    with subprocess.Popen(
        command(tmp_path / 'run', bindings=UNWATCHED, program=('-c', code)),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        _, errors_shown = process.communicate(timeout=300)
    said = errors_shown.decode()
    assert process.returncode == 141 and 'Traceback' not in said, said
    step = int(re.search(r'the checkpoint is written, at step (\d+)', said).group(1))
    assert 0 < step < STEPS
    status, output = run(tmp_path / 'run', bindings=UNWATCHED)
    assert status == 0 and f'Resuming from step {step}' in output, output
    assert_same_run(final_values(unbroken[0]), final_values(tmp_path / 'run'))


def test_a_run_on_a_schedule_resumes_along_it(unbroken, tmp_path):
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


def test_a_run_stopped_while_it_is_built_does_not_speak_of_a_checkpoint(tmp_path):
    status, output = run_until_signal(tmp_path, signal.SIGTERM, step=0)
    assert status == 128 + signal.SIGTERM, output
    assert 'at step 0' in output and 'nothing was learnt yet' in output
    assert 'the checkpoint is written' not in output
    assert not list((tmp_path / 'checkpoints').rglob('step-*'))


def test_another_method_is_refused_and_changes_nothing(unbroken):
    model_dir = unbroken[0]
    before = (model_dir / 'config.gin').read_text(), (model_dir / 'stream.json').read_text()
    other = ["resnet18.padding = 'zero'", 'ViewSampler.tracks = 1', 'ViewSampler.colours = (None,)']
    status, output = run(model_dir, bindings=[*other, 'train.frame_rate = 4.0'])
    assert status == 1 and 'Traceback' not in output
    (line,) = [line for line in output.splitlines() if line.startswith('error: ')]
    for difference in (
        "resnet18.padding was 'reflect', is 'zero'",
        'ViewSampler.tracks was 2, is 1',
        'train.frame_rate was 8.0, is 4.0',
    ):
        assert difference in line
    assert '--allow_changes' in line
    assert before == (
        (model_dir / 'config.gin').read_text(),
        (model_dir / 'stream.json').read_text(),
    )


def test_changes_that_are_allowed_are_said_and_recorded(unbroken, tmp_path):
    shutil.copytree(unbroken[0], tmp_path / 'run')
    more = [*UNWATCHED, 'train.steps = 13', 'train.seed = 5']
    status, output = run(tmp_path / 'run', '--allow_changes', bindings=more)
    assert status == 0 and 'Resuming from step 12' in output, output
    assert 'train.seed was 0, is 5' in output
    assert 'train.seed was 0, is 5' in (tmp_path / 'run' / 'stream.json').read_text()
    assert 'train.seed = 5' in (tmp_path / 'run' / 'config.gin').read_text()


def test_a_run_that_xla_compiles_ends_with_an_export(tmp_path):
    bindings = [
        *UNWATCHED,
        'train.jit_compile = True',
        "train.strategy = 'default'",
        'train.steps = 2',
    ]
    status, output = run(tmp_path / 'run', bindings=bindings)
    assert status == 0 and 'Traceback' not in output, output
    assert (tmp_path / 'run' / 'saved_model' / 'saved_model.pb').exists()
    assert 'train.jit_compile = True' in (tmp_path / 'run' / 'config.gin').read_text()


def test_a_truncated_checkpoint_is_passed_over(unbroken, tmp_path):
    shutil.copytree(unbroken[0], tmp_path / 'run')
    data = tmp_path / 'run' / 'checkpoints' / 'last' / 'step-12.data-00000-of-00001'
    data.write_bytes(data.read_bytes()[:1000])
    status, output = run(tmp_path / 'run', bindings=UNWATCHED)
    assert status == 0, output
    assert 'the one before it is tried' in output and 'Resuming from step 8' in output
    assert_same_run(final_values(unbroken[0]), final_values(tmp_path / 'run'))


def test_an_export_passes_over_a_damaged_checkpoint_and_a_missing_list(unbroken, tmp_path):
    shutil.copytree(unbroken[0] / 'checkpoints', tmp_path / 'run' / 'checkpoints')
    shutil.copy(unbroken[0] / 'config.gin', tmp_path / 'run')
    last = tmp_path / 'run' / 'checkpoints' / 'last'
    (last / 'checkpoint').unlink()
    index = bytearray((last / 'step-12.index').read_bytes())
    index[len(index) // 2] ^= 255
    (last / 'step-12.index').write_bytes(index)
    out = tmp_path / 'out'
    export = ['-m', 'tools.export', f'--model_dir={tmp_path}/run', f'--output_dir={out}']
    status, output = call([sys.executable, *export])
    assert status == 0 and 'Traceback' not in output, output
    assert 'step-12' in output and 'the one before it is tried' in output
    assert json.loads((out / 'assets.extra' / 'stfc3.json').read_text())['step'] == 8


def test_a_finished_run_says_so_and_its_best_encoder_may_be_the_untrained_one(tmp_path):
    rarely = ('train.steps = 2', 'watch.probe_interval = 100', 'watch.picture_interval = 0')
    for _ in range(2):
        status, output = run(tmp_path / 'run', bindings=rarely)
        assert status == 0, output
    assert 'The run is finished, at step 2' in output and 'steps/s' not in output
    export = ['-m', 'tools.export', f'--model_dir={tmp_path}/run', f'--output_dir={tmp_path}/out']
    status, output = call([sys.executable, *export, '--checkpoint=best'])
    assert status == 0 and 'warning: This is the encoder before training' in output, output


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
    assert 'Skipped 1 video that could not be read' in output and 'broken.mp4' in output


def test_a_mistake_is_said_in_one_message(tmp_path):
    status, output = run(tmp_path, '--data=/nowhere/videos')
    assert status == 1
    assert '/nowhere/videos' in output and 'Traceback' not in output


def test_a_folder_that_cannot_be_written_is_named_at_the_start(tmp_path):
    (tmp_path / 'file').write_text('not a folder')
    status, output = run(tmp_path / 'file' / 'run')
    assert status == 1
    assert 'cannot be written' in output and 'Traceback' not in output


@pytest.mark.parametrize(
    'binding,message',
    [
        ('Learner.temprature = 1', 'temprature'),
        ('LERNING_RATE = 1', 'LERNING_RATE'),
        ('foward/ColourAugmentation.hue = 0', 'foward/ColourAugmentation.hue'),
        ('Adam.lerning_rate = 1', 'lerning_rate'),
        ('LEARNING_RATE = 1e300', 'learning rate of step'),
        ('watch.probe_videos = 3000000000', 'watch.probe_videos=3000000000'),
        ('watch.probe_interval = -1', 'watch.probe_interval=-1'),
        ('Adam.use_ema = True', 'Adam.use_ema: runs with averaged weights cannot be resumed'),
        ("Learner.cycles = 'some'", "'some'"),
        ('Learner.accumulation_steps = 4', 'accumulation_steps = 4'),
        ('Learner.edge_dropout = 10', 'Learner.edge_dropout=10'),
        ('Learner.edge_dropout = 1', 'leaves no edge to take'),
        ('Learner.temperature = -0.05', 'Learner.temperature=-0.05'),
        ('train.checkpoint_minutes = -1', 'train.checkpoint_minutes=-1'),
        ("ViewSampler.colours = 'papers'", "ViewSampler.colours='papers'"),
        ("resnet18.padding = 'none'", 'view_size = 48'),
        ("resnet18.padding = 'mirror'", 'mirror'),
        ("train.devices = ['GPU:7']", 'GPU:7'),
        ("train.strategy = 'mirored'", 'mirored'),
        ('train.checkpoint_interval = 0', 'checkpoint_interval=0'),
    ],
)
def test_a_wrong_setting_is_named_before_training(tmp_path, binding, message):
    gin.clear_config()
    bindings = [*BINDINGS, binding]
    with pytest.raises(errors.UserError, match=re.escape(message)):
        parse_gin([f'{ROOT}/gin/stfc3.gin'], bindings)
        training.train(settings.Settings(), str(tmp_path), None, bindings)
    gin.clear_config()
    assert not (tmp_path / 'config.gin').exists()
