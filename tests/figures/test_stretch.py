"""Frames are chosen from parts of videos."""

from __future__ import annotations

import numpy as np
from PIL import Image
import pytest
import steady_videos

from stfc3_tf import errors
from stfc3_tf.figures import (
    stretch,
)


@pytest.fixture(scope='module')
def film(tmp_path_factory):
    """20 frames at 10 per second, frame n of brightness 10 n."""
    path = str(tmp_path_factory.mktemp('film') / 'film.mp4')
    shades = [np.full((32, 40, 3), 10 * number, np.uint8) for number in range(20)]
    steady_videos.write(path, shades, 10.0)
    return path


def numbers(frames):
    return np.rint(np.mean(frames, axis=(1, 2, 3)) / 10).tolist()


def test_frames_are_spread_over_a_part(film):
    times, frames = stretch.Stretch(film).spread(3)
    np.testing.assert_allclose(times, [0, 1, 1.9], atol=0.051)
    assert numbers(frames)[::2] == [0, 19]
    part = stretch.Stretch(film, 0.5, 0.4)
    times, frames = part.spread(5)
    assert numbers(frames) == [5, 6, 7, 8, 9] and part.frame_rate == pytest.approx(10)
    np.testing.assert_allclose(times, [0.5, 0.6, 0.7, 0.8, 0.9], atol=1e-4)
    assert numbers(stretch.Stretch(film, 1.0, 1.0).spread(10)[1]) == list(range(10, 20))


@pytest.mark.parametrize(
    'start, duration, count, message',
    [
        (0.0, None, 21, 'chosen part has 20 frames, but 21 are needed'),
        (2.5, None, 1, 'ends at 1.900 s, but frames from 2.5 s are needed'),
        (0.51, 0.05, 1, 'no frame from 0.51 s to 0.56 s; those beside are at 0.500 s and 0.600 s'),
        (1.0, 1.5, 1, 'ends at 1.900 s, but frames from 1 s to 2.5 s are needed'),
    ],
)
def test_videos_shorter_than_asked(film, start, duration, count, message):
    with pytest.raises(errors.UserError, match=message):
        stretch.Stretch(film, start, duration).spread(count)


def test_frames_have_names(film, tmp_path):
    assert stretch.frame_names(film)[:2] == ['000000', '000001']
    found = stretch.read_named(film, ['000003', '000012'])
    assert list(found) == ['000003', '000012'] and numbers(list(found.values())) == [3, 12]
    for name, shade in (('frame_10', 100), ('frame_9', 90)):
        Image.fromarray(np.full((32, 40, 3), shade, np.uint8)).save(tmp_path / f'{name}.png')
    assert stretch.frame_names(str(tmp_path)) == ['frame_9', 'frame_10']
    assert numbers(list(stretch.read_named(str(tmp_path), ['frame_10']).values())) == [10]
