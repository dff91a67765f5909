"""Random textures for the synthetic scenes: rich at every scale, periodic, seeded.

A texture is uint8 [size, size, 3] and tiles the plane. It is smooth over about two texels, so that
scenes can be sampled bilinearly without aliasing.
"""

import functools

import numpy as np


def random_texture(generator: np.random.Generator, size: int) -> np.ndarray:
    """Draw a texture: one of three patterns in random colours, with fine grain.

    Args:
      generator: source of all randomness.
      size: texels per side.

    Returns:
      uint8 [size, size, 3].
    """
    pattern = _PATTERNS[generator.integers(len(_PATTERNS))](generator, size)
    detail = _noise(generator, size, cells=(size // 12, size // 6), channels=1)
    softened = np.clip(_soften(pattern + 0.08 * detail), 0.0, 1.0)
    return np.rint(255 * softened).astype(np.uint8)


def sample(texture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sample a texture bilinearly, repeating it in both directions.

    Args:
      texture: uint8 [size, size, 3].
      x: float [...], in texels, with texel centres at integers.
      y: float [...], likewise.

    Returns:
      float32 [..., 3].
    """
    size = texture.shape[0]
    texels = texture.reshape(-1, 3)
    left, top = np.floor(x), np.floor(y)
    right_weight = (x - left).astype(np.float32)[..., None]
    bottom_weight = (y - top).astype(np.float32)[..., None]
    left, top = left.astype(np.int32) % size, top.astype(np.int32) % size
    right, bottom = (left + 1) % size, (top + 1) % size
    upper_row, lower_row = top * size, bottom * size
    upper = _mix(texels, upper_row + left, upper_row + right, right_weight)
    lower = _mix(texels, lower_row + left, lower_row + right, right_weight)
    return _blend(upper, lower, bottom_weight)


def _mix(
    texels: np.ndarray, first: np.ndarray, second: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Blend texels [texels, 3] that two arrays of indices choose."""
    begin = texels.take(first, 0).astype(np.float32)
    return _blend(begin, texels.take(second, 0), weight)


def _blend(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return first + weight * (second - first)


def _clouds(generator: np.random.Generator, size: int) -> np.ndarray:
    """Draw soft blobs between four colours."""
    fields = _noise(generator, size, cells=(4, 8, 16, 32), channels=2)
    weights = 1 / (1 + np.exp(-4 * fields))
    colours = _palette(generator, 4).reshape(2, 2, 3)
    first = _blend(colours[0, 0], colours[0, 1], weights[..., :1])
    second = _blend(colours[1, 0], colours[1, 1], weights[..., :1])
    return _blend(first, second, weights[..., 1:])


def _stripes(generator: np.random.Generator, size: int) -> np.ndarray:
    """Draw stripes of two colours, bent and shaded by noise so that all places differ."""
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    turns = generator.integers(-9, 10, 2)
    turns[generator.integers(2)] = generator.integers(4, 10)
    fields = _noise(generator, size, cells=(4, 8, 16), channels=2)
    wave = np.tanh(3 * np.sin(2 * np.pi * (turns[0] * x + turns[1] * y) + 1.5 * fields[..., 0]))
    colours = _palette(generator, 2)
    return _blend(colours[0], colours[1], (0.5 + 0.5 * wave)[..., None]) + 0.1 * fields[..., 1:]


def _mosaic(generator: np.random.Generator, size: int) -> np.ndarray:
    """Draw patches of related colours with irregular borders."""
    cells = int(generator.integers(8, 18))
    y, x = np.mgrid[:size, :size].astype(np.float32) * (cells / size)
    shift = _noise(generator, size, cells=(cells, 2 * cells), channels=2)
    column = np.floor(x + shift[..., 0]).astype(np.int64) % cells
    row = np.floor(y + shift[..., 1]).astype(np.int64) % cells
    return _palette(generator, cells * cells).take(row * cells + column, 0)


_PATTERNS = (_clouds, _stripes, _mosaic)


def _palette(generator: np.random.Generator, count: int) -> np.ndarray:
    """Draw colours [count, 3] around one, which differ more in lightness than in hue."""
    base = generator.uniform(0.2, 0.8, 3)
    lightness = generator.permutation(np.linspace(-0.3, 0.3, count))[:, None]
    return (base + lightness + 0.12 * generator.standard_normal((count, 3))).astype(np.float32)


def _noise(
    generator: np.random.Generator, size: int, cells: tuple[int, ...], channels: int
) -> np.ndarray:
    """Draw periodic noise [size, size, channels], blobs of several sizes, variance about 1."""
    total = np.zeros((channels, size, size), np.float32)
    for count in cells:
        grid = generator.standard_normal((channels, count, count)).astype(np.float32)
        weights = _spread(size, count)
        total += weights @ grid @ weights.T
    return total.transpose(1, 2, 0) / np.float32(np.sqrt(len(cells)))


@functools.cache
def _spread(size: int, count: int) -> np.ndarray:
    """Return weights [size, count] that spread `count` periodic values over `size` texels.

    The kernel is a Gaussian. Its product over x and y is round, so that the noise has no direction.
    """
    distance = np.abs(np.arange(size)[:, None] * (count / size) - np.arange(count)[None])
    kernel = np.exp(-((np.minimum(distance, count - distance) / 0.6) ** 2))
    return (kernel / np.sqrt((kernel**2).sum(1, keepdims=True))).astype(np.float32)


def _soften(texture: np.ndarray) -> np.ndarray:
    """Average twice over neighbouring texels (weights 1 2 1), so that borders are smooth."""
    for axis in (0, 1, 0, 1):
        texture = 0.5 * texture + 0.25 * (np.roll(texture, 1, axis) + np.roll(texture, -1, axis))
    return texture
