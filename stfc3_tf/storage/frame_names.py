"""The choice and order of the files of a folder that are the frames of a video."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
import functools
import posixpath
import re

from absl import logging

from stfc3_tf import errors
from stfc3_tf.storage import folders

# Other pictures are left out with a warning if the frames are at least this share.
_CLEAR_SHARE = 2 / 3
# Numbers of more digits are times or dates.
_MOST_DIGITS = 9
_SAME_ENDING = {'jpeg': 'jpg', 'tiff': 'tif'}


class SeveralKindsError(errors.UserError):
    """A folder holds pictures of several kinds, and none is clearly the video.

    Attributes:
      reason: the message without the folder.
    """

    def __init__(self, folder: str, reason: str):
        super().__init__(f'{folder} {reason}')
        self.reason = reason


def choose(folder: str, names: Iterable[str], suffixes: tuple[str, ...]) -> list[str]:
    """Return the names of the frames in the order of their numbers.

    The names of frames differ only in their numbers. A picture with another name, such as mask.png,
    is not a frame: it is left out with a warning.

    Args:
      folder: where the files are, for messages.
      names: of all files there.
      suffixes: the endings of pictures, in lower case.

    Returns:
      Names.

    Raises:
      SeveralKindsError: there are pictures of several kinds, and none is clearly the video.
    """
    pictures = [name for name in names if name.lower().endswith(suffixes)]
    pictures = [name for name in pictures if not folders.is_added(name)]
    kinds = collections.defaultdict(list)
    for name in sorted(pictures):
        kinds[_kind(name)].append(name)
    numbered = {kind for kind in kinds if '#' in kind}
    endings = {kind.rpartition('.')[2] for kind in kinds}
    if len(kinds) > 1 and (numbered or len(endings) > 1):
        pictures = _clear_majority(folder, list(kinds.values()))
    return sorted(sorted(pictures), key=folders.natural_order)


def numbers(names: Sequence[str]) -> list[int] | None:
    """Return the number of each frame: the one number in the names by which they differ.

    Args:
      names: of files.

    Returns:
      The numbers; None where it is not clear which ones they are.
    """
    parts = [
        re.findall('[0-9]+', posixpath.splitext(posixpath.basename(name))[0]) for name in names
    ]
    if len({len(part) for part in parts}) != 1:
        return None
    columns = list(zip(*parts))
    differing = columns if len(columns) == 1 else [c for c in columns if len(set(c)) > 1]
    if len(differing) != 1 or max(len(n.lstrip('0')) for n in differing[0]) > _MOST_DIGITS:
        return None
    found = [int(number) for number in differing[0]]
    return found if len(set(found)) == len(found) else None


def _kind(name: str) -> str:
    """Return a name with its numbers replaced, which differ from frame to frame."""
    stem, ending = posixpath.splitext(name.lower())
    return f'{re.sub(r"[0-9]+", "#", stem)}.{_SAME_ENDING.get(ending[1:], ending[1:])}'


def _clear_majority(folder: str, kinds: Sequence[list[str]]) -> list[str]:
    frames = max(kinds, key=len)
    others = [name for kind in kinds if kind is not frames for name in kind]
    if len(frames) < _CLEAR_SHARE * (len(frames) + len(others)):
        shown = ', '.join(f'{len(kind)} like {kind[0]}' for kind in kinds[:4])
        raise SeveralKindsError(
            folder,
            f'holds pictures of several kinds ({shown}): which are the frames? Keep only the '
            'frames of one video in a folder',
        )
    left_out = (
        f'{others[0]} is' if len(others) == 1 else f'{others[0]} and {len(others) - 1} more are'
    )
    _warn_once(folder, left_out, frames[0])
    return frames


# Training opens a folder many times.
@functools.cache
def _warn_once(folder: str, left_out: str, frame: str) -> None:
    logging.warning(
        '%s: %s left out, because most pictures there are named like %s. Keep only the frames of '
        'one video in a folder.',
        folder,
        left_out,
        frame,
    )
