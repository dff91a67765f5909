"""What encoders see: features as colours (figure 7 of the paper), affinities (figure 3)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf
from matplotlib import colors

from stfc3_tf import errors, monitor, pictures, walk
from stfc3_tf.clips import video_writer
from stfc3_tf.encoder import CellGrid
from stfc3_tf.figures import page
from stfc3_tf.tracking import FeatureExtractor

# Entries along a side of an affinity matrix as drawn; larger ones are shrunk without losing a line.
_MATRIX_SIDE = 512
_MATRIX_HEIGHT = 2.0  # Inches.


def encode(model: FeatureExtractor, frames: Iterable[np.ndarray]) -> np.ndarray:
    """Encodes frames one by one.

    Args:
      model: its features may have any length.
      frames: uint8 [height, width, 3], all of one size.

    Returns:
      float32 [time, rows, columns, channels], of unit length.
    """
    maps = [tf.math.l2_normalize(model.features(f[np.newaxis])[0], axis=-1) for f in frames]
    return np.stack(maps)


def features(
    models: Mapping[str, FeatureExtractor],
    frames: np.ndarray,
    output: str,
    times: Sequence[float] | None = None,
) -> None:
    """Draws frames above the first three principal components of their features, a row a model.

    One basis is fitted for each model over all frames: a colour means the same in the whole row,
    not in two rows.

    Args:
      models: name -> `serving.LoadedEncoder`, or anything with its `features` and `cell_grid`.
      frames: uint8 [time, height, width, 3].
      output: path, its ending one of `page.ENDINGS`.
      times: of the frames, in seconds, for the titles; None for none.

    Raises:
      errors.UserError: `output` has another ending or cannot be written.
    """
    page.check_ending(output)
    rows = [list(frames)]
    for model in models.values():
        maps = encode(model, frames)
        basis = pictures.pca_basis(maps)
        size = frames.shape[1:3]
        rows.append([feature_colours(m, basis, model.cell_grid, size) for m in maps])
    titles = [''] * len(frames) if times is None else [f'{time:.2f} s' for time in times]
    height = page.WIDTH / len(frames) * frames.shape[1] / frames.shape[2]
    with page.page(output, len(rows) * height + 0.25) as figure:
        grid = figure.subplots(len(rows), len(frames), squeeze=False)
        for axes, image in zip(grid.flat, (image for row in rows for image in row)):
            page.show(axes, image)
        for axes, title in zip(grid[0], titles):
            axes.set_title(title)
        page.name_rows(grid, ['frames', *models], height)


def feature_colours(
    maps: np.ndarray, basis: pictures.PcaBasis, grid: CellGrid, size: tuple[int, int]
) -> np.ndarray:
    """Shows a feature map in the frame it comes from, each pixel in the colour of its nearest cell.

    Args:
      maps: float [rows, columns, channels].
      basis: of the colours.
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
) -> int:
    """Writes a video of frames beside the principal components of their features.

    Frames are encoded as they come; memory does not depend on their number.

    Args:
      models: as of `features`.
      sample: uint8 [time, height, width, 3], frames spread over the video: what the bases are
        fitted over.
      frames: of the whole video, seconds from its start and uint8 [height, width, 3].
      frame_rate: mean frames per second.
      output: path, ending in .mp4.

    Returns:
      The number of frames written.

    Raises:
      errors.UserError: `output` has another ending or cannot be written.
    """
    page.check_ending(output, ('.mp4',))
    bases = {name: pictures.pca_basis(encode(model, sample)) for name, model in models.items()}
    drawn = _beside_features(models, bases, frames)
    return video_writer.write_timed_video(output, drawn, frame_rate)


def _beside_features(
    models, bases, frames: Iterable[tuple[float, np.ndarray]]
) -> Iterator[tuple[float, np.ndarray]]:
    columns = math.ceil(math.sqrt(1 + len(models)))
    for time, frame in frames:
        size = frame.shape[:2]
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
    """Draws transitions within a video and between two videos, a row a model.

    Equation (3) of the paper. Both matrices of a row are drawn at one scale. The titles give the
    mean probability of staying in place, against chance: what it is between unrelated frames is
    `monitor.collapse_ratio`, 1 unless the encoder tells positions.

    Args:
      models: name -> `serving.LoadedEncoder`, or anything with its `features`.
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
        raise errors.UserError(f'Affinities need frames of one size, these have {sorted(sizes)}.')
    with page.page(output, 0.9 + (_MATRIX_HEIGHT + 0.3) * len(models), width=5.2) as figure:
        ratios = [0.4, *([1.0] * len(models))]
        grid = figure.subplots(1 + len(models), 2, squeeze=False, height_ratios=ratios)
        page.show(grid[0, 0], _side_by_side(*related), 'one video')
        page.show(grid[0, 1], _side_by_side(*unrelated), 'two videos')
        for axes, model in zip(grid[1:], models.values()):
            _draw_affinities(figure, axes, model, related, unrelated, temperature)
        page.name_rows(grid[1:], list(models), _MATRIX_HEIGHT)


def _draw_affinities(figure, axes, model, related, unrelated, temperature: float) -> None:
    pairs = [_nodes(model, pair) for pair in (related, unrelated)]
    matrices = [walk.transition(*pair, temperature).numpy() for pair in pairs]
    # The square root of a probability: on a linear scale all but the likeliest steps are black.
    scale = colors.PowerNorm(0.5, vmin=0, vmax=max(float(matrix.max()) for matrix in matrices))
    ratios = [float(monitor.collapse_ratio(*pair, temperature)) for pair in pairs]
    titles = [f'diagonal {ratios[0]:.3g} x chance', f'collapse ratio {ratios[1]:.3g}']
    for ax, matrix, title in zip(axes, matrices, titles):
        drawn = pictures.block_maximum(matrix, -(-max(matrix.shape) // _MATRIX_SIDE))
        image = ax.imshow(drawn, norm=scale, cmap='viridis')
        ax.set_title(title)
        page.bare(ax)
    figure.colorbar(image, ax=list(axes), label='probability', shrink=0.8)


def _nodes(model: FeatureExtractor, pair: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The feature cells of each frame in a row: float32 [nodes, channels]."""
    return [maps.reshape(-1, maps.shape[-1]) for maps in encode(model, pair)]


def _side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    height, width = left.shape[:2]
    return np.hstack([left, np.full((height, width // 16, 3), 255, np.uint8), right])
