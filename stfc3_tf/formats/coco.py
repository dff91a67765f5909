"""COCO: instances and key points of every picture, and objects of the video as in YouTube-VIS.

    COCO/instances.json   each object in each frame as run lengths, with its track_id
    COCO/video.json       each object with its run lengths in all frames, null where it is not
    COCO/keypoints.json   the points of each frame as one set of key points

Boxes are x, y, width, height with pixel edges at integers. Key points are x, y, v with pixel
centres at integers; v is 2 (visible), 1 (occluded) or 0 (without a position).

These three are read, with polygons or run lengths, and files of other tools that are like them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import json
import posixpath
from typing import Any, Union

import numpy as np
from typing_extensions import NotRequired, TypedDict

from stfc3_tf import errors
from stfc3_tf.formats import labels, packages, polygons, results
from stfc3_tf.storage import state, writing

PURPOSE = 'COCO files'
_REMEDY = 'Export it again from the tool that made it.'
# What different tools call the number of an object that continues through the pictures.
_INSTANCES = ('track_id', 'instance_id', 'object_id')


def write_masks(found: results.MaskResults, folder: str) -> None:
    """Write instances.json and video.json."""
    height, width = found.video.size
    categories = [{'id': number, 'name': name} for number, name in found.names.items()]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    tracks: list[dict[int, dict[str, Any]]] = [{} for _ in found.names]
    for place, frame in enumerate(found.frames):
        images.append(_image(found.video, place, frame))
        for track, number, mask in results.objects_of(frame, found):
            region = encoded(mask)
            tracks[track][place] = region
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': place + 1,
                    'category_id': number,
                    'track_id': number,
                    **region,
                    'iscrowd': 0,
                    'score': round(frame.confidence.get(number, 0.0), 4),
                }
            )
    _write(folder, 'instances.json', images, annotations, categories)
    video = {
        'id': 1,
        'name': found.video.name,
        'height': height,
        'width': width,
        'length': len(images),
        'file_names': [image['file_name'] for image in images],
        'frames': [image['frame'] for image in images],
    }
    objects = [
        _track(number, tracks[place], len(images), found.video.size)
        for place, number in enumerate(found.names)
    ]
    contents = {'videos': [video], 'annotations': objects, 'categories': categories}
    writing.write_text(posixpath.join(folder, 'video.json'), json.dumps(contents))


def write_points(found: results.PointResults, folder: str) -> None:
    """Write keypoints.json."""
    category = {
        'id': 1,
        'name': 'points',
        'supercategory': 'points',
        'keypoints': list(found.names),
        'skeleton': [],
    }
    images, annotations = [], []
    for place, frame in enumerate(found.frames):
        images.append(_image(found.video, place, frame))
        if frame.known.any():
            annotations.append(_key_points(frame, place))
    _write(folder, 'keypoints.json', images, annotations, [category])


def encoded(mask: np.ndarray) -> dict[str, Any]:
    """Return the run lengths of a mask, bool [height, width], with their area and box."""
    library = packages.needed('pycocotools.mask', PURPOSE)
    runs = library.encode(np.asfortranarray(mask, np.uint8))
    return {
        'segmentation': {'size': list(mask.shape), 'counts': runs['counts'].decode('ascii')},
        'area': int(library.area(runs)),
        'bbox': library.toBbox(runs).tolist(),
    }


def _image(
    video: results.Video, place: int, frame: results.MaskFrame | results.PointFrame
) -> dict[str, Any]:
    height, width = video.size
    return {
        'id': place + 1,
        'file_name': results.file_name(frame.number),
        'height': height,
        'width': width,
        'frame': frame.number,
        'time': round(frame.time, 6),
    }


def _track(
    number: int, regions: Mapping[int, dict[str, Any]], length: int, size: tuple[int, int]
) -> dict[str, Any]:
    """Return an object of a video; null in frames in which it is not."""
    parts = [regions.get(place, {}) for place in range(length)]
    return {
        'id': number,
        'video_id': 1,
        'category_id': number,
        'segmentations': [part.get('segmentation') for part in parts],
        'bboxes': [part.get('bbox') for part in parts],
        'areas': [part.get('area') for part in parts],
        'iscrowd': 0,
        'height': size[0],
        'width': size[1],
    }


def _key_points(frame: results.PointFrame, place: int) -> dict[str, Any]:
    known = frame.known
    positions = np.where(known[:, np.newaxis], frame.points, 0).round(3)
    x, y, width, height = results.box_around(frame.points[known])
    rows = zip(positions.tolist(), frame.flags.tolist())
    return {
        'id': place + 1,
        'image_id': place + 1,
        'category_id': 1,
        'track_id': 1,
        'keypoints': [value for (at_x, at_y), flag in rows for value in (at_x, at_y, flag)],
        'num_keypoints': int(known.sum()),
        'bbox': [round(value, 3) for value in (x, y, width, height)],
        'area': round(width * height, 3),
        'iscrowd': 0,
        'confidence': frame.confidence.round(4).tolist(),
    }


def _write(folder: str, name: str, images: list, annotations: list, categories: list) -> None:
    contents = {'images': images, 'annotations': annotations, 'categories': categories}
    writing.write_text(posixpath.join(folder, name), json.dumps(contents))


class _Runs(TypedDict):
    size: tuple[int, int]
    counts: str | list[int]


# An alias is evaluated, and Python 3.9 knows no other form.
_Segmentation = Union[_Runs, list[list[float]], None]  # noqa: UP007


class _Picture(TypedDict):
    id: int | str
    file_name: NotRequired[str]
    height: NotRequired[int | None]
    width: NotRequired[int | None]
    frame: NotRequired[int | None]


class _Annotation(TypedDict):
    image_id: int | str
    category_id: NotRequired[int | None]
    segmentation: NotRequired[_Segmentation]
    keypoints: NotRequired[list[float] | None]
    iscrowd: NotRequired[int | None]
    track_id: NotRequired[int | str | None]
    instance_id: NotRequired[int | str | None]
    object_id: NotRequired[int | str | None]
    attributes: NotRequired[Any]


class _Category(TypedDict):
    id: int
    name: str
    keypoints: NotRequired[list[str] | None]


class _File(TypedDict):
    images: list[_Picture]
    annotations: list[_Annotation]
    categories: NotRequired[list[_Category]]


class _Video(TypedDict):
    id: int
    height: int
    width: int
    file_names: NotRequired[list[str]]
    frames: NotRequired[list[int]]


class _Track(TypedDict):
    id: int | str
    video_id: int
    category_id: int
    segmentations: list[_Segmentation]


class _VideoFile(TypedDict):
    videos: list[_Video]
    annotations: list[_Track]
    categories: NotRequired[list[_Category]]


def recognised(contents: Any) -> bool:
    """Return whether JSON is of COCO, or of YouTube-VIS."""
    if not isinstance(contents, dict) or not isinstance(contents.get('annotations'), list):
        return False
    pictures = contents.get('images', contents.get('videos'))
    return isinstance(pictures, list) and all(isinstance(each, dict) for each in pictures)


def read(path: str, contents: Any, size: tuple[int, int]) -> labels.Found:
    """Return what a file holds.

    Args:
      path: of the file, for messages.
      contents: the JSON.
      size: (height, width) of the frames.

    Raises:
      errors.UserError: it is damaged, or about pictures of another size.
    """
    if 'images' in contents:
        return _pictures(path, state.checked(contents, _File, path, _REMEDY), size)
    return _videos(path, state.checked(contents, _VideoFile, path, _REMEDY), size)


def _pictures(path: str, found: _File, size: tuple[int, int]) -> labels.Found:
    categories: dict[int, _Category] = {each['id']: each for each in found.get('categories', [])}
    pictures = {each['id']: each for each in found['images']}
    objects, points, others = [], [], []
    for number, each in enumerate(found['annotations']):
        picture = pictures.get(each['image_id'])
        if picture is None:
            raise errors.UserError(f'{path} has no image {each["image_id"]}. {_REMEDY}')
        if picture.get('height') and picture.get('width'):
            labels.check_size(path, (picture['height'], picture['width']), size)  # type: ignore
        place = labels.Place(picture.get('frame'), picture.get('file_name') or str(picture['id']))
        category = categories.get(each.get('category_id') or 0)
        name = category['name'] if category else f'category {each.get("category_id")}'
        instance = _instance(each)
        if each.get('segmentation'):
            mask = _mask(path, each['segmentation'], size)
            objects.append(labels.Thing(place, name, instance, mask))
        if each.get('keypoints'):
            named = (category.get('keypoints') if category else None) or []
            prefix = f'{name} ' if len(categories) > 1 else ''
            points += [
                labels.Thing(place, prefix + point, instance, at, (name, number))
                for point, at in _key_points_of(path, each['keypoints'] or [], named)
            ]
        if not each.get('segmentation') and not each.get('keypoints'):
            others.append('box')
    return labels.Found(objects, points, others)


def _instance(annotation: _Annotation) -> str | None:
    attributes = annotation.get('attributes')
    places: tuple[Any, ...] = (annotation, attributes if isinstance(attributes, dict) else {})
    found = [each[key] for each in places for key in _INSTANCES if each.get(key) is not None]
    return str(found[0]) if found else None


def _key_points_of(
    path: str, values: list[float], names: list[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and position of the key points that have one."""
    if len(values) % 3:
        raise errors.UserError(f'{path} has key points that are not x, y, v each. {_REMEDY}')
    for place, (x, y, flag) in enumerate(np.array(values, np.float64).reshape(-1, 3)):
        if flag > 0:
            name = names[place] if place < len(names) else f'key point {place + 1}'
            yield name, np.array([x, y])


def _videos(path: str, found: _VideoFile, size: tuple[int, int]) -> labels.Found:
    if len(found['videos']) != 1:
        raise errors.UserError(
            f'{path} is about {len(found["videos"])} videos: give a file about one.'
        )
    (video,) = found['videos']
    labels.check_size(path, (video['height'], video['width']), size)
    categories = {each['id']: each['name'] for each in found.get('categories', [])}
    objects = []
    for track in found['annotations']:
        name = categories.get(track['category_id'], f'category {track["category_id"]}')
        for number, segmentation in enumerate(track['segmentations']):
            place = _place(video, number)
            mask = _mask(path, segmentation, size) if segmentation else None
            objects.append(labels.Thing(place, name, str(track['id']), mask))
    return labels.Found(objects, [])


def _place(video: _Video, number: int) -> labels.Place:
    frames, names = video.get('frames', []), video.get('file_names', [])
    if number < len(frames):
        return labels.Place(frames[number])
    return labels.Place(None, names[number]) if number < len(names) else labels.Place(number)


def _mask(path: str, segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Return the mask of polygons or run lengths, bool [height, width]."""
    try:
        if isinstance(segmentation, list):
            parts = [np.array(part, np.float64).reshape(-1, 2) for part in segmentation]
            masks = [polygons.fill([part], size) for part in parts]
            return np.any(masks, axis=0) if masks else np.zeros(size, bool)
        labels.check_size(path, segmentation['size'], size)
        if isinstance(segmentation['counts'], list):
            height, width = size
            return polygons.from_runs(segmentation['counts'], (width, height)).T
        library = packages.needed('pycocotools.mask', PURPOSE)
        runs = {'size': list(size), 'counts': segmentation['counts'].encode()}
        return library.decode(runs) > 0
    except ValueError as error:
        raise errors.UserError(
            f'{path} has a mask that cannot be read ({errors.one_line(error)}). {_REMEDY}'
        ) from error
