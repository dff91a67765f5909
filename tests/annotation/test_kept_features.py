"""Features kept on disk."""

import numpy as np
import pytest

from stfc3_tf.annotation.kept_features import KeptFeatures
from stfc3_tf.propagation import extractor
from stfc3_tf.views.cell_grid import CellGrid


class Counting:
    """Features that are the pixels, times a factor, and how often they were asked for."""

    cell_grid = CellGrid(first=3.5, stride=8)

    def __init__(self, factor=0.1):
        self.factor, self.asked = factor, 0

    def identity(self):
        return {'factor': self.factor}

    def features(self, frames):
        self.asked += 1
        return frames.astype(np.float32) * self.factor


def frames(count):
    return np.random.default_rng(0).integers(0, 256, (count, 1, 8, 16, 3), np.uint8)


def lengths_one(features):
    features = features.astype(np.float64)
    return features / np.linalg.norm(features, axis=-1, keepdims=True)


def size_of(folder):
    return sum(path.stat().st_size for path in folder.glob('*'))


def test_each_frame_is_encoded_once_also_by_a_later_process(tmp_path):
    encoder = Counting()
    kept = KeptFeatures(encoder, str(tmp_path / 'kept'), 1 << 20)
    first = [kept.features(each) for each in frames(4)]
    again = KeptFeatures(encoder, str(tmp_path / 'kept'), 1 << 20)
    for one, other, frame in zip(first, (again.features(each) for each in frames(4)), frames(4)):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one, lengths_one(frame), rtol=1e-3)
    assert encoder.asked == 4 and again.cell_grid == encoder.cell_grid


def test_another_encoder_has_features_of_its_own(tmp_path):
    KeptFeatures(Counting(), str(tmp_path), 1 << 20).features(frames(1)[0])
    encoder = Counting(0.2)
    KeptFeatures(encoder, str(tmp_path), 1 << 20).features(frames(1)[0])
    assert encoder.asked == 1


@pytest.mark.parametrize('factor', [1e-6, 0.1, 1e5])
def test_features_of_any_length_lose_no_more_than_half_precision(tmp_path, factor):
    kept = KeptFeatures(Counting(factor), str(tmp_path), 1 << 20)
    found = extractor.unit_features(kept, frames(1)[0])
    # Half precision changes a number by 2^-11 of it at most, and so the length that divides it.
    np.testing.assert_allclose(found, lengths_one(frames(1)[0]), rtol=2**-10, atol=1e-7)


def test_the_bound_holds_and_what_was_used_longest_ago_makes_room(tmp_path):
    encoder = Counting()
    KeptFeatures(encoder, str(tmp_path), 1 << 20).features(frames(1)[0])
    room = 3 * size_of(tmp_path)
    kept = KeptFeatures(encoder, str(tmp_path), room)
    for place in (0, 1, 2, 0, 3):
        kept.features(frames(4)[place])
        assert size_of(tmp_path) <= room
    assert encoder.asked == 4
    kept.features(frames(4)[0])
    assert encoder.asked == 4
    kept.features(frames(4)[1])
    assert encoder.asked == 5


@pytest.mark.parametrize('most', [0, 100])
def test_without_room_nothing_is_kept(tmp_path, most):
    encoder = Counting()
    kept = KeptFeatures(encoder, str(tmp_path), most)
    np.testing.assert_array_equal(*[kept.features(frames(1)[0]) for _ in range(2)])
    assert encoder.asked == 2 and not size_of(tmp_path)


@pytest.mark.parametrize('contents', [b'', b'\x93NUMPY damaged'])
def test_a_damaged_file_is_computed_again(tmp_path, contents):
    expected = KeptFeatures(Counting(), str(tmp_path), 1 << 20).features(frames(1)[0])
    (path,) = tmp_path.glob('*.npy')
    path.write_bytes(contents)
    encoder = Counting()
    kept = KeptFeatures(encoder, str(tmp_path), 1 << 20)
    np.testing.assert_array_equal(kept.features(frames(1)[0]), expected)
    assert encoder.asked == 1
