"""The videos that the page may open, and those that are open.

Videos are read below one folder, or one video is, and everything is written below another folder,
that of the sessions. No other file is touched, whatever is asked for.
"""

from __future__ import annotations

import os
import threading
import time
from typing import NamedTuple

from stfc3_tf.annotation.page.loading_encoder import LoadingEncoder
from stfc3_tf.annotation.page.opened import Opened
from stfc3_tf.annotation.page.options import Missing, Options
from stfc3_tf.clips import video
from stfc3_tf.storage import folders, names

_MOST_VIDEOS = 1000
_MOST_OPEN = 3


class Videos(NamedTuple):
    """The videos and folders of pictures that may be opened.

    Attributes:
      names: relative to the root, at most `_MOST_VIDEOS` of them.
      more: how many can be opened that are not named.
      outside: how many links lead out of the root; they cannot be opened.
    """

    names: list[str]
    more: int = 0
    outside: int = 0


class Desk:
    """The videos that may be opened, and those that are open."""

    def __init__(self, options: Options):
        """Begin to load the encoder."""
        self._options = options
        self._encoder = LoadingEncoder(options.load)
        self._lock = threading.Lock()
        # Those that were used last come last.
        self._opened: dict[str, Opened] = {}
        self._names: dict[str, str] = {}

    def videos(self) -> Videos:
        """Return what may be opened."""
        if self._options.video is not None:
            return Videos([self._options.video])
        return _listed(self._options.root, self._options.output_dir)

    def open(self, name: str) -> Opened:
        """Open a video and its session.

        Args:
          name: of a video, relative to the root; `videos()` may leave it out.

        Raises:
          errors.UserError: it may not be opened, or cannot be read.
        """
        path = self._path(name)
        identifier = names.file_name(name)
        with self._lock:
            self._names[identifier] = name
            for each in self._opened.values():
                if each.identifier != identifier:
                    each.search.stop()
            return self._used(identifier, path)

    def get(self, identifier: str) -> Opened:
        """Return a video that was opened before; raise `Missing` if it was not.

        It may have been closed because others were opened: some window still shows it.
        """
        with self._lock:
            if identifier not in self._names:
                raise Missing('This video is not open: open it first.')
            return self._used(identifier, self._path(self._names[identifier]))

    def close(self, seconds: float | None = None) -> None:
        """Close all videos.

        Args:
          seconds: that work may take to stop; a video on which it goes on stays open until the
            process ends. None for as long as it takes.
        """
        end = None if seconds is None else time.monotonic() + seconds
        with self._lock:
            for each in self._opened.values():
                each.stop()
            for each in self._opened.values():
                each.close(None if end is None else max(0.0, end - time.monotonic()))
            self._opened.clear()

    def _used(self, identifier: str, path: str) -> Opened:
        found = self._opened.pop(identifier, None)
        if found is None:
            found = Opened(identifier, path, self._options, self._encoder)
        self._close_oldest()
        self._opened[identifier] = found
        return found

    def _close_oldest(self) -> None:
        """Close those that are too many beside one more, except those that are worked on."""
        idle = [name for name, each in self._opened.items() if each.is_idle]
        for name in idle[: max(0, len(self._opened) + 1 - _MOST_OPEN)]:
            self._opened.pop(name).close()

    def _path(self, name: str) -> str:
        """Return the path of a video; refuse every name that leads out of the root.

        A video has one name only, without `.` and `..`, because its session is found by it.
        """
        root = os.path.realpath(self._options.root)
        path = os.path.join(root, name)
        if not _is_file_name(name):
            allowed = False
        elif self._options.video is None:
            is_inside = os.path.realpath(path).startswith(os.path.join(root, ''))
            allowed = is_inside and name == os.path.relpath(path, root)
        else:
            allowed = name == self._options.video
        if not allowed or not os.path.exists(path):
            raise Missing(f'There is no video {name[:200]!r} in the folder of the videos.')
        return path


def _is_file_name(name: str) -> bool:
    try:
        return b'\x00' not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


def _listed(root: str, sessions: str) -> Videos:
    """Return videos and folders of pictures in a folder and those below it, without sessions."""
    names: list[str] = []
    outside = 0
    top, left_out = os.path.join(os.path.realpath(root), ''), os.path.realpath(sessions)
    for folder, below, files in os.walk(root):
        if os.path.realpath(folder) == left_out:
            below.clear()
            continue
        below[:] = sorted(name for name in below if not folders.is_added(name))
        found = list(filter(video.is_video_file, sorted(files)))
        leading_out = {name for name in (*found, *below) if _leads_out(folder, name, top)}
        outside += len(leading_out)
        paths = [os.path.join(folder, name) for name in found if name not in leading_out]
        if folder != root and any(map(video.is_picture, files)):
            paths.append(folder)
        names.extend(os.path.relpath(path, root) for path in paths)
    return Videos(names[:_MOST_VIDEOS], max(0, len(names) - _MOST_VIDEOS), outside)


def _leads_out(folder: str, name: str, top: str) -> bool:
    path = os.path.join(folder, name)
    return os.path.islink(path) and not os.path.realpath(path).startswith(top)
