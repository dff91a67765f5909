"""Folders of label maps, which data sets have beside their frames, are not videos."""

from __future__ import annotations

from collections.abc import Mapping
import io

from absl import logging
import numpy as np
from PIL import Image

from stfc3_tf import errors
from stfc3_tf.storage import files, folders, images, palette

_LOSSLESS = ('.png', '.bmp', '.tif', '.tiff')
_MOST_COLOURS = 16
# Label maps compress to less; checking this first saves decoding all frames.
_MOST_BYTES_PER_PIXEL = 0.25


def without_label_maps(pictures: Mapping[str, list[str]]) -> list[str]:
    """Return the folders whose pictures are frames; log a warning about the others.

    Label maps are indexed, or have few colours, in their first, middle and last picture. If all
    folders are like this, all count as frames.

    Args:
      pictures: paths of the pictures in each folder.
    """
    labels = {folder for folder, paths in pictures.items() if _are_label_maps(paths)}
    if not labels or len(labels) == len(pictures):
        return list(pictures)
    logging.warning(
        '%s left out: the pictures there are label maps, not frames. To use them, name the folder.',
        f'{min(labels)} is'
        if len(labels) == 1
        else f'{min(labels)} and {len(labels) - 1:,} more folders are',
    )
    return [folder for folder in pictures if folder not in labels]


def _are_label_maps(paths: list[str]) -> bool:
    if not all(path.lower().endswith(_LOSSLESS) for path in paths):
        return False
    paths = sorted(paths, key=folders.natural_order)
    return all(_is_label_map(path) for path in {paths[0], paths[len(paths) // 2], paths[-1]})


def _is_label_map(path: str) -> bool:
    try:
        contents = files.read_bytes(path)
        header = Image.open(io.BytesIO(contents))
        if header.mode in ('P', '1'):
            return True
        most = _MOST_BYTES_PER_PIXEL * header.width * header.height + 1000
        if header.format == 'PNG' and len(contents) > most:
            return False
        colours = palette.packed_colours(images.decode_frame(contents, path))
    except (errors.UserError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    return len(np.unique(colours)) <= _MOST_COLOURS
