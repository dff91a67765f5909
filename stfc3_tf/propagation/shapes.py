"""Checks of what propagators are given, and their errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stfc3_tf import errors


def not_started() -> errors.UserError:
    """Return the error of a propagator that was given no labels."""
    return errors.UserError('Propagator.step before Propagator.start: give labels first.')


def check_grids(features: Sequence[int], labels: Sequence[int]) -> None:
    """Raise UserError unless features and labels have the same rows and columns.

    Args:
      features: the shape (rows, columns, channels).
      labels: the shape (rows, columns, labels).
    """
    if tuple(features[:2]) != tuple(labels[:2]):
        raise errors.UserError(
            f'Features have {features[0]}x{features[1]} cells, labels {labels[0]}x{labels[1]}: '
            "bring the labels to the features' grid."
        )


def check_labelled(
    features: Sequence[int], labels: Sequence[int], pinned: Iterable[tuple[Any, Any]]
) -> None:
    """Raise UserError unless the labelled frames have features and labels that fit.

    Args:
      features: the shape of the first frame's, (rows, columns, channels).
      labels: the shape of the first frame's, (rows, columns, labels).
      pinned: features and labels of other frames, arrays or tensors; they have the same shapes.
    """
    check_grids(features, labels)
    expected = tuple(features), tuple(labels)
    for number, maps in enumerate(pinned):
        found = tuple(tuple(each.shape) for each in maps)
        if found != expected:
            raise errors.UserError(
                f'pinned[{number}] has features and labels of shapes {found[0]} and {found[1]}, '
                f'the first frame {expected[0]} and {expected[1]}: they must be the same.'
            )


def check_shape(shape: Sequence[int], first: Sequence[int], frame: int) -> None:
    """Raise UserError unless a frame's features have the shape of the first frame's.

    Args:
      shape: of the features of the frame.
      first: of the features of the first frame.
      frame: the number of the frame, for the message.
    """
    if tuple(shape) != tuple(first):
        raise errors.UserError(
            f'Frame {frame} has features of shape {tuple(shape)}, the first frame {tuple(first)}: '
            'all frames must have one size.'
        )
