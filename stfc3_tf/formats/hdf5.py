"""Values of HDF5 files of strangers, read by h5py."""

from __future__ import annotations

from typing import Any

import numpy as np

# More than compression saves.
_MOST_SAVED = 1100


def values(dataset: Any) -> np.ndarray:
    """Return an array.

    Args:
      dataset: an h5py.Dataset.

    Raises:
      ValueError: it has more values than the file can hold, or other ones than numbers and texts.
    """
    there = dataset.file.id.get_filesize()
    size = dataset.size * dataset.dtype.itemsize
    if dataset.id.get_storage_size() > there or size > _MOST_SAVED * there:
        raise ValueError(f'an array of {dataset.size:,} values in a file of {there:,} bytes')
    if dataset.dtype.hasobject:
        raise ValueError('an array of objects')
    return np.asarray(dataset[()])


def texts(dataset: Any) -> list[str]:
    """Return the texts of a dataset, or its numbers as texts; they may be of any length."""
    if dataset.dtype.hasobject and dataset.size < 1 << 20:
        return texts_of(np.asarray(dataset[()]))
    return texts_of(values(dataset))


def texts_of(array: np.ndarray) -> list[str]:
    """Return the texts of an array, or its numbers as texts."""
    return [text(each) for each in array.ravel().tolist()]


def text(value: Any) -> str:
    """Return a text, which may be stored as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)
