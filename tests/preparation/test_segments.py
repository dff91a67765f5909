"""One video into records: which frames, when, how large; and videos with something wrong."""

import av
import made_videos
import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf.clips import footage as whole_videos
from stfc3_tf.clips import shard_writer, source
from stfc3_tf.clips import video as clips_video
from stfc3_tf.preparation import segments
from stfc3_tf.preparation.settings import Settings


def prepared(path, **settings):
    """Return the segments of a video, and what is wrong with it."""
    footage = segments.SegmentedVideo(str(path), Settings(**settings))
    return list(footage.segments()), footage.problem


def images(segment):
    return [
        tf.io.decode_jpeg(picture.jpeg, dct_method='INTEGER_ACCURATE').numpy()
        for picture in segment
    ]


def seconds(segment):
    return [picture.seconds for picture in segment]


def nearest(times, rate):
    """Return the frames nearest to 0, 1 / rate, ..., each once; of two as near, the earlier."""
    chosen = []
    for k in range(int(times[-1] * rate + 1e-6) + 1):
        distances = [abs(time - k / rate) for time in times]
        number = distances.index(min(distances))
        if number not in chosen:
            chosen.append(number)
    return chosen


@pytest.mark.parametrize(
    'name, codec', [('a.mp4', 'libx264'), ('a.webm', 'libvpx'), ('a.avi', 'mpeg4')]
)
def test_frames_are_those_nearest_in_time(tmp_path, name, codec):
    times = np.arange(77) / 30
    path = made_videos.write(tmp_path / name, times, codec=codec, b='2M', g='12')
    (segment,), problem = prepared(path, frame_rate=8.0, short_side=0)
    # At 30 frames per second, 0.25 s is as near to frame 7 as to frame 8, except for rounding.
    found, expected = made_videos.numbers(images(segment)), nearest(times, 8.0)
    assert problem is None and len(found) == len(expected) == 21
    np.testing.assert_allclose(times[found], np.arange(21) / 8, atol=1 / 60 + 0.001)
    assert sum(a != b for a, b in zip(found, expected)) <= 5
    np.testing.assert_allclose(seconds(segment), times[found], atol=0.002)


def test_every_frame_is_kept_where_no_rate_is_asked_for_or_the_video_is_slower(tmp_path):
    path = made_videos.write(tmp_path / 'a.mp4', np.arange(12) / 6)
    for rate in (0.0, 6.0, 25.0):
        (segment,), _ = prepared(path, frame_rate=rate)
        assert made_videos.numbers(images(segment)) == list(range(12))
        np.testing.assert_allclose(seconds(segment), np.arange(12) / 6, atol=0.001)


def test_variable_frame_rate_is_resampled_by_time(tmp_path):
    # A second at 30, one at 5, one at 60 frames per second.
    times = np.concatenate([np.arange(30) / 30, 1 + np.arange(5) / 5, 2 + np.arange(60) / 60])
    path = made_videos.write(tmp_path / 'v.mkv', times)
    (segment,), problem = prepared(path, frame_rate=10.0)
    found = made_videos.numbers(images(segment))
    assert problem is None
    assert found == sorted(set(found)) and set(range(31, 35)) <= set(found)
    np.testing.assert_allclose(seconds(segment), times[found], atol=0.001)
    # Each of the times 0, 0.1, ... has a frame as near as any of the video's.
    for target in np.arange(0, 2.95, 0.1):
        closest = np.abs(times - target).min()
        assert np.abs(np.array(seconds(segment)) - target).min() <= closest + 0.0011


def test_pictures_are_those_of_the_video(tmp_path):
    """Compare with FFmpeg's decoder used directly; JPEG alone makes a difference."""
    ramp = np.add.outer(np.arange(96), np.arange(128))[..., None] + np.array([0, 40, 90])

    def image_at(number):
        return ((ramp + 9 * number) % 200).astype(np.uint8)

    path = made_videos.write(tmp_path / 'a.mp4', np.arange(10) / 10, image_at)
    with av.open(path) as container:
        expected = [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
    psnr = {}
    for quality in (60, 95):
        (segment,), _ = prepared(path, frame_rate=0, short_side=0, quality=quality)
        found = images(segment)
        assert len(found) == 10 and (segment[0].height, segment[0].width) == (96, 128)
        error = np.mean((np.stack(found).astype(float) - np.stack(expected)) ** 2)
        psnr[quality] = 10 * np.log10(255**2 / error)
    assert psnr[95] > 40 and psnr[60] < psnr[95] - 3


def test_smaller_pictures_are_means_of_pixels(tmp_path):
    rng = np.random.default_rng(0)
    blocks = rng.integers(20, 230, (12, 16, 1)).repeat(8, 0).repeat(8, 1)
    fine = rng.integers(-20, 20, (96, 128, 1))  # A pattern that would alias.
    image = (blocks + fine + np.zeros(3)).astype(np.uint8)
    path = made_videos.write(tmp_path / 'a.mp4', np.arange(3) / 8, lambda n: image, crf='1')
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for number in range(3):
        (folder / f'{number}.png').write_bytes(tf.io.encode_png(image).numpy())
    means = image.reshape(24, 4, 32, 4, 3).mean((1, 3))
    for video in (path, folder):
        (segment,), _ = prepared(video, frame_folder_rate=8.0, short_side=24, quality=100)
        frames = np.stack(images(segment)).astype(float)
        # FFmpeg rounds down, by a level or two.
        assert frames.shape == (3, 24, 32, 3) and np.abs(frames - means).mean() < 3
        shifted = [np.roll(means, shift, axis) for shift in (-1, 1) for axis in (0, 1)]
        assert all(np.abs(frames - other).mean() > 10 for other in shifted)


def test_the_short_side_is_made_smaller_and_never_larger(tmp_path):
    wide = made_videos.write(tmp_path / 'w.mp4', np.arange(4) / 8, lambda n: _grey(90, 160))
    high = made_videos.write(tmp_path / 'h.mp4', np.arange(4) / 8, lambda n: _grey(160, 90))
    sizes = [
        (picture.height, picture.width)
        for path, side in ((wide, 45), (high, 45), (wide, 200), (wide, 0))
        for picture in prepared(path, short_side=side)[0][0][:1]
    ]
    assert sizes == [(45, 80), (80, 45), (90, 160), (90, 160)]


def _grey(height, width, value=90):
    return np.full((height, width, 3), value, np.uint8)


def test_rotated_videos_are_upright(tmp_path):
    image = _grey(48, 64, 0)
    image[:16, :16] = 255  # A white corner, top left as stored.
    path = made_videos.write(tmp_path / 'r.mp4', np.arange(6) / 8, lambda n: image, rotation=90)
    (segment,), _ = prepared(path, short_side=24)
    frame = images(segment)[0]
    assert frame.shape == (32, 24, 3)
    # A quarter turn anticlockwise brings the corner to the bottom left.
    assert frame[-7:, :7].min() > 200 and frame[:16].max() < 50


def test_a_huge_picture(tmp_path):
    corner = _grey(2160, 3840, 30)
    corner[:1080, :1920] = 200
    path = made_videos.write(tmp_path / '4k.mp4', np.arange(3) / 8, lambda n: corner)
    (segment,), problem = prepared(path, short_side=144)
    frame = images(segment)[2]
    assert problem is None and len(segment) == 3 and frame.shape == (144, 256, 3)
    assert abs(frame[:70, :126].mean() - 200) < 4 and abs(frame[74:].mean() - 30) < 4


def test_an_hour_is_cut_into_segments_as_it_is_read(tmp_path):
    path = made_videos.write(
        tmp_path / 'hour.avi', np.arange(3601.0), codec='mpeg4', g='300', b='200k'
    )
    footage = segments.SegmentedVideo(path, Settings(segment_seconds=100.0))
    lengths, expected = [], 0
    for segment in footage.segments():
        found = made_videos.numbers(images(segment))
        assert found == [(expected + k) % 1024 for k in range(len(segment))]
        lengths.append(len(segment))
        expected += len(segment)
    # A single second is left at the end; it and the segment before are shared out evenly.
    assert lengths == [100] * 35 + [50, 51] and footage.problem is None


def _pictures(times, size=10):
    return [shard_writer.Picture(time, bytes(size), 4, 4) for time in times]


def test_segments_hold_every_picture_once_and_are_no_longer_than_asked():
    rng = np.random.default_rng(0)
    for _ in range(200):
        times = np.cumsum(rng.choice([0.02, 0.1, 1.0, 9.0], rng.integers(1, 60))).tolist()
        found = list(segments.cut(iter(_pictures(times)), 2.0, 10**9))
        assert [time for segment in found for time in seconds(segment)] == times
        assert all(segment and segment[-1].seconds - segment[0].seconds <= 2 for segment in found)


def test_what_is_left_at_the_end_is_shared_out():
    def lengths(count):
        return [len(s) for s in segments.cut(iter(_pictures(np.arange(count) / 10)), 2.0, 10**9)]

    assert lengths(20) == [20] and lengths(40) == [20, 20]
    assert lengths(21) == [10, 11] and lengths(43) == [20, 11, 12]
    assert lengths(35) == [20, 15]


def test_segments_end_at_their_size_and_two_are_held_at_most():
    drawn = []

    def endless():
        for number in range(10**6):
            drawn.append(number)
            yield shard_writer.Picture(number / 10, bytes(1000), 4, 4)

    found = segments.cut(endless(), 2.0, 5000)
    assert [len(next(found)) for _ in range(20)] == [5] * 20
    assert len(drawn) <= 5 * 21 + 1


def test_files_that_are_no_videos(tmp_path):
    (tmp_path / 'empty.mp4').write_bytes(b'')
    (tmp_path / 'text.mp4').write_text('This is not a video.\n' * 100)
    made_videos.write_sound(tmp_path / 'sound.mp4')
    whole = made_videos.write(tmp_path / 'whole.mp4', np.arange(30) / 10)
    with open(whole, 'rb') as file:
        content = file.read()
    (tmp_path / 'cut.mp4').write_bytes(content[: len(content) // 2])  # Its index is at the end.
    for name, reason in (
        ('empty.mp4', 'Invalid data'),
        ('text.mp4', 'Invalid data'),
        ('sound.mp4', 'no video stream'),
        ('cut.mp4', 'Invalid data'),
        ('missing.mp4', 'No such file'),
    ):
        found, problem = prepared(tmp_path / name)
        assert not found and reason in problem, name


def test_of_a_truncated_video_what_is_left_is_used(tmp_path):
    whole = made_videos.write(tmp_path / 'w.mkv', np.arange(80) / 10, made_videos.noisy_picture)
    with open(whole, 'rb') as file:
        content = file.read()
    (tmp_path / 'cut.mkv').write_bytes(content[: len(content) // 2])
    found, problem = prepared(tmp_path / 'cut.mkv', frame_rate=0, segment_seconds=2.0)
    shown = [number for segment in found for number in made_videos.numbers(images(segment))]
    assert shown == list(range(len(shown))) and 30 <= len(shown) <= 50
    assert 'its header says 8' in problem
    assert prepared(whole, frame_rate=0)[1] is None


@pytest.mark.parametrize('name', ['late.mkv', 'late.mp4'])
def test_a_video_whose_times_do_not_begin_at_0_is_whole_unless_it_is_cut(tmp_path, name):
    path = tmp_path / name
    times = 5 + np.arange(80) / 10
    made_videos.write(path, times, made_videos.noisy_picture)
    (segment,), problem = prepared(path, frame_rate=0)
    assert problem is None and made_videos.numbers(images(segment)) == list(range(80))
    clip = clips_video.read_clip(str(path), 0.999, 4, 10.0)
    assert made_videos.numbers(clip) == [76, 77, 78, 79]
    assert [frame.time for frame in whole_videos.open_footage(str(path)).frames()] == pytest.approx(
        times - 5, abs=1e-3
    )
    if name.endswith('.mkv'):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        assert 'its header says 8' in prepared(path)[1]
        with pytest.raises(source.UnreadableVideo, match='its header says 8.00 s'):
            list(whole_videos.open_footage(str(path)).frames())


def test_of_a_garbled_video_what_comes_before_is_used(tmp_path):
    path = tmp_path / 'g.mp4'
    made_videos.write_garbled(path)
    found, problem = prepared(path, frame_rate=0)
    shown = [number for segment in found for number in made_videos.numbers(images(segment))]
    assert shown == list(range(len(shown))) and 20 <= len(shown) <= 45 and problem


def test_a_single_frame_is_no_video(tmp_path):
    assert prepared(made_videos.write(tmp_path / 'one.mp4', [0.0])) == ([], None)


def test_folders_of_pictures(tmp_path):
    for number in range(9):
        contents = tf.io.encode_png(made_videos.picture(number)).numpy()
        (tmp_path / f'frame_{number + 4}.png').write_bytes(contents)
    (segment,), problem = prepared(tmp_path, frame_folder_rate=4.0, frame_rate=2.0)
    assert problem is None and made_videos.numbers(images(segment)) == [0, 2, 4, 6, 8]
    assert seconds(segment) == [0.0, 0.5, 1.0, 1.5, 2.0]
    (tmp_path / 'frame_9.png').write_bytes(b'no picture')
    (segment,), problem = prepared(tmp_path, frame_folder_rate=4.0, frame_rate=0)
    assert len(segment) == 5 and 'frame_9.png' not in problem and 'decoded' in problem
    (tmp_path / 'frame_9.png').write_bytes(tf.io.encode_png(_grey(8, 8)).numpy())
    (segment,), problem = prepared(tmp_path, frame_folder_rate=4.0, frame_rate=0)
    assert len(segment) == 5 and problem == 'its pictures change size at 1.250 s'
