"""The choice of the propagator: TensorFlow's, XLA's, or NumPy's if TensorFlow is not installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import gin
import numpy as np

from stfc3_tf import errors
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


@gin.configurable
def propagator(settings: PropagationSettings, compiled: bool | None = None) -> AnyPropagator:
    """Return the propagator that suits this process.

    Args:
      settings: of the propagation.
      compiled: whether XLA compiles it, see `compiled_propagator`. By default if TensorFlow sees a
        GPU or TPU and the settings allow it.

    Raises:
      errors.UserError: it is to be compiled, but the settings have `keep_ties`, `precision` is
        'fast' or TensorFlow is not installed; or it is not installed and `precision` is 'fast'.
    """
    try:
        from stfc3_tf.propagation import compiled_propagator, propagator
    except ImportError:
        if compiled:
            raise errors.UserError('propagator.compiled = True needs TensorFlow.') from None
        return NumpyPropagator(settings)
    if compiled is None:
        compiled = not settings.keep_ties and _sees_accelerator()
    if compiled:
        return compiled_propagator.CompiledPropagator(settings)
    return propagator.Propagator(settings)


def _sees_accelerator() -> bool:
    import tensorflow as tf

    return any(tf.config.get_visible_devices(kind) for kind in ('GPU', 'TPU'))
