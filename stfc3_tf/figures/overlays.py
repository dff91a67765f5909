"""Predicted masks and points on their frames, against the truth (figures 5 and 6 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import axes as mpl_axes
from matplotlib import colors as mpl_colors
from matplotlib import patheffects

from stfc3_tf import errors, metrics, palette, pictures
from stfc3_tf.figures import page
from stfc3_tf.figures.benchmark_labels import VOID

_OPACITY = 0.45
_POINT_SIZE = 9.0


def _object_colours() -> np.ndarray:
    """uint8 [256, 3]: the first objects in colours told apart with any colour vision."""
    colours = palette.DAVIS.copy()
    # The last of them is black, which an overlay hides.
    told_apart = [mpl_colors.to_rgb(colour) for colour in page.COLOURS[:-1]]
    colours[1 : 1 + len(told_apart)] = np.rint(255 * np.array(told_apart))
    return colours


_OBJECT_COLOURS = _object_colours()


def labels(
    frames: Mapping[str, np.ndarray],
    truth: Mapping[str, np.ndarray],
    predictions: Mapping[str, Mapping[str, np.ndarray]],
    output: str,
) -> None:
    """Draws frames with true labels above the same frames with predicted ones, a row a prediction.

    Predicted masks are tinted, with the outline of the true ones in white, and the mean
    intersection over union of the objects beneath. From predicted points a line leads to the true
    ones, with the mean distance in pixels beneath.

    Args:
      frames: name -> uint8 [height, width, 3], the first of them with the labels that were given.
      truth: name of frame -> label, a mask, uint8 [height, width] of object numbers (255 is void),
        or points, float [points, 2], (x, y) in pixels, NaN where there is none.
      predictions: name of the row -> labels of the same frames, of the same kind.
      output: path, its ending one of `page.ENDINGS`.

    Raises:
      errors.UserError: predicted and true labels do not belong together.
    """
    page.check_ending(output)
    for name, found in predictions.items():
        for frame in frames:
            _check_pair(f'{name}, frame {frame}', truth[frame], found[frame])
    rows, shape = 1 + len(predictions), next(iter(frames.values())).shape
    height = page.WIDTH / len(frames) * shape[0] / shape[1]
    with page.page(output, rows * (height + 0.15) + 0.1) as figure:
        grid = figure.subplots(rows, len(frames), squeeze=False)
        for column, (frame, image) in zip(grid.T, frames.items()):
            _draw_true(column[0], image, truth[frame])
            column[0].set_title(frame)
            for axes, found in zip(column[1:], predictions.values()):
                _draw_predicted(axes, image, truth[frame], found[frame])
        page.name_rows(grid, ['truth', *predictions], height)


def is_mask(label: np.ndarray) -> bool:
    """Whether a label is a mask, not points."""
    return label.dtype == np.uint8


def _check_pair(where: str, truth: np.ndarray, predicted: np.ndarray) -> None:
    if is_mask(truth) != is_mask(predicted) or truth.shape != predicted.shape:
        kinds = ['mask' if is_mask(label) else 'points' for label in (predicted, truth)]
        raise errors.UserError(
            f'{where}: {kinds[0]} {predicted.shape} against true {kinds[1]} {truth.shape}; give '
            'predictions and truth of the same video and kind.'
        )


def _draw_true(axes: mpl_axes.Axes, image: np.ndarray, label: np.ndarray) -> None:
    if is_mask(label):
        page.show(axes, _tinted(image, np.where(label == VOID, 0, label)))
    else:
        page.show(axes, image)
        _draw_points(axes, label)


def _draw_predicted(
    axes: mpl_axes.Axes, image: np.ndarray, truth: np.ndarray, predicted: np.ndarray
) -> None:
    if is_mask(truth):
        page.show(axes, _tinted(image, predicted))
        for number in _objects(truth):
            _outline(axes, truth == number)
        overlap = mean_overlap(truth, predicted)
        axes.set_xlabel('no object' if np.isnan(overlap) else f'IoU {overlap:.2f}')
    else:
        page.show(axes, image)
        for start, end in zip(predicted, truth):
            _halo(axes.plot(*zip(start, end), color='white', linestyle='-', linewidth=0.6))
        _draw_points(axes, predicted)
        axes.set_xlabel(_distance_text(truth, predicted))


def mean_overlap(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean intersection over union of all objects of either mask, void left out; NaN if none."""
    predicted = np.where(truth == VOID, 0, predicted)
    numbers = _objects(truth) | _objects(predicted)
    overlaps = [metrics.region_similarity(truth == k, predicted == k) for k in numbers]
    return float(np.mean(overlaps)) if overlaps else np.nan


def _objects(mask: np.ndarray) -> set[int]:
    return set(np.unique(mask).tolist()) - {0, VOID}


def _distance_text(truth: np.ndarray, predicted: np.ndarray) -> str:
    """Mean distance of the points that are in both, and how many true ones are not predicted."""
    distances = np.linalg.norm(truth - predicted, axis=-1)
    lost = np.count_nonzero(np.isfinite(truth).all(-1) & ~np.isfinite(predicted).all(-1))
    mean = f'{np.nanmean(distances):.1f} px' if np.isfinite(distances).any() else 'no point'
    return f'{mean}, {lost} lost' if lost else mean


def _tinted(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return pictures.overlay_mask(image, mask, _OPACITY, _OBJECT_COLOURS)


def _outline(axes: mpl_axes.Axes, shape: np.ndarray) -> None:
    """The border of a shape, bool [height, width]; closed where it leaves the image."""
    padded = np.pad(shape, 1).astype(float)
    x, y = (np.arange(-1, side + 1) for side in shape.shape[::-1])
    contours = axes.contour(x, y, padded, levels=[0.5], colors='white', linewidths=0.6)
    contours.set_path_effects(_HALO)


_HALO = [patheffects.Stroke(linewidth=1.2, foreground='black'), patheffects.Normal()]


def _halo(lines) -> None:
    for line in lines:
        line.set_path_effects(_HALO)


def _draw_points(axes: mpl_axes.Axes, points: np.ndarray) -> None:
    colours = [page.COLOURS[number % 6] for number in range(len(points))]
    axes.scatter(*points.T, s=_POINT_SIZE, c=colours, edgecolors='white', linewidths=0.4, zorder=3)
