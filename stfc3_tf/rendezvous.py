"""Where the workers of a run find each other before TensorFlow connects them.

TensorFlow waits for missing workers without a word, deaf to signals, and does not ask whether the workers
were given the same settings. So worker 0 first listens on the address that is to be its TensorFlow server's;
the others come and say who they are; and all learn whether they may begin.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import faulthandler
import json
import socket
import time

from absl import logging

from stfc3_tf import errors

_POLL_SECONDS = 0.2
# A worker's settings are a few kilobytes.
_LONGEST_MESSAGE = 1 << 20


def meet(addresses: Sequence[str], index: int, facts: Mapping[str, str], seconds: float) -> None:
    """Returns once all workers are there and agree.

    Args:
      addresses: host:port of each worker, the chief's first.
      index: which of them this is.
      facts: what must be the same on all, by name.
      seconds: the longest to wait.

    Raises:
      errors.UserError: on every worker that is there: not all came in time, or one has other facts.
    """
    logging.info('Worker %d waits for %d others.', index, len(addresses) - 1)
    deadline = time.monotonic() + seconds
    if index == 0:
        _receive(addresses, facts, deadline)
    else:
        _report(addresses[0], index, facts, deadline)


@contextlib.contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Ends the process, with a traceback and status 1, if the block takes longer, whatever blocks it."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _receive(addresses: Sequence[str], facts: Mapping[str, str], deadline: float) -> None:
    """The chief's part: hears the others, then answers all."""
    host, port = _split(addresses[0])
    found: dict[int, tuple[socket.socket, Mapping[str, str]]] = {}
    try:
        server = socket.create_server(('', port))
    except OSError as error:
        raise errors.UserError(
            f'The chief cannot listen on port {port} of {host}: {error}. Is an earlier run still '
            'there? End it, or choose another port.'
        ) from error
    with server:
        server.settimeout(_POLL_SECONDS)
        while len(found) < len(addresses) - 1 and time.monotonic() < deadline:
            with contextlib.suppress(socket.timeout):
                _hear(server.accept()[0], found, len(addresses))
        verdict = _verdict(addresses, facts, {k: told for k, (_, told) in found.items()})
        for connection, _ in found.values():
            with connection, contextlib.suppress(OSError):
                _send(connection, {'error': verdict})
    if verdict:
        raise errors.UserError(verdict)


def _hear(connection: socket.socket, found: dict, count: int) -> None:
    """Registers who calls; anything but a worker is sent away."""
    try:
        connection.settimeout(10)
        message = _read(connection)
        index = int(message['index'])
        if not 0 < index < count:
            raise ValueError(index)
    except (OSError, ValueError, KeyError, TypeError):
        connection.close()
        return
    if index in found:
        found[index][0].close()  # It was started again.
    found[index] = connection, message['facts']


def _verdict(
    addresses: Sequence[str], facts: Mapping[str, str], told: Mapping[int, Mapping[str, str]]
) -> str | None:
    missing = [f'{k} ({addresses[k]})' for k in range(1, len(addresses)) if k not in told]
    if missing:
        return (
            f'Worker {", ".join(missing)} did not come to the chief, {addresses[0]}, in time. Start every '
            'worker with the same command within MultiWorker.patience_minutes, and let their ports be open.'
        )
    for index, others in sorted(told.items()):
        for name in facts:
            if others.get(name) != facts[name]:
                return (
                    f'Worker {index} ({addresses[index]}) has other {name} than the chief: '
                    f'{_difference(facts[name], others.get(name, ""))}. They must be the same.'
                )
    return None


def _difference(chief: str, other: str) -> str:
    """The first lines that only one of two texts has."""
    only_chief = [line for line in chief.splitlines() if line not in other.splitlines()]
    only_other = [line for line in other.splitlines() if line not in chief.splitlines()]
    return f'{"; ".join(only_other[:3]) or "nothing"} instead of {"; ".join(only_chief[:3]) or "nothing"}'


def _report(chief: str, index: int, facts: Mapping[str, str], deadline: float) -> None:
    """The others' part: calls the chief until it answers."""
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            with socket.create_connection(_split(chief), timeout=_POLL_SECONDS) as connection:
                _send(connection, {'index': index, 'facts': dict(facts)})
                answer = _await_answer(connection, deadline)
            if answer is not None:
                if answer['error']:
                    raise errors.UserError(answer['error'])
                return
        time.sleep(_POLL_SECONDS)
    raise errors.UserError(
        f'The chief, {chief}, did not answer worker {index} in time. Start every worker with the same command '
        'within MultiWorker.patience_minutes, and let their ports be open.'
    )


def _await_answer(connection: socket.socket, deadline: float) -> Mapping[str, str | None] | None:
    """The chief's answer, or None if the chief went away."""
    connection.settimeout(max(deadline - time.monotonic(), 0) + 10)
    try:
        return _read(connection)
    except ValueError:
        return None


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(':')
    if not host or not port.isdigit():
        raise errors.UserError(f'{address!r} is no address of a worker: give host:port.')
    return host, int(port)


def _send(connection: socket.socket, message: Mapping) -> None:
    connection.sendall(json.dumps(message).encode() + b'\n')


def _read(connection: socket.socket) -> Mapping:
    with connection.makefile('rb') as file:
        return json.loads(file.readline(_LONGEST_MESSAGE))
