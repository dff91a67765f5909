"""The ONNX graph of an encoder, built layer by layer from the Keras model.

The graph takes the same frames as the SavedModel and returns the same features. Inside, maps are
[batch, channels, rows, columns], as ONNX convolutions need them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.model.resnet import Statistics

OPSET = 17
_IR_VERSION = 8  # Read by ONNX Runtime from 1.13 on.
_END = np.iinfo(np.int64).max


class _Graph:
    """Nodes and constants, in the order in which they are computed."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        output = f'{operation}_{len(self.nodes)}'
        self.nodes.append(helper.make_node(operation, list(inputs), [output], **attributes))
        return output

    def constant(self, values: Any, dtype: type = np.float32) -> str:
        """Add a constant and return its name."""
        name = f'constant_{len(self.constants)}'
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name


def build(
    network: tf.keras.Model,
    statistics: Statistics,
    frame_size: tuple[int, int] | None = None,
) -> onnx.ModelProto:
    """Return the ONNX model of an encoder.

    Args:
      network: maps normalised frames to one feature map, float32.
      statistics: the colour statistics with which its frames are normalised.
      frame_size: (height, width) of all frames; None for any size.

    Returns:
      A model from 'frames', uint8 [batch, height, width, 3], to 'features', float32 [batch, rows,
      columns, channels], L2-normalised.

    Raises:
      errors.UserError: the network has a layer of an unknown kind.
    """
    graph = _Graph()
    maps = _layers(graph, network, _normalised(graph, statistics))
    graph.add('Transpose', _unit_length(graph, maps), perm=[0, 2, 3, 1])
    graph.nodes[-1].output[0] = 'features'
    height, width = frame_size or ('height', 'width')
    channels = network.output_shape[-1]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            'encoder',
            [_value('frames', TensorProto.UINT8, ['batch', height, width, 3])],
            [_value('features', TensorProto.FLOAT, ['batch', 'rows', 'columns', channels])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid('', OPSET)],
        ir_version=_IR_VERSION,
        producer_name='stfc3_tf',
    )
    onnx.checker.check_model(model)
    return model


def _value(name: str, kind: int, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _normalised(graph: _Graph, statistics: Statistics) -> str:
    """Add (frames / 255 - mean) / std and return maps [batch, 3, height, width]."""
    std = np.array(statistics.std)
    frames = graph.add('Cast', 'frames', to=TensorProto.FLOAT)
    scaled = graph.add('Mul', frames, graph.constant(1 / (255 * std)))
    normalised = graph.add('Sub', scaled, graph.constant(statistics.mean / std))
    return graph.add('Transpose', normalised, perm=[0, 3, 1, 2])


def _unit_length(graph: _Graph, maps: str) -> str:
    """Divide by the length over the channels; zeros remain zeros."""
    length = graph.add('ReduceL2', maps, axes=[1], keepdims=1)
    return graph.add('Div', maps, graph.add('Max', length, graph.constant(1e-6)))


def _layers(graph: _Graph, network: tf.keras.Model, frames: str) -> str:
    """Add the layers of a network, which `network.layers` lists in order; return its output."""
    names = {id(network.input): frames}
    for layer in network.layers:
        if isinstance(layer, tf.keras.layers.InputLayer):
            continue
        kind = type(layer).__name__
        if kind not in _LAYERS:
            raise errors.UserError(
                f'The layer {layer.name} ({kind}) cannot be exported to ONNX: use another format.'
            )
        inputs = [names[id(tensor)] for tensor in tf.nest.flatten(layer.input)]
        names[id(layer.output)] = _LAYERS[kind](graph, layer, *inputs)
    return names[id(network.output)]


def _convolution(graph: _Graph, layer: Any, maps: str) -> str:
    kernel, *bias = layer.get_weights()
    constants = [graph.constant(kernel.transpose(3, 2, 0, 1)), *map(graph.constant, bias)]
    window = _window(layer.kernel_size, layer)
    return _activated(graph, layer, graph.add('Conv', maps, *constants, **window))


def _window(size: Sequence[int], layer: Any) -> dict[str, Any]:
    """Return size, stride and padding of a convolution or a pooling."""
    padding = {'same': 'SAME_UPPER', 'valid': 'VALID'}[layer.padding]
    return {'kernel_shape': list(size), 'strides': list(layer.strides), 'auto_pad': padding}


def _activated(graph: _Graph, layer: Any, maps: str) -> str:
    activation = layer.activation.__name__
    if activation not in ('linear', 'relu'):
        raise errors.UserError(
            f'The activation {activation} of the layer {layer.name} cannot be exported to ONNX.'
        )
    return graph.add('Relu', maps) if activation == 'relu' else maps


def _normalisation(graph: _Graph, layer: Any, maps: str) -> str:
    mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    scale = layer.gamma.numpy() if layer.scale else np.ones_like(mean)
    offset = layer.beta.numpy() if layer.center else np.zeros_like(mean)
    constants = map(graph.constant, (scale, offset, mean, variance))
    return graph.add('BatchNormalization', maps, *constants, epsilon=layer.epsilon)


def _padding(
    graph: _Graph, maps: str, mode: str, rows: Sequence[int], columns: Sequence[int]
) -> str:
    """Add (before, after) cells to rows and columns."""
    pads = [0, 0, rows[0], columns[0], 0, 0, rows[1], columns[1]]
    return graph.add('Pad', maps, graph.constant(pads, np.int64), mode=mode)


def _zero_padding(graph: _Graph, layer: Any, maps: str) -> str:
    return _padding(graph, maps, 'constant', *layer.padding)


def _edge_padding(graph: _Graph, layer: Any, maps: str) -> str:
    mode = {'reflect': 'reflect', 'replicate': 'edge'}[layer.mode]
    return _padding(graph, maps, mode, (layer.size, layer.size), (layer.size, layer.size))


def _padding_to_multiple(graph: _Graph, layer: Any, maps: str) -> str:
    sides = graph.add('Shape', maps, start=2)
    multiple = graph.constant([layer.multiple], np.int64)
    missing = graph.add('Mod', graph.add('Neg', sides), multiple)
    before = graph.constant([0] * 6, np.int64)
    return graph.add('Pad', maps, graph.add('Concat', before, missing, axis=0), mode='constant')


def _maximum(graph: _Graph, layer: Any, maps: str) -> str:
    return graph.add('MaxPool', maps, **_window(layer.pool_size, layer))


def _average(graph: _Graph, layer: Any, maps: str) -> str:
    return graph.add('AveragePool', maps, **_window(layer.pool_size, layer))


def _cropping(graph: _Graph, layer: Any, maps: str) -> str:
    starts = [before for before, _ in layer.cropping]
    ends = [-after if after else _END for _, after in layer.cropping]
    constants = (graph.constant(values, np.int64) for values in (starts, ends, [2, 3]))
    return graph.add('Slice', maps, *constants)


def _relu(graph: _Graph, layer: Any, maps: str) -> str:
    return graph.add('Relu', maps)


def _sum(graph: _Graph, layer: Any, *maps: str) -> str:
    return graph.add('Sum', *maps)


_LAYERS: dict[str, Callable[..., str]] = {
    'Activation': _activated,
    'Add': _sum,
    'AveragePooling2D': _average,
    'BatchNormalization': _normalisation,
    'Conv2D': _convolution,
    'Cropping2D': _cropping,
    'EdgePadding2D': _edge_padding,
    'MaxPooling2D': _maximum,
    'PadToMultiple': _padding_to_multiple,
    'ReLU': _relu,
    'ZeroPadding2D': _zero_padding,
}
