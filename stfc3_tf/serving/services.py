"""The two interfaces of TensorFlow Serving: REST and gRPC."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
import http.client
import json
from typing import Any, Protocol
import urllib.error
import urllib.parse
import urllib.request

import numpy as np

from stfc3_tf import errors

Tensors = Mapping[str, np.ndarray]


class Service(Protocol):
    """A model on a server."""

    def predict(self, signature: str, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        """Run a signature.

        Args:
          signature: its name.
          inputs: arrays by name; strings as arrays of `bytes` objects.
          outputs: names of all its outputs.

        Returns:
          Arrays by name.

        Raises:
          errors.UserError: the server cannot be reached or refuses the request.
        """


class RestService:
    """A model on a REST server (HTTP and JSON); needs only the standard library."""

    def __init__(self, server: str, model: str, version: int | None, timeout: float):
        """Store the address.

        Args:
          server: http://HOST:PORT or https://HOST:PORT.
          model: see `client.connect`.
          version: see `client.connect`.
          timeout: see `client.connect`.
        """
        self._server = server.rstrip('/')
        path = f'/v1/models/{urllib.parse.quote(model)}'
        self._path = path if version is None else f'{path}/versions/{version}'
        self._timeout = timeout

    def predict(self, signature: str, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        """See `Service.predict`."""
        content = {name: _to_json(np.asarray(value).tolist()) for name, value in inputs.items()}
        body = json.dumps({'signature_name': signature, 'inputs': content}).encode()
        reply = self._post(f'{self._server}{self._path}:predict', body)
        try:
            values = json.loads(reply)['outputs']
            # The server leaves out the name of a single output.
            values = {outputs[0]: values} if len(outputs) == 1 else values
            return {name: np.array(_from_json(values[name])) for name in outputs}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise errors.UserError(
                f'{self._server} does not answer as TensorFlow Serving does: {reply[:200]!r}'
            ) from error

    def _post(self, url: str, body: bytes) -> bytes:
        request = urllib.request.Request(url, body, {'Content-Type': 'application/json'})
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            message = _error_message(error.read())
            raise errors.UserError(f'{url} answered {error.code}: {message}') from error
        except (OSError, http.client.HTTPException) as error:
            raise errors.UserError(
                f'{self._server} cannot be reached ({getattr(error, "reason", error)}). Is the '
                'server running, and is this its REST port (8501 by default)?'
            ) from error


def _error_message(body: bytes) -> str:
    """Return the message in TensorFlow Serving's JSON, or any other text unchanged."""
    text = body.decode(errors='replace').strip()
    try:
        return json.loads(text)['error']
    except (ValueError, KeyError, TypeError, RecursionError):
        return text


def _to_json(value: Any) -> Any:
    """Return nested lists with their bytes in the form that TensorFlow Serving reads."""
    if isinstance(value, list):
        return [_to_json(item) for item in value] if _holds_bytes(value) else value
    return {'b64': base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _holds_bytes(value: Any) -> bool:
    while isinstance(value, list):
        if not value:
            return False
        value = value[0]
    return isinstance(value, bytes)


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        return base64.b64decode(value['b64'])
    if isinstance(value, list) and value and isinstance(value[0], dict):
        # As objects: NumPy would cut zeros off the end of bytes.
        return np.array([_from_json(item) for item in value], object)
    return value


class GrpcService:
    """A model on a gRPC server, without encryption; needs the extra `serving`."""

    def __init__(self, address: str, model: str, version: int | None, timeout: float):
        """Open a channel.

        Args:
          address: HOST:PORT.
          model: see `client.connect`.
          version: see `client.connect`.
          timeout: see `client.connect`.

        Raises:
          errors.UserError: the extra is not installed.
        """
        try:
            import grpc
            from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
        except ImportError as error:
            raise errors.UserError(
                f'gRPC needs the extra `serving` ({error}): EXTRAS=serving bash tools/setup.sh, or '
                'pip install "stfc3-tf[serving]". REST, http://HOST:8501, does not.'
            ) from error
        self._address, self._timeout, self._error = address, timeout, grpc.RpcError
        # The features of a frame are larger than the 4 MiB that gRPC accepts by default.
        unlimited = [(f'grpc.max_{way}_message_length', -1) for way in ('send', 'receive')]
        channel = grpc.insecure_channel(address, unlimited)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._request = predict_pb2.PredictRequest()
        self._request.model_spec.name = model
        if version is not None:
            self._request.model_spec.version.value = version

    def predict(self, signature: str, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        """See `Service.predict`."""
        import tensorflow as tf

        request = type(self._request)()
        request.CopyFrom(self._request)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        try:
            reply = self._stub.Predict(request, timeout=self._timeout)
        except self._error as error:
            raise errors.UserError(self._explained(error)) from error
        return {name: tf.make_ndarray(reply.outputs[name]) for name in outputs}

    def _explained(self, error: Any) -> str:
        message = f'grpc://{self._address} answered {error.code().name}: {error.details()}'
        if error.code().name != 'UNAVAILABLE':
            return message
        return f'{message}. Is the server running, and is this its gRPC port (8500 by default)?'
