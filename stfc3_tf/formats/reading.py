"""Files of other tools, recognised by their contents."""

from __future__ import annotations

from collections.abc import Callable
import io
import json
import types
from typing import Any

from stfc3_tf import errors
from stfc3_tf.formats import coco, cvat, deeplabcut, labelme, labels, sleap
from stfc3_tf.storage import state

_HDF5 = b'\x89HDF\r\n\x1a\n'
_REMEDY = 'Export it again from the tool that made it.'


def reader_of(path: str, contents: bytes) -> Callable[[tuple[int, int]], labels.Found] | None:
    """Return the reader of a file of another tool.

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
    if not _may_be_json(contents):
        return None
    try:
        found = state.parse_json(contents, dict, path, _REMEDY)
    except errors.UserError:
        if _tool_of(_json_of(contents)) is None:
            return None
        raise
    tool = _tool_of(found)
    return None if tool is None else lambda size: tool.read(path, found, size)


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


def _may_be_json(contents: bytes) -> bool:
    return contents.lstrip(b'\xef\xbb\xbf \t\r\n').startswith(b'{')


def _tool_of(found: Any) -> types.ModuleType | None:
    """Return the module of the tool that wrote JSON of this form."""
    return next((each for each in (labelme, coco) if each.recognised(found)), None)


def _json_of(contents: bytes) -> Any:
    """Return what JSON holds, without any checks; None if it is not JSON."""
    if not _may_be_json(contents):
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
