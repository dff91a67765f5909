"""The page's server in this process, on a video whose labels are known."""

import asyncio
import contextlib
import http.client
import io
import json
import threading
import urllib.parse

import numpy as np
from PIL import Image

from stfc3_tf.annotation.page import server
from stfc3_tf.annotation.page.desk import Desk
from stfc3_tf.annotation.page.options import Options
from stfc3_tf.propagation.extractor import FunctionExtractor
from stfc3_tf.propagation.settings import PropagationSettings
from stfc3_tf.views.cell_grid import CellGrid


def colours(frames):
    """Features that tell all colours apart; cells are centred on pixels 0, 8, ..."""
    waves = np.random.default_rng(0).standard_normal((3, 64)) / 15
    phases = frames[:, ::8, ::8].astype(np.float32) @ waves.astype(np.float32)
    return np.concatenate([np.cos(phases), np.sin(phases)], -1) / 8


def encoder(features=colours):
    return FunctionExtractor(features, CellGrid(0.0, 8))


def options(root, output_dir, load=encoder, video=None):
    settings = PropagationSettings()
    return Options(str(root), video, str(output_dir), load, settings, None, 10.0, ['cvat'])


def png(mask, mode='L'):
    contents = io.BytesIO()
    Image.fromarray(mask).convert(mode).save(contents, 'PNG')
    return contents.getvalue()


class Client:
    """Asks the server; paths begin behind the secret."""

    def __init__(self, address, desk):
        self.desk = desk
        parts = urllib.parse.urlsplit(address)
        self.host, self.port, self.secret = parts.hostname, parts.port, parts.path
        self.address = address

    def ask(self, method, path, body=None, headers=()):
        """Return status, headers and contents."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def get(self, path):
        status, _, contents = self.ask('GET', self.secret + path)
        return status, contents

    def json(self, method, path, value=None, body=None):
        """Return status and decoded contents."""
        body = json.dumps(value).encode() if body is None and value is not None else body
        status, headers, contents = self.ask(method, self.secret + path, body)
        assert headers['Content-Type'].startswith('application/json'), contents[:200]
        return status, json.loads(contents)

    def done(self, method, path, value=None, body=None):
        """Return decoded contents of what must succeed."""
        status, found = self.json(method, path, value, body)
        assert status == 200, found
        return found


@contextlib.contextmanager
def serving(chosen, host='127.0.0.1'):
    """A client of a server in a thread of its own."""
    found, ended = {}, {}
    ready = threading.Event()

    async def serve():
        ended['loop'], ended['event'] = asyncio.get_running_loop(), asyncio.Event()
        desk = Desk(chosen)
        with server.listening(desk, host, 0) as address:
            found['client'] = Client(address, desk)
            ready.set()
            await ended['event'].wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(60)
        yield found['client']
    finally:
        ended['loop'].call_soon_threadsafe(ended['event'].set)
        thread.join(60)
