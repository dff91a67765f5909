"""Simulated corrections: which frames are corrected, and how the result is scored."""

from colour_neighbourhoods import GRID, neighbourhoods
import numpy as np
import pytest

from stfc3_tf.annotation import corrections, label_codecs, propagate
from stfc3_tf.clips import synthetic
from stfc3_tf.propagation.extractor import FunctionExtractor


def moving_box(count):
    """A box of 8 columns that moves by one per frame; pixel (0, 0) is not scored."""
    truth = np.zeros((count, 16, 32), np.uint8)
    for number in range(count):
        truth[number, 4:12, 4 + number : 12 + number] = 1
    truth[:, 0, 0] = 255
    return truth


def test_the_worst_frame_is_corrected_and_the_score_is_that_of_davis(monkeypatch):
    """Predictions are the label of the first frame that was given, so each J is known."""
    truth = moving_box(9)
    asked = []

    def copies(encoder, clip, given, span, **options):
        labels = given.masks
        asked.append((span, sorted(labels)))
        for number in range(span.first, 9 if span.last is None else span.last + 1):
            yield label_codecs.MaskLabel(labels.get(number, labels[min(labels)]), {})

    monkeypatch.setattr(propagate, 'propagate_given', copies)
    frames = np.zeros((9, 16, 32, 3), np.uint8)
    found = corrections.curve(None, frames, truth, (0, 1, 2))
    # The last frame is worst. It is not scored, and the frames before keep the first mask. Then
    # frame 7 is worst. Only the stretches beside a correction are computed again, and the last one,
    # in which the labelled frame before is context.
    both_ways = [(*span, labels) for span, labels in asked if len(labels) == 2]
    assert both_ways == [
        (0, 8, [0, 8]),
        (8, None, [0, 8]),
        (0, 7, [0, 7]),
        (7, 8, [7, 8]),
        (8, None, [7, 8]),
    ]
    region = np.mean([(8 - k) / (8 + k) for k in range(1, 8)])
    assert found['corrections 0'] == found['nearest 0'] == found['corrections 1']
    scores = corrections._scores([np.where(truth[0] == 255, 0, truth[0])] * 9, truth)
    assert scores.region[1:8].mean() == pytest.approx(region)
    boundary = scores.boundary[1:8]
    assert found['corrections 0'] == pytest.approx((region + boundary.mean()) / 2)
    assert found['corrections 2'] > found['corrections 1']


def test_beside_it_stands_the_nearest_label_alone(monkeypatch):
    truth = moving_box(9)
    monkeypatch.setattr(
        propagate,
        'propagate_given',
        lambda encoder, clip, given, **options: (
            label_codecs.MaskLabel(given.masks[min(given.masks)], {}) for _ in clip.frames()
        ),
    )
    frames = np.zeros((9, 16, 32, 3), np.uint8)
    found = corrections.curve(None, frames, truth, (1,))
    # From frame 5 on the nearest label is that of frame 8.
    nearest = [truth[0 if number < 5 else 8] * (truth[0] < 255) for number in range(9)]
    assert found['nearest 1'] == pytest.approx(corrections._scores(nearest, truth).mean())
    assert found['nearest 1'] > found['corrections 1'] + 0.1


@pytest.mark.slow
def test_corrections_raise_the_score_of_a_scene():
    scene = synthetic.scene(1_000_000_004, 96, 128)
    times = np.arange(16) / 8
    frames, truth = ([f(time) for time in times] for f in (scene.frame, scene.masks))
    encoder = FunctionExtractor(neighbourhoods, GRID)
    found = corrections.curve(encoder, frames, truth, (0, 1, 3))
    assert found['corrections 0'] < found['corrections 1'] < found['corrections 3']
    assert found['corrections 3'] > found['corrections 0'] + 0.1
