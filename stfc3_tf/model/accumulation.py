"""A batch processed in parts, one after the other, to need the memory of one part only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from stfc3_tf import errors

Batch = Mapping[str, tf.Tensor]


def sum_over_parts(compute: Callable[[Batch], Any], batch: Batch, parts: int) -> Any:
    """Return the sum of what a function returns for each part of a batch.

    Args:
      compute: maps a part of the batch to a structure of tensors.
      batch: tensors [clips, ...].
      parts: number of equal parts.

    Returns:
      A structure like that of `compute`.

    Raises:
      errors.UserError: the batch cannot be divided into so many parts.
    """
    if parts == 1:
        return compute(batch)
    divided = {key: _divided(value, parts) for key, value in batch.items()}

    def part_of(number: tf.Tensor | int) -> Any:
        return compute({key: value[number] for key, value in divided.items()})

    def add(number: tf.Tensor | int, total: Any) -> tuple[tf.Tensor | int, Any]:
        # Parts that run in parallel would need as much memory as the whole batch.
        with tf.control_dependencies(tf.nest.flatten(total)):
            return number + 1, tf.nest.map_structure(tf.add, total, part_of(number))

    state = 1, part_of(0)
    if tf.distribute.get_replica_context().num_replicas_in_sync == 1:
        return tf.while_loop(lambda number, _: number < parts, add, state, parallel_iterations=1)[1]
    # Synchronised norms communicate with other replicas, which is not possible in a graph loop.
    for _ in range(1, parts):
        state = add(*state)
    return state[1]


def _divided(value: tf.Tensor, parts: int) -> tf.Tensor:
    """Return [clips, ...] as [parts, clips of a part, ...]."""
    clips = value.shape[0]
    if clips is None:
        raise errors.UserError(
            'Learner.accumulation_steps needs batches of a fixed size: '
            'dataset.batch(size, drop_remainder=True).'
        )
    if clips % parts:
        raise errors.UserError(
            f'Learner.accumulation_steps = {parts} does not divide the {clips} clips that each '
            'device gets per step.'
        )
    return tf.reshape(value, [parts, -1, *value.shape[1:]])
