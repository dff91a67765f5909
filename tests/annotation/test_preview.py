"""The picture of labelled frames that is written before a run."""

import fractions

import made_videos
from moving_patches import HEIGHT, WIDTH, scene, write_folder, write_mask
import numpy as np
from PIL import Image
import pytest

from stfc3_tf import errors
from stfc3_tf.annotation import video_job
from stfc3_tf.annotation.drawing import preview
from stfc3_tf.annotation.marks import inputs
from stfc3_tf.clips import footage
from stfc3_tf.storage import palette


def test_a_preview_shows_the_labels_on_their_frames(tmp_path):
    video = footage.open_footage(str(write_folder(tmp_path / 'frames')), 10)
    paths = {n: write_mask(tmp_path / f'm{n}.png', n) for n in (1, 4)}
    annotation = inputs.read_masks(paths, (HEIGHT, WIDTH))
    path = str(tmp_path / 'labels.png')
    preview.check(path)
    preview.write(path, video, annotation)
    shown = np.asarray(Image.open(path)).astype(int)
    assert shown.shape[1] > 2 * WIDTH > shown.shape[1] - 40
    (frame, mask), top = list(scene(4)), shown.shape[0] - HEIGHT
    tint = 0.55 * frame + 0.45 * palette.DISTINCT[mask]
    right = shown[top:, -WIDTH:]
    off = np.abs(right - tint[: right.shape[0]]).max(axis=-1)
    # Edges are drawn over it.
    assert np.median(off[mask > 0]) < 2


@pytest.mark.parametrize('aspect', [fractions.Fraction(16, 9), fractions.Fraction(3, 4)])
def test_a_preview_and_an_overlay_have_the_shape_that_players_show(encoder, tmp_path, aspect):
    # Encoders need even sides.
    images = [frame[:-1, :-1] for frame, _ in map(scene, range(2))]
    made_videos.write(tmp_path / 'a.mp4', [0, 0.1], images.__getitem__, pixel_aspect=aspect)
    video = footage.open_footage(str(tmp_path / 'a.mp4'), 10)
    assert video.pixel_aspect == aspect
    Image.fromarray(list(scene(0))[1][:-1, :-1]).save(tmp_path / 'm.png')
    annotation = inputs.read_masks({0: str(tmp_path / 'm.png')}, video.size)
    preview.write(str(tmp_path / 'labels.png'), video, annotation)
    width, height = Image.open(tmp_path / 'labels.png').size
    (rows, columns), caption = video.size, 21
    assert width / (height - caption) == pytest.approx(columns * aspect / rows, rel=0.02)
    video_job.annotate_video(encoder, video, annotation, str(tmp_path / 'out'))
    assert footage.open_footage(str(tmp_path / 'out' / 'overlay.mp4')).pixel_aspect == aspect


def test_a_preview_needs_the_ending_of_a_picture(tmp_path):
    with pytest.raises(errors.UserError, match=r'--preview=.*a.txt: its ending must be .png'):
        preview.check(str(tmp_path / 'a.txt'))
