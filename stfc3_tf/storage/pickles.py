"""One reader of pickles for all formats; it runs nothing that a pickle names.

A pickle is a program: it may call any function by name. The reader here looks each name up in a
table of harmless stand-ins and refuses every other name. The stand-ins are Python code: a pickle
never reaches NumPy's own functions for pickles, which trust the file about types and addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import io
import math
import pickle
import struct
from typing import Any, BinaryIO, ClassVar, NoReturn

import numpy as np

# Booleans, numbers, bytes and text. Not objects, whose bytes are addresses; nor fields.
_KINDS = frozenset('biufcSU')
# All values together may take this many times the bytes of the file: one value may be copied often.
_MOST_COPIES = 16
_LEAST_LIMIT = 1 << 20
# The instructions that call something, or change what it made.
_CALLS = (
    *(pickle.REDUCE, pickle.BUILD, pickle.OBJ, pickle.INST),
    *(pickle.NEWOBJ, pickle.NEWOBJ_EX),
)
# The most axes of an array in every version of NumPy.
_MOST_AXES = 32


class Refused(Exception):
    """A pickle names something that it may not name."""


class Opaque:
    """A value that a pickle cannot change once it is made."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> NoReturn:
        raise pickle.UnpicklingError(f'it changes a {type(self).__name__}')


class Function(Opaque):
    """Stands for a function: a pickle can call it, but not set its attributes."""

    __slots__ = ('_function',)

    def __init__(self, function: Callable[..., Any]):
        self._function = function

    def __call__(self, *args: Any) -> Any:
        """Return what the function makes of the arguments."""
        return self._function(*args)


class Inert:
    """Stands for a value that is not needed: takes any arguments and state, and does nothing."""

    def __init__(self, *args: Any, **kwargs: Any):
        del args, kwargs

    def __setstate__(self, state: Any) -> None:
        del state


def _counting(load: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return the function of an instruction that also counts the memory of what it made."""

    def load_and_count(unpickler: Any) -> None:
        load(unpickler)
        unpickler.count(unpickler.stack[-1])

    return load_and_count


def _bytes_of(value: Any) -> int:
    """Return about how many bytes a value takes that a call may have copied."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, (bytes, bytearray, str)):
        return len(value)
    return 8 * len(value) if isinstance(value, (tuple, list)) else 0


# The C version allocates as much memory as a damaged pickle asks for; the Python version does not.
class Unpickler(pickle._Unpickler):
    """Builds plain values, with stand-ins for the names in the pickle.

    Args:
      file: the pickle. Its `read` must not allocate more than there is.
      known: maps (module, name) to the stand-in.
      encoding: of text that Python 2 wrote.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def __init__(
        self, file: BinaryIO, known: Mapping[tuple[str, str], Any], encoding: str = 'ASCII'
    ):
        super().__init__(file, encoding=encoding)
        self._known = known
        here = file.tell()
        self._left = _MOST_COPIES * file.seek(0, io.SEEK_END) + _LEAST_LIMIT
        file.seek(here)

    def count(self, value: Any) -> None:
        """Count the memory of a value; raise `UnpicklingError` if all together take too much."""
        self._left -= _bytes_of(value)
        if self._left < 0:
            raise pickle.UnpicklingError('it copies its values until they fill the memory')

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a name; raise `Refused` if there is none."""
        try:
            return self._known[module, name]
        except (KeyError, TypeError):
            raise Refused(f'{module}.{name}') from None

    def _load_bytearray(self: Any) -> None:
        (size,) = struct.unpack('<Q', self.read(8))
        self.append(bytearray(self.read(size)))

    dispatch[pickle.BYTEARRAY8[0]] = _load_bytearray
    for _code in _CALLS:
        dispatch[_code[0]] = _counting(dispatch[_code[0]])


# Bytes that are read at a time.
_PIECE = 1 << 20


class Bounded(io.BufferedReader):
    """Reads a file, and allocates no more memory than the file is long."""

    def __init__(self, raw: io.RawIOBase):
        super().__init__(raw, _PIECE)
        self._size = self.seek(0, io.SEEK_END)
        self.seek(0)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next `size` bytes, or those that are left."""
        return super().read(min(self._size if size is None or size < 0 else size, self._size))


class _Dtype:
    """Stands for numpy.dtype: holds a plain type of numbers or text."""

    __slots__ = ('dtype',)

    def __init__(self, code: str, *_: Any):
        dtype = np.dtype(str(code))
        if dtype.kind not in _KINDS:
            raise Refused(f'the type {code!r}, whose bytes are not plain numbers or text')
        self.dtype = dtype

    def __setstate__(self, state: tuple) -> None:
        _, order, shape, names, fields, *_ = state
        if shape is not None or names is not None or fields is not None:
            raise Refused('a type with fields')
        self.dtype = self.dtype.newbyteorder(order)


class _Array(np.ndarray):
    """An array whose state is checked before NumPy gets it."""

    def __setstate__(self, state: tuple) -> None:  # type: ignore[override]
        _, shape, dtype, by_columns, data = state
        _check_extent(shape, dtype, data)
        super().__setstate__((1, shape, dtype.dtype, bool(by_columns), data))


def _check_extent(shape: Any, dtype: Any, data: Any) -> None:
    """Raise ValueError unless `data` has exactly the bytes that shape and type ask for."""
    if not isinstance(dtype, _Dtype) or not isinstance(data, (bytes, bytearray)):
        raise ValueError('an array without type or bytes')
    if not isinstance(shape, tuple) or len(shape) > _MOST_AXES:
        raise ValueError(f'an array of shape {shape!r}')
    if not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError(f'an array of shape {shape!r}')
    if math.prod(shape) * dtype.dtype.itemsize != len(data):
        raise ValueError(f'an array of {dtype.dtype} {shape} in {len(data)} bytes')


def _reconstruct(*_: Any) -> np.ndarray:
    """Stand for NumPy's function of that name: an empty array that waits for its state."""
    return np.ndarray.__new__(_Array, (0,), np.int8)


def _scalar(dtype: Any, data: Any = b'') -> Any:
    _check_extent((), dtype, data)
    return np.frombuffer(data, dtype.dtype)[0]


def _frombuffer(
    data: Any, dtype: Any, shape: Any, order: str = 'C', axes: tuple[int, ...] | None = None
) -> np.ndarray:
    """Stand for NumPy's function of that name, which protocol 5 uses."""
    _check_extent(shape, dtype, data)
    flat = np.frombuffer(data, dtype.dtype) if data else np.empty(0, dtype.dtype)
    if order == 'K':
        return flat.reshape(shape).transpose(axes)
    return flat.reshape(shape, order='F' if order == 'F' else 'C')


def _encode(text: Any, encoding: Any = None) -> bytes:
    """Return bytes, which protocols before 3 write as text."""
    if encoding != 'latin1' or not isinstance(text, str):
        raise Refused(f'the encoding {encoding!r}')
    return text.encode('latin1')


def _no_bytes() -> bytes:
    """Return empty bytes, which protocols before 3 write as a call."""
    return b''


def _plain_globals() -> dict[tuple[str, str], Any]:
    known: dict[tuple[str, str], Any] = {
        ('numpy', 'ndarray'): Inert,  # only the first argument of _reconstruct
        ('numpy', 'dtype'): _Dtype,
        ('_codecs', 'encode'): Function(_encode),
        ('__builtin__', 'bytes'): Function(_no_bytes),
    }
    functions: dict[str, Callable[..., Any]] = {
        'multiarray._reconstruct': _reconstruct,
        'multiarray.scalar': _scalar,
        'numeric._frombuffer': _frombuffer,
    }
    for path, function in functions.items():
        module, name = path.split('.')
        for core in ('core', '_core'):  # NumPy 2 renamed the folder
            known[f'numpy.{core}.{module}', name] = Function(function)
    return known


PLAIN = _plain_globals()


def load_plain(file: BinaryIO) -> Any:
    """Read a pickle of arrays, numbers, text, bytes, lists, tuples and dictionaries.

    Raises:
      Refused: it names anything else, or an array has a type with objects or fields.
      Exception: of nearly any kind: the pickle is damaged.
    """
    return Unpickler(file, PLAIN).load()
