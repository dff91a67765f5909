"""The command, run as a user runs it."""

import json
import os
import pathlib
import subprocess
import sys

from absl import flags
from absl.testing import flagsaver
import gin
from made_davis import make_davis
import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf import errors

ROOT = pathlib.Path(__file__).parents[2]


def run(*arguments, folder):
    return subprocess.run(
        [sys.executable, '-m', 'tools.evaluate', *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'TF_CPP_MIN_LOG_LEVEL': '2'},
    )


def evaluate(*arguments):
    """Run the command without a new process."""
    from tools import evaluate as tool  # Its flags would meet those of other commands' tests.

    with flagsaver.flagsaver():
        flags.FLAGS(['evaluate', *arguments])
        tool.main([])


@pytest.mark.slow
def test_the_command_follows_a_red_square_by_its_colour(tmp_path):
    data = make_davis(tmp_path / 'davis')
    output = f'--output_dir={tmp_path / "out"}'
    done = run('--task=davis', data, '--baseline=colour', output, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / 'out' / 'results.json').read_text())
    score = results['metrics']['J-Mean']
    assert score > 0.9
    assert f'{score:.4f}' in done.stdout and 'ball' in done.stdout
    assert results['protocol'] == 'davis_crw' and results['saved_model'] is None


def test_identity_loses_what_moves(tmp_path, capsys):
    data = make_davis(tmp_path / 'davis')
    evaluate('--task=davis', data, '--baseline=identity', f'--output_dir={tmp_path / "out"}')
    # The square moves by half its side, then by its whole side.
    results = json.loads((tmp_path / 'out' / 'results.json').read_text())
    np.testing.assert_allclose(results['metrics']['J-Mean'], (1 / 3 + 0) / 2)
    assert '0.1667' in capsys.readouterr().out


class Colours(tf.Module):
    """A SavedModel made elsewhere: its features have any length."""

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name='frames')])
    def features(self, frames):
        means = tf.nn.avg_pool2d(tf.cast(frames, tf.float32), 8, 8, 'SAME')
        return {'features': 1000 * (means - 128)}


def test_any_saved_model_with_features_is_evaluated(tmp_path):
    data = make_davis(tmp_path / 'davis')
    module = Colours()
    tf.saved_model.save(module, str(tmp_path / 'model'), signatures={'features': module.features})
    model = f'--saved_model={tmp_path / "model"}'
    evaluate('--task=davis', data, model, f'--output_dir={tmp_path / "out"}')
    results = json.loads((tmp_path / 'out/results.json').read_text())
    assert results['metrics']['J-Mean'] > 0.9
    assert results['saved_model'] == str(tmp_path / 'model')
    assert len(results['settings']['model']['saved_model_sha256']) == 64
    assert results['settings']['model']['cell_grid'] == {'first': 0.0, 'stride': 8}


def test_another_place_of_the_cells_is_another_model(tmp_path):
    data = make_davis(tmp_path / 'davis')
    module = Colours()
    path = tmp_path / 'model'
    tf.saved_model.save(module, str(path), signatures={'features': module.features})
    arguments = ('--task=davis', data, f'--saved_model={path}', f'--output_dir={tmp_path / "out"}')
    evaluate(*arguments)
    record = tmp_path / 'out' / 'sequences' / 'ball.json'
    before = json.loads(record.read_text())['fingerprint']
    (path / 'assets.extra').mkdir(exist_ok=True)
    grid = '{"cell_grid": {"first": 3.5, "stride": 8}}'
    (path / 'assets.extra' / 'stfc3.json').write_text(grid)
    gin.clear_config()
    evaluate(*arguments)
    assert json.loads(record.read_text())['fingerprint'] != before


@pytest.mark.parametrize(
    'arguments,named',
    [
        (['--data_dir=x'], '--saved_model or --baseline'),
        (['--data_dir=x', '--baseline=identity', '--saved_model=x'], '--saved_model or --baseline'),
        (['--baseline=identity'], '--data_dir'),
        (
            [
                '--data_dir=x',
                '--baseline=identity',
                f'--gin_file={ROOT / "gin/eval/jhmdb_crw.gin"}',
            ],
            "'jhmdb'",
        ),
    ],
)
def test_mistakes_are_named(tmp_path, arguments, named):
    with pytest.raises(errors.UserError, match=named):
        evaluate('--task=davis', f'--output_dir={tmp_path / "out"}', *arguments)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    'baseline,binding',
    [
        ('colour', "ImageNetFeatures.network = 'ResNet101'"),
        ('identity', 'RandomFeatures.seed = 1'),
        ('colour', 'JhmdbPose.split = 2'),
        # `RandomFeatures.padding` decides.
        ('random', "resnet18.padding = 'zero'"),
    ],
)
def test_a_setting_without_effect_is_refused(tmp_path, baseline, binding):
    data = make_davis(tmp_path / 'davis')
    output = f'--output_dir={tmp_path / "out"}'
    name = binding.split(' = ')[0]
    with pytest.raises(errors.UserError, match=f'uses the setting {name}'):
        evaluate(
            '--task=davis', data, output, f'--baseline={baseline}', f'--gin_bindings={binding}'
        )
    assert not (tmp_path / 'out').exists()


def test_the_propagation_of_a_protocol_may_be_set_for_copying_too(tmp_path):
    data = make_davis(tmp_path / 'davis')
    shared = '--gin_bindings=PropagationSettings.radius = 5.0'
    evaluate(
        '--task=davis', data, '--baseline=identity', shared, f'--output_dir={tmp_path / "out"}'
    )
    assert (tmp_path / 'out' / 'results.json').exists()


@pytest.mark.slow
def test_a_mistake_ends_with_one_line_and_status_1(tmp_path):
    data = make_davis(tmp_path / 'davis')
    output = f'--output_dir={tmp_path / "out"}'
    done = run('--task=davis', data, output, '--saved_model=absent', folder=tmp_path)
    assert done.returncode == 1
    assert 'absent' in done.stderr.splitlines()[-1] and 'Traceback' not in done.stderr
    assert not (tmp_path / 'out').exists()
