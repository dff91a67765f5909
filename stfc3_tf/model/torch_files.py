"""Arrays of PyTorch checkpoints and safetensors files, read without PyTorch.

A PyTorch checkpoint is a pickle, and a pickle is a program. It is read by `storage.pickles`, which
runs nothing. Both of PyTorch's file formats are read: the zip archive of version 1.6 and later, and
the stream of pickles of earlier versions. A tensor is a view of a storage; after the pickle is
read, every view is checked against the bytes of its storage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
import io
import math
from typing import Any, BinaryIO
import zipfile

import numpy as np
import safetensors
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.storage import object_store, pickles

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_BFLOAT16: np.dtype = np.dtype(tf.bfloat16.as_numpy_dtype)
_DTYPES: dict[str, np.dtype] = {
    'FloatStorage': np.dtype('<f4'),
    'DoubleStorage': np.dtype('<f8'),
    'HalfStorage': np.dtype('<f2'),
    'BFloat16Storage': _BFLOAT16,
    'LongStorage': np.dtype('<i8'),
    'IntStorage': np.dtype('<i4'),
    'ShortStorage': np.dtype('<i2'),
    'CharStorage': np.dtype('i1'),
    'ByteStorage': np.dtype('u1'),
    'BoolStorage': np.dtype('?'),
}
_SAFETENSORS_DTYPES: dict[str, np.dtype] = {
    'F32': np.dtype('<f4'),
    'F64': np.dtype('<f8'),
    'F16': np.dtype('<f2'),
    'BF16': _BFLOAT16,
    'I64': np.dtype('<i8'),
    'I32': np.dtype('<i4'),
    'I16': np.dtype('<i2'),
    'I8': np.dtype('i1'),
    'U8': np.dtype('u1'),
    'BOOL': np.dtype('?'),
}
# More arrays, or deeper dictionaries, than any checkpoint has: beyond it refers to itself.
_MOST_ARRAYS = 1_000_000
_DEEPEST = 100
# A zip archive that unpacks to more times its own size was made to fill the memory.
_MOST_EXPANSION = 20


def read_checkpoint(path: str) -> dict[str, np.ndarray]:
    """Read every array of a checkpoint.

    Args:
      path: a file written by `torch.save` or in the format safetensors, on any file system that
        TensorFlow knows.

    Returns:
      The arrays by name; those of nested dictionaries by the names joined with dots
      ('model.encoder.model.conv1.weight').

    Raises:
      errors.UserError: the file cannot be read, is damaged, is not a checkpoint, or names something
        that no checkpoint of weights needs.
    """
    try:
        contents = object_store.read(path)
    except tf.errors.OpError as error:
        raise errors.UserError(f'{path} cannot be read: {errors.one_line(error)}') from error
    try:
        arrays = dict(_read(contents))
    except pickles.Refused as refused:
        raise errors.UserError(
            f'{path} names {refused}, which no checkpoint of weights needs; it was not run. Save '
            'the state dictionary alone: torch.save(model.state_dict(), file).'
        ) from refused
    # A damaged pickle may fail anywhere in its interpreter.
    except Exception as error:
        raise errors.UserError(
            f'{path} is not a PyTorch checkpoint, or is damaged: {errors.one_line(error)}'
        ) from error
    if not arrays:
        raise errors.UserError(f'{path} holds no arrays.')
    return arrays


def _read(contents: bytes) -> Iterator[tuple[str, np.ndarray]]:
    if _is_safetensors(contents):
        return _read_safetensors(contents)
    file = io.BytesIO(contents)
    read = _read_zip if zipfile.is_zipfile(file) else _read_legacy
    file.seek(0)
    return _arrays(read(file))


def _is_safetensors(contents: bytes) -> bool:
    """Return whether a header in JSON follows the 8 bytes of its length."""
    length = int.from_bytes(contents[:8], 'little')
    return contents[8:9] == b'{' and length <= len(contents) - 8


def _read_safetensors(contents: bytes) -> Iterator[tuple[str, np.ndarray]]:
    tensors: list[tuple[str, dict[str, Any]]] = safetensors.deserialize(contents)
    for name, tensor in tensors:
        dtype = _SAFETENSORS_DTYPES.get(tensor['dtype'])
        if dtype is None:
            raise ValueError(f'{name} has the type {tensor["dtype"]}, which is not read here')
        yield name, np.frombuffer(tensor['data'], dtype).reshape(tensor['shape'])


class _StorageType(pickles.Opaque):
    __slots__ = ('dtype',)

    def __init__(self, dtype: np.dtype):
        self.dtype = dtype


class _Storage(pickles.Opaque):
    """The numbers that tensors view; read after the pickle in the older format."""

    __slots__ = ('dtype', 'count', 'numbers')

    def __init__(self, dtype: np.dtype, count: int):
        if type(count) is not int or count < 0:
            raise ValueError(f'a storage of {count!r} numbers')
        self.dtype, self.count = dtype, count
        self.numbers = np.empty(0, dtype)

    def fill(self, contents: bytes) -> None:
        """Take the numbers from bytes, of which there may be more."""
        if self.count:
            self.numbers = np.frombuffer(contents, self.dtype, self.count)


class _Tensor(pickles.Opaque):
    """A view of a storage, as `torch._utils._rebuild_tensor_v2` makes it.

    Args:
      storage: what it views.
      offset: of the first number, in numbers.
      size: of each axis.
      stride: of each axis, in numbers.
    """

    __slots__ = ('_storage', '_offset', '_size', '_stride')

    def __init__(self, storage: Any, offset: Any, size: Any, stride: Any):
        if not isinstance(storage, _Storage):
            raise ValueError('a tensor whose storage is not a storage')
        if not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride):
            raise ValueError(f'a tensor of size {size} and stride {stride}')
        if any(type(number) is not int or number < 0 for number in (offset, *size, *stride)):
            raise ValueError(f'a tensor of size {size} and stride {stride} from {offset} on')
        self._storage, self._offset, self._size, self._stride = storage, offset, size, stride

    def array(self) -> np.ndarray:
        """Return the view; raise ValueError if it reaches beyond the bytes of its storage."""
        numbers = self._storage.numbers
        if 0 in self._size:
            return np.empty(0, numbers.dtype).reshape(self._size)
        extent = 1 + sum((n - 1) * step for n, step in zip(self._size, self._stride))
        # A view that repeats numbers may have any size; no checkpoint holds one.
        if self._offset + extent > numbers.size or math.prod(self._size) > numbers.size:
            raise ValueError(
                f'a tensor of size {self._size} and stride {self._stride} reaches beyond its '
                f'storage of {numbers.size} numbers'
            )
        strides = [step * numbers.itemsize for step in self._stride]
        return np.lib.stride_tricks.as_strided(
            numbers[self._offset :], self._size, strides, writeable=False
        )


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, size, stride)


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


class _Dictionary(dict):
    """Stands for OrderedDict; PyTorch gives those of weights attributes, which are not needed."""

    def __setstate__(self, state: Any) -> None:
        del state


def _known_globals() -> dict[tuple[str, str], Any]:
    known: dict[tuple[str, str], Any] = {
        ('collections', 'OrderedDict'): _Dictionary,
        ('collections', 'Counter'): pickles.Inert,  # milestones of a learning rate schedule
        ('torch', 'Size'): tuple,
        ('torch._utils', '_rebuild_tensor'): pickles.Function(_tensor),  # before PyTorch 0.4
        ('torch._utils', '_rebuild_tensor_v2'): pickles.Function(_tensor),
        ('torch._utils', '_rebuild_parameter'): pickles.Function(_parameter),
        ('argparse', 'Namespace'): pickles.Inert,  # the command line that CRW saves
        ('torch', 'device'): pickles.Inert,
    }
    known.update({('torch', name): _StorageType(dtype) for name, dtype in _DTYPES.items()})
    return {**pickles.PLAIN, **known}


class _Unpickler(pickles.Unpickler):
    """Builds dictionaries, numbers and tensors, and refuses the rest."""

    def __init__(
        self, file: BinaryIO, storage: Callable[[np.dtype, str, int], _Storage] | None = None
    ):
        super().__init__(file, _known_globals(), encoding='utf-8')
        self._storage = storage

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the storage that a reference names."""
        kind, storage_type, key, _, count, *view = pid
        if kind != 'storage' or any(view) or self._storage is None:
            raise ValueError(f'a reference to {kind!r} that is not a plain storage')
        if not isinstance(storage_type, _StorageType):
            raise ValueError('a storage without a type of numbers')
        return self._storage(storage_type.dtype, str(key), count)


def _read_zip(file: BinaryIO) -> Any:
    """Read PyTorch 1.6 and later: an archive of a pickle and one file per storage."""
    with zipfile.ZipFile(file) as archive:
        folder = _checked_folder(archive, file)
        storages: dict[str, _Storage] = {}

        def storage(dtype: np.dtype, key: str, count: int) -> _Storage:
            """Return a storage, which is read once."""
            if key not in storages:
                found = _Storage(dtype, count)
                contents = archive.read(f'{folder}data/{key}')
                if len(contents) < count * dtype.itemsize:
                    raise ValueError(f'storage {key} is cut short')
                found.fill(contents)
                storages[key] = found
            return storages[key]

        return _Unpickler(io.BytesIO(archive.read(f'{folder}data.pkl')), storage).load()


def _checked_folder(archive: zipfile.ZipFile, file: BinaryIO) -> str:
    """Return the folder of an archive that holds everything, with a slash."""
    names = [name for name in archive.namelist() if name.endswith('/data.pkl')]
    if len(names) != 1:
        raise ValueError('the archive has no data.pkl')
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > _MOST_EXPANSION * (file.seek(0, io.SEEK_END) + (1 << 20)):
        raise ValueError(f'the archive would unpack to {unpacked} bytes')
    folder = names[0][: -len('data.pkl')]
    byteorder = f'{folder}byteorder'
    if byteorder in archive.namelist() and archive.read(byteorder) != b'little':
        raise ValueError('it was saved on a big-endian machine')
    return folder


def _read_legacy(file: io.BytesIO) -> Any:
    """Read PyTorch before 1.6: pickles of a magic number, the rest, and keys, then the storages."""
    if _Unpickler(file).load() != _LEGACY_MAGIC:
        raise ValueError("neither of PyTorch's file formats")
    protocol, system = _Unpickler(file).load(), _Unpickler(file).load()
    if protocol != 1001 or not system['little_endian']:
        raise ValueError(f'protocol {protocol} on {system}')
    storages: dict[str, _Storage] = {}

    def storage(dtype: np.dtype, key: str, count: int) -> _Storage:
        return storages.setdefault(key, _Storage(dtype, count))

    root = _Unpickler(file, storage).load()
    # In this format the numbers follow the pickles that refer to them.
    for key in _Unpickler(file).load():
        found = storages[key]
        if int.from_bytes(file.read(8), 'little') != found.count:
            raise ValueError(f'storage {key} has another size than announced')
        found.fill(file.read(found.count * found.dtype.itemsize))
    return root


def _arrays(root: Any) -> Iterator[tuple[str, np.ndarray]]:
    for number, (name, tensor) in enumerate(_tensors(root)):
        if number >= _MOST_ARRAYS:
            raise ValueError(f'more than {_MOST_ARRAYS} arrays')
        yield name, tensor.array()


def _tensors(root: Any) -> Iterator[tuple[str, _Tensor]]:
    """Yield the tensors in nested dictionaries, by the names joined with dots."""
    waiting: list[tuple[str, Any, int]] = [('', root, 0)]
    seen = 0
    while waiting:
        name, value, depth = waiting.pop()
        seen += 1
        if depth > _DEEPEST or seen > 2 * _MOST_ARRAYS:
            raise ValueError('dictionaries that hold themselves')
        if isinstance(value, _Tensor):
            yield name, value
        elif isinstance(value, Mapping):
            prefix = f'{name}.' if name else ''
            items = [(f'{prefix}{key}', item, depth + 1) for key, item in value.items()]
            waiting += reversed(items)
