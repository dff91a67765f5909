"""The formats in which labels of all frames can be written, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import posixpath
from typing import NamedTuple

from stfc3_tf import errors
from stfc3_tf.formats import coco, cvat, deeplabcut, packages, results, tapvid, yolo


class _Format(NamedTuple):
    """A format.

    Attributes:
      place: the name of its file or folder.
      masks: writes masks there; None if it has none.
      points: writes points there.
      modules: that it needs, beside what is always installed.
      purpose: what they are needed for.
    """

    place: Mapping[str, str]
    masks: Callable[[results.MaskResults, str], None] | None
    points: Callable[[results.PointResults, str], None]
    modules: Sequence[str] = ()
    purpose: str = ''


def _named(masks: str, points: str) -> dict[str, str]:
    return {'masks': masks, 'points': points}


_FORMATS = {
    'coco': _Format(
        _named('coco', 'coco'),
        coco.write_masks,
        coco.write_points,
        ['pycocotools.mask'],
        coco.PURPOSE,
    ),
    'yolo': _Format(_named('yolo_segmentation', 'yolo_pose'), yolo.write_masks, yolo.write_points),
    'cvat': _Format(
        _named('cvat_masks.xml', 'cvat_points.xml'), cvat.write_masks, cvat.write_points
    ),
    'deeplabcut': _Format(
        _named('', 'deeplabcut'),
        None,
        deeplabcut.write_points,
        ['pandas', 'tables'],
        deeplabcut.PURPOSE,
    ),
    'tapvid': _Format(_named('', 'tapvid.npz'), None, tapvid.write_points),
}
NAMES = tuple(_FORMATS)
# Those that cannot hold masks.
FOR_POINTS = tuple(name for name, form in _FORMATS.items() if form.masks is None)


def check(names: Sequence[str], masks: bool, points: bool) -> None:
    """Check, before there is work to lose, that formats can be written.

    Args:
      names: of the formats.
      masks: whether there will be masks.
      points: whether there will be points.

    Raises:
      errors.UserError: a format does not exist or has no masks, or a package is not installed.
    """
    for name in names:
        if name not in _FORMATS:
            raise errors.UserError(
                f'There is no format {name!r} to write: choose from {", ".join(NAMES)}.'
            )
        form = _FORMATS[name]
        if masks and not points and name in FOR_POINTS:
            raise errors.UserError(f'The format {name} is for points: it cannot hold masks.')
        for module in form.modules:
            packages.needed(module, form.purpose)


def left_out(names: Sequence[str], masks: bool) -> list[str]:
    """Return those of the formats that are not written, because the labels are masks."""
    return [name for name in names if masks and name in FOR_POINTS]


def write_masks(names: Sequence[str], found: results.MaskResults, folder: str) -> None:
    """Write masks in each of the formats that can hold them.

    Args:
      names: of the formats, see `check`.
      found: the masks.
      folder: where each format gets its own folder or file.
    """
    for form in map(_FORMATS.__getitem__, names):
        if form.masks is not None:
            form.masks(found, posixpath.join(folder, form.place['masks']))


def write_points(names: Sequence[str], found: results.PointResults, folder: str) -> None:
    """Write points in each of the formats.

    Args:
      names: of the formats, see `check`.
      found: the points.
      folder: where each format gets its own folder or file.
    """
    for form in map(_FORMATS.__getitem__, names):
        form.points(found, posixpath.join(folder, form.place['points']))
