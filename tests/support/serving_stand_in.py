"""Answer requests as TensorFlow Serving does, where its binary is not available; for tests only.

    python tests/support/serving_stand_in.py --model_base_path=FOLDER [--model_name=NAME]

It handles a SavedModel as TensorFlow Serving does: it loads the newest folder whose name is a whole
number into a TensorFlow 1 session and feeds tensors without comparing their shapes. The gRPC
messages are those of tensorflow-serving-api, and the JSON of the REST interface is parsed by its
published rules. There is no batching.
"""

import argparse
import base64
import concurrent.futures
import http.server
import json
import re
import threading

import grpc
import numpy as np
from served_versions import versions
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

_URL = re.compile(r'/v1/models/([^/:]+)(?:/versions/(\d+))?:predict')


class Refused(Exception):
    """A request that the server answers with an error: (code, message)."""


class Model:
    """A SavedModel in a session."""

    def __init__(self, path):
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self._session, ['serve'], path)
        self._signatures = dict(loaded.signature_def)

    def signature(self, name):
        name = name or 'serving_default'
        if name not in self._signatures:
            raise Refused('NOT_FOUND', f'Serving signature name: "{name}" not found.')
        return self._signatures[name]

    def run(self, signature, inputs):
        """Run a signature: arrays by name in, arrays by name out."""
        if set(inputs) != set(signature.inputs):
            raise Refused(
                'INVALID_ARGUMENT',
                f'inputs {sorted(inputs)} are not those of the signature, '
                f'{sorted(signature.inputs)}',
            )
        # Not `session.run`, which compares shapes: servers do not.
        call = self._session._make_callable_from_options(_options(signature, inputs))
        try:
            values = call(*inputs.values())
        except tf.errors.OpError as error:
            raise Refused('INVALID_ARGUMENT', error.message) from error
        return dict(zip(signature.outputs, values))


def _options(signature, inputs):
    return config_pb2.CallableOptions(
        feed=[signature.inputs[name].name for name in inputs],
        fetch=[info.name for info in signature.outputs.values()],
    )


class Server:
    """A server for REST and gRPC on two free ports; it ends when its context does."""

    def __init__(self, base_path, name='stfc3', rest_port=0, grpc_port=0):
        self._name = name
        self._models = {version: Model(path) for version, path in versions(base_path).items()}
        self._ports = rest_port, grpc_port

    def model(self, name, version):
        version = version or max(self._models)
        if name != self._name or version not in self._models:
            raise Refused('NOT_FOUND', f'Servable not found for request: {name} {version}')
        return self._models[version]

    def __enter__(self):
        rest_port, grpc_port = self._ports
        handler = type('Handler', (_RestHandler,), {'models': self})
        self._http = http.server.ThreadingHTTPServer(('127.0.0.1', rest_port), handler)
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self._grpc = grpc.server(
            concurrent.futures.ThreadPoolExecutor(4),
            options=[('grpc.max_send_message_length', -1), ('grpc.max_receive_message_length', -1)],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _Prediction(self), self._grpc
        )
        grpc_port = self._grpc.add_insecure_port(f'127.0.0.1:{grpc_port}')
        self._grpc.start()
        self.rest = f'http://127.0.0.1:{self._http.server_port}'
        self.grpc = f'grpc://127.0.0.1:{grpc_port}'
        return self

    def __exit__(self, *_):
        self._http.shutdown()
        self._http.server_close()
        self._grpc.stop(None)


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, models):
        self._models = models

    def Predict(self, request, context):
        spec = request.model_spec
        try:
            model = self._models.model(spec.name, spec.version.value)
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            outputs = model.run(model.signature(spec.signature_name), inputs)
        except Refused as refused:
            code, message = refused.args
            context.abort(getattr(grpc.StatusCode, code), message)
        reply = predict_pb2.PredictResponse()
        for name, value in outputs.items():
            reply.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return reply


class _RestHandler(http.server.BaseHTTPRequestHandler):
    models = None  # The server's; set in a subclass.

    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        try:
            status, reply = 200, self._predict(body)
        except Refused as refused:
            code, message = refused.args
            status, reply = {'NOT_FOUND': 404}.get(code, 400), {'error': message}
        content = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _predict(self, body):
        address = _URL.fullmatch(self.path)
        if not address:
            raise Refused('INVALID_ARGUMENT', f'Malformed request: POST {self.path}')
        model = self.models.model(address[1], int(address[2] or 0))
        try:
            request = json.loads(body)
        except ValueError as error:
            raise Refused('INVALID_ARGUMENT', f'JSON Parse error: {error}') from error
        signature = model.signature(request.get('signature_name'))
        rows = 'instances' in request
        if rows == ('inputs' in request):
            raise Refused('INVALID_ARGUMENT', "Give one of 'inputs' and 'instances'")
        inputs = (_row_inputs if rows else _column_inputs)(request, signature)
        outputs = {
            name: _json_of_array(name, value)
            for name, value in model.run(signature, inputs).items()
        }
        if rows:
            items = [dict(zip(outputs, row)) for row in zip(*outputs.values())]
            return {'predictions': [_without_only_name(item) for item in items]}
        return {'outputs': _without_only_name(outputs)}

    def log_message(self, *_):
        pass


def _without_only_name(values):
    return next(iter(values.values())) if len(values) == 1 else values


def _is_binary(value):
    return isinstance(value, dict) and list(value) == ['b64']


def _column_inputs(request, signature):
    values = request['inputs']
    if not isinstance(values, dict) or _is_binary(values):
        values = {next(iter(signature.inputs)): values}
    for name in signature.inputs:
        if name not in values:
            raise Refused('INVALID_ARGUMENT', f"Missing named input: {name} in 'inputs' object.")
    return {name: _tensor(values[name], signature, name) for name in signature.inputs}


def _row_inputs(request, signature):
    """Join instances into inputs; each instance gives one row."""
    names, instances = list(signature.inputs), request['instances']
    if not isinstance(instances[0], dict) or _is_binary(instances[0]):
        instances = [{names[0]: value} for value in instances]
    return {name: _tensor([item[name] for item in instances], signature, name) for name in names}


def _tensor(value, signature, name):
    """Return an array from nested lists, of the signature's type; shapes are not checked here."""
    if name not in signature.inputs:
        raise Refused('INVALID_ARGUMENT', f'JSON object: does not have named input: {name}')
    dtype = tf.dtypes.as_dtype(signature.inputs[name].dtype)
    leaves, shape = [], _shape(value)
    _collect(value, shape, dtype, leaves)
    return np.array(leaves, dtype.as_numpy_dtype).reshape(shape)


def _shape(value):
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _collect(value, shape, dtype, leaves):
    if isinstance(value, list):
        if not shape or len(value) != shape[0]:
            raise Refused('INVALID_ARGUMENT', f'Encountered list at unexpected size: {len(value)}')
        for item in value:
            _collect(item, shape[1:], dtype, leaves)
    elif shape:
        raise Refused('INVALID_ARGUMENT', f'JSON Value: {value} found at incorrect level')
    else:
        leaves.append(_leaf(value, dtype))


def _leaf(value, dtype):
    if dtype == tf.string and _is_binary(value):
        return base64.b64decode(value['b64'])
    kinds = str if dtype == tf.string else int if dtype.is_integer else (int, float)
    if not isinstance(value, bool if dtype == tf.bool else kinds):
        raise Refused(
            'INVALID_ARGUMENT', f'JSON Value: {value} is not of expected type: {dtype.name}'
        )
    return value.encode() if dtype == tf.string else value


def _json_of_array(name, array):
    if array.dtype != object:
        return array.tolist()
    if name.endswith('_bytes'):
        return [{'b64': base64.b64encode(value).decode()} for value in array]
    return [value.decode() for value in array]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model_base_path', required=True, help='folder of numbered versions')
    parser.add_argument('--model_name', default='stfc3', help='name in requests')
    parser.add_argument('--port', type=int, default=8500, help='of gRPC')
    parser.add_argument('--rest_api_port', type=int, default=8501, help='of REST')
    flags = parser.parse_args()
    with Server(flags.model_base_path, flags.model_name, flags.rest_api_port, flags.port) as server:
        print(f'{server.rest} {server.grpc}', flush=True)
        threading.Event().wait()


if __name__ == '__main__':
    main()
