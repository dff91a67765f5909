"""The list of videos that a user means by `--input`."""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
import csv

import tensorflow as tf

from stfc3_tf import errors, wording
from stfc3_tf.clips import opening, video
from stfc3_tf.storage import folders, object_store, text

_COLUMNS = ('path', 'video_path')
# So many lines of a list are tried as paths, to find the separator.
_PROBED = 20
# It stands in no path. Python 3.9 and 3.10 do not take '\0'.
_NO_SEPARATOR = '\x1f'


def list_videos(inputs: Sequence[str]) -> list[str]:
    """Return the videos, without opening them.

    Args:
      inputs: files, folders (searched with all folders in them), globs, or lists of videos (.csv,
        .tsv). If a folder or glob holds no video files, its folders of pictures are the videos;
        otherwise a warning names those.

    Returns:
      Paths of video files and of folders of pictures, sorted, each once.

    Raises:
      errors.UserError: there is nothing at one of the inputs.
    """
    if not inputs:
        raise errors.UserError('--input: name a folder, glob or CSV list of videos.')
    listed = [(_listed(entry), []) if _is_list(entry) else find(entry) for entry in inputs]
    found = folders.each_once(path for videos, _ in listed for path in videos)
    opening.warn_of_pictures({path for _, beside in listed for path in beside} - set(found))
    return found


def _is_list(entry: str) -> bool:
    return entry.lower().endswith(('.csv', '.tsv'))


def find(entry: str) -> tuple[list[str], list[str]]:
    """Return the videos in a folder or a glob, and folders of pictures beside video files.

    Raises:
      errors.UserError: there are no videos.
    """
    files = opening.find_files(entry)
    videos = [file for file in files if file.lower().endswith(video.VIDEO_SUFFIXES)]
    if videos:
        return videos, opening.pictures_beside(files, videos)
    pictures = opening.picture_folders(files)
    if not pictures:
        raise errors.UserError(
            f'{entry}: no videos there. Looked for video files '
            f'({", ".join(video.VIDEO_SUFFIXES)}) and folders of pictures; found '
            f'{wording.counted(len(files), "file")}, none of these. A list of videos is a file '
            'that ends in .csv or .tsv.'
        )
    return pictures, []


def _listed(path: str) -> list[str]:
    """Read a list: a table with a column `path` or `video_path`, or one path per line."""
    lines = [line for line in _lines(path) if line.strip()]
    if not lines:
        raise errors.UserError(f'{path}: lists no videos.')
    folder = path.rpartition('/')[0]
    try:
        names = _names(path, lines, folder)
    except csv.Error as error:
        raise errors.UserError(f'{path} is no list of videos: {error}.') from error
    if not names:
        raise errors.UserError(f'{path}: lists no videos.')
    if '' in names:
        raise errors.UserError(f'{path}: entry {names.index("") + 1} names no video.')
    return [place(folder, name) for name in names]


def _names(path: str, lines: list[str], folder: str) -> list[str]:
    """Return the entries of a list; raise csv.Error where a line is no line of a table."""
    separator = text.separator_of(lines[0], lambda heading: bool(set(_COLUMNS) & set(heading)))
    if separator is not None:
        return _column(path, lines, separator)
    return _without_heading(path, lines, folder)


def _lines(path: str) -> list[str]:
    try:
        return text.decode(object_store.read(path), path).splitlines()
    except tf.errors.OpError as error:
        raise errors.UserError(f'{path}: {error.message}') from error


def place(folder: str, name: str) -> str:
    """Return a listed path, which may be relative to the folder of the list."""
    return name if '://' in name else tf.io.gfile.join(folder, name)


def _column(path: str, lines: list[str], separator: str) -> list[str]:
    """Return the entries in the column of paths."""
    heading = text.fields(lines[0], separator)
    if {'start', 'end'} & set(heading):
        raise errors.UserError(
            f'{path}: has columns start or end, but videos are prepared whole. Cut them first, or '
            'leave the columns out.'
        )
    column = next(heading.index(name) for name in _COLUMNS if name in heading)
    rows = [text.fields(line, separator) for line in lines[1:]]
    return [row[column] if column < len(row) else '' for row in rows]


def _without_heading(path: str, lines: list[str], folder: str) -> list[str]:
    """Return the entries of a list without heading.

    Whole lines are paths, or their first fields, with the separator for which such files exist.
    """
    readings = {'line': [text.fields(line, _NO_SEPARATOR)[0] for line in lines]}
    for separator, name in text.SEPARATORS.items():
        readings[name] = [(text.fields(line, separator) or [''])[0] for line in lines]
    for names in readings.values():
        if any(_exists(place(folder, name)) for name in names[:_PROBED] if name):
            return names
    if all(names == readings['line'] for names in readings.values()):
        return readings['line']
    raise errors.UserError(
        f'{path}: no column is called {" or ".join(_COLUMNS)}, and no video is at the beginning of '
        f'its lines, which may be separated by {", ".join(text.SEPARATORS.values())}; its first '
        f'line is {lines[0][:200]!r}.'
    )


def _exists(path: str) -> bool:
    # A list may contain anything; what is not a valid path does not exist.
    with contextlib.suppress(errors.UserError, ValueError, OSError):
        return folders.exists(path)
    return False
