"""The colours of labels are distinct for people with every kind of colour vision."""

from __future__ import annotations

import numpy as np
import pytest

from stfc3_tf.storage import palette

# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision
# Deficiency", IEEE TVCG 2009: severity 1.0, for linear RGB.
VISION = {
    'usual': np.eye(3),
    'no red': [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    'no green': [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    'no blue': [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
GROUNDS = {'skin': (198, 134, 66), 'grass': (86, 125, 70), 'sky': (135, 206, 235)}


def lab(colours, vision='usual'):
    """Return sRGB, 0 to 255, [colours, 3], as it is seen, in CIE L*a*b* (D65)."""
    share = np.asarray(colours) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(VISION[vision]), 0, 1)
    xyz = seen @ XYZ.T / XYZ.sum(axis=1)
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def distances(some, others):
    """Return differences of colour (CIE 1976), [some, others]; about 2.3 is just visible."""
    return np.linalg.norm(some[:, np.newaxis] - others, axis=-1)


def shown():
    return palette.DISTINCT[1 : 1 + len(palette.SHOWN)]


def test_the_scale_of_the_differences():
    white, black, red = lab([(255, 255, 255), (0, 0, 0), (255, 0, 0)])
    np.testing.assert_allclose(white, [100, 0, 0], atol=0.01)
    np.testing.assert_allclose(black, 0, atol=0.01)
    np.testing.assert_allclose(red, [53.24, 80.09, 67.20], atol=0.05)


@pytest.mark.parametrize('vision', VISION)
def test_all_colours_are_distinct(vision):
    seen = lab(shown(), vision)
    apart = distances(seen, seen)[np.triu_indices(len(seen), 1)]
    assert len(seen) == 12 and apart.min() > 10


@pytest.mark.parametrize('ground', GROUNDS)
def test_colours_stand_out_from(ground):
    assert distances(lab(shown()), lab([GROUNDS[ground]])).min() > 15


def test_colours_are_visible_in_dark_videos():
    assert lab(shown())[:, 0].min() > 40
