"""The meeting of a run's workers before TensorFlow connects them.

TensorFlow waits for missing workers without a message and without reacting to signals, and does not
check whether the workers have the same settings. So worker 0, the chief, first listens on the
address that its TensorFlow server gets later. The others connect and send what they are, and all
learn whether they may begin:

    chief  -> worker  {"challenge"}
    worker -> chief   {"index", "facts", "challenge", "proof"}
    chief  -> worker  {"error", "proof"}, once all workers are there or the time is over

Each message is a line of JSON. Proofs are made with the secret that the workers share, so nobody
else can pose as a worker or as the chief. A caller has a few seconds for the first two messages;
callers are served concurrently.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import faulthandler
import json
import secrets
import time
from typing import Any

from absl import logging

from stfc3_tf import errors
from stfc3_tf.cluster import interface
from stfc3_tf.cluster import secret as secret_lib
from stfc3_tf.storage import state

_POLL_SECONDS = 0.2
# For all messages before the verdict.
_EXCHANGE_SECONDS = 10.0
# A worker's settings are a few kilobytes.
_LONGEST_MESSAGE = 1 << 20
_LONGEST_REASON = 200
_MOST_CALLERS = 256  # at a time, before their reports are complete


def meet(
    addresses: Sequence[str],
    index: int,
    facts: Mapping[str, str],
    seconds: float,
    secret: bytes = b'',
    listen_on: str | None = None,
) -> None:
    """Return once all workers are there and agree.

    Args:
      addresses: host:port of each worker, the chief's first.
      index: the number of this worker.
      facts: what must be the same on all, by name.
      seconds: the longest time to wait.
      secret: shared by all workers; may be empty only if all are on this machine.
      listen_on: address of the chief's interface; by default the one that its own address names.

    Raises:
      errors.UserError: on every worker that came: not all came in time, or their facts differ.
    """
    hosts = [interface.split(address)[0] for address in addresses]
    if not secret and not all(map(interface.is_loopback, hosts)):
        raise errors.UserError(
            f'Workers on several machines need a shared secret: set {secret_lib.VARIABLE}, or '
            f'{secret_lib.FILE_VARIABLE} to a file that holds it, to the same on all workers '
            '(`openssl rand -hex 32` makes one; see docs/scaling.md).'
        )
    logging.info('Worker %d of %d waits for the others.', index, len(addresses))
    deadline = time.monotonic() + seconds
    if index == 0:
        listen_on = listen_on or _own_interface(hosts)
        asyncio.run(_lead(_Chief(addresses, facts, secret), listen_on, deadline))
    else:
        asyncio.run(_follow(_Worker(addresses[0], index, facts, secret), deadline))


@contextlib.contextmanager
def limit(seconds: float) -> Iterator[None]:
    """End the process, with a traceback and status 1, if the block takes longer."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


class _MessageError(Exception):
    """A received text is not a message of the rendezvous."""


@dataclasses.dataclass(frozen=True)
class _Report:
    """The report that a worker sends to the chief."""

    index: int
    facts: Mapping[str, str]
    challenge: str
    writer: asyncio.StreamWriter


class _Chief:
    """Collects the reports of the other workers.

    Args:
      addresses: of all workers.
      facts: of the chief.
      secret: of all workers.
    """

    def __init__(self, addresses: Sequence[str], facts: Mapping[str, str], secret: bytes):
        self.addresses = addresses
        self._facts = facts
        self._secret = secret
        self._found: dict[int, _Report] = {}
        self._callers = 0

    @property
    def is_complete(self) -> bool:
        """Whether all workers are there."""
        return len(self._found) == len(self.addresses) - 1

    async def hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Register a worker; refuse any other caller."""
        if self._callers >= _MOST_CALLERS:
            # A worker tries again later.
            writer.close()
            return
        self._callers += 1
        try:
            report = await asyncio.wait_for(self._exchange(reader, writer), _EXCHANGE_SECONDS)
        except asyncio.CancelledError:
            # The meeting is over. Raised again, it would be logged with a traceback.
            writer.close()
            return
        except (OSError, asyncio.TimeoutError, _MessageError) as error:
            await _dismiss(writer, str(error) or 'it took too long')
            return
        finally:
            self._callers -= 1
        earlier = self._found.get(report.index)
        self._found[report.index] = report
        if earlier:
            # The worker was started again.
            earlier.writer.close()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> _Report:
        challenge = secrets.token_hex(16)
        await _send(writer, {'challenge': challenge})
        message = await _receive(reader)
        index, facts, theirs = (message.get(key) for key in ('index', 'facts', 'challenge'))
        if type(index) is not int or not 0 < index < len(self.addresses):
            raise _MessageError('the index is not that of a worker')
        if not isinstance(facts, dict) or not all(isinstance(v, str) for v in facts.values()):
            raise _MessageError('facts are not texts by name')
        if not isinstance(theirs, str):
            raise _MessageError('there is no challenge')
        parts = 'worker', challenge, index, facts, theirs
        if not secret_lib.proves(self._secret, message.get('proof'), *parts):
            logging.warning(
                'A caller posed as worker %d without the secret; it was refused.', index
            )
            raise _MessageError(f'the secret is another than the chief has ({_WHERE})')
        return _Report(index, facts, theirs, writer)

    def verdict(self) -> str | None:
        """Return why the workers cannot begin, or None."""
        return _verdict(
            self.addresses, self._facts, {k: found.facts for k, found in self._found.items()}
        )

    async def answer(self, verdict: str | None) -> None:
        """Send the verdict to all workers that are there."""
        await asyncio.gather(*(self._answer(found, verdict) for found in self._found.values()))

    async def _answer(self, found: _Report, verdict: str | None) -> None:
        proof = secret_lib.proof(self._secret, 'chief', found.challenge, verdict)
        await _send_and_close(found.writer, {'error': verdict, 'proof': proof})


_WHERE = f'{secret_lib.VARIABLE} or {secret_lib.FILE_VARIABLE}'


async def _lead(chief: _Chief, listen_on: str, deadline: float) -> None:
    """Do the chief's part: collect the reports, then answer all workers."""
    _, port = interface.split(chief.addresses[0])
    try:
        server = await asyncio.start_server(
            chief.hear, listen_on, port, limit=_LONGEST_MESSAGE, backlog=1024
        )
    except (OSError, OverflowError) as error:
        raise errors.UserError(
            f'The chief cannot listen on port {port} of {listen_on}: {error}. Is an earlier run '
            'still going? End it, choose another port, or name the interface in '
            'MultiWorker.listen_on.'
        ) from error
    try:
        while not chief.is_complete and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_SECONDS / 4)
    finally:
        server.close()
    verdict = chief.verdict()
    await chief.answer(verdict)
    if verdict:
        raise errors.UserError(verdict)


@dataclasses.dataclass(frozen=True)
class _Worker:
    """A worker that calls the chief."""

    chief: str
    index: int
    facts: Mapping[str, str]
    secret: bytes

    async def call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """Send the report; return the challenge whose proof the chief's answer must have."""
        message = await _receive(reader)
        theirs, own = message.get('challenge'), secrets.token_hex(16)
        facts = dict(self.facts)
        proof = secret_lib.proof(self.secret, 'worker', theirs, self.index, facts, own)
        await _send(writer, {'index': self.index, 'facts': facts, 'challenge': own, 'proof': proof})
        return own

    def check(self, answer: Mapping[str, Any], challenge: str) -> None:
        """Return if the chief lets the worker begin; raise UserError if not."""
        if 'refused' in answer:
            raise errors.UserError(
                f'The chief, {self.chief}, refused worker {self.index}: '
                f'{_printable(answer["refused"])}.'
            )
        verdict = answer.get('error')
        parts = 'chief', challenge, verdict
        if not secret_lib.proves(self.secret, answer.get('proof'), *parts):
            raise _MessageError('the answer does not come from the chief')
        if verdict:
            raise errors.UserError(str(verdict))


def _printable(received: Any) -> str:
    """Return what anybody may have sent as a short text without line breaks and control codes."""
    text = ' '.join(str(received).split())[:_LONGEST_REASON]
    return ''.join(character if character.isprintable() else '?' for character in text)


async def _follow(worker: _Worker, deadline: float) -> None:
    """Do the part of a worker that is not the chief: call the chief until it answers."""
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, asyncio.TimeoutError, _MessageError):
            await _call(worker, deadline)
            return
        await asyncio.sleep(_POLL_SECONDS)
    raise errors.UserError(
        f'The chief, {worker.chief}, did not answer worker {worker.index} in time. Start every '
        'worker with the same command within MultiWorker.patience_minutes, and let their ports be '
        'open.'
    )


async def _call(worker: _Worker, deadline: float) -> None:
    host, port = interface.split(worker.chief)
    opening = asyncio.open_connection(host, port, limit=_LONGEST_MESSAGE)
    reader, writer = await asyncio.wait_for(opening, _EXCHANGE_SECONDS)
    try:
        challenge = await asyncio.wait_for(worker.call(reader, writer), _EXCHANGE_SECONDS)
        # The chief answers at its own deadline, which may be later.
        left = max(deadline - time.monotonic(), 0) + _EXCHANGE_SECONDS
        worker.check(await asyncio.wait_for(_receive(reader), left), challenge)
    finally:
        writer.close()


def _own_interface(hosts: Sequence[str]) -> str:
    try:
        return interface.to_listen_on(hosts[0], hosts[1:])
    except OSError as error:
        message = f'The chief cannot resolve its own host name {hosts[0]}: {error}.'
        raise errors.UserError(message) from error


def _verdict(
    addresses: Sequence[str], facts: Mapping[str, str], reports: Mapping[int, Mapping[str, str]]
) -> str | None:
    missing = [f'{k} ({addresses[k]})' for k in range(1, len(addresses)) if k not in reports]
    if missing:
        return (
            f'Worker {", ".join(missing)} did not reach the chief, {addresses[0]}, in time. Start '
            'every worker with the same command within MultiWorker.patience_minutes, and let their '
            'ports be open.'
        )
    for index, others in sorted(reports.items()):
        for name in facts:
            if others.get(name) != facts[name]:
                return (
                    f'Worker {index} ({addresses[index]}) and the chief differ in {name}: '
                    f'{_difference(facts[name], others.get(name, ""))}. They must be the same.'
                )
    return None


def _difference(chief: str, other: str) -> str:
    """Return the first lines that only one of two texts has."""
    only_chief = [line for line in chief.splitlines() if line not in other.splitlines()]
    only_other = [line for line in other.splitlines() if line not in chief.splitlines()]
    return (
        f'{"; ".join(only_other[:3]) or "nothing"} instead of '
        f'{"; ".join(only_chief[:3]) or "nothing"}'
    )


async def _dismiss(writer: asyncio.StreamWriter, reason: str) -> None:
    logging.info('A caller of the rendezvous was refused: %s', reason)
    await _send_and_close(writer, {'refused': reason})


async def _send_and_close(writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        await asyncio.wait_for(_send(writer, message), _EXCHANGE_SECONDS)
    writer.close()


async def _send(writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
    writer.write(json.dumps(message).encode() + b'\n')
    await writer.drain()


async def _receive(reader: asyncio.StreamReader) -> dict[str, Any]:
    """Return the next message; raise `_MessageError` if it is not an object of JSON."""
    try:
        line = await reader.readline()
        return state.parse_json(line, dict[str, Any], 'the message', 'It is dropped.')
    except (ValueError, errors.UserError) as error:
        raise _MessageError(errors.one_line(error)) from error
