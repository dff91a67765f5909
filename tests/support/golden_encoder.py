"""Weights, inputs and outputs of the authors' encoder, from the golden file."""

import pathlib
import zlib

import numpy as np
import tensorflow as tf

from stfc3_tf.model import resnet

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / 'golden' / 'encoder.npz')
GOLDEN_NAMES = {'zero': 'zeros', 'reflect': 'reflect', 'replicate': 'replicate', 'none': 'nopad'}
# Output of the fixture -> (layer here, every n-th channel is in the fixture).
GOLDEN_LAYERS = {
    'stem': ('maxpool', 32),
    'layer2': ('layer2.1.relu2', 8),
    'layer3': ('stage3', 8),
    'layer4': ('stage4', 32),
    'head': ('head', 1),
}
TORCH_NAMES = {
    'kernel': 'weight',
    'bias': 'bias',
    'gamma': 'weight',
    'beta': 'bias',
    'moving_mean': 'running_mean',
    'moving_variance': 'running_var',
}


def torch_array(name, shape):
    """Return the weight of that name, drawn as for the golden file."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith('running_var') or (name.endswith('.weight') and len(shape) == 1):
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    if len(shape) == 1:
        return (0.1 * random.standard_normal(shape)).astype(np.float32)
    scale = np.sqrt(2 / (shape[0] * shape[2] * shape[3]))
    return (random.standard_normal(shape) * scale).astype(np.float32)


def fill(model):
    for layer in model.layers:
        for variable in layer.weights:
            kind = variable.name.split('/')[-1].split(':')[0]
            name = f'{layer.name}.{TORCH_NAMES[kind]}'
            shape = variable.shape.as_list()
            if len(shape) == 4:
                rows, columns, inputs, outputs = shape
                array = torch_array(name, (outputs, inputs, rows, columns)).transpose(2, 3, 1, 0)
            else:
                array = torch_array(name, shape)
            variable.assign(array)


def golden_model(padding):
    model = resnet.resnet18(padding=padding, head_widths=(64, 32))
    fill(model)
    outputs = {key: model.get_layer(name).output for key, (name, _) in GOLDEN_LAYERS.items()}
    return model, tf.keras.Model(model.inputs, outputs)


def golden_frames(padding):
    height, width = (261, 253) if padding == 'none' else (45, 51)
    frames = np.random.default_rng(7).standard_normal((2, 3, height, width)).astype(np.float32)
    return frames.transpose(0, 2, 3, 1)
