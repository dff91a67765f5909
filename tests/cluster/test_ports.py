"""Which interfaces ports are open on, and what is said of it."""

import signal
import socket
import subprocess
import sys
import time

import clusters
import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')
LOOPBACK = {'0100007F', '00000000000000000000000001000000'}


def start(port, *more):
    command = [sys.executable, '-m', 'tools.data_server', '--host=127.0.0.1', f'--port={port}']
    return subprocess.Popen(
        [*command, *more],
        cwd=clusters.ROOT,
        env=clusters.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_data_server_opens_nothing_before_it_is_allowed_to_on_all_interfaces():
    port = clusters.free_ports(2)[0]
    process = start(port)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    (line,) = [line for line in errors.splitlines() if line.startswith('error:')]
    assert f'ports {port} and {port + 1} on all interfaces' in line
    assert '--allow_all_interfaces' in line and 'Traceback' not in errors


@pytest.mark.slow
@pytest.mark.parametrize('number, status', [(signal.SIGINT, 130), (signal.SIGTERM, -15)])
def test_a_data_server_says_what_it_listens_on_and_ends_by_a_signal(number, status):
    port = clusters.free_ports(2)[0]
    process = start(port, '--allow_all_interfaces')
    try:
        said = ''
        while 'listens on all interfaces' not in said:
            said += (line := process.stderr.readline())
            assert line, said
        assert f'ports {port} and {port + 1}' in said
        # If TensorFlow learns to listen on one interface only, the server should make use of it.
        assert not clusters.listening(port) <= LOOPBACK
        assert not clusters.listening(port + 1) <= LOOPBACK
        process.send_signal(number)
        began = time.monotonic()
        _, rest = process.communicate(timeout=60)
        assert time.monotonic() - began < 10
        assert process.returncode == status and 'Traceback' not in rest
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize('taken', [0, 1])
def test_a_data_server_whose_port_is_taken_says_so(taken):
    port = clusters.free_ports(2)[0]
    with socket.socket() as other:
        # As gRPC opens its ports: a second server would share it without a word.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(('', port + taken))
        other.listen()
        process = start(port, '--allow_all_interfaces')
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    (line,) = [line for line in errors.splitlines() if line.startswith('error:')]
    assert f'Port {port + taken} cannot be opened' in line
    assert 'Choose another --port.' in line and 'Traceback' not in errors
