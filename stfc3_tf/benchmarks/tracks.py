"""Point tracks with a guess whether the point can be seen, for benchmarks that score occlusion."""

import dataclasses

import gin
import numpy as np

from stfc3_tf import errors
from stfc3_tf.benchmarks import codecs
from stfc3_tf.tracking import Geometry


@gin.configurable
@dataclasses.dataclass(frozen=True)
class TrackCodec:
    """Tracks, float [points, 3]: x, y (0-based pixels, NaN without a position) and confidence.

    Confidence is the largest value of a point's map, 1 in the query frame. It falls when the cells
    most similar to the query's disagree about where the point is, as they do where it is hidden.

    Attributes:
      points: between positions and maps.
      visible_above: a point is predicted visible if its confidence exceeds this.
    """

    points: codecs.PointCodec = dataclasses.field(default_factory=codecs.PointCodec)
    visible_above: float = 0.2

    def __post_init__(self):
        if not 0 <= self.visible_above < 1:
            raise errors.UserError(
                f'TrackCodec.visible_above={self.visible_above} is not in [0, 1).')

    def encode(self, label: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Returns float32 [rows, columns, points], the largest value of each map 1."""
        maps = self.points.encode(label[:, :2], geometry)
        return maps / np.maximum(maps.max(axis=(0, 1)), np.finfo(np.float32).tiny)

    def decode(self, soft: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Returns float64 [points, 3]."""
        confidence = soft.max(axis=(0, 1))
        return np.concatenate([self.points.decode(soft, geometry), confidence[:, None]], axis=1)

    def occluded(self, tracks: np.ndarray) -> np.ndarray:
        """Whether points are predicted hidden: [..., 3] -> bool [...]."""
        return ~(tracks[..., 2] > self.visible_above) | np.isnan(tracks[..., 0])


def queries(points: np.ndarray) -> np.ndarray:
    """The label of a query frame: [points, 2] -> float64 [points, 3], confidence 1."""
    return np.concatenate([points, np.ones((len(points), 1))], axis=1)
