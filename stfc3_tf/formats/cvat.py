"""CVAT for video 1.1: an XML file with a track per object, of polygons, or per point.

Every frame is a key frame. Coordinates have pixel edges at integers: the centre of the top left
pixel is (0.5, 0.5). A track is `outside` where there is no object or position, and `occluded` where
a point is not visible. CVAT has no tracks of masks.

CVAT for video and CVAT for images are read: polygons, masks, points and skeletons. Of a track, the
key frames count; between them CVAT only interpolates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
import posixpath
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from stfc3_tf.formats import labels, packages, polygons, results
from stfc3_tf.storage import writing

PURPOSE = 'CVAT files'
_VERSION = '1.1'
_REMEDY = 'Export it again from CVAT, as "CVAT for video 1.1" or "CVAT for images 1.1".'
# How far into a file its first element stands at most.
_HEAD = 4096


def write_masks(found: results.MaskResults, path: str) -> None:
    """Write a track of polygons per object."""
    tracks = _Tracks('polygon', list(found.names.values()))
    for frame in found.frames:
        for place, number in enumerate(found.names):
            mask = frame.mask == number
            tracks.put(place, frame.number, polygons.outline(mask) if mask.any() else None)
    _write(path, found.video, tracks)


def write_points(found: results.PointResults, path: str) -> None:
    """Write a track per point."""
    tracks = _Tracks('points', found.names)
    for frame in found.frames:
        for place, (at, visible) in enumerate(zip(frame.points, frame.visible)):
            position = at[np.newaxis] + 0.5 if np.isfinite(at).all() else None
            tracks.put(place, frame.number, position, occluded=not visible)
    _write(path, found.video, tracks)


class _Tracks:
    """The tracks of a video."""

    def __init__(self, shape: str, names: Sequence[str]):
        self._shape = shape
        self.elements = [
            ElementTree.Element('track', id=str(place), label=name, source='auto')
            for place, name in enumerate(names)
        ]
        self.kinds = dict.fromkeys(names, shape)
        self.frames: list[int] = []
        self._last: dict[int, str] = {}

    def put(
        self, place: int, frame: int, vertices: np.ndarray | None, occluded: bool = False
    ) -> None:
        """Add the shape of a frame; None for a frame without it."""
        if not self.frames or self.frames[-1] != frame:
            self.frames.append(frame)
        if vertices is not None:
            self._last[place] = ';'.join(f'{x:.2f},{y:.2f}' for x, y in vertices)
        if place in self._last:
            # Before its first shape a track does not exist; a gap has the shape before it.
            ElementTree.SubElement(
                self.elements[place],
                self._shape,
                frame=str(frame),
                outside=str(int(vertices is None)),
                occluded=str(int(occluded and vertices is not None)),
                keyframe='1',
                points=self._last[place],
                z_order='0',
            )


def _write(path: str, video: results.Video, tracks: _Tracks) -> None:
    root = ElementTree.Element('annotations')
    ElementTree.SubElement(root, 'version').text = _VERSION
    root.append(_meta(video, tracks.frames, tracks.kinds))
    root.extend(track for track in tracks.elements if len(track))
    ElementTree.indent(root, ' ')
    text = ElementTree.tostring(root, encoding='utf-8', xml_declaration=True)
    writing.write_bytes(path, text + b'\n')


def _meta(
    video: results.Video, frames: Sequence[int], kinds: Mapping[str, str]
) -> ElementTree.Element:
    """Return what CVAT says of a task."""
    meta = ElementTree.Element('meta')
    task = ElementTree.SubElement(meta, 'task')
    height, width = video.size
    name = posixpath.basename(video.name.rstrip('/'))
    _texts(
        task,
        {
            'name': name,
            'size': str(len(frames)),
            'mode': 'interpolation',
            'overlap': '0',
            'start_frame': str(frames[0] if frames else 0),
            'stop_frame': str(frames[-1] if frames else 0),
        }.items(),
    )
    listed = ElementTree.SubElement(task, 'labels')
    for each, kind in kinds.items():
        label = ElementTree.SubElement(listed, 'label')
        _texts(label, [('name', each), ('type', kind), ('attributes', '')])
    size = ElementTree.SubElement(task, 'original_size')
    _texts(size, [('width', str(width)), ('height', str(height))])
    _texts(meta, [('source', name)])
    return meta


def _texts(parent: ElementTree.Element, texts: Iterable[tuple[str, str]]) -> None:
    for tag, text in texts:
        ElementTree.SubElement(parent, tag).text = text


def recognised(contents: bytes) -> bool:
    """Return whether a file is XML of CVAT."""
    head = contents[:_HEAD].lstrip(b'\xef\xbb\xbf \t\r\n')
    return head.startswith(b'<') and b'<annotations' in head


def read(path: str, contents: bytes, size: tuple[int, int]) -> labels.Found:
    """Return what a file holds.

    Args:
      path: of the file, for messages.
      contents: the XML.
      size: (height, width) of the frames.

    Raises:
      errors.UserError: it is damaged, or about pictures of another size.
    """
    reader = packages.needed('defusedxml.ElementTree', PURPOSE)
    try:
        root = reader.fromstring(contents)
        for place in ('meta/task/original_size', 'meta/job/original_size', 'meta/original_size'):
            stated = root.find(place)
            if stated is not None:
                numbers = int(stated.findtext('height', '')), int(stated.findtext('width', ''))
                labels.check_size(path, numbers, size)
        for image in root.iter('image'):
            labels.check_size(path, (int(image.attrib['height']), int(image.attrib['width'])), size)
        shapes = [*_of_tracks(root), *_of_images(root)]
        return _sorted(shapes, size, each_alone=root.find('track') is not None)
    # Damaged XML is a SyntaxError, forbidden XML a ValueError, an unknown encoding a LookupError.
    except (SyntaxError, ValueError, LookupError, OverflowError) as error:
        raise labels.unreadable(path, 'XML of CVAT', error, _REMEDY) from error


class _Shape(NamedTuple):
    """An element that is a shape, of a frame; `element` is None where it is not there."""

    place: labels.Place
    name: str
    instance: str | None
    kind: str
    element: Any
    whole: tuple[str, int] | None


def _of_tracks(root: Any) -> Iterator[_Shape]:
    for track in root.iter('track'):
        for shape in track:
            if shape.get('keyframe') != '0' and 'frame' in shape.attrib:
                place = labels.Place(int(shape.attrib['frame']))
                yield from _parts(shape, place, track.attrib['label'], track.get('id'))


def _of_images(root: Any) -> Iterator[_Shape]:
    for image in root.iter('image'):
        name = image.get('name', '')
        place = labels.Place(None if name else int(image.attrib['id']), name)
        for shape in image:
            if 'label' in shape.attrib:
                group = shape.get('group_id', '0')
                yield from _parts(
                    shape, place, shape.attrib['label'], None if group == '0' else group
                )


def _parts(
    shape: Any,
    place: labels.Place,
    name: str,
    instance: str | None,
    whole: tuple[str, int] | None = None,
) -> Iterator[_Shape]:
    """Yield a shape; of a skeleton, its points.

    Args:
      shape: an element of the file.
      place: where it is.
      name: of the shape.
      instance: see `labels.Thing`.
      whole: see `labels.Thing`.
    """
    if shape.tag == 'skeleton':
        for point in shape.iter('points'):
            name_of_point = point.attrib['label']
            yield from _parts(point, place, name_of_point, instance, (name, id(shape)))
    else:
        there = shape.get('outside') != '1'
        yield _Shape(place, name, instance, shape.tag, shape if there else None, whole)


def _sorted(shapes: Sequence[_Shape], size: tuple[int, int], each_alone: bool) -> labels.Found:
    """Return shapes as objects and points."""
    objects, points, others = [], [], []
    for place, name, instance, kind, element, whole in shapes:
        if kind == 'points':
            for each, at in _positions(name, element):
                points.append(labels.Thing(place, each, instance, at, whole))
        elif kind in ('polygon', 'mask'):
            mask = None if element is None else _mask(element, size)
            objects.append(labels.Thing(place, name, instance, mask))
        else:
            others.append(kind)
    return labels.Found(objects, points, others, each_alone)


def _positions(name: str, element: Any) -> Iterator[tuple[str, np.ndarray | None]]:
    """Yield names and positions; several points of one shape are numbered."""
    if element is None:
        yield name, None
        return
    found = _vertices(element) - 0.5
    for number, at in enumerate(found, 1):
        yield (name if len(found) == 1 else f'{name} {number}'), at


def _mask(element: Any, size: tuple[int, int]) -> np.ndarray:
    if element.tag == 'polygon':
        return polygons.fill([_vertices(element)], size)
    left, top, width, height = (
        int(float(element.attrib[key])) for key in ('left', 'top', 'width', 'height')
    )
    if min(left, top) < 0 or left + width > size[1] or top + height > size[0]:
        raise ValueError('a mask outside the frame')
    runs = np.array([int(run) for run in element.attrib['rle'].split(',')])
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = polygons.from_runs(runs, (height, width))
    return mask


def _vertices(element: Any) -> np.ndarray:
    """Return float64 [vertices, 2]."""
    pairs = [pair.split(',') for pair in element.attrib['points'].split(';')]
    found = np.array([[float(x), float(y)] for x, y in pairs])
    if not np.isfinite(found).all():
        raise ValueError('a position that is not finite')
    return found
