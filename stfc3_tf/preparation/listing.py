"""From what a user writes after `--input` to the list of videos."""

from __future__ import annotations

import csv
from collections.abc import Sequence

import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.clips import opening, video

_COLUMNS = ('path', 'video_path')


def list_videos(inputs: Sequence[str]) -> list[str]:
    """Finds the videos; whether each can be read shows when it is.

    Args:
      inputs: files, folders (searched with all folders in them), globs, or CSV lists of videos.
        Where a folder or glob leads to no video files, its folders of pictures are the videos.

    Returns:
      Paths of video files and of folders of pictures, sorted, each once.

    Raises:
      errors.UserError: there is nothing at one of the inputs.
    """
    if not inputs:
        raise errors.UserError('--input: name a folder, glob or CSV list of videos.')
    videos = {video for entry in inputs for video in _videos_of(entry)}
    return sorted(videos)


def _videos_of(entry: str) -> list[str]:
    if entry.lower().endswith('.csv'):
        return _listed(entry)
    files = opening.find_files(entry)
    videos = [file for file in files if file.lower().endswith(opening.VIDEO_SUFFIXES)]
    if videos:
        return videos
    folders = {file.rpartition('/')[0] for file in files if video.is_picture(_name(file))}
    if not folders:
        raise errors.UserError(
            f'{entry}: no videos there. Looked for video files '
            f'({", ".join(opening.VIDEO_SUFFIXES)}) and folders of pictures; found {len(files)} '
            'files, none of these. A list of videos is a file that ends in .csv.'
        )
    return sorted(folders)


def _listed(path: str) -> list[str]:
    """Reads a CSV list: a column `path` or `video_path`, or one column without a heading."""
    try:
        with tf.io.gfile.GFile(path, 'rb') as file:
            lines = file.read().decode('utf-8-sig').splitlines()
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        raise errors.UserError(f'{path}: {getattr(error, "message", error)}') from error
    rows = [row for row in csv.reader(lines) if row]
    column = _path_column(path, rows[0]) if rows else 0
    headed = bool(rows) and rows[0][column] in _COLUMNS
    names = [row[column].strip() if column < len(row) else '' for row in rows[headed:]]
    if not names:
        raise errors.UserError(f'{path}: lists no videos.')
    if '' in names:
        raise errors.UserError(f'{path}: entry {names.index("") + 1} names no video.')
    folder = path.rpartition('/')[0]
    return [name if '://' in name else tf.io.gfile.join(folder, name) for name in names]


def _path_column(path: str, heading: list[str]) -> int:
    if {'start', 'end'} & set(heading):
        raise errors.UserError(
            f'{path}: has columns start or end, but videos are prepared whole. Cut them first, or '
            'leave the columns out.'
        )
    for name in _COLUMNS:
        if name in heading:
            return heading.index(name)
    if len(heading) == 1:
        return 0
    raise errors.UserError(
        f'{path}: no column is called {" or ".join(_COLUMNS)}; its first line is '
        f'{",".join(heading)}.'
    )


def _name(path: str) -> str:
    return path.rpartition('/')[2]
