"""Checks for arguments that are mixed up, so that the message says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
import itertools

from stfc3_tf import errors
from stfc3_tf.annotation.marks import flat_colours, other_tools
from stfc3_tf.clips import video as video_lib
from stfc3_tf.clips.frame import Frame
from stfc3_tf.storage import files, folders

# Frames of a video that tell whether it shows masks.
_LOOKED_AT = 3
_TABLES = ('.json', '.csv', '.tsv', '.txt')


def check(video: str, masks: Sequence[str], points: Sequence[str]) -> None:
    """Raise UserError if a video, masks or points are given under the wrong flag, by their endings.

    Args:
      video: path of the video.
      masks: paths of masks.
      points: paths of points.
    """
    flag = '--mask' if masks else '--points'
    for each in (*masks, *points):
        if _are_reversed(video, each):
            raise errors.UserError(
                f'--video={video} and {flag}={each} are the wrong way round: give the video as '
                f'--video, and the labels as {flag}.'
            )
        if _ends(each, video_lib.VIDEO_SUFFIXES):
            raise errors.UserError(
                f'{flag}={each} is a video, as --video={video} is: give labels as {flag}.'
            )
    for each in points:
        if _ends(each, video_lib.PICTURE_SUFFIXES):
            raise errors.UserError(f'{each} is a picture, not points: give a mask as --mask.')
        if _holds_only_pictures(each):
            raise errors.UserError(f'{each} holds pictures, not points: give masks as --mask.')


def _are_reversed(video: str, label: str) -> bool:
    """Return whether the labels are a video, or are a folder beside a picture or a table."""
    if _ends(video, video_lib.VIDEO_SUFFIXES):
        return False
    is_label = _ends(video, (*video_lib.PICTURE_SUFFIXES, *_TABLES))
    return _ends(label, video_lib.VIDEO_SUFFIXES) or (is_label and folders.is_folder(label))


def _holds_only_pictures(path: str) -> bool:
    """Return whether a folder holds pictures, and no points beside them."""
    names = files.names_in(path) if folders.is_folder(path) else []
    has_points = any(_is_of(name, other_tools.ENDINGS) for name in names)
    return any(map(video_lib.is_picture, names)) and not has_points


def check_pictures(masks: Sequence[str]) -> None:
    """Raise UserError if a mask is a table that no other tool wrote."""
    for each in masks:
        if _ends(each, _TABLES):
            raise errors.UserError(
                f'{each} holds no masks of a known tool: give a picture, or points as --points.'
            )


def check_frames(frames: Iterable[Frame], video: str, masks: Sequence[str]) -> None:
    """Raise UserError if masks of which one is a photograph belong to a video that shows masks.

    Args:
      frames: of the video.
      video: path of the video.
      masks: paths of masks.
    """
    images = [frame.image for frame in itertools.islice(frames, _LOOKED_AT)]
    are_flat = all(flat_colours.find(image) is not None for image in images)
    # A video may begin with a black frame.
    if are_flat and any((image != image[0, 0]).any() for image in images):
        raise errors.UserError(
            f'--video={video} and --mask={", ".join(masks)} seem to be the wrong way round: the '
            'video shows masks, in flat colours, and a mask is a photograph. Give the video as '
            '--video, and the labels as --mask.'
        )


def _ends(path: str, endings: Sequence[str]) -> bool:
    return _is_of(path, endings) and files.exists(path) and not folders.is_folder(path)


def _is_of(name: str, endings: Sequence[str]) -> bool:
    return name.lower().endswith(tuple(endings))
