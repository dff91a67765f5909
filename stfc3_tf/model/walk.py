"""The walk: transitions between frames, palindromes, and the loss of walks that do not return.

The idea. A node (feature cell) of frame k steps to frame k+1 and on to the last frame T in the
forward view, crosses to frame T in the backward view, and steps back to frame k. Feature similarity
gives the probability of each step. The walk should end where it began: the palindrome's matrix A_k
should have its mass on the diagonal. No label is needed.

The shortcut. A convolutional encoder that pads its borders can encode the position of each node. If
both tracks see the same view, features that encode nothing but the position make every transition
the identity: the loss vanishes and the features are useless. Such features show up between two
UNRELATED frames: that transition, too, has its mass on the diagonal
(see `diagnostics.collapse_ratio`).

The remedy (STFC3). The tracks see different crops, so that a node returns at another position than
it left from. The start nodes of the walk are the forward features warped onto the backward grid, so
that node i still has to return to node i. Nodes outside of the forward crop are masked out. Or the
start nodes stay as they are, and node i has to end at the backward node on which it falls.

This is plain tensor arithmetic in float32, without Keras: use it with an encoder of your own.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from stfc3_tf import checks, errors

# Similarity of a dropped edge: far below every cosine / temperature, and finite in float32.
_DROPPED = -1e20


class Cycles(NamedTuple):
    """The results of palindrome walks, per cycle k = 1 .. cycles.

    Attributes:
      return_probability: float32 [batch, cycles, nodes], A_k(i, i), or A_k(i, e(i)) of walks with
        given ends e.
      returned: float32 [batch, cycles, sampled nodes], 1 where the most likely end of the walk from
        node i is the right one, else 0.
      sampled: int32 [sampled nodes], the start nodes of `returned`.
    """

    return_probability: tf.Tensor
    returned: tf.Tensor
    sampled: tf.Tensor


def check_transitions(learner: str, temperature: float, edge_dropout: float, seed: int) -> None:
    """Check the settings of the transitions.

    Args:
      learner: name of the configurable that has them, for the message.
      temperature: tau.
      edge_dropout: probability that a walk may not take an edge.
      seed: of the dropped edges.

    Raises:
      errors.UserError: a setting is out of its range, in which nothing would be learnt.
    """
    checks.temperature(f'{learner}.temperature', temperature)
    checks.share(f'{learner}.edge_dropout', edge_dropout)
    checks.whole_number(f'{learner}.seed', seed, least=0)
    if edge_dropout == 1:
        raise errors.UserError(
            f'{learner}.edge_dropout = {edge_dropout} leaves no edge to take: give less than 1.'
        )


def transition(
    source: tf.Tensor, target: tf.Tensor, temperature: float, dropped: tf.Tensor | None = None
) -> tf.Tensor:
    """Return the probability of a step from each source node to each target node, equation (7).

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


def clip_seeds(seed: int, index: tf.Tensor) -> tf.Tensor:
    """Return a seed of its own for each clip, int32 [batch, 2], from their numbers [batch]."""
    return tf.stack([tf.fill(tf.shape(index), seed), tf.cast(index, tf.int32)], axis=1)


def draw_dropped_edges(seeds: tf.Tensor, steps: int, nodes: int, rate: float) -> tf.Tensor:
    """Draw the edges that a walk may not take (edge dropout, from CRW).

    Each clip has its own seed: its edges do not depend on the batch or the replica.

    Args:
      seeds: int32 [batch, 2].
      steps: number of transitions.
      nodes: number of nodes per frame.
      rate: probability that an edge is dropped.

    Returns:
      bool [batch, steps, nodes, nodes].
    """

    def draw(seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform([steps, nodes, nodes], seed, alg='philox') < rate

    return tf.map_fn(draw, seeds, fn_output_signature=tf.TensorSpec([steps, nodes, nodes], tf.bool))


def transition_count(frames: int) -> int:
    """Return how many transitions `palindromes` (or `crossing`) computes for clips of frames."""
    return 3 * (frames - 1) if frames > 1 else 1


def palindromes(
    start: tf.Tensor,
    forward: tf.Tensor,
    backward: tf.Tensor,
    temperature: float,
    dropped: tf.Tensor | None = None,
    ends: tf.Tensor | None = None,
    sampled_nodes: int = 64,
) -> Cycles:
    """Walk all palindromes S_w^k = [F_k^fb, F_{k+1}^f .. F_T^f, F_T^b .. F_k^b], k = 1 .. T-1.

    Let W_k be the first step of cycle k, from the warped start nodes, and Q_k the rest of its walk.
    Only the diagonal of A_k = W_k Q_k is computed, as the row sums of W_k * transpose(Q_k). Q_k
    contains Q_{k+1}, so that all cycles together cost 2T - 3 products of nodes x nodes matrices.

    Args:
      start: float32 [batch, T - 1, nodes, channels], L2-normalised, frames 1 .. T-1 of the forward
        track on the backward grid.
      forward: float32 [batch, T, nodes, channels], L2-normalised.
      backward: float32 [batch, T, nodes, channels], frames in natural order, L2-normalised.
      temperature: tau.
      dropped: bool [batch, transition_count(T), nodes, nodes] or None, see `draw_dropped_edges`.
      ends: int32 [batch, nodes], the node where the walk from each node should end (label warp);
        None if it should return to its start.
      sampled_nodes: approximate number of evenly spaced start nodes for the cycle accuracy, which
        needs whole rows of A_k; the loss does not.

    Returns:
      `Cycles`; its cycle axis is ordered k = 1 .. T-1, the longest walk first.

    Raises:
      errors.UserError: the clips have fewer than two frames.
    """
    frames = forward.shape[1]
    if frames < 2:
        raise errors.UserError(f'A walk needs clips of at least 2 frames, these have {frames}.')
    leaving, onward, homeward = _transitions(start, forward, backward, temperature, dropped)
    sampled = tf.range(0, tf.shape(forward)[2], max(1, forward.shape[2] // sampled_nodes))
    diagonals, returned = [], []
    middle = onward[-1]
    for k in reversed(range(frames - 1)):
        rest = tf.matmul(middle, homeward[k])
        diagonals.append(tf.reduce_sum(leaving[k] * _columns(rest, ends), axis=-1))
        returned.append(_returns(leaving[k], rest, sampled, ends))
        if k > 0:
            middle = tf.matmul(onward[k - 1], rest)
    return Cycles(tf.stack(diagonals[::-1], axis=1), tf.stack(returned[::-1], axis=1), sampled)


def _columns(matrix: tf.Tensor, ends: tf.Tensor | None) -> tf.Tensor:
    """Return row i = column e(i) of matrices [batch, nodes, nodes]; column i without ends."""
    columns = tf.linalg.matrix_transpose(matrix)
    return columns if ends is None else tf.gather(columns, ends, axis=1, batch_dims=1)


def crossing(
    start: tf.Tensor,
    backward: tf.Tensor,
    temperature: float,
    dropped: tf.Tensor | None = None,
    ends: tf.Tensor | None = None,
) -> Cycles:
    """Step once, from one view of a frame to the other: the walk of still pictures.

    Args:
      start: float32 [batch, nodes, channels], L2-normalised, the forward view.
      backward: float32 [batch, nodes, channels], L2-normalised.
      temperature: tau.
      dropped: bool [batch, 1, nodes, nodes] or None, see `draw_dropped_edges`.
      ends: see `palindromes`.

    Returns:
      `Cycles` with one cycle; all nodes are sampled.
    """
    edges = None if dropped is None else dropped[:, 0]
    step = transition(start, backward, temperature, edges)
    sampled = tf.range(tf.shape(start)[1])
    right = tf.broadcast_to(sampled, tf.shape(step)[:2]) if ends is None else ends
    probability = tf.gather(step, right, axis=2, batch_dims=2)
    returned = tf.cast(tf.argmax(step, axis=-1, output_type=tf.int32) == right, tf.float32)
    return Cycles(probability[:, tf.newaxis], returned[:, tf.newaxis], sampled)


def _transitions(
    start: tf.Tensor,
    forward: tf.Tensor,
    backward: tf.Tensor,
    temperature: float,
    dropped: tf.Tensor | None,
) -> list[list[tf.Tensor]]:
    """Return the three groups of transitions, T - 1 of [batch, nodes, nodes] each.

    leaving[k]: warped frame k to forward frame k+1. onward[k]: forward frame k+1 to forward frame
    k+2; the last one goes from forward frame T to backward frame T. homeward[k]: backward frame k+1
    to backward frame k.
    """
    # Unlike that of slices, the gradient of `unstack` writes each frame once.
    starts, there, back = (tf.unstack(each, axis=1) for each in (start, forward, backward))
    sources = tf.stack([*starts, *there[1:], *back[1:]], axis=1)
    targets = tf.stack([*there[1:], *there[2:], back[-1], *back[:-1]], axis=1)
    steps = tf.unstack(transition(sources, targets, temperature, dropped), axis=1)
    count = len(starts)
    return [steps[:count], steps[count : 2 * count], steps[2 * count :]]


def _returns(
    leaving: tf.Tensor, rest: tf.Tensor, sampled: tf.Tensor, ends: tf.Tensor | None
) -> tf.Tensor:
    """Return 1 where the right end is the most likely one, [batch, sampled nodes]."""
    walks = tf.matmul(tf.stop_gradient(tf.gather(leaving, sampled, axis=1)), tf.stop_gradient(rest))
    right = sampled if ends is None else tf.gather(ends, sampled, axis=1)
    return tf.cast(tf.argmax(walks, axis=-1, output_type=tf.int32) == right, tf.float32)


def patch_transition_count(frames: int) -> int:
    """Return how many transitions `patch_palindromes` computes for clips of `frames` frames."""
    return 2 * (frames - 1)


def patch_palindromes(
    nodes: tf.Tensor, temperature: float, dropped: tf.Tensor | None = None
) -> Cycles:
    """Walk CRW's palindromes: from frame 1 to frame k and back to frame 1, k = 3 .. T.

    Both ways go through the same nodes. The authors' code leaves out k = 2, as here.

    Args:
      nodes: float32 [batch, T, nodes, channels], L2-normalised.
      temperature: tau.
      dropped: bool [batch, patch_transition_count(T), nodes, nodes] or None, first the edges
        forward in time, then those backward; see `draw_dropped_edges`.

    Returns:
      `Cycles`; its cycle axis is ordered k = 3 .. T, the shortest walk first. All nodes are
      sampled.

    Raises:
      errors.UserError: the clips have fewer than three frames.
    """
    frames = nodes.shape[1]
    if frames < 3:
        raise errors.UserError(
            f'A walk over patches needs clips of at least 3 frames, not {frames}.'
        )
    each = tf.unstack(nodes, axis=1)
    sources, targets = [*each[:-1], *each[1:]], [*each[1:], *each[:-1]]
    found = transition(tf.stack(sources, axis=1), tf.stack(targets, axis=1), temperature, dropped)
    steps = tf.unstack(found, axis=1)
    onward, homeward = steps[: frames - 1], steps[frames - 1 :]
    there, back = onward[0], homeward[0]
    sampled = tf.range(tf.shape(nodes)[2])
    diagonals, returned = [], []
    for k in range(1, frames - 1):
        there, back = tf.matmul(there, onward[k]), tf.matmul(homeward[k], back)
        diagonals.append(tf.reduce_sum(there * _columns(back, None), axis=-1))
        returned.append(_returns(there, back, sampled, None))
    return Cycles(tf.stack(diagonals, axis=1), tf.stack(returned, axis=1), sampled)


def cycle_losses(
    return_probability: tf.Tensor, visible: tf.Tensor, normaliser: tf.Tensor, epsilon: float = 1e-7
) -> tf.Tensor:
    """Return the masked cross-entropy of each cycle against the identity, equation (13).

    Args:
      return_probability: float32 [batch, cycles, nodes], A_k(i, i).
      visible: float32 [batch, nodes], M_b: 1 where the start node is inside the forward crop.
      normaliser: float32 [], divides the sum over clips and nodes, see `normaliser`.
      epsilon: added to the probability, so that the loss of a walk that never returns is finite.

    Returns:
      float32 [cycles], -sum(M_b log(A_k(i, i) + epsilon)) / normaliser.
    """
    cost = -tf.math.log(return_probability + epsilon) * visible[:, tf.newaxis]
    return tf.reduce_sum(cost, axis=[0, 2]) / normaliser


def normaliser(kind: str, visible_nodes: tf.Tensor, all_nodes: tf.Tensor) -> tf.Tensor:
    """Return the number that divides the loss.

    Args:
      kind: 'nodes' for all nodes (the paper) or 'visible' for the visible ones (released code).
      visible_nodes: float32 [], number of visible start nodes in the global batch.
      all_nodes: float32 [], number of start nodes in the global batch.

    Returns:
      float32 [].

    Raises:
      errors.UserError: `kind` has another value.
    """
    if kind == 'nodes':
        return all_nodes
    if kind == 'visible':
        return visible_nodes + 1e-5
    raise errors.UserError(
        f"Learner.loss_normaliser = '{kind}': choose 'nodes' (the paper's 1/N) or "
        "'visible' (the authors' code: the visible nodes of the batch)."
    )


def select_cycles(losses: tf.Tensor, subset: str, reduction: str) -> tf.Tensor:
    """Return one loss from the losses of the cycles.

    Args:
      losses: float32 [cycles], k = 1 .. T-1.
      subset: 'all' (the paper) or 'released', which leaves out k = T-1, the shortest walk.
      reduction: 'sum' (the paper) or 'mean' (released code).

    Returns:
      float32 [].

    Raises:
      errors.UserError: a setting has an unknown value, or leaves no cycle.
    """
    if subset not in ('all', 'released'):
        raise errors.UserError(f"Learner.cycles = '{subset}': choose 'all' or 'released'.")
    chosen = losses if subset == 'all' else losses[:-1]
    if chosen.shape[0] == 0:
        raise errors.UserError(
            "Learner.cycles = 'released' leaves out the shortest cycle, and the clips have no "
            "other: use train.clip_frames of 3 or more, or Learner.cycles = 'all'."
        )
    if reduction == 'sum':
        return tf.reduce_sum(chosen)
    if reduction == 'mean':
        return tf.reduce_mean(chosen)
    raise errors.UserError(f"Learner.cycle_reduction = '{reduction}': choose 'sum' or 'mean'.")
