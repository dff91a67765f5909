"""The figures of a learner in training: means over the steps since the last reset."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf


class _Mean(tf.keras.metrics.Mean):
    """A mean that is NaN, not 0, if nothing was added: skipped steps have no loss."""

    def result(self) -> tf.Tensor:
        return self.total / self.count


class Meters:
    """The figures of training steps.

    Args:
      cycles: number of walks over a clip, for one loss each.
    """

    def __init__(self, cycles: int):
        names = [
            'loss',
            'cycle_accuracy',
            'return_probability',
            'visible_fraction',
            'gradient_norm',
            'skipped_steps',
            *(f'loss/cycle_{k + 1}' for k in range(cycles)),
        ]
        self._means = {name: _Mean(name=name) for name in names}

    @property
    def all(self) -> list[tf.keras.metrics.Metric]:
        """The Keras metrics."""
        return list(self._means.values())

    def results(self) -> dict[str, tf.Tensor]:
        """Return the means, by name; NaN where every step was skipped."""
        return {name: mean.result() for name, mean in self._means.items()}

    def add(
        self, sums: Mapping[str, tf.Tensor], visible: tf.Tensor, nodes: tf.Tensor, finite: tf.Tensor
    ) -> None:
        """Add the figures of a step.

        Args:
          sums: of `Objective.sums`, over the global batch.
          visible: float32 [], number of visible start nodes of the global batch.
          nodes: float32 [], number of all start nodes of the global batch.
          finite: bool []; a step whose gradient is not finite does not count.
        """
        figures = {
            'loss': sums['loss'],
            'return_probability': tf.math.divide_no_nan(sums['probability'], visible),
            'cycle_accuracy': tf.math.divide_no_nan(sums['returned'], sums['sampled']),
            'visible_fraction': visible / nodes,
        }
        for k, loss in enumerate(tf.unstack(sums['cycle_losses'])):
            figures[f'loss/cycle_{k + 1}'] = loss
        weight = tf.cast(finite, tf.float32)
        for name, figure in figures.items():
            self._means[name].update_state(tf.where(finite, figure, 0.0), sample_weight=weight)

    def add_gradient(self, norm: tf.Tensor, finite: tf.Tensor) -> None:
        """Add the norm of a gradient, float32 [], and whether its step was skipped."""
        weight = tf.cast(finite, tf.float32)
        norm = tf.where(finite, norm, 0.0)  # A weight of 0 times NaN is NaN.
        self._means['gradient_norm'].update_state(norm, sample_weight=weight)
        self._means['skipped_steps'].update_state(1 - weight)
