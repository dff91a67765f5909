"""The colours of decoded frames, by the matrix that their video names."""

from __future__ import annotations

from typing import Any

import av
from av.video.reformatter import ColorRange

# PyAV before 17 converts by BT.601, whatever the frame names, unless it is given two matrices
# that differ. To RGB, the second one changes nothing.
_NEEDS_MATRICES = int(av.__version__.split('.')[0]) < 17
# As H.264 numbers them.
_BT709, _FCC, _BT601, _SMPTE240M, _BT2020 = 1, 4, 5, 7, 9


def to_rgb(frame: av.VideoFrame) -> dict[str, Any]:
    """Return the arguments with which `reformat` or `to_ndarray` converts a frame to RGB."""
    rgb: dict[str, Any] = {'format': 'rgb24'}
    if _NEEDS_MATRICES and frame.colorspace in (_BT709, _FCC, _SMPTE240M, _BT2020):
        rgb['src_colorspace'], rgb['dst_colorspace'] = int(frame.colorspace), _BT601
        if frame.color_range == ColorRange.JPEG:
            rgb['src_color_range'] = ColorRange.JPEG
    return rgb
