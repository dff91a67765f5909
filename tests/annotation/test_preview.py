"""The picture of labelled frames that is written before a run."""

from moving_patches import HEIGHT, WIDTH, scene, write_folder, write_mask
import numpy as np
from PIL import Image
import pytest

from stfc3_tf import errors
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


def test_a_preview_needs_the_ending_of_a_picture(tmp_path):
    with pytest.raises(errors.UserError, match=r'--preview=.*a.txt: its ending must be .png'):
        preview.check(str(tmp_path / 'a.txt'))
