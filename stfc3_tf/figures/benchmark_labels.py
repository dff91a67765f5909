"""The reader of masks and points of a video, from data sets or predictions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
import posixpath
import re
from typing import Any

import numpy as np
import tensorflow as tf
from typing_extensions import TypedDict

from stfc3_tf import errors
from stfc3_tf.benchmarks import badja, frame_checks, vw300
from stfc3_tf.storage import files, frame_names, images, palette

# For each name of a frame a mask, uint8 [height, width] of object numbers, or points,
# float [points, 2], (x, y) in 0-based pixels of the frame, NaN for a missing point.
Labels = dict[str, np.ndarray]

_FORMATS = (
    'a folder of .png masks (DAVIS) or .pts landmarks (300VW), joint_positions.mat or '
    'puppet_mask.mat (J-HMDB), joint annotations in .json (BADJA), or the folder or tracks.json of '
    'tools.propagate'
)
# Points that tools.propagate writes.
_TRACKS = 'tracks.json'
_PUPPET_MASK = 'puppet_mask'


def read_labels(path: str, names: Sequence[str], size: tuple[int, int]) -> Labels:
    """Read the labels of a video, true or predicted.

    Masks and BADJA's joints belong to the frames of the same name. Masks with other names, such as
    000043, belong to the frames with these numbers in their names, or else to the frames at these
    places, counted from 0; so do the points of tracks.json. The other formats belong to frames by
    their places.

    Args:
      path: a folder of .png masks (DAVIS, or one written by `tools.propagate`) or .pts landmarks
        (300VW), joint_positions.mat or puppet_mask.mat (J-HMDB), joint annotations in .json
        (BADJA), or tracks.json of `tools.propagate` or the folder that holds it.
      names: of all frames of the video, in order.
      size: (height, width) of the frames.

    Returns:
      The labels by the names of their frames.

    Raises:
      errors.UserError: another format, a file that cannot be read, or a mask of another size.
    """
    ending = posixpath.splitext(path)[1]
    if tf.io.gfile.isdir(path):
        labels = _of_folder(path, names)
    elif posixpath.basename(path) == _TRACKS:
        labels = _of_tracks(path, names)
    elif ending == '.mat':
        labels = dict(zip(names, _of_mat(path)))
    elif ending == '.json':
        labels = _of_badja(path, size)
    else:
        raise errors.UserError(f'{path}: expected {_FORMATS}.')
    return {name: _checked(f'{path}: frame {name}', label, size) for name, label in labels.items()}


def _checked(where: str, label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a mask of the right size, or points with NaN for those outside the frame."""
    if label.dtype == np.uint8:
        frame_checks.check_size(where, images.size_of(label), size)
        return label
    inside = np.all((label >= 0) & (label <= np.array(size[::-1]) - 1), axis=-1, keepdims=True)
    return np.where(inside, label, np.nan)


def _of_folder(path: str, names: Sequence[str]) -> Labels:
    there = files.names_in(path)
    if 'masks' in there:
        return _of_folder(posixpath.join(path, 'masks'), names)
    if _TRACKS in there and not any(name.endswith('.png') for name in there):
        return _of_tracks(posixpath.join(path, _TRACKS), names)
    landmarks = [name for name in there if name.endswith('.pts')]
    if landmarks:
        return _of_landmarks(path, landmarks, names)
    found = {files.stem(file): file for file in files.list_files(path, ('.png',), _FORMATS)}
    known = _frames_by_label(found.keys(), names)
    masks = {known[s]: images.read_index_mask(file) for s, file in found.items() if s in known}
    return _without_void(masks)


class _TrackPoint(TypedDict):
    """A point of tracks.json; without a position where it has no label left."""

    x: float | None
    y: float | None


class _TrackFrame(TypedDict):
    """A frame of tracks.json: its number, and all points of the video in one order."""

    frame: int
    points: list[_TrackPoint]


class _Tracks(TypedDict):
    """The parts of tracks.json that are drawn."""

    frames: list[_TrackFrame]


def _of_tracks(path: str, names: Sequence[str]) -> Labels:
    tracks = files.read_json(path, _Tracks, 'Expected tracks.json of tools.propagate.')
    found = {
        f'{entry["frame"]:06d}': np.array([(p['x'], p['y']) for p in entry['points']], np.float64)
        for entry in tracks['frames']
    }
    known = _frames_by_label(found.keys(), names)
    return {known[label]: points for label, points in found.items() if label in known}


def _of_landmarks(path: str, landmarks: Sequence[str], names: Sequence[str]) -> Labels:
    numbered = vw300.by_number([posixpath.join(path, file) for file in landmarks])
    return {
        name: vw300.read_landmarks(numbered[number])
        for number, name in enumerate(names, 1)
        if number in numbered
    }


def _frames_by_label(labels: Collection[str], names: Sequence[str]) -> dict[str, str]:
    """Return the frame of each label: by its name, its number or its place, whichever fits most.

    Masks 000000, 000001, … may lie beside the frames 000001, 000002, …: there, all places fit.
    """
    known = set(names)
    # Beside masks of other names, numbers alone are clear.
    alone = {label: int(label) for label in labels if re.fullmatch('[0-9]{1,9}', label)}
    numbers = dict(zip(labels, _numbers(labels))) or alone
    ways = [{label: label for label in labels if label in known}]
    for each in (_numbers(names), range(len(names))):
        frames = dict(zip(each, names))
        ways.append({label: frames[n] for label, n in numbers.items() if n in frames})
    return max(ways, key=len)


def _numbers(names: Collection[str]) -> list[int]:
    """Return the numbers in names; [] where it is not clear which ones they are."""
    return frame_names.numbers([f'{name}.png' for name in names]) or []


def _without_void(masks: Labels) -> Labels:
    """Return masks in which 255 is void, or is the object if there is no other (DAVIS-2016)."""
    numbers: set[int] = set().union(*(np.unique(mask).tolist() for mask in masks.values()))
    if numbers <= {0, palette.VOID}:
        return {name: (mask > 0).astype(np.uint8) for name, mask in masks.items()}
    return masks


def _of_mat(path: str) -> np.ndarray:
    """Return joints, float [time, joints, 2], or masks, uint8 [time, height, width]."""
    if files.stem(path) == _PUPPET_MASK:
        return (np.moveaxis(files.read_mat(path, 'part_mask', 3), -1, 0) > 0).astype(np.uint8)
    return np.moveaxis(files.read_mat(path, 'pos_img', 3).astype(np.float64), (0, 1), (2, 1)) - 1


class _Entry(TypedDict):
    """An annotated frame: joints as (row, column), and which of them are visible."""

    image_path: str
    joints: list[tuple[float, float]]
    visibility: list[bool]


def _of_badja(path: str, size: tuple[int, int]) -> Labels:
    entries = files.read_json(path, list[_Entry], 'Expected an annotation of BADJA.')
    try:
        return {files.stem(entry['image_path']): _scaled(entry, size) for entry in entries}
    except ValueError as error:
        raise errors.UserError(f'{path} is not a BADJA annotation: {error}') from error


def _scaled(entry: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    """Return the visible joints; annotations refer to frames in full resolution."""
    scale = np.divide(size, badja.Badja.full_size)
    joints = np.array(entry['joints'], np.float64) * scale
    return np.where(np.array(entry['visibility'], bool)[:, np.newaxis], joints[:, ::-1], np.nan)
