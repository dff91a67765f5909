"""Features as colours (figure 7 of the paper) and affinities (figure 3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
import fractions
import math

from matplotlib import axes as mpl_axes
from matplotlib import colors
from matplotlib import figure as mpl_figure
import numpy as np

from stfc3_tf import errors
from stfc3_tf.clips import video_writer
from stfc3_tf.figures import page, pictures
from stfc3_tf.model import diagnostics, walk
from stfc3_tf.model.resnet import CellGrid
from stfc3_tf.propagation import extractor
from stfc3_tf.propagation.extractor import FeatureExtractor
from stfc3_tf.storage.images import size_of

# The largest side of a drawn affinity matrix; larger ones are shrunk by maxima, which keep lines.
_MATRIX_SIDE = 512
_MATRIX_HEIGHT = 2.0  # Inches.


def encode(model: FeatureExtractor, frames: Iterable[np.ndarray]) -> np.ndarray:
    """Encode frames one by one.

    Args:
      model: its features may have any length.
      frames: uint8 [height, width, 3], all of one size.

    Returns:
      float32 [time, rows, columns, channels], of unit length.
    """
    return np.concatenate([extractor.unit_features(model, frame[np.newaxis]) for frame in frames])


def features(
    models: Mapping[str, FeatureExtractor],
    frames: np.ndarray,
    output: str,
    times: Sequence[float] | None = None,
    pixel_aspect: float = 1,
) -> None:
    """Draw frames, and below them the first three principal components of features per model.

    One basis is fitted per model over all frames: colours can be compared within a row, but not
    between rows.

    Args:
      models: by name; from `stfc3_tf.load(path)`, or any `FeatureExtractor`.
      frames: uint8 [time, height, width, 3].
      output: path, its ending one of `page.ENDINGS`.
      times: of the frames in seconds, for titles; None for no titles.
      pixel_aspect: width / height of a pixel as players show it.

    Raises:
      errors.UserError: `output` has another ending or cannot be written.
    """
    page.check_ending(output)
    rows = [list(frames)]
    for model in models.values():
        maps = encode(model, frames)
        basis = pictures.pca_basis(maps)
        size = size_of(frames[0])
        rows.append([feature_colours(m, basis, model.cell_grid, size) for m in maps])
    titles = [''] * len(frames) if times is None else [f'{time:.2f} s' for time in times]
    height = page.WIDTH / len(frames) * frames.shape[1] / (frames.shape[2] * pixel_aspect)
    with page.page(output, len(rows) * height + 0.25) as figure:
        grid = figure.subplots(len(rows), len(frames), squeeze=False)
        for axes, image in zip(grid.flat, (image for row in rows for image in row)):
            page.show(axes, image)
        page.stretch(grid, pixel_aspect)
        for axes, title in zip(grid[0], titles):
            axes.set_title(title)
        page.name_rows(grid, ['frames', *models], height)


def feature_colours(
    maps: np.ndarray, basis: pictures.PcaBasis, grid: CellGrid, size: tuple[int, int]
) -> np.ndarray:
    """Return a feature map as a picture: each pixel has the colour of its nearest cell.

    Args:
      maps: float [rows, columns, channels].
      basis: turns features into colours.
      grid: cell i is centred on pixel first + stride * i.
      size: (height, width) of the frame.

    Returns:
      uint8 [height, width, 3].
    """
    colours = pictures.pca_colours(maps, basis)
    row, column = (
        np.clip(np.rint((np.arange(side) - grid.first) / grid.stride).astype(int), 0, cells - 1)
        for side, cells in zip(size, maps.shape[:2])
    )
    return colours[row[:, np.newaxis], column]


def feature_video(
    models: Mapping[str, FeatureExtractor],
    sample: np.ndarray,
    frames: Iterable[tuple[float, np.ndarray]],
    frame_rate: float,
    output: str,
    pixel_aspect: fractions.Fraction = fractions.Fraction(1),
) -> int:
    """Write a video of frames beside the principal components of their features.

    Frames are encoded one by one; memory does not depend on their number.

    Args:
      models: see `features`.
      sample: uint8 [time, height, width, 3], frames from the whole video, to fit the bases.
      frames: of the whole video: time in seconds and uint8 [height, width, 3].
      frame_rate: mean frames per second.
      output: path, ending in .mp4.
      pixel_aspect: width / height of a pixel as players show it.

    Returns:
      The number of frames written.

    Raises:
      errors.UserError: `output` has another ending or cannot be written.
    """
    page.check_ending(output, ('.mp4',))
    bases = {name: pictures.pca_basis(encode(model, sample)) for name, model in models.items()}
    drawn = _beside_features(models, bases, frames)
    return video_writer.write_timed_video(output, drawn, frame_rate, pixel_aspect)


def _beside_features(
    models: Mapping[str, FeatureExtractor],
    bases: Mapping[str, pictures.PcaBasis],
    frames: Iterable[tuple[float, np.ndarray]],
) -> Iterator[tuple[float, np.ndarray]]:
    columns = math.ceil(math.sqrt(1 + len(models)))
    for time, frame in frames:
        size = size_of(frame)
        maps = [
            feature_colours(encode(model, [frame])[0], bases[name], model.cell_grid, size)
            for name, model in models.items()
        ]
        yield time, pictures.montage([frame, *maps], ['video', *models], columns)


def affinities(
    models: Mapping[str, FeatureExtractor],
    related: tuple[np.ndarray, np.ndarray],
    unrelated: tuple[np.ndarray, np.ndarray],
    output: str,
    temperature: float = 0.05,
) -> None:
    """Draw transitions within a video and between two videos, one row per model.

    Transitions are those of equation (3) of the paper. Both matrices of a row have one scale. The
    titles give the mean probability of staying in place, divided by chance. Between unrelated
    frames this is `diagnostics.collapse_ratio`, which is 1 unless features encode positions.

    Args:
      models: by name; from `stfc3_tf.load(path)`, or any `FeatureExtractor`.
      related: two frames of one video, uint8 [height, width, 3].
      unrelated: two frames of different videos, of the same size.
      output: path, its ending one of `page.ENDINGS`.
      temperature: tau.

    Raises:
      errors.UserError: frames of different sizes, or `output` cannot be written.
    """
    page.check_ending(output)
    sizes = {frame.shape for frame in (*related, *unrelated)}
    if len(sizes) > 1:
        raise errors.UserError(f'Affinities need frames of one size, not {sorted(sizes)}.')
    with page.page(output, 1.25 + (_MATRIX_HEIGHT + 0.5) * len(models), width=6.2) as figure:
        ratios = [0.48, *([1.0] * len(models))]
        grid = figure.subplots(1 + len(models), 2, squeeze=False, height_ratios=ratios)
        page.show(grid[0, 0], _side_by_side(*related), 'one video')
        page.show(grid[0, 1], _side_by_side(*unrelated), 'two videos')
        for axes in grid.flat:
            # All begin at the left of their column, so that pictures stand above their matrix.
            axes.set_anchor('W')
        for axes, model in zip(grid[1:], models.values()):
            _draw_affinities(figure, axes, model, related, unrelated, temperature)
        page.name_rows(grid[1:], list(models), _MATRIX_HEIGHT)


def _draw_affinities(
    figure: mpl_figure.Figure,
    axes: np.ndarray,
    model: FeatureExtractor,
    related: tuple[np.ndarray, np.ndarray],
    unrelated: tuple[np.ndarray, np.ndarray],
    temperature: float,
) -> None:
    """Draw a row: both matrices and their colour bar; see `affinities` for the arguments."""
    pairs = [_nodes(model, pair) for pair in (related, unrelated)]
    matrices = [walk.transition(a, b, temperature).numpy() for a, b in pairs]
    # Square roots, because on a linear scale all but the most likely steps would be black.
    scale = colors.PowerNorm(0.5, vmin=0, vmax=max(float(matrix.max()) for matrix in matrices))
    ratios = [float(diagnostics.collapse_ratio(a, b, temperature)) for a, b in pairs]
    titles = [f'diagonal {ratios[0]:.3g} x chance', f'collapse ratio {ratios[1]:.3g}']
    for ax, matrix, title in zip(axes, matrices, titles):
        drawn = pictures.block_maximum(matrix, -(-max(matrix.shape) // _MATRIX_SIDE))
        image = ax.imshow(drawn, norm=scale, cmap='viridis')
        ax.set_title(title)
        page.bare(ax)
        _number_cells(ax, matrix, drawn)
    axes[1].set_ylabel('from cell of the left picture')
    figure.colorbar(image, ax=list(axes), label='probability', shrink=0.8, panchor=(0.0, 0.5))


def _number_cells(axes: mpl_axes.Axes, matrix: np.ndarray, drawn: np.ndarray) -> None:
    """Write the numbers of the first and the last cell; cells are counted line by line."""
    ends = [(0, side - 1) for side in drawn.shape]
    axes.set_yticks(ends[0], ['0', f'{matrix.shape[0] - 1:,}'])
    axes.set_xticks(ends[1], ['0', f'{matrix.shape[1] - 1:,}'])
    axes.set_xlabel('to cell of the right picture', labelpad=0)


def _nodes(model: FeatureExtractor, pair: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the features of each frame as float32 [nodes, channels]."""
    return [maps.reshape(-1, maps.shape[-1]) for maps in encode(model, pair)]


def _side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    height, width = left.shape[:2]
    return np.hstack([left, np.full((height, width // 16, 3), 255, np.uint8), right])
