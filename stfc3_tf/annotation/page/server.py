"""The server of the page: listens on this machine and answers by `handlers`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
import contextlib

import tornado.httpserver
import tornado.netutil

from stfc3_tf import errors
from stfc3_tf.annotation.page import guard as guard_lib
from stfc3_tf.annotation.page import handlers
from stfc3_tf.annotation.page.desk import Desk

_MOST_BODY = 64 << 20
# Seconds that work may take to stop when the server ends.
_LONGEST_END = 10.0


@contextlib.contextmanager
def listening(desk: Desk, host: str, port: int) -> Iterator[str]:
    """Listen; yield the address of the page. Close all videos at the end.

    Args:
      desk: what the page can do.
      host: address of the interface.
      port: 0 for one that is free.

    Raises:
      errors.UserError: the port is taken, or the host is not an address of this machine.
    """
    token = guard_lib.new_token()
    try:
        sockets = tornado.netutil.bind_sockets(port, host)
    except OSError as error:
        raise errors.UserError(
            f'{host}:{port} cannot be listened on: {errors.one_line(error)}. Choose another '
            '--port, or leave it out.'
        ) from error
    server = tornado.httpserver.HTTPServer(
        handlers.application(desk, guard_lib.Guard(token, host)), max_body_size=_MOST_BODY
    )
    server.add_sockets(sockets)
    name = f'[{host}]' if ':' in host else host
    try:
        yield f'http://{name}:{sockets[0].getsockname()[1]}/{token}/'
    finally:  # A signal ends the block with an exception.
        server.stop()
        desk.close(_LONGEST_END)


def serve(desk: Desk, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve the page until the process is ended.

    Args:
      desk: see `listening`.
      host: see `listening`.
      port: see `listening`.
      say: called with the address.
    """

    async def forever() -> None:
        with listening(desk, host, port) as address:
            say(address)
            await asyncio.Event().wait()

    asyncio.run(forever())
