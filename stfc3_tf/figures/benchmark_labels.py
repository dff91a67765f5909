"""Masks and points of a video's frames, as benchmarks keep them and as predictions are written."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.benchmarks import badja, faces, files

# A mask, uint8 [height, width] of object numbers, or points, float [points, 2], (x, y) in 0-based
# pixels of the frame, NaN where there is none.
Labels = dict[str, np.ndarray]

_FORMATS = (
    'a folder of .png masks (DAVIS) or .pts landmarks (300VW), joint_positions.mat or '
    'puppet_mask.mat (J-HMDB), or joint annotations in .json (BADJA)'
)
VOID = 255
_PUPPET_MASK = 'puppet_mask'


def read_labels(path: str, frame_names: Sequence[str], size: tuple[int, int]) -> Labels:
    """Reads the labels of a video, true or predicted.

    Args:
      path: one of the formats above.
      frame_names: of all frames of the video. Masks and BADJA's joints belong to frames by name,
        masks that are not all named as frames are, but 000000, 000001, ..., by number, as do the others.
      size: (height, width) of the frames.

    Returns:
      Label by frame name, for the frames that have one.

    Raises:
      errors.UserError: another format, a file that cannot be read, or a mask of another size.
    """
    ending = posixpath.splitext(path)[1]
    if tf.io.gfile.isdir(path):
        labels = _of_folder(path, frame_names)
    elif ending == '.mat':
        labels = dict(zip(frame_names, _of_mat(path)))
    elif ending == '.json':
        labels = _of_badja(path, size)
    else:
        raise errors.UserError(f'{path}: expected {_FORMATS}.')
    return {name: _checked(f'{path}: frame {name}', label, size) for name, label in labels.items()}


def _checked(where: str, label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask of the right size; points without those outside the frame, which nobody can see."""
    if label.dtype == np.uint8:
        files.check_size(where, label.shape, size)
        return label
    inside = np.all((label >= 0) & (label <= np.array(size[::-1]) - 1), axis=-1, keepdims=True)
    return np.where(inside, label, np.nan)


def _of_folder(path: str, frame_names: Sequence[str]) -> Labels:
    landmarks = [name for name in tf.io.gfile.listdir(path) if name.endswith('.pts')]
    if landmarks:
        numbered = {files.stem(name): posixpath.join(path, name) for name in landmarks}
        numbers = {f'{number:06d}': name for number, name in enumerate(frame_names, 1)}
        return {
            name: faces.read_landmarks(numbered[number])
            for number, name in numbers.items()
            if number in numbered
        }
    found = {files.stem(file): file for file in files.list_files(path, ('.png',), _FORMATS)}
    known = {name: name for name in frame_names}
    if not found.keys() <= known.keys():
        # By number, all of them: frame 000001 may be the first of its folder, mask 000001 the second.
        by_number = {f'{number:06d}': name for number, name in enumerate(frame_names)}
        known = by_number if found.keys() <= by_number.keys() else {**by_number, **known}
    masks = {known[s]: files.read_index_mask(file) for s, file in found.items() if s in known}
    return _without_void(masks)


def _without_void(masks: Labels) -> Labels:
    """Where 255 is the only number it is the object (DAVIS-2016), else void (DAVIS-2017)."""
    numbers = set().union(*(np.unique(mask).tolist() for mask in masks.values()))
    if numbers <= {0, VOID}:
        return {name: (mask > 0).astype(np.uint8) for name, mask in masks.items()}
    return masks


def _of_mat(path: str) -> np.ndarray:
    """Joints, float [time, joints, 2], or masks, uint8 [time, height, width]."""
    if files.stem(path) == _PUPPET_MASK:
        return (np.moveaxis(files.read_mat(path, 'part_mask', 3), -1, 0) > 0).astype(np.uint8)
    return np.moveaxis(files.read_mat(path, 'pos_img', 3).astype(np.float64), (0, 1), (2, 1)) - 1


def _of_badja(path: str, size: tuple[int, int]) -> Labels:
    contents = files.read_bytes(path)
    try:
        return {
            files.stem(entry['image_path']): _scaled(entry, size) for entry in json.loads(contents)
        }
    except (ValueError, TypeError, KeyError) as error:
        raise errors.UserError(f'{path} is not a BADJA annotation: {error!r}') from error


def _scaled(entry, size: tuple[int, int]) -> np.ndarray:
    """The visible joints of an annotation, which refers to frames in full resolution."""
    scale = np.divide(size, badja.Badja.full_size)
    joints = np.array(entry['joints'], np.float64) * scale
    return np.where(np.array(entry['visibility'], bool)[:, np.newaxis], joints[:, ::-1], np.nan)
