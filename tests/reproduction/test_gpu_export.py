"""tools/gpu_step: the views of the step equal the sampler's; what is exported is complete."""

import importlib
import json
import pathlib
import re
import subprocess
import sys

import made_shards
import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf import clips
from stfc3_tf.propagation import compiled_propagator
from stfc3_tf.propagation.settings import PropagationSettings

ROOT = pathlib.Path(__file__).parents[2]
SMALL = (
    'ViewSampler.view_size = 48',
    'resnet18.width = 4',
    'resnet18.head_widths = (8, 8)',
    'train.batch_size = 2',
)


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> str:
    """Four videos of 8 frames, two of them wide and two high."""
    folder = tmp_path_factory.mktemp('shards')
    scenes = clips.SyntheticScenes()
    with tf.io.TFRecordWriter(str(folder / 'clips-00000.tfrecord')) as writer:
        for number in range(4):
            frames = scenes.read(number, 0.5, 8, 8.0)
            frames = frames[:, :60, :90] if number % 2 else frames[:, :80, :56]
            writer.write(made_shards.record(frames, np.arange(8) / 8, f'video {number}'))
    return str(folder)


def export(data: str, *arguments: str) -> str:
    bindings = [f'--gin_bindings={setting}' for setting in SMALL]
    return run('export_step', f'--data={data}', *arguments, *bindings)


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, f'tools/gpu_step/{script}.py', *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={'PYTHONPATH': str(ROOT), 'PATH': ''},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_the_views_are_those_of_the_sampler(data):
    said = export(data, '--gin_file=gin/stfc3.gin', '--output=unused', '--check')
    levels, share = re.search(r'at most (\d+) grey levels; (\S+) of', said).groups()
    assert int(levels) <= 1
    assert float(share) < 1e-3


@pytest.mark.slow
def test_what_is_written_holds_clips_step_and_every_variable(data, tmp_path):
    export(data, '--gin_file=gin/fc3_zero.gin', f'--output={tmp_path}', '--steps=3')
    about = json.loads((tmp_path / 'step.json').read_text())
    samples, frames = np.load(tmp_path / 'samples.npz'), np.load(tmp_path / 'frames.npz')
    assert samples['frames'].shape == (6, 4)
    # Videos and clips both have 8 frames per second.
    assert (np.diff(samples['frames'], axis=1) == 1).all()
    assert {tuple(size) for size in samples['sizes']} <= {(60, 90), (80, 56)}
    assert frames['lengths'].sum() == len(frames['data']) and len(frames['lengths']) == 32
    assert about['canvas'] == [32, 80, 90, 3]
    of_encoder = [v['name'] for v in about['variables'] if v['of_encoder']]
    # Kernels, batch normalisations, the head's bias.
    assert len(of_encoder) == len(set(of_encoder)) == 22 + 4 * 21 + 1
    values = np.load(tmp_path / 'values.npz')
    kernels = {v['kernel'] for v in about['variables']} - {None}
    assert kernels == set(range(22)) and len(about['seeds']) == 22
    assert set(values.files) == {
        f'v{i}' for i, v in enumerate(about['variables']) if v['kernel'] is None
    }
    assert (tmp_path / 'step.hlo').stat().st_size and (tmp_path / 'initial.hlo').stat().st_size
    # Everything but the constant learning rate comes back changed.
    updated = {parameter - about['inputs'] for parameter in about['output_to_parameter'].values()}
    constant = [v['name'] for i, v in enumerate(about['variables']) if i not in updated]
    assert constant == ['learning_rate:0']


@pytest.mark.slow
def test_exported_propagation_comes_with_inputs_and_labels_that_belong_together(
    tmp_path, monkeypatch
):
    grid = '--grid=7,15', '--channels=8', '--frames=5', '--videos=2'
    binding = '--gin_bindings=PropagationSettings.radius = 3'
    run('export_propagation', f'--output={tmp_path}', *grid, binding)
    about = json.loads((tmp_path / 'propagation.json').read_text())
    assert about['settings']['radius'] == 3 and not about['tf32']
    monkeypatch.syspath_prepend(str(ROOT / 'tools/gpu_step'))
    module = importlib.import_module('random_video')
    videos = [module.random_video(n, about['shape'], about['labels']) for n in (0, 1)]
    features, labels = (np.stack(each) for each in zip(*videos))
    settings = PropagationSettings(**about['settings'])
    carried = compiled_propagator.propagate_clips(features, labels, settings)
    np.testing.assert_allclose(carried[:, -1], np.load(tmp_path / 'last_labels.npy'), atol=2e-6)
    # No code that only a CPU has.
    hlo = (tmp_path / 'propagation.hlo').read_bytes()
    assert len(hlo) > 10_000 and b'custom-call' not in hlo
