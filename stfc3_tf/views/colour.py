"""Random changes of the colours of training frames; the geometry does not change.

The operations are those of BYOL (Grill et al., 2020), as in the paper (appendix B), in this order:
colour jitter, greyscale, Gaussian blur, solarise. Each frame of a clip gets its own random changes,
so that colours alone do not show which nodes correspond.

The arithmetic is float32 in [0, 255]. It clips after each operation, as with 8-bit images, but does
not round. Images are computed as three colour planes [3, height, width], because a CPU is 2 to 8
times faster on long rows of one colour than on pixels [height, width, 3].
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import functools
from typing import NamedTuple

import gin
import tensorflow as tf

from stfc3_tf import checks, errors

# ITU-R BT.601, the greyscale of PIL and of torchvision.
LUMA = (0.299, 0.587, 0.114)
SOLARISE_THRESHOLD = 128.0
# The hues, in turns, of pure red, green and blue.
_PEAK_HUE = (0.0, 1 / 3, 2 / 3)
# Beyond four standard deviations a Gaussian has 6e-5 of its mass: 0.02 of a grey level.
_BLUR_REACH = 4.0
# Stronger changes leave one colour; a wider blur is one grey, a narrower one changes nothing.
_MOST_STRENGTH = 100
_LEAST_SIGMA, _MOST_SIGMA = 0.001, 1000


class ColourDraw(NamedTuple):
    """The random changes of each frame of a clip; the first axis of every field is time.

    Attributes:
      jitter: bool [time], whether to apply the four jitter operations.
      order: int32 [time, 4], the operations (brightness, contrast, saturation, hue = 0..3) in their
        order.
      amounts: float32 [time, 4], three factors (1 changes nothing) and a hue shift in turns.
      grey: bool [time], whether to remove the colour.
      blur: bool [time], whether to blur.
      sigma: float32 [time], standard deviation of the blur in pixels.
      solarise: bool [time], whether to solarise.
    """

    jitter: tf.Tensor
    order: tf.Tensor
    amounts: tf.Tensor
    grey: tf.Tensor
    blur: tf.Tensor
    sigma: tf.Tensor
    solarise: tf.Tensor


def scale_brightness(planes: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Return planes [3, height, width], blended with black."""
    return tf.minimum(planes * factor, 255.0)


def scale_contrast(planes: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Return planes [3, height, width], blended with their mean grey."""
    mean_grey = tf.tensordot(tf.constant(LUMA), tf.reduce_mean(planes, axis=[1, 2]), 1)
    return tf.clip_by_value(planes * factor + (1 - factor) * mean_grey, 0.0, 255.0)


def scale_saturation(planes: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Return planes [3, height, width], blended with their greyscale; factor 0 gives it alone."""
    grey = tf.tile(tf.constant([LUMA]), [3, 1])
    mix = factor * tf.eye(3) + (1 - factor) * grey
    return tf.clip_by_value(tf.tensordot(mix, planes, 1), 0.0, 255.0)


def shift_hue(planes: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Return planes [3, height, width] with their HSV hue shifted by `shift` turns.

    The values equal those of `tf.image.adjust_hue`, which takes twice the time.
    """
    red, green, blue = tf.unstack(planes)
    value = tf.maximum(tf.maximum(red, green), blue)
    lowest = tf.minimum(tf.minimum(red, green), blue)
    chroma = value - lowest
    sextant = tf.where(
        tf.equal(value, red),
        green - blue,
        tf.where(tf.equal(value, green), blue - red + 2 * chroma, red - green + 4 * chroma),
    )
    hue = tf.math.divide_no_nan(sextant, 6 * chroma) + shift
    from_peak = hue - tf.reshape(tf.constant(_PEAK_HUE), [3, 1, 1])
    distance = tf.abs(from_peak - tf.round(from_peak))
    return lowest + chroma * tf.clip_by_value(2 - 6 * distance, 0.0, 1.0)


def solarise(planes: tf.Tensor) -> tf.Tensor:
    """Invert values of 128 or more, as `PIL.ImageOps.solarize` does by default."""
    return tf.where(planes < SOLARISE_THRESHOLD, planes, 255.0 - planes)


def gaussian_blur(planes: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Return planes [3, height, width], blurred by a Gaussian of `sigma` pixels; edges reflect.

    The radius of the kernel is 4 sigma, or the largest that reflection allows in a small image.
    """
    for _ in range(2):
        planes = tf.transpose(_blur_rows(planes, sigma), [0, 2, 1])
    return planes


def _blur_rows(planes: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Return planes [3, height, width], blurred vertically."""
    height, width = tf.unstack(tf.shape(planes)[1:])
    radius = tf.minimum(tf.cast(tf.math.ceil(_BLUR_REACH * sigma), tf.int32), height - 1)
    kernel = tf.exp(-0.5 * (tf.cast(tf.range(-radius, radius + 1), tf.float32) / sigma) ** 2)
    kernel = kernel / tf.reduce_sum(kernel)
    padded = tf.pad(planes, [[0, 0], [radius, radius], [0, 0]], mode='REFLECT')
    # Columns take the axis of the channels: a depthwise convolution computes them in parallel.
    filters = tf.tile(tf.reshape(kernel, [-1, 1, 1, 1]), [1, 1, width, 1])
    blurred = tf.nn.depthwise_conv2d(padded[:, :, tf.newaxis], filters, [1, 1, 1, 1], 'VALID')
    return tf.reshape(blurred, [3, height, width])


def _jitter(planes: tf.Tensor, order: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    """Apply the four operations to the planes of a frame in the given order."""
    operations = (scale_brightness, scale_contrast, scale_saturation, shift_hue)
    for step in range(len(operations)):
        planes = tf.switch_case(
            order[step],
            [
                functools.partial(operation, planes, amounts[number])
                for number, operation in enumerate(operations)
            ],
        )
    return planes


def apply(frame: tf.Tensor, draw: ColourDraw) -> tf.Tensor:
    """Apply the random changes of one frame.

    Args:
      frame: [height, width, 3], uint8 or float in [0, 255].
      draw: the changes: the fields of `ColourDraw` without the time axis.

    Returns:
      float32 [height, width, 3] in [0, 255], not rounded.
    """
    planes = tf.transpose(tf.cast(frame, tf.float32), [2, 0, 1])
    planes = tf.cond(draw.jitter, lambda: _jitter(planes, draw.order, draw.amounts), lambda: planes)
    planes = _if_drawn(draw.grey, functools.partial(scale_saturation, factor=0.0), planes)
    planes = _if_drawn(draw.blur, functools.partial(gaussian_blur, sigma=draw.sigma), planes)
    planes = _if_drawn(draw.solarise, solarise, planes)
    return tf.transpose(planes, [1, 2, 0])


def _if_drawn(
    drawn: tf.Tensor, operation: Callable[[tf.Tensor], tf.Tensor], planes: tf.Tensor
) -> tf.Tensor:
    """Return the result of an operation if `drawn` is true, else the planes themselves."""
    return tf.cond(drawn, lambda: operation(planes), lambda: planes)


@gin.configurable
@dataclasses.dataclass(frozen=True)
class ColourAugmentation:
    """Colour augmentation of one track; the defaults change nothing.

    Attributes:
      brightness: strength b: the factor is U(max(0, 1 - b), 1 + b), as in torchvision.
      contrast: strength, as for the brightness.
      saturation: strength, as for the brightness.
      hue: strength h: the shift is U(-h, h) turns; at most 0.5.
      jitter_probability: of the four operations above, which come in random order.
      grey_probability: of removing the colour.
      blur_probability: of the Gaussian blur.
      blur_sigma: (low, high), the range of the blur's standard deviation in pixels of the image.
      solarise_probability: of inverting values of 128 or more.

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
            if name.endswith('probability'):
                checks.share(f'ColourAugmentation.{name}', value)
            elif name == 'hue':
                checks.between('ColourAugmentation.hue', value, 0, 0.5)
            elif name != 'blur_sigma':
                checks.between(f'ColourAugmentation.{name}', value, 0, _MOST_STRENGTH)
        low, high = self.blur_sigma
        if not _LEAST_SIGMA <= low <= high <= _MOST_SIGMA:
            raise errors.UserError(
                f'ColourAugmentation.blur_sigma = {self.blur_sigma}: give (low, high), '
                f'{_LEAST_SIGMA} <= low <= high <= {_MOST_SIGMA}.'
            )

    def draw(self, count: int | tf.Tensor, seed: tf.Tensor) -> ColourDraw:
        """Draw the changes of `count` frames from a seed, int [2]; the draw is reproducible."""
        uniform = tf.unstack(tf.random.stateless_uniform([13, count], seed, alg='philox'))
        factors = [
            _between(uniform[4 + i], max(0.0, 1 - strength), 1 + strength)
            for i, strength in enumerate((self.brightness, self.contrast, self.saturation))
        ]
        return ColourDraw(
            jitter=uniform[8] < self.jitter_probability,
            order=tf.argsort(tf.stack(uniform[:4], axis=-1)),
            amounts=tf.stack([*factors, _between(uniform[7], -self.hue, self.hue)], axis=-1),
            grey=uniform[9] < self.grey_probability,
            blur=uniform[10] < self.blur_probability,
            sigma=_between(uniform[11], *self.blur_sigma),
            solarise=uniform[12] < self.solarise_probability,
        )

    def __call__(self, frames: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Change the colours of every frame of a clip independently.

        Args:
          frames: [time, height, width, 3], uint8 or float in [0, 255].
          seed: int [2].

        Returns:
          float32 [time, height, width, 3] in [0, 255], not rounded.
        """
        draws = self.draw(tf.shape(frames)[0], seed)
        return tf.map_fn(
            lambda element: apply(*element), (frames, draws), fn_output_signature=tf.float32
        )


def _between(uniform: tf.Tensor, low: float, high: float) -> tf.Tensor:
    return low + (high - low) * uniform


# Appendix B of the paper, (forward, backward). It states sigma at the greyscale.
PAPER = (
    ColourAugmentation(0.8, 0.8, 0.8, 0.2, 0.8, grey_probability=0.2, blur_probability=0.2),
    ColourAugmentation(
        0.4,
        0.4,
        0.2,
        0.1,
        0.8,
        grey_probability=0.2,
        blur_probability=0.2,
        solarise_probability=0.2,
    ),
)

# The authors' released code (aug.py): (forward, backward).
RELEASED = (
    ColourAugmentation(0.4, 0.4, 0.2, 0.1, 0.8, grey_probability=0.2, blur_probability=1.0),
    ColourAugmentation(
        0.4,
        0.4,
        0.2,
        0.1,
        0.8,
        grey_probability=0.2,
        blur_probability=0.1,
        solarise_probability=0.2,
    ),
)

PUBLISHED = {'paper': PAPER, 'released': RELEASED}
