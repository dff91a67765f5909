"""Files of other tools, recognised by their contents."""

from __future__ import annotations

from collections.abc import Callable
import io
import json
from typing import Any

from stfc3_tf import errors
from stfc3_tf.formats import coco, cvat, deeplabcut, labelme, labels, sleap
from stfc3_tf.storage import state

_HDF5 = b'\x89HDF\r\n\x1a\n'
_REMEDY = 'Export it again from the tool that made it.'


def reader_of(path: str, contents: bytes) -> Callable[[tuple[int, int]], labels.Found] | None:
    """Return what reads a file of another tool.

    Args:
      path: of the file, for messages.
      contents: of the file.

    Returns:
      A function that gets (height, width) of the frames and returns what the file holds; None if
      the file is of none of these tools.
    """
    if contents.startswith(_HDF5):
        return lambda size: _read_hdf5(path, contents)
    if cvat.recognised(contents):
        return lambda size: cvat.read(path, contents, size)
    if deeplabcut.recognised(contents):
        return lambda size: deeplabcut.read_csv(path, contents)
    found = _json_of(contents)
    tool = next((each for each in (labelme, coco) if each.recognised(found)), None)
    if tool is None:
        return None
    # Once more, with checks of its numbers and depth.
    checked = state.parse_json(contents, dict, path, _REMEDY)
    read = tool.read
    return lambda size: read(path, checked, size)


def holds_objects(contents: bytes) -> bool:
    """Return whether a file of another tool holds polygons or masks; False for other files."""
    if cvat.recognised(contents):
        return b'<polygon' in contents or b'<mask' in contents
    found = _json_of(contents)
    if labelme.recognised(found):
        return any(shape.get('shape_type', 'polygon') != 'point' for shape in found['shapes'])
    if coco.recognised(found):
        listed = [each for each in found['annotations'] if isinstance(each, dict)]
        return any(each.get('segmentation') or each.get('segmentations') for each in listed)
    return False


def _json_of(contents: bytes) -> Any:
    """Return what JSON holds; None if it is not JSON."""
    if not contents.lstrip(b'\xef\xbb\xbf \t\r\n').startswith(b'{'):
        return None
    try:
        return json.loads(contents)
    except (ValueError, RecursionError):
        return None


def _read_hdf5(path: str, contents: bytes) -> labels.Found:
    import h5py

    try:
        with h5py.File(io.BytesIO(contents)) as file:
            names = set(file)
            if {'tracks', 'node_names'} <= names:
                return sleap.read_analysis(path, file)
            if {'metadata', 'instances', 'frames'} <= names:
                return sleap.read_project(path, file)
            return deeplabcut.read_h5(path, file)
    except errors.UserError:
        raise
    # A damaged file raises almost anything.
    except Exception as error:
        raise labels.unreadable(path, 'HDF5', error, _REMEDY) from error
