"""Every method trains, is watched, resumes and exports by the same command."""

import forked_commands
import numpy as np
from PIL import Image
import pytest

import stfc3_tf
from stfc3_tf.figures import events

TINY = [
    *('train.batch_size = 2', 'train.checkpoint_interval = 1', 'watch.log_interval = 1'),
    *('watch.probe_interval = 1', 'watch.probe_videos = 2'),
    *('watch.held_out_score = None', 'resnet18.width = 4'),
]
PATCHES = [
    'PATCH_SIZE = 16',
    'PATCH_STRIDE = 8',
    'PatchSampler.view_size = 32',
    'watch.picture_interval = 1',
]
VIEWS = ['ViewSampler.view_size = 48', 'watch.picture_interval = 0']


def pictures(folder):
    """Write pictures of several sizes; return the folder."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(coarse).resize((96, 72 + 8 * number)).save(folder / f'picture{number}.jpg')
    return folder


@pytest.fixture(scope='module')
def started():
    with forked_commands.Starter() as starter:
        yield starter


def train(started, method, folder, steps, bindings, more):
    """Run the command that trains; return its status and its output."""
    settings = [*TINY, *bindings, f'train.steps = {steps}', 'STEPS = 3']
    arguments = [
        f'--gin_file=gin/small/{method}.gin',
        *(f'--model_dir={folder}', *more),
        *(f'--gin_bindings={setting}' for setting in settings),
    ]
    log = folder.with_name('log')
    return started.run('stfc3_tf.train', arguments, log), log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    'method,bindings,lengths',
    [('crw', PATCHES, (1, 2)), ('label_warp', VIEWS, (1,)), ('still_images', VIEWS, (1,))],
)
def test_a_method_trains_resumes_and_exports(tmp_path, started, method, bindings, lengths):
    folder, more = tmp_path / 'run', []
    if method == 'still_images':
        more = [f'--data={pictures(tmp_path / "pictures")}']
    for steps in lengths:
        status, output = train(started, method, folder, steps, bindings, more)
        assert status == 0, output
    scalars = events.read_scalars(str(folder))
    steps, losses = scalars['train/loss']
    # A run that began again would have step 1 twice.
    assert tuple(steps) == lengths and np.all(np.isfinite(losses))
    ratios = scalars['probe/collapse_ratio'][1]
    assert len(ratios) == 1 + len(lengths) and np.all((ratios > 0.3) & (ratios < 4))
    encoder = stfc3_tf.load(str(folder / 'saved_model'))
    features = encoder.features(np.zeros([1, 64, 80, 3], np.uint8))
    assert features.shape[:3] == (1, 8, 10)
