"""The learner: a Keras model whose `train_step` joins encoder, warp and walk.

Everything in the step is normalised over the global batch, so that the update does not depend on
how many devices share it: the loss divides by the global number of (visible) nodes, gradients are summed over
replicas, and each clip draws its dropped edges from its own number.
"""

from __future__ import annotations

from collections.abc import Mapping

import gin
import tensorflow as tf

from stfc3_tf import encoder as encoders
from stfc3_tf import errors, geometry, walk

Batch = Mapping[str, tf.Tensor]

FEATURE = 'head'


@gin.configurable
class Learner(tf.keras.Model):
    """Learns an encoder by walking palindromes (equations (4) to (13)).

    A batch holds 'views' uint8 [batch, tracks, time, size, size, 3], 'view_from_frame' float32
    [batch, tracks, 3, 3] and 'index' int64 [batch], the number of each clip in the run. Two tracks are STFC3:
    forward and backward view, warped and masked. One track is vanilla FC3: both tracks are
    the same view, nothing is warped, every node counts.
    """

    def __init__(
        self,
        encoder: tf.keras.Model,
        temperature: float = 0.05,
        edge_dropout: float = 0.1,
        warp_convention: str = geometry.EXACT,
        loss_normaliser: str = 'nodes',
        cycles: str = 'all',
        cycle_reduction: str = 'sum',
        accumulation_steps: int = 1,
        seed: int = 0,
    ):
        """Joins an encoder with the settings of the walk.

        Args:
          encoder: maps normalised frames to a dict of maps; 'head' is walked on.
          temperature: tau of the transitions.
          edge_dropout: probability that an edge may not be taken (CRW and the authors' code; 0 for none).
          warp_convention: 'exact' or 'released', see `geometry.cell_centres`.
          loss_normaliser: 'nodes' or 'visible', see `walk.normaliser`.
          cycles: 'all' or 'released', see `walk.select_cycles`.
          cycle_reduction: 'sum' or 'mean' over cycles.
          accumulation_steps: the step's batch is taken in this many parts, one after the other, to
            save memory; batch normalisation then sees, and averages over, one part at a time.
          seed: of the dropped edges.
        """
        super().__init__(name='learner')
        self.encoder = encoder
        self.temperature = temperature
        self.edge_dropout = edge_dropout
        self.warp_convention = warp_convention
        self.loss_normaliser = loss_normaliser
        self.cycles = cycles
        self.cycle_reduction = cycle_reduction
        self.accumulation_steps = accumulation_steps
        self.seed = seed
        self.counters = {name: self._counter(name) for name in ('step', 'clips_seen', 'skipped')}
        self._meters: dict[str, tf.keras.metrics.Mean] = {}

    @property
    def step(self) -> int:
        """Steps taken since the beginning of the run, skipped batches included."""
        return int(self.counters['step'].numpy())

    @property
    def clips_seen(self) -> int:
        """Clips taken from the input since the beginning of the run."""
        return int(self.counters['clips_seen'].numpy())

    @property
    def skipped(self) -> int:
        """Batches skipped since the beginning of the run, for want of a finite gradient."""
        return int(self.counters['skipped'].numpy())

    @staticmethod
    def _counter(name: str) -> tf.Variable:
        return tf.Variable(
            0,
            dtype=tf.int64,
            trainable=False,
            name=name,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def compile(
        self, optimizer: tf.keras.optimizers.Optimizer, clip_frames: int, jit_compile: bool = False
    ) -> None:
        """Sets the optimiser and makes the meters; mixed float16 gets dynamic loss scaling.

        Args:
          optimizer: a Keras optimiser.
          clip_frames: T, for one loss meter per cycle.
          jit_compile: compile the step with XLA, which draws other dropped edges from the same seed.

        Raises:
          errors.UserError: a setting of the walk is none of its choices, or leaves nothing to learn from.
        """
        self._check_settings(clip_frames)
        if any(layer.compute_dtype == 'float16' for layer in self.encoder.layers):
            optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
        super().compile(optimizer=optimizer, jit_compile=jit_compile)
        names = [
            'loss',
            'cycle_accuracy',
            'return_probability',
            'visible_fraction',
            'gradient_norm',
            'skipped_steps',
            *(f'loss/cycle_{k + 1}' for k in range(clip_frames - 1)),
        ]
        self._meters = {name: tf.keras.metrics.Mean(name=name) for name in names}
        self.optimizer.build(self.encoder.trainable_variables)

    def _check_settings(self, clip_frames: int) -> None:
        """Tries the walk's settings on nothing; inside the compiled step, an error would be hard to read."""
        if clip_frames < 2:
            raise errors.UserError(f'clip_frames = {clip_frames}: a walk needs at least 2.')
        if self.accumulation_steps < 1:
            raise errors.UserError(
                f'Learner.accumulation_steps = {self.accumulation_steps}: must be at least 1.'
            )
        geometry.cell_centres(self.warp_convention, 1, 8, self.encoder.cell_grid[FEATURE])
        walk.normaliser(self.loss_normaliser, 0.0, 0.0)
        walk.select_cycles(tf.zeros([clip_frames - 1]), self.cycles, self.cycle_reduction)

    @property
    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """The meters: means over the steps since they were last reset."""
        return list(self._meters.values())

    def call(self, frames: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds frames: uint8 [batch, height, width, 3] -> float32 [batch, rows, columns, channels], unit length."""
        outputs = self.encoder(
            encoders.normalise_frames(frames, self.encoder.statistics), training=training
        )
        return tf.math.l2_normalize(tf.cast(outputs[FEATURE], tf.float32), axis=-1)

    def track_features(self, views: tf.Tensor, training: bool) -> tf.Tensor:
        """Embeds views [batch, tracks, time, size, size, 3] -> [batch, tracks, time, rows, columns, channels]."""
        features = self(tf.reshape(views, [-1, *views.shape[3:]]), training=training)
        return tf.reshape(features, [-1, *views.shape[1:3], *features.shape[1:]])

    def cell_centres(self, cells: int, view_size: int) -> geometry.CellCentres:
        """Where the cells of a view stand, along either axis, under the warp convention."""
        return geometry.cell_centres(
            self.warp_convention, cells, view_size, self.encoder.cell_grid[FEATURE]
        )

    def start_features(
        self, forward: tf.Tensor, forward_from_backward: tf.Tensor, view_size: int
    ) -> tf.Tensor:
        """Warps frames 1 .. T-1 of the forward track onto the backward grid, F_k^fb of equation (9).

        Args:
          forward: float32 [batch, time, rows, columns, channels].
          forward_from_backward: float32 [batch, 3, 3].
          view_size: pixels along a side of the view.

        Returns:
          float32 [batch, time - 1, rows, columns, channels], unit length where visible.
        """
        steps, rows, columns, channels = forward.shape[1] - 1, *forward.shape[2:]
        flat = tf.reshape(forward[:, :-1], [-1, rows, columns, channels])
        warped = geometry.warp(
            flat,
            tf.repeat(forward_from_backward, steps, axis=0),
            self.cell_centres(rows, view_size),
            self.cell_centres(columns, view_size),
        )
        return tf.reshape(
            tf.math.l2_normalize(warped, axis=-1), [-1, steps, rows, columns, channels]
        )

    def visible_nodes(
        self, view_from_frame: tf.Tensor, rows: int, columns: int, view_size: int
    ) -> tf.Tensor:
        """M_b: float32 [batch, nodes], 1 where the start node exists in the forward view."""
        if view_from_frame.shape[1] == 1:
            return tf.ones([tf.shape(view_from_frame)[0], rows * columns])
        visible = geometry.visibility(
            _forward_from_backward(view_from_frame),
            self.cell_centres(rows, view_size),
            self.cell_centres(columns, view_size),
        )
        return tf.cast(tf.reshape(visible, [-1, rows * columns]), tf.float32)

    def palindromes(self, batch: Batch, training: bool) -> walk.Cycles:
        """Embeds a batch's views and walks their palindromes."""
        features = self.track_features(batch['views'], training)
        forward, backward = features[:, 0], features[:, -1]
        if features.shape[1] == 1:
            start = forward[:, :-1]
        else:
            start = self.start_features(
                forward, _forward_from_backward(batch['view_from_frame']), batch['views'].shape[3]
            )
        start, forward, backward = (_as_nodes(track) for track in (start, forward, backward))
        return walk.palindromes(
            start,
            forward,
            backward,
            self.temperature,
            self._dropped(batch['index'], forward) if training else None,
        )

    def _dropped(self, index: tf.Tensor, forward: tf.Tensor) -> tf.Tensor | None:
        if not self.edge_dropout:
            return None
        seeds = tf.stack([tf.fill(tf.shape(index), self.seed), tf.cast(index, tf.int32)], axis=1)
        steps = walk.transition_count(forward.shape[1])
        return walk.draw_dropped_edges(seeds, steps, forward.shape[2], self.edge_dropout)

    def _sums(
        self, batch: Batch, divisor: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """This replica's share of the global loss, and the sums its meters are made of."""
        cycles = self.palindromes(batch, training)
        visible = self._batch_visibility(batch)
        losses = walk.cycle_losses(cycles.return_probability, visible, divisor)
        loss = walk.select_cycles(losses, self.cycles, self.cycle_reduction)
        sampled = tf.gather(visible, cycles.sampled, axis=1)[:, tf.newaxis]
        count = tf.cast(cycles.return_probability.shape[1], tf.float32)
        sums = {
            'loss': loss,
            'cycle_losses': losses,
            'probability': tf.reduce_sum(cycles.return_probability * visible[:, tf.newaxis])
            / count,
            'returned': tf.reduce_sum(cycles.returned * sampled) / count,
            'sampled': tf.reduce_sum(sampled),
        }
        return loss, sums

    def _batch_visibility(self, batch: Batch) -> tf.Tensor:
        size = batch['views'].shape[3]
        return self.visible_nodes(batch['view_from_frame'], *self.map_size(size), size)

    def map_size(self, view_size: int) -> tuple[int, int]:
        """Rows and columns of the feature map of a square view.

        Raises:
          errors.UserError: the view is too small to leave any.
        """
        try:
            with tf.init_scope():
                shapes = self.encoder.compute_output_shape([1, view_size, view_size, 3])
            rows, columns = shapes[FEATURE][1:3]
        except ValueError:
            rows = columns = 0
        if rows < 1 or columns < 1:
            raise errors.UserError(
                f'ViewSampler.view_size = {view_size} leaves no cell of the feature map: give larger '
                'views (without padding, 256 pixels leave 4 x 4 cells).'
            )
        return rows, columns

    def _node_counts(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """Visible and all start nodes of the global batch."""
        visible = self._batch_visibility(batch)
        counts = tf.stack([tf.reduce_sum(visible), tf.cast(tf.size(visible), tf.float32)])
        return tuple(tf.unstack(_sum_over_replicas(counts)))

    def train_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """One update from one global batch; a batch whose gradient is not finite is skipped and counted."""
        visible, nodes = self._node_counts(batch)
        divisor = walk.normaliser(self.loss_normaliser, visible, nodes)
        statistics = [tf.identity(v) for v in self.encoder.non_trainable_variables]
        gradients, sums = self._accumulate(batch, divisor)
        gradients = _sum_over_replicas(gradients)
        norm = tf.linalg.global_norm(gradients)
        finite = tf.math.is_finite(norm)
        self._apply(gradients, finite)
        for variable, before in zip(self.encoder.non_trainable_variables, statistics):
            variable.assign(tf.where(finite, variable, before))
        self.counters['step'].assign_add(1)
        self.counters['clips_seen'].assign_add(_global_batch_size(batch))
        self.counters['skipped'].assign_add(1 - tf.cast(finite, tf.int64))
        self._meter(sums, visible, nodes, finite)
        self._meters['gradient_norm'].update_state(norm, sample_weight=tf.cast(finite, tf.float32))
        self._meters['skipped_steps'].update_state(1 - tf.cast(finite, tf.float32))
        return {name: meter.result() for name, meter in self._meters.items()}

    def test_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """The walk's figures in inference mode, without dropped edges."""
        visible, nodes = self._node_counts(batch)
        divisor = walk.normaliser(self.loss_normaliser, visible, nodes)
        _, sums = self._sums(batch, divisor, training=False)
        self._meter(sums, visible, nodes, tf.constant(True))
        return {name: meter.result() for name, meter in self._meters.items()}

    def _accumulate(self, batch: Batch, divisor: tf.Tensor):
        """This replica's gradients and sums, over all parts of its batch."""
        if self.accumulation_steps == 1:
            return self._gradients(batch, divisor)
        parts = {key: self._parts(value) for key, value in batch.items()}

        def gradients_of(part):
            return self._gradients({key: value[part] for key, value in parts.items()}, divisor)

        def add_part(part, totals):
            # One part at a time: running parts side by side would cost the memory this is to save.
            with tf.control_dependencies(tf.nest.flatten(totals)):
                return part + 1, tf.nest.map_structure(tf.add, totals, gradients_of(part))

        state = 1, gradients_of(0)
        if tf.distribute.get_replica_context().num_replicas_in_sync == 1:
            return tf.while_loop(
                lambda part, _: part < self.accumulation_steps,
                add_part,
                state,
                parallel_iterations=1,
            )[1]
        # Synchronised norms talk to the other replicas, which no loop of the graph may do.
        for _ in range(1, self.accumulation_steps):
            state = add_part(*state)
        return state[1]

    def _parts(self, value: tf.Tensor) -> tf.Tensor:
        if value.shape[0] is None:
            raise errors.UserError(
                'Learner.accumulation_steps needs batches of a fixed size: '
                'dataset.batch(size, drop_remainder=True).'
            )
        if value.shape[0] % self.accumulation_steps:
            raise errors.UserError(
                f'Learner.accumulation_steps = {self.accumulation_steps} does not divide the '
                f'{value.shape[0]} clips that each device gets per step.'
            )
        return tf.reshape(value, [self.accumulation_steps, -1, *value.shape[1:]])

    def _gradients(self, batch: Batch, divisor: tf.Tensor):
        variables = self.encoder.trainable_variables
        with tf.GradientTape() as tape:
            loss, sums = self._sums(batch, divisor, training=True)
            scaled = self.optimizer.get_scaled_loss(loss) if self._scales_loss else loss
        gradients = tape.gradient(scaled, variables)
        if self._scales_loss:
            gradients = self.optimizer.get_unscaled_gradients(gradients)
        return gradients, sums

    @property
    def _scales_loss(self) -> bool:
        return isinstance(self.optimizer, tf.keras.mixed_precision.LossScaleOptimizer)

    def _apply(self, gradients: list[tf.Tensor], finite: tf.Tensor) -> None:
        """Updates the weights where the gradient is finite, on every replica alike."""
        variables = self.encoder.trainable_variables
        if self._scales_loss:
            # It skips by itself, and has to see the overflow to lower its scale.
            self.optimizer.apply_gradients(
                zip(gradients, variables), skip_gradients_aggregation=True
            )
            return

        def update(*replica_gradients):
            self.optimizer.apply_gradients(
                zip(replica_gradients, variables), skip_gradients_aggregation=True
            )

        def across(strategy, finite, *all_gradients):
            here = strategy.experimental_local_results(finite)[0]
            tf.cond(
                here,
                lambda: strategy.extended.call_for_each_replica(update, args=all_gradients),
                lambda: None,
            )

        tf.distribute.get_replica_context().merge_call(across, args=(finite, *gradients))

    def _meter(self, sums, visible, nodes, finite) -> None:
        """Adds a step's figures, summed over replicas, to the meters; a skipped batch leaves no mark."""
        totals = _sum_over_replicas(sums)
        weight = tf.cast(finite, tf.float32)
        probability = tf.math.divide_no_nan(totals['probability'], visible)
        accuracy = tf.math.divide_no_nan(totals['returned'], totals['sampled'])
        figures = {
            'loss': totals['loss'],
            'return_probability': probability,
            'cycle_accuracy': accuracy,
            'visible_fraction': visible / nodes,
        }
        for k, loss in enumerate(tf.unstack(totals['cycle_losses'])):
            figures[f'loss/cycle_{k + 1}'] = loss
        for name, figure in figures.items():
            self._meters[name].update_state(tf.where(finite, figure, 0.0), sample_weight=weight)


def _forward_from_backward(view_from_frame: tf.Tensor) -> tf.Tensor:
    """The inverse of B_fb, [batch, 3, 3], from the two tracks' matrices [batch, 2, 3, 3]."""
    return geometry.backward_from_forward(view_from_frame[:, 0], view_from_frame[:, 1])


def _as_nodes(track: tf.Tensor) -> tf.Tensor:
    """[batch, time, rows, columns, channels] -> [batch, time, nodes, channels]."""
    _, time, rows, columns, channels = track.shape
    return tf.reshape(track, [-1, time, rows * columns, channels])


def _sum_over_replicas(values):
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)


def _global_batch_size(batch: Batch) -> tf.Tensor:
    replicas = tf.distribute.get_replica_context().num_replicas_in_sync
    return tf.cast(tf.shape(batch['index'])[0] * replicas, tf.int64)
