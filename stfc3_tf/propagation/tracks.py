"""Point tracks with predicted visibility, for benchmarks that score occlusion."""

from __future__ import annotations

import dataclasses

import gin
import numpy as np

from stfc3_tf import errors
from stfc3_tf.propagation import codecs
from stfc3_tf.propagation.label_geometry import Geometry


@gin.configurable
@dataclasses.dataclass(frozen=True)
class TrackCodec:
    """Tracks, float [points, 3]: x, y (0-based pixels, NaN without a position) and confidence.

    The confidence is the largest value of a point's map, 1 in the query frame. It falls when the
    most similar cells disagree about the position of the point, as they do when it is hidden.

    Attributes:
      points: between positions and maps.
      visible_above: a point is predicted visible if its confidence exceeds this.
    """

    points: codecs.PointCodec = dataclasses.field(default_factory=codecs.PointCodec)
    visible_above: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.visible_above < 1:
            raise errors.UserError(
                f'TrackCodec.visible_above={self.visible_above} is not in [0, 1).'
            )

    def encode(self, label: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Return maps whose largest value is 1.

        Args:
          label: float [points, 3].
          geometry: the sizes of image and maps.

        Returns:
          float32 [rows, columns, points].
        """
        maps = self.points.encode(label[:, :2], geometry)
        return maps / np.maximum(maps.max(axis=(0, 1)), np.finfo(np.float32).tiny)

    def decode(self, soft: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Return tracks, float64 [points, 3], of maps [rows, columns, points]."""
        confidence = soft.max(axis=(0, 1))
        return np.concatenate([self.points.decode(soft, geometry), confidence[:, None]], axis=1)

    def occluded(self, tracks: np.ndarray) -> np.ndarray:
        """Return whether points are predicted hidden, bool [...], of tracks [..., 3]."""
        return ~(tracks[..., 2] > self.visible_above) | np.isnan(tracks[..., 0])


def queries(points: np.ndarray) -> np.ndarray:
    """Return the label of a query frame, float64 [points, 3] with confidence 1.

    Args:
      points: float [points, 2], (x, y).
    """
    return np.concatenate([points, np.ones((len(points), 1))], axis=1)
