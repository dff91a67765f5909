"""Where a file cannot be written, every command says so in one line, and what was there stays.

No file may be longer than `LARGEST` bytes, as on a disk that is full. The short file by which
commands check a folder at their start passes, the results do not.
"""

import shutil

import forked_commands
import made_davis
import made_videos
import moving_patches
import numpy as np
import pytest
import small_reproduction
import training_runs

from tests.model import test_torch_weights
from tests.project import test_kills

LARGEST = 100
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def starter():
    with forked_commands.Starter() as started:
        yield started


@pytest.fixture(scope='module')
def given(starter, tmp_path_factory):
    """A folder with a run, its export, a checkpoint of PyTorch, videos, a data set and a plan."""
    folder = tmp_path_factory.mktemp('given')
    settings = [*training_runs.BINDINGS, *training_runs.UNWATCHED, 'train.steps = 1']
    bindings = [f'--gin_bindings={setting}' for setting in settings]
    arguments = ['--gin_file=gin/stfc3.gin', f'--model_dir={folder / "run"}', *bindings]
    assert starter.run('stfc3_tf.train', arguments, folder / 'log') == 0
    arrays = test_torch_weights.torch_arrays(test_torch_weights.small_encoder())
    test_torch_weights.write_arrays(folder / 'torch.pth', arrays)
    made_davis.make_davis(folder / 'davis')
    moving_patches.write_folder(folder / 'frames')
    moving_patches.write_mask(folder / 'mask.png', 0)
    (folder / 'points.csv').write_text('name,x,y\nnose,20,30\n')
    (folder / 'videos').mkdir()
    made_videos.write(folder / 'videos' / 'a.mp4', np.arange(20) / 10)
    (folder / 'plan').mkdir()
    small_reproduction.write_plan(folder / 'plan')
    return folder


FEATURES = ['tools.visualize', '--figure=features', '--saved_model=a={given}/run/saved_model']
PROPAGATE = ['tools.propagate', '--saved_model={given}/run/saved_model', '--video={given}/frames']
TRAIN = ['stfc3_tf.train', '--gin_file=gin/stfc3.gin', '--gin_bindings=train.steps = 1']
COMMANDS = {
    'train': [*TRAIN, '--model_dir={out}'],
    'prepare': ['tools.prepare_clips', '--input={given}/videos', '--output={out}', '--workers=1'],
    'saved_model': ['tools.export', '--model_dir={given}/run', '--output_dir={out}'],
    'onnx': ['tools.export', '--model_dir={given}/run', '--output_dir={out}', '--format=onnx'],
    'tflite': ['tools.export', '--model_dir={given}/run', '--output_dir={out}', '--format=tflite'],
    'compact': [
        'tools.export',
        '--model_dir={given}/run',
        '--output_dir={out}',
        '--format=compact',
    ],
    'import': ['tools.import_torch', '--checkpoint={given}/torch.pth', '--output_dir={out}'],
    'evaluate': [
        *('tools.evaluate', '--task=davis', '--data_dir={given}/davis', '--baseline=colour'),
        '--output_dir={out}',
    ],
    'masks': [*PROPAGATE, '--mask={given}/mask.png', '--output_dir={out}'],
    'points': [*PROPAGATE, '--points={given}/points.csv', '--output_dir={out}'],
    'features': [*FEATURES, '--video={given}/frames', '--frames=2', '--output={out}/a.png'],
    'feature video': [*FEATURES, '--video={given}/frames', '--output={out}/a.mp4'],
    'affinity': [
        *('tools.visualize', '--figure=affinity', '--saved_model=a={given}/run/saved_model'),
        *('--video={given}/frames', '--unrelated_video={given}/frames', '--output={out}/a.png'),
    ],
    'benchmark': ['tools.benchmark', '--what=machine', '--output={out}/a.json'],
    'frame': ['tools.frame', '--video={given}/frames', '--output={out}/a.png'],
    'curves': ['tools.visualize', '--figure=curves', '--run=a={given}/run', '--output={out}/a.pdf'],
    'score': ['tools.score', '--model_dir={given}/run', '--output_dir={out}'],
    'reproduce': ['tools.reproduce', '--plan={given}/plan/plan.gin', '--output_dir={out}'],
}
# What an earlier call left; these commands replace it, or put their results beside it.
EARLIER = {
    'saved_model': 'run/saved_model',
    'import': 'run/saved_model',
    'evaluate': 'davis',
    'features': 'frames',
    'feature video': 'frames',
    'score': 'frames',
}


@pytest.mark.parametrize('name', COMMANDS)
def test_a_full_disk_is_one_line_and_loses_nothing(name, starter, given, tmp_path):
    output = tmp_path / 'output'
    if name in EARLIER:
        shutil.copytree(given / EARLIER[name], output)
    before = test_kills.files_in(tmp_path)
    module, *arguments = (text.format(given=given, out=output) for text in COMMANDS[name])
    log = given / f'{name}.log'
    status = starter.run(module, arguments, log, largest_file=LARGEST)
    said = log.read_text()
    errors = [line for line in said.splitlines() if line.startswith('error: ')]
    assert status == 1 and len(errors) == 1 and 'Traceback' not in said, said
    after = test_kills.files_in(tmp_path)
    assert before.items() <= after.items()
    assert all(len(contents) <= LARGEST for path, contents in after.items() if path not in before)
