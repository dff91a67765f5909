"""Frames in, labels out: an encoder, label propagation and the protocol's resizing, joined.

All benchmarks track through here. A tracker is streaming: one frame is held besides the
propagator's bounded context, and a call of `track` encodes every frame once. Nothing is kept from
call to call: benchmarks that track one video from several frames encode it as often.
"""

from collections.abc import Iterable, Iterator
import dataclasses
from typing import Any, NamedTuple, Protocol

import cv2
import gin
import numpy as np

from stfc3_tf import checks
from stfc3_tf import errors
from stfc3_tf import propagation

_INTERPOLATIONS = {'bilinear': cv2.INTER_LINEAR, 'area': cv2.INTER_AREA}


class FeatureExtractor(Protocol):
    """An encoder of single frames.

    Attributes:
      cell_grid: where the feature cells lie, `encoder.CellGrid(first, stride)`.
    """

    cell_grid: Any

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Returns float32 [batch, rows, columns, channels] of uint8 [batch, height, width, 3]."""

    def settings(self) -> dict[str, Any]:
        """Returns what identifies the model, down to its weights, JSON-ready."""


class Geometry(NamedTuple):
    """The sizes a label passes through, each (height, width).

    Attributes:
      label_size: image the labels are drawn on, in pixels.
      input_size: image the encoder sees, in pixels.
      grid_size: its feature map, in cells.
      cell_grid: cell i is centred at pixel index first + stride * i of the encoder's input.
    """

    label_size: tuple[int, int]
    input_size: tuple[int, int]
    grid_size: tuple[int, int]
    cell_grid: Any

    @property
    def margin(self) -> int:
        """Whole cells that would fit before the first one; 0 but for encoders without padding."""
        return max(0, int(self.cell_grid.first // self.cell_grid.stride))

    @property
    def whole_grid_size(self) -> tuple[int, int]:
        """Size, in cells, of a grid over all of the encoder's input."""
        if not self.margin:
            return self.grid_size
        rows, columns = (
            max(-(-side // self.cell_grid.stride), self.margin + cells)
            for side, cells in zip(self.input_size, self.grid_size)
        )
        return rows, columns


class Codec(Protocol):
    """Turns a benchmark's labels into soft label maps and back."""

    def encode(self, label: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Returns float32 [rows, columns, labels]."""

    def decode(self, soft: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Returns a label of the kind that `encode` takes."""


@gin.configurable
@dataclasses.dataclass(frozen=True)
class InputSize:
    """The size at which a protocol shows frames to the encoder.

    Attributes:
      rule: 'native' (as stored), 'short_side' (that side becomes `size`, ratio kept) or 'square'
        (both become `size`, ratio lost: CRW's --cropSize).
      size: pixels; 0 with 'native'.
      long_side_multiple: the long side is rounded down to a multiple of this (DINO: 64).
      interpolation: 'bilinear' (without anti-aliasing, as all reference codes resize) or 'area'.
    """

    rule: str = 'native'
    size: int = 0
    long_side_multiple: int = 1
    interpolation: str = 'bilinear'

    def __post_init__(self):
        checks.one_of('InputSize.rule', self.rule, ('native', 'short_side', 'square'))
        if self.rule != 'native':
            checks.whole_number('InputSize.size', self.size)
        elif self.size:
            raise errors.UserError(
                f"InputSize.size = {self.size} has no effect with InputSize.rule = 'native': choose "
                "'short_side' or 'square', or size 0."
            )
        checks.whole_number('InputSize.long_side_multiple', self.long_side_multiple)
        if self.rule == 'square' and self.long_side_multiple != 1:
            raise errors.UserError(
                f'InputSize.long_side_multiple = {self.long_side_multiple} has no effect with '
                "InputSize.rule = 'square': choose another rule, or 1."
            )
        checks.one_of('InputSize.interpolation', self.interpolation, tuple(_INTERPOLATIONS))

    def of(self, height: int, width: int) -> tuple[int, int]:
        """Returns the (height, width) at which a frame of the given size is encoded.

        Raises:
          errors.UserError: the long side is shorter than the multiple it is rounded down to.
        """
        if self.rule == 'square':
            return self.size, self.size
        if self.rule == 'short_side':
            short = min(height, width)
            height, width = height * self.size // short, width * self.size // short
        if max(height, width) < self.long_side_multiple:
            raise errors.UserError(
                f'InputSize.long_side_multiple={self.long_side_multiple}: a frame of '
                f'{height}x{width} (height x width) has no side as long.'
            )
        if width >= height:
            return height, width - width % self.long_side_multiple
        return height - height % self.long_side_multiple, width

    def resize(self, frame: np.ndarray) -> np.ndarray:
        """Returns the frame, uint8 [height, width, 3], at the protocol's size."""
        height, width = self.of(*frame.shape[:2])
        if (height, width) == frame.shape[:2]:
            return frame
        return cv2.resize(frame, (width, height), interpolation=_INTERPOLATIONS[self.interpolation])


class PropagationTracker:
    """Tracks by propagating labels over an encoder's features."""

    def __init__(
        self,
        extractor: FeatureExtractor,
        propagation_settings: propagation.PropagationSettings,
        input_size: InputSize,
    ):
        self._extractor = extractor
        self._propagation = propagation_settings
        self._input_size = input_size

    def settings(self) -> dict[str, Any]:
        """Returns every value that changes the predictions, model included."""
        return {
            'model': self._extractor.settings(),
            'input_size': dataclasses.asdict(self._input_size),
            'propagation': dataclasses.asdict(self._propagation),
        }

    def track(
        self,
        frames: Iterable[np.ndarray],
        first_label: np.ndarray,
        codec: Codec,
        label_size: tuple[int, int],
    ) -> Iterator[np.ndarray]:
        """Yields one label a frame; the first is `first_label` itself.

        Args:
          frames: uint8 [height, width, 3] RGB, all of one size, the labelled frame first.
          first_label: label of the first frame, of the kind that `codec` takes.
          codec: between labels and soft label maps.
          label_size: (height, width) of the image the labels are drawn on; may differ from the
            frames', and the labels yielded are drawn on it too.
        """
        propagator = propagation.Propagator(self._propagation)
        geometry = None
        for frame in frames:
            image = self._input_size.resize(frame)
            features = self._extractor.features(image[np.newaxis])[0]
            if geometry is None:
                geometry = Geometry(
                    label_size,
                    image.shape[:2],
                    tuple(features.shape[:2]),
                    self._extractor.cell_grid,
                )
                propagator.start(features, codec.encode(first_label, geometry))
                yield first_label
            else:
                yield codec.decode(np.asarray(propagator.step(features)), geometry)


class CopyFirst:
    """The baseline 'identity': nothing ever moves, every label is the first frame's."""

    def settings(self) -> dict[str, Any]:
        """Returns what identifies the baseline."""
        return {'model': {'baseline': 'identity'}}

    def track(
        self,
        frames: Iterable[np.ndarray],
        first_label: np.ndarray,
        codec: Codec,
        label_size: tuple[int, int],
    ) -> Iterator[np.ndarray]:
        """Yields `first_label` once a frame; `codec` and `label_size` are the other trackers'."""
        del codec, label_size
        for _ in frames:
            yield first_label
