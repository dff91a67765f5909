"""The command, run as a user runs it."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image
import tensorflow as tf

ROOT = pathlib.Path(__file__).parent.parent


def run(*arguments, folder):
    return subprocess.run(
        [sys.executable, '-m', 'tools.evaluate', *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'TF_CPP_MIN_LOG_LEVEL': '2'},
    )


def make_davis(root):
    (root / 'ImageSets/2017').mkdir(parents=True)
    (root / 'ImageSets/2017/val.txt').write_text('ball\n')
    for kind in ('JPEGImages', 'Annotations'):
        (root / kind / '480p/ball').mkdir(parents=True)
    for number in range(4):
        mask = np.zeros((64, 96), np.uint8)
        mask[16:48, 8 + 16 * number : 40 + 16 * number] = 1
        frame = np.where(mask[..., None] > 0, [220, 40, 30], [30, 90, 200]).astype(np.uint8)
        Image.fromarray(frame).save(root / f'JPEGImages/480p/ball/{number:05d}.jpg', quality=95)
        Image.fromarray(mask).save(root / f'Annotations/480p/ball/{number:05d}.png')
    return f'--data_dir={root}'


def test_colours_follow_a_red_square_that_identity_loses(tmp_path):
    data = make_davis(tmp_path / 'davis')
    scores = {}
    for baseline in ('colour', 'identity'):
        done = run(
            '--task=davis',
            data,
            f'--baseline={baseline}',
            f'--output_dir={tmp_path / baseline}',
            folder=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        results = json.loads((tmp_path / baseline / 'results.json').read_text())
        scores[baseline] = results['metrics']['J-Mean']
        assert f'{scores[baseline]:.4f}' in done.stdout and 'ball' in done.stdout
        assert results['protocol'] == 'davis_crw' and results['saved_model'] is None
    # The square moves by half its side, then by its whole side.
    np.testing.assert_allclose(scores['identity'], (1 / 3 + 0) / 2)
    assert scores['colour'] > 0.9


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
    arguments = ('--task=davis', data, f'--output_dir={tmp_path / "out"}')
    done = run(*arguments, f'--saved_model={tmp_path / "model"}', folder=tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / 'out/results.json').read_text())
    assert results['metrics']['J-Mean'] > 0.9
    assert results['saved_model'] == str(tmp_path / 'model')
    assert len(results['settings']['model']['saved_model_sha256']) == 64


def test_mistakes_end_with_one_line_and_status_1(tmp_path):
    data = make_davis(tmp_path / 'davis')
    output = f'--output_dir={tmp_path / "out"}'
    for arguments, named in (
        ([data], '--saved_model or --baseline'),
        ([data, '--baseline=identity', '--saved_model=x'], '--saved_model or --baseline'),
        (['--baseline=identity'], '--data_dir'),
        ([data, '--baseline=identity', f'--gin_file={ROOT / "gin/eval/jhmdb_crw.gin"}'], "'jhmdb'"),
        ([data, '--saved_model=absent'], 'absent'),
    ):
        done = run('--task=davis', output, *arguments, folder=tmp_path)
        assert done.returncode == 1
        assert named in done.stderr.splitlines()[-1] and 'Traceback' not in done.stderr
    assert not (tmp_path / 'out').exists()
