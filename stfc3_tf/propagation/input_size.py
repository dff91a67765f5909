"""The size at which frames are shown to an encoder, and how often."""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import gin
import numpy as np

from stfc3_tf import checks, errors

# Pixels. A larger frame, such as a very long and narrow one that is enlarged, would never be
# finished. Frames as they are stored have no limit.
MOST_LONG_SIDE = 8192
_INTERPOLATIONS = {'bilinear': cv2.INTER_LINEAR, 'area': cv2.INTER_AREA}


@gin.configurable
@dataclasses.dataclass(frozen=True)
class InputSize:
    """How a protocol shows frames to the encoder.

    Attributes:
      rule: 'native' (as stored), 'short_side' (that side becomes `size`, ratio kept) or 'square'
        (both become `size`, ratio lost: CRW's --cropSize).
      size: pixels; 0 with 'native'.
      long_side_multiple: the long side is rounded down to a multiple of this (DINO: 64).
      interpolation: 'bilinear' (without anti-aliasing, as all reference codes resize) or 'area'.
      finer: whether each frame is also shown moved by half a cell, which gives features at half the
        stride in four times the time. All settings in cells count these smaller ones:
        `PropagationSettings.radius`, `PointCodec.sigma` and `PointCodec.reach`.
    """

    rule: str = 'native'
    size: int = 0
    long_side_multiple: int = 1
    interpolation: str = 'bilinear'
    finer: bool = False

    def __post_init__(self) -> None:
        checks.one_of('InputSize.rule', self.rule, ('native', 'short_side', 'square'))
        if self.rule != 'native':
            checks.whole_number('InputSize.size', self.size, most=MOST_LONG_SIDE)
        elif self.size:
            raise errors.UserError(
                f"InputSize.size = {self.size} has no effect with InputSize.rule = 'native': "
                "choose 'short_side' or 'square', or size 0."
            )
        checks.whole_number('InputSize.long_side_multiple', self.long_side_multiple)
        if self.rule == 'square' and self.long_side_multiple != 1:
            raise errors.UserError(
                f'InputSize.long_side_multiple = {self.long_side_multiple} has no effect with '
                "InputSize.rule = 'square': choose another rule, or 1."
            )
        checks.one_of('InputSize.interpolation', self.interpolation, tuple(_INTERPOLATIONS))
        checks.switch('InputSize.finer', self.finer)

    def settings(self) -> dict[str, Any]:
        """Return the settings, ready for JSON; `finer` only if it is set, as it is newer."""
        settings = dataclasses.asdict(self)
        if not self.finer:
            del settings['finer']
        return settings

    def of(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) at which a frame is encoded.

        Args:
          height: of the frame, in pixels.
          width: of the frame, in pixels.

        Raises:
          errors.UserError: both sides are shorter than the multiple, or the size that is set makes
            the long side too large.
        """
        if self.rule == 'square':
            return self.size, self.size
        if self.rule == 'short_side':
            short = min(height, width)
            height, width = height * self.size // short, width * self.size // short
            self._check_long_side(max(height, width), short)
        if max(height, width) < self.long_side_multiple:
            raise errors.UserError(
                f'InputSize.long_side_multiple={self.long_side_multiple}: both sides of a frame of '
                f'{height}x{width} pixels (height x width) are shorter.'
            )
        if width >= height:
            return height, width - width % self.long_side_multiple
        return height - height % self.long_side_multiple, width

    def _check_long_side(self, long_side: int, short: int) -> None:
        if long_side > MOST_LONG_SIDE:
            raise errors.UserError(
                f'InputSize.size={self.size}: a frame with a short side of {short} pixels '
                f'gets a long side of {long_side}; give a size with which it is at most '
                f'{MOST_LONG_SIDE}.'
            )

    def resize(self, frame: np.ndarray) -> np.ndarray:
        """Return a frame at the protocol's size.

        Args:
          frame: uint8 [height, width, 3].
        """
        height, width = self.of(*frame.shape[:2])
        if (height, width) == frame.shape[:2]:
            return frame
        return cv2.resize(frame, (width, height), interpolation=_INTERPOLATIONS[self.interpolation])


def native_size() -> InputSize:
    """Return the rule that shows frames as they are stored, independent of gin."""
    return InputSize('native', size=0, long_side_multiple=1, interpolation='bilinear', finer=False)
