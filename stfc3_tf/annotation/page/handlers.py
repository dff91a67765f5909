"""Handlers of the browser's requests over HTTP.

Every path begins with a secret, `/TOKEN/...`; whatever else is asked for is refused, see `guard`.

    GET    /                               the page; static/NAME: its parts
    GET    videos                          what may be opened, see `desk.Videos`
    POST   open                            {"name": ...} -> the state
    GET    v/ID/state                      all but frames and results
    GET    v/ID/times                      of all frames in seconds, a float64 each
    PUT    v/ID/things                     objects and points: numbers, names, colours
    GET    v/ID/frames/N                   a frame, JPEG; small/N: a small one
    GET    v/ID/masks/N                    object numbers, a byte per pixel, row by row; with
                                           ?before=1 what was propagated before; 204 if nothing
    PUT    v/ID/masks/N?objects=1,2        the mask given in a frame, PNG; DELETE removes it
    PUT    v/ID/points/N                   {"1": [x, y], "2": null}
    GET    v/ID/results                    what was propagated, without masks
    POST   v/ID/propagate                  see replaced_frames; v/ID/stop
    POST   v/ID/export                     {"formats": ["coco"]}, of other tools -> {"name": "001"}
    GET    v/ID/progress?since=N           of what is running
    GET    v/ID/exports/NAME.zip           an export

PUT and DELETE answer with the version of what is marked then. With ?known=VERSION they are refused
if another window changed something since that version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
import dataclasses
import gzip
import importlib.resources
import json
import os
import tempfile
from typing import Annotated, Any
import zipfile

from absl import logging
import pydantic
import tornado.web

from stfc3_tf import errors
from stfc3_tf.annotation.page import guard as guard_lib
from stfc3_tf.annotation.page.desk import Desk
from stfc3_tf.annotation.page.opened import Opened
from stfc3_tf.annotation.page.options import Missing
from stfc3_tf.annotation.replaced_frames import ReplacedFrames
from stfc3_tf.annotation.session import Number, Position, Things
from stfc3_tf.storage import state

_TYPES = {
    '.html': 'text/html',
    '.js': 'text/javascript',
    '.css': 'text/css',
    '.svg': 'image/svg+xml',
}
_REQUEST = 'The request'
_REMEDY = 'Reload the page.'
_CHUNK = 1 << 18
_Objects = list[Number]
_FrameNumber = Annotated[int, pydantic.Field(ge=0, lt=10**9)]
_FormatName = Annotated[str, pydantic.Field(max_length=40)]


@dataclasses.dataclass(frozen=True)
class _Export:
    """What to export: the formats of other tools in which labels are written, too."""

    formats: list[_FormatName]


class _Handler(tornado.web.RequestHandler):
    """A request that may be answered."""

    def initialize(self, desk: Desk, guard: guard_lib.Guard) -> None:
        """Take what all requests share."""
        self._desk, self._guard = desk, guard

    def set_default_headers(self) -> None:
        """Forbid what the page does not need."""
        self.clear_header('Server')
        for name, value in guard_lib.HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        """Refuse requests without the secret address."""
        if not self._guard.allows(self.request.path, self.request.host):
            raise tornado.web.HTTPError(403)

    def write_error(self, status_code: int, **_: Any) -> None:
        """Answer with a sentence."""
        sentence = {
            400: 'This request cannot be read.',
            403: 'This address is not the one that the command printed.',
            404: 'There is nothing here.',
            405: 'This cannot be done here.',
        }.get(status_code, 'The server failed; its terminal says why.')
        self.finish({'error': sentence})

    def log_exception(self, *arguments: Any) -> None:
        """Write faults of the program to the terminal, without the secret address."""
        kind, error = arguments[:2]
        if not issubclass(kind, tornado.web.HTTPError):
            logging.error('%s', self.request.method, exc_info=error)

    async def _answer(self, work: Callable[..., Any], *arguments: Any) -> None:
        """Do something in another thread and send what comes of it.

        A user's error is a 400. No bytes are a 204, which no browser takes for a failure.
        """
        try:
            found = await asyncio.get_running_loop().run_in_executor(None, work, *arguments)
        except errors.UserError as error:
            self.set_status(_status_of(error))
            self.set_header('Cache-Control', 'no-store')  # It may be there later.
            found = {'error': str(error)}
        if isinstance(found, bytes):
            self.set_status(200 if found else 204)
            self.finish(found or None)
        else:
            self.set_header('Content-Type', 'application/json')
            self.finish(json.dumps({} if found is None else found))

    def _video(self, identifier: str) -> Opened:
        return self._desk.get(identifier)

    def _known(self) -> str | None:
        """Return the version that a change is based on, if the request names it."""
        return self.get_query_argument('known', None)

    def _body(self, schema: Any) -> Any:
        return state.parse_json(self.request.body, schema, _REQUEST, _REMEDY)


class _Static(_Handler):
    def get(self, name: str) -> None:
        """Send a part of the page."""
        name = name or 'index.html'
        contents = _STATIC.get(name)
        if contents is None:
            raise tornado.web.HTTPError(404)
        kind = _TYPES[os.path.splitext(name)[1]]
        self.set_header('Content-Type', f'{kind}; charset=utf-8')
        self.finish(contents)


class _Videos(_Handler):
    async def get(self) -> None:
        """List what may be opened."""
        await self._answer(lambda: self._desk.videos()._asdict())


class _Open(_Handler):
    async def post(self) -> None:
        """Open a video."""
        await self._answer(self._opened)

    def _opened(self) -> dict[str, Any]:
        return self._desk.open(self._body(dict[str, str]).get('name', '')).state()


class _State(_Handler):
    async def get(self, identifier: str) -> None:
        """Send the state of a video."""
        await self._answer(lambda: self._video(identifier).state())


class _Times(_Handler):
    async def get(self, identifier: str) -> None:
        """Send the times of the frames."""
        self.set_header('Content-Type', 'application/octet-stream')
        await self._answer(lambda: self._video(identifier).times())


class _Results(_Handler):
    async def get(self, identifier: str) -> None:
        """Send what was propagated."""
        await self._answer(lambda: self._video(identifier).records())


class _Things(_Handler):
    async def put(self, identifier: str) -> None:
        """Keep names and colours."""
        await self._answer(
            lambda: self._video(identifier).set_things(self._body(Things), self._known())
        )


class _Frames(_Handler):
    async def get(self, identifier: str, kind: str, number: str) -> None:
        """Send a frame."""
        self.set_header('Content-Type', 'image/jpeg')
        self.set_header('Cache-Control', 'private, max-age=3600')
        await self._answer(self._jpeg, identifier, kind, int(number))

    def _jpeg(self, identifier: str, kind: str, number: int) -> bytes:
        frames = self._video(identifier).frames
        if kind == 'frames':
            return frames.jpeg(number)
        small = frames.small.get(number)
        if small is None:
            raise Missing(f'There is no small picture of frame {number}.')
        return small


class _Masks(_Handler):
    async def get(self, identifier: str, number: str) -> None:
        """Send the mask of a frame."""
        self.set_header('Content-Type', 'application/octet-stream')
        await self._answer(self._packed, identifier, int(number))

    async def put(self, identifier: str, number: str) -> None:
        """Keep the mask of a frame."""
        await self._answer(self._put, identifier, int(number))

    async def delete(self, identifier: str, number: str) -> None:
        """Remove the mask given in a frame."""
        await self._answer(lambda: self._video(identifier).remove_mask(int(number), self._known()))

    def _packed(self, identifier: str, number: int) -> bytes:
        video = self._video(identifier)
        before = self.get_query_argument('before', '')
        mask = video.mask_before(number) if before else video.mask(number)
        if mask is None:
            return b''
        self.set_header('Content-Encoding', 'gzip')
        return gzip.compress(mask.tobytes(), 1)

    def _put(self, identifier: str, number: int) -> dict[str, str]:
        text = self.get_query_argument('objects', '')
        listed = [part for part in text.split(',') if part]
        objects = state.checked(listed, _Objects, 'objects', _REMEDY)
        video = self._video(identifier)
        return video.put_mask(number, self.request.body, objects, self._known())


class _Points(_Handler):
    async def put(self, identifier: str, number: str) -> None:
        """Keep the points of a frame."""
        await self._answer(
            lambda: self._video(identifier).put_points(
                int(number), self._body(dict[Number, Position]), self._known()
            )
        )


class _Work(_Handler):
    async def post(self, identifier: str, task: str) -> None:
        """Begin or stop some work."""
        await self._answer(self._do, identifier, task)

    def _do(self, identifier: str, task: str) -> Any:
        video = self._video(identifier)
        if task == 'propagate':
            video.propagate(self._body(ReplacedFrames))
        elif task == 'export':
            return {'name': video.export(self._body(_Export).formats)}
        else:
            video.stop()
        return None


class _Progress(_Handler):
    async def get(self, identifier: str) -> None:
        """Send how far the work is."""
        await self._answer(self._found, identifier)

    def _found(self, identifier: str) -> dict[str, Any]:
        since = self.get_query_argument('since', '0')
        number = state.checked(since, _FrameNumber, 'since', _REMEDY)
        return self._video(identifier).progress(number)


class _Exports(_Handler):
    async def get(self, identifier: str, name: str) -> None:
        """Send an export as one file."""
        loop = asyncio.get_running_loop()
        try:
            folder = await loop.run_in_executor(None, self._folder, identifier, name)
        except errors.UserError as error:
            self.set_status(_status_of(error))
            self.finish({'error': str(error)})
            return
        with tempfile.TemporaryFile() as file:
            await loop.run_in_executor(None, _zip, folder, file)
            self.set_header('Content-Type', 'application/zip')
            self.set_header('Content-Disposition', f'attachment; filename="export-{name}.zip"')
            file.seek(0)
            while chunk := await loop.run_in_executor(None, file.read, _CHUNK):
                self.write(chunk)
                await self.flush()

    def _folder(self, identifier: str, name: str) -> str:
        return self._video(identifier).export_folder(name)


def _status_of(error: errors.UserError) -> int:
    return 404 if isinstance(error, Missing) else 400


def _zip(folder: str, file: Any) -> None:
    with zipfile.ZipFile(file, 'w') as archive:
        for parent, _, names in os.walk(folder):
            for name in sorted(names):
                path = os.path.join(parent, name)
                archive.write(path, os.path.relpath(path, folder))


class _Nothing(_Handler):
    def prepare(self) -> None:
        """Answer 403 without the secret address, 404 with it."""
        super().prepare()
        raise tornado.web.HTTPError(404)


def _static() -> dict[str, bytes]:
    """Return name -> contents of the page's parts."""
    folder = importlib.resources.files(__package__) / 'static'
    found = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}
    return {name: each for name, each in found.items() if os.path.splitext(name)[1] in _TYPES}


_STATIC = _static()


def application(desk: Desk, guard: guard_lib.Guard) -> tornado.web.Application:
    """Return what answers requests."""
    shared = {'desk': desk, 'guard': guard}
    video = r'/[^/]+/v/([^/]+)'
    routes: list[tuple[str, type[_Handler]]] = [
        (r'/[^/]+/()', _Static),
        (r'/[^/]+/static/([a-z_.]+)', _Static),
        (r'/[^/]+/videos', _Videos),
        (r'/[^/]+/open', _Open),
        (f'{video}/state', _State),
        (f'{video}/times', _Times),
        (f'{video}/results', _Results),
        (f'{video}/things', _Things),
        (rf'{video}/(frames|small)/(\d{{1,9}})', _Frames),
        (rf'{video}/masks/(\d{{1,9}})', _Masks),
        (rf'{video}/points/(\d{{1,9}})', _Points),
        (f'{video}/(propagate|export|stop)', _Work),
        (f'{video}/progress', _Progress),
        (rf'{video}/exports/(\d{{1,9}})\.zip', _Exports),
    ]
    return tornado.web.Application(
        [(path, handler, shared) for path, handler in routes],
        default_handler_class=_Nothing,
        default_handler_args=shared,
        log_function=lambda _: None,  # The addresses hold the secret.
    )
