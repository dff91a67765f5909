"""The code blocks of the pages in docs/ run as printed, in their order."""

import json
import pathlib
import re
import shutil
import subprocess
import sys

from google.protobuf import text_format
import made_videos
import numpy as np
from PIL import Image
import pytest
import serving_stand_in
from tensorflow_serving.config import model_server_config_pb2

from stfc3_tf.clips import synthetic
from stfc3_tf.model import resnet
from stfc3_tf.serving import saved_model

DOCS = pathlib.Path(__file__).parents[2] / 'docs'


def blocks(page, language):
    """Return the code blocks of a page in one language."""
    text = (DOCS / page).read_text()
    found = re.findall(rf'^```{language}\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)
    assert found
    return found


def run(code, variables):
    """Run a block with the variables of the blocks before it."""
    exec(compile(code, '<block>', 'exec'), variables)


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """Make a folder with version 1 of a small encoder."""
    folder = tmp_path_factory.mktemp('stfc3')
    saved_model.export(resnet.resnet18(width=4, head_widths=(12, 6)), str(folder / '1'))
    return folder


@pytest.fixture(scope='module')
def server(model):
    with serving_stand_in.Server(str(model)) as server:
        yield server


@pytest.mark.slow
def test_python_interface(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    variables = {}
    for block in blocks('python.md', 'python'):
        run(block, variables)
    masks, first_mask = variables['masks'], variables['first_mask']
    assert len(masks) == 10 and np.array_equal(masks[0], first_mask)
    assert set(np.unique(masks[9])) == {0, 1, 2}
    by_frame = variables['by_frame']
    assert list(by_frame) == [10, 11, 12, 13, 14] and np.array_equal(by_frame[12], first_mask)
    assert variables['annotation'].description()[0].startswith('frame 12: object 1: 5,833 pixels')
    # Frame 4 of the clip is the labelled one; the others are in the order of time around it.
    tracks = variables['tracks']
    assert tracks.shape == (72, 2, 2)
    np.testing.assert_array_equal(tracks[4], variables['middle_points'])
    np.testing.assert_array_equal(tracks[0], variables['before'][-1])
    assert variables['features'].shape == (2, 30, 40, 128)
    assert len(variables['coloured']) == 10
    assert variables['difference'] < 1e-4
    assert (tmp_path / 'exports' / 'tflite' / 'MODEL_CARD.md').exists()
    assert variables['carried'].shape == (30, 40, 3)


def test_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made_videos.write(tmp_path / 'clip.mp4', [0.0, 0.1, 0.2])
    (block,) = blocks('../README.md', 'python')
    variables = {'first_points': [[20.0, 30.0], [40.0, 20.0]]}
    run(block, variables)
    assert variables['label'].points.shape == (2, 2)
    assert variables['label'].confidence.shape == (2,)


@pytest.mark.slow
def test_own_videos(tmp_path, monkeypatch):
    """The first commands of the page, in a folder beside the samples, then its Python."""
    for folder in ('stfc3_tf', 'tools', 'gin'):
        (tmp_path / folder).symlink_to(DOCS.parent / folder)
    monkeypatch.chdir(tmp_path)
    first, *_ = blocks('own_videos.md', 'bash')
    script = first.replace('python -m', f'{sys.executable} -m')
    subprocess.run(['bash', '-e', '-c', script], check=True)
    variables = {}
    for block in blocks('own_videos.md', 'python'):
        run(block, variables)
    # The cup is tilted, but not lost; 72 frames of five points.
    with Image.open(DOCS.parent / 'stfc3_tf' / 'samples' / 'cup_mask.png') as image:
        marked = (np.array(image) == 1).sum()
    assert 0.2 < (variables['mask'] == 1).sum() / marked < 2
    assert len(variables['thumb']) == 72 and len(variables['rows']) == 5 * 72
    assert (variables['result']['first_frame'], variables['result']['last_frame']) == (0, 71)


@pytest.mark.slow
def test_serving_in_python(server, tmp_path, monkeypatch, capsys):
    """Every name is defined on the page: the blocks start from nothing but frame.png."""
    frame = synthetic.scene(0, 64, 80).frame(0.0)
    Image.fromarray(frame).save(tmp_path / 'frame.png')
    monkeypatch.chdir(tmp_path)
    variables = {}
    by_rest, by_grpc, *others = blocks('serving.md', 'python')
    run(here(by_rest, server), variables)
    expected = variables['features']
    assert expected.shape == (8, 10, 16)
    given = 'frames = np.zeros([1, 480, 854, 3], np.uint8)\n'
    assert given in by_grpc
    variables['frame'] = frame
    run(here(by_grpc.replace(given, 'frames = frame[np.newaxis]\n'), server), variables)
    np.testing.assert_array_equal(variables['features'][0], expected)
    del variables['frame']
    capsys.readouterr()
    for block in others:
        run(here(block, server), variables)
    assert len(capsys.readouterr().out.splitlines()) == 2 * len(variables['frames'])


def here(code, server):
    """Return code with the addresses of this test's server."""
    code = code.replace('http://localhost:8501', server.rest)
    return code.replace('localhost:8500', server.grpc.split('//')[1])


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which('curl'), reason='needs curl')
def test_serving_by_curl(server, tmp_path):
    Image.fromarray(synthetic.scene(0, 64, 80).frame(0.0)).save(tmp_path / 'frame.png')
    describe, encoded = (block for block in blocks('serving.md', 'bash') if 'curl' in block)

    def shell(script):
        script = here(script, server)
        return subprocess.run(
            ['bash', '-e', '-c', script], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    description = json.loads(json.loads(shell(describe))['predictions'][0])
    assert description['cell_grid'] == {'first': 0.0, 'stride': 8}
    shell(encoded)
    (prediction,) = json.loads((tmp_path / 'response.json').read_text())['predictions']
    assert prediction['shape'] == [8, 10, 16] and prediction['features_bytes']['b64']


def test_the_servers_configuration_is_one():
    configuration, _ = blocks('serving.md', 'proto')
    parsed = text_format.Parse(configuration, model_server_config_pb2.ModelServerConfig())
    (config,) = parsed.model_config_list.config
    assert config.name == 'stfc3' and config.base_path == '/models/stfc3'
    assert list(config.model_version_policy.specific.versions) == [1, 2]
