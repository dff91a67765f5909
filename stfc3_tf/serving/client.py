"""Exported encoders on TensorFlow Serving, used like encoders that are loaded here.

The server is stateless, so the client keeps the context of label propagation. `ServedEncoder`
computes features on the server and works wherever this package takes an encoder. `ServedPropagator`
also propagates on the server, and sends the context with every frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
import itertools
from typing import Any

import cv2
import numpy as np

from stfc3_tf import errors
from stfc3_tf.propagation.settings import PropagationSettings
from stfc3_tf.serving import encoder
from stfc3_tf.serving.encoder import LoadedEncoder
from stfc3_tf.serving.services import GrpcService, RestService, Service


def connect(
    server: str, model: str, version: int | None = None, timeout: float = 60.0
) -> ServedEncoder:
    """Return an encoder that TensorFlow Serving serves.

    Args:
      server: 'http://HOST:PORT' or 'https://HOST:PORT' for REST, 'grpc://HOST:PORT' for gRPC.
      model: its name there.
      version: the number of the version; by default the newest.
      timeout: seconds that a request may take.

    Returns:
      The encoder.

    Raises:
      errors.UserError: there is no such server, model or version, or the model is not an encoder.
    """
    scheme, _, address = server.partition('://')
    if not address.rstrip('/') or scheme not in ('http', 'https', 'grpc'):
        raise errors.UserError(f'{server!r}: give http://HOST:8501 (REST) or grpc://HOST:8500.')
    if scheme == 'grpc':
        return ServedEncoder(GrpcService(address.rstrip('/'), model, version, timeout))
    return ServedEncoder(RestService(server, model, version, timeout))


class ServedEncoder(LoadedEncoder):
    """An exported encoder on a server; its features are those of the same encoder loaded here.

    Frames are sent as PNG, features as bytes.
    """

    def __init__(self, service: Service):
        """Ask the server for the metadata.

        Raises:
          errors.UserError: it cannot be reached, or the model there is not an encoder.
        """
        self._service = service
        reply = service.predict('describe', {'ask': np.array([True])}, ['metadata'])
        try:
            metadata = encoder.read_metadata(reply['metadata'][0], 'the description')
            identity: dict[str, Any] = {
                name: metadata.get(name) for name in ('weights_sha256', 'layer')
            }
            super().__init__(self._features, metadata, identity)
        except (errors.UserError, KeyError, IndexError, TypeError) as error:
            raise errors.UserError(
                f'The served model describes itself as {dict(reply)!r}: serve one written by '
                'tools.export or tools.import_torch.'
            ) from error

    def _features(self, frames: np.ndarray) -> np.ndarray:
        images = np.array([_png(frame) for frame in frames], object)
        names = ['features_bytes', 'shape']
        reply = self._service.predict('features_encoded', {'images': images}, names)
        try:
            maps = [np.frombuffer(content, '<f4') for content in reply['features_bytes']]
            return np.stack([m.reshape(shape) for m, shape in zip(maps, reply['shape'])])
        except (ValueError, TypeError) as error:
            raise errors.UserError(
                f'The server answers with no features ({errors.one_line(error)}).'
            ) from error

    def propagate(
        self,
        query: np.ndarray,
        context_features: np.ndarray,
        context_labels: np.ndarray,
        unrestricted: np.ndarray,
    ) -> np.ndarray:
        """Return the soft labels of a frame, computed on the server.

        The whole context is sent. Over REST, as numbers in JSON, this suits only small maps.

        Args:
          query: see `one_frame.propagate`, as for the other arguments.
          context_features: float32 [frames, rows, columns, channels].
          context_labels: float32 [frames, rows, columns, labels].
          unrestricted: bool [frames].

        Returns:
          float32 [rows, columns, labels].

        Raises:
          errors.UserError: the server cannot be reached, or the arguments do not fit together.
        """
        inputs = {
            'query': np.asarray(query, np.float32),
            'context_features': np.asarray(context_features, np.float32),
            'context_labels': np.asarray(context_labels, np.float32),
            'unrestricted': np.asarray(unrestricted, bool),
        }
        labels = self._service.predict('propagate', inputs, ['labels'])['labels']
        return np.asarray(labels, np.float32)


def _png(frame: np.ndarray) -> bytes:
    """Return a frame as PNG, encoded fast rather than small: its features are far larger."""
    written, content = cv2.imencode(
        '.png', np.ascontiguousarray(frame[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 1]
    )
    if not written:
        raise errors.UserError(f'A frame of shape {list(frame.shape)} cannot be encoded as PNG.')
    return content.tobytes()


class ServedPropagator:
    """A `propagator.Propagator` whose work is done by a server; the context is kept here.

    The server uses its model's `radius`, `window`, `top_k`, `temperature`, `keep_ties` and
    `precision`; of `settings`, only `context`, `restrict_first`, `first_among_preceding` and
    `repeat_first` are used.
    """

    def __init__(self, encoder: ServedEncoder, settings: PropagationSettings):
        self._encoder, self._settings = encoder, settings
        self._first: tuple[np.ndarray, np.ndarray] | None = None
        self._preceding: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=settings.context)

    def start(self, features: np.ndarray, labels: np.ndarray) -> None:
        """Take the frame whose labels are known.

        Args:
          features: float32 [rows, columns, channels].
          labels: float32 [rows, columns, labels].
        """
        settings = self._settings
        self._first = np.asarray(features), np.asarray(labels, np.float32)
        copies = settings.context if settings.repeat_first else int(settings.first_among_preceding)
        self._preceding.clear()
        self._preceding.extend(itertools.repeat(self._first, copies))

    def step(self, features: np.ndarray) -> np.ndarray:
        """Return the soft labels of the next frame, which joins the context.

        Args:
          features: float32 [rows, columns, channels].

        Returns:
          float32 [rows, columns, labels].

        Raises:
          errors.UserError: `start` was not called, or the server refuses the maps, for instance
            because of their size.
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
    """Yield the labels of every frame as its features come in, computed on a server.

    Args:
      encoder: on the server.
      features: float32 [rows, columns, channels] of each frame.
      first_labels: float32 [rows, columns, labels].
      settings: see `ServedPropagator`.

    Yields:
      float32 [rows, columns, labels], soft labels, one map per frame.
    """
    propagator = ServedPropagator(encoder, settings)
    for number, frame in enumerate(features):
        if number == 0:
            propagator.start(frame, first_labels)
            yield np.asarray(first_labels, np.float32)
        else:
            yield propagator.step(frame)
