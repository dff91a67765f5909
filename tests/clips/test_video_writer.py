"""Videos written are what was given, in the form that browsers play."""

import fractions
import os
import subprocess
import sys

import av
import numpy as np
import pytest
import steady_videos

from stfc3_tf import errors
from stfc3_tf.clips import video_writer


def blocks(count=6, height=48, width=64):
    """Frames of four flat colours that change from frame to frame."""
    generator = np.random.default_rng(2)
    colours = generator.integers(0, 256, (count, 2, 2, 3), dtype=np.uint8)
    return colours.repeat(height // 2, axis=1).repeat(width // 2, axis=2)


def decoded(path):
    """Frames as BT.709 says, uint8 [time, height, width, 3], by the matrix and not by FFmpeg."""
    with av.open(str(path)) as container:
        planes = [
            [
                np.asarray(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
                for plane in frame.planes
            ]
            for frame in container.decode(video=0)
        ]
    frames = []
    for y, u, v in planes:
        luma = (y - 16.0) / 219
        blue, red = ((p.repeat(2, 0).repeat(2, 1) - 128.0) / 224 for p in (u, v))
        r, b = luma + 1.5748 * red, luma + 1.8556 * blue
        g = (luma - 0.2126 * r - 0.0722 * b) / 0.7152
        frames.append(np.stack([r, g, b], -1))
    return np.clip(np.rint(255 * np.array(frames)), 0, 255)


def test_frames_come_back_in_order_and_in_their_colours(tmp_path):
    frames = blocks()
    path = tmp_path / 'new' / 'video.mp4'
    assert steady_videos.write(path, iter(frames), 12.5) == 6
    found = decoded(path)
    assert found.shape == frames.shape
    inner = np.abs(found - frames)[:, 4:20, 4:28]
    assert inner.mean() < 3 and np.percentile(inner, 99) < 10
    assert [file.name for file in path.parent.iterdir()] == ['video.mp4']


def test_the_form_that_browsers_play(tmp_path):
    path = tmp_path / 'video.mp4'
    steady_videos.write(path, blocks(5, 34, 40)[:, :33, :39], 30000 / 1001)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == 'h264' and stream.codec_context.pix_fmt == 'yuv420p'
        assert (stream.width, stream.height) == (40, 34)
        assert float(stream.average_rate) == pytest.approx(30000 / 1001)
        times = [frame.time for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, np.arange(5) * 1001 / 30000, atol=1e-4)
    contents = path.read_bytes()
    assert contents.index(b'moov') < contents.index(b'mdat')


@pytest.mark.parametrize('rate', ['1/3600', '3/7', '1', '30000/1001', '240'])
def test_the_rate_is_stated(tmp_path, rate):
    path, expected = str(tmp_path / 'a.mp4'), fractions.Fraction(rate)
    timed = ((number / float(expected), image) for number, image in enumerate(blocks(3)))
    video_writer.write_timed_video(path, timed, float(expected))
    with av.open(path) as container:
        assert container.streams.video[0].average_rate == expected


@pytest.mark.parametrize(
    'frames, message',
    [
        ([], 'no frames'),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)], 'frame 2 is 10x8'),
    ],
)
def test_what_cannot_be_written_leaves_nothing(tmp_path, frames, message):
    path = tmp_path / 'video.mp4'
    path.write_bytes(b'older')
    with pytest.raises(errors.UserError, match=message):
        steady_videos.write(path, frames, 10)
    assert [file.name for file in tmp_path.iterdir()] == ['video.mp4']
    assert path.read_bytes() == b'older'


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(errors.UserError, match='video.mp4 cannot be written'):
        steady_videos.write(tmp_path / 'file' / 'video.mp4', blocks(), 10)


@pytest.mark.slow
def test_a_file_does_not_depend_on_what_was_in_memory(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)
    blocks = colours.repeat(8, 0).repeat(8, 1)[:101, :133]
    np.save(tmp_path / 'frames.npy', [np.roll(blocks, 2 * number, 1) for number in range(21)])
    code = (
        'import sys, numpy as np\n'
        'from stfc3_tf.clips import video_writer\n'
        'timed = [(number / 25, frame) for number, frame in enumerate(np.load(sys.argv[1]))]\n'
        'video_writer.write_timed_video(sys.argv[2], timed, 25.0)\n'
    )
    files = []
    for fill in ('1', '170'):  # glibc puts it into all memory that a program asks for.
        path = tmp_path / f'{fill}.mp4'
        subprocess.run(
            [sys.executable, '-c', code, str(tmp_path / 'frames.npy'), str(path)],
            env={**os.environ, 'MALLOC_PERTURB_': fill},
            check=True,
        )
        files.append(path.read_bytes())
    assert files[0] == files[1]
