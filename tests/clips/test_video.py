"""Video files, written here, whose frames show their own time."""

import fractions

import av
import made_videos
import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf import clips, errors
from stfc3_tf.clips import video, video_files

HEIGHT, WIDTH = 48, 64
SECONDS = 3.0


def _picture_of(seconds):
    """Twelve stripes, black or white: the binary digits of the time in milliseconds."""
    digits = [(round(seconds * 1000) >> k) & 1 for k in range(12)]
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, :60] = np.repeat(np.array(digits) * 220 + 15, 5)[None, :, None]
    return image


def _times_of(frames):
    """Read the times back, in seconds: frames [time, height, width, 3] -> [time]."""
    stripes = frames[..., :60, :].reshape(len(frames), HEIGHT, 12, 15).mean((1, 3))
    return ((stripes > 125) << np.arange(12)).sum(1) / 1000


def _constant_rate(rate):
    return np.arange(0, SECONDS, 1 / rate)


def _write(path, times, codec, image_at=_picture_of, rotation=None, **options):
    """Encode one frame at each time (seconds), with time stamps in milliseconds."""
    rate = round(1 / np.diff(times).min()) if len(times) > 1 else 25
    options = {'crf': '1', **options} if codec == 'libx264' else options
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = image_at(0).shape[:2]
        stream.pix_fmt = 'yuv420p'
        # AVI and MPEG-1 have no such fine time stamps, only a frame's place at the constant rate.
        constant = str(path).endswith(('.avi', '.mpg'))
        tick = fractions.Fraction(1, rate if constant else 1000)
        stream.codec_context.time_base = tick
        for time in times:
            frame = av.VideoFrame.from_ndarray(image_at(time))
            frame.pts, frame.time_base = round(time / tick), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return str(path) if rotation is None else made_videos.turn(path, rotation)


FORMATS = [
    ('a.mp4', 'libx264', {'g': '40', 'bf': '2'}),
    ('a.mkv', 'libx264', {'g': '12'}),
    ('a.webm', 'libvpx', {'b': '2M'}),
    ('a.avi', 'mpeg4', {'g': '15', 'b': '2M'}),
    ('a.mpg', 'mpeg1video', {'b': '2M'}),
]


@pytest.mark.parametrize('name, codec, options', FORMATS)
def test_clips_are_sampled_by_time(tmp_path, name, codec, options):
    path = _write(tmp_path / name, _constant_rate(25), codec, **options)
    for position in (0.0, 0.37, 0.8, 0.999):
        clip = video.read_clip(path, position, 4, 8.0)
        assert clip.shape == (4, HEIGHT, WIDTH, 3) and clip.dtype == np.uint8
        # The last frame starts at 2.96 s, the clip spans 0.375 s, half a frame is 0.02 s. An MPEG
        # programme stream does not say how long it is; FFmpeg's guess is a little short.
        start, times = position * (2.96 - 0.375), _times_of(clip)
        assert abs(times[0] - start) <= (0.15 if name == 'a.mpg' else 0.021)
        np.testing.assert_allclose(times - times[0], np.arange(4) / 8, atol=0.041)
        if name != 'a.mpg':
            np.testing.assert_allclose(times, start + np.arange(4) / 8, atol=0.021)


@pytest.mark.parametrize('name, codec', [('v.mp4', 'libx264'), ('v.mkv', 'libx264')])
def test_variable_frame_rate_is_resampled_by_time_stamps(tmp_path, name, codec):
    # One second at 30, one at 10, one at 60 frames per second: counting frames would be far off.
    times = np.concatenate([np.arange(0, 1, 1 / 30), np.arange(1, 2, 0.1), np.arange(2, 3, 1 / 60)])
    path = _write(tmp_path / name, times, codec, g='30')
    shown = list(video.frames_of_video(path))
    np.testing.assert_allclose([seconds for seconds, _ in shown], times, atol=0.001)
    for position in (0.0, 0.2, 0.5, 0.7, 0.95):
        clip = video.read_clip(path, position, 5, 3.7)
        exact = position * (times[-1] - 4 / 3.7) + np.arange(5) / 3.7
        # Half the interval between frames there; the header knows the last frame's time to 0.015 s.
        half = np.select([exact < 1, exact < 2], [1 / 60, 1 / 20], 1 / 120)
        assert (np.abs(_times_of(clip) - exact) <= half + 0.016).all()


def test_seeking_gives_what_decoding_everything_gives(tmp_path):
    """Skipping frames and seeking key frames must not change a single pixel."""
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 255, (90, 12, 16, 3), np.uint8).repeat(4, 1).repeat(4, 2)
    path = _write(
        tmp_path / 'n.mp4', np.arange(90) / 30, 'libx264', lambda t: pictures[round(t * 30)], g='25'
    )
    every = list(video.frames_of_video(path))
    shown = np.array([seconds for seconds, _ in every])
    assert len(every) == 90
    for position in np.linspace(0, 0.999, 9):
        clip = video.read_clip(path, position, 4, 8.0)
        times = position * (shown[-1] - 3 / 8) + np.arange(4) / 8
        expected = [every[np.abs(shown - t).argmin()][1] for t in times]
        np.testing.assert_array_equal(clip, expected)


def test_a_clip_faster_than_the_video_repeats_frames(tmp_path):
    path = _write(tmp_path / 's.mp4', _constant_rate(5), 'libx264')
    clip = video.read_clip(path, 0.0, 6, 20.0)
    np.testing.assert_allclose(_times_of(clip), [0, 0, 0, 0.2, 0.2, 0.2], atol=0.001)


@pytest.mark.parametrize('degrees, turns', [(0, 0), (90, 1), (180, 2), (-90, 3)])
def test_rotation_is_honoured(tmp_path, degrees, turns):
    """The container says that players turn it anticlockwise by so many degrees."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:16, :16] = 255  # A white corner, top left as stored.
    path = _write(
        tmp_path / 'r.mp4', _constant_rate(10), 'libx264', lambda t: image, rotation=degrees
    )
    expected = image
    for _ in range(turns):  # Anticlockwise: the last column becomes the first row.
        expected = np.stack([expected[:, k] for k in range(expected.shape[1] - 1, -1, -1)])
    clip = video.read_clip(path, 0.5, 2, 4.0)
    assert clip.shape[1:] == expected.shape
    assert np.abs(clip[1].astype(int) - expected).mean() < 5
    _, frame = next(video.frames_of_video(path))
    assert np.abs(frame.astype(int) - expected).mean() < 5


def test_a_file_rotated_as_telephones_do_is_upright(tmp_path):
    """Patch the track header's matrix by hand: ISO 14496-12, x' = a x + c y, y' = b x + d y."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:16, :16] = 255
    path = tmp_path / 't.mp4'
    _write(path, _constant_rate(10), 'libx264', lambda t: image)
    content = bytearray(path.read_bytes())
    matrix = content.index(b'tkhd') - 4 + 48
    one = 1 << 16
    # a=0, b=1, c=-1, d=0: the stored x axis points down on the screen, a clockwise quarter turn.
    for place, value in enumerate([0, one, 0, -one, 0, 0]):
        start = matrix + 4 * place
        content[start : start + 4] = (value & 0xFFFFFFFF).to_bytes(4, 'big')
    path.write_bytes(content)
    frame = video.read_clip(str(path), 0.0, 1, 8.0)[0]
    assert frame.shape == (WIDTH, HEIGHT, 3)
    assert frame[:14, -14:].min() > 200 and frame[:14, :14].max() < 50  # Top left went top right.


def _assert_unreadable(path, reason, everywhere=True):
    with pytest.raises(clips.UnreadableVideo, match=reason) as caught:
        video_files.VideoFiles([str(path)]).read(0, 0.5, 4, 8.0)
    assert caught.value.name == str(path) and str(path) in str(caught.value)
    assert caught.value.everywhere == everywhere


def test_files_that_are_no_videos(tmp_path):
    (tmp_path / 'empty.mp4').write_bytes(b'')
    _assert_unreadable(tmp_path / 'empty.mp4', 'Invalid data')
    (tmp_path / 'text.mp4').write_text('This is not a video.\n' * 100)
    _assert_unreadable(tmp_path / 'text.mp4', 'Invalid data|no video stream')
    _assert_unreadable(tmp_path / 'missing.mp4', 'No such file')
    with pytest.raises(clips.UnreadableVideo, match='missing'):
        next(video.frames_of_video(str(tmp_path / 'missing.mp4')))


def test_an_error_that_passes_does_not_exclude_the_video(tmp_path):
    """A run that met the error and one that did not must see the same clips afterwards."""
    path = tmp_path / 'a.mp4'
    path.mkdir()  # An error of the file system, as of a network share that is not mounted yet.
    skipped = clips.SkippedVideos()
    source = video_files.VideoFiles([str(path)])
    sampler = clips.ClipSampler(source, 4, 8.0, 5, 0, skipped)
    with pytest.raises(errors.UserError, match='Is a directory'):
        sampler.sample(0)
    path.rmdir()
    _write(path, _constant_rate(25), 'libx264')
    fresh = clips.ClipSampler(source, 4, 8.0, 5, 0, clips.SkippedVideos())
    for index in range(3):
        np.testing.assert_array_equal(sampler.sample(index)[0], fresh.sample(index)[0])


def test_a_garbled_place_does_not_exclude_the_rest_of_the_video(tmp_path):
    path = tmp_path / 'g.mp4'
    made_videos.write_garbled(path)
    faults = []
    for position in np.linspace(0, 0.99, 12):
        try:
            video.read_clip(str(path), position, 4, 8.0)
            faults.append(None)
        except clips.UnreadableVideo as error:
            faults.append(error)
    assert faults[0] is None and faults[-1] is None and any(faults)
    assert not any(fault.everywhere for fault in faults if fault)


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / 'sound.mp4'
    made_videos.write_sound(path)
    _assert_unreadable(path, 'no video stream')


def test_short_videos(tmp_path):
    one = _write(tmp_path / 'one.mp4', [0.0], 'libx264')
    _assert_unreadable(one, 'too short')
    assert video.read_clip(one, 0.5, 1, 8.0).shape == (1, HEIGHT, WIDTH, 3)
    # Four frames at 8 per second need 0.375 s between the first and the last.
    enough = _write(tmp_path / 'enough.mp4', np.arange(4) / 8, 'libx264')
    np.testing.assert_allclose(
        _times_of(video.read_clip(enough, 0.9, 4, 8.0)), np.arange(4) / 8, atol=0.001
    )
    _assert_unreadable(_write(tmp_path / 'short.mp4', np.arange(4) / 10, 'libx264'), 'too short')


def test_a_cut_off_file_without_its_index_is_unreadable(tmp_path):
    whole = tmp_path / 'w.mp4'
    _write(whole, _constant_rate(25), 'libx264')
    cut = tmp_path / 'cut.mp4'
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    _assert_unreadable(cut, 'no video stream|Invalid data')


def test_of_a_cut_off_stream_what_is_left_is_used(tmp_path):
    generator = np.random.default_rng(0)
    noise = generator.integers(-12, 12, (HEIGHT, WIDTH, 1))

    def image_at(time):
        moving = np.roll(noise, int(time * 25), 1)
        return np.clip(moving + _picture_of(time), 0, 255).astype(np.uint8)

    whole = tmp_path / 'w.mkv'
    _write(whole, _constant_rate(25), 'libx264', image_at, g='10')
    cut = tmp_path / 'cut.mkv'
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    starts = [_times_of(video.read_clip(str(cut), p, 4, 8.0))[0] for p in (0.0, 0.5, 0.99)]
    assert starts[0] < 0.1 and starts[0] < starts[1] < starts[2] < 2.0


def test_a_garbled_middle_fails_there_or_nowhere(tmp_path):
    path = tmp_path / 'g.mp4'
    _write(path, _constant_rate(25), 'libx264', g='10')
    content = bytearray(path.read_bytes())
    start = content.index(b'mdat')
    content[start + 4000 : start + 6000] = bytes(2000)
    path.write_bytes(content)
    for position in (0.0, 0.5, 0.99):
        try:
            assert video.read_clip(str(path), position, 4, 8.0).shape == (4, HEIGHT, WIDTH, 3)
        except clips.UnreadableVideo as error:
            assert str(path) in str(error)  # noqa: PT017, either outcome will do


def test_files_are_read_through_tensorflows_file_systems(tmp_path):
    local = _write(tmp_path / 'l.mp4', _constant_rate(25), 'libx264')
    tf.io.gfile.copy(local, 'ram://clips/l.mp4', overwrite=True)
    np.testing.assert_array_equal(
        video.read_clip('ram://clips/l.mp4', 0.6, 4, 8.0), video.read_clip(local, 0.6, 4, 8.0)
    )
    with pytest.raises(clips.UnreadableVideo, match='ram://clips/none.mp4'):
        video.read_clip('ram://clips/none.mp4', 0.6, 4, 8.0)


def test_a_dataset_over_files_skips_the_broken_one(tmp_path):
    for number in range(3):
        _write(tmp_path / f'{number}.mp4', _constant_rate(25), 'libx264')
    (tmp_path / 'broken.mp4').write_bytes(b'nothing')
    skipped = clips.SkippedVideos()
    source = clips.open_source(str(tmp_path))
    samples = list(clips.clip_dataset(source, skipped=skipped).take(20).as_numpy_iterator())
    broken = [k for k in range(4) if source.name(k).endswith('broken.mp4')]
    assert list(skipped.reasons()) == [str(tmp_path / 'broken.mp4')]
    assert {int(s['video']) for s in samples} == set(range(4)) - set(broken)
    for sample in samples:
        steps = np.diff(_times_of(sample['frames']))
        np.testing.assert_allclose(steps, 1 / 8, atol=0.04)
