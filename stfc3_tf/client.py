"""Exported encoders behind TensorFlow Serving, used from Python as if they were loaded here.

The server is stateless. What label propagation remembers, the context, stays with the client:
`ServedEncoder` turns frames into features on the server, and everything in this package that takes
an encoder takes it; `ServedPropagator` has the server propagate as well, and sends the context
along with every frame.
"""

from __future__ import annotations

import base64
import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
import http.client
import itertools
import json
from typing import Any, Protocol
import urllib.error
import urllib.parse
import urllib.request

import cv2
import numpy as np

from stfc3_tf import errors
from stfc3_tf.geometry import CellGrid
from stfc3_tf.propagation import PropagationSettings

Tensors = Mapping[str, np.ndarray]


class Service(Protocol):
    """A model of a server."""

    def predict(self, signature: str, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        """Runs a signature.

        Args:
          signature: its name.
          inputs: arrays by name; strings as arrays of `bytes` objects.
          outputs: names of all its outputs.

        Raises:
          errors.UserError: the server cannot be reached or refuses the request.
        """


class RestService:
    """A model behind the REST interface (HTTP and JSON), with nothing but the standard library."""

    def __init__(self, server: str, model: str, version: int | None, timeout: float):
        """Args: server: http://HOST:PORT or https://HOST:PORT; the others as of `connect`."""
        self._server = server.rstrip('/')
        path = f'/v1/models/{urllib.parse.quote(model)}'
        self._path = path if version is None else f'{path}/versions/{version}'
        self._timeout = timeout

    def predict(self, signature: str, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        """See `Service`."""
        content = {name: _to_json(np.asarray(value).tolist()) for name, value in inputs.items()}
        body = json.dumps({'signature_name': signature, 'inputs': content}).encode()
        reply = self._post(f'{self._server}{self._path}:predict', body)
        try:
            values = json.loads(reply)['outputs']
            # A server leaves the name of an only output away.
            values = {outputs[0]: values} if len(outputs) == 1 else values
            return {name: np.array(_from_json(values[name])) for name in outputs}
        except (ValueError, KeyError, TypeError) as error:
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
                'server running, and is this its REST port (8501 unless told otherwise)?'
            ) from error


def _error_message(body: bytes) -> str:
    """What TensorFlow Serving says in JSON, or what anything else between here and there says."""
    text = body.decode(errors='replace').strip()
    try:
        return json.loads(text)['error']
    except (ValueError, KeyError, TypeError):
        return text


def _to_json(value: Any) -> Any:
    """Nested lists with their bytes as TensorFlow Serving wants them."""
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
    """A model behind the gRPC interface, unencrypted; needs the extra `serving`."""

    def __init__(self, address: str, model: str, version: int | None, timeout: float):
        """Args: address: HOST:PORT; the others as of `connect`.

        Raises:
          errors.UserError: the extra is not installed.
        """
        try:
            import grpc
            from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
        except ImportError as error:
            raise errors.UserError(
                f'gRPC needs the extra `serving` ({error}): EXTRAS=serving bash tools/setup.sh, or '
                'pip install tensorflow-serving-api==2.15.1. REST, http://HOST:8501, does not.'
            ) from error
        self._address, self._timeout, self._error = address, timeout, grpc.RpcError
        # A frame's features are larger than the 4 MiB that gRPC takes unless told otherwise.
        unlimited = [(f'grpc.max_{way}_message_length', -1) for way in ('send', 'receive')]
        channel = grpc.insecure_channel(address, unlimited)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._request = predict_pb2.PredictRequest()
        self._request.model_spec.name = model
        if version is not None:
            self._request.model_spec.version.value = version

    def predict(self, signature: str, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        """See `Service`."""
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
        return (
            f'{message}. Is the server running, and is this its gRPC port (8500 unless told '
            'otherwise)?'
        )


def connect(
    server: str, model: str, version: int | None = None, timeout: float = 60.0
) -> ServedEncoder:
    """An encoder that TensorFlow Serving serves.

    Args:
      server: 'http://HOST:PORT' or 'https://HOST:PORT' for REST, 'grpc://HOST:PORT' for gRPC.
      model: its name there.
      version: which of its versions; by default the newest.
      timeout: seconds that a request may take.

    Raises:
      errors.UserError: no such address, server, model or version, or the model is no encoder.
    """
    scheme, _, address = server.partition('://')
    if not address.rstrip('/') or scheme not in ('http', 'https', 'grpc'):
        raise errors.UserError(f'{server!r}: give http://HOST:8501 (REST) or grpc://HOST:8500.')
    if scheme == 'grpc':
        return ServedEncoder(GrpcService(address.rstrip('/'), model, version, timeout))
    return ServedEncoder(RestService(server, model, version, timeout))


class ServedEncoder:
    """An exported encoder on a server: a `tracking.FeatureExtractor`.

    Attributes:
      metadata: what `serving.export` recorded, as the server tells.
      cell_grid: where its feature cells lie in the frames.
    """

    def __init__(self, service: Service):
        """Asks the server for the metadata.

        Raises:
          errors.UserError: it cannot be reached, or the model there is no encoder.
        """
        self._service = service
        told = service.predict('describe', {'ask': np.array([True])}, ['metadata'])
        try:
            self.metadata = json.loads(told['metadata'][0])
            self.cell_grid = CellGrid(**self.metadata['cell_grid'])
        except (ValueError, KeyError, TypeError) as error:
            raise errors.UserError(
                f'The model served describes itself as {told["metadata"]!r}: serve one written by '
                'tools.export or tools.import_torch.'
            ) from error

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Features of frames, the same numbers as `serving.LoadedEncoder` gives.

        Args:
          frames: uint8 [batch, height, width, 3], RGB. They travel as PNG.

        Returns:
          float32 [batch, rows, columns, channels], L2-normalised.

        Raises:
          errors.UserError: the frames are of another type or shape, or the server refuses them.
        """
        frames = np.asarray(frames)
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
            raise errors.UserError(
                'features: frames must be uint8 [batch, height, width, 3], not '
                f'{frames.dtype} {list(frames.shape)}.'
            )
        images = np.array([_png(frame) for frame in frames], object)
        names = ['features_bytes', 'shape']
        reply = self._service.predict('features_encoded', {'images': images}, names)
        maps = [np.frombuffer(content, '<f4') for content in reply['features_bytes']]
        return np.stack([m.reshape(shape) for m, shape in zip(maps, reply['shape'])])

    def propagate(
        self,
        query: np.ndarray,
        context_features: np.ndarray,
        context_labels: np.ndarray,
        unrestricted: np.ndarray,
    ) -> np.ndarray:
        """Soft labels of a frame, as `serving.LoadedEncoder.propagate`, computed on the server.

        The whole context travels: over REST, as JSON numbers, that is for small maps only.
        """
        inputs = {
            'query': np.asarray(query, np.float32),
            'context_features': np.asarray(context_features, np.float32),
            'context_labels': np.asarray(context_labels, np.float32),
            'unrestricted': np.asarray(unrestricted, bool),
        }
        labels = self._service.predict('propagate', inputs, ['labels'])['labels']
        return np.asarray(labels, np.float32)

    def settings(self) -> dict[str, Any]:
        """Returns what identifies the model: the digest of its weights, its layer, its cells."""
        names = 'weights_sha256', 'layer', 'cell_grid'
        return {name: self.metadata.get(name) for name in names}


def _png(frame: np.ndarray) -> bytes:
    # Fast rather than small: the features that come back are larger by far.
    written, content = cv2.imencode(
        '.png', np.ascontiguousarray(frame[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 1]
    )
    if not written:
        raise errors.UserError(f'A frame of shape {list(frame.shape)} cannot be encoded as PNG.')
    return content.tobytes()


class ServedPropagator:
    """`propagation.Propagator`, with the work done by a server and the context kept here.

    The model's own `radius`, `window`, `top_k`, `temperature` and `keep_ties` count; of `settings`,
    those that choose the context.
    """

    def __init__(self, encoder: ServedEncoder, settings: PropagationSettings):
        self._encoder, self._settings = encoder, settings
        self._first = None
        self._preceding = collections.deque(maxlen=settings.context)

    def start(self, features: np.ndarray, labels: np.ndarray) -> None:
        """Takes the frame whose labels are known, shapes as of `propagation.Propagator.start`."""
        settings = self._settings
        self._first = np.asarray(features), np.asarray(labels, np.float32)
        copies = settings.context if settings.repeat_first else int(settings.first_among_preceding)
        self._preceding.clear()
        self._preceding.extend(itertools.repeat(self._first, copies))

    def step(self, features: np.ndarray) -> np.ndarray:
        """Soft labels float32 [rows, columns, labels] of the next frame, which joins the context.

        Raises:
          errors.UserError: `start` was not called, or the server refuses, as it does maps of
            another size.
        """
        if self._first is None:
            raise errors.UserError('ServedPropagator.step before start: give labels first.')
        maps, labels = (np.stack(part) for part in zip(self._first, *self._preceding))
        unrestricted = (np.arange(len(maps)) == 0) & (not self._settings.restrict_first)
        found = self._encoder.propagate(features, maps, labels, unrestricted)
        self._preceding.append((np.asarray(features), found))
        return found


def propagate_stream(
    encoder: ServedEncoder,
    features: Iterable[np.ndarray],
    first_labels: np.ndarray,
    settings: PropagationSettings,
) -> Iterator[np.ndarray]:
    """`propagation.propagate_stream` by `ServedPropagator`."""
    propagator = ServedPropagator(encoder, settings)
    for number, frame in enumerate(features):
        if number == 0:
            propagator.start(frame, first_labels)
            yield np.asarray(first_labels, np.float32)
        else:
            yield propagator.step(frame)
