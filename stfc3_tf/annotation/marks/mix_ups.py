"""Checks for arguments that are mixed up, so that the message says so."""

from __future__ import annotations

from collections.abc import Sequence
import posixpath

from stfc3_tf import errors, wording
from stfc3_tf.clips import opening
from stfc3_tf.clips import video as video_lib
from stfc3_tf.storage import files, folders

_TABLES = ('.json', '.csv', '.tsv', '.txt')


def check(video: str, masks: Sequence[str], points: Sequence[str]) -> None:
    """Raise UserError if a video, masks or points are given under the wrong flag, by their endings.

    Args:
      video: path of the video.
      masks: paths of masks.
      points: paths of points.
    """
    labels = [*masks, *points]
    turned = [each for each in labels if _ends(each, opening.VIDEO_SUFFIXES)]
    if turned and _ends(video, (*video_lib.PICTURE_SUFFIXES, *_TABLES)):
        name = '--mask' if masks else '--points'
        raise errors.UserError(
            f'--video={video} and {name}={turned[0]} are the wrong way round: give the video as '
            f'--video, and the labels as {name}.'
        )
    for each in points:
        if _ends(each, video_lib.PICTURE_SUFFIXES):
            raise errors.UserError(f'{each} is a picture, not points: give a mask as --mask.')
    _check_folder(video)


def check_pictures(masks: Sequence[str]) -> None:
    """Raise UserError if a mask is a table that no other tool wrote."""
    for each in masks:
        if _ends(each, _TABLES):
            raise errors.UserError(
                f'{each} holds no masks of a known tool: give a picture, or points as --points.'
            )


def _check_folder(video: str) -> None:
    """Raise UserError if a folder holds videos instead of the pictures of one."""
    if not folders.is_folder(video):
        return
    names = files.names_in(video)
    videos = [name for name in names if _is_of(name, opening.VIDEO_SUFFIXES)]
    if videos and not any(map(video_lib.is_picture, names)):
        raise errors.UserError(
            f'{video} holds {wording.counted(len(videos), "video")} and no pictures: give one, '
            f'such as {posixpath.join(video, sorted(videos)[0])}, or all with --videos={video}.'
        )


def _ends(path: str, endings: Sequence[str]) -> bool:
    return _is_of(path, endings) and files.exists(path) and not folders.is_folder(path)


def _is_of(name: str, endings: Sequence[str]) -> bool:
    return name.lower().endswith(tuple(endings))
