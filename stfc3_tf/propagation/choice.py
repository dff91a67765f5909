"""The choice of the propagator: TensorFlow's, or NumPy's if TensorFlow is not installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from stfc3_tf.propagation.numpy_propagator import NumpyPropagator
from stfc3_tf.propagation.settings import PropagationSettings


class AnyPropagator(Protocol):
    """Carries labels through a video, see `propagator.Propagator`."""

    def start(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        pinned: Sequence[tuple[np.ndarray, np.ndarray]] = (),
    ) -> None:
        """See `propagator.Propagator.start`."""

    def step(self, features: np.ndarray) -> Any:
        """Return the soft labels of the next frame, float32 [rows, columns, labels]."""


Maker = Callable[[PropagationSettings], AnyPropagator]


def propagator(settings: PropagationSettings) -> AnyPropagator:
    """Return the propagator that can run in this process."""
    try:
        from stfc3_tf.propagation.propagator import Propagator
    except ImportError:
        return NumpyPropagator(settings)
    return Propagator(settings)
