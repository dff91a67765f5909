"""The contract between encoders and everything that uses their features."""

from __future__ import annotations

from collections.abc import Callable
import os
from typing import Any, NamedTuple, Protocol

import numpy as np

from stfc3_tf import errors, wording
from stfc3_tf.views.cell_grid import CellGrid

# Features whose squared lengths are this close to 1 are taken as normalised.
_TOLERANCE = 1e-5
_SHORTEST = 1e-6


class FeatureExtractor(Protocol):
    """An encoder of single frames.

    It may also have a method `identity()`, which returns a dictionary, ready for JSON, that
    identifies its weights; see `identity`.
    """

    @property
    def cell_grid(self) -> CellGrid:
        """The positions of the feature cells in the frames."""

    def features(self, frames: np.ndarray) -> Any:
        """Return the features of frames; the vectors may have any length.

        Args:
          frames: uint8 [batch, height, width, 3], RGB.

        Returns:
          float32 [batch, rows, columns, channels], an array or a tensor.
        """


def check(encoder: Any) -> None:
    """Raise UserError if something is no encoder, such as the name of one."""
    if isinstance(encoder, (str, os.PathLike)):
        path = os.fspath(encoder)
        raise errors.UserError(
            f'{path} is the name or the path of an encoder: load it with stfc3_tf.load({path!r}).'
        )
    missing = [name for name in ('features', 'cell_grid') if not hasattr(encoder, name)]
    if missing:
        raise errors.UserError(
            f'The encoder is a {type(encoder).__name__} without {" and ".join(missing)}: take one '
            'from stfc3_tf.load.'
        )


def unit_features(extractor: FeatureExtractor, frames: np.ndarray) -> np.ndarray:
    """Return the features of frames at unit length.

    Args:
      extractor: the encoder.
      frames: uint8 [batch, height, width, 3], RGB.

    Returns:
      float32 [batch, rows, columns, channels], L2-normalised over the channels.

    Raises:
      errors.UserError: the encoder does not return one feature map per frame, or returns numbers
        that are not finite.
    """
    maps = np.asarray(extractor.features(frames), np.float32)
    if maps.ndim != 4 or len(maps) != len(frames) or not maps.size:
        raise errors.UserError(
            f'The encoder returns features of shape {list(maps.shape)} for '
            f'{wording.counted(len(frames), "frame")}; needed: [batch, rows, columns, channels].'
        )
    if not np.isfinite(maps).all():
        raise errors.UserError('The encoder returns features that are not finite numbers.')
    return unit_length(maps)


def unit_length(maps: np.ndarray) -> np.ndarray:
    """Return vectors divided by their length; those already of unit length stay as they are.

    Args:
      maps: float32 [..., channels].

    Returns:
      The same shape; a vector of zeros stays zero.
    """
    squares = np.einsum('...c,...c->...', maps, maps)
    if np.all((np.abs(squares - 1) <= _TOLERANCE) | (squares == 0)):
        return maps
    return maps / np.maximum(np.sqrt(squares), _SHORTEST)[..., np.newaxis]


def identity(extractor: FeatureExtractor) -> dict[str, Any]:
    """Return what identifies an encoder, ready for JSON.

    This is the result of its method `identity`. An encoder without that method is identified by its
    class and its cell grid.
    """
    if hasattr(extractor, 'identity'):
        return dict(extractor.identity())
    grid = extractor.cell_grid
    return {
        'class': type(extractor).__qualname__,
        'cell_grid': {'first': float(grid.first), 'stride': int(grid.stride)},
    }


class FunctionExtractor(NamedTuple):
    """An encoder given as a function.

    Attributes:
      features: see `FeatureExtractor.features`.
      cell_grid: positions of the feature cells in the frames.
    """

    features: Callable[[np.ndarray], Any]
    cell_grid: CellGrid
