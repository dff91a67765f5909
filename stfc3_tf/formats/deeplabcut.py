"""DeepLabCut: tracks as CSV and HDF5, with the columns scorer, bodyparts and coords.

    DEEPLABCUT/tracks.csv
    DEEPLABCUT/tracks.h5    a frame of pandas under the key df_with_missing

Pixels, pixel centres at integers; the index is the number of the frame. `likelihood` is the
confidence. A point without a position is empty.

These tables are read, and those of labels (CollectedData), whose index is the path of a picture. A
point that is empty is not labelled in its frame.

HDF5 files are written by pandas, but not read by it: they hold pickles, which can run any program
when pandas opens them, and PyTables can crash on a damaged file. Here pickles make plain values and
nothing else.
"""

from __future__ import annotations

import io
import posixpath
import tempfile
from typing import Any

import numpy as np

from stfc3_tf.formats import hdf5, labels, packages, results
from stfc3_tf.storage import pickles, text, writing

PURPOSE = 'DeepLabCut files'
_WHAT = 'a table of DeepLabCut'
_REMEDY = 'Give the CSV or H5 file that DeepLabCut wrote.'
SCORER = 'stfc3'
# As DeepLabCut itself names the tables of a video.
_KEY = 'df_with_missing'
_COORDS = ('x', 'y', 'likelihood')


def write_points(found: results.PointResults, folder: str) -> None:
    """Write tracks.csv and tracks.h5."""
    table = _table(found)
    writing.write_text(posixpath.join(folder, 'tracks.csv'), table.to_csv())
    packages.needed('tables', PURPOSE)
    with tempfile.TemporaryDirectory() as local:
        path = posixpath.join(local, 'tracks.h5')
        table.to_hdf(path, key=_KEY, format='table', mode='w')
        with open(path, 'rb') as file:
            writing.write_bytes(posixpath.join(folder, 'tracks.h5'), file.read())


def _table(found: results.PointResults) -> Any:
    """Return a pandas.DataFrame [frames, points * 3]."""
    pandas = packages.needed('pandas', PURPOSE)
    columns = pandas.MultiIndex.from_product(
        [[SCORER], list(found.names), list(_COORDS)], names=['scorer', 'bodyparts', 'coords']
    )
    frames = list(found.frames)
    rows = [np.column_stack([frame.points, frame.confidence]).ravel() for frame in frames]
    index = [frame.number for frame in frames]
    return pandas.DataFrame(np.array(rows).round(4), index=index, columns=columns)


def recognised(contents: bytes) -> bool:
    """Return whether a file is a CSV table of DeepLabCut."""
    return contents.lstrip(b'\xef\xbb\xbf').startswith((b'scorer,', b'"scorer",'))


def read_csv(path: str, contents: bytes) -> labels.Found:
    """Return what a CSV table holds; raise UserError if it is damaged."""
    pandas = packages.needed('pandas', PURPOSE)
    lines = io.StringIO(text.decode(contents, path))
    try:
        rows = pandas.read_csv(lines, header=None, dtype=str, keep_default_na=False)
        return _found(*_split(rows.to_numpy()))
    except (ValueError, LookupError) as error:
        raise labels.unreadable(path, _WHAT, error, _REMEDY) from error


def read_h5(path: str, file: Any) -> labels.Found:
    """Return what an HDF5 file holds.

    Args:
      path: of the file, for messages.
      file: an open h5py.File.

    Raises:
      errors.UserError: it is damaged.
    """
    try:
        groups = [group for group in file.values() if 'pandas_type' in group.attrs]
        if len(groups) != 1:
            raise ValueError(f'{len(groups)} tables of pandas')
        return _found(*(_of_table if 'table' in groups[0] else _of_blocks)(groups[0]))
    # h5py raises almost anything for a damaged file.
    except Exception as error:
        raise labels.unreadable(path, _WHAT, error, _REMEDY) from error


_Contents = tuple[list[str], list[str], list[tuple[str, ...]], np.ndarray]


def _of_table(group: Any) -> _Contents:
    """Return index, names of the levels, columns and values of a table in pandas' form `table`."""
    table = group['table']
    rows = hdf5.values(table)
    blocks = [name for name in rows.dtype.names if name.startswith('values_block_')]
    columns = [
        tuple(map(str, column))
        for block in blocks
        for column in _unpickled(table.attrs[f'{block}_kind'])
    ]
    values = np.concatenate([rows[block] for block in blocks], axis=1)
    names = _unpickled(group.attrs['info'])[1]['names']
    return hdf5.texts_of(rows['index']), list(map(str, names)), columns, values


def _of_blocks(group: Any) -> _Contents:
    """Return the same of a table in pandas' form `fixed`."""
    index = [_joined(each) for each in _axis(group, 'axis1')]
    names = [
        hdf5.text(group[f'axis0_level{level}'].attrs['name'])
        for level in range(int(group.attrs['axis0_nlevels']))
    ]
    blocks = range(int(group.attrs['nblocks']))
    columns = [column for block in blocks for column in _axis(group, f'block{block}_items')]
    values = [hdf5.values(group[f'block{block}_values']) for block in blocks]
    return index, names, columns, np.concatenate(values, axis=1)


def _axis(group: Any, name: str) -> list[tuple[str, ...]]:
    """Return the labels of an axis; an axis has one level or several."""
    if name in group:
        return [(label,) for label in hdf5.texts(group[name])]
    levels = [
        np.array(hdf5.texts(group[f'{name}_level{level}']))[
            hdf5.values(group[f'{name}_label{level}'])
        ]
        for level in range(int(group.attrs[f'{name}_nlevels']))
    ]
    return [tuple(map(str, labels)) for labels in zip(*levels)]


def _unpickled(contents: Any) -> Any:
    """Return the plain value that a pickle holds."""
    known = {('pandas.core.indexes.frozen', 'FrozenList'): pickles.Function(list)}
    return pickles.Unpickler(io.BytesIO(bytes(contents)), known, 'latin1').load()


def _split(cells: np.ndarray) -> _Contents:
    """Return index, names of the lines of the heading, columns and values of a table of texts."""
    first = [str(cell) for cell in cells[:5, 0]]
    head = first.index('coords') + 1
    # In labels, the index may be a path in three columns.
    indices = 1 + int(np.argmax(cells[0, 1:] != ''))
    columns = [tuple(map(str, column)) for column in cells[:head, indices:].T]
    index = [_joined(tuple(row)) for row in cells[head:, :indices]]
    values = np.where(cells[head:, indices:] == '', 'nan', cells[head:, indices:])
    return index, first[:head], columns, values.astype(np.float64)


def _joined(index: Any) -> str:
    return posixpath.join(*map(str, index)) if isinstance(index, tuple) else str(index)


def _found(
    index: list[str], names: list[str], columns: list[tuple[str, ...]], values: np.ndarray
) -> labels.Found:
    """Return the points of a table, values float64 [rows, columns]."""
    part, coords = names.index('bodyparts'), names.index('coords')
    who = names.index('individuals') if 'individuals' in names else None
    places = {
        (column[who] if who is not None else '', column[part], column[coords]): number
        for number, column in enumerate(columns)
    }
    if values.shape != (len(index), len(columns)):
        raise ValueError(f'values of the shape {list(values.shape)}')
    points = []
    for row, key in zip(values, index):
        place = labels.Place(int(key)) if key.isdecimal() else labels.Place(None, key)
        for individual, name, axis in places:
            if axis != 'x':
                continue
            at = row[[places[individual, name, axis] for axis in ('x', 'y')]]
            if np.isfinite(at).all():
                instance = individual if individual not in ('', 'single') else None
                whole = None if instance is None else ('individual', 0)
                points.append(labels.Thing(place, name, instance, at, whole))
    return labels.Found([], points)
