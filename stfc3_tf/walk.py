"""The walk: transitions between frames, palindromes, and the loss of not coming home.

The idea. A node of frame k steps, with probabilities given by feature similarity, to frame k+1 and on to
the last frame T in the forward view, crosses to frame T in the backward view, and steps back to
frame k. It should come home: the palindrome's matrix A_k should have its mass on the diagonal.
No label is needed.

The shortcut to fear. A convolutional encoder that pads its borders knows where each node stands. If both
tracks see the same view, features that encode nothing but the absolute position make every transition
the identity; the loss vanishes and the features are worthless. (Its mark: the affinity
between two UNRELATED frames has its mass on the diagonal too; see `monitor.collapse_ratio`.)

The cure (STFC3). The tracks see different crops, so a node comes home at another position than it left
from; the start nodes of the walk are the forward features warped onto the backward grid, so that node i
still has to return to node i. Nodes the forward crop does not contain are masked out.

All of it is plain tensor arithmetic in float32, without Keras: use it with an encoder of your own.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from stfc3_tf import errors

# Similarity of a dropped edge: far below any cosine over any temperature, and finite in float32.
_DROPPED = -1e20


class Cycles(NamedTuple):
    """What a palindrome walk gives, per cycle k (first axis after the batch), k = 1 .. cycles.

    Attributes:
      return_probability: float32 [batch, cycles, nodes], A_k(i, i).
      returned: float32 [batch, cycles, sampled nodes], 1 where i is the likeliest end of the walk from i.
      sampled: int32 [sampled nodes], the start nodes of `returned`.
    """

    return_probability: tf.Tensor
    returned: tf.Tensor
    sampled: tf.Tensor


def transition(
    source: tf.Tensor, target: tf.Tensor, temperature: float, dropped: tf.Tensor | None = None
) -> tf.Tensor:
    """Probability of stepping from each source node to each target node, equation (7).

    Args:
      source: float32 [..., nodes, channels], L2-normalised.
      target: float32 [..., target nodes, channels], L2-normalised.
      temperature: tau.
      dropped: bool [..., nodes, target nodes], edges that may not be taken; None for none.

    Returns:
      float32 [..., nodes, target nodes]; rows sum to 1.
    """
    similarity = tf.matmul(source, target, transpose_b=True) / temperature
    if dropped is not None:
        similarity = tf.where(dropped, _DROPPED, similarity)
    return tf.nn.softmax(similarity, axis=-1)


def draw_dropped_edges(seeds: tf.Tensor, steps: int, nodes: int, rate: float) -> tf.Tensor:
    """Draws the edges that a walk may not take (edge dropout, from CRW).

    Each clip has its own seed, so that a clip's draw does not depend on the batch or replica it is in.

    Args:
      seeds: int32 [batch, 2].
      steps: number of transitions.
      nodes: nodes of a frame.
      rate: probability that an edge is dropped.

    Returns:
      bool [batch, steps, nodes, nodes].
    """

    def draw(seed):
        return tf.random.stateless_uniform([steps, nodes, nodes], seed, alg='philox') < rate

    return tf.map_fn(draw, seeds, fn_output_signature=tf.TensorSpec([steps, nodes, nodes], tf.bool))


def transition_count(frames: int) -> int:
    """Number of transitions `palindromes` computes for clips of `frames` frames."""
    return 3 * (frames - 1)


def palindromes(
    start: tf.Tensor,
    forward: tf.Tensor,
    backward: tf.Tensor,
    temperature: float,
    dropped: tf.Tensor | None = None,
    sampled_nodes: int = 64,
) -> Cycles:
    """Walks every palindrome S_w^k = [F_k^fb, F_{k+1}^f .. F_T^f, F_T^b .. F_k^b], k = 1 .. T-1.

    Only the diagonal of A_k = W_k Q_k is formed, as the row sums of W_k * transpose(Q_k), where W_k leaves the
    warped start nodes and Q_k is the rest of the walk; Q_k extends Q_{k+1}, so that all cycles
    together cost 2T - 3 products of nodes x nodes matrices.

    Args:
      start: float32 [batch, T - 1, nodes, channels], frames 1 .. T-1 of the forward track on the backward grid.
      forward: float32 [batch, T, nodes, channels], L2-normalised.
      backward: float32 [batch, T, nodes, channels], frames in natural order, L2-normalised.
      temperature: tau.
      dropped: bool [batch, transition_count(T), nodes, nodes] or None, see `draw_dropped_edges`.
      sampled_nodes: on about how many evenly spaced start nodes the cycle accuracy is taken; it
        needs whole rows of A_k, the loss does not.

    Returns:
      `Cycles`; its cycle axis is ordered k = 1 .. T-1, the longest walk first.

    Raises:
      errors.UserError: clips of fewer than two frames, which hold no walk.
    """
    frames = forward.shape[1]
    if frames < 2:
        raise errors.UserError(f'A walk needs clips of at least 2 frames, these have {frames}.')
    leaving, onward, homeward = _transitions(start, forward, backward, temperature, dropped)
    sampled = tf.range(0, tf.shape(forward)[2], max(1, forward.shape[2] // sampled_nodes))
    diagonals, returned = [], []
    middle = onward[:, -1]
    for k in reversed(range(frames - 1)):
        rest = tf.matmul(middle, homeward[:, k])
        diagonals.append(tf.reduce_sum(leaving[:, k] * tf.linalg.matrix_transpose(rest), axis=-1))
        returned.append(_returns(leaving[:, k], rest, sampled))
        if k > 0:
            middle = tf.matmul(onward[:, k - 1], rest)
    return Cycles(tf.stack(diagonals[::-1], axis=1), tf.stack(returned[::-1], axis=1), sampled)


def _transitions(start, forward, backward, temperature, dropped):
    """The three groups of transitions, [batch, T - 1, nodes, nodes] each.

    leaving[k]: warped frame k to forward frame k+1. onward[k]: forward k+1 to forward k+2, the last one
    crossing from forward T to backward T. homeward[k]: backward k+1 to backward k.
    """
    steps = forward.shape[1] - 1
    sources = tf.concat([start, forward[:, 1:], backward[:, 1:]], axis=1)
    targets = tf.concat(
        [forward[:, 1:], forward[:, 2:], backward[:, -1:], backward[:, :-1]], axis=1
    )
    return tf.split(transition(sources, targets, temperature, dropped), [steps] * 3, axis=1)


def _returns(leaving, rest, sampled):
    """1 where the likeliest end of the walk from a sampled node is that node, [batch, sampled nodes]."""
    ends = tf.matmul(tf.stop_gradient(tf.gather(leaving, sampled, axis=1)), tf.stop_gradient(rest))
    return tf.cast(tf.argmax(ends, axis=-1, output_type=tf.int32) == sampled, tf.float32)


def cycle_losses(
    return_probability: tf.Tensor, visible: tf.Tensor, normaliser: tf.Tensor, epsilon: float = 1e-7
) -> tf.Tensor:
    """Masked cross-entropy of each cycle against the identity, equation (13).

    Args:
      return_probability: float32 [batch, cycles, nodes], A_k(i, i).
      visible: float32 [batch, nodes], M_b: 1 where the start node exists in the forward crop.
      normaliser: float32 [], what the sum over clips and nodes is divided by, see `normaliser`.
      epsilon: added to the probability, so that a walk that never returns costs a finite amount.

    Returns:
      float32 [cycles], -sum(M_b log(A_k(i, i) + epsilon)) / normaliser.
    """
    cost = -tf.math.log(return_probability + epsilon) * visible[:, tf.newaxis]
    return tf.reduce_sum(cost, axis=[0, 2]) / normaliser


def normaliser(kind: str, visible_nodes: tf.Tensor, all_nodes: tf.Tensor) -> tf.Tensor:
    """What the loss is divided by: every node ('nodes', the paper) or the visible ones ('visible', released).

    Args:
      kind: the `loss_normaliser` setting.
      visible_nodes: float32 [], number of visible start nodes in the global batch.
      all_nodes: float32 [], number of start nodes in the global batch.

    Raises:
      errors.UserError: the kind is neither.
    """
    if kind == 'nodes':
        return all_nodes
    if kind == 'visible':
        return visible_nodes + 1e-5
    raise errors.UserError(
        f"loss_normaliser = '{kind}': choose 'nodes' (the paper's 1/N) or "
        "'visible' (the authors' code: the visible nodes of the batch)."
    )


def select_cycles(losses: tf.Tensor, subset: str, reduction: str) -> tf.Tensor:
    """Joins the cycles' losses [cycles] into one.

    Args:
      losses: float32 [cycles], k = 1 .. T-1.
      subset: 'all' (the paper) or 'released', which leaves out k = T-1, the one step there and back.
      reduction: 'sum' (the paper) or 'mean' (released).

    Raises:
      errors.UserError: a setting has no such meaning, or leaves no cycle.
    """
    if subset not in ('all', 'released'):
        raise errors.UserError(f"cycles = '{subset}': choose 'all' or 'released'.")
    chosen = losses if subset == 'all' else losses[:-1]
    if chosen.shape[0] == 0:
        raise errors.UserError(
            "cycles = 'released' leaves out the shortest cycle, and clips of 2 frames "
            'have no other: use longer clips or cycles = \'all\'.'
        )
    if reduction == 'sum':
        return tf.reduce_sum(chosen)
    if reduction == 'mean':
        return tf.reduce_mean(chosen)
    raise errors.UserError(f"cycle_reduction = '{reduction}': choose 'sum' or 'mean'.")
