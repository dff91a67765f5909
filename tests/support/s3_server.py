"""An S3-compatible server on loopback that fails on request, for tests.

    python tests/support/s3_server.py PORT

Prints the port; PORT 0 chooses a free one. The server ends when its standard input ends. Tests
start it with `running`. Its objects are in memory only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

import boto3
import botocore.config
from moto.moto_server import werkzeug_app
from werkzeug import serving

BUCKET = 'bucket'
_CONTROL = '/_faults'
_ERROR = b'<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>'


@dataclasses.dataclass
class Faults:
    """What the server does to requests whose 'METHOD /path?query' matches a pattern.

    Attributes:
      kind: a status such as '503'; 'reset' closes the connection; 'cut' sends half of the answer;
        'hang' never answers.
      pattern: regular expression, searched for.
      count: number of further requests that fail; it counts down.
      met: number of requests that failed.
    """

    kind: str = ''
    pattern: str = ''
    count: int = 0
    met: int = 0


class _Application:
    def __init__(self):
        self._s3 = werkzeug_app.DomainDispatcherApplication(werkzeug_app.create_backend_app)
        self._faults = Faults()
        self._lock = threading.Lock()

    def __call__(self, environ, start_response):
        if environ['PATH_INFO'] == _CONTROL:
            return self._control(environ, start_response)
        request = f'{environ["REQUEST_METHOD"]} {environ["PATH_INFO"]}?{environ["QUERY_STRING"]}'
        kind = self._fault_of(request)
        if kind == 'hang':
            time.sleep(600)
        if kind == 'reset':
            _reset(environ['werkzeug.socket'])
        if kind.isdecimal():
            environ['wsgi.input'].read(int(environ.get('CONTENT_LENGTH') or 0))
            start_response(f'{kind} Fault', [('Content-Length', str(len(_ERROR)))])
            return [_ERROR]
        answer = self._s3(environ, start_response)
        if kind == 'cut':
            whole = b''.join(answer)
            return _cut(whole[: len(whole) // 2])
        return answer

    def _control(self, environ, start_response):
        faults = self._faults
        if environ['QUERY_STRING']:
            wanted = dict(urllib.parse.parse_qsl(environ['QUERY_STRING'], keep_blank_values=True))
            faults = self._faults = Faults(wanted['kind'], wanted['pattern'], int(wanted['count']))
        text = str(faults.met).encode()
        start_response('200 OK', [('Content-Length', str(len(text)))])
        return [text]

    def _fault_of(self, request):
        with self._lock:
            faults = self._faults
            if not faults.count or not re.search(faults.pattern, request):
                return ''
            faults.count -= 1
            faults.met += 1
            return faults.kind


def _cut(half):
    yield half
    raise ConnectionError('cut')


def _reset(connection):
    """Close the connection at once, without the handshake of an orderly end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionError('reset')


class Server:
    """A running server.

    Attributes:
      port: on 127.0.0.1.
      environment: variables with which TensorFlow finds it, and gives up soon after faults.
      client: a client of boto3, an independent look into the store.
    """

    def __init__(self, port: int):
        self.port = port
        address = f'http://127.0.0.1:{port}'
        self.environment = {
            'S3_ENDPOINT': address,
            'AWS_REGION': 'us-east-1',
            'AWS_ACCESS_KEY_ID': 'test',
            'AWS_SECRET_ACCESS_KEY': 'test',
            'AWS_EC2_METADATA_DISABLED': 'true',
            'AWS_RETRY_MODE': 'standard',
            'AWS_MAX_ATTEMPTS': '2',
        }
        self.client = boto3.client(
            's3',
            endpoint_url=address,
            region_name='us-east-1',
            aws_access_key_id='test',
            aws_secret_access_key='test',
            config=botocore.config.Config(s3={'addressing_style': 'path'}),
        )

    def fail(self, kind: str, count: int = 1_000_000, pattern: str = '') -> None:
        """Set `Faults`, in place of those set before."""
        self._ask('?' + urllib.parse.urlencode({'kind': kind, 'count': count, 'pattern': pattern}))

    def met(self) -> int:
        """Return how many requests met the faults that were set last."""
        return int(self._ask(''))

    def put(self, key: str, contents: bytes) -> None:
        """Write an object."""
        self.client.put_object(Bucket=BUCKET, Key=key, Body=contents)

    def get(self, key: str) -> bytes:
        """Read an object."""
        return self.client.get_object(Bucket=BUCKET, Key=key)['Body'].read()

    def upload(self, folder: pathlib.Path, prefix: str) -> None:
        """Upload all files of a local folder."""
        for path in folder.rglob('*'):
            if path.is_file():
                self.put(f'{prefix}/{path.relative_to(folder).as_posix()}', path.read_bytes())

    def keys(self, prefix: str) -> list[str]:
        """Return the names of the objects that begin with `prefix`."""
        pages = self.client.get_paginator('list_objects_v2').paginate(Bucket=BUCKET, Prefix=prefix)
        return [found['Key'] for page in pages for found in page.get('Contents', ())]

    def _ask(self, query: str) -> str:
        with urllib.request.urlopen(f'http://127.0.0.1:{self.port}{_CONTROL}{query}') as answer:
            return answer.read().decode()


@contextlib.contextmanager
def running():
    """Start a server with an empty `BUCKET` in a process of its own; yield a `Server`."""
    process = subprocess.Popen(
        [sys.executable, __file__, '0'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        server = Server(int(process.stdout.readline()))
        server.client.create_bucket(Bucket=BUCKET)
        yield server
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _end_with_input():
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    """Serve until killed, or until standard input ends."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    logging.getLogger('werkzeug').setLevel(logging.CRITICAL)
    server = serving.make_server('127.0.0.1', int(sys.argv[1]), _Application(), threaded=True)
    print(server.port, flush=True)
    server.serve_forever()


if __name__ == '__main__':
    main()
