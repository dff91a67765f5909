"""The class of encoders that are loaded from files of any format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import annotated_types
import numpy as np
import pydantic
from typing_extensions import NotRequired, TypedDict

from stfc3_tf import errors
from stfc3_tf.propagation.extractor import unit_length
from stfc3_tf.storage import state
from stfc3_tf.views.cell_grid import CellGrid

_Sides = Annotated[list[pydantic.PositiveInt], annotated_types.Len(2, 2)]


@pydantic.with_config(pydantic.ConfigDict(extra='allow'))
class _Metadata(TypedDict):
    """The parts of an export's metadata that are used to run it; see `cell_grid_of` for others."""

    frame_size: NotRequired[_Sides | None]
    least_side: NotRequired[pydantic.PositiveInt]


def read_metadata(contents: bytes | str, path: str) -> dict[str, Any]:
    """Return the metadata that an export carries.

    Args:
      contents: JSON.
      path: where it comes from, for messages.

    Raises:
      errors.UserError: it is not JSON, or says what cannot be.
    """
    return state.parse_json(contents, _Metadata, path, 'Export it again.')


class LoadedEncoder:
    """An encoder read from files: an `extractor.FeatureExtractor`.

    Attributes:
      metadata: recorded by the export: 'layer', 'channels', 'statistics', 'weights_sha256',
        'versions' and, from a training run, 'config' and 'step'.
      cell_grid: positions of the feature cells in the frames.
    """

    def __init__(
        self,
        run: Callable[[np.ndarray], Any],
        metadata: Mapping[str, Any],
        identity: Mapping[str, str],
    ):
        """Wrap a function.

        Args:
          run: maps uint8 [batch, height, width, 3] to float32 [batch, rows, columns, channels].
          metadata: see the attribute; it has at least 'cell_grid'.
          identity: digests of the files.

        Raises:
          errors.UserError: the metadata have no usable cell grid.
        """
        self.metadata = dict(metadata)
        self.cell_grid = cell_grid_of(metadata)
        self._run = run
        self._identity = dict(identity)

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Return the features of frames.

        Args:
          frames: uint8 [batch, height, width, 3], RGB. With stride 8, sides must have at least 9
            pixels; without padding, as many as a receptive field.

        Returns:
          float32 [batch, rows, columns, channels], L2-normalised over the channels.

        Raises:
          errors.UserError: the frames are of another type or shape, or too small.
        """
        frames = np.asarray(frames)
        check_frames(frames)
        return unit_length(np.asarray(self._run(frames), np.float32))

    def identity(self) -> dict[str, Any]:
        """Return the digests of the model's files and its cell grid, ready for JSON."""
        return {**self._identity, 'cell_grid': self.cell_grid._asdict()}


def cell_grid_of(metadata: Mapping[str, Any]) -> CellGrid:
    """Return the cell grid that is stated in metadata.

    Args:
      metadata: with 'cell_grid': {'first': pixels, 'stride': pixels}.

    Raises:
      errors.UserError: there is none, or its values are not numbers.
    """
    stated = metadata.get('cell_grid')
    try:
        first, stride = float(stated['first']), stated['stride']  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        stride = None
    if not isinstance(stride, int) or isinstance(stride, bool) or stride < 1 or not first >= 0:
        raise errors.UserError(
            'The metadata of the model must have "cell_grid": {"first": pixels >= 0, "stride": '
            f'pixels >= 1}}, not {stated!r}.'
        )
    return CellGrid(first, stride)


def check_frames(frames: np.ndarray) -> None:
    """Raise UserError unless frames are uint8 [batch, height, width, 3]."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise errors.UserError(
            'features: frames must be uint8 [batch, height, width, 3], not '
            f'{frames.dtype} {list(frames.shape)}.'
        )
