"""The scorecard tells good features from bad ones, by numbers known without it."""

import types

from colour_neighbourhoods import GRID, neighbourhoods
import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.benchmarks import synthetic_scenes
from stfc3_tf.clips import synthetic
from stfc3_tf.model import resnet
from stfc3_tf.training import scorecard

SCENES, FRAMES, HEIGHT, WIDTH = 4, 8, 128, 160
NODES = 16 * 20


def positions(frames):
    """Features that tell where a cell is, and nothing else."""
    where = np.eye(NODES, dtype=np.float32).reshape(1, 16, 20, NODES)
    return np.repeat(where, len(frames), axis=0)


class Made:
    """An encoder whose two outputs are given functions of uint8 frames."""

    statistics = resnet.Statistics((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    cell_grid = types.MappingProxyType({'stage3': GRID, 'head': GRID})

    def __init__(self, stage3, head):
        self._outputs = {'stage3': stage3, 'head': head}

    def __call__(self, frames, training):
        assert not training
        shown = tf.cast(tf.round(255 * frames), tf.uint8)
        found = {}
        for name, function in self._outputs.items():
            found[name] = tf.numpy_function(
                lambda x, f=function: f(x).astype(np.float32), [shown], tf.float32
            )
            found[name].set_shape([None, 16, 20, None])
        return found


def copied_by_hand():
    """Mean overlap, and share of points within 1, 2, 4, 8, 16 of 256 pixels, if nothing moves."""
    regions, positions_found = [], []
    for number in range(SCENES):
        scene = synthetic.scene(synthetic_scenes.HELD_OUT_SEED + number, HEIGHT, WIDTH)
        first, seen = scene.masks(0.0), scene.visible(0.0)
        overlaps, near = [], []
        for time in np.arange(1, FRAMES) / 8:
            mask, shown = scene.masks(time), seen & scene.visible(time)
            for label in range(1, first.max() + 1):
                either = np.sum((first == label) | (mask == label))
                both = np.sum((first == label) & (mask == label))
                overlaps.append(both / either if either else 1)
            moved = (scene.points(time) - scene.points(0.0))[shown] * (256 / WIDTH, 256 / HEIGHT)
            near.append(np.hypot(*moved.T)[:, np.newaxis] < [1, 2, 4, 8, 16])
        regions.append(np.mean(overlaps))
        positions_found.append(np.concatenate(near).mean())
    return np.mean(regions), np.mean(positions_found)


@pytest.fixture(scope='module')
def still():
    """The rows of copying, and of an encoder that tells labels positions and the walk contents."""
    return scorecard.score('still', Made(positions, neighbourhoods), 0.05)


def test_copying_is_scored_by_the_motion_of_the_scenes(still):
    copied = still[1]
    assert copied[1:3] == pytest.approx(copied_by_hand())
    assert copied.collapse is None


def test_labels_stay_where_features_of_stage_3_tell_positions_alone(still):
    row, copied = still
    # At a cell's size of 8 pixels, labels are not copied exactly.
    assert row.region == pytest.approx(copied.region, abs=0.03)
    assert row.position == pytest.approx(copied.position, abs=0.05)
    assert row.collapse < 10


@pytest.mark.slow
def test_labels_follow_contents_and_a_walk_by_positions_is_called_collapsed(still):
    row, copied = scorecard.score('moving', Made(neighbourhoods, positions), 0.05)
    assert copied == still[1]
    assert row.region > copied.region + 0.05 and row.position > copied.position + 0.1
    assert row.collapse == pytest.approx(NODES / (1 + (NODES - 1) * np.exp(-20)), rel=1e-4)


def test_the_card_as_text():
    rows = [
        scorecard.Score('trained', 0.71234, 0.5, 1.04),
        scorecard.Score('copying the first label', 0.25, 0.125, None),
    ]
    title, trained, copied, *_ = scorecard.table(rows).splitlines()
    assert title.split()[-4:] == ['J', '(masks)', 'points', 'collapse']
    assert trained.split() == ['trained', '0.712', '0.500', '1.0', 'x']
    assert copied.split() == ['copying', 'the', 'first', 'label', '0.250', '0.125']


def test_unrelated_nodes_are_of_different_scenes():
    encoder = resnet.resnet18(width=4, head_widths=(8, 6))
    one, other = scorecard.unrelated_nodes(encoder)
    np.testing.assert_array_equal(one[1:], other[:-1])
    np.testing.assert_allclose(tf.norm(one, axis=-1), 1, atol=1e-5)
    assert np.abs(one - other).max() > 0.1


def test_pictures_are_drawn():
    drawn = scorecard.draw(resnet.resnet18(width=4, head_widths=(8, 6)), 0.05)
    assert set(drawn) == {'features', 'affinity', 'masks'}
    for picture in drawn.values():
        assert picture.dtype == np.uint8 and picture.shape[-1] == 3 and picture.std() > 10


def test_an_encoder_without_padding_is_refused():
    encoder = resnet.resnet18(padding='none', width=4, head_widths=(8, 6))
    with pytest.raises(errors.UserError, match='128 x 160 .*too small.*tools.evaluate'):
        scorecard.score('valid convolutions', encoder, 0.05)
