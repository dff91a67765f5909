"""The rendezvous of workers: strangers are answered and dropped, and the chief goes on."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time

import clusters
import pytest

from stfc3_tf import errors
from stfc3_tf.cluster import interface, rendezvous, secret

SECRET = b'0123456789abcdef'
FACTS = {'settings': 'a = 1'}


class Meeting:
    """Workers, each in a thread; `verdicts` has None or the error of each that has ended."""

    def __init__(self, count, seconds=30):
        self.port, *others = clusters.free_ports(count)
        self._addresses = [f'127.0.0.1:{port}' for port in (self.port, *others)]
        self._seconds = seconds
        self._threads = []
        self.verdicts = {}

    def start(self, index, key=SECRET, facts=None):
        arguments = self._addresses, index, facts or FACTS, self._seconds, key

        def come():
            try:
                self.verdicts[index] = rendezvous.meet(*arguments)
            except errors.UserError as error:
                self.verdicts[index] = str(error)

        self._threads.append(threading.Thread(target=come))
        self._threads[-1].start()

    def finish(self):
        for thread in self._threads:
            thread.join(60)
        return self.verdicts

    def call(self):
        """Return a connection to the chief, once it listens."""
        end = time.monotonic() + 20
        while True:
            try:
                return socket.create_connection(('127.0.0.1', self.port), timeout=20)
            except ConnectionRefusedError:
                assert time.monotonic() < end
                time.sleep(0.05)


def line_of(connection):
    with connection.makefile('rb') as file:
        return json.loads(file.readline())


@pytest.mark.parametrize(
    'message',
    [
        b'{"index":1}',
        b'5',
        b'[]',
        b'1e999',
        b'[' * 100_000,
        b'{"index":1e999,"facts":{},"challenge":"","proof":""}',
        b'{"index":true,"facts":{},"challenge":"","proof":""}',
        b'{"index":1,"facts":[],"challenge":"","proof":""}',
        b'{"index":1,"facts":{"settings":5},"challenge":"","proof":""}',
        b'{"index":1,"facts":{},"challenge":"","proof":"\\ud800"}',
        b'{"index":1,"facts":{"settings":"a = 1"},"challenge":"x","proof":"00"}',
        b'\xff\xfe',
        b'',
        b'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
        b'x' * (3 << 20),
    ],
    ids=lambda message: message[:20].decode(errors='replace'),
)
def test_a_malformed_message_is_answered_and_the_chief_goes_on(message):
    meeting = Meeting(2)
    meeting.start(0)
    with meeting.call() as stranger:
        assert 'challenge' in line_of(stranger)
        with contextlib.suppress(OSError):
            stranger.sendall(message + b'\n')
        # A caller that sends megabytes gets a reset instead of the answer.
        if len(message) < 1 << 20:
            assert line_of(stranger)['refused']
    meeting.start(1)
    assert meeting.finish() == {0: None, 1: None}


@pytest.mark.parametrize('index', [-1, 0, 2])
def test_a_number_that_no_other_worker_has_is_refused_though_the_secret_is_right(index):
    meeting = Meeting(2)
    meeting.start(0)
    with meeting.call() as caller:
        challenge = line_of(caller)['challenge']
        proof = secret.proof(SECRET, 'worker', challenge, index, FACTS, 'x')
        message = {'index': index, 'facts': FACTS, 'challenge': 'x', 'proof': proof}
        caller.sendall(json.dumps(message).encode() + b'\n')
        assert line_of(caller)['refused'] == 'the index is not that of a worker'
    meeting.start(1)
    assert meeting.finish() == {0: None, 1: None}


def test_silent_and_slow_callers_do_not_delay_the_workers(caplog):
    meeting = Meeting(2)
    meeting.start(0)
    callers = [meeting.call() for _ in range(40)]
    for caller in callers[::2]:
        caller.sendall(b'{')
    began = time.monotonic()
    meeting.start(1)
    assert meeting.finish() == {0: None, 1: None}
    assert time.monotonic() - began < rendezvous._EXCHANGE_SECONDS
    assert not [record for record in caplog.records if record.levelname == 'ERROR']
    for caller in callers:
        caller.close()


def test_the_whole_exchange_has_a_deadline(monkeypatch):
    monkeypatch.setattr(rendezvous, '_EXCHANGE_SECONDS', 1.0)
    meeting = Meeting(2)
    meeting.start(0)
    began = time.monotonic()
    with meeting.call() as caller:
        assert 'challenge' in line_of(caller)
        caller.settimeout(0.2)
        answer = b''
        # A byte in each fifth of a second, much more often than any deadline of a single receive.
        while b'\n' not in answer and time.monotonic() - began < 20:
            with contextlib.suppress(OSError):
                caller.sendall(b' ')
            with contextlib.suppress(TimeoutError, socket.timeout):
                answer += caller.recv(1000)
        assert 'too long' in json.loads(answer)['refused']
    monkeypatch.undo()
    meeting.start(1)
    assert meeting.finish() == {0: None, 1: None}


def test_another_secret_takes_no_worker_s_place():
    meeting = Meeting(2)
    meeting.start(0)
    meeting.start(1, key=b'another secret...')
    end = time.monotonic() + 30
    while 1 not in meeting.verdicts and time.monotonic() < end:
        time.sleep(0.05)
    assert 'refused worker 1: the secret is another' in meeting.verdicts[1]
    assert 0 not in meeting.verdicts
    meeting.start(1)
    assert meeting.finish() == {0: None, 1: None}


@contextlib.contextmanager
def false_chief(port, answer):
    """Listen in the chief's place, and answer each report with these bytes."""

    def pretend(server):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, contextlib.suppress(OSError, ValueError):
                    connection.sendall(b'{"challenge": "x"}\n')
                    line_of(connection)
                    connection.sendall(answer + b'\n')

    with socket.create_server(('127.0.0.1', port)) as server:
        threading.Thread(target=pretend, args=(server,), daemon=True).start()
        yield


def test_a_false_chief_is_not_believed():
    meeting = Meeting(2, seconds=3)
    with false_chief(meeting.port, b'{"error": null, "proof": "00"}'):
        meeting.start(1)
        assert 'did not answer worker 1 in time' in meeting.finish()[1]


@pytest.mark.parametrize(
    'refused', ['a\nerror: b\x1b[2J', 'x' * 900_000, {'a': ['\n']}, '\u202e', None]
)
def test_what_a_false_chief_says_is_one_short_line_without_control_codes(refused):
    meeting = Meeting(2, seconds=20)
    with false_chief(meeting.port, json.dumps({'refused': refused}).encode()):
        meeting.start(1)
        said = meeting.finish()[1]
    assert 'refused worker 1: ' in said and len(said) < 300 and said.isprintable()


def test_workers_on_several_machines_need_a_secret():
    with pytest.raises(errors.UserError, match='STFC3_SECRET_FILE.*docs/scaling'):
        rendezvous.meet(['192.0.2.1:29400', '192.0.2.2:29400'], 0, {}, 1.0)


def test_the_secret_is_read_from_a_variable_or_a_file(tmp_path):
    assert secret.find({}) == b''
    assert secret.find({'STFC3_SECRET': ' 0123456789abcdef\n'}) == SECRET
    path = tmp_path / 'secret'
    path.write_bytes(SECRET + b'\n')
    assert secret.find({'STFC3_SECRET_FILE': str(path)}) == SECRET
    for environment in ({'STFC3_SECRET': 'short'}, {'STFC3_SECRET_FILE': str(tmp_path / 'none')}):
        with pytest.raises(errors.UserError, match='STFC3_SECRET'):
            secret.find(environment)
    path.write_bytes(b'')
    with pytest.raises(errors.UserError, match='0 characters'):
        secret.find({'STFC3_SECRET_FILE': str(path)})


@pytest.mark.parametrize('address', ['host', ':1', 'host:', 'host:x', 'host:99999', 'host:²'])
def test_an_invalid_address_is_named(address):
    with pytest.raises(errors.UserError, match='host:port'):
        interface.split(address)


LISTEN = """
import sys
sys.path.insert(0, sys.argv[1])
from stfc3_tf.cluster import rendezvous
rendezvous.meet(['localhost:' + sys.argv[2], 'localhost:1'], 0, {}, 60.0)
"""


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')
def test_the_chief_of_workers_on_one_machine_listens_on_loopback_only():
    (port,) = clusters.free_ports(1)
    process = subprocess.Popen([sys.executable, '-c', LISTEN, str(clusters.ROOT), str(port)])
    try:
        end = time.monotonic() + 120
        while not (found := clusters.listening(port)):
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.1)
        assert found <= {'0100007F', '00000000000000000000000001000000'}
    finally:
        process.kill()
        process.wait()
