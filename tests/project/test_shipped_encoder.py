"""The encoder of the package: complete, the same everywhere, and useful on real video."""

import hashlib
import pathlib

import cv2
import numpy as np
import pytest

import stfc3_tf
from stfc3_tf.storage import images

PACKAGE = pathlib.Path(stfc3_tf.__file__).parent
WEIGHTS = PACKAGE / 'encoders' / 'stfc3-small' / 'weights.npz'
SAMPLES = PACKAGE / 'samples'
DIGEST = 'a8716c059e0146cb2758408dd7060d256eb9ca5602dedc72f73556c8e1643351'


def hull(mask):
    """Return the convex hull of a mask, so that neither the thumb nor see-through parts matter."""
    filled = np.zeros(mask.shape, np.uint8)
    corners = cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.int32))
    return cv2.fillConvexPoly(filled, corners, 1).astype(bool)


def dark_cup(frame):
    """Return the cup, found without the encoder: dark and without colour before a bright wall."""
    hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)
    dark = ((hsv[..., 2] < 110) & (hsv[..., 1] < 80)).astype(np.uint8)
    dark = cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(dark)
    large = 1 + np.flatnonzero(statistics[1:, cv2.CC_STAT_AREA] > 60)
    return hull(np.isin(parts, large))


def overlap(a, b):
    return np.sum(a & b) / np.sum(a | b)


def test_the_weights_are_those_of_the_model_card():
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == DIGEST
    assert DIGEST in (WEIGHTS.parent / 'MODEL_CARD.md').read_text()
    assert WEIGHTS.stat().st_size < 4_000_000


def test_features_move_with_the_picture():
    """A picture moved by 8 pixels has its features one cell further on."""
    encoder = stfc3_tf.load('stfc3-small')
    picture = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    picture = cv2.resize(picture, (192, 192), interpolation=cv2.INTER_CUBIC)
    features = np.asarray(encoder.features(np.stack([picture, np.roll(picture, 8, axis=1)])))
    assert features.shape == (2, 24, 24, 128)
    np.testing.assert_allclose(np.linalg.norm(features, axis=-1), 1, atol=1e-5)
    here, there = features[0, 8:16, 8:15], features[1, 8:16, 9:16]
    np.testing.assert_allclose(np.sum(here * there, axis=-1), 1, atol=1e-3)


@pytest.mark.slow
def test_a_mask_is_carried_through_the_sample_clip():
    encoder = stfc3_tf.load('stfc3-small')
    frames = [frame.image for frame in stfc3_tf.open_footage(str(SAMPLES / 'cup.mp4')).frames()]
    first = images.read_index_mask(str(SAMPLES / 'cup_mask.png'))
    assert len(frames) == 72
    labels = list(stfc3_tf.propagate_masks(encoder, frames[:40], first))
    scores = [
        overlap(hull(label.mask == 1), dark_cup(frame)) for label, frame in zip(labels, frames)
    ]
    assert min(scores) > 0.75
    assert np.mean(scores) > 0.85
    copied = [overlap(hull(first == 1), dark_cup(frame)) for frame in frames[:40]]
    assert min(copied) < 0.4  # The cup does move: the first mask alone would not do.
