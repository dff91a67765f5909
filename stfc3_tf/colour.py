"""How a frame's colours are disturbed before it is learnt from; geometry never enters here.

The operations are those of BYOL (Grill et al., 2020), which the paper follows (appendix B), in its
order: colour jitter, greyscale, Gaussian blur, solarise. Every frame of a clip is drawn on its
own, so that a walk through time cannot be solved by matching colours alone.

Arithmetic is float32 in [0, 255], clipped after each operation as an 8-bit image would be but
never rounded in between. An image is worked on as three colour planes [3, height, width]: long rows
of one colour are what the CPU is fast at (2 to 8 times faster here than pixels of three).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import gin
import tensorflow as tf

from stfc3_tf import errors

# ITU-R BT.601, the greyscale of PIL and of torchvision.
LUMA = (0.299, 0.587, 0.114)
SOLARISE_THRESHOLD = 128.0
# Hue, in turns, at which red, green and blue are at their strongest.
_PEAK_HUE = (0.0, 1 / 3, 2 / 3)
# A Gaussian cut at four standard deviations loses 6e-5 of its mass: 0.02 of a grey level.
_BLUR_REACH = 4.0


class ColourDraw(NamedTuple):
    """What was drawn for each frame of a clip; the leading axis of every field is time.

    Attributes:
      jitter: bool [time], whether the four jitter operations are applied.
      order: int32 [time, 4], the operations (brightness, contrast, saturation, hue = 0..3) in the
        order they are applied.
      amounts: float32 [time, 4], three factors (1 changes nothing) and a hue shift in turns.
      grey: bool [time].
      blur: bool [time].
      sigma: float32 [time], standard deviation of the blur in pixels.
      solarise: bool [time].
    """

    jitter: tf.Tensor
    order: tf.Tensor
    amounts: tf.Tensor
    grey: tf.Tensor
    blur: tf.Tensor
    sigma: tf.Tensor
    solarise: tf.Tensor


def scale_brightness(planes: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blends [3, height, width] with black."""
    return tf.minimum(planes * factor, 255.0)


def scale_contrast(planes: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blends [3, height, width] with its mean grey."""
    mean_grey = tf.tensordot(tf.constant(LUMA), tf.reduce_mean(planes, axis=[1, 2]), 1)
    return tf.clip_by_value(planes * factor + (1 - factor) * mean_grey, 0.0, 255.0)


def scale_saturation(planes: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blends [3, height, width] with its own greyscale; factor 0 is the greyscale itself."""
    grey = tf.tile(tf.constant([LUMA]), [3, 1])
    mix = factor * tf.eye(3) + (1 - factor) * grey
    return tf.clip_by_value(tf.tensordot(mix, planes, 1), 0.0, 255.0)


def shift_hue(planes: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Turns the HSV hue of [3, height, width] by `shift` turns, keeping value and saturation.

    Equals `tf.image.adjust_hue`, in half its time.
    """
    red, green, blue = tf.unstack(planes)
    value = tf.maximum(tf.maximum(red, green), blue)
    lowest = tf.minimum(tf.minimum(red, green), blue)
    chroma = value - lowest
    sextant = tf.where(
        tf.equal(value, red), green - blue,
        tf.where(tf.equal(value, green), blue - red + 2 * chroma, red - green + 4 * chroma))
    hue = tf.math.divide_no_nan(sextant, 6 * chroma) + shift
    from_peak = hue - tf.reshape(tf.constant(_PEAK_HUE), [3, 1, 1])
    distance = tf.abs(from_peak - tf.round(from_peak))
    return lowest + chroma * tf.clip_by_value(2 - 6 * distance, 0.0, 1.0)


def solarise(planes: tf.Tensor) -> tf.Tensor:
    """Inverts what is at or above 128 (`PIL.ImageOps.solarize` at its default threshold)."""
    return tf.where(planes < SOLARISE_THRESHOLD, planes, 255.0 - planes)


def gaussian_blur(planes: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Blurs [3, height, width] with a Gaussian of `sigma` pixels; edges are reflected.

    The kernel reaches 4 sigma, or as far as a smaller image can be reflected.
    """
    for _ in range(2):
        planes = tf.transpose(_blur_rows(planes, sigma), [0, 2, 1])
    return planes


def _blur_rows(planes: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Blurs [3, height, width] vertically."""
    height, width = tf.unstack(tf.shape(planes)[1:])
    radius = tf.minimum(tf.cast(tf.math.ceil(_BLUR_REACH * sigma), tf.int32), height - 1)
    kernel = tf.exp(-0.5 * (tf.cast(tf.range(-radius, radius + 1), tf.float32) / sigma) ** 2)
    kernel = kernel / tf.reduce_sum(kernel)
    padded = tf.pad(planes, [[0, 0], [radius, radius], [0, 0]], mode='REFLECT')
    # The columns stand where a convolution expects its channels: those it computes side by side.
    filters = tf.tile(tf.reshape(kernel, [-1, 1, 1, 1]), [1, 1, width, 1])
    blurred = tf.nn.depthwise_conv2d(padded[:, :, tf.newaxis], filters, [1, 1, 1, 1], 'VALID')
    return tf.reshape(blurred, [3, height, width])


def _jitter(planes: tf.Tensor, order: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    """Applies the four operations to one frame's planes in the order drawn."""
    operations = (scale_brightness, scale_contrast, scale_saturation, shift_hue)
    for step in range(len(operations)):
        planes = tf.switch_case(order[step], [
            functools.partial(operation, planes, amounts[number])
            for number, operation in enumerate(operations)])
    return planes


def apply(frame: tf.Tensor, draw: ColourDraw) -> tf.Tensor:
    """Applies to one frame what was drawn for it.

    Args:
      frame: [height, width, 3], uint8 or float in [0, 255].
      draw: the draw of one frame: the fields of `ColourDraw` without the time axis.

    Returns:
      float32 [height, width, 3] in [0, 255], not rounded.
    """
    planes = tf.transpose(tf.cast(frame, tf.float32), [2, 0, 1])
    planes = tf.cond(draw.jitter, lambda: _jitter(planes, draw.order, draw.amounts), lambda: planes)
    planes = _if_drawn(draw.grey, functools.partial(scale_saturation, factor=0.0), planes)
    planes = _if_drawn(draw.blur, functools.partial(gaussian_blur, sigma=draw.sigma), planes)
    planes = _if_drawn(draw.solarise, solarise, planes)
    return tf.transpose(planes, [1, 2, 0])


def _if_drawn(drawn: tf.Tensor, operation, planes: tf.Tensor) -> tf.Tensor:
    """Runs `operation` only if it was drawn."""
    return tf.cond(drawn, lambda: operation(planes), lambda: planes)


@gin.configurable
@dataclasses.dataclass(frozen=True)
class ColourAugmentation:
    """Colour augmentation of one track; the defaults change nothing.

    Attributes:
      brightness: strength b: the factor is U(max(0, 1 - b), 1 + b), as in torchvision.
      contrast: strength, likewise.
      saturation: strength, likewise.
      hue: strength h: the shift is U(-h, h) turns, h at most 0.5.
      jitter_probability: of the four operations above, applied in random order.
      grey_probability: of losing colour.
      blur_probability: of the Gaussian blur.
      blur_sigma: range its standard deviation is uniform in, pixels of the image it is given.
      solarise_probability: of inverting what is at or above 128.

    Raises:
      errors.UserError: a setting is out of its range.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    jitter_probability: float = 0.0
    grey_probability: float = 0.0
    blur_probability: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarise_probability: float = 0.0

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if name.endswith('probability') and not 0 <= value <= 1:
                raise errors.UserError(
                    f'ColourAugmentation.{name} = {value}: give a probability in [0, 1].')
            if name != 'blur_sigma' and value < 0:
                raise errors.UserError(
                    f'ColourAugmentation.{name} = {value}: give a strength of 0 or more.')
        if self.hue > 0.5:
            raise errors.UserError(
                f'ColourAugmentation.hue = {self.hue}: half a turn (0.5) is the most.')
        low, high = self.blur_sigma
        if not 0 < low <= high:
            raise errors.UserError(
                f'ColourAugmentation.blur_sigma = {self.blur_sigma}: give (low, high), '
                '0 < low <= high.')

    def draw(self, count: int | tf.Tensor, seed: tf.Tensor) -> ColourDraw:
        """Draws what happens to each of `count` frames; the same seed (int [2]) draws the same."""
        uniform = tf.unstack(tf.random.stateless_uniform([13, count], seed, alg='philox'))
        factors = [_between(uniform[4 + i], max(0.0, 1 - strength), 1 + strength) for i, strength
                   in enumerate((self.brightness, self.contrast, self.saturation))]
        return ColourDraw(
            jitter=uniform[8] < self.jitter_probability,
            order=tf.argsort(tf.stack(uniform[:4], axis=-1)),
            amounts=tf.stack([*factors, _between(uniform[7], -self.hue, self.hue)], axis=-1),
            grey=uniform[9] < self.grey_probability,
            blur=uniform[10] < self.blur_probability,
            sigma=_between(uniform[11], *self.blur_sigma),
            solarise=uniform[12] < self.solarise_probability)

    def __call__(self, frames: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Augments every frame of a clip independently.

        Args:
          frames: [time, height, width, 3], uint8 or float in [0, 255].
          seed: int [2].

        Returns:
          float32 [time, height, width, 3] in [0, 255], not rounded.
        """
        draws = self.draw(tf.shape(frames)[0], seed)
        return tf.map_fn(lambda element: apply(*element), (frames, draws),
                         fn_output_signature=tf.float32)


def _between(uniform: tf.Tensor, low: float, high: float) -> tf.Tensor:
    return low + (high - low) * uniform


# Appendix B of the paper, (forward, backward). What it says of sigma stands with the greyscale.
PAPER = (
    ColourAugmentation(0.8, 0.8, 0.8, 0.2, 0.8, grey_probability=0.2, blur_probability=0.2),
    ColourAugmentation(0.4, 0.4, 0.2, 0.1, 0.8, grey_probability=0.2, blur_probability=0.2,
                       solarise_probability=0.2),
)

# The authors' released code (aug.py): (forward, backward).
RELEASED = (
    ColourAugmentation(0.4, 0.4, 0.2, 0.1, 0.8, grey_probability=0.2, blur_probability=1.0),
    ColourAugmentation(0.4, 0.4, 0.2, 0.1, 0.8, grey_probability=0.2, blur_probability=0.1,
                       solarise_probability=0.2),
)
