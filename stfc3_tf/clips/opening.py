"""From what a user writes after `--data` to a source of clips."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf

from stfc3_tf import errors, object_store
from stfc3_tf.clips import frame_folders, shards, source, synthetic, video, video_files

VIDEO_SUFFIXES = ('.mp4', '.webm', '.mkv', '.avi', '.mov', '.mpg', '.mpeg', '.m4v')


def open_source(data: str | None, frame_folder_rate: float = 24.0) -> source.Source:
    """Finds the videos that `data` means; whether each can be read shows when it is.

    Args:
      data: None for the built-in synthetic scenes; or a file, a folder (searched with all folders
        in it) or a glob. What is found may be video files, TFRecord shards ('.tfrecord' somewhere
        in the name), or, where there are neither, folders of pictures, each a video.
      frame_folder_rate: pictures per second of folders of pictures.

    Returns:
      The videos, in the order of their names.

    Raises:
      errors.UserError: nothing is there, or both video files and shards are, or `frame_folder_rate`
        is not positive.
    """
    if data is None:
        return synthetic.SyntheticScenes()
    if frame_folder_rate <= 0:
        raise errors.UserError(f'frame_folder_rate={frame_folder_rate}: must be positive.')
    files = sorted(find_files(data))
    videos = [file for file in files if file.lower().endswith(VIDEO_SUFFIXES)]
    records = [file for file in files if '.tfrecord' in _basename(file)]
    pictures = [file for file in files if video.is_picture(_basename(file))]
    folders = sorted({picture.rpartition('/')[0] for picture in pictures})
    if videos and records:
        raise errors.UserError(
            f'{data}: holds both video files ({videos[0]}, ...) and TFRecord shards '
            f'({records[0]}, ...). Name one kind, for example by a glob.'
        )
    if videos:
        return video_files.VideoFiles(videos)
    if records:
        return _opened_shards(data, records)
    if folders:
        return frame_folders.FrameFolders(folders, frame_folder_rate)
    raise errors.UserError(
        f'{data}: no videos there. Looked for video files ({", ".join(VIDEO_SUFFIXES)}), TFRecord '
        f'shards (.tfrecord) and folders of pictures ({", ".join(video.PICTURE_SUFFIXES)}); '
        f'found {len(files)} files, none of these.'
    )


def _opened_shards(data: str, paths: list[str]) -> shards.Shards:
    opened = shards.Shards(paths)
    if not len(opened):
        raise errors.UserError(f'{data}: the {len(paths)} TFRecord shards there hold no records.')
    return opened


def find_files(data: str) -> list[str]:
    """All files a path or glob stands for, those in folders included, without hidden ones.

    Raises:
      errors.UserError: nothing is there, or it cannot be looked into.
    """
    try:
        # A path that exists is taken as it stands, even with glob characters in it.
        matches = [data] if tf.io.gfile.exists(data) else tf.io.gfile.glob(data)
        found = {file for match in matches for file in _files_under(match)}
    except tf.errors.OpError as error:
        raise errors.UserError(f'{data}: {error.message}') from error
    if not matches:
        object_store.check(data)
        kind = 'glob matches nothing' if any(c in data for c in '*?[') else 'no such file or folder'
        raise errors.UserError(f'{data}: {kind}.')
    return [file for file in found if not _basename(file).startswith('.')]


def _files_under(path: str) -> Iterable[str]:
    if not tf.io.gfile.isdir(path):
        return [path]
    return [
        tf.io.gfile.join(folder, name)
        for folder, _, names in tf.io.gfile.walk(path)
        for name in names
    ]


def _basename(path: str) -> str:
    return path.rpartition('/')[2]
