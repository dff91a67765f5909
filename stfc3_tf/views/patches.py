"""One clip becomes a grid of overlapping patches per frame: what the contrastive random walk sees.

CRW (Jabri et al., "Space-time correspondence as a contrastive random walk", NeurIPS 2020) cuts each
frame into patches and encodes each of them alone. No patch shows where in the frame it comes from,
so there is no shortcut; a node is as coarse as a patch.

Coordinates are those of `geometry`. A patch is read from the source pixels in one resampling; the
authors' code resizes the frame and then its patches.
"""

from __future__ import annotations

from typing import Any

import gin
import tensorflow as tf

from stfc3_tf import checks, errors
from stfc3_tf.views import colour as colours
from stfc3_tf.views import sampler

# Aspect ratios of a patch's own crop, width / height (torchvision's default).
_PATCH_ASPECT = (3 / 4, 4 / 3)


def patches_per_side(view_size: int, patch_size: int, patch_stride: int) -> int:
    """Return how many patches are side by side in a view.

    Args:
      view_size: height and width of the view, pixels.
      patch_size: height and width of a patch, pixels.
      patch_stride: from one patch to the next, pixels.

    Raises:
      errors.UserError: the view is smaller than a patch, or a number is not positive.
    """
    if not 0 < patch_size <= view_size or patch_stride < 1:
        raise errors.UserError(
            f'Patches of {patch_size} pixels, {patch_stride} apart, do not fit into views of '
            f'{view_size}: give 0 < patch_size <= view_size and patch_stride > 0.'
        )
    return (view_size - patch_size) // patch_stride + 1


def patch_boxes(view_size: int, patch_size: int, patch_stride: int) -> tf.Tensor:
    """Return the boxes of a view's patches, row by row.

    Args:
      view_size: see `patches_per_side`.
      patch_size: see `patches_per_side`.
      patch_stride: see `patches_per_side`.

    Returns:
      float32 [patches, 4]: left, top, right and bottom, normalised.
    """
    count = patches_per_side(view_size, patch_size, patch_stride)
    first = 2 * patch_stride / view_size * tf.range(count, dtype=tf.float32) - 1
    left, top = (tf.reshape(side, [-1]) for side in tf.meshgrid(first, first))
    size = 2 * patch_size / view_size
    return tf.stack([left, top, left + size, top + size], axis=-1)


@gin.configurable
class PatchSampler:
    """Draws the patches of a clip: `sampler(frames, seed)`."""

    def __init__(
        self,
        view_size: int = 256,
        patch_size: int = 64,
        patch_stride: int = 32,
        crop_area: tuple[float, float] | None = (0.8, 0.95),
        patch_area: tuple[float, float] | None = (0.7, 0.9),
        colour: colours.ColourAugmentation | None = None,
    ):
        """Set how patches are drawn; the defaults are those of CRW's training command.

        Args:
          view_size: height and width of a frame when it is cut, pixels.
          patch_size: height and width of a patch, pixels.
          patch_stride: pixels from one patch to the next.
          crop_area: (low, high) share of each frame that a crop drawn for that frame alone covers,
            width / height in (0.7, 1.3); None for whole frames.
          patch_area: (low, high) share of each patch that a crop drawn for that patch alone covers,
            width / height in (3/4, 4/3); None for whole patches.
          colour: changes the colours of each patch separately; None for unchanged colours. The
            authors' code has such changes, but its training command does not use them.

        Raises:
          errors.UserError: a setting is out of its range.
        """
        checks.whole_number('PatchSampler.view_size', view_size, most=sampler.MOST_VIEW_SIZE)
        if patches_per_side(view_size, patch_size, patch_stride) < 2:
            raise errors.UserError(
                f'Views of {view_size} pixels hold one patch of {patch_size}, if patches are '
                f'{patch_stride} apart, and a walk has nowhere else to go: give a smaller '
                'PatchSampler.patch_stride or patch_size.'
            )
        for name, area in (('crop_area', crop_area), ('patch_area', patch_area)):
            if area is not None:
                sampler.check_range(f'PatchSampler.{name}', area, 1.0)
        self.view_size = view_size
        self.patch_size = patch_size
        self.patch_stride = patch_stride
        self.crop_area = crop_area
        self.patch_area = patch_area
        self.colour = colour

    def __call__(self, frames: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Draw the patches of one clip; the same seed draws the same ones, eagerly or in a graph.

        Args:
          frames: uint8 [time, height, width, 3], any height and width.
          seed: int [2].

        Returns:
          views: uint8 [1, time, patches, patch_size, patch_size, 3], row by row.
        """
        frame_seed, patch_seed, colour_seed = tf.unstack(sampler.split(seed, 3))
        frame_boxes, _ = sampler.visible_boxes(frames, self.crop_area, frame_seed)
        boxes = sampler.box_in_frame(
            self._in_view(tf.shape(frames)[0], patch_seed), frame_boxes[:, tf.newaxis]
        )
        elements: tuple[Any, ...] = (frames, boxes)
        if self.colour is not None:
            elements += (_draw_colours(self.colour, boxes, colour_seed),)
        views = tf.map_fn(
            lambda element: self._patches(*element), elements, fn_output_signature=tf.uint8
        )
        shape = [frames.shape[0], boxes.shape[1], self.patch_size, self.patch_size, 3]
        return {'views': tf.ensure_shape(views, shape)[tf.newaxis]}

    def _in_view(self, time: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Return what is read of each patch, in its view, float32 [time, patches, 4]."""
        grid = patch_boxes(self.view_size, self.patch_size, self.patch_stride)
        if self.patch_area is None:
            return tf.tile(grid[tf.newaxis], [time, 1, 1])
        count = len(grid)
        crops = sampler.draw_boxes(time * count, 1.0, self.patch_area, _PATCH_ASPECT, seed)
        return sampler.box_in_frame(tf.reshape(crops, [time, count, 4]), grid)

    def _patches(
        self, frame: tf.Tensor, boxes: tf.Tensor, draw: colours.ColourDraw | None = None
    ) -> tf.Tensor:
        """Return the patches of one frame, uint8 [patches, patch_size, patch_size, 3]."""

        def read(element):
            patch = sampler.resample(frame, element[0], self.patch_size)
            return sampler.to_uint8(patch if draw is None else colours.apply(patch, element[1]))

        elements = (boxes,) if draw is None else (boxes, draw)
        return tf.map_fn(read, elements, fn_output_signature=tf.uint8)


def _draw_colours(
    colour: colours.ColourAugmentation, boxes: tf.Tensor, seed: tf.Tensor
) -> colours.ColourDraw:
    """Draw changes for each patch of boxes [time, patches, 4]; their fields have these axes."""
    time, count = tf.shape(boxes)[0], boxes.shape[1]
    drawn = colour.draw(time * count, seed)
    return tf.nest.map_structure(
        lambda field: tf.reshape(field, [time, count, *field.shape[1:]]), drawn
    )
