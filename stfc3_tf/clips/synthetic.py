"""Built-in training data with exact truth: textured objects over a moving textured background.

A scene is a pure function of its seed. Labels, motions and visibility of pixels at any time are
computed in closed form, without rendering. So scenes serve as training data for a first run and as
exact truth for tests of everything else.

Coordinates: scene coordinates have the image centre at (0, 0) and half the shorter image side as
unit; x points right, y down. Returned points are (x, y) in pixels, with pixel centres at integers.
Each layer (the background and the objects) is a textured plane in its own coordinates; motion is a
3x3 matrix acting on homogeneous column vectors, named `target_from_source`.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import functools

import gin
import numpy as np

from stfc3_tf import checks
from stfc3_tf.clips import source, textures

TEXELS_PER_UNIT = 96
BACKGROUND_TEXELS = 256
OBJECT_TEXELS = 128
POINTS_PER_OBJECT = 5
_MOST_SIDE, _MOST_SECONDS = 4096, 1e6


@dataclasses.dataclass(frozen=True)
class Shape:
    """A star-shaped outline with radius (1 + sum_k a_k cos(k angle + b_k)), perhaps with a hole.

    Attributes:
      radius: mean radius, in units of the layer.
      waves: [waves, 3] rows (k, a_k, b_k).
      hole: radius of the round hole in the middle; 0 for none.
    """

    radius: float
    waves: np.ndarray
    hole: float

    @property
    def reach(self) -> float:
        """Radius of a circle that contains the whole shape."""
        return self.radius * (1 + np.abs(self.waves[:, 1]).sum())

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the signed distance to the outline, negative inside; first order near it."""
        angle, length = np.arctan2(y, x), np.hypot(x, y)
        outline, slope = np.ones_like(angle), np.zeros_like(angle)
        for k, size, phase in self.waves:
            outline += size * np.cos(k * angle + phase)
            slope -= k * size * np.sin(k * angle + phase)
        steepness = np.sqrt(1 + (slope / outline) ** 2)
        outer = (length - self.radius * outline) / steepness
        return np.maximum(outer, self.hole - length) if self.hole else outer


@dataclasses.dataclass(frozen=True)
class Motion:
    """A smooth bounded motion: shift, rotation and zoom oscillate about their means.

    Attributes:
      mean: [4] x, y, angle in radians, logarithm of the scale.
      swing: [4] amplitudes of the same.
      pace: [4] oscillations per second.
      phase: [4] radians.
    """

    mean: np.ndarray
    swing: np.ndarray
    pace: np.ndarray
    phase: np.ndarray

    def matrix(self, time: float) -> np.ndarray:
        """Return the 3x3 similarity transform at a time in seconds."""
        now = self.mean + self.swing * np.sin(2 * np.pi * self.pace * time + self.phase)
        x, y, angle, log_scale = now
        cosine, sine = np.exp(log_scale) * np.cos(angle), np.exp(log_scale) * np.sin(angle)
        return np.array([[cosine, -sine, x], [sine, cosine, y], [0, 0, 1]])


@dataclasses.dataclass(frozen=True)
class Layer:
    """A textured plane, cut out along an outline.

    Attributes:
      shape: the outline; None for the background, which is unbounded.
      texture: uint8 [size, size, 3], see `textures`.
      motion: of the layer in the scene.
    """

    shape: Shape | None
    texture: np.ndarray
    motion: Motion

    @property
    def outline(self) -> Shape:
        """The shape of an object; the background has none."""
        assert self.shape is not None
        return self.shape


@dataclasses.dataclass(frozen=True)
class Scene:
    """A moving scene; time is in seconds and may be any number.

    Attributes:
      height: pixels.
      width: pixels.
      layers: from back to front; layer 0 is the background, layer k has label k.
      camera: motion of the whole scene.
      marks: float [points, 3], the key points: layer number, and x, y in that layer.
    """

    height: int
    width: int
    layers: tuple[Layer, ...]
    camera: Motion
    marks: np.ndarray

    def frame(self, time: float) -> np.ndarray:
        """Render the scene at a time.

        Returns:
          uint8 RGB [height, width, 3], with anti-aliased edges.
        """
        columns, rows = np.arange(self.width), np.arange(self.height)
        canvas = self._texture(0, time, columns, rows)
        for number in range(1, len(self.layers)):
            columns, rows = self._bounds(number, time)
            if len(columns) and len(rows):
                window = canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
                opacity = self._opacity(number, time, columns, rows)[..., None]
                window += opacity * (self._texture(number, time, columns, rows) - window)
        return np.rint(canvas).astype(np.uint8)

    def masks(self, time: float) -> np.ndarray:
        """Return which layer is visible at each pixel centre.

        Returns:
          uint8 [height, width]; 0 is the background.
        """
        return self.labels_at(self._pixels(), time)

    def points(self, time: float) -> np.ndarray:
        """Return the positions of the key points, visible or not.

        Returns:
          float64 [points, 2], (x, y) in pixels.
        """
        numbers = self.marks[:, 0].astype(int)
        matrices = np.stack([self.image_from_layer(n, time) for n in range(len(self.layers))])
        return _apply(matrices[numbers], self.marks[:, 1:])

    def visible(self, time: float) -> np.ndarray:
        """Return which key points are inside the image and not behind a nearer layer.

        Returns:
          bool [points].
        """
        points = self.points(time)
        return self._inside(points) & (self.labels_at(points, time) == self.marks[:, 0])

    def follow(
        self, points: np.ndarray, time: float, other_time: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Follow the surface visible at any points of one frame to another frame.

        Args:
          points: float [..., 2], (x, y) in pixels of the frame at `time`.
          time: seconds.
          other_time: seconds.

        Returns:
          float64 [..., 2], (x, y) in pixels at `other_time`; and bool [...], whether it is visible.
        """
        labels = self.labels_at(points, time)
        motions = np.stack([self._motion(n, time, other_time) for n in range(len(self.layers))])
        moved = _apply(motions[labels], points)
        return moved, self._inside(moved) & (self.labels_at(moved, other_time) == labels)

    def labels_at(self, points: np.ndarray, time: float) -> np.ndarray:
        """Return the number of the frontmost layer at points [..., 2] in pixels: uint8 [...]."""
        labels = np.zeros(points.shape[:-1], np.uint8)
        for number in range(1, len(self.layers)):
            local = _apply(np.linalg.inv(self.image_from_layer(number, time)), points)
            labels[self.layers[number].outline.distance(local[..., 0], local[..., 1]) <= 0] = number
        return labels

    def image_from_layer(self, number: int, time: float) -> np.ndarray:
        """Return the 3x3 matrix from a layer's coordinates to pixels of the frame at `time`."""
        unit = min(self.height, self.width) / 2
        image_from_scene = np.array(
            [[unit, 0, (self.width - 1) / 2], [0, unit, (self.height - 1) / 2], [0, 0, 1]]
        )
        scene_from_world = self.camera.matrix(time)
        return image_from_scene @ scene_from_world @ self.layers[number].motion.matrix(time)

    def _motion(self, number: int, time: float, other_time: float) -> np.ndarray:
        source_from_layer = self.image_from_layer(number, time)
        return self.image_from_layer(number, other_time) @ np.linalg.inv(source_from_layer)

    def _pixels(self) -> np.ndarray:
        y, x = np.mgrid[: self.height, : self.width]
        return np.stack([x, y], -1).astype(np.float64)

    def _inside(self, points: np.ndarray) -> np.ndarray:
        """Return whether points are at most half a pixel beyond the outer pixel centres."""
        limits = np.array([self.width, self.height]) - 0.5
        return ((points >= -0.5) & (points < limits)).all(-1)

    def _bounds(self, number: int, time: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the columns and rows of the image that an object may cover."""
        matrix = self.image_from_layer(number, time)
        reach = self.layers[number].outline.reach * np.hypot(matrix[0, 0], matrix[1, 0]) + 1
        low = np.maximum(np.floor(matrix[:2, 2] - reach).astype(int), 0)
        high = np.minimum(np.ceil(matrix[:2, 2] + reach).astype(int) + 1, (self.width, self.height))
        return np.arange(low[0], high[0]), np.arange(low[1], high[1])

    def _local(
        self, number: int, time: float, columns: np.ndarray, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y of pixel centres in a layer, each float32 [rows, columns]."""
        inverse = np.linalg.inv(self.image_from_layer(number, time))
        x = inverse[0, 0] * columns + (inverse[0, 1] * rows[:, None] + inverse[0, 2])
        y = inverse[1, 0] * columns + (inverse[1, 1] * rows[:, None] + inverse[1, 2])
        return x.astype(np.float32), y.astype(np.float32)

    def _texture(
        self, number: int, time: float, columns: np.ndarray, rows: np.ndarray
    ) -> np.ndarray:
        x, y = self._local(number, time, columns, rows)
        return textures.sample(
            self.layers[number].texture, x * TEXELS_PER_UNIT, y * TEXELS_PER_UNIT
        )

    def _opacity(
        self, number: int, time: float, columns: np.ndarray, rows: np.ndarray
    ) -> np.ndarray:
        """Return the share of each pixel that an object covers: its edge is a ramp of one pixel."""
        matrix = self.image_from_layer(number, time)
        pixels_per_unit = np.float32(np.hypot(matrix[0, 0], matrix[1, 0]))
        x, y = self._local(number, time, columns, rows)
        distance = self.layers[number].outline.distance(x, y) * pixels_per_unit
        return np.clip(np.float32(0.5) - distance, 0, 1)


def check_side(setting: str, value: int) -> None:
    """Raise `UserError` unless a scene can have so many pixels along a side."""
    checks.whole_number(setting, value, most=_MOST_SIDE)


def scene(seed: int, height: int = 128, width: int = 160) -> Scene:
    """Draw a scene of three to five objects that pass in front of each other.

    Args:
      seed: a non-negative integer; the same seed gives the same scene at any image size.
      height: pixels.
      width: pixels.

    Returns:
      The scene.
    """
    generator = np.random.Generator(np.random.Philox(seed))
    camera = _random_motion(generator, (0, 0, 0, 0), (0.15, 0.15, 0.08, 0.06), (0.05, 0.25))
    still = Motion(*np.zeros((4, 4)))
    layers = [Layer(None, textures.random_texture(generator, BACKGROUND_TEXELS), still)]
    marks = []
    for number in range(1, int(generator.integers(3, 6)) + 1):
        layers.append(_random_object(generator))
        marks += [(number, *point) for point in _random_marks(generator, layers[-1].outline)]
    return Scene(height, width, tuple(layers), camera, np.array(marks))


def _random_motion(
    generator: np.random.Generator,
    mean: Sequence[float],
    swing: Sequence[float],
    pace: tuple[float, float],
) -> Motion:
    """Draw amplitudes from a third of `swing` to `swing`, and paces from the range `pace`."""
    return Motion(
        mean=np.array(mean, float),
        swing=np.array(swing) * generator.uniform(1 / 3, 1, 4),
        pace=generator.uniform(*pace, 4),
        phase=generator.uniform(0, 2 * np.pi, 4),
    )


def _random_object(generator: np.random.Generator) -> Layer:
    count = int(generator.integers(1, 4))
    waves = np.stack(
        [
            generator.choice(np.arange(2, 7), count, replace=False),
            generator.uniform(0.05, 0.3, count) / count,
            generator.uniform(0, 2 * np.pi, count),
        ],
        axis=1,
    )
    radius = generator.uniform(0.22, 0.42)
    hole = radius * generator.uniform(0.3, 0.45) if generator.uniform() < 0.2 else 0.0
    mean = (*generator.uniform((-0.8, -0.6), (0.8, 0.6)), generator.uniform(0, 2 * np.pi), 0)
    motion = _random_motion(generator, mean, (0.5, 0.4, 0.7, 0.15), (0.1, 0.35))
    texture = textures.random_texture(generator, OBJECT_TEXELS)
    return Layer(Shape(radius, waves, hole), texture, motion)


def _random_marks(generator: np.random.Generator, shape: Shape) -> np.ndarray:
    """Draw key points [points, 2] well inside a shape, in its coordinates."""
    tries = generator.uniform(-shape.reach, shape.reach, (400, 2))
    inside = shape.distance(tries[:, 0], tries[:, 1]) < -0.15 * shape.radius
    return tries[inside][:POINTS_PER_OBJECT]


def _apply(matrices: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply affine 3x3 matrices [..., 3, 3] to points [..., 2]."""
    return (matrices[..., :2, :2] @ points[..., None])[..., 0] + matrices[..., :2, 2]


@gin.configurable
class SyntheticScenes(source.Source):
    """A source of scenes: video n is `scene(first_seed + n)` from time 0 to `seconds`.

    Args:
      count: number of scenes.
      height: pixels.
      width: pixels.
      seconds: length of each scene.
      first_seed: seed of scene 0. Scenes for training and for evaluation must not share seeds.
    """

    def __init__(
        self,
        count: int = 250,
        height: int = 128,
        width: int = 160,
        seconds: float = 10.0,
        first_seed: int = 0,
    ):
        checks.whole_number('SyntheticScenes.count', count)
        for name, pixels in (('height', height), ('width', width)):
            check_side(f'SyntheticScenes.{name}', pixels)
        checks.between('SyntheticScenes.seconds', seconds, 0, _MOST_SECONDS)
        checks.whole_number('SyntheticScenes.first_seed', first_seed, least=0)
        self._count = count
        self._seconds = seconds
        self._first_seed = first_seed
        # Cached, because drawing a scene takes longer than rendering a clip; a scene has 0.4 MB.
        self._scene = functools.lru_cache(maxsize=250)(
            lambda video: scene(first_seed + video, height, width)
        )

    def __len__(self) -> int:
        """See `source.Source`."""
        return self._count

    def name(self, video: int) -> str:
        """See `source.Source.name`."""
        return f'synthetic scene {self._first_seed + video}'

    def read(self, video: int, position: float, count: int, frame_rate: float) -> np.ndarray:
        """See `source.Source.read`."""
        times = source.clip_times(self.name(video), 0.0, self._seconds, position, count, frame_rate)
        return np.stack([self._scene(video).frame(time) for time in times])
