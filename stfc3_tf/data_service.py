"""Reading clips on other machines, through tf.data service, where a trainer's own cores do not suffice.

A server (`python -m tools.data_server`) opens the videos and runs a tf.data dispatcher and worker. A trainer told
of servers (`train.data_servers`) sends them its input pipeline: clip i of its stream comes from server i modulo
their number, so that the run sees the very clips it would have read itself, in the same order, also when
it is resumed.

Reading videos is Python code, which no graph can carry to another process. So the server registers its
reading function with its own TensorFlow and publishes the name it got; the pipelines call it by that name. What
a run wants read (frames of a clip, seed, ...) travels with every call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import functools
import json
import os
import re
import socket
import sys
import threading
import time

from absl import logging
import numpy as np
import tensorflow as tf

import stfc3_tf
from stfc3_tf import clips, errors

# Loads the operations of colours, which a server's pipelines use.
from stfc3_tf import colour  # noqa: F401

_READER_ID = 'stfc3_tf_reader'
_NAME = tf.TensorSpec([], tf.string)


class Server:
    """Serves clips of a source until it is stopped.

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
        except tf.errors.OpError as error:
            raise errors.UserError(
                f'Ports {port} and {port + 1} cannot be opened: {error.message}. Choose another --port.'
            ) from error
        # The traced function keeps the registered Python function alive.
        self._traced = _traced(reader.read)
        name = tf.data.Dataset.from_tensors(_registered_name(self._traced))
        service.register_dataset(f'grpc://localhost:{port}', name, dataset_id=_READER_ID)

    def join(self) -> None:
        """Blocks while the server runs."""
        self._worker.join()


class Reader:
    """Reads clips as any run's settings want them."""

    def __init__(self, source: clips.Source):
        self._source = source
        self._skipped = clips.SkippedVideos()
        self._sampler = functools.lru_cache(maxsize=8)(self._make_sampler)

    def read(self, index: int, settings: bytes) -> tuple[np.ndarray, np.int64]:
        """Reads a sample, see `clips.ClipSampler.sample`.

        Args:
          index: its number in the run's stream.
          settings: of the run, see `settings_text`.

        Raises:
          errors.UserError: the run counts on other videos or another version, or nothing can be read.
        """
        return self._sampler(settings).sample(index)

    def _make_sampler(self, settings: bytes) -> clips.ClipSampler:
        wanted = json.loads(settings)
        for name, here in _common(self._source).items():
            there = wanted.pop(name, None)
            if here != there:
                raise errors.UserError(
                    f'A data server and the run differ in {name} ({here} and {there}): give both the same --data '
                    'and the same rate of frame folders, and install the same version.'
                )
        return clips.ClipSampler(self._source, **wanted, skipped=self._skipped)


def settings_text(source: clips.Source, **settings: float) -> str:
    """What a server needs to know of a run: arguments of `clips.ClipSampler`, and what to check."""
    return json.dumps({**_common(source), **settings})


def _common(source: clips.Source) -> dict[str, str | float | None]:
    """What a server and a run must have in common, by name."""
    return {
        'version of stfc3_tf': stfc3_tf.__version__,
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
    """Makes the stream of views that `with_views` makes of clips, on the servers.

    Args:
      servers: host:port of each dispatcher.
      indices: (how many parts, which) -> every so-many-th sample number of the stream, int64 [].
      settings: of `settings_text`.
      frames: of a clip.
      with_views: elements {'frames', 'index', 'video'} -> elements with 'index'; no Python code.

    Returns:
      The elements in the order of the stream. Iterating fails with `tf.errors.InvalidArgumentError`
      should a server change the order.

    Raises:
      errors.UserError: an address is none, or nothing answers there.
    """
    check_reachable(servers)
    parts = []
    for number, server in enumerate(servers):
        service = f'grpc://{server}'
        part = read_clips(indices(len(servers), number), _reader_name(service), settings, frames)
        parts.append(
            with_views(part).apply(
                # One server, one consumer: all elements, in their order.
                tf.data.experimental.service.distribute('parallel_epochs', service)
            )
        )
    in_turn = tf.data.Dataset.range(len(servers)).repeat()
    elements = tf.data.Dataset.choose_from_datasets(parts, in_turn, stop_on_empty_dataset=False)
    return tf.data.Dataset.zip((indices(1, 0), elements)).map(_checked)


def check_reachable(servers: Sequence[str], seconds: float = 60.0) -> None:
    """Waits until all servers take connections; TensorFlow would wait for good, deaf to signals.

    Args:
      servers: host:port of each.
      seconds: how long one that is just being started may take.

    Raises:
      errors.UserError: an address is none, or nothing answers there.
    """
    end = time.monotonic() + seconds
    for server in servers:
        if not re.fullmatch(r'.+:\d{1,5}', server):
            raise errors.UserError(f"train.data_servers: '{server}' is not of the form host:port.")
        while not _answers(server, 5.0):
            if time.monotonic() > end:
                raise errors.UserError(
                    f'Nothing answers at {server} (train.data_servers): is `python -m tools.data_server` running there?'
                )
            time.sleep(0.5)


@contextlib.contextmanager
def watched(servers: Sequence[str], seconds: float = 60.0) -> Iterator[None]:
    """Ends the process with a message and status 1 if a server is out of reach for so long during the block.

    tf.data would wait for it for good, deaf to signals.

    Raises:
      errors.UserError: a server was started anew and knows nothing of this run.
    """
    over = threading.Event()
    arguments = (tuple(servers), seconds, over)
    threading.Thread(target=_watch, args=arguments, daemon=True).start()
    try:
        yield
    except tf.errors.NotFoundError as error:
        if 'iteration client' in str(error):
            raise errors.UserError(
                'A data server was started anew. Run the same command again: the run goes on.'
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
                    f'error: The data server {server} has not answered for {seconds:.0f} s. Start it again, or take it '
                    'out of train.data_servers, and run the same command: the run goes on from its last checkpoint.',
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(1)


def _answers(server: str, seconds: float) -> bool:
    host, _, port = server.rpartition(':')
    try:
        socket.create_connection((host, int(port)), timeout=seconds).close()
    except OSError:
        return False
    return True


def read_clips(
    indices: tf.data.Dataset, reader_name: str, settings: str, frames: int
) -> tf.data.Dataset:
    """Sample numbers -> clips, read by the function that the executing process registered under a name."""

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


def _reader_name(service: str) -> str:
    """The name under which a server registered its reading function."""
    try:
        published = tf.data.experimental.service.from_dataset_id(
            'parallel_epochs', service, _READER_ID, element_spec=_NAME
        )
        return next(published.as_numpy_iterator()).decode()
    except tf.errors.OpError as error:
        raise errors.UserError(
            f'The data server {service} does not answer as one ({error.message}): is `python -m tools.data_server` '
            'running there?'
        ) from error


def _traced(read: Callable) -> tf.types.experimental.ConcreteFunction:
    """A graph function that calls `read`, which makes TensorFlow register it."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.string)])
    def call(index, settings):
        return tf.numpy_function(read, [index, settings], [tf.uint8, tf.int64], stateful=False)

    return call.get_concrete_function()


def _registered_name(traced: tf.types.experimental.ConcreteFunction) -> str:
    nodes = traced.graph.as_graph_def().node
    (name,) = [node.attr['token'].s.decode() for node in nodes if node.op == 'PyFuncStateless']
    logging.info('Clips are read by %s.', name)
    return name
