"""Predicted masks and points on their frames, against the truth (figures 5 and 6 of the paper)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from matplotlib import artist, patheffects
from matplotlib import axes as mpl_axes
from matplotlib import colors as mpl_colors
import numpy as np

from stfc3_tf import errors
from stfc3_tf.benchmarks import metrics
from stfc3_tf.figures import page, pictures
from stfc3_tf.storage import palette

_OPACITY = 0.45
_POINT_SIZE = 9.0


def _object_colours() -> np.ndarray:
    """Return uint8 [256, 3]; the first colours differ for every kind of colour vision."""
    colours = palette.DAVIS.copy()
    # The last colour is black, which an overlay hides.
    distinct = [mpl_colors.to_rgb(colour) for colour in page.COLOURS[:-1]]
    colours[1 : 1 + len(distinct)] = np.rint(255 * np.array(distinct))
    return colours


_OBJECT_COLOURS = _object_colours()


def labels(
    frames: Mapping[str, np.ndarray],
    truth: Mapping[str, np.ndarray] | None,
    predictions: Mapping[str, Mapping[str, np.ndarray]],
    output: str,
    pixel_aspect: float = 1,
) -> None:
    """Draw frames with true labels, and below them one row per prediction.

    Without true labels, the first row shows the frames alone.

    Predicted masks are tinted, with the outlines of the true masks in white and the mean
    intersection over union of the objects below. A line leads from each predicted point to the true
    one; the mean distance in pixels is below.

    Args:
      frames: uint8 [height, width, 3] by name; the first one shows the given labels.
      truth: labels by the name of the frame: a mask, uint8 [height, width] of object numbers (255
        is void), or points, float [points, 2], (x, y) in pixels, NaN for a missing point; None for
        no true labels.
      predictions: labels of the same frames and kind, by the name of the row.
      output: path, its ending one of `page.ENDINGS`.
      pixel_aspect: width / height of a pixel as players show it.

    Raises:
      errors.UserError: predicted and true labels are of different kinds or shapes.
    """
    page.check_ending(output)
    if truth is not None:
        for name, found in predictions.items():
            for frame in frames:
                _check_pair(f'{name}, frame {frame}', truth[frame], found[frame])
    rows, shape = 1 + len(predictions), next(iter(frames.values())).shape
    height = page.WIDTH / len(frames) * shape[0] / (shape[1] * pixel_aspect)
    with page.page(output, rows * (height + 0.15) + 0.1) as figure:
        grid = figure.subplots(rows, len(frames), squeeze=False)
        for column, (frame, image) in zip(grid.T, frames.items()):
            true = None if truth is None else truth[frame]
            _draw_column(column, image, true, [found[frame] for found in predictions.values()])
            column[0].set_title(frame)
        page.stretch(grid, pixel_aspect)
        first = 'frames' if truth is None else 'truth'
        page.name_rows(grid, [first, *predictions], height)


def _draw_column(
    column: Sequence[mpl_axes.Axes],
    image: np.ndarray,
    truth: np.ndarray | None,
    predictions: Sequence[np.ndarray],
) -> None:
    """Draw a frame, with its true label if there is one, and below it one prediction each."""
    if truth is None:
        page.show(column[0], image)
    else:
        _draw_label(column[0], image, truth)
    for axes, predicted in zip(column[1:], predictions):
        if truth is None:
            _draw_label(axes, image, predicted)
        else:
            _draw_predicted(axes, image, truth, predicted)


def is_mask(label: np.ndarray) -> bool:
    """Return whether a label is a mask, not points."""
    return label.dtype == np.uint8


def _check_pair(where: str, truth: np.ndarray, predicted: np.ndarray) -> None:
    if is_mask(truth) != is_mask(predicted) or truth.shape != predicted.shape:
        kinds = ['mask' if is_mask(label) else 'points' for label in (predicted, truth)]
        raise errors.UserError(
            f'{where}: {kinds[0]} {predicted.shape} against true {kinds[1]} {truth.shape}; '
            'predictions and truth must be of one video and one kind.'
        )


def _draw_label(axes: mpl_axes.Axes, image: np.ndarray, label: np.ndarray) -> None:
    if is_mask(label):
        page.show(axes, _tinted(image, np.where(label == palette.VOID, 0, label)))
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
    """Return the mean intersection over union of all objects of either mask.

    Pixels that are void in `truth` do not count. NaN if there is no object.
    """
    predicted = np.where(truth == palette.VOID, 0, predicted)
    numbers = _objects(truth) | _objects(predicted)
    overlaps = [metrics.region_similarity(truth == k, predicted == k) for k in numbers]
    return float(np.mean(overlaps)) if overlaps else np.nan


def _objects(mask: np.ndarray) -> set[int]:
    return set(np.unique(mask).tolist()) - {0, palette.VOID}


def _distance_text(truth: np.ndarray, predicted: np.ndarray) -> str:
    """Return the mean distance of points in both, and the number of points without prediction."""
    distances = np.linalg.norm(truth - predicted, axis=-1)
    lost = np.count_nonzero(np.isfinite(truth).all(-1) & ~np.isfinite(predicted).all(-1))
    mean = f'{np.nanmean(distances):.1f} px' if np.isfinite(distances).any() else 'no point'
    return f'{mean}, {lost} lost' if lost else mean


def _tinted(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return pictures.overlay_mask(image, mask, _OPACITY, _OBJECT_COLOURS)


def _outline(axes: mpl_axes.Axes, shape: np.ndarray) -> None:
    """Draw the border of a shape, bool [height, width], also along the edge of the image."""
    padded = np.pad(shape, 1).astype(float)
    x, y = (np.arange(-1, side + 1) for side in shape.shape[::-1])
    contours = axes.contour(x, y, padded, levels=[0.5], colors='white', linewidths=0.6)
    contours.set_path_effects(_HALO)


_HALO = [patheffects.Stroke(linewidth=1.2, foreground='black'), patheffects.Normal()]


def _halo(lines: Iterable[artist.Artist]) -> None:
    """Draw a dark edge around light lines, so that they are visible on any background."""
    for line in lines:
        line.set_path_effects(_HALO)


def _draw_points(axes: mpl_axes.Axes, points: np.ndarray) -> None:
    colours = [page.COLOURS[number % 6] for number in range(len(points))]
    axes.scatter(
        points[:, 0],
        points[:, 1],
        _POINT_SIZE,
        colours,
        edgecolors='white',
        linewidths=0.4,
        zorder=3,
    )
