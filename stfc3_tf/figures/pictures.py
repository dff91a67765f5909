"""Pictures without axes: features as colours, affinities, overlays, pairs of views, montages.

All functions take NumPy arrays and return an image, uint8 [height, width, 3] RGB, for TensorBoard,
commands and notebooks. Points are (x, y) in pixels with pixel centres at integers;
matrices follow `stfc3_tf.views.geometry`.
"""

from __future__ import annotations

from collections.abc import Sequence
import textwrap
from typing import NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from stfc3_tf.figures import lettering
from stfc3_tf.storage import palette, writing

_WHITE = (255, 255, 255)
# Not white, so that the edge of a white mask is visible.
_PAPER = (232, 232, 232)
_INK = (32, 32, 32)
_LETTER_HEIGHT, _LINE_HEIGHT = 12, 17
_LEFT = 3
# A line has at least this many characters, however narrow the image is.
_LEAST_ROOM = 4
# An outline is one pixel wide per this many pixels of the short side.
_OUTLINE_SHARE = 360
# OpenCV draws on a grid of 1/16 pixel.
_SUBPIXEL_BITS = 4


class PcaBasis(NamedTuple):
    """Three directions of feature space, and the range of each that is shown.

    Attributes:
      mean: float64 [channels].
      directions: float64 [channels, 3], orthonormal, largest variance first.
      low: float64 [3], the projection shown as 0.
      high: float64 [3], the projection shown as 255.
    """

    mean: np.ndarray
    directions: np.ndarray
    low: np.ndarray
    high: np.ndarray


def pca_basis(features: np.ndarray, like: PcaBasis | None = None) -> PcaBasis:
    """Fit the three principal components of feature maps (figure 7 of the paper).

    Fit it once over all frames that are compared, so that a colour means the same in all.

    Args:
      features: float [..., channels] with at least 3 channels.
      like: an earlier basis whose signs are kept, so that colours do not invert from one picture
        to the next. Without it each direction points to the longer tail of the features (positive
        third moment). Colours then do not change if feature space is mirrored or rotated, or its
        channels are reordered.

    Returns:
      The basis; the range goes from the 1st to the 99th percentile of the projections.
    """
    flat = np.asarray(features, np.float64).reshape(-1, features.shape[-1])
    mean = flat.mean(axis=0)
    _, vectors = np.linalg.eigh((flat - mean).T @ (flat - mean))
    directions = vectors[:, :-4:-1]
    if like:
        agreement = np.sum(directions * like.directions, axis=0)
    else:
        agreement = np.mean(((flat - mean) @ directions) ** 3, axis=0)
    directions = directions * np.where(agreement < 0, -1, 1)
    low, high = np.percentile((flat - mean) @ directions, [1, 99], axis=0)
    return PcaBasis(mean, directions, low, high)


def pca_colours(features: np.ndarray, basis: PcaBasis) -> np.ndarray:
    """Return features as colours: [..., channels] -> uint8 [..., 3].

    A component that does not vary (a collapsed encoder) becomes medium grey.
    """
    projection = (np.asarray(features, np.float64) - basis.mean) @ basis.directions
    extent = basis.high - basis.low
    flat = extent <= 1e-6
    share = np.where(flat, 0.5, (projection - basis.low) / np.where(flat, 1, extent))
    return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)


def affinity_picture(
    affinity: np.ndarray, title: str, size: int = 256, limit: float | None = None
) -> np.ndarray:
    """Return a picture of an affinity matrix (figure 3 of the paper): 0 dark, `limit` bright.

    Args:
      affinity: float [nodes, target nodes], not negative.
      title: text above; the range of values is in the line below it.
      size: approximate length of the longer side, in pixels. A larger matrix is shrunk to the
        largest entry of each block, so that a thin diagonal does not vanish.
      limit: the value of the brightest colour; None for the largest entry.

    Returns:
      uint8 [height, width, 3] with the title above.
    """
    limit = float(np.max(affinity)) if limit is None else limit
    blocks = block_maximum(affinity, -(-max(affinity.shape) // size))
    levels = np.rint(255 * np.clip(blocks / max(limit, 1e-12), 0, 1)).astype(np.uint8)
    coloured = cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[..., ::-1]
    picture = enlarge(coloured, max(1, size // max(levels.shape)))
    return caption(picture, f'{title}\n0 to {limit:.3g}')


def block_maximum(matrix: np.ndarray, block: int) -> np.ndarray:
    """Shrink a matrix without negative entries to the largest entry of each `block` x `block`."""
    rows, columns = matrix.shape
    padded = np.pad(matrix, [(0, -rows % block), (0, -columns % block)])
    return padded.reshape(-(-rows // block), block, -1, block).max(axis=(1, 3))


def overlay_mask(
    image: np.ndarray, mask: np.ndarray, opacity: float = 0.5, colours: np.ndarray = palette.DAVIS
) -> np.ndarray:
    """Tint the objects of an image and outline each in its full colour.

    Outlines are inside the objects, and one pixel wide per 360 pixels of the short side.

    Args:
      image: uint8 [height, width, 3].
      mask: int [height, width], object numbers 0 to 255; 0 is the background.
      opacity: of the tint, 0 to 1.
      colours: uint8 [256, 3], of the object numbers; by default those of DAVIS.

    Returns:
      uint8 [height, width, 3].
    """
    coloured = colours[mask]
    tinted = cv2.addWeighted(image, 1 - opacity, coloured, opacity, 0)
    edges = outline(mask, max(1, round(min(mask.shape) / _OUTLINE_SHARE)))
    drawn = np.where(edges[..., np.newaxis], coloured, tinted)
    return np.where((mask > 0)[..., np.newaxis], drawn, image)


def outline(mask: np.ndarray, width: int) -> np.ndarray:
    """Return the pixels at most `width` pixels away from a pixel of another number.

    Args:
      mask: [height, width], object numbers 0 to 255.
      width: in pixels.

    Returns:
      bool [height, width].
    """
    mask = mask.astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    # Outside the image there are no numbers, so its edge has no outline.
    return (cv2.erode(mask, disc) != mask) | (cv2.dilate(mask, disc) != mask)


def overlay_points(
    image: np.ndarray,
    points: np.ndarray,
    visible: np.ndarray | None = None,
    radius: float = 3.0,
    colours: np.ndarray = palette.DAVIS,
) -> np.ndarray:
    """Draw points on an image, point i in colour i + 1, with a light and a dark edge.

    Args:
      image: uint8 [height, width, 3].
      points: float [points, 2], (x, y) in pixels; points that are not finite are not drawn.
      visible: bool [points]; invisible points are rings instead of discs. None: all are visible.
      radius: in pixels.
      colours: uint8 [256, 3]; by default those of DAVIS.

    Returns:
      uint8 [height, width, 3].
    """
    canvas = np.ascontiguousarray(image).copy()
    visible = np.ones(len(points), bool) if visible is None else visible
    for number, (point, seen) in enumerate(zip(points, visible), 1):
        if np.all(np.isfinite(point)):
            colour = colours[1 + (number - 1) % 255].tolist()
            _circle(canvas, point, radius + 2, _INK, cv2.FILLED if seen else 1)
            _circle(canvas, point, radius + 1, _WHITE, cv2.FILLED if seen else 1)
            _circle(canvas, point, radius, colour, cv2.FILLED if seen else 2)
    return canvas


def _circle(
    canvas: np.ndarray, centre: np.ndarray, radius: float, colour: Sequence[int], thickness: int
) -> None:
    unit = 1 << _SUBPIXEL_BITS
    # The clip keeps coordinates within OpenCV's integers; points far outside are not drawn anyway.
    x, y = np.clip(np.rint(np.asarray(centre) * unit), -(1 << 18), 1 << 18).astype(int).tolist()
    cv2.circle(canvas, (x, y), round(radius * unit), colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def warp_view(
    image: np.ndarray, target_from_source: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return a view warped to the geometry of another view.

    Args:
      image: uint8 [height, width, 3], the source view.
      target_from_source: float [3, 3], affine, in normalised coordinates.
      size: (height, width) of the target view.

    Returns:
      uint8 [height, width, 3], black outside the source view, and bool [height, width], whether
      the centre of the pixel is inside the box of the source view.
    """
    pixel = (
        _pixels_from_normalised(size)
        @ target_from_source
        @ np.linalg.inv(_pixels_from_normalised(image.shape[:2]))
    )
    height, width = size
    # Replicated borders keep the outermost half pixel bright; the mask removes the rest.
    warped = cv2.warpAffine(
        image, pixel[:2], (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    inside = _reaches(np.linalg.inv(target_from_source), height, width)
    return warped * inside[..., np.newaxis], inside


def _pixels_from_normalised(size: Sequence[int]) -> np.ndarray:
    height, width = size
    return np.array([[width / 2, 0, (width - 1) / 2], [0, height / 2, (height - 1) / 2], [0, 0, 1]])


def _reaches(source_from_target: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return which centres of target pixels are inside the source view, bool [height, width]."""
    x, y = ((2 * np.arange(count) + 1) / count - 1 for count in (width, height))
    x, y = np.meshgrid(x, y)
    source = np.stack([x, y, np.ones_like(x)], axis=-1) @ source_from_target[:2].T
    return np.all(np.abs(source) <= 1 + 1e-6, axis=-1)


def view_pair(
    forward: np.ndarray, backward: np.ndarray, backward_from_forward: np.ndarray
) -> np.ndarray:
    """Return a picture that shows whether the matrix between two views is correct.

    Args:
      forward: uint8 [height, width, 3].
      backward: uint8 [height, width, 3].
      backward_from_forward: float [3, 3], B_fb in normalised coordinates.

    Returns:
      uint8 [height, width, 3], four panels in a row: forward view, backward view, warped forward
      view mixed with the backward view (edges are double where the matrix is wrong), and M_b.
    """
    height, width = backward.shape[:2]
    warped, visible = warp_view(forward, backward_from_forward, (height, width))
    half = (warped.astype(np.uint16) + backward + 1) // 2
    mixed = np.where(visible[..., np.newaxis], half, backward)
    mask = np.repeat(np.where(visible, 255, 0).astype(np.uint8)[..., np.newaxis], 3, axis=-1)
    return montage(
        [forward, backward, mixed.astype(np.uint8), mask],
        [
            'forward view',
            'backward view',
            'warped forward over backward',
            f'visible in forward: {visible.mean():.0%}',
        ],
    )


def square_pixels(image: np.ndarray, pixel_aspect: float) -> np.ndarray:
    """Stretch an image, uint8 [height, width, 3], so that its pixels become square.

    Args:
      image: the image.
      pixel_aspect: width / height of its pixels as players show them; above 1 the image becomes
        wider, below 1 higher.
    """
    height, width = image.shape[:2]
    size = round(width * max(1, pixel_aspect)), round(height / min(1, pixel_aspect))
    return cv2.resize(image, size) if pixel_aspect != 1 else image


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Repeat every pixel `factor` times in both directions: [height, width, 3] -> larger."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def caption(image: np.ndarray, text: str) -> np.ndarray:
    """Put lines of text, wrapped to the image's width, on a bar above an image."""
    return np.concatenate([_text_bar(text, image.shape[1]), image])


def _text_bar(text: str, width: int, lines: int = 0) -> np.ndarray:
    """Return dark text on a bar, uint8 [height, width, 3], at least `lines` lines high."""
    wrapped = _wrap(text, width)
    bar = np.full((_LINE_HEIGHT * max(lines, len(wrapped)) + 4, width, 3), _PAPER, np.uint8)
    for number, line in enumerate(wrapped, 1):
        place = _LEFT, _LINE_HEIGHT * number - _LEFT
        lettering.write(bar, lettering.of(line), place, _LETTER_HEIGHT, _INK, edge=None)
    return bar


def _wrap(text: str, width: int) -> list[str]:
    room = width - 2 * _LEFT
    return [part for line in text.split('\n') for part in _wrap_line(line, room)]


def _wrap_line(line: str, width: int) -> list[str]:
    """Return parts of a line that are at most `width` pixels wide, if that is possible."""
    for room in range(max(_LEAST_ROOM, len(line)), _LEAST_ROOM - 1, -1):
        parts = textwrap.wrap(line, room) or ['']
        if max(map(_text_width, parts)) <= width:
            break
    return parts


def _text_width(text: str) -> int:
    return lettering.extent(lettering.of(text), _LETTER_HEIGHT)[2]


def montage(
    images: Sequence[np.ndarray],
    captions: Sequence[str] | None = None,
    columns: int | None = None,
    gap: int = 4,
) -> np.ndarray:
    """Arrange images in rows; cells have the size of the largest image.

    Args:
      images: uint8 [height, width, 3] each; sizes may differ.
      captions: one above each image, or None.
      columns: images per row; None for one row.
      gap: pixels between images.

    Returns:
      uint8 [height, width, 3].
    """
    columns = columns or len(images)
    if captions is not None:
        lines = max(len(_wrap(text, image.shape[1])) for text, image in zip(captions, images))
        images = [
            np.concatenate([_text_bar(text, image.shape[1], lines), image])
            for text, image in zip(captions, images)
        ]
    height, width = np.max([image.shape[:2] for image in images], axis=0)
    rows = -(-len(images) // columns)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, 3)
    canvas = np.full(shape, _PAPER, np.uint8)
    for number, image in enumerate(images):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return canvas


def write_png(path: str, image: np.ndarray) -> None:
    """Write uint8 [height, width, 3] as PNG on any file system TensorFlow knows."""
    writing.write_bytes(path, tf.io.encode_png(image).numpy())
