"""The orientation and the pixel shape in which a container wants its frames shown.

The display matrix maps a stored position (x, y) to the shown position (a x + c y, b x + d y). Only
its signs are used: all players show quarter turns and mirror images, few show other angles.
"""

from __future__ import annotations

import dataclasses
import fractions
import struct

import av
from av.sidedata.sidedata import Type
import numpy as np

from stfc3_tf.clips import frame_colours


@dataclasses.dataclass(frozen=True)
class Orientation:
    """One of the eight ways to place an image in an upright rectangle.

    Attributes:
      transposed: whether rows become columns, before the flips.
      flipped_rows: whether the order of rows is then reversed.
      flipped_columns: whether the order of columns is then reversed.
    """

    transposed: bool = False
    flipped_rows: bool = False
    flipped_columns: bool = False

    def upright(self, image: np.ndarray) -> np.ndarray:
        """Return the image, [height, width, channels], as it is to be shown."""
        if self == AS_STORED:
            return image
        image = image.swapaxes(0, 1) if self.transposed else image
        rows, columns = (-1 if flip else 1 for flip in (self.flipped_rows, self.flipped_columns))
        return np.ascontiguousarray(image[::rows, ::columns])


AS_STORED = Orientation()


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """Return the orientation that is stored with a decoded frame."""
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
    return AS_STORED if matrix is None else orientation_from_matrix(bytes(matrix))


def orientation_from_matrix(matrix: bytes) -> Orientation:
    """Return the orientation nearest to a display matrix: nine int32 a, b, u, c, d, v, x, y, w."""
    a, b, _, c, d = struct.unpack_from('=5i', matrix)
    if abs(b) > abs(a):
        return Orientation(True, flipped_rows=b < 0, flipped_columns=c < 0)
    return Orientation(False, flipped_rows=d < 0, flipped_columns=a < 0)


def upright_rgb(frame: av.VideoFrame) -> np.ndarray:
    """Return a decoded frame as uint8 RGB [height, width, 3], as it is to be shown."""
    return orientation_of(frame).upright(frame.to_ndarray(**frame_colours.to_rgb(frame)))


def pixel_aspect(stream: av.VideoStream, shown: Orientation) -> fractions.Fraction:
    """Return width / height of a pixel of the shown frames; 1 if the file does not state it."""
    stated = stream.sample_aspect_ratio or fractions.Fraction(1)
    return 1 / stated if shown.transposed else stated
