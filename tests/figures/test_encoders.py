"""Affinities and feature colours against the equations, cell by cell."""

from __future__ import annotations

import itertools

import av
from figure_inputs import random_frames
import numpy as np
import pytest

from stfc3_tf import errors, figures
from stfc3_tf.clips import orientation
from stfc3_tf.figures import (
    encoders,
    pictures,
)
from stfc3_tf.model.resnet import CellGrid


class BlockColours:
    """An encoder whose features are the pixels at the centres of its cells and a constant."""

    cell_grid = CellGrid(0.0, 8)

    def features(self, frames):
        colours = np.asarray(frames, np.float32)[:, ::8, ::8] / 255
        return np.concatenate([colours, np.ones_like(colours[..., :1])], axis=-1)


class Positions:
    """An encoder that has collapsed: its features tell where a cell is and nothing else."""

    cell_grid = CellGrid(0.0, 8)

    def features(self, frames):
        count, height, width = frames.shape[0], frames.shape[1] // 8, frames.shape[2] // 8
        return np.tile(
            np.eye(height * width, dtype=np.float32).reshape(1, height, width, -1), (count, 1, 1, 1)
        )


def transition_by_loops(first, second, temperature):
    """Equation (3) of the paper on feature maps [rows, columns, channels]."""
    first, second = (maps.reshape(-1, maps.shape[-1]) for maps in (first, second))
    first, second = (
        maps / np.linalg.norm(maps, axis=-1, keepdims=True) for maps in (first, second)
    )
    matrix = np.zeros((len(first), len(second)))
    for i, here in enumerate(first):
        weights = [np.exp(np.dot(here, there) / temperature) for there in second]
        for j, weight in enumerate(weights):
            matrix[i, j] = weight / sum(weights)
    return matrix


def test_affinities_are_those_of_the_equation(tmp_path, drawn):
    frames = random_frames(3, 32, 40)
    figures.affinities(
        {'colours': BlockColours()},
        (frames[0], frames[1]),
        (frames[0], frames[2]),
        str(tmp_path / 'a.png'),
        temperature=0.1,
    )
    axes = drawn[0].axes
    maps = BlockColours().features(frames)
    ratios = []
    for panel, other in zip(axes[2:4], (1, 2)):
        expected = transition_by_loops(maps[0], maps[other], 0.1)
        shown = panel.images[0].get_array()
        np.testing.assert_allclose(shown, expected, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(shown.sum(axis=1), 1, rtol=1e-5)
        ratios.append(np.mean([expected[i, i] for i in range(20)]) * 20)
    assert axes[2].get_title() == f'diagonal {ratios[0]:.3g} x chance'
    assert axes[3].get_title() == f'collapse ratio {ratios[1]:.3g}'
    assert axes[2].images[0].norm is axes[3].images[0].norm
    assert axes[2].get_ylabel() == 'colours'


def test_the_figure_shows_a_collapsed_encoder(tmp_path, drawn):
    frames = random_frames(3, 32, 32)
    models = {'collapsed': Positions(), 'colours': BlockColours()}
    pairs = (frames[0], frames[1]), (frames[0], frames[2])
    figures.affinities(models, *pairs, str(tmp_path / 'a.png'), temperature=0.01)
    collapsed, other = (drawn[0].axes[number] for number in (3, 5))
    assert collapsed.get_title() == 'collapse ratio 16'
    np.testing.assert_allclose(collapsed.images[0].get_array(), np.eye(16), atol=1e-6)
    assert float(other.get_title().split()[-1]) < 4


def test_affinities_of_frames_of_different_sizes(tmp_path):
    one, other = np.zeros((16, 16, 3), np.uint8), np.zeros((16, 24, 3), np.uint8)
    with pytest.raises(errors.UserError, match='frames of one size'):
        figures.affinities({'a': Positions()}, (one, one), (one, other), str(tmp_path / 'a.png'))


def test_each_pixel_has_the_colour_of_its_nearest_cell():
    generator = np.random.default_rng(0)
    maps = generator.normal(size=(3, 4, 5))
    basis = pictures.pca_basis(maps)
    colours = pictures.pca_colours(maps, basis)
    shown = encoders.feature_colours(maps, basis, CellGrid(3.0, 8), (21, 35))
    for y, x in itertools.product(range(21), range(35)):
        row = np.argmin([abs(y - (3 + 8 * i)) for i in range(3)])
        column = np.argmin([abs(x - (3 + 8 * i)) for i in range(4)])
        if (y - 3) % 8 != 4 and (x - 3) % 8 != 4:  # There two cells are equally near.
            np.testing.assert_array_equal(shown[y, x], colours[row, column])


def test_a_feature_has_one_colour_in_all_frames(tmp_path, drawn):
    frames = random_frames(3, 32, 40)
    frames[2, :, 16:] = frames[0, :, 16:]
    figures.features({'colours': BlockColours()}, frames, str(tmp_path / 'a.png'), [0, 0.5, 1])
    images = [axes.images[0].get_array() for axes in drawn[0].axes]
    np.testing.assert_array_equal(images[:3], frames)
    first, second, third = images[3:]
    np.testing.assert_array_equal(first[:, 20:], third[:, 20:])
    assert (first[:, :12] != third[:, :12]).any() and (first[:, 20:] != second[:, 20:]).any()
    assert [axes.get_title() for axes in drawn[0].axes[:3]] == ['0.00 s', '0.50 s', '1.00 s']
    assert [axes.get_ylabel() for axes in drawn[0].axes[::3]] == ['frames', 'colours']


def test_a_video_of_features(tmp_path):
    frames = random_frames(5, 8, 10).repeat(8, axis=1).repeat(8, axis=2)
    frames[4] = frames[0]
    path = str(tmp_path / 'a.mp4')
    timed = ((number / 10, frame) for number, frame in enumerate(frames))
    assert figures.feature_video({'colours': BlockColours()}, frames, timed, 10.0, path) == 5
    with av.open(path) as container:
        shown = [orientation.upright_rgb(frame).astype(int) for frame in container.decode(video=0)]
    assert len(shown) == 5 and shown[0].shape[1] == 80 + 4 + 80
    video, features = shown[0][-64:, :80], shown[0][-64:, 84:]
    assert np.abs(video - frames[0]).mean() < 12
    basis = pictures.pca_basis(encoders.encode(BlockColours(), frames))
    maps = encoders.encode(BlockColours(), frames[:1])[0]
    expected = encoders.feature_colours(maps, basis, CellGrid(0.0, 8), (64, 80))
    # The video has colour at half the resolution.
    assert np.abs(features - expected).mean() < 20 < np.abs(features[::-1] - expected).mean()
    assert np.abs(shown[4] - shown[0]).mean() < 3 < np.abs(shown[3] - shown[0]).mean()
    with pytest.raises(errors.UserError, match='its ending must be one of .mp4'):
        figures.feature_video({}, frames, [], 10.0, str(tmp_path / 'a.avi'))
