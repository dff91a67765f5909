"""The code blocks of docs/python.md and docs/serving.md run as printed, in their order."""

import json
import pathlib
import re
import shutil
import subprocess

from google.protobuf import text_format
import made_videos
import numpy as np
from PIL import Image
import pytest
import serving_stand_in
from tensorflow_serving.config import model_server_config_pb2

from stfc3_tf import encoder
from stfc3_tf import serving
from stfc3_tf.clips import synthetic

DOCS = pathlib.Path(__file__).parent.parent / 'docs'


def blocks(page, language):
    """The code blocks of a page in one language."""
    text = (DOCS / page).read_text()
    found = re.findall(rf'^```{language}\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)
    assert found
    return found


def run(code, variables):
    """Runs a block among the variables that the blocks before it left."""
    exec(compile(code, '<block>', 'exec'), variables)


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """A folder with version 1 of a small encoder."""
    folder = tmp_path_factory.mktemp('stfc3')
    serving.export(encoder.resnet18(width=4, head_widths=(12, 6)), str(folder / '1'))
    return folder


@pytest.fixture(scope='module')
def server(model):
    with serving_stand_in.Server(str(model)) as server:
        yield server


def test_python_interface(model, tmp_path, monkeypatch):
    scene = synthetic.scene(1, 96, 128)
    made_videos.write(tmp_path / 'clip.mp4', np.arange(7) / 8, lambda n: scene.frame(n / 8))
    (tmp_path / 'runs' / 'mine').mkdir(parents=True)
    (tmp_path / 'runs' / 'mine' / 'saved_model').symlink_to(model / '1')
    monkeypatch.chdir(tmp_path)
    variables = {}
    for block in blocks('python.md', 'python'):
        run(block, variables)
    masks, first_mask = variables['masks'], variables['first_mask']
    assert len(masks) == 10 and np.array_equal(masks[0], first_mask)
    assert set(np.unique(masks[9])) <= set(np.unique(first_mask))
    # Frame 4 of the clip is the labelled one; the others are in the order of time around it.
    tracks = variables['tracks']
    assert tracks.shape == (7, 2, 2)
    np.testing.assert_array_equal(tracks[4], variables['first_points'])
    np.testing.assert_array_equal(tracks[0], variables['backwards'][-1])
    assert variables['features'].shape == (2, 12, 16, 16)
    assert variables['carried'].shape == (12, 16, 3)


def test_serving_in_python(server, tmp_path, monkeypatch, capsys):
    scene = synthetic.scene(0, 64, 80)
    Image.fromarray(scene.frame(0.0)).save(tmp_path / 'frame.png')
    monkeypatch.chdir(tmp_path)
    frames = [scene.frame(t / 8) for t in range(3)]
    variables = {
        'frames': frames,
        'first_points': np.array([[20.0, 30.0]]),
        'first_labels': np.full((8, 10, 2), 0.5, np.float32),
    }
    by_rest, by_grpc, *others = blocks('serving.md', 'python')
    run(here(by_rest, server), variables)
    expected = variables['features']
    assert expected.shape == (8, 10, 16)
    given = 'frames = np.zeros([1, 480, 854, 3], np.uint8)\n'
    assert given in by_grpc
    variables['frames'] = np.stack(frames[:1])
    run(here(by_grpc.replace(given, ''), server), variables)
    np.testing.assert_array_equal(variables['features'][0], expected)
    variables['frames'] = frames
    capsys.readouterr()
    for block in others:
        run(here(block, server), variables)
    assert len(capsys.readouterr().out.splitlines()) == 2 * len(frames)


def here(code, server):
    """Code for the server of this test."""
    code = code.replace('http://localhost:8501', server.rest)
    return code.replace('localhost:8500', server.grpc.split('//')[1])


@pytest.mark.skipif(not shutil.which('curl'), reason='needs curl')
def test_serving_by_curl(server, tmp_path):
    Image.fromarray(synthetic.scene(0, 64, 80).frame(0.0)).save(tmp_path / 'frame.png')
    describe, encoded = (block for block in blocks('serving.md', 'bash') if 'curl' in block)

    def shell(script):
        script = here(script, server)
        return subprocess.run(
            ['bash', '-e', '-c', script], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    told = json.loads(json.loads(shell(describe))['predictions'][0])
    assert told['cell_grid'] == {'first': 0.0, 'stride': 8}
    shell(encoded)
    (prediction,) = json.loads((tmp_path / 'response.json').read_text())['predictions']
    assert prediction['shape'] == [8, 10, 16] and prediction['features_bytes']['b64']


def test_the_servers_configuration_is_one():
    configuration, _ = blocks('serving.md', 'proto')
    parsed = text_format.Parse(configuration, model_server_config_pb2.ModelServerConfig())
    (config,) = parsed.model_config_list.config
    assert config.name == 'stfc3' and config.base_path == '/models/stfc3'
    assert list(config.model_version_policy.specific.versions) == [1, 2]
