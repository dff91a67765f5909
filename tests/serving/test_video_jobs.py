"""Encoders of every documented kind, and an object of one's own, in a whole video job."""

import json

import numpy as np
from PIL import Image
import pytest
from small_encoders import make_encoder

import stfc3_tf
from stfc3_tf.annotation import video_job
from stfc3_tf.annotation.given_labels import GivenMasks, GivenPoints
from stfc3_tf.annotation.marks import inputs
from stfc3_tf.clips import footage, synthetic
from stfc3_tf.serving import export
from stfc3_tf.views.cell_grid import CellGrid

SCENE = synthetic.scene(1, 64, 80)


class MeanColours:
    """Has nothing but `features` and `cell_grid`; its features have any length."""

    cell_grid = CellGrid(3.5, 8)

    def features(self, frames):
        blocks = frames.reshape(len(frames), 8, 8, 10, 8, 3)
        return blocks.mean((2, 4)) + 1


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    folder = tmp_path_factory.mktemp('video')
    for number in range(5):
        Image.fromarray(SCENE.frame(number / 8)).save(folder / f'{number}.png')
    return footage.open_footage(str(folder), 8.0)


@pytest.fixture(params=['bare', *export.FORMATS])
def encoder(request, tmp_path):
    if request.param == 'bare':
        return MeanColours()
    export.export(make_encoder(), str(tmp_path / 'model'), request.param)
    return stfc3_tf.load(tmp_path / 'model')


def test_points_go_through_a_whole_job(encoder, video, tmp_path):
    points = {0: np.array([20.0, 30.0]), 1: np.array([61.5, 40.25])}
    annotation = inputs.PointAnnotation(('left', 'right'), GivenPoints(2, {2: points}))
    result = video_job.annotate_video(
        encoder, video, annotation, str(tmp_path / 'out'), short_side=64
    )
    assert (result.first_frame, result.last_frame, result.stopped_by) == (0, 4, None)
    assert (tmp_path / 'out' / 'overlay.mp4').stat().st_size > 0
    tracks = (tmp_path / 'out' / 'tracks.csv').read_text().splitlines()
    assert len(tracks) == 1 + 5 * 2
    model = json.loads((tmp_path / 'out' / 'result.json').read_text())['model']
    if isinstance(encoder, MeanColours):
        assert model == {'class': 'MeanColours', 'cell_grid': {'first': 3.5, 'stride': 8}}
    else:
        assert model == encoder.identity()


def test_a_mask_goes_through_a_whole_job_with_a_bare_encoder(video, tmp_path):
    mask = SCENE.masks(0.0).astype(np.uint8)
    annotation = inputs.MaskAnnotation(GivenMasks({0: mask}))
    result = video_job.annotate_video(
        MeanColours(), video, annotation, str(tmp_path / 'out'), short_side=64
    )
    assert (result.first_frame, result.last_frame) == (0, 4)
    masks = sorted((tmp_path / 'out' / 'masks').iterdir())
    assert len(masks) == 5
    np.testing.assert_array_equal(np.asarray(Image.open(masks[0])), mask)
