"""This project's speed against PyTorch's on the same machine, in the same run.

Each comparison times this project and two variants of PyTorch in turn: as it is usually written
('PyTorch plain') and tuned ('PyTorch tuned'), see `torch_calls`. The results are those of
`alternation.compare`.
"""

from __future__ import annotations

from collections.abc import Callable
import importlib.util
from typing import Any

from stfc3_tf import errors
from stfc3_tf.speed import alternation, training_step
from stfc3_tf.speed import features as features_lib
from stfc3_tf.speed import propagation as propagation_lib
from stfc3_tf.speed import whole_loop as whole_loop_lib
from stfc3_tf.speed.alternation import Preparation
from stfc3_tf.speed.timing import Figures


def check_installed() -> None:
    """Raise UserError if PyTorch is not installed."""
    if importlib.util.find_spec('torch') is None:
        raise errors.UserError(
            '--against=pytorch needs PyTorch, which is not installed: `pip install torch`.'
        )


def step(view_size: int, batch: int, precision: str, rounds: int = 5) -> Figures:
    """Compare a training step of STFC3, see `training_step.training_step`.

    Args:
      view_size: height and width of the views, pixels.
      batch: clips per step.
      precision: a Keras policy: 'float32' or 'mixed_bfloat16'; PyTorch plain is always float32.
      rounds: see `alternation.compare`.
    """
    from stfc3_tf.speed import torch_calls

    sizes = view_size, batch, precision
    return _compared(training_step.prepare, torch_calls.training_step, sizes, rounds)


def features(height: int = 480, width: int = 854, rounds: int = 7) -> Figures:
    """Compare the stage-3 features of a frame, at full width in float32.

    Args:
      height: of the frame, pixels.
      width: of the frame, pixels.
      rounds: see `alternation.compare`.
    """
    from stfc3_tf.speed import torch_calls

    size = height, width
    return _compared(features_lib.prepare, torch_calls.features, size, rounds, calls=3)


def propagation(
    rows: int = 60, columns: int = 107, channels: int = 256, rounds: int = 5
) -> Figures:
    """Compare the propagation of labels to a frame; the defaults are DAVIS at 480p.

    Args:
      rows: of the feature map.
      columns: of the feature map.
      channels: of the features.
      rounds: see `alternation.compare`.
    """
    from stfc3_tf.speed import torch_calls

    size = rows, columns, channels
    return _compared(propagation_lib.prepare, torch_calls.propagation, size, rounds)


def whole_loop(height: int = 480, width: int = 854, rounds: int = 5) -> Figures:
    """Compare the way from a frame to its mask, with a full context and an encoder of full width.

    Args:
      height: of the frames, pixels.
      width: of the frames, pixels.
      rounds: see `alternation.compare`.
    """
    from stfc3_tf.speed import torch_calls

    shown = whole_loop_lib.scene(height, width, 40)
    return _compared(whole_loop_lib.prepare, torch_calls.frames_to_masks, shown, rounds)


def _compared(
    here: Callable[..., Callable[[], Any]],
    there: Callable[..., Callable[[], Any]],
    arguments: tuple[Any, ...],
    rounds: int,
    calls: int = 1,
) -> Figures:
    """Compare this project with both variants of PyTorch.

    Args:
      here: makes this project's call from the arguments.
      there: makes PyTorch's from the arguments and the variant.
      arguments: of both.
      rounds: see `alternation.compare`.
      calls: see `alternation.compare`.
    """
    others: dict[str, Preparation] = {
        f'PyTorch {variant}': (there, (*arguments, variant)) for variant in ('plain', 'tuned')
    }
    return alternation.compare((here, arguments), others, rounds, calls)
