"""The source of clips that a user means by `--data`."""

from __future__ import annotations

import collections
from collections.abc import Collection, Iterable

from absl import logging
import tensorflow as tf

from stfc3_tf import checks, errors, wording
from stfc3_tf.clips import (
    frame_folders,
    label_folders,
    shards,
    source,
    still_pictures,
    synthetic,
    video,
    video_files,
)
from stfc3_tf.storage import folders, object_store


def open_source(
    data: str | None, frame_folder_rate: float = 24.0, stills: bool = False
) -> source.Source:
    """Return the videos in `data` without opening them.

    Args:
      data: None for the built-in synthetic scenes; or a file, a folder (searched with all folders
        in it) or a glob. It may hold video files, TFRecord shards ('.tfrecord' somewhere in the
        name) or, without any of these, folders of pictures, each a video. Folders of label maps
        beside folders of frames are left out.
      frame_folder_rate: pictures per second of folders of pictures, and frames per second of video
        streams without times.
      stills: whether each picture is a video of its own, not a frame of its folder.

    Returns:
      The videos, in the order of their names.

    Raises:
      errors.UserError: nothing is there, or both video files and shards are, or `frame_folder_rate`
        is not positive.
    """
    if data is None:
        return synthetic.SyntheticScenes()
    checks.frame_rate('frame_folder_rate', frame_folder_rate)
    files = sorted(find_files(data))
    videos = [file for file in files if file.lower().endswith(video.VIDEO_SUFFIXES)]
    records = [file for file in files if '.tfrecord' in _basename(file)]
    if videos and records:
        raise errors.UserError(
            f'{data}: holds both video files ({videos[0]}, ...) and TFRecord shards '
            f'({records[0]}, ...). Name one kind, for example by a glob.'
        )
    if videos:
        warn_of_pictures(pictures_beside(files, videos))
        return video_files.VideoFiles(videos, frame_folder_rate)
    if records:
        return _opened_shards(data, records)
    if found := picture_folders(files):
        if stills:
            return still_pictures.StillPictures(_pictures_of(files, found))
        return frame_folders.FrameFolders(found, frame_folder_rate)
    raise errors.UserError(
        f'{data}: no videos there. Looked for video files ({", ".join(video.VIDEO_SUFFIXES)}), '
        'TFRecord shards (.tfrecord) and folders of pictures '
        f'({", ".join(video.PICTURE_SUFFIXES)}); '
        f'found {wording.counted(len(files), "file")}, none of these.'
    )


def _opened_shards(data: str, paths: list[str]) -> shards.Shards:
    opened = shards.Shards(paths)
    if not len(opened):
        found = wording.counted(len(paths), 'TFRecord shard')
        raise errors.UserError(f'{data}: no records in {found}.')
    return opened


def picture_folders(files: Iterable[str]) -> list[str]:
    """Return the folders whose pictures are frames, sorted; label maps are not."""
    return sorted(label_folders.without_label_maps(_pictures_by_folder(files)))


def _pictures_by_folder(files: Iterable[str]) -> dict[str, list[str]]:
    pictures = collections.defaultdict(list)
    for file in files:
        folder, _, name = file.rpartition('/')
        if video.is_picture(name):
            pictures[folder].append(file)
    return pictures


def pictures_beside(files: Iterable[str], videos: Iterable[str]) -> list[str]:
    """Return the folders of pictures, of frames or of labels, in which no video file is, sorted."""
    holding = {path.rpartition('/')[0] for path in videos}
    return sorted(_pictures_by_folder(files).keys() - holding)


def warn_of_pictures(
    left_out: Collection[str],
    why: str = 'there are video files',
    cure: str = 'name the folder',
) -> None:
    """Log that folders of pictures are not read as videos.

    Args:
      left_out: the folders; nothing is logged if there are none.
      why: they are left out.
      cure: what to do to have them read.
    """
    if left_out:
        more = wording.counted(len(left_out) - 1, 'more folder')
        logging.warning(
            'Pictures are not read as videos, as %s: %s%s. To use them, %s.',
            *(why, min(left_out), f' and {more}' if len(left_out) > 1 else '', cure),
        )


def _pictures_of(files: Iterable[str], chosen: Collection[str]) -> list[str]:
    """Return the pictures among files that lie in the chosen folders."""
    chosen = set(chosen)
    found = (file.rpartition('/') for file in files)
    return [
        f'{folder}/{name}' if folder else name
        for folder, _, name in found
        if folder in chosen and video.is_picture(name)
    ]


def find_files(data: str) -> list[str]:
    """Return all files that match a path or glob, also those in folders, each once.

    In a glob, `**` matches any folders. Hidden files are left out.

    Raises:
      errors.UserError: nothing is there, or it cannot be listed.
    """
    object_store.check_text(data)
    try:
        matches = folders.matches(data)
        found = folders.each_once(file for match in matches for file in folders.files_under(match))
    except tf.errors.OpError as error:
        raise errors.UserError(f'{data}: {error.message}') from error
    if not matches:
        object_store.check(data)
        kind = 'glob matches nothing' if any(c in data for c in '*?[') else 'no such file or folder'
        raise errors.UserError(f'{data}: {kind}.')
    return [file for file in found if not folders.is_added(_basename(file))]


def _basename(path: str) -> str:
    return path.rpartition('/')[2]
