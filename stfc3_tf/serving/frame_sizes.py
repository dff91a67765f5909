"""The check of the size of frames for an exported encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stfc3_tf import errors


def check(frames: np.ndarray, metadata: Mapping[str, Any], path: str) -> None:
    """Raise UserError unless the model takes frames of this size.

    Args:
      frames: uint8 [batch, height, width, 3].
      metadata: of the export; 'frame_size' is [height, width] or None for any size.
      path: of the model, for the message.
    """
    size, only = list(frames.shape[1:3]), metadata.get('frame_size')
    if not len(frames):
        raise errors.UserError('features: give at least 1 frame.')
    if only and size != list(only):
        raise errors.UserError(
            f'{path} takes only frames of {only[0]}x{only[1]} pixels (height x width), these have '
            f'{size[0]}x{size[1]}: resize them, or export the encoder for any size.'
        )
    least = metadata.get('least_side', 1)
    if min(size) < least:
        raise errors.UserError(
            f'features: frames must be {least} pixels or more high and wide, not '
            f'{size[0]}x{size[1]}.'
        )
