"""Damaged videos and models: each is one line that names the file, or is read; nothing crashes."""

import pathlib

import damages
import made_videos
import numpy as np
import pytest
import small_encoders

import stfc3_tf
from stfc3_tf.clips import footage, video
from stfc3_tf.serving import export

VIDEOS = {
    'a.mp4': ('libx264', 'yuv420p'),
    'a.avi': ('mpeg4', 'yuv420p'),
    'a.mkv': ('libx264', 'yuv420p'),
    'a.webm': ('libvpx-vp9', 'yuv420p'),
    'a.ts': ('mpeg2video', 'yuv420p'),
    'a.h264': ('libx264', 'yuv420p'),
    'a.mov': ('mjpeg', 'yuvj420p'),
}
# Format -> file -> how many damages.
MODELS = {
    'saved_model': {
        'saved_model.pb': 5,
        'variables/variables.index': 3,
        'variables/variables.data-00000-of-00001': 3,
        'assets.extra/stfc3.json': 3,
    },
    'compact': {'weights.npz': 8, 'stfc3.json': 8},
    'tflite': {'model.tflite': 40},
    'onnx': {'model.onnx': 40},
}
PAIRS = [(name, file) for name, files in MODELS.items() for file in files]


def read_video(path):
    """Read all frames, then a clip, as propagation and training do."""
    for frame in footage.open_footage(path).frames():
        assert frame.image.shape[2] == 3
    assert video.read_clip(path, 0.5, 2, 5.0).shape[3] == 3


@pytest.mark.parametrize('name', VIDEOS)
def test_a_damaged_video_is_one_line_that_names_it_or_is_read(name, tmp_path):
    codec, pix_fmt = VIDEOS[name]
    whole = made_videos.write(
        tmp_path / name, np.arange(12) / 10, made_videos.noisy_picture, codec, pix_fmt=pix_fmt
    )
    contents = pathlib.Path(whole).read_bytes()
    read_video(whole)
    damages.try_damages(tmp_path, name, contents, read_video, count=60, most_seconds=30)


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """A folder with one encoder in every format."""
    folder = tmp_path_factory.mktemp('formats')
    encoder = small_encoders.make_encoder()
    for name in MODELS:
        export.export(encoder, str(folder / name), name)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize('name, file', PAIRS)
def test_a_damaged_model_is_one_line_that_names_it_or_is_used(name, file, exported, tmp_path):
    frames = small_encoders.random_frames(1, 32, 40)

    def use(path):
        root = path[: -len(file) - 1]
        features = stfc3_tf.load(root).features(frames)
        assert features.shape[:3] == (1, 4, 5)

    contents = (exported / name / file).read_bytes()
    use(str(exported / name / file))
    count = MODELS[name][file]
    damages.try_damages(tmp_path, file, contents, use, count, 60, exported / name)


def test_there_are_enough_damages():
    models = sum(count for files in MODELS.values() for count in files.values())
    assert 60 * len(VIDEOS) + models >= 500
