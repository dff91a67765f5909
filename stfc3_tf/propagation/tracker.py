"""Trackers, which map frames to labels: an encoder, label propagation and the protocol's resizing.

All benchmarks and all videos of users are tracked here. A tracker is streaming: it holds one or two
frames besides the propagator's bounded context, and a call of `track` encodes every frame once.
Nothing is kept between calls: a benchmark that tracks one video from several frames encodes it as
many times.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import dataclasses
from typing import Any, Protocol

import numpy as np

from stfc3_tf.propagation import ahead, choice, extractor, finer_cells
from stfc3_tf.propagation.extractor import FeatureExtractor
from stfc3_tf.propagation.input_size import InputSize
from stfc3_tf.propagation.label_geometry import Codec, Geometry
from stfc3_tf.propagation.settings import PropagationSettings

__all__ = ['Codec', 'CopyFirst', 'Geometry', 'InputSize', 'PropagationTracker', 'Tracker']


class Tracker(Protocol):
    """Carries the label of a clip's first frame to the other frames."""

    def settings(self) -> dict[str, Any]:
        """Return every value that changes the predictions, model included, ready for JSON."""

    def track(
        self,
        frames: Iterable[np.ndarray],
        first_label: Any,
        codec: Any,
        label_size: tuple[int, int],
    ) -> Iterator[Any]:
        """Yield one label per frame; the first is `first_label` itself.

        Args:
          frames: uint8 [height, width, 3] RGB, all of one size, the labelled frame first.
          first_label: label of the first frame, of the kind that `codec` takes.
          codec: converts between labels and soft label maps, see `label_geometry.Codec`.
          label_size: (height, width) of the image that all labels are drawn on; it may differ from
            the size of the frames.

        Yields:
          Labels of the kind of `first_label`.
        """


class PropagationTracker:
    """Tracks by propagating labels over an encoder's features.

    Args:
      encoder: of the frames.
      propagation_settings: of the propagation.
      input_size: how the encoder sees the frames.
      reads_ahead: whether another thread reads and encodes a frame before it is asked for, while
        labels are carried to the one before it.
    """

    def __init__(
        self,
        encoder: FeatureExtractor,
        propagation_settings: PropagationSettings,
        input_size: InputSize,
        reads_ahead: bool = False,
    ):
        self._encoder = finer_cells.of(encoder, input_size.finer)
        self._propagation = propagation_settings
        self._input_size = input_size
        self._reads_ahead = reads_ahead

    def settings(self) -> dict[str, Any]:
        """Return every value that changes the predictions, the encoder's identity included."""
        return {
            'model': extractor.identity(self._encoder),
            'input_size': self._input_size.settings(),
            'propagation': dataclasses.asdict(self._propagation),
        }

    def track(
        self,
        frames: Iterable[np.ndarray],
        first_label: Any,
        codec: Codec,
        label_size: tuple[int, int],
    ) -> Iterator[Any]:
        """See `Tracker.track`."""
        propagator = choice.propagator(self._propagation)
        geometry = None
        encoded = (self._encoded(frame) for frame in frames)
        for image, features in ahead.one_ahead(encoded) if self._reads_ahead else encoded:
            if geometry is None:
                geometry = self._geometry(label_size, image, features)
                propagator.start(features, codec.encode(first_label, geometry))
                yield first_label
            else:
                yield codec.decode(np.asarray(propagator.step(features)), geometry)

    def _encoded(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return a frame as the encoder sees it, and its features."""
        image = self._input_size.resize(frame)
        return image, extractor.unit_features(self._encoder, image[np.newaxis])[0]

    def _geometry(
        self, label_size: tuple[int, int], image: np.ndarray, features: np.ndarray
    ) -> Geometry:
        height, width = image.shape[:2]
        rows, columns = features.shape[:2]
        return Geometry(label_size, (height, width), (rows, columns), self._encoder.cell_grid)


class CopyFirst:
    """The baseline 'identity': every label is the first frame's."""

    def settings(self) -> dict[str, Any]:
        """Return what identifies the baseline."""
        return {'model': {'baseline': 'identity'}}

    def track(
        self, frames: Iterable[np.ndarray], first_label: Any, codec: Any, label_size: Any
    ) -> Iterator[Any]:
        """See `Tracker.track`."""
        del codec, label_size
        for _ in frames:
            yield first_label
