"""The network of an exported encoder."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from stfc3_tf.model.resnet import Encoder, normalise_frames
from stfc3_tf.views.cell_grid import CellGrid


def inference_model(encoder: Encoder, layer: str) -> tf.keras.Model:
    """Return a float32 copy of the part of an encoder that one output needs.

    The copy does not belong to a distribution strategy.

    Args:
      encoder: with the weights to copy.
      layer: the name of the output.
    """
    part = encoder.part(layer)
    copy = tf.keras.models.clone_model(
        part, clone_function=lambda old: old.from_config({**old.get_config(), 'dtype': 'float32'})
    )
    copy.set_weights(part.get_weights())
    return copy


def unit_features(model: tf.keras.Model, encoder: Encoder) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a function from frames to features of unit length, for use inside a graph.

    Args:
      model: see `inference_model`.
      encoder: the one it was copied from.

    Returns:
      A function from uint8 [batch, height, width, 3] to float32 [batch, rows, columns, channels].
    """

    def compute(frames: tf.Tensor) -> tf.Tensor:
        maps = model(normalise_frames(frames, encoder.statistics), training=False)
        return tf.math.l2_normalize(maps, axis=-1)

    return compute


def least_side(grid: CellGrid) -> int:
    """Return the least height and width of a frame, in pixels.

    Without padding, the receptive field of cell 0, with its middle at pixel `grid.first`, must fit
    into the frame; with padding by reflection there must be a second cell.
    """
    return max(grid.stride + 1, int(2 * grid.first) + 1)
