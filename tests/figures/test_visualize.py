"""The command draws every figure, and says what is wrong with what it was given."""

from __future__ import annotations

import fractions
import json
import os
import pathlib
import subprocess
import sys

import av
import numpy as np
from PIL import Image
import pytest
import steady_videos
import tensorflow as tf

from stfc3_tf.clips import video_writer
from stfc3_tf.model import resnet
from stfc3_tf.serving import saved_model
from stfc3_tf.storage import images

ROOT = pathlib.Path(__file__).parents[2]
# Width / height of the pixels of a video.
WIDE = fractions.Fraction(16, 9)

# The command again and again in one process: its flags would meet those of other commands' tests,
# and TensorFlow takes seconds to start.
PROGRAM = """
import json, sys
from absl import flags
from absl.testing import flagsaver
from stfc3_tf import errors
from tools import visualize
for line in sys.stdin:
    answer = ''
    with flagsaver.flagsaver():
        try:
            flags.FLAGS(['visualize', *json.loads(line)])
            visualize.main([])
        except (errors.UserError, flags.Error) as error:
            answer = str(error)
    print('answer', json.dumps(answer), flush=True)
"""


def environment():
    return {**os.environ, 'PYTHONPATH': str(ROOT), 'TF_CPP_MIN_LOG_LEVEL': '2'}


@pytest.fixture(scope='module')
def visualize():
    """Run the command; return its error message, or ''."""
    process = subprocess.Popen(
        [sys.executable, '-c', PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )

    def ask(*arguments):
        process.stdin.write(json.dumps([str(argument) for argument in arguments]) + '\n')
        process.stdin.flush()
        for line in process.stdout:
            if line.startswith('answer '):
                return json.loads(line.removeprefix('answer '))
        raise AssertionError('the command ended')

    yield ask
    process.stdin.close()
    process.wait(timeout=60)


@pytest.fixture(scope='module')
def given(tmp_path_factory):
    """Make a model, two videos, masks, results and a run."""
    folder = tmp_path_factory.mktemp('given')
    model = resnet.resnet18(width=4, head_widths=(8, 6))
    saved_model.export(model, str(folder / 'model'))
    frames = np.random.default_rng(0).integers(0, 256, (9, 6, 8, 3), np.uint8)
    frames = frames.repeat(8, axis=1).repeat(8, axis=2)
    steady_videos.write(folder / 'one.mp4', frames, 24.0)
    steady_videos.write(folder / 'other.mp4', frames[::-1], 24.0)
    timed = [(number / 24, frame) for number, frame in enumerate(frames)]
    video_writer.write_timed_video(str(folder / 'wide.mp4'), timed, 24.0, WIDE)
    for number in range(9):
        for kind in ('truth', 'found'):
            mask = np.zeros((48, 64), np.uint8)
            mask[8:24, 8 + number : 24 + number + (kind == 'found')] = 1
            images.write_palette_mask(str(folder / kind / f'{number:06d}.png'), mask)
    images.write_palette_mask(str(folder / 'far' / '000900.png'), mask)
    result = {'task': 'davis', 'metrics': {'J': 0.5}, 'sequences': {'dog': {'metrics': {'J': 0.5}}}}
    (folder / 'results.json').write_text(json.dumps(result))
    points = {'axis': 'objects', 'values': [1, 2], 'processor_seconds': [0.1, 0.2]}
    (folder / 'speed.json').write_text(json.dumps({'measurements': {'propagation': points}}))
    with tf.summary.create_file_writer(str(folder / 'run' / 'tensorboard')).as_default():
        for step in range(1, 4):
            tf.summary.scalar('train/loss', 1 / step, step=step)
    return folder


FIGURES = {
    'features': ['--saved_model=ours={}/model', '--video={}/one.mp4', '--frames=4'],
    'affinity': [
        '--saved_model=ours={}/model',
        '--saved_model=again={}/model',
        '--video={}/one.mp4',
        '--unrelated_video={}/other.mp4',
        '--size=64',
    ],
    'labels': [
        '--video={}/one.mp4',
        '--truth={}/truth',
        '--predictions=ours={}/found',
        '--frames=3',
    ],
    'scores': ['--results=a={}/results.json', '--results=b={}/results.json'],
    'curves': ['--run=ours={}/run', '--smoothing=0.5'],
    'speed': ['--speed=ours={}/speed.json', '--speed=again={}/speed.json'],
}


def arguments(kind, folder):
    return [f'--figure={kind}', *(text.format(folder) for text in FIGURES[kind])]


@pytest.mark.parametrize('kind', FIGURES)
def test_every_figure_is_drawn(kind, visualize, given, tmp_path):
    output = tmp_path / 'new' / 'figure.png'
    assert visualize(*arguments(kind, given), f'--output={output}') == ''
    picture = np.asarray(Image.open(output).convert('RGB'))
    assert picture.shape[1] > 900 and picture.std() > 5
    # Nothing is cut off: the outermost pixels are paper.
    for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (edge == 255).all()
    assert [file.name for file in output.parent.iterdir()] == ['figure.png']


def test_features_become_a_video(visualize, given, tmp_path):
    output = tmp_path / 'features.mp4'
    complaint = visualize(
        '--figure=features',
        f'--saved_model=ours={given}/model',
        f'--video={given}/one.mp4',
        f'--output={output}',
        '--start=0.1',
    )
    assert complaint == ''
    with av.open(str(output)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, np.arange(6) / 24, atol=1e-3)


@pytest.mark.parametrize('kind', ['features', 'labels'])
def test_pixels_that_are_not_square_keep_their_shape(kind, visualize, given, tmp_path):
    sizes = []
    for name in ('one', 'wide'):
        output = tmp_path / f'{name}.png'
        more = [f'--video={given}/{name}.mp4', f'--output={output}']
        assert visualize(*arguments(kind, given), *more) == ''
        sizes.append(np.array(Image.open(output).size))
    # Both are as wide as the page, so wider pictures are lower.
    assert sizes[1][0] == pytest.approx(sizes[0][0], rel=0.02)
    assert sizes[1][1] < 0.75 * sizes[0][1]


def test_a_video_of_features_keeps_the_shape_of_pixels(visualize, given, tmp_path):
    output = tmp_path / 'features.mp4'
    more = [f'--video={given}/wide.mp4', f'--output={output}', '--duration=0.1']
    assert visualize('--figure=features', f'--saved_model=ours={given}/model', *more) == ''
    with av.open(str(output)) as container:
        assert container.streams.video[0].sample_aspect_ratio == WIDE


@pytest.mark.parametrize(
    'kind, more, message',
    [
        (
            'features',
            ['--smoothing=0.1'],
            '--figure=features does not use --smoothing: leave it out.',
        ),
        ('curves', ['--frames=6', '--size=256'], '--figure=curves does not use --frames, --size'),
        ('features', ['--frames=20'], 'one.mp4: the chosen part has 9 frames, but 20 are needed'),
        (
            'features',
            ['--duration=3'],
            'one.mp4 ends at 0.333 s, but frames from 0 s to 3 s are needed',
        ),
        ('features', ['--saved_model=model='], '--saved_model=model=: give NAME=PATH.'),
        ('features', ['--saved_model=there/ours'], '--saved_model: two are called ours; give'),
        ('features', ['--saved_model=b={}/run'], 'run holds no SavedModel'),
        ('features', ['--video={}/results.json'], 'results.json cannot be read as a video'),
        ('affinity', ['--unrelated_video={}/gone.mp4'], 'gone.mp4: there is no such video file'),
        ('affinity', ['--later=0.01'], 'one.mp4: the chosen part has 1 frame, but 2 are needed'),
        (
            'labels',
            ['--frames=10'],
            '9 of 9 frames have a label in all --predictions and --truth',
        ),
        (
            'labels',
            ['--predictions=a={}/found', '--predictions=b={}/far'],
            'b: none of its labels is of a frame of ',
        ),
        ('labels', ['--truth={}/far'], '--truth: none of its labels is of a frame of '),
        ('labels', ['--truth={}/gone'], 'gone: expected a folder of .png masks'),
        ('scores', ['--metric=F'], "a: dog has no metric 'F', only J"),
        ('scores', ['--results=c={}/gone.json'], 'gone.json is missing or cannot be read'),
        ('curves', ['--run=b={}/model'], 'model holds no TensorBoard event files'),
        ('curves', ['--tags=loss'], 'No run has the scalar loss'),
        ('speed', ['--speed=b={}/results.json'], 'results.json'),
    ],
)
def test_what_is_wrong_is_named(kind, more, message, visualize, given, tmp_path):
    more = [text.format(given) for text in more]
    complaint = visualize(*arguments(kind, given), *more, f'--output={tmp_path}/figure.png')
    assert message in complaint
    assert not list(tmp_path.iterdir())


def test_a_video_takes_no_number_of_frames(visualize, given, tmp_path):
    complaint = visualize(*arguments('features', given), f'--output={tmp_path}/features.mp4')
    assert complaint == '--figure=features as a video does not use --frames: leave it out.'


def test_what_is_missing_is_named(visualize, tmp_path):
    complaint = visualize('--figure=affinity', f'--output={tmp_path}/a.png', '--video=a.mp4')
    assert complaint == '--figure=affinity needs --saved_model, --unrelated_video.'


@pytest.mark.slow
def test_an_output_that_cannot_be_written_is_known_before_there_is_work(visualize, tmp_path):
    (tmp_path / 'file').write_text('kept')
    # Neither is opened: there is no such video and no such model.
    rest = '--figure=features', '--saved_model=a=missing', '--video=missing.mp4'
    complaint = visualize(*rest, f'--output={tmp_path}/file/figure.png')
    assert complaint.startswith(f'{tmp_path}/file/figure.png cannot be written: ')
    (tmp_path / 'folder.mp4').mkdir()
    complaint = visualize(*rest, f'--output={tmp_path}/folder.mp4')
    assert complaint == f'{tmp_path}/folder.mp4 is a folder: name a file to write.'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['file', 'folder.mp4']


@pytest.mark.slow
def test_the_exit_status_is_that_of_a_command(given, tmp_path):
    def run(*more):
        return subprocess.run(
            [sys.executable, '-m', 'tools.visualize', *more],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment(),
            check=False,
        )

    done = run(*arguments('scores', given), '--output=scores.pdf')
    assert (done.returncode, done.stdout) == (0, 'Wrote scores.pdf\n')
    failed = run(*arguments('scores', given), '--output=scores.gif')
    assert failed.returncode == 1 and 'Traceback' not in failed.stderr
    assert 'error: scores.gif: its ending must be one of .pdf, .svg, .png' in failed.stderr
