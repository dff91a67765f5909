"""Encoders from PyTorch checkpoints with the names of torchvision, CRW, STFC3 or mmaction (VFS)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import re

from absl import logging
import numpy as np
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.model import torch_files
from stfc3_tf.model.resnet import WIDEST, WIDEST_HEAD, Encoder, resnet18

# Checkpoints keep a ResNet under a prefix: torchvision '', DataParallel 'module.', CRW
# 'model.encoder.model.', STFC3 'encoder.backbone.' and 'module.backbone.', VFS 'backbone.'. These
# names find it under any prefix.
_LANDMARKS = ('conv1.weight', 'bn1.weight', 'layer1.0.conv1.weight')
# The head of STFC3, beside the backbone; its names end in its numbers of channels.
_HEAD = (
    (re.compile(r'projector\.conv1d_([01])(?:_\d+_\d+)?\.'), r'head.conv\1.'),
    (re.compile(r'projector\.bn_0\.'), 'head.bn.'),
)
_VARIABLES = {
    'kernel': 'weight',
    'bias': 'bias',
    'gamma': 'weight',
    'beta': 'bias',
    'moving_mean': 'running_mean',
    'moving_variance': 'running_var',
}
# mmaction puts each convolution and its norm into a module: 'conv1.conv.weight', 'conv1.bn.weight',
# 'layer1.0.conv2.bn.bias', 'layer2.0.downsample.conv.weight'.
_OF_MMACTION = (
    (re.compile(r'((?:^|\.)conv\d+)\.conv\.'), r'\1.'),
    (re.compile(r'((?:^|\.))conv(\d+)\.bn\.'), r'\1bn\2.'),
    (re.compile(r'(\.downsample)\.conv\.'), r'\1.0.'),
    (re.compile(r'(\.downsample)\.bn\.'), r'\1.1.'),
)
_MMACTION_LANDMARK = 'conv1.conv.weight'
# A count of training steps, for which the encoder has no variable.
_COUNTER = '.num_batches_tracked'


def load_encoder(
    path: str,
    layer: str = 'stage3',
    padding: str | None = None,
    statistics: str = 'imagenet',
    prefix: str | None = None,
) -> tuple[Encoder, list[str]]:
    """Make an encoder from a PyTorch checkpoint.

    Args:
      path: a file written by `torch.save`, or safetensors: the ResNet-18 of torchvision, CRW, STFC3
        or VFS, or another file that holds one under any prefix.
      layer: the output wanted; only what it needs is taken from the checkpoint.
      padding: see `resnet18`. The weights do not show it: by default 'zero' if the checkpoint
        holds torchvision's classifier or mmaction's names (VFS), otherwise 'reflect' (CRW, STFC3).
      statistics: see `resnet18`.
      prefix: what the ResNet's names begin with; by default it is found.

    Returns:
      The encoder, and the names of the arrays of the checkpoint that `layer` does not need: the
      ResNet's and the head's as `resnet_weights` returns them, others (CRW's `selfsim_fc`, an
      optimiser's state) in full.

    Raises:
      errors.UserError: the checkpoint cannot be read, or does not fit.
    """
    arrays = torch_files.read_checkpoint(path)
    try:
        return _encoder(path, arrays, layer, padding, statistics, prefix)
    except errors.UserError as error:
        raise errors.UserError(f'{path}: {error}') from error


def _encoder(
    path: str,
    arrays: Mapping[str, np.ndarray],
    layer: str,
    padding: str | None,
    statistics: str,
    prefix: str | None,
) -> tuple[Encoder, list[str]]:
    weights = resnet_weights(arrays, prefix)
    if padding is None:
        with_zeros = 'fc.weight' in weights or any(map(_is_of_mmaction, arrays))
        padding = 'zero' if with_zeros else 'reflect'
        logging.info('%s does not state its padding; %r is assumed.', path, padding)
    encoder = resnet18(
        padding=padding,
        width=_width(weights),
        head_widths=_head_widths(weights),
        statistics=statistics,
    )
    part = encoder.part(layer)
    unused = assign(part, weights)
    known = _variables_by_torch_name(encoder)
    beyond = [name for name in unused if name not in known and name.startswith(('layer', 'head.'))]
    if any(name.startswith('layer') or layer == 'head' for name in beyond):
        raise errors.UserError(f'It is more than a ResNet-18: it also has {_listed(beyond)}.')
    return encoder, unused + _others(arrays, weights)


def resnet_weights(
    arrays: Mapping[str, np.ndarray], prefix: str | None = None
) -> dict[str, np.ndarray]:
    """Pick the ResNet out of a checkpoint, and STFC3's projection head if there is one.

    Args:
      arrays: see `torch_files.read_checkpoint`.
      prefix: what the ResNet's names begin with; by default it is found.

    Returns:
      Arrays by torchvision's names ('layer1.0.conv1.weight'), the head's by 'head.conv0.weight',
      'head.bn.weight', 'head.conv1.weight' and so on.

    Raises:
      errors.UserError: there is no ResNet of basic blocks, or more than one.
    """
    arrays = {_torchvision_name(name): array for name, array in arrays.items()}
    prefix = _find_prefix(arrays, prefix)
    weights = {
        name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)
    }
    beside = re.sub(r'[^.]+\.$', '', prefix)
    for name, array in arrays.items():
        for pattern, replacement in _HEAD:
            if name.startswith(beside) and pattern.match(name, len(beside)):
                weights[pattern.sub(replacement, name[len(beside) :])] = array
    return weights


def _is_of_mmaction(name: str) -> bool:
    return f'.{name}'.endswith(f'.{_MMACTION_LANDMARK}')


def _torchvision_name(name: str) -> str:
    for pattern, replacement in _OF_MMACTION:
        name = pattern.sub(replacement, name)
    return name


def _find_prefix(arrays: Mapping[str, np.ndarray], wanted: str | None) -> str:
    suffix = _LANDMARKS[0]
    prefixes = [name[: -len(suffix)] for name in arrays if name.endswith(suffix)]
    prefixes = [p for p in prefixes if all(f'{p}{mark}' in arrays for mark in _LANDMARKS)]
    if wanted is not None:
        prefixes = [p for p in prefixes if p == wanted]
    if len(prefixes) == 1:
        return prefixes[0]
    if prefixes:
        raise errors.UserError(
            'The checkpoint holds several ResNets: choose one with --prefix, of '
            f'{", ".join(prefixes)}.'
        )
    raise errors.UserError(
        f'The checkpoint holds no ResNet-18: no names {" and ".join(_LANDMARKS)} after '
        f'{"any prefix" if wanted is None else wanted}. It holds {_listed(list(arrays))}.'
    )


def assign(model: tf.keras.Model, weights: Mapping[str, np.ndarray]) -> list[str]:
    """Assign the weights of a PyTorch network to the model of the same structure.

    Args:
      model: its layers have PyTorch's names, such as an `Encoder` or a part of one.
      weights: see `resnet_weights`.

    Returns:
      Names of weights that the model does not need.

    Raises:
      errors.UserError: weights are missing or have another shape; nothing is assigned then.
    """
    variables = _variables_by_torch_name(model)
    missing = [name for name in variables if name not in weights]
    arrays = {name: _channels_last(weights[name]) for name in variables if name in weights}
    misshapen = [
        f'{name} {list(array.shape)} instead of {variables[name].shape.as_list()}'
        for name, array in arrays.items()
        if array.shape != tuple(variables[name].shape)
    ]
    if missing or misshapen:
        raise errors.UserError(
            f'the checkpoint does not fit. Missing: {_listed(missing)}. Of another shape (channels '
            f'last): {_listed(misshapen)}.'
        )
    for name, array in arrays.items():
        variables[name].assign(array.astype(np.float32))
    return [name for name in weights if name not in variables and not name.endswith(_COUNTER)]


def _others(arrays: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]) -> list[str]:
    """Return the names of the arrays that `weights` were not picked from."""
    picked = {id(array) for array in weights.values()}
    others = [name for name, array in arrays.items() if id(array) not in picked]
    return [name for name in others if not name.endswith(_COUNTER)]


def _variables_by_torch_name(model: tf.keras.Model) -> dict[str, tf.Variable]:
    return {
        f'{layer.name}.{_VARIABLES[variable.name.split("/")[-1].split(":")[0]]}': variable
        for layer in model.layers
        for variable in layer.weights
    }


def _channels_last(array: np.ndarray) -> np.ndarray:
    """Return kernels [output, input, rows, columns] as [rows, columns, input, output]."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def _width(weights: Mapping[str, np.ndarray]) -> int:
    return _outputs(weights, 'conv1.weight', WIDEST)


def _head_widths(weights: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """Return the channels of the checkpoint's projection head; of the paper's if it has none."""
    first, second = 'head.conv0.weight', 'head.conv1.weight'
    if first not in weights or second not in weights:
        return (2048, 512)
    return _outputs(weights, first, WIDEST_HEAD), _outputs(weights, second, WIDEST_HEAD)


def _outputs(weights: Mapping[str, np.ndarray], name: str, most: int) -> int:
    """Return the output channels of a convolution; refuse numbers that no network has."""
    shape = weights[name].shape
    if len(shape) != 4 or not 0 < shape[0] <= most:
        raise errors.UserError(
            f'{name} has the shape {list(shape)}; expected [output channels, input channels, rows, '
            f'columns] and 1 to {most} output channels.'
        )
    return shape[0]


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return (', '.join(names[:most]) or 'none') + more
