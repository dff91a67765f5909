"""The flags of commands that read labels from files: --mask, --objects, --points and --frame."""

from __future__ import annotations

from typing import NamedTuple

from absl import flags

# --help of a command shows them among its own flags.
flags.disclaim_key_flags()


class LabelFlags(NamedTuple):
    """The flags; see `Request` for what their values mean."""

    mask: flags.FlagHolder
    objects: flags.FlagHolder
    points: flags.FlagHolder
    frame: flags.FlagHolder


def define(masks: str = '', points: str = '') -> LabelFlags:
    """Define the flags for the module that calls this.

    Args:
      masks: the beginning of the help of --mask.
      points: the beginning of the help of --points.
    """
    return LabelFlags(
        flags.DEFINE_multi_string(
            'mask',
            [],
            f'{masks}Mask of the frame --frame, of its size: one colour per object on black or on '
            'a transparent ground, black and white, or a palette or grey PNG of object numbers '
            '(255: void). For several frames --mask=0:first.png --mask=40:later.png, or a folder '
            'of masks with the numbers of their frames in their names',
        ),
        flags.DEFINE_multi_string(
            'objects',
            [],
            '--objects=40:2,3 says that the mask of frame 40 is about objects 2 and 3 alone: the '
            'others continue. Without it, an object that a mask does not show is not there from '
            'that frame on',
        ),
        flags.DEFINE_multi_string(
            'points',
            [],
            f'{points}Points of the frame --frame: JSON {{"points": [{{"name": "nose", "x": 310.5, '
            '"y": 120}, ...]} or {"nose": [310.5, 120], ...}, or CSV with the columns name,x,y. '
            'Pixels; the centre of the first pixel is (0, 0). A field or column "frame" says which '
            'frame a point belongs to; points that a later frame does not name continue',
        ),
        flags.DEFINE_integer(
            'frame',
            None,
            'Number of the labelled frame, where the labels do not say it; by default the first. '
            'Frames of a video are numbered from 0, pictures as in their names.',
        ),
    )
