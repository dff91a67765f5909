"""The built wheel, used in a folder outside the checkout as if there were no checkout."""

import csv
import json
import os
import pathlib
import shutil
import subprocess
import sys

import made_videos
import numpy as np
from PIL import Image
import pytest

from stfc3_tf.clips import synthetic

ROOT = pathlib.Path(__file__).parents[2]
SOURCES = ['stfc3_tf', 'gin', 'tools', 'setup.py', 'pyproject.toml', 'README.md', 'LICENSE']

pytestmark = pytest.mark.slow


def run(*arguments, **options):
    result = subprocess.run(
        [*map(str, arguments)], capture_output=True, text=True, timeout=600, **options
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """Return the folder into which the wheel was unpacked, without its dependencies."""
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check']
    build = ['wheel', '--no-deps', '--no-build-isolation', '-w', folder, source]
    run(*pip, *build)
    (wheel,) = folder.glob('*.whl')
    run(*pip, 'install', '--no-deps', '--target', folder / 'site', wheel)
    shutil.rmtree(source)
    return folder / 'site'


@pytest.fixture
def stfc3(installed, tmp_path):
    """Return a function that runs `stfc3` in an empty folder, and returns what was printed."""
    environment = {**os.environ, 'PYTHONPATH': str(installed), 'CUDA_VISIBLE_DEVICES': '-1'}

    def call(*arguments):
        command = [sys.executable, installed / 'bin' / 'stfc3', *arguments]
        return run(*command, cwd=tmp_path, env=environment)

    return call


def test_the_package_is_the_installed_one(installed):
    said = run(
        *[sys.executable, '-c', 'import stfc3_tf.commands.console, sys; print(stfc3_tf.__file__)'],
        cwd=installed.parent,
        env={**os.environ, 'PYTHONPATH': str(installed)},
    )
    assert pathlib.Path(said.stdout.strip()).parent == installed / 'stfc3_tf'


def test_a_built_in_scene_is_propagated_from_start_to_files(stfc3, tmp_path):
    scene = synthetic.scene(1, 96, 128)
    made_videos.write(tmp_path / 'clip.mp4', np.arange(9) / 8, lambda n: scene.frame(n / 8))
    Image.fromarray(scene.masks(0.0).astype(np.uint8)).save(tmp_path / 'mask.png')
    stfc3('propagate', '--video=clip.mp4', '--mask=mask.png', '--output_dir=out')
    masks = sorted((tmp_path / 'out' / 'masks').glob('*.png'))
    assert len(masks) == 9
    first, last = (np.asarray(Image.open(path)) for path in (masks[0], masks[-1]))
    np.testing.assert_array_equal(first, scene.masks(0.0))
    truth = scene.masks(1.0) > 0
    assert np.sum(truth & (last > 0)) / np.sum(truth | (last > 0)) > 0.5
    assert (tmp_path / 'out' / 'overlay.mp4').stat().st_size > 1000
    with open(tmp_path / 'out' / 'confidence.csv') as file:
        assert {row['frame'] for row in csv.DictReader(file)} == {str(n) for n in range(9)}


def test_training_finds_its_configuration_by_name_and_exports(stfc3, tmp_path):
    bindings = ['train.steps = 2', 'train.batch_size = 1', 'resnet18.width = 4']
    bindings += ['resnet18.head_widths = (8, 6)', 'ViewSampler.view_size = 48', 'STEPS = 2']
    bindings += ['watch.held_out_score = None', 'watch.picture_interval = 0']
    flags = [f'--gin_bindings={binding}' for binding in bindings]
    stfc3('train', '--gin_file=small/stfc3.gin', *flags, '--model_dir=run')
    assert (tmp_path / 'run' / 'saved_model' / 'saved_model.pb').exists()


def test_evaluation_finds_its_protocol(stfc3, tmp_path):
    arguments = ['--task=synthetic', '--baseline=identity', '--output_dir=out']
    stfc3('evaluate', *arguments)
    results = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert results['protocol'] == 'synthetic' and results['metrics']


def test_reproduction_finds_its_plan(stfc3):
    assert (
        'parts, about'
        in stfc3('reproduce', '--benchmarks=synthetic', '--output_dir=out', '--list').stdout
    )
