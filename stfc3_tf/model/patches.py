"""The contrastive random walk over patches (CRW, Jabri et al., NeurIPS 2020), which STFC3 extends.

Each patch of a frame is encoded alone; its node is the mean of its feature cells. A walk goes from
the first frame to frame k and back through the same nodes, and should end where it began.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import gin
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.model import resnet, walk
from stfc3_tf.model.learner import WalkLearner
from stfc3_tf.model.objective import FEATURE, Batch, sums_of
from stfc3_tf.views import patches
from stfc3_tf.views.cell_grid import CellGrid

# Added to probabilities before the logarithm, as in the authors' code.
_EPSILON = 1e-20


@dataclasses.dataclass(frozen=True)
class PatchObjective:
    """The walk over an encoder's patches, and its loss.

    A batch has 'views' uint8 [batch, 1, time, patches, size, size, 3] of a `patches.PatchSampler`,
    and 'index' int64 [batch], the number of each clip in the run.

    Attributes:
      encoder: maps normalised frames to a dictionary of feature maps; the walk uses 'head'.
      temperature: tau of the transitions.
      edge_dropout: probability that a walk may not take an edge, drawn separately for each way.
      patch_size: height and width of a patch, pixels.
      patch_stride: pixels from one patch to the next.
      seed: of the dropped edges.
    """

    encoder: resnet.Encoder
    temperature: float
    edge_dropout: float
    patch_size: int
    patch_stride: int
    seed: int

    def check(self, clip_frames: int) -> None:
        """Check the settings.

        Raises:
          errors.UserError: a setting leaves nothing to learn from.
        """
        walk.check_transitions('PatchLearner', self.temperature, self.edge_dropout, self.seed)
        if clip_frames < 3:
            raise errors.UserError(
                f'train.clip_frames = {clip_frames}: a walk over patches needs at least 3, since '
                'its shortest way is there and back over two steps.'
            )

    def check_views(self, view_sampler: Any, clip_frames: int) -> None:
        """Check that a sampler's patches are those of this objective.

        Raises:
          errors.UserError: they are not.
        """
        if not isinstance(view_sampler, patches.PatchSampler):
            raise errors.UserError(
                'train.learner = @PatchLearner walks over patches: give train.view_sampler = '
                '@PatchSampler(). For @ViewSampler() give @Learner.'
            )
        for name in ('patch_size', 'patch_stride'):
            here, there = getattr(self, name), getattr(view_sampler, name)
            if here != there:
                raise errors.UserError(
                    f'PatchLearner.{name} = {here}, but PatchSampler.{name} = {there}: give both '
                    'the same.'
                )

    @staticmethod
    def cycle_count(clip_frames: int) -> int:
        """Return the number of walks over a clip."""
        return clip_frames - 2

    @property
    def cell_grid(self) -> CellGrid:
        """The positions of the nodes in a frame: the centres of the patches."""
        return CellGrid((self.patch_size - 1) / 2, self.patch_stride)

    def features(self, frames: tf.Tensor, training: bool) -> tf.Tensor:
        """Return the nodes of frames, without jitter.

        Args:
          frames: uint8 [batch, height, width, 3].
          training: whether batch normalisation uses the statistics of the batch.

        Returns:
          float32 [batch, rows, columns, channels], of unit length, one per patch.
        """
        size, stride = self.patch_size, self.patch_stride
        cut = tf.image.extract_patches(
            frames, [1, size, size, 1], [1, stride, stride, 1], [1, 1, 1, 1], 'VALID'
        )
        nodes = self._encoded(tf.reshape(cut, [-1, size, size, 3]), training)
        return tf.reshape(nodes, [-1, *cut.shape[1:3], nodes.shape[-1]])

    def _encoded(self, views: tf.Tensor, training: bool) -> tf.Tensor:
        """Return the nodes [..., channels] of patches uint8 [..., size, size, 3]."""
        normalised = resnet.normalise_frames(views, self.encoder.statistics)
        maps = self.encoder(normalised, training=training)[FEATURE]
        return tf.math.l2_normalize(tf.reduce_mean(maps, axis=[1, 2]), axis=-1)

    def palindromes(self, batch: Batch, training: bool) -> walk.Cycles:
        """Return the walks of a batch; edges are dropped in training only."""
        views = batch['views']
        time, count = views.shape[2:4]
        nodes = self._encoded(tf.reshape(views, [-1, *views.shape[4:]]), training)
        nodes = tf.reshape(nodes, [-1, time, count, nodes.shape[-1]])
        dropped = self._dropped_edges(batch['index'], time, count) if training else None
        return walk.patch_palindromes(nodes, self.temperature, dropped)

    def sums(self, batch: Batch, divisor: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        """See `Objective.sums`."""
        cycles = self.palindromes(batch, training)
        visible = _all_visible(batch)
        losses = walk.cycle_losses(cycles.return_probability, visible, divisor, _EPSILON)
        return sums_of(cycles, visible, losses, tf.reduce_mean(losses))

    def node_counts(self, batch: Batch) -> tf.Tensor:
        """Return the number of start nodes of a batch twice, float32 [2]: all are visible."""
        return tf.fill([2], tf.cast(tf.size(_all_visible(batch)), tf.float32))

    def divisor(self, visible: tf.Tensor, nodes: tf.Tensor) -> tf.Tensor:
        """Return the divisor of the loss, from the node counts of the global batch."""
        del visible
        return nodes

    def _dropped_edges(self, index: tf.Tensor, time: int, nodes: int) -> tf.Tensor | None:
        if not self.edge_dropout:
            return None
        seeds = walk.clip_seeds(self.seed, index)
        steps = walk.patch_transition_count(time)
        return walk.draw_dropped_edges(seeds, steps, nodes, self.edge_dropout)


def _all_visible(batch: Batch) -> tf.Tensor:
    views = batch['views']
    return tf.ones([tf.shape(views)[0], views.shape[3]])


@gin.configurable
class PatchLearner(WalkLearner):
    """Trains an encoder by the contrastive random walk over patches, see `PatchObjective`."""

    def __init__(
        self,
        encoder: resnet.Encoder,
        temperature: float = 0.05,
        edge_dropout: float = 0.1,
        patch_size: int = 64,
        patch_stride: int = 32,
        accumulation_steps: int = 1,
        seed: int = 0,
    ):
        """Set the encoder and how it is trained.

        Args:
          encoder: see `PatchObjective`, also for the other settings of the walk.
          temperature: tau of the transitions.
          edge_dropout: probability that a walk may not take an edge; 0 for none.
          patch_size: that of the `PatchSampler`.
          patch_stride: that of the `PatchSampler`.
          accumulation_steps: see `learner.Learner`.
          seed: of the dropped edges.
        """
        objective = PatchObjective(
            encoder, temperature, edge_dropout, patch_size, patch_stride, seed
        )
        super().__init__(objective, accumulation_steps)
