"""A served encoder gives the numbers of the loaded one, and wrong requests say what is wrong.

The server is `serving_stand_in`, which feeds SavedModels as TensorFlow Serving does.
"""

import base64
import csv
import dataclasses
import hashlib
import http.server
import io
import json
import pathlib
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import grpc
import numpy as np
from PIL import Image
import pytest
import serving_stand_in
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from stfc3_tf import errors
from stfc3_tf.annotation import propagate
from stfc3_tf.clips import synthetic
from stfc3_tf.model import resnet
from stfc3_tf.propagation import propagator
from stfc3_tf.serving import client, latency, saved_model, services

ROOT = pathlib.Path(__file__).parents[2]
SETTINGS = propagator.PropagationSettings(context=2, radius=3.0, top_k=3, temperature=0.1)
FRAMES = np.random.default_rng(5).integers(0, 256, (2, 40, 52, 3), np.uint8)


@pytest.fixture(scope='module')
def base_path(tmp_path_factory):
    """Make a folder with version 1 of a small encoder."""
    base_path = tmp_path_factory.mktemp('served')
    network = resnet.resnet18(width=4, head_widths=(12, 6), seed=3)
    saved_model.export(network, str(base_path / '1'), metadata={'step': 7}, settings=SETTINGS)
    return base_path


@pytest.fixture(scope='module')
def served(base_path):
    """Yield a server, and the model that it serves, loaded in this process."""
    with serving_stand_in.Server(str(base_path)) as server:
        yield server, saved_model.load(str(base_path / '1'))


@pytest.fixture(params=['rest', 'grpc'])
def connected(request, served):
    server, loaded = served
    return client.connect(getattr(server, request.param), 'stfc3'), loaded


def test_features_are_those_of_the_loaded_model(connected):
    remote, loaded = connected
    features = remote.features(FRAMES)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, loaded.features(FRAMES))
    assert remote.metadata == loaded.metadata and remote.metadata['step'] == 7
    assert remote.cell_grid == loaded.cell_grid == resnet.CellGrid(0, 8)


def test_propagation_on_the_server(connected):
    remote, loaded = connected
    rng = np.random.default_rng(0)
    maps = loaded.features(rng.integers(0, 256, (3, 40, 52, 3), np.uint8))
    labels = rng.random((2, 5, 7, 4)).astype(np.float32)
    given = maps[2], maps[:2], labels, np.array([True, False])
    found = remote.propagate(*given)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, loaded.propagate(*given), atol=1e-6)


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'repeat_first': False, 'first_among_preceding': False, 'restrict_first': True},
    ],
)
def test_the_context_kept_here_is_that_of_the_propagator(served, changes):
    server, loaded = served
    settings = dataclasses.replace(SETTINGS, **changes)
    remote = client.connect(server.grpc, 'stfc3')
    scene = synthetic.scene(1, 48, 64)
    maps = [loaded.features(scene.frame(t / 8)[None])[0] for t in range(6)]
    first = np.random.default_rng(2).random((6, 8, 3)).astype(np.float32)
    expected = propagator.propagate_stream(maps, first, settings)
    found = client.propagate_stream(remote, maps, first, settings)
    for here, there in zip(expected, found):
        np.testing.assert_allclose(there, here, atol=1e-5)
    assert next(found, None) is None


def test_points_tracked_over_the_server_are_those_tracked_here(connected):
    scene = synthetic.scene(0, 64, 80)
    frames = [scene.frame(t / 8) for t in range(4)]
    points = np.array([[20.0, 30.0], [61.5, 40.25]])
    here, there = (
        [label.points for label in propagate.propagate_points(model, frames, points)]
        for model in connected[::-1]
    )
    assert len(there) == 4 and not np.allclose(there[3], points, atol=0.5)
    np.testing.assert_allclose(there, here, atol=1e-4)


@pytest.mark.slow
def test_the_digest_names_the_weights(served, tmp_path):
    server, _ = served
    network = resnet.resnet18(width=4, head_widths=(12, 6), seed=3)
    settings = client.connect(server.rest, 'stfc3').identity()
    weights = b''.join(array.tobytes() for array in network.get_weights())
    assert settings['weights_sha256'] == hashlib.sha256(weights).hexdigest()
    assert settings['layer'] == 'stage3' and settings['cell_grid'] == {'first': 0, 'stride': 8}
    conv = network.get_layer('conv1')
    conv.set_weights([weights + 1 for weights in conv.get_weights()])
    saved_model.export(network, str(tmp_path / 'other'))
    other = saved_model.load(str(tmp_path / 'other')).metadata
    assert other['weights_sha256'] != settings['weights_sha256']


def post(server, body, model='stfc3'):
    """Return status and JSON of the server's answer."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(f'{server.rest}/v1/models/{model}:predict', body) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def picture(frame, kind='png'):
    with io.BytesIO() as file:
        Image.fromarray(frame).save(file, kind)
        return file.getvalue()


def b64(content):
    return {'b64': base64.b64encode(content).decode()}


def test_rest_by_rows_and_by_columns(served):
    server, loaded = served
    expected = loaded.features(FRAMES)
    rows = [b64(picture(frame)) for frame in FRAMES]
    request = {'signature_name': 'features_encoded', 'instances': rows}
    status, reply = post(server, request)
    assert status == 200
    for prediction, features in zip(reply['predictions'], expected):
        assert prediction['shape'] == [5, 7, 16]
        content = base64.b64decode(prediction['features_bytes']['b64'])
        np.testing.assert_array_equal(np.frombuffer(content, '<f4').reshape(5, 7, 16), features)
    status, reply = post(server, {'signature_name': 'features_encoded', 'inputs': rows})
    assert status == 200 and sorted(reply['outputs']) == ['features_bytes', 'shape']
    # A request that names no signature gives and gets numbers.
    for request, key in (
        ({'instances': FRAMES.tolist()}, 'predictions'),
        ({'inputs': {'frames': FRAMES.tolist()}}, 'outputs'),
    ):
        status, reply = post(server, request)
        assert status == 200
        np.testing.assert_allclose(reply[key], expected, atol=1e-7)


def test_jpeg_grey_and_transparent_pictures(served):
    server, loaded = served
    remote = client.connect(server.rest, 'stfc3')
    grey = FRAMES[0, ..., 0]
    alpha = np.concatenate([FRAMES[0], FRAMES[1, ..., :1]], -1)
    for content, frame in (
        (picture(grey), np.repeat(grey[..., None], 3, -1)),
        (picture(alpha), FRAMES[0]),
        (picture(FRAMES[0], 'jpeg'), tf.io.decode_image(picture(FRAMES[0], 'jpeg')).numpy()),
    ):
        reply = remote._service.predict(
            'features_encoded', {'images': np.array([content], object)}, ['features_bytes', 'shape']
        )
        features = np.frombuffer(reply['features_bytes'][0], '<f4').reshape(reply['shape'][0])
        np.testing.assert_array_equal(features, loaded.features(frame[None])[0])


MAP = np.ones((5, 7, 16), np.float32)
GOOD = {
    'query': MAP,
    'context_features': np.stack([MAP, MAP]),
    'context_labels': np.ones((2, 5, 7, 3), np.float32),
    'unrestricted': np.array([True, False]),
}
PNG = picture(FRAMES[0])

WRONG = {
    'frames of numbers with a fraction': (
        'features',
        {'frames': FRAMES / 255},
        'is not of expected type: uint8',
    ),
    'one frame without a batch': ('features', {'frames': FRAMES[0]}, 'frames_must_be_batch_height'),
    'grey frames': ('features', {'frames': FRAMES[..., :1]}, r'\[\?,\?,\?,3\]'),
    'small frames': (
        'features',
        {'frames': FRAMES[:, :8]},
        r'9 pixels or more high and wide.*\[2 8 52\]',
    ),
    'no frames': ('features', {'frames': FRAMES[:0]}, 'frames_must_be_batch_height'),
    'bytes that are not a picture': (
        'features_encoded',
        {'images': [b'picture']},
        'Unknown image file format',
    ),
    'half a picture': ('features_encoded', {'images': [PNG[:900]]}, 'PNG'),
    'pictures of two sizes': (
        'features_encoded',
        {'images': [PNG, picture(FRAMES[0, :30])]},
        r'must have one size.*\[40 52 3\]\[30 52 3\]',
    ),
    'no pictures': ('features_encoded', {'images': []}, 'images must be 1 or more'),
    'a picture without a batch': ('features_encoded', {'images': PNG}, 'images_must_be_batch'),
    'another grid': (
        'propagate',
        {**GOOD, 'query': MAP[:4]},
        'context_features must have the rows and columns',
    ),
    'labels on another grid': (
        'propagate',
        {**GOOD, 'context_labels': np.ones((2, 4, 7, 3))},
        'context_labels must have the rows and columns',
    ),
    'labels of fewer frames': (
        'propagate',
        {**GOOD, 'context_labels': np.ones((1, 5, 7, 3))},
        'context_labels must have one map per',
    ),
    'unrestricted of more frames': (
        'propagate',
        {**GOOD, 'unrestricted': np.ones(3, bool)},
        'unrestricted must have one value per',
    ),
    'channels of another model': (
        'propagate',
        {**GOOD, 'query': MAP[..., :3]},
        'query_must_be_rows_columns_16_channels',
    ),
    'a batch of queries': ('propagate', {**GOOD, 'query': MAP[None]}, 'query_must_be_rows_columns'),
    'unrestricted as numbers': (
        'propagate',
        {**GOOD, 'unrestricted': np.ones(2, int)},
        'is not of expected type: bool',
    ),
    'another input': ('features', {'images': FRAMES}, 'Missing named input: frames'),
    'another signature': ('tracks', {'frames': FRAMES}, 'signature name: "tracks" not found'),
}


def jsonable(value):
    if isinstance(value, bytes):
        return b64(value)
    return [jsonable(item) for item in value] if isinstance(value, list) else value.tolist()


@pytest.mark.parametrize('case', WRONG)
def test_answers_to_wrong_requests_say_what_is_wrong(served, case):
    signature, inputs, problem = WRONG[case]
    values = {name: jsonable(value) for name, value in inputs.items()}
    status, reply = post(served[0], {'signature_name': signature, 'inputs': values})
    assert status in (400, 404)
    assert re.search(problem, reply['error'], re.DOTALL), reply['error']


def test_grpc_by_hand(served):
    """The requests of the documentation, and one of another type."""
    server, loaded = served
    channel = grpc.insecure_channel(server.grpc.split('//')[1])
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = 'stfc3', 'features'
    request.inputs['frames'].CopyFrom(tf.make_tensor_proto(FRAMES))
    features = tf.make_ndarray(stub.Predict(request, timeout=30).outputs['features'])
    np.testing.assert_array_equal(features, loaded.features(FRAMES))
    request.inputs['frames'].CopyFrom(tf.make_tensor_proto(FRAMES.astype(np.float32)))
    with pytest.raises(grpc.RpcError, match='actual float vs. expect uint8') as failure:
        stub.Predict(request, timeout=30)
    assert failure.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_refusals_reach_the_user_of_the_client(connected):
    remote, _ = connected
    with pytest.raises(errors.UserError, match='frames must be uint8 .* not float64 '):
        remote.features(FRAMES / 255)
    with pytest.raises(errors.UserError, match='(400|INVALID_ARGUMENT).*9 pixels or more'):
        remote.features(FRAMES[:, :8])
    with pytest.raises(errors.UserError, match='unrestricted must have one value per'):
        remote.propagate(MAP, MAP[None], np.ones((1, 5, 7, 2)), np.ones(2, bool))
    with pytest.raises(errors.UserError, match='before start'):
        client.ServedPropagator(remote, SETTINGS).step(MAP)


@pytest.mark.parametrize('kind', ['rest', 'grpc'])
def test_addresses_without_a_server_or_a_model(served, kind):
    server = getattr(served[0], kind)
    with pytest.raises(errors.UserError, match='Servable not found for request: other'):
        client.connect(server, 'other')
    with pytest.raises(errors.UserError, match='Servable not found for request: stfc3 9'):
        client.connect(server, 'stfc3', version=9)
    assert client.connect(server, 'stfc3', version=1).metadata['step'] == 7
    scheme, other = {'rest': ('http', served[0].grpc), 'grpc': ('grpc', served[0].rest)}[kind]
    for address in ('127.0.0.1:9', other.split('//')[1]):
        with pytest.raises(errors.UserError, match='Is the server running, and is this its'):
            client.connect(f'{scheme}://{address}', 'stfc3', timeout=5)
    with pytest.raises(errors.UserError, match='give http://HOST:8501'):
        client.connect(server.split('//')[1], 'stfc3')


class Greeting(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'welcome')

    def log_message(self, *_):
        pass


def test_a_server_of_another_kind():
    with http.server.HTTPServer(('127.0.0.1', 0), Greeting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(errors.UserError, match="not answer as TensorFlow Serving.*b'welcome'"):
            client.connect(f'http://127.0.0.1:{server.server_port}', 'stfc3')
        server.shutdown()


def test_models_of_another_kind(tmp_path):
    module = tf.Module()
    spec = tf.TensorSpec([None], tf.bool, 'ask')
    module.describe = tf.function(
        lambda ask: {'metadata': tf.fill(tf.shape(ask), 'a cat')}, input_signature=[spec]
    )
    for name, signature in (('1', 'describe'), ('2', 'other')):
        tf.saved_model.save(module, str(tmp_path / name), signatures={signature: module.describe})
    with serving_stand_in.Server(str(tmp_path)) as server:
        with pytest.raises(errors.UserError, match='itself as .*a cat.*written by tools.export'):
            client.connect(server.rest, 'stfc3', version=1)
        with pytest.raises(errors.UserError, match='answered 404.*"describe" not found'):
            client.connect(server.rest, 'stfc3')


@pytest.mark.parametrize('reply', [{}, {'metadata': []}, {'metadata': ['no JSON']}])
def test_a_model_that_does_not_describe_itself(reply):
    class Service:
        def predict(self, signature, inputs, outputs):
            return reply

    with pytest.raises(errors.UserError, match='describes itself as .*tools.export'):
        client.ServedEncoder(Service())


def test_without_grpc_the_extra_is_named(served, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorflow_serving.apis', None)
    with pytest.raises(errors.UserError, match='EXTRAS=serving bash tools/setup.sh'):
        client.connect(served[0].grpc, 'stfc3')
    assert client.connect(served[0].rest, 'stfc3').metadata['step'] == 7


def test_bytes_that_end_in_zeros_survive():
    """Features of a ReLU network may be zero; NumPy's own strings would lose them."""
    service = services.RestService('http://unused', 'stfc3', None, 1.0)
    reply = {'outputs': {'features_bytes': [b64(b'ab\0\0')], 'shape': [[1, 1, 1]]}}
    service._post = lambda url, body: json.dumps(reply).encode()
    found = service.predict('features_encoded', {}, ['features_bytes', 'shape'])
    assert found['features_bytes'][0] == b'ab\0\0' and found['shape'].tolist() == [[1, 1, 1]]


@pytest.mark.slow
def test_command_propagates_over_a_server_as_without(base_path, served, tmp_path):
    server, _ = served
    for number in range(4):
        frame = synthetic.scene(0, 64, 80).frame(number / 8)
        Image.fromarray(frame).save(tmp_path / f'{number}.png')
    (tmp_path / 'points.csv').write_text('name,x,y\nleft,20,30\nright,61.5,40.25\n')

    def run(output, *arguments):
        command = [sys.executable, '-m', 'tools.propagate', f'--video={tmp_path}', *arguments]
        command += [f'--points={tmp_path / "points.csv"}', f'--output_dir={tmp_path / output}']
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    result = run('there', f'--server={server.rest}', '--model=stfc3', '--version=1')
    assert result.returncode == 0, result.stderr
    assert run('here', f'--saved_model={base_path / "1"}').returncode == 0
    there, here = (tmp_path / name for name in ('there', 'here'))
    files = {path.name for path in here.iterdir()}
    assert files == {path.name for path in there.iterdir()} >= {'tracks.csv', 'overlay.mp4'}
    for name in ('tracks.csv', 'tracks.json'):
        assert (there / name).read_bytes() == (here / name).read_bytes()
    with open(there / 'tracks.csv') as file:
        table = list(csv.DictReader(file))
    assert [row['frame'] for row in table[:3]] == ['0', '0', '1'] and 'time' in table[0]
    record = json.loads((there / 'result.json').read_text())
    metadata = client.connect(server.grpc, 'stfc3').metadata
    assert record['model']['weights_sha256'] == metadata['weights_sha256']
    for arguments, problem in (
        (['--server=http://127.0.0.1:9'], 'error: http://127.0.0.1:9 cannot be reached'),
        ([f'--server={server.rest}', '--saved_model=m'], 'either --saved_model or --server'),
    ):
        result = run('none', *arguments)
        assert result.returncode == 1 and problem in result.stderr
        assert not (tmp_path / 'none').exists()


def test_medians_are_of_every_call_without_its_first_round(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(latency.time, 'perf_counter', lambda: clock[0])

    def takes(*seconds):
        left = iter(seconds)

        def call():
            clock[0] += next(left)

        return call

    calls = {'slow to start': takes(100, 1, 5, 3), 'even': takes(2, 2, 2, 2)}
    assert latency.medians(calls, 3) == {'slow to start': 3, 'even': 2}


@pytest.mark.slow
def test_command_compares_servers_with_this_process(base_path, served):
    server, _ = served
    command = [sys.executable, '-m', 'tools.serving_latency', f'--saved_model={base_path / "1"}']
    arguments = ['--size=32,48', '--rounds=1', '--propagate']
    result = subprocess.run(
        [*command, f'--servers={server.rest},{server.grpc}', *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    rows = [line.split('  ') for line in result.stdout.splitlines()]
    assert [row[:2] for row in rows] == [
        [signature, way]
        for signature in ('features', 'propagate')
        for way in ('in process', server.rest, server.grpc)
    ]
    assert [row[3] == 'x1.00' for row in rows[::3]] == [True, True]
    assert all(re.fullmatch(r'\d+\.\d{4} s per frame', row[2]) for row in rows)
