"""The signatures of an exported encoder, which use only TensorFlow's own operations.

They run without this package, Keras and TensorFlow Addons. A server passes tensors on without
comparing their shapes with the signature's, so the graphs check the shapes themselves: a wrong
request ends with a message that says what was expected.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from stfc3_tf.model.resnet import Encoder
from stfc3_tf.propagation.one_frame import propagate
from stfc3_tf.propagation.settings import PropagationSettings
from stfc3_tf.serving import network

DEFAULT = 'serving_default'  # Servers run it if a request names no signature.


def exportable(
    encoder: Encoder, layer: str, settings: PropagationSettings, described: str
) -> tuple[tf.Module, dict[str, Callable]]:
    """Return the object to save and its signatures.

    Args:
      encoder: with the weights to export; they are copied.
      layer: the output that becomes the features.
      settings: of `propagate`.
      described: JSON text that `describe` and the function `metadata` return.

    Returns:
      A module that owns the variables, and the signatures by name, see `saved_model`.
    """
    model = network.inference_model(encoder, layer)
    frame_features = _frame_features(model, encoder, layer)
    module = tf.Module()
    module.variables_in_use = model.variables
    module.features = _features(frame_features)
    module.features_encoded = _features_encoded(frame_features)
    module.propagate = _propagate(settings, model.output_shape[-1])
    module.describe = _describe(described)
    module.metadata = tf.function(lambda: tf.constant(described), input_signature=[])
    names = 'features', 'features_encoded', 'propagate', 'describe'
    signatures = {name: getattr(module, name) for name in names}
    return module, {DEFAULT: module.features, **signatures}


def _frame_features(
    model: tf.keras.Model, encoder: Encoder, layer: str
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a function from frames to features of unit length that checks the frames."""
    least = network.least_side(encoder.cell_grid[layer])
    unit_features = network.unit_features(model, encoder)

    def compute(frames):
        """Return the features of frames that are large enough."""
        large_enough = tf.debugging.assert_greater_equal(
            tf.shape(frames)[:3],
            [1, least, least],
            f'frames must be 1 or more, {least} pixels or more high and wide; their '
            '[batch, height, width]:',
        )
        with tf.control_dependencies([large_enough]):
            return unit_features(frames)

    return compute


def _features(frame_features: Callable[[tf.Tensor], tf.Tensor]) -> Callable:
    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, 'frames')])
    def features(frames):
        """Return the features of frames."""
        frames = _of_shape(frames, 'frames', batch=None, height=None, width=None, colours=3)
        return {'features': frame_features(frames)}

    return features


def _features_encoded(frame_features: Callable[[tf.Tensor], tf.Tensor]) -> Callable:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, 'images')])
    def features_encoded(images):
        """Return the features of picture files."""
        maps = frame_features(_decoded(_of_shape(images, 'images', batch=None)))
        count = tf.shape(maps)[:1]
        return {
            'features_bytes': tf.map_fn(_raw, maps, fn_output_signature=tf.string),
            'shape': tf.tile(tf.shape(maps)[None, 1:], [count[0], 1]),
        }

    return features_encoded


def _decoded(images: tf.Tensor) -> tf.Tensor:
    """Decode picture files, string [batch], to frames uint8 [batch, height, width, 3]."""
    some = tf.debugging.assert_greater_equal(tf.size(images), 1, 'images must be 1 or more.')

    def pixels(image):
        frame = tf.io.decode_image(image, channels=3, expand_animations=False)
        return tf.reshape(frame, [-1]), tf.shape(frame)

    with tf.control_dependencies([some]):
        values, shapes = tf.map_fn(
            pixels,
            images,
            fn_output_signature=(
                tf.RaggedTensorSpec([None], tf.uint8),
                tf.TensorSpec([3], tf.int32),
            ),
        )
    same = tf.debugging.assert_equal(
        shapes,
        shapes[:1],
        'images of one request must have one size; their [height, width, 3]:',
        summarize=3 * 32,
    )
    with tf.control_dependencies([same]):
        return tf.reshape(values.flat_values, tf.concat([[-1], shapes[0]], 0))


def _raw(values: tf.Tensor) -> tf.Tensor:
    """Return the bytes of a float32 tensor in C order, as a scalar string.

    They are the end of a serialised TensorProto.
    """
    length = 4 * tf.size(values)
    return tf.strings.substr(tf.io.serialize_tensor(values), -length, length)


def _propagate(settings: PropagationSettings, channels: int) -> Callable:
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, channels], tf.float32, 'query'),
            tf.TensorSpec([None, None, None, channels], tf.float32, 'context_features'),
            tf.TensorSpec([None, None, None, None], tf.float32, 'context_labels'),
            tf.TensorSpec([None], tf.bool, 'unrestricted'),
        ]
    )
    def propagate_labels(query, context_features, context_labels, unrestricted):
        given = _checked(channels, query, context_features, context_labels, unrestricted)
        return {'labels': propagate(*given, settings)}

    return propagate_labels


def _checked(
    channels: int,
    query: tf.Tensor,
    context_features: tf.Tensor,
    context_labels: tf.Tensor,
    unrestricted: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the arguments of `propagate`, after checks that they fit together."""
    cells = {'rows': None, 'columns': None}
    query = _of_shape(query, 'query', **cells, channels=channels)
    maps = _of_shape(context_features, 'context_features', frames=None, **cells, channels=channels)
    labels = _of_shape(context_labels, 'context_labels', frames=None, **cells, labels=None)
    unrestricted = _of_shape(unrestricted, 'unrestricted', frames=None)
    grid, frames = tf.shape(query)[:2], tf.shape(maps)[0]
    checks = [
        tf.debugging.assert_equal(
            tf.shape(maps)[1:3], grid, 'context_features must have the rows and columns of query.'
        ),
        tf.debugging.assert_equal(
            tf.shape(labels)[1:3], grid, 'context_labels must have the rows and columns of query.'
        ),
        tf.debugging.assert_equal(
            tf.shape(labels)[0], frames, 'context_labels must have one map per context frame.'
        ),
        tf.debugging.assert_equal(
            tf.size(unrestricted), frames, 'unrestricted must have one value per context frame.'
        ),
        tf.debugging.assert_greater_equal(frames, 1, 'context_features must have 1 frame or more.'),
    ]
    with tf.control_dependencies(checks):
        query, maps, labels = tf.identity(query), tf.identity(maps), tf.identity(labels)
        return query, maps, labels, tf.identity(unrestricted)


def _describe(described: str) -> Callable:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.bool, 'ask')])
    def describe(ask):
        # Servers refuse signatures without an input, and batch along axis 0.
        return {'metadata': tf.fill(tf.shape(ask), described)}

    return describe


def _of_shape(tensor: tf.Tensor, name: str, **sizes: int | None) -> tf.Tensor:
    """Return the tensor, checked at run time with its name and axes in the error message."""
    axes = '_'.join(axis if size is None else f'{size}_{axis}' for axis, size in sizes.items())
    return tf.ensure_shape(tensor, list(sizes.values()), name=f'{name}_must_be_{axes}')
