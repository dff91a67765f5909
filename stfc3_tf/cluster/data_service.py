"""Clips read on other machines through tf.data service, for trainers with too few cores.

A server (`python -m tools.data_server`) opens the videos and runs a tf.data dispatcher and worker.
A trainer with `train.data_servers` sends them its input pipeline: clip i of its stream comes from
server i modulo their number. So the run sees the same clips in the same order as if it read them
itself, also when it is resumed.

Reading videos is Python code, which a graph cannot carry to another process. So the server
registers its reading function with its own TensorFlow and publishes the name under which it is
registered; the pipelines call it by that name. The settings of the run (frames of a clip, seed, …)
are sent with every call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import functools
import json
import os
import queue
import socket
import sys
import threading
import time
from typing import Any, Union

from absl import logging
import numpy as np
import pydantic
import tensorflow as tf
from typing_extensions import TypedDict

# Importing `colour` registers operations that a server's pipelines use.
from stfc3_tf import clips, errors
from stfc3_tf.cluster import interface
from stfc3_tf.storage import state
from stfc3_tf.version import __version__
from stfc3_tf.views import colour  # noqa: F401

_READER_ID = 'stfc3_tf_reader'
_NAME = tf.TensorSpec([], tf.string)


class Server:
    """Serve clips of a source until the process ends.

    TensorFlow opens the ports on all interfaces, and has no setting for it.

    Args:
      data: where the videos are, see `clips.open_source`.
      host: name or address under which trainers reach this machine.
      port: of the dispatcher; the worker takes the next one.
      frame_folder_rate: frames per second of frame folders.

    Raises:
      errors.UserError: there are no videos, or a port is taken.
    """

    def __init__(self, data: str | None, host: str, port: int, frame_folder_rate: float = 24.0):
        reader = Reader(clips.open_source(data, frame_folder_rate))
        _check_free(port, port + 1)
        service = tf.data.experimental.service
        try:
            self._dispatcher = service.DispatchServer(service.DispatcherConfig(port=port))
            self._worker = service.WorkerServer(
                service.WorkerConfig(
                    dispatcher_address=f'localhost:{port}',
                    worker_address=f'{host}:{port + 1}',
                    port=port + 1,
                )
            )
        except (tf.errors.OpError, RuntimeError) as error:
            raise errors.UserError(
                f'Ports {port} and {port + 1} cannot be opened: {error}. Choose another --port.'
            ) from error
        # The traced function keeps the registered Python function alive.
        self._traced = _traced(reader.read)
        name = tf.data.Dataset.from_tensors(_registered_name(self._traced))
        service.register_dataset(f'grpc://localhost:{port}', name, dataset_id=_READER_ID)

    def join(self) -> None:
        """Wait until a signal ends the process; TensorFlow's own `join` would ignore SIGINT."""
        while True:
            time.sleep(60)


def _check_free(*ports: int) -> None:
    """Raise `errors.UserError` if something listens on a port.

    gRPC would share the port with another server, and each trainer would reach one of the two.
    """
    for port in ports:
        try:
            socket.create_server(('', port)).close()
        except OSError as error:
            raise errors.UserError(
                f'Port {port} cannot be opened: {os.strerror(error.errno or 0)}. Choose another '
                '--port.'
            ) from error


class Reader:
    """Reads clips with the settings of any run."""

    def __init__(self, source: clips.Source):
        self._source = source
        self._skipped = clips.SkippedVideos()
        self._sampler = functools.lru_cache(maxsize=8)(self._make_sampler)

    def read(self, index: int, settings: bytes) -> tuple[np.ndarray, np.int64]:
        """Read a sample, see `clips.ClipSampler.sample`.

        Args:
          index: of the sample in the run's stream.
          settings: of the run, see `settings_text`.

        Raises:
          errors.UserError: the run has other videos or another version, or nothing can be read.
        """
        return self._sampler(settings).sample(index)

    def _make_sampler(self, settings: bytes) -> clips.ClipSampler:
        sent = state.parse_json(
            settings, _Sent, 'What the run sent', 'Install the same version of stfc3_tf on both.'
        )
        for name, here in _common(self._source).items():
            there = sent['common'].get(name)
            if here != there:
                raise errors.UserError(
                    f'A data server and the run differ in {name} ({here} and {there}): give both '
                    'the same --data and the same rate of frame folders, and install the same '
                    'version.'
                )
        return clips.ClipSampler(self._source, **sent['sampler'], skipped=self._skipped)


class _Sampler(TypedDict):
    """The arguments of `clips.ClipSampler` that depend on the run."""

    frames: pydantic.PositiveInt
    # Python 3.9 cannot evaluate `|`.
    frame_rate: Union[pydantic.PositiveFloat, list[pydantic.PositiveFloat]]  # noqa: UP007
    clips_per_video: pydantic.PositiveInt
    seed: pydantic.NonNegativeInt


class _Sent(TypedDict):
    """What a run sends with every call."""

    common: dict[str, Any]
    sampler: _Sampler


def settings_text(source: clips.Source, **settings: float | Sequence[float]) -> str:
    """Return what a server needs from a run: `clips.ClipSampler`'s arguments, and what to check."""
    return json.dumps({'common': _common(source), 'sampler': settings})


def _common(source: clips.Source) -> dict[str, str | float | None]:
    """Return what must be the same for a server and a run, by name."""
    return {
        'version of stfc3_tf': __version__,
        'number of videos': len(source),
        'frame rate of frame folders': source.assumed_frame_rate,
    }


def views_from_servers(
    servers: Sequence[str],
    indices: Callable[[int, int], tf.data.Dataset],
    settings: str,
    frames: int,
    with_views: Callable[[tf.data.Dataset], tf.data.Dataset],
) -> tf.data.Dataset:
    """Return the stream of views that `with_views` makes of clips, computed on the servers.

    Args:
      servers: host:port of each dispatcher.
      indices: maps (number of parts, part) to the sample numbers of that part of the stream, int64
        [] each: with n parts, every n-th.
      settings: as returned by `settings_text`.
      frames: of a clip.
      with_views: maps elements {'frames', 'index', 'video'} to elements with 'index'; it must not
        call Python code.

    Returns:
      The elements in the order of the stream. Iterating raises `tf.errors.InvalidArgumentError` if
      a server changes the order.

    Raises:
      errors.UserError: an address is invalid, or nothing answers there.
    """
    check_reachable(servers)
    parts = []
    for number, server in enumerate(servers):
        service = f'grpc://{server}'
        part = read_clips(indices(len(servers), number), _reader_name(service), settings, frames)
        parts.append(
            with_views(part).apply(
                # With one worker and one consumer all elements arrive in their order.
                tf.data.experimental.service.distribute('parallel_epochs', service)
            )
        )
    in_turn = tf.data.Dataset.range(len(servers)).repeat()
    elements = tf.data.Dataset.choose_from_datasets(parts, in_turn, stop_on_empty_dataset=False)
    return tf.data.Dataset.zip((indices(1, 0), elements)).map(_checked)


def check_reachable(servers: Sequence[str], seconds: float = 60.0) -> None:
    """Wait until all servers accept connections.

    TensorFlow would wait without end, and ignore signals.

    Args:
      servers: host:port of each.
      seconds: the longest wait for all of them, which may just be starting.

    Raises:
      errors.UserError: an address is invalid, or nothing answers there.
    """
    end = time.monotonic() + seconds
    for server in servers:
        try:
            interface.split(server)
        except errors.UserError as error:
            raise errors.UserError(f'train.data_servers: {error}') from error
        while not _answers(server, 5.0):
            if time.monotonic() > end:
                raise errors.UserError(
                    f'Nothing answers at {server} (train.data_servers): is `python -m '
                    'tools.data_server` running there?'
                )
            time.sleep(0.5)


@contextlib.contextmanager
def watched(servers: Sequence[str], seconds: float = 60.0) -> Iterator[None]:
    """Exit with a message and status 1 if a server is out of reach for `seconds` in the block.

    tf.data would wait for it without end, and ignore signals.

    Raises:
      errors.UserError: a server was restarted and does not know this run.
    """
    over = threading.Event()
    arguments = (tuple(servers), seconds, over)
    threading.Thread(target=_watch, args=arguments, daemon=True).start()
    try:
        yield
    except tf.errors.NotFoundError as error:
        if 'iteration client' in str(error):
            raise errors.UserError(
                'A data server was restarted. Run the same command again: the run continues.'
            ) from error
        raise
    finally:
        over.set()


def _watch(servers: Sequence[str], seconds: float, over: threading.Event) -> None:
    seen = dict.fromkeys(servers, time.monotonic())
    while servers and not over.wait(seconds / 10):
        for server in servers:
            if _answers(server, seconds / 10):
                seen[server] = time.monotonic()
            elif time.monotonic() - seen[server] > seconds:
                print(
                    f'error: The data server {server} has not answered for {seconds:.0f} s. Start '
                    'it again, or take it out of train.data_servers, and run the same command: the '
                    'run continues from its last checkpoint.',
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(1)


def _answers(server: str, seconds: float) -> bool:
    try:
        socket.create_connection(interface.split(server), timeout=seconds).close()
    except OSError:
        return False
    return True


def read_clips(
    indices: tf.data.Dataset, reader_name: str, settings: str, frames: int
) -> tf.data.Dataset:
    """Map sample numbers to clips, read by a function that is registered in the executing process.

    Args:
      indices: int64 [] each.
      reader_name: under which the function is registered.
      settings: as returned by `settings_text`.
      frames: of a clip.

    Returns:
      Elements with 'frames' uint8 [frames, height, width, 3], 'index' and 'video' int64 [].
    """

    def read(index: tf.Tensor) -> Mapping[str, tf.Tensor]:
        clip, video = tf.raw_ops.PyFuncStateless(
            input=[index, tf.constant(settings)], token=reader_name, Tout=[tf.uint8, tf.int64]
        )
        clip = tf.ensure_shape(clip, [frames, None, None, 3])
        return {'frames': clip, 'index': index, 'video': tf.ensure_shape(video, [])}

    return indices.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _checked(index: tf.Tensor, element: Mapping[str, tf.Tensor]) -> Mapping[str, tf.Tensor]:
    check = tf.debugging.assert_equal(element['index'], index, 'A data server changed the order.')
    with tf.control_dependencies([check]):
        return {**element, 'index': tf.identity(element['index'])}


def _reader_name(service: str, seconds: float = 60.0) -> str:
    """Return the name under which a server registered its reading function.

    Args:
      service: grpc://host:port.
      seconds: the longest wait. TensorFlow would wait for another kind of server without end.

    Raises:
      errors.UserError: it does not answer as a data server.
    """
    answers: queue.SimpleQueue[str | tf.errors.OpError] = queue.SimpleQueue()
    threading.Thread(target=_ask_for_name, args=(service, answers), daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise _other_server(service, f'nothing in {seconds:.0f} s') from None
    if isinstance(answer, tf.errors.OpError):
        raise _other_server(service, errors.one_line(answer)) from answer
    return answer


def _ask_for_name(service: str, answers: queue.SimpleQueue[str | tf.errors.OpError]) -> None:
    try:
        published = tf.data.experimental.service.from_dataset_id(
            'parallel_epochs', service, _READER_ID, element_spec=_NAME
        )
        answers.put(next(published.as_numpy_iterator()).decode())
    except tf.errors.OpError as error:
        answers.put(error)


def _other_server(service: str, answer: str) -> errors.UserError:
    return errors.UserError(
        f'{service} does not answer as a data server ({answer}): is `python -m tools.data_server` '
        'running there, and is this its --port?'
    )


def _traced(read: Callable) -> tf.types.experimental.ConcreteFunction:
    """Return a graph function that calls `read`; tracing it makes TensorFlow register `read`."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.string)])
    def call(index, settings):
        return tf.numpy_function(read, [index, settings], [tf.uint8, tf.int64], stateful=False)

    return call.get_concrete_function()


def _registered_name(traced: tf.types.experimental.ConcreteFunction) -> str:
    nodes = traced.graph.as_graph_def().node
    (name,) = [node.attr['token'].s.decode() for node in nodes if node.op == 'PyFuncStateless']
    logging.info('Clips are read by %s.', name)
    return name
