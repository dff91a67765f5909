"""Masks that come over the network."""

from __future__ import annotations

import numpy as np

from stfc3_tf import errors
from stfc3_tf.storage import images

_PNG_MODES = ('L', 'P')


def decoded(png: bytes, size: tuple[int, int]) -> np.ndarray:
    """Return a mask that came as a grey or palette PNG, uint8 [height, width]."""
    try:
        return _decoded(png, size)
    except images.UnreadablePicture as error:
        raise errors.UserError(
            f'The mask that was sent is not a readable image ({error.reason}). Reload the page.'
        ) from error


def _decoded(png: bytes, size: tuple[int, int]) -> np.ndarray:
    # Pillow reads the size before it unpacks anything.
    opened = images.header(png, 'The mask')
    if opened.format != 'PNG' or opened.mode not in _PNG_MODES or opened.size != size[::-1]:
        raise errors.UserError(
            f'The mask must be a grey or palette PNG of {size[1]}x{size[0]} pixels, not '
            f'{opened.format} {opened.mode} of {opened.size[0]}x{opened.size[1]}.'
        )
    return np.array(images.decode(png, 'The mask'))
