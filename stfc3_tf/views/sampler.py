"""One clip becomes two tracks of views, each seen through its own crop and flip, with the matrices.

Different crops of the same frame put the same content at different positions, which is what keeps
the encoder from recognising positions instead of content (section 3.3 of the paper). A view is read
from the source pixels in one resampling, so that no detail is lost twice and no offset adds up.

Coordinates are those of `geometry`: the frame's box is [-1, 1] x [-1, 1]. A box is (left, top,
right, bottom) in them and is not rounded to whole pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import gin
import tensorflow as tf

from stfc3_tf import checks, errors, wording
from stfc3_tf.views import colour, geometry

WHOLE_FRAME = (-1.0, -1.0, 1.0, 1.0)
# Pixels; the cells of larger views could not be compared with each other.
MOST_VIEW_SIZE = 4096
# Of the range of a setting: beyond them, crops have no pixels.
_LEAST, _MOST_ASPECT = 1e-4, 1e4
# Tries at a crop that fits before the centred one is taken (torchvision's RandomResizedCrop).
TRIES = 10
# Aspect ratios of the released code's per-frame crop, width / height.
FRAME_JITTER_ASPECT = (0.7, 1.3)


def draw_boxes(
    count: int | tf.Tensor,
    frame_aspect: float | tf.Tensor,
    area: tuple[float, float],
    aspect: tuple[float, float],
    seed: tf.Tensor,
) -> tf.Tensor:
    """Draw crops as torchvision's RandomResizedCrop does, but without rounding to whole pixels.

    A candidate covers a share U(area) of the frame, with width / height (in pixels) log-uniform in
    `aspect`, anywhere in the frame. The first of ten that fits is taken; if none does, the
    largest centred crop whose aspect is admissible.

    Args:
      count: number of boxes.
      frame_aspect: width / height of the frame in pixels.
      area: (low, high), shares of the frame's area.
      aspect: (low, high), width / height.
      seed: int [2].

    Returns:
      float32 [count, 4], (left, top, right, bottom) in normalised frame coordinates.
    """
    uniform = tf.random.stateless_uniform([4, count, TRIES], seed, alg='philox')
    size = candidate_sizes(uniform[0], uniform[1], frame_aspect, area, aspect)
    fits = tf.reduce_all(size <= 1, axis=-1)
    first = tf.argmax(tf.cast(fits, tf.int32), axis=1)
    corner = tf.stack([uniform[2], uniform[3]], axis=-1) * 2 * (1 - size) - 1
    drawn = tf.gather(tf.concat([corner, corner + 2 * size], axis=-1), first, axis=1, batch_dims=1)
    return tf.where(
        tf.reduce_any(fits, axis=1, keepdims=True), drawn, centred_box(frame_aspect, aspect)
    )


def candidate_sizes(
    area_draw: tf.Tensor,
    aspect_draw: tf.Tensor,
    frame_aspect: float | tf.Tensor,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> tf.Tensor:
    """Turn uniform draws into sizes of crops.

    Args:
      area_draw: float32 [...] in [0, 1), chooses the area.
      aspect_draw: float32 [...] in [0, 1), chooses the aspect ratio.
      frame_aspect: width / height of the frame in pixels.
      area: (low, high), shares of the frame's area.
      aspect: (low, high), width / height.

    Returns:
      float32 [..., 2], (width, height) as shares of the frame's sides.
    """
    share = area[0] + (area[1] - area[0]) * area_draw
    ratio = aspect[0] * (aspect[1] / aspect[0]) ** aspect_draw / frame_aspect
    return tf.sqrt(tf.stack([share * ratio, share / ratio], axis=-1))


def centred_box(frame_aspect: float | tf.Tensor, aspect: tuple[float, float]) -> tf.Tensor:
    """Return the largest centred box [4] whose width / height, in pixels, is within `aspect`."""
    ratio = tf.clip_by_value(tf.cast(frame_aspect, tf.float32), *aspect) / frame_aspect
    half = tf.minimum(1.0, tf.stack([ratio, 1 / ratio]))
    return tf.concat([-half, half], axis=0)


def box_in_frame(box: tf.Tensor, outer: tf.Tensor) -> tf.Tensor:
    """Convert boxes [..., 4] from the coordinates of boxes `outer` [..., 4] to those of the frame.

    The leading axes are broadcast.
    """
    corner, opposite = outer[..., :2], outer[..., 2:]
    shares = tf.split((box + 1) / 2, 2, axis=-1)
    return tf.concat([corner + share * (opposite - corner) for share in shares], axis=-1)


def visible_boxes(
    frames: tf.Tensor, jitter_area: tuple[float, float] | None, seed: tf.Tensor
) -> tuple[tf.Tensor, float | tf.Tensor]:
    """Return what the tracks may see of each frame: all of it, or a crop drawn for it alone.

    Args:
      frames: [time, height, width, 3].
      jitter_area: None, or (low, high) share of a frame its crop covers.
      seed: int [2].

    Returns:
      boxes float32 [time, 4], and the width / height at which a track's crop is drawn in them:
      after this crop the released code stretches every frame to a square.
    """
    time, height, width = tf.unstack(tf.shape(frames)[:3])
    aspect = tf.cast(width / height, tf.float32)
    if jitter_area is None:
        return tf.tile([WHOLE_FRAME], [time, 1]), aspect
    return draw_boxes(time, aspect, jitter_area, FRAME_JITTER_ASPECT, seed), 1.0


def resample(frame: tf.Tensor, box: tf.Tensor, size: int) -> tf.Tensor:
    """Resample a box of a frame to size x size pixels, in one step.

    The kernel is a triangle: bilinear where the view magnifies, widened to the view's pixels
    (antialiased) where it shrinks.

    Args:
      frame: [height, width, 3], uint8 or float.
      box: float32 [4], inside the frame.
      size: height and width of the view, pixels.

    Returns:
      float32 [size, size, 3], in the frame's units.
    """
    height, width = tf.unstack(tf.cast(tf.shape(frame)[:2], tf.float32) / 2)
    left, right = (box[0] + 1) * width, (box[2] + 1) * width
    # Columns beyond the reach of the kernel need not be read.
    reach = tf.maximum((right - left) / size, 1.0) + 1
    unread = tf.floor(tf.maximum(left - reach, 0.0))
    frame = frame[:, tf.cast(unread, tf.int32) : tf.cast(tf.math.ceil(right + reach), tf.int32)]
    rows = _resample_rows(frame, (box[1] + 1) * height, (box[3] + 1) * height, size)
    columns = _resample_rows(tf.transpose(rows, [1, 2, 0]), left - unread, right - unread, size)
    return tf.transpose(columns, [2, 0, 1])


def _resample_rows(image: tf.Tensor, first: tf.Tensor, last: tf.Tensor, size: int) -> tf.Tensor:
    """Resample [rows, a, b] to `size` rows between two positions along the first axis.

    The op's inner loop runs over channels: one axis at a time, with all other axes as channels,
    gives the same bits as both axes at once in a third of the time.
    """
    count, *rest = tf.unstack(tf.shape(image))
    scale = size / (last - first)
    resampled = tf.raw_ops.ScaleAndTranslate(
        images=tf.reshape(image, [1, count, 1, -1]),
        size=[size, 1],
        scale=tf.stack([scale, 1.0]),
        translation=tf.stack([-first * scale, 0.0]),
        kernel_type='triangle',
        antialias=True,
    )
    return tf.reshape(resampled, [size, *rest])


def to_uint8(image: tf.Tensor) -> tf.Tensor:
    """Round values in [0, 255] to uint8."""
    return tf.cast(image + 0.5, tf.uint8)


class Sampler(Protocol):
    """Draws the views of a clip.

    Attributes:
      view_size: height and width at which it shows a frame, pixels.
    """

    view_size: int

    def __call__(self, frames: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the views of frames uint8 [time, height, width, 3], drawn from int [2]."""


@gin.configurable
class ViewSampler:
    """Draws the views of a clip: `sampler(frames, seed)`."""

    def __init__(
        self,
        view_size: int = 256,
        crop_area: tuple[float, float] = (0.08, 1.0),
        crop_aspect: tuple[float, float] = (3 / 4, 4 / 3),
        flip_probability: float = 0.5,
        tracks: int = 2,
        colours: Sequence[colour.ColourAugmentation | None] | str = 'paper',
        colour_before_crop: bool = False,
        frame_jitter_area: tuple[float, float] | None = None,
    ):
        """Set how views are drawn; the defaults are the paper's.

        Args:
          view_size: height and width of a view, pixels.
          crop_area: (low, high) share of the frame a crop covers.
          crop_aspect: (low, high) width / height of a crop. The authors' released code has
            (1 / 1.3, 1 / 0.7).
          flip_probability: of mirroring a whole track left to right.
          tracks: 2, forward and backward; 1 for vanilla FC3, whose two tracks see the same views.
          colours: one augmentation, or None, for each track; or 'paper' or 'released', the two of
            the paper's appendix B or of the authors' code.
          colour_before_crop: False crops first, as BYOL does: equation (4) crops the original
            frames, and the cost does not grow with them. True colours whole frames before they
            are cropped, as the released code does: blur is then in pixels of the frame, and
            contrast is about the frame's mean grey.
          frame_jitter_area: None, or the share of each frame that a crop drawn for that frame
            alone leaves to both tracks. Released code: (0.8, 0.95).

        Raises:
          errors.UserError: a setting is out of its range.
        """
        check_range('ViewSampler.crop_area', crop_area, 1.0)
        check_range('ViewSampler.crop_aspect', crop_aspect, _MOST_ASPECT)
        if frame_jitter_area is not None:
            check_range('ViewSampler.frame_jitter_area', frame_jitter_area, 1.0)
        if isinstance(colours, str):
            checks.one_of('ViewSampler.colours', colours, colour.PUBLISHED)
            colours = colour.PUBLISHED[colours]
        _check_views(view_size, flip_probability, tracks, len(colours))
        self.view_size = view_size
        self.crop_area = crop_area
        self.crop_aspect = crop_aspect
        self.flip_probability = flip_probability
        self.colours = tuple(colours)
        self.colour_before_crop = colour_before_crop
        self.frame_jitter_area = frame_jitter_area

    @property
    def tracks(self) -> int:
        """The number of tracks."""
        return len(self.colours)

    def __call__(self, frames: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Draw the views of one clip; the same seed draws the same views, eagerly or in a graph.

        Args:
          frames: uint8 [time, height, width, 3], any height and width.
          seed: int [2].

        Returns:
          views: uint8 [tracks, time, view_size, view_size, 3], every track in the clip's order.
          view_from_frame: float32 [tracks, 3, 3]. All frames of a track share it. With
            `frame_jitter_area`, "frame" is what that crop left of each frame. It has no effect on
            backward_from_forward, since both tracks see the same remainder.
        """
        frame_seed, *track_seeds = tf.unstack(split(seed, 1 + len(self.colours)))
        frame_boxes, frame_aspect = visible_boxes(frames, self.frame_jitter_area, frame_seed)
        tracks = [
            self._track(frames, frame_boxes, frame_aspect, augmentation, track_seed)
            for augmentation, track_seed in zip(self.colours, track_seeds)
        ]
        views, matrices = zip(*tracks)
        return {'views': tf.stack(views), 'view_from_frame': tf.stack(matrices)}

    def _track(self, frames, frame_boxes, frame_aspect, augmentation, seed):
        """One track's views uint8 [time, view_size, view_size, 3] and its matrix [3, 3]."""
        crop_seed, flip_seed, colour_seed = tf.unstack(split(seed, 3))
        crop = draw_boxes(1, frame_aspect, self.crop_area, self.crop_aspect, crop_seed)[0]
        flip = tf.random.stateless_uniform([], flip_seed, alg='philox') < self.flip_probability
        elements: tuple[Any, ...] = (frames, box_in_frame(crop, frame_boxes))
        if augmentation is not None:
            elements += (augmentation.draw(tf.shape(frames)[0], colour_seed),)
        views = tf.map_fn(
            lambda element: self._view(*element), elements, fn_output_signature=tf.uint8
        )
        views = tf.cond(flip, lambda: tf.reverse(views, axis=[2]), lambda: views)
        views = tf.ensure_shape(views, [frames.shape[0], self.view_size, self.view_size, 3])
        return views, geometry.view_from_frame(crop, flip)

    def _view(self, frame, box, draw=None):
        """Return one frame's view, not flipped, uint8."""
        if draw is None:
            return to_uint8(resample(frame, box, self.view_size))
        if self.colour_before_crop:
            return to_uint8(resample(colour.apply(frame, draw), box, self.view_size))
        return to_uint8(colour.apply(resample(frame, box, self.view_size), draw))


def check_range(name: str, bounds: tuple[float, float], largest: float) -> None:
    """Check a setting that is a range.

    Args:
      name: of the setting, for the message.
      bounds: its value (low, high).
      largest: that `high` may be.

    Raises:
      errors.UserError: unless 0.0001 <= low <= high <= largest.
    """
    low, high = bounds
    if not _LEAST <= low <= high <= largest:
        raise errors.UserError(
            f'{name} = {bounds}: give (low, high), {_LEAST} <= low <= high <= {largest:g}.'
        )


def _check_views(view_size: int, flip_probability: float, tracks: int, colours: int) -> None:
    checks.whole_number('ViewSampler.view_size', view_size, most=MOST_VIEW_SIZE)
    if not 0 <= flip_probability <= 1:
        raise errors.UserError(
            f'ViewSampler.flip_probability = {flip_probability}: give a probability in [0, 1].'
        )
    if tracks not in (1, 2) or colours != tracks:
        raise errors.UserError(
            f'ViewSampler.tracks = {tracks} with {wording.counted(colours, "colour")}: '
            'give 1 or 2 tracks, and for each an augmentation or None.'
        )


def split(seed: tf.Tensor, count: int) -> tf.Tensor:
    """Return `count` independent seeds, int [count, 2], of a seed int [2]."""
    return tf.random.experimental.stateless_split(seed, count, alg='philox')


def add_views(
    clips: tf.data.Dataset, sampler: Sampler, seed: int, parallel_calls: int = tf.data.AUTOTUNE
) -> tf.data.Dataset:
    """Replace each clip's frames by its views.

    Args:
      clips: elements with 'frames' uint8 [time, height, width, 3], 'index' and 'video' int64 [].
      sampler: draws the views, from (seed, index) alone: neither the order of the clips nor the
        number of parallel calls changes them.
      seed: of the whole run.
      parallel_calls: clips that are processed at the same time.

    Returns:
      elements with what the sampler returns, 'index' and 'video'.
    """

    def with_views(clip):
        views = sampler(clip['frames'], tf.stack([tf.constant(seed, tf.int64), clip['index']]))
        return {**views, 'index': clip['index'], 'video': clip['video']}

    return clips.map(with_views, num_parallel_calls=parallel_calls, deterministic=True)
