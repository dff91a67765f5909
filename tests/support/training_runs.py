"""Small runs of `stfc3_tf.train` as processes, and what they leave."""

import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import tensorflow as tf

ROOT = pathlib.Path(__file__).parents[2]
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
# Probes and pictures do not change a run; most runs here do without.
UNWATCHED = ['watch.probe_interval = 0', 'watch.picture_interval = 0']


def command(model_dir, *more, bindings=(), program=('-m', 'stfc3_tf.train'), gin='gin/stfc3.gin'):
    settings = [f'--gin_bindings={b}' for b in (*BINDINGS, *bindings)]
    return [
        *(sys.executable, *program),
        *(f'--gin_file={ROOT}/{gin}', f'--model_dir={model_dir}'),
        *(*settings, *more),
    ]


def environment():
    return {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2', 'CUDA_VISIBLE_DEVICES': ''}


def call(arguments):
    """Run a process to its end; return its status, and output with errors."""
    done = subprocess.run(
        arguments,
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stdout


def run(*arguments, **keywords):
    return call(command(*arguments, **keywords))


def run_until_signal(model_dir, number, step, more=()):
    """Run until the process sends itself a signal at the end of a step."""
    bindings = [
        *UNWATCHED,
        *more,
        'train.watch = @watch_and_signal',
        f'watch_and_signal.number = {int(number)}',
        f'watch_and_signal.step = {step}',
    ]
    program = (str(ROOT / 'tests' / 'support' / 'signalled_training.py'),)
    return run(model_dir, bindings=bindings, program=program)


def kill_after(model_dir, step):
    status, output = run_until_signal(model_dir, signal.SIGKILL, step)
    assert status == -signal.SIGKILL, output


def final_values(model_dir):
    """Return what the last checkpoint holds; the best score depends on how a run is watched."""
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
