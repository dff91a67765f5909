"""SLEAP: points in an analysis file (.h5), or in a project (.slp). Read only.

Pixels, pixel centres at integers (before version 1.1 of the project files, pixel edges). A point
that is not visible is not labelled in its frame. From a project, the points that a person marked
are read; if there are none, the predictions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import json
from typing import Any

import numpy as np

from stfc3_tf import errors
from stfc3_tf.formats import hdf5, labels

_WHAT = 'a file of SLEAP'
_REMEDY = 'Export it again from SLEAP.'
_AXES = ['track', 'xy', 'node', 'frame']
_USER = 0


def read_analysis(path: str, file: Any) -> labels.Found:
    """Return the points of an analysis file.

    Args:
      path: of the file, for messages.
      file: an open h5py.File.

    Raises:
      errors.UserError: it is damaged.
    """
    try:
        nodes, tracks = (hdf5.texts(file[name]) for name in ('node_names', 'track_names'))
        positions = _in_order(file['tracks'])
        tracks = tracks or ['']
        if positions.shape[:3] != (len(tracks), 2, len(nodes)):
            raise ValueError(f'tracks of the shape {list(positions.shape)}')
        return labels.Found([], list(_points(positions, nodes, tracks)))
    except Exception as error:
        raise labels.unreadable(path, _WHAT, error, _REMEDY) from error


def _in_order(tracks: Any) -> np.ndarray:
    """Return positions, float64 [tracks, 2, nodes, frames]."""
    positions = hdf5.values(tracks).astype(np.float64)
    dims = tracks.attrs.get('dims')
    names = [str(name).rstrip('s') for name in json.loads(dims)] if dims else _AXES
    if sorted(names) == sorted(_AXES):
        return positions.transpose([names.index(axis) for axis in _AXES])
    return positions


def _points(
    positions: np.ndarray, nodes: Sequence[str], tracks: Sequence[str]
) -> Iterator[labels.Thing]:
    for frame in range(positions.shape[3]):
        for number, (track, each) in enumerate(zip(tracks, positions[..., frame])):
            for node, at in zip(nodes, each.T):
                if np.isfinite(at).all():
                    instance = track if len(tracks) > 1 else None
                    place = labels.Place(frame)
                    yield labels.Thing(place, node, instance, at, ('instance', number))


def read_project(path: str, file: Any) -> labels.Found:
    """Return the points of a project, see `read_analysis`."""
    try:
        metadata = json.loads(file['metadata'].attrs['json'])
        shift = 0.5 if float(file['metadata'].attrs.get('format_id', 1.0)) < 1.1 else 0.0
        nodes = [str(node['name']) for node in metadata['nodes']]
        skeleton = [nodes[node['id']] for node in metadata['skeletons'][0]['nodes']]
        frames, instances = hdf5.values(file['frames']), hdf5.values(file['instances'])
        points = {0: hdf5.values(file['points']), 1: hdf5.values(file['pred_points'])}
        tracks = _track_names(file)
    except Exception as error:
        raise labels.unreadable(path, _WHAT, error, _REMEDY) from error
    if len(np.unique(frames['video'])) > 1:
        raise errors.UserError(f'{path} is about several videos: export one of them from SLEAP.')
    kinds = instances['instance_type']
    chosen = instances[kinds == (_USER if (kinds == _USER).any() else 1)]
    numbers = {int(frame['frame_id']): int(frame['frame_idx']) for frame in frames}
    found = []
    try:
        for number, each in enumerate(chosen):
            rows = points[int(each['instance_type'])]
            rows = rows[int(each['point_id_start']) : int(each['point_id_end'])]
            place = labels.Place(numbers[int(each['frame_id'])])
            track = int(each['track'])
            instance = tracks[track] if track >= 0 else None
            for name, row in zip(skeleton, rows):
                at = np.array([row['x'], row['y']], np.float64) - shift
                if row['visible'] and np.isfinite(at).all():
                    whole = 'instance', number
                    found.append(labels.Thing(place, name, instance, at, whole))
    except Exception as error:
        raise labels.unreadable(path, _WHAT, error, _REMEDY) from error
    return labels.Found([], found)


def _track_names(file: Any) -> list[str]:
    """Return the names of the tracks of a project, which are stored as [spawned, name]."""
    return [str(json.loads(text)[1]) for text in hdf5.texts(file['tracks_json'])]
