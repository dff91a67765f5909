"""The operations of networks and of training steps, counted; a multiply-add counts as two."""

from __future__ import annotations

from typing import Any


def clip_gflop(model: Any, view_size: int, frames: int = 4) -> float:
    """Return the GFLOP of training on a clip of two tracks, three times those of the forward pass.

    Args:
      model: a `Learner`.
      view_size: height and width of the views, pixels.
      frames: of a clip.

    Returns:
      10^9 operations.
    """
    convolutions = convolution_gflop(model.encoder, view_size, view_size)
    rows, columns = model.objective.map_size(view_size)
    nodes, channels = rows * columns, model.encoder.output['head'].shape[-1]
    walk = 2 * nodes**2 * (3 * (frames - 1) * channels + (2 * frames - 3) * nodes)
    return 3 * (2 * frames * convolutions + walk / 1e9)


def convolution_gflop(model: Any, height: int, width: int) -> float:
    """Return the GFLOP of a Keras model's convolutions on one frame.

    A multiplication and an addition count as two operations.

    Args:
      model: a Keras model.
      height: of the frame, pixels.
      width: of the frame, pixels.

    Returns:
      10^9 operations.
    """
    import tensorflow as tf

    work = 0
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.Conv2D):
            part = tf.keras.Model(model.inputs, layer.output)
            rows, columns = part.compute_output_shape([1, height, width, 3])[1:3]
            work += 2 * layer.kernel.shape.num_elements() * rows * columns
    return work / 1e9
