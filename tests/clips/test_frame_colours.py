"""Colours are those that the matrix and the range of a video say, in every reader."""

import av
from av.video.reformatter import ColorRange
import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf.clips import footage, video
from stfc3_tf.preparation import segments
from stfc3_tf.preparation.settings import Settings

COLOURS = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200], [240, 230, 20]], np.uint8)
# The number of each matrix in H.264, and its weights of red and blue.
MATRICES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}


def write(path, matrix, full):
    """Write flat frames of `COLOURS`, converted to luma and chroma here and not by FFmpeg."""
    red, blue = MATRICES[matrix]
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=10, options={'qp': '0'})
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = ColorRange.JPEG if full else ColorRange.MPEG
        for r, g, b in COLOURS / 255.0:
            luma = red * r + (1 - red - blue) * g + blue * b
            chroma = np.array([(b - luma) / (2 - 2 * blue), (r - luma) / (2 - 2 * red)])
            levels = [255 * luma if full else 16 + 219 * luma]
            levels += list(128 + (255 if full else 224) * chroma)
            frame = av.VideoFrame(64, 48, 'yuv420p')
            for plane, exact in zip(frame.planes, levels):
                level = int(np.rint(exact))
                plane.update(bytes([level]) * (plane.line_size * plane.height))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def shown(images):
    return np.array([image[image.shape[0] // 2, image.shape[1] // 2] for image in images], int)


@pytest.mark.parametrize('full', [False, True])
@pytest.mark.parametrize('matrix', MATRICES)
def test_colours_of_every_matrix_and_range(tmp_path, matrix, full):
    path = tmp_path / 'video.mkv'
    write(path, matrix, full)
    images = [frame.image for frame in footage.open_footage(str(path), 10).frames()]
    np.testing.assert_allclose(shown(images), COLOURS, atol=3)
    np.testing.assert_allclose(shown(video.read_clip(str(path), 0, 4, 10.0, 10)), COLOURS, atol=3)
    settings = Settings(frame_rate=0, short_side=24, quality=100, frame_folder_rate=10)
    reduced = [p.jpeg for s in segments.SegmentedVideo(str(path), settings).segments() for p in s]
    np.testing.assert_allclose(shown(map(tf.io.decode_jpeg, reduced)), COLOURS, atol=5)
