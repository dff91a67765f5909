"""The objective: from a batch of views to the loss of its palindrome walks (equations (4) to (13)).

Nothing here is trained or stored. The loss is divided by a number that the caller computes over the
global batch, so that the loss does not depend on how many devices share the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Any

import tensorflow as tf

from stfc3_tf import checks, errors
from stfc3_tf.model import resnet, walk
from stfc3_tf.views import geometry
from stfc3_tf.views.cell_grid import CellGrid
from stfc3_tf.views.sampler import ViewSampler

Batch = Mapping[str, tf.Tensor]

FEATURE = 'head'
WARPS = ('features', 'labels')


@dataclasses.dataclass(frozen=True)
class Objective:
    """The walk over an encoder's features, and its loss.

    A batch has 'views' uint8 [batch, tracks, time, size, size, 3], 'view_from_frame' float32
    [batch, tracks, 3, 3] and 'index' int64 [batch], the number of each clip in the run. With two
    tracks it is STFC3: a forward and a backward view, warped and masked. With one track it is
    vanilla FC3: both ways of the walk show the same view, nothing is warped, all cells count.
    Clips of one frame are still pictures: the walk is one step from the forward to the backward
    view.

    Attributes:
      encoder: maps normalised frames to a dictionary of feature maps; the walk uses 'head'.
      temperature: tau of the transitions.
      edge_dropout: probability that a walk may not take an edge (CRW and the authors' code).
      warp: 'features' warps the start nodes onto the backward grid (STFC3); 'labels' leaves them
        and warps the ends of the walks: node i should end at the backward cell on which it falls,
        rounded (GMRW).
      warp_convention: 'exact' or 'released', see `geometry.cell_centres`.
      loss_normaliser: 'nodes' or 'visible', see `walk.normaliser`.
      cycles: 'all' or 'released', see `walk.select_cycles`.
      cycle_reduction: 'sum' or 'mean' over cycles.
      seed: of the dropped edges.
    """

    encoder: resnet.Encoder
    temperature: float
    edge_dropout: float
    warp: str
    warp_convention: str
    loss_normaliser: str
    cycles: str
    cycle_reduction: str
    seed: int

    def check(self, clip_frames: int) -> None:
        """Check the settings: an error inside the compiled step would be hard to read.

        Raises:
          errors.UserError: a setting has an unknown value, or leaves nothing to learn from.
        """
        checks.whole_number('train.clip_frames', clip_frames)
        walk.check_transitions('Learner', self.temperature, self.edge_dropout, self.seed)
        checks.one_of('Learner.warp', self.warp, WARPS)
        self._cell_centres(1, 8)
        walk.normaliser(self.loss_normaliser, tf.constant(0.0), tf.constant(0.0))
        count = self.cycle_count(clip_frames)
        walk.select_cycles(tf.zeros([count]), self.cycles, self.cycle_reduction)

    def check_views(self, view_sampler: Any, clip_frames: int) -> None:
        """Check that a sampler's views suit this objective.

        Raises:
          errors.UserError: they do not.
        """
        if not isinstance(view_sampler, ViewSampler):
            raise errors.UserError(
                'train.learner = @Learner walks over views of frames: give train.view_sampler = '
                '@ViewSampler(). For @PatchSampler() give @PatchLearner.'
            )
        if clip_frames == 1 and view_sampler.tracks == 1:
            raise errors.UserError(
                'train.clip_frames = 1 with ViewSampler.tracks = 1: one view of one frame has '
                'nothing to be compared with. Give 2 tracks, or clips of 2 frames or more.'
            )
        if self.warp == 'labels' and view_sampler.tracks == 1:
            raise errors.UserError(
                "Learner.warp = 'labels' with ViewSampler.tracks = 1: both ways show one view, and "
                'nothing is warped. Give 2 tracks, or leave Learner.warp out.'
            )
        self.map_size(view_sampler.view_size)

    @staticmethod
    def cycle_count(clip_frames: int) -> int:
        """Return the number of walks over a clip."""
        return max(1, clip_frames - 1)

    @property
    def cell_grid(self) -> CellGrid:
        """The positions of the nodes in a view."""
        return self.encoder.cell_grid[FEATURE]

    def features(self, frames: tf.Tensor, training: bool) -> tf.Tensor:
        """Return the features of frames.

        Args:
          frames: uint8 [batch, height, width, 3].
          training: whether batch normalisation uses the statistics of the batch.

        Returns:
          float32 [batch, rows, columns, channels], of unit length.
        """
        return resnet.unit_features(self.encoder, frames, FEATURE, training)

    def track_features(self, views: tf.Tensor, training: bool) -> tf.Tensor:
        """Return the features [batch, tracks, time, rows, columns, channels] of a batch's views."""
        features = self.features(tf.reshape(views, [-1, *views.shape[3:]]), training)
        return tf.reshape(features, [-1, *views.shape[1:3], *features.shape[1:]])

    def palindromes(self, batch: Batch, training: bool) -> walk.Cycles:
        """Return the palindrome walks of a batch; edges are dropped in training only."""
        features = self.track_features(batch['views'], training)
        # Unlike that of slices, the gradient of `unstack` writes each track once.
        tracks = tf.unstack(features, axis=1)
        forward, backward = tracks[0], tracks[-1]
        start, ends = self._starts(forward, batch), self._ends(batch)
        start, forward, backward = (_as_nodes(track) for track in (start, forward, backward))
        dropped = self._dropped_edges(batch['index'], forward) if training else None
        if forward.shape[1] == 1:
            return walk.crossing(start[:, 0], backward[:, 0], self.temperature, dropped, ends)
        return walk.palindromes(start, forward, backward, self.temperature, dropped, ends)

    def sums(self, batch: Batch, divisor: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        """Return the loss of a part of the global batch, and the sums for its figures.

        Args:
          batch: see the class.
          divisor: float32 [], of the whole global batch, see `divisor`.
          training: see `features`; edges are dropped in training only.

        Returns:
          float32 'loss' [], 'cycle_losses' [cycles], 'probability', 'returned' and 'sampled' [].
        """
        cycles = self.palindromes(batch, training)
        visible = self._visible(batch)
        losses = walk.cycle_losses(cycles.return_probability, visible, divisor)
        loss = walk.select_cycles(losses, self.cycles, self.cycle_reduction)
        return sums_of(cycles, visible, losses, loss)

    def node_counts(self, batch: Batch) -> tf.Tensor:
        """Return the numbers of visible and of all start nodes of a batch, float32 [2]."""
        visible = self._visible(batch)
        return tf.stack([tf.reduce_sum(visible), tf.cast(tf.size(visible), tf.float32)])

    def divisor(self, visible: tf.Tensor, nodes: tf.Tensor) -> tf.Tensor:
        """Return the divisor of the loss, from the node counts of the global batch."""
        return walk.normaliser(self.loss_normaliser, visible, nodes)

    def map_size(self, view_size: int) -> tuple[int, int]:
        """Return the rows and columns of the feature map of a square view.

        Raises:
          errors.UserError: the view is so small that no cell is left.
        """
        try:
            with tf.init_scope():
                shapes = self.encoder.compute_output_shape([1, view_size, view_size, 3])
            rows, columns = shapes[FEATURE][1:3]
        except ValueError:
            rows = columns = 0
        if rows < 1 or columns < 1:
            raise errors.UserError(
                f'ViewSampler.view_size = {view_size} leaves no cell of the feature map: give '
                'larger views (without padding, 256 pixels leave 4 x 4 cells).'
            )
        return rows, columns

    def _cell_centres(self, cells: int, view_size: int) -> geometry.CellCentres:
        return geometry.cell_centres(self.warp_convention, cells, view_size, self.cell_grid)

    def _axes(self, view_size: int) -> tuple[geometry.CellCentres, geometry.CellCentres]:
        """Return the rows and columns of the feature map of a square view."""
        rows, columns = self.map_size(view_size)
        return self._cell_centres(rows, view_size), self._cell_centres(columns, view_size)

    def _starts(self, forward: tf.Tensor, batch: Batch) -> tf.Tensor:
        """Return the start nodes: F_k^fb of equation (9), or F_k^f if no features are warped.

        Args:
          forward: float32 [batch, time, rows, columns, channels].
          batch: see the class.

        Returns:
          float32 [batch, cycles, rows, columns, channels], of unit length where visible.
        """
        starts = forward[:, : self.cycle_count(forward.shape[1])]
        if batch['views'].shape[1] == 1 or self.warp == 'labels':
            return starts
        return self._warped(starts, batch['view_from_frame'], batch['views'].shape[3])

    def _warped(self, track: tf.Tensor, view_from_frame: tf.Tensor, view_size: int) -> tf.Tensor:
        """Return a forward track [batch, time, rows, columns, channels] on the backward grid."""
        warped = geometry.warp(
            tf.reshape(track, [-1, *track.shape[2:]]),
            tf.repeat(_forward_from_backward(view_from_frame), track.shape[1], axis=0),
            *self._axes(view_size),
        )
        return tf.reshape(tf.math.l2_normalize(warped, axis=-1), [-1, *track.shape[1:]])

    def _ends(self, batch: Batch) -> tf.Tensor | None:
        """Return where the walks should end, int32 [batch, nodes]; None at their start."""
        if batch['views'].shape[1] == 1 or self.warp == 'features':
            return None
        return self._fallen(batch)[0]

    def _fallen(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """Return on which backward cell each forward cell falls, and whether on any."""
        forward_from_frame, backward_from_frame = tf.unstack(batch['view_from_frame'], axis=1)
        return geometry.nearest_cells(
            geometry.backward_from_forward(backward_from_frame, forward_from_frame),
            *self._axes(batch['views'].shape[3]),
        )

    def _visible(self, batch: Batch) -> tf.Tensor:
        """Return M_b: float32 [batch, nodes], 1 where the start node is in both views."""
        view_from_frame, size = batch['view_from_frame'], batch['views'].shape[3]
        rows, columns = self.map_size(size)
        if view_from_frame.shape[1] == 1:
            return tf.ones([tf.shape(view_from_frame)[0], rows * columns])
        if self.warp == 'labels':
            visible = self._fallen(batch)[1]
        else:
            matrix = _forward_from_backward(view_from_frame)
            visible = geometry.visibility(matrix, *self._axes(size))
        return tf.cast(tf.reshape(visible, [-1, rows * columns]), tf.float32)

    def _dropped_edges(self, index: tf.Tensor, forward: tf.Tensor) -> tf.Tensor | None:
        if not self.edge_dropout:
            return None
        seeds = walk.clip_seeds(self.seed, index)
        steps = walk.transition_count(forward.shape[1])
        return walk.draw_dropped_edges(seeds, steps, forward.shape[2], self.edge_dropout)


def sums_of(
    cycles: walk.Cycles, visible: tf.Tensor, losses: tf.Tensor, loss: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Return the loss of walks, and the sums for its figures, see `Objective.sums`.

    Args:
      cycles: the walks.
      visible: float32 [batch, nodes], 1 where a start node counts.
      losses: float32 [cycles].
      loss: float32 [], made of the losses.
    """
    sampled = tf.gather(visible, cycles.sampled, axis=1)[:, tf.newaxis]
    count = tf.cast(cycles.return_probability.shape[1], tf.float32)
    probability = cycles.return_probability * visible[:, tf.newaxis]
    return {
        'loss': loss,
        'cycle_losses': losses,
        'probability': tf.reduce_sum(probability) / count,
        'returned': tf.reduce_sum(cycles.returned * sampled) / count,
        'sampled': tf.reduce_sum(sampled),
    }


def _forward_from_backward(view_from_frame: tf.Tensor) -> tf.Tensor:
    """Return the inverse of B_fb, [batch, 3, 3], from the tracks' matrices [batch, 2, 3, 3]."""
    forward_from_frame, backward_from_frame = view_from_frame[:, 0], view_from_frame[:, 1]
    return tf.matmul(forward_from_frame, geometry.inverse(backward_from_frame))


def _as_nodes(track: tf.Tensor) -> tf.Tensor:
    """Return [batch, time, rows, columns, channels] as [batch, time, nodes, channels]."""
    _, time, rows, columns, channels = track.shape
    return tf.reshape(track, [-1, time, rows * columns, channels])
