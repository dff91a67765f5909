"""The learner: a Keras model whose `train_step` lowers the objective of its encoder.

The update does not depend on how many devices share the global batch: the loss is divided by a
number of nodes of the global batch, gradients are summed over replicas, and each clip draws its
dropped edges from its own number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gin
import tensorflow as tf

from stfc3_tf import checks
from stfc3_tf.model import accumulation, resnet, timed_input
from stfc3_tf.model.meters import Meters
from stfc3_tf.model.objective import Batch, Objective
from stfc3_tf.views import geometry

Gradients = list[tf.Tensor]


class WalkLearner(timed_input.TimedModel):
    """Trains an encoder by an objective over walks, which describes the batch.

    Attributes:
      encoder: that of the objective.
      objective: of the training: an `objective.Objective` or a `patches.PatchObjective`.
      accumulation_steps: number of parts in which a step processes its batch.
      counters: 'step', 'clips_seen' and 'skipped', int64 variables that checkpoints keep.
    """

    def __init__(self, objective: Any, accumulation_steps: int):
        """Set the objective.

        Args:
          objective: has the methods of `objective.Objective`.
          accumulation_steps: see `Learner`.
        """
        super().__init__(name='learner')
        self.encoder = objective.encoder
        self.objective = objective
        self.accumulation_steps = accumulation_steps
        self.counters = {name: _counter(name) for name in ('step', 'clips_seen', 'skipped')}
        self._meters = Meters(0)

    @property
    def temperature(self) -> float:
        """The temperature of the walk's transitions."""
        return self.objective.temperature

    @property
    def step(self) -> int:
        """Steps since the beginning of the run, skipped ones included."""
        return int(self.counters['step'].numpy())

    @property
    def clips_seen(self) -> int:
        """Clips that the run has used since its beginning."""
        return int(self.counters['clips_seen'].numpy())

    @property
    def skipped(self) -> int:
        """Steps that were skipped, because their gradient was not finite."""
        return int(self.counters['skipped'].numpy())

    def compile(
        self, optimizer: tf.keras.optimizers.Optimizer, clip_frames: int, jit_compile: bool = False
    ) -> None:
        """Set the optimiser and create the meters; mixed float16 gets dynamic loss scaling.

        Args:
          optimizer: a Keras optimiser.
          clip_frames: T, for one loss meter per cycle.
          jit_compile: compile the step with XLA, which draws other dropped edges from a seed.

        Raises:
          errors.UserError: a setting has an unknown value, or leaves nothing to learn from.
        """
        name = f'{type(self).__name__}.accumulation_steps'
        checks.whole_number(name, self.accumulation_steps)
        self.objective.check(clip_frames)
        if any(layer.compute_dtype == 'float16' for layer in self.encoder.layers):
            optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
        super().compile(optimizer=optimizer, jit_compile=jit_compile)
        self._meters = Meters(self.objective.cycle_count(clip_frames))
        self.optimizer.build(self.encoder.trainable_variables)

    @property
    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """The meters: means over the steps since their last reset."""
        return self._meters.all

    def call(self, frames: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return the features of frames, see `Objective.features`."""
        return self.objective.features(frames, training)

    def train_step(self, batch: Batch) -> Mapping[str, tf.Tensor]:
        """Make one update; a batch whose gradient is not finite is skipped and counted.

        Args:
          batch: this replica's share of the global batch.

        Returns:
          The meters' results, by name.
        """
        visible, nodes = self._node_counts(batch)
        divisor = self.objective.divisor(visible, nodes)
        statistics = [tf.identity(v) for v in self.encoder.non_trainable_variables]
        gradients, sums = self._accumulated(batch, divisor)
        gradients = _sum_over_replicas(gradients)
        norm = tf.linalg.global_norm(gradients)
        finite = tf.math.is_finite(norm)
        self._apply(gradients, finite)
        for variable, before in zip(self.encoder.non_trainable_variables, statistics):
            variable.assign(tf.where(finite, variable, before))
        self._count(batch, finite)
        self._meters.add(_sum_over_replicas(sums), visible, nodes, finite)
        self._meters.add_gradient(norm, finite)
        return self._meters.results()

    def test_step(self, batch: Batch) -> Mapping[str, tf.Tensor]:
        """Return the walk's figures in inference mode, without dropped edges."""
        visible, nodes = self._node_counts(batch)
        sums = self.objective.sums(batch, self.objective.divisor(visible, nodes), training=False)
        self._meters.add(_sum_over_replicas(sums), visible, nodes, tf.constant(True))
        return self._meters.results()

    def _node_counts(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the numbers of visible and of all start nodes of the global batch."""
        visible, nodes = tf.unstack(_sum_over_replicas(self.objective.node_counts(batch)))
        return visible, nodes

    def _accumulated(self, batch: Batch, divisor: tf.Tensor) -> tuple[Gradients, Any]:
        """Return this replica's gradients and sums, over all parts of its batch."""

        def compute(part: Batch) -> tuple[Gradients, Any]:
            return self._gradients(part, divisor)

        return accumulation.sum_over_parts(compute, batch, self.accumulation_steps)

    def _gradients(self, batch: Batch, divisor: tf.Tensor) -> tuple[Gradients, Any]:
        with tf.GradientTape() as tape:
            sums = self.objective.sums(batch, divisor, training=True)
            loss = sums['loss']
            scaled = self.optimizer.get_scaled_loss(loss) if self._scales_loss else loss
        gradients = tape.gradient(scaled, self.encoder.trainable_variables)
        if self._scales_loss:
            gradients = self.optimizer.get_unscaled_gradients(gradients)
        return gradients, sums

    @property
    def _scales_loss(self) -> bool:
        return isinstance(self.optimizer, tf.keras.mixed_precision.LossScaleOptimizer)

    def _apply(self, gradients: Gradients, finite: tf.Tensor) -> None:
        """Update the weights if the gradient is finite, on every replica alike."""
        if self._scales_loss:
            # This optimiser skips by itself, and must see the overflow to lower its scale.
            self._update(*gradients)
            return

        def across(strategy: tf.distribute.Strategy, finite: Any, *all_gradients: Any) -> None:
            """Update all replicas, or none."""
            here = strategy.experimental_local_results(finite)[0]
            tf.cond(
                here,
                lambda: strategy.extended.call_for_each_replica(self._update, args=all_gradients),
                lambda: None,
            )

        tf.distribute.get_replica_context().merge_call(across, args=(finite, *gradients))

    def _update(self, *gradients: tf.Tensor) -> None:
        pairs = zip(gradients, self.encoder.trainable_variables)
        self.optimizer.apply_gradients(pairs, skip_gradients_aggregation=True)

    def _count(self, batch: Batch, finite: tf.Tensor) -> None:
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        clips = tf.shape(batch['index'])[0] * replicas
        self.counters['step'].assign_add(1)
        self.counters['clips_seen'].assign_add(tf.cast(clips, tf.int64))
        self.counters['skipped'].assign_add(1 - tf.cast(finite, tf.int64))


@gin.configurable
class Learner(WalkLearner):
    """Trains an encoder by palindrome walks over feature maps, see `objective.Objective`."""

    def __init__(
        self,
        encoder: resnet.Encoder,
        temperature: float = 0.05,
        edge_dropout: float = 0.1,
        warp: str = 'features',
        warp_convention: str = geometry.EXACT,
        loss_normaliser: str = 'nodes',
        cycles: str = 'all',
        cycle_reduction: str = 'sum',
        accumulation_steps: int = 1,
        seed: int = 0,
    ):
        """Set the encoder and how it is trained.

        Args:
          encoder: see `objective.Objective`, also for the other settings of the walk.
          temperature: tau of the transitions.
          edge_dropout: probability that a walk may not take an edge; 0 for none.
          warp: 'features' or 'labels'.
          warp_convention: 'exact' or 'released'.
          loss_normaliser: 'nodes' or 'visible'.
          cycles: 'all' or 'released'.
          cycle_reduction: 'sum' or 'mean'.
          accumulation_steps: a step processes its batch in this many parts, one after the other,
            to save memory. Batch normalisation then uses the statistics of one part at a time.
          seed: of the dropped edges.
        """
        objective = Objective(
            encoder,
            temperature,
            edge_dropout,
            warp,
            warp_convention,
            loss_normaliser,
            cycles,
            cycle_reduction,
            seed,
        )
        super().__init__(objective, accumulation_steps)


def _counter(name: str) -> tf.Variable:
    aggregation = tf.VariableAggregation.ONLY_FIRST_REPLICA
    return tf.Variable(0, dtype=tf.int64, trainable=False, name=name, aggregation=aggregation)


def _sum_over_replicas(values: Any) -> Any:
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)
