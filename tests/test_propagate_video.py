"""A run over a video: its files, its overlay, and what is left when something goes wrong."""

import csv
import fractions
import io
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

import av
import moving_patches
import numpy as np
import pytest
import tensorflow as tf
from moving_patches import (
    FRAMES,
    HEIGHT,
    WIDTH,
    assert_masks_agree,
    scene,
    write_folder,
    write_mask,
)
from PIL import Image

from stfc3_tf import annotate_video, annotations, errors, overlay, palette, progress
from stfc3_tf.benchmarks import models
from stfc3_tf.clips import footage

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return moving_patches.save_model(str(tmp_path_factory.mktemp('model') / 'saved_model'))


@pytest.fixture(scope='module')
def encoder(model):
    return models.SavedEncoder(model)


def run(encoder, video, annotation, frame, output, **settings):
    opened = footage.open_footage(str(video), 10)
    annotate_video.check_output(str(output), opened)
    return annotate_video.annotate_video(
        encoder, opened, annotation, frame, str(output), **settings
    )


def decoded(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == 'h264' and stream.codec_context.pix_fmt == 'yuv420p'
        return [
            (frame.time, frame.to_ndarray(format='rgb24')) for frame in container.decode(stream)
        ]


def test_a_video_with_masks_in_its_middle_frame(encoder, tmp_path):
    video = write_folder(tmp_path / 'frames')
    annotation = annotations.read_mask(write_mask(tmp_path / 'm.png', 3), (HEIGHT, WIDTH))
    output = tmp_path / 'new' / 'out'
    result = run(encoder, video, annotation, 3, output)
    assert result == annotate_video.Result(0, FRAMES - 1, None)
    assert sorted(os.listdir(output)) == ['confidence.csv', 'masks', 'overlay.mp4', 'result.json']
    assert sorted(os.listdir(output / 'masks')) == [f'{n:06d}.png' for n in range(FRAMES)]
    for number in range(FRAMES):
        image = Image.open(output / 'masks' / f'{number:06d}.png')
        assert image.mode == 'P' and image.getpalette()[3:9] == [128, 0, 0, 0, 128, 0]
        assert_masks_agree(np.asarray(image), list(scene(number))[1], within=2)
    rows = list(csv.DictReader((output / 'confidence.csv').read_text().splitlines()))
    assert [(row['frame'], row['object']) for row in rows] == [
        (str(number), identity) for number in range(FRAMES) for identity in '25'
    ]
    assert float(rows[-1]['time']) == 0.6 and all(float(row['confidence']) > 0.8 for row in rows)
    record = json.loads((output / 'result.json').read_text())
    assert (record['labelled_frame'], record['stopped_by']) == (3, None)
    assert record['input_size']['size'] == HEIGHT
    assert record['propagation']['context'] == 20 and 'saved_model_sha256' in record['model']


def test_the_overlay_shows_the_masks_where_the_objects_are(encoder, tmp_path):
    video = write_folder(tmp_path / 'frames')
    annotation = annotations.read_mask(write_mask(tmp_path / 'm.png', 0), (HEIGHT, WIDTH))
    run(encoder, video, annotation, 0, tmp_path / 'out')
    shown = decoded(tmp_path / 'out' / 'overlay.mp4')
    np.testing.assert_allclose([when for when, _ in shown], np.arange(FRAMES) / 10, atol=1e-4)
    for number, (_, picture) in enumerate(shown):
        # Both sides are odd: one row and one column are added, nothing is scaled.
        assert picture.shape == (HEIGHT + 1, WIDTH + 1, 3)
        frame, mask = scene(number)
        tinted = np.where(mask[..., None] > 0, frame / 2 + palette.DAVIS[mask] / 2, frame)
        inner = np.s_[2:-2, 2:-2]
        assert np.abs(picture[:HEIGHT, :WIDTH][inner] - tinted[inner]).mean() < 8


def test_a_video_with_points(encoder, tmp_path):
    video = write_folder(tmp_path / 'frames')
    first = np.array([[24.0, 24.0], [100.0, 71.0]])
    annotation = annotations.PointAnnotation(('a, "b"', 'nose'), first + [[32, 0], [-32, 0]])
    run(encoder, video, annotation, 4, f'{tmp_path}/out/')
    assert sorted(os.listdir(tmp_path / 'out')) == [
        'overlay.mp4',
        'result.json',
        'tracks.csv',
        'tracks.json',
    ]
    rows = list(csv.DictReader((tmp_path / 'out' / 'tracks.csv').read_text().splitlines()))
    frames = json.loads((tmp_path / 'out' / 'tracks.json').read_text())['frames']
    assert len(rows) == 2 * FRAMES and [frame['frame'] for frame in frames] == list(range(FRAMES))
    for number, frame in enumerate(frames):
        truth = first + number * np.array([[8, 0], [-8, 0]])
        assert frame['time'] == number / 10
        for point, row, position in zip(frame['points'], rows[2 * number :], truth):
            assert point['name'] == row['name'] and int(row['frame']) == number
            np.testing.assert_allclose([point['x'], point['y']], position, atol=0.3)
            assert float(row['x']) == point['x'] and float(row['y']) == point['y']
            assert point['confidence'] == float(row['confidence']) > 0.95
    shown = decoded(tmp_path / 'out' / 'overlay.mp4')
    assert len(shown) == FRAMES
    for number, (_, picture) in enumerate(shown):
        x, y = first[0] + [8 * number, 0]
        # Colour 1 of DAVIS, a dark red, in a disc that is wider than a chroma sample.
        assert np.abs(picture[int(y), int(x)].astype(int) - palette.DAVIS[1]).max() < 60


def test_points_without_confidence_are_rings_and_lost_ones_leave_no_trail():
    trails = overlay.PointTrails(['one', 'two', 'three'])
    image = np.full((960, 1280, 3), 90, np.uint8)
    here = np.array([[40.0, 40.0], [40.0, 400.0], [np.nan, np.nan]])
    trails.draw(image, here, np.ones(3))
    there = here + [60, 0]
    there[1] = np.nan
    drawn = trails.draw(image, there, np.array([0.1, 0.0, 0.0]))
    assert np.all(drawn[44, 98:103] == 90)  # Inside the ring, below the end of the trail.
    np.testing.assert_array_equal(drawn[40, 70], palette.DAVIS[1])
    assert np.all(drawn[100:] == 90) and np.all(image == 90)


def test_a_leap_is_no_trail():
    trails = overlay.PointTrails(['one'])
    image = np.full((960, 1280, 3), 90, np.uint8)
    for x in (40, 100, 300, 360):
        drawn = trails.draw(image, np.array([[x, 200.0]]), np.ones(1))
    np.testing.assert_array_equal(drawn[200, 330], palette.DAVIS[1])
    assert np.all(drawn[200, 30:290] == 90)


def test_the_progress_line(monkeypatch):
    clock, stream = [0.0], io.StringIO()
    monkeypatch.setattr(progress.time, 'perf_counter', lambda: clock[0])
    counter = progress.FrameCounter('labels', 101, stream)
    for clock[0], count in ((100.0, 1), (110.0, 6), (140.0, 21)):
        counter.show(count)
    clock[0] = 150.0
    counter.finish()
    assert stream.getvalue().splitlines() == [
        'labels: 21 of about 101 frames  0.5 frames/s  3 min left',
        'labels: 21 frames  0.4 frames/s',
    ]


class Failing:
    """An encoder that fails at its fourth frame."""

    def __init__(self, encoder, error):
        self.cell_grid, self.settings = encoder.cell_grid, encoder.settings
        self._encoder, self._error, self._left = encoder, error, 3

    def features(self, frames):
        self._left -= 1
        if self._left < 0:
            raise self._error
        return self._encoder.features(frames)


@pytest.mark.parametrize(
    'error, raised, message',
    [
        (KeyboardInterrupt(), KeyboardInterrupt, None),
        (
            tf.errors.ResourceExhaustedError(None, None, 'no memory'),
            errors.UserError,
            'encoder fails on frame 3 .* no memory',
        ),
    ],
)
def test_nothing_is_left_of_a_broken_run(encoder, tmp_path, error, raised, message):
    video = write_folder(tmp_path / 'frames')
    annotation = annotations.read_mask(write_mask(tmp_path / 'm.png', 0), (HEIGHT, WIDTH))
    with pytest.raises(raised, match=message):
        run(Failing(encoder, error), video, annotation, 0, tmp_path / 'out')
    assert sorted(os.listdir(tmp_path)) == ['frames', 'm.png']


def test_no_room_for_the_results(encoder, tmp_path):
    video = write_folder(tmp_path / 'frames')
    annotation = annotations.read_mask(write_mask(tmp_path / 'm.png', 0), (HEIGHT, WIDTH))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(errors.UserError, match='out.* cannot be written'):
            run(encoder, video, annotation, 0, tmp_path / 'out')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(os.listdir(tmp_path)) == ['frames', 'm.png']


def test_output_folders_are_checked(tmp_path):
    opened = footage.open_footage(write_folder(tmp_path / 'frames'))
    (tmp_path / 'file').write_text('')
    (tmp_path / 'empty').mkdir()
    for name, message in (
        ('frames', 'exists and is not an empty folder'),
        ('file', 'exists and is not an empty folder'),
        ('file/out', 'cannot be written'),
    ):
        with pytest.raises(errors.UserError, match=message):
            annotate_video.check_output(str(tmp_path / name), opened)
    with pytest.raises(errors.UserError, match='output_dir is empty'):
        annotate_video.check_output('', opened)
    annotate_video.check_output(str(tmp_path / 'empty'), opened)
    annotate_video.check_output(str(tmp_path / 'new'), opened)
    opened.stated_count = 10**12
    with pytest.raises(errors.UserError, match='MB are free .* make room'):
        annotate_video.check_output(str(tmp_path / 'new'), opened)
    assert sorted(os.listdir(tmp_path)) == ['empty', 'file', 'frames']


def test_what_lies_before_a_damaged_frame_is_kept(encoder, tmp_path):
    video = write_folder(tmp_path / 'frames')
    damaged = tmp_path / 'frames' / '5.png'
    damaged.write_bytes(damaged.read_bytes()[:100])
    annotation = annotations.read_mask(write_mask(tmp_path / 'm.png', 2), (HEIGHT, WIDTH))
    result = run(encoder, video, annotation, 2, tmp_path / 'out')
    assert (result.first_frame, result.last_frame) == (0, 4)
    assert '5.png' in result.stopped_by and 'cannot be decoded' in result.stopped_by
    assert len(os.listdir(tmp_path / 'out' / 'masks')) == 5
    assert len(decoded(tmp_path / 'out' / 'overlay.mp4')) == 5
    record = json.loads((tmp_path / 'out' / 'result.json').read_text())
    assert record['stopped_by'] == result.stopped_by
    # The labelled frame itself cannot be read.
    with pytest.raises(errors.UserError, match='Frame 5 cannot be reached: .*5.png'):
        run(encoder, video, annotation, 5, tmp_path / 'other')


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, '-m', 'tools.propagate', *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2'},
    )


def test_the_command_on_a_video_file_with_irregular_times(model, tmp_path):
    times = [0, 40, 80, 280, 300, 320, 400]
    video = tmp_path / 'video.mkv'
    with av.open(str(video), 'w') as container:
        stream = container.add_stream('libx264', rate=25, options={'qp': '0', 'g': '3'})
        stream.width, stream.height, stream.pix_fmt = WIDTH - 1, HEIGHT - 1, 'yuv444p'
        stream.codec_context.time_base = fractions.Fraction(1, 1000)
        for number, when in enumerate(times):
            image = next(scene(number))[:-1, :-1]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image))
            frame.pts, frame.time_base = when, fractions.Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    mask = Image.open(write_mask(tmp_path / 'mask.png', 6)).crop((0, 0, WIDTH - 1, HEIGHT - 1))
    mask.save(tmp_path / 'mask.png')
    command = start(
        f'--saved_model={model}',
        f'--video={video}',
        f'--mask={tmp_path / "mask.png"}',
        '--frame=6',
        f'--output_dir={tmp_path / "out"}',
        '--gin_bindings=PropagationSettings.context = 5',
    )
    output, error = command.communicate(timeout=300)
    assert command.returncode == 0, error
    assert 'labels: 7 frames' in output and 'frames 0 to 6' in output
    for number in range(FRAMES):
        mask = np.asarray(Image.open(tmp_path / 'out' / 'masks' / f'{number:06d}.png'))
        assert_masks_agree(mask, list(scene(number))[1][:-1, :-1], within=2)
    shown = [when for when, _ in decoded(tmp_path / 'out' / 'overlay.mp4')]
    np.testing.assert_allclose(shown, np.array(times) / 1000, atol=1e-4)
    record = json.loads((tmp_path / 'out' / 'result.json').read_text())
    assert record['propagation']['context'] == 5
    # The folder is taken now: refused before the model is even looked for.
    command = start(
        '--saved_model=nowhere',
        f'--video={video}',
        '--frame=6',
        f'--mask={tmp_path / "mask.png"}',
        f'--output_dir={tmp_path / "out"}',
    )
    _, error = command.communicate(timeout=300)
    assert command.returncode == 1
    assert error.strip().splitlines()[-1].startswith(f'error: {tmp_path / "out"} exists')


def test_a_stopped_command_leaves_nothing(model, tmp_path):
    command = start(
        f'--saved_model={model}',
        f'--video={write_folder(tmp_path / "frames", 400)}',
        f'--mask={write_mask(tmp_path / "mask.png", 0)}',
        f'--output_dir={tmp_path / "out"}',
    )
    first = tmp_path / 'out.partial' / 'masks' / '000000.png'
    try:
        deadline = time.time() + 120
        while not first.exists() and command.poll() is None and time.time() < deadline:
            time.sleep(0.05)
        command.send_signal(signal.SIGTERM)
        command.communicate(timeout=120)
    finally:
        command.kill()
    assert command.returncode == 143
    assert sorted(os.listdir(tmp_path)) == ['frames', 'mask.png']
