"""A run over a video: its files, its overlay, and what is left when something goes wrong."""

import csv
import fractions
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import av
import full_disk
from moving_patches import (
    FRAMES,
    HEIGHT,
    WIDTH,
    assert_masks_agree,
    scene,
    write_folder,
    write_mask,
)
import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.annotation import outputs, video_job
from stfc3_tf.annotation.drawing import overlay
from stfc3_tf.annotation.given_labels import GivenMasks, GivenPoints
from stfc3_tf.annotation.marks import inputs
from stfc3_tf.clips import footage
from stfc3_tf.storage import palette
from stfc3_tf.storage.spool import Spool

ROOT = pathlib.Path(__file__).parents[2]


def points_of(frame, names, points):
    named = {place: np.asarray(point) for place, point in enumerate(points)}
    return inputs.PointAnnotation(names, GivenPoints(len(names), {frame: named}))


def masks_at(tmp_path, *frames):
    paths = {
        n: write_mask(tmp_path / ('m.png' if len(frames) == 1 else f'm{n}.png'), n) for n in frames
    }
    return inputs.read_masks(paths, (HEIGHT, WIDTH))


def run(encoder, video, annotation, output, **settings):
    opened = footage.open_footage(str(video), 10)
    video_job.check_output(str(output), opened)
    return video_job.annotate_video(encoder, opened, annotation, str(output), **settings)


def decoded(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == 'h264' and stream.codec_context.pix_fmt == 'yuv420p'
        return [
            (frame.time, frame.to_ndarray(format='rgb24')) for frame in container.decode(stream)
        ]


def test_a_video_with_masks_in_its_middle_frame(encoder, tmp_path):
    video = write_folder(tmp_path / 'frames')
    annotation = masks_at(tmp_path, 3)
    output = tmp_path / 'new' / 'out'
    result = run(encoder, video, annotation, output)
    assert result == video_job.Result(0, FRAMES - 1, FRAMES, None)
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
    assert (record['labelled_frames'], record['stopped_by']) == ([3], None)
    assert record['input_size']['size'] == HEIGHT
    assert record['propagation']['context'] == 20 and 'saved_model_sha256' in record['model']


def test_the_overlay_shows_the_masks_where_the_objects_are(encoder, tmp_path):
    video = write_folder(tmp_path / 'frames')
    annotation = masks_at(tmp_path, 0)
    run(encoder, video, annotation, tmp_path / 'out')
    shown = decoded(tmp_path / 'out' / 'overlay.mp4')
    np.testing.assert_allclose([when for when, _ in shown], np.arange(FRAMES) / 10, atol=1e-4)
    for number, (_, picture) in enumerate(shown):
        # Both sides are odd: one row and one column are added, nothing is scaled.
        assert picture.shape == (HEIGHT + 1, WIDTH + 1, 3)
        frame, mask = scene(number)
        tint = 0.55 * frame + 0.45 * palette.DISTINCT[mask]
        off = picture[:HEIGHT, :WIDTH] - tint
        # Edges, and the legend in a corner, are drawn over it.
        for number in (2, 5):
            assert np.abs(np.median(off[mask == number], axis=0)).max() < 20


def test_a_video_with_points(encoder, tmp_path):
    video = write_folder(tmp_path / 'frames')
    first = np.array([[24.0, 24.0], [100.0, 71.0]])
    annotation = points_of(4, ('a, "b"', 'nose'), first + [[32, 0], [-32, 0]])
    options = outputs.Options(('tapvid',), visible_above=0.99)
    run(encoder, video, annotation, f'{tmp_path}/out/', options=options)
    assert sorted(os.listdir(tmp_path / 'out')) == [
        'overlay.mp4',
        'result.json',
        'tapvid.npz',
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
            assert point['visible'] == (row['visible'] == '1')
            assert point['visible'] == (point['confidence'] >= 0.99)
    with np.load(tmp_path / 'out' / 'tapvid.npz') as arrays:
        x = [[point['x'] + 0.5 for point in frame['points']] for frame in frames]
        np.testing.assert_allclose(arrays['tracks'][..., 0].T, x, atol=1e-3)
    shown = decoded(tmp_path / 'out' / 'overlay.mp4')
    assert len(shown) == FRAMES
    for number, (_, picture) in enumerate(shown):
        x, y = first[0] + [8 * number, 0]
        # The first colour in a disc that is wider than a chroma sample.
        assert np.abs(picture[int(y), int(x)].astype(int) - palette.DISTINCT[1]).max() < 60


def test_points_without_confidence_are_rings_and_lost_ones_leave_no_trail():
    trails = overlay.PointTrails(['one', 'two', 'three'])
    image = np.full((960, 1280, 3), 90, np.uint8)
    here = np.array([[40.0, 40.0], [40.0, 400.0], [np.nan, np.nan]])
    trails.draw(image, here, np.ones(3, bool))
    there = here + [60, 0]
    there[1] = np.nan
    drawn = trails.draw(image, there, np.zeros(3, bool))
    assert np.all(drawn[44, 98:103] == 90)  # Inside the ring, below the end of the trail.
    np.testing.assert_array_equal(drawn[40, 70], palette.DISTINCT[1])
    assert np.all(drawn[100:] == 90) and np.all(image == 90)


def test_a_trail_has_no_line_over_a_leap():
    trails = overlay.PointTrails(['one'])
    image = np.full((960, 1280, 3), 90, np.uint8)
    for x in (40, 100, 300, 360):
        drawn = trails.draw(image, np.array([[x, 200.0]]), np.ones(1, bool))
    np.testing.assert_array_equal(drawn[200, 330], palette.DISTINCT[1])
    assert np.all(drawn[200, 30:290] == 90)


class Failing:
    """An encoder that fails at its fourth frame."""

    def __init__(self, encoder, error):
        self.cell_grid, self.identity = encoder.cell_grid, encoder.identity
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
    annotation = masks_at(tmp_path, 0)
    with pytest.raises(raised, match=message):
        run(Failing(encoder, error), video, annotation, tmp_path / 'out')
    assert sorted(os.listdir(tmp_path)) == ['frames', 'm.png']


def test_no_room_for_the_results(encoder, tmp_path, monkeypatch):
    video = write_folder(tmp_path / 'frames')
    annotation = masks_at(tmp_path, 0)
    monkeypatch.setattr(tempfile, 'TemporaryFile', io.BytesIO)  # There is room elsewhere.
    with (
        full_disk.files_of_at_most(2000),
        pytest.raises(errors.UserError, match='out.* cannot be written'),
    ):
        run(encoder, video, annotation, tmp_path / 'out')
    assert sorted(os.listdir(tmp_path)) == ['frames', 'm.png']


def test_no_room_for_temporary_files(encoder, tmp_path):
    video = write_folder(tmp_path / 'frames')
    annotation = masks_at(tmp_path, 0)
    message = f'{tempfile.gettempdir()}, the folder for temporary files, .* set TMPDIR'
    with full_disk.files_of_at_most(2000), pytest.raises(errors.UserError, match=message) as raised:
        run(encoder, video, annotation, tmp_path / 'out')
    assert str(tmp_path) not in str(raised.value)
    assert sorted(os.listdir(tmp_path)) == ['frames', 'm.png']
    spool = Spool()
    with full_disk.files_of_at_most(2000):
        spool.put(0, np.ones(400))
        # Even what a buffer of the file could still take.
        with pytest.raises(errors.UserError, match=message):
            spool.put(1, np.ones(400))
    spool.put(1, np.ones(400))
    np.testing.assert_array_equal(spool.get(1), np.ones(400))


def test_object_numbers_that_a_png_cannot_hold_are_refused(encoder, tmp_path):
    video = write_folder(tmp_path / 'frames')
    mask = list(scene(0))[1].astype(int)
    mask[mask == 5] = 300
    with pytest.raises(errors.UserError, match='Object 300 .* from 1 to 255'):
        run(encoder, video, inputs.MaskAnnotation(GivenMasks({0: mask})), tmp_path / 'out')
    assert os.listdir(tmp_path) == ['frames']


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
            video_job.check_output(str(tmp_path / name), opened)
    with pytest.raises(errors.UserError, match='output_dir is empty'):
        video_job.check_output('', opened)
    video_job.check_output(str(tmp_path / 'empty'), opened)
    video_job.check_output(str(tmp_path / 'new'), opened)
    opened.stated_count = 10**12
    with pytest.raises(errors.UserError, match='MB are free .* make room'):
        video_job.check_output(str(tmp_path / 'new'), opened)
    assert sorted(os.listdir(tmp_path)) == ['empty', 'file', 'frames']


def test_what_lies_before_a_damaged_frame_is_kept(encoder, tmp_path):
    video = write_folder(tmp_path / 'frames')
    damaged = tmp_path / 'frames' / '5.png'
    damaged.write_bytes(damaged.read_bytes()[:100])
    annotation = masks_at(tmp_path, 2)
    result = run(encoder, video, annotation, tmp_path / 'out')
    assert (result.first_frame, result.last_frame) == (0, 4)
    assert '5.png' in result.stopped_by and 'cannot be decoded' in result.stopped_by
    assert len(os.listdir(tmp_path / 'out' / 'masks')) == 5
    assert len(decoded(tmp_path / 'out' / 'overlay.mp4')) == 5
    record = json.loads((tmp_path / 'out' / 'result.json').read_text())
    assert record['stopped_by'] == result.stopped_by
    # The marked frame itself cannot be read.
    with pytest.raises(errors.UserError, match='Frame 5 cannot be reached: .*5.png'):
        run(encoder, video, masks_at(tmp_path, 5), tmp_path / 'other')


def test_what_lies_behind_a_damaged_frame_is_kept(encoder, tmp_path):
    video = write_folder(tmp_path / 'frames')
    damaged = tmp_path / 'frames' / '1.png'
    damaged.write_bytes(damaged.read_bytes()[:100])
    annotation = masks_at(tmp_path, 3)
    result = run(encoder, video, annotation, tmp_path / 'out')
    assert (result.first_frame, result.last_frame) == (2, FRAMES - 1)
    assert '1.png' in result.stopped_by
    kept = [f'{number:06d}.png' for number in range(2, FRAMES)]
    assert sorted(os.listdir(tmp_path / 'out' / 'masks')) == kept
    rows = list(csv.DictReader((tmp_path / 'out' / 'confidence.csv').read_text().splitlines()))
    assert (rows[0]['frame'], float(rows[0]['time'])) == ('2', 0.2)
    # Players show the overlay from its first picture on.
    times = [when for when, _ in decoded(tmp_path / 'out' / 'overlay.mp4')]
    np.testing.assert_allclose(times, np.arange(len(kept)) / 10, atol=1e-4)


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, '-m', 'tools.propagate', *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2'},
    )


@pytest.mark.slow
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
        f'--short_side={HEIGHT - 1}',
        f'--output_dir={tmp_path / "out"}',
        '--gin_bindings=PropagationSettings.context = 5',
    )
    output, error = command.communicate(timeout=300)
    assert command.returncode == 0, error
    assert 'mask.png:\n  frame 6: object 2: 1,920 pixels (index 2)\n  frame 6: object 5: ' in output
    assert 'labels: 7 frames' in output and 'frames 0 to 6' in output
    for number in range(FRAMES):
        mask = np.asarray(Image.open(tmp_path / 'out' / 'masks' / f'{number:06d}.png'))
        assert_masks_agree(mask, list(scene(number))[1][:-1, :-1], within=2)
    shown = [when for when, _ in decoded(tmp_path / 'out' / 'overlay.mp4')]
    np.testing.assert_allclose(shown, np.array(times) / 1000, atol=1e-4)
    record = json.loads((tmp_path / 'out' / 'result.json').read_text())
    assert record['propagation']['context'] == 5
    # The folder is not empty now: this is refused before the model is looked for.
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


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_command_leaves_nothing_and_says_so_in_one_line(model, tmp_path, number):
    command = start(
        f'--saved_model={model}',
        f'--video={write_folder(tmp_path / "frames", 400)}',
        f'--mask={write_mask(tmp_path / "mask.png", 0)}',
        f'--output_dir={tmp_path / "out"}',
    )
    first = tmp_path / '.out.stfc3-writing' / 'new' / 'out' / 'masks' / '000000.png'
    try:
        deadline = time.time() + 120
        while not first.exists() and command.poll() is None and time.time() < deadline:
            time.sleep(0.05)
        command.send_signal(number)
        _, said = command.communicate(timeout=120)
    finally:
        command.kill()
    assert command.returncode == 128 + number
    ends = [line for line in said.splitlines() if 'interrupted' in line]
    assert ends == ['interrupted: nothing was kept']
    assert sorted(os.listdir(tmp_path)) == ['frames', 'mask.png']
