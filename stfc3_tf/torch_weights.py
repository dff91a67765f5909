"""Weights of PyTorch checkpoints, read without PyTorch and without running what a checkpoint says.

A checkpoint is a pickle, and a pickle is a program: it may call any function it names. Here it may name
only what state dictionaries and the settings saved beside them are made of; everything
else is refused by name. Both of PyTorch's file formats are read: the zip archive of 1.6 and later, and
the stream of pickles before it.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping, Sequence
import io
import pickle
import re
from typing import Any, BinaryIO, NamedTuple
import zipfile

from absl import logging
import numpy as np
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.encoder import Encoder, resnet18

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    'FloatStorage': np.dtype('<f4'),
    'DoubleStorage': np.dtype('<f8'),
    'HalfStorage': np.dtype('<f2'),
    'BFloat16Storage': np.dtype(tf.bfloat16.as_numpy_dtype),
    'LongStorage': np.dtype('<i8'),
    'IntStorage': np.dtype('<i4'),
    'ShortStorage': np.dtype('<i2'),
    'CharStorage': np.dtype('i1'),
    'ByteStorage': np.dtype('u1'),
    'BoolStorage': np.dtype('?'),
}


def read_checkpoint(path: str) -> dict[str, np.ndarray]:
    """Reads every array of a PyTorch checkpoint.

    Args:
      path: a file written by `torch.save`, on any file system TensorFlow knows.

    Returns:
      The arrays by name; those of nested dictionaries by the names joined with dots
      ('model.encoder.model.conv1.weight').

    Raises:
      errors.UserError: the file cannot be read, is damaged, is no checkpoint, or names something that
        no checkpoint of weights needs.
    """
    try:
        with tf.io.gfile.GFile(path, 'rb') as file:
            content = io.BytesIO(file.read())
    except tf.errors.OpError as error:
        raise errors.UserError(f'{path} cannot be read: {error.message}') from error
    read = _read_zip if zipfile.is_zipfile(content) else _read_legacy
    content.seek(0)
    try:
        root = read(content)
    except _Refused as refused:
        raise errors.UserError(
            f'{path} names {refused}, which no checkpoint of weights needs; it was not run. Save the state '
            'dictionary alone: torch.save(model.state_dict(), file).'
        ) from refused
    # A damaged pickle may fail anywhere in its interpreter.
    except Exception as error:
        raise errors.UserError(
            f'{path} is no PyTorch checkpoint, or a damaged one: {type(error).__name__}: {error}'
        ) from error
    arrays = dict(_arrays(root))
    if not arrays:
        raise errors.UserError(f'{path} holds no arrays.')
    return arrays


class _Refused(Exception):
    """A global that a checkpoint may not name."""


class _Inert:
    """Stands for settings saved beside the weights: takes any arguments and state, does nothing."""

    def __init__(self, *args, **kwargs):
        del args, kwargs

    def __setstate__(self, state):
        del state


class _StorageType(NamedTuple):
    dtype: np.dtype


def _rebuild_tensor(storage, offset, size, stride, *_) -> np.ndarray:
    """A strided view of a storage, as `torch._utils._rebuild_tensor_v2`."""
    if len(size) != len(stride):
        raise ValueError(f'a tensor of size {size} and stride {stride}')
    extent = 1 + sum((n - 1) * step for n, step in zip(size, stride))
    if min((offset, *size, *stride)) < 0 or (0 not in size and offset + extent > storage.size):
        raise ValueError(f'a tensor of size {size} and stride {stride} reaches beyond its storage')
    if 0 in size:
        return np.empty(size, storage.dtype)
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)


def _rebuild_parameter(data, *_) -> np.ndarray:
    return data


def _allowed_globals() -> dict[tuple[str, str], Any]:
    allowed = {
        ('collections', 'OrderedDict'): collections.OrderedDict,
        ('collections', 'Counter'): _Inert,  # milestones of a learning rate schedule
        ('torch', 'Size'): tuple,
        ('torch._utils', '_rebuild_tensor'): _rebuild_tensor,  # before PyTorch 0.4
        ('torch._utils', '_rebuild_tensor_v2'): _rebuild_tensor,
        ('torch._utils', '_rebuild_parameter'): _rebuild_parameter,
        ('argparse', 'Namespace'): _Inert,  # the command line that CRW saves
        ('torch', 'device'): _Inert,
        ('numpy', 'dtype'): _Inert,
        ('numpy.core.multiarray', 'scalar'): _Inert,
        ('numpy._core.multiarray', 'scalar'): _Inert,
        ('_codecs', 'encode'): _Inert,  # bytes of a NumPy scalar in protocol 2
    }
    allowed.update({('torch', name): _StorageType(dtype) for name, dtype in _DTYPES.items()})
    return allowed


class _Unpickler(pickle.Unpickler):
    """Builds dictionaries, numbers and arrays, and refuses the rest."""

    def __init__(self, file: BinaryIO, storage: Callable[..., np.ndarray] | None = None):
        super().__init__(file, encoding='utf-8')
        self._globals = _allowed_globals()
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._globals[module, name]
        except KeyError:
            raise _Refused(f'{module}.{name}') from None

    def persistent_load(self, reference: tuple) -> np.ndarray:
        kind, storage_type, key, _, count, *view = reference
        if kind != 'storage' or any(view) or self._storage is None:
            raise ValueError(f'a reference to {kind!r} that is no plain storage')
        return self._storage(storage_type.dtype, key, count)


def _read_zip(content: BinaryIO) -> Any:
    """PyTorch 1.6 and later: an archive of a pickle and one file per storage."""
    with zipfile.ZipFile(content) as archive:
        names = [name for name in archive.namelist() if name.endswith('/data.pkl')]
        if len(names) != 1:
            raise ValueError('the archive has no data.pkl')
        folder = names[0].removesuffix('data.pkl')
        if f'{folder}byteorder' in archive.namelist():
            if archive.read(f'{folder}byteorder') != b'little':
                raise ValueError('it was saved on a big-endian machine')
        storages = {}

        def storage(dtype, key, count):
            if key not in storages:
                storages[key] = np.frombuffer(archive.read(f'{folder}data/{key}'), dtype)
            if storages[key].size < count:
                raise ValueError(f'storage {key} is cut short')
            return storages[key]

        return _Unpickler(io.BytesIO(archive.read(names[0])), storage).load()


def _read_legacy(content: BinaryIO) -> Any:
    """PyTorch before 1.6: pickles of a magic number, the rest, and keys, then the storages."""
    if _Unpickler(content).load() != _LEGACY_MAGIC:
        raise ValueError("neither of PyTorch's file formats")
    protocol, system = _Unpickler(content).load(), _Unpickler(content).load()
    if protocol != 1001 or not system['little_endian']:
        raise ValueError(f'protocol {protocol} on {system}')
    length = content.getbuffer().nbytes
    storages = {}

    def storage(dtype, key, count):
        # Filled below: in this format the numbers come after what refers to them.
        if key not in storages:
            if count * dtype.itemsize > length:
                raise ValueError(f'storage {key} is cut short')
            storages[key] = np.empty(count, dtype)
        return storages[key]

    root = _Unpickler(content, storage).load()
    for key in _Unpickler(content).load():
        count = int.from_bytes(content.read(8), 'little')
        if count != storages[key].size:
            raise ValueError(f'storage {key} has another size than announced')
        numbers = content.read(storages[key].nbytes)
        storages[key][:] = np.frombuffer(numbers, storages[key].dtype)
    return root


def _arrays(value: Any, name: str = '') -> list[tuple[str, np.ndarray]]:
    if isinstance(value, np.ndarray):
        return [(name, value)]
    if not isinstance(value, Mapping):
        return []
    prefix = f'{name}.' if name else ''
    return [pair for key, item in value.items() for pair in _arrays(item, f'{prefix}{key}')]


# Where checkpoints keep a ResNet: torchvision '', DataParallel 'module.', CRW 'model.encoder.model.',
# STFC3 'encoder.backbone.' and 'module.backbone.'. It is told by what it holds, so that any prefix will do.
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
# A count of training steps, which has no twin.
_COUNTER = '.num_batches_tracked'


def load_encoder(
    path: str,
    layer: str = 'stage3',
    padding: str | None = None,
    statistics: str = 'imagenet',
    prefix: str | None = None,
) -> tuple[Encoder, list[str]]:
    """Makes an encoder of a PyTorch checkpoint.

    Args:
      path: a file written by `torch.save`: torchvision's ResNet-18, CRW's or STFC3's, or another that
        holds one under whatever prefix.
      layer: the output wanted; only what it needs is taken from the checkpoint.
      padding: as of `resnet18`. The weights do not tell: by default 'zero' if the checkpoint holds
        torchvision's classifier, otherwise 'reflect' (CRW, STFC3).
      statistics: as of `resnet18`.
      prefix: what the ResNet's names begin with; by default found by itself.

    Returns:
      The encoder, and the names of arrays of the checkpoint that `layer` has no use for: the
      ResNet's and the head's as of `resnet_weights`, others (CRW's `selfsim_fc`, an optimiser's
      state) in full.

    Raises:
      errors.UserError: the checkpoint cannot be read, or does not fit.
    """
    arrays = read_checkpoint(path)
    weights = resnet_weights(arrays, prefix)
    if padding is None:
        padding = 'zero' if 'fc.weight' in weights else 'reflect'
        logging.info('%s does not say how it was padded: taken to be %r.', path, padding)
    encoder = resnet18(
        padding=padding,
        width=len(weights['conv1.weight']),
        head_widths=_head_widths(weights),
        statistics=statistics,
    )
    part = tf.keras.Model(encoder.input, encoder.output[layer])
    try:
        unused = assign(part, weights)
    except errors.UserError as error:
        raise errors.UserError(f'{path}: {error}') from error
    known = _variables_by_torch_name(encoder)
    beyond = [name for name in unused if name not in known and name.startswith(('layer', 'head.'))]
    if any(name.startswith('layer') or layer == 'head' for name in beyond):
        raise errors.UserError(f'{path} is more than a ResNet-18: it also has {_listed(beyond)}.')
    return encoder, unused + _others(arrays, weights)


def resnet_weights(
    arrays: Mapping[str, np.ndarray], prefix: str | None = None
) -> dict[str, np.ndarray]:
    """Picks the ResNet out of a checkpoint, and STFC3's projection head if there is one.

    Args:
      arrays: as of `read_checkpoint`.
      prefix: what the ResNet's names begin with; by default found by itself.

    Returns:
      Arrays by torchvision's names ('layer1.0.conv1.weight'), the head's by 'head.conv0.weight',
      'head.bn.weight', 'head.conv1.weight' and so on.

    Raises:
      errors.UserError: there is no ResNet of basic blocks, or more than one.
    """
    prefix = _find_prefix(arrays, prefix)
    weights = {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
    beside = re.sub(r'[^.]+\.$', '', prefix)
    for name, array in arrays.items():
        for pattern, replacement in _HEAD:
            if name.startswith(beside) and pattern.match(name, len(beside)):
                weights[pattern.sub(replacement, name[len(beside) :])] = array
    return weights


def _find_prefix(arrays: Mapping[str, np.ndarray], wanted: str | None) -> str:
    suffix = _LANDMARKS[0]
    prefixes = [name.removesuffix(suffix) for name in arrays if name.endswith(suffix)]
    prefixes = [p for p in prefixes if all(f'{p}{mark}' in arrays for mark in _LANDMARKS)]
    if wanted is not None:
        prefixes = [p for p in prefixes if p == wanted]
    if len(prefixes) == 1:
        return prefixes[0]
    if prefixes:
        raise errors.UserError(
            f'The checkpoint holds several ResNets: choose one with --prefix, of {", ".join(prefixes)}.'
        )
    raise errors.UserError(
        f'The checkpoint holds no ResNet-18: no names {" and ".join(_LANDMARKS)} after '
        f'{"any prefix" if wanted is None else wanted}. It holds {_listed(list(arrays))}.'
    )


def assign(model: tf.keras.Model, weights: Mapping[str, np.ndarray]) -> list[str]:
    """Gives a model the weights of its PyTorch twin.

    Args:
      model: whose layers bear the twin's names, such as an `Encoder` or a part of one.
      weights: as of `resnet_weights`.

    Returns:
      Names of weights that the model has no use for.

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
    """Names of the arrays that `weights` were not picked from."""
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
    """Kernels [output, input, rows, columns] -> [rows, columns, input, output]; vectors as they are."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def _head_widths(weights: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """Channels of the checkpoint's projection head; of the paper's if it has none."""
    names = ('head.conv0.weight', 'head.conv1.weight')
    if any(name not in weights for name in names):
        return (2048, 512)
    return tuple(len(weights[name]) for name in names)


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return (', '.join(names[:most]) or 'none') + more
