"""Kinds of video that are easily read wrongly without an error, in every reader of videos."""

import fractions
import os
import pathlib

import av
import made_videos
import numpy as np
from PIL import Image
import pytest
import steady_videos
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.clips import footage, source, video, video_writer
from stfc3_tf.preparation import segments
from stfc3_tf.preparation.settings import Settings

COUNT, RATE = 40, 25
TIMES = np.arange(COUNT) / RATE


def forwards(path, rate=RATE):
    frames = list(footage.open_footage(str(path), rate).frames())
    return [frame.image for frame in frames], [frame.time for frame in frames]


def backwards(path, rate=RATE):
    """Return all frames except the last, read backwards and put in order."""
    opened = footage.open_footage(str(path), rate)
    *_, last = opened.frames()
    frames = list(opened.backwards(last.number))[::-1]
    return [frame.image for frame in frames], [frame.time for frame in frames]


def benchmark(path):
    times, images = zip(*video.frames_of_video(str(path)))
    return list(images), list(times)


def prepared(path, rate=RATE):
    settings = Settings(frame_rate=0, short_side=0, quality=100, frame_folder_rate=rate)
    reader = segments.SegmentedVideo(str(path), settings)
    pictures = [picture for segment in reader.segments() for picture in segment]
    assert reader.problem is None
    images = [tf.io.decode_jpeg(picture.jpeg).numpy() for picture in pictures]
    return images, [picture.seconds for picture in pictures]


def assert_numbered_everywhere(path, rate=RATE, count=COUNT):
    """Every reader gives frames 0, 1, ... at their times; training clips are those nearest."""
    times = np.arange(count) / rate
    for read in (forwards, backwards, prepared):
        images, seconds = read(path, rate)
        expected = list(range(count - (read is backwards)))
        assert made_videos.numbers(images) == expected, read
        np.testing.assert_allclose(seconds, times[expected], atol=0.0011)
    for position in (0.0, 0.31, 0.77, 0.99):
        clip = video.read_clip(str(path), position, 4, 8.0, rate)
        wanted = position * (times[-1] - 3 / 8) + np.arange(4) / 8
        shown = np.array(made_videos.numbers(clip)) / rate
        np.testing.assert_allclose(shown, wanted, atol=0.51 / rate + 0.001)


KINDS = {
    'a.mp4': ('libx264', 'yuv420p', {'bf': '2', 'g': '12'}),
    'open.mkv': ('libx264', 'yuv420p', {'x264-params': 'open-gop=1:scenecut=0:bframes=2'}),
    'ten_bits.mkv': ('libx264', 'yuv420p10le', {}),
    'full_chroma.mp4': ('libx264', 'yuv444p', {}),
    'grey.mkv': ('ffv1', 'gray', {}),
    'rgb.mov': ('qtrle', 'rgb24', {}),
    'rgb.avi': ('rawvideo', 'bgr24', {}),
    'h264.avi': ('libx264', 'yuv420p', {'bf': '2', 'g': '12'}),
    'open.avi': ('libx264', 'yuv420p', {'x264-params': 'open-gop=1:scenecut=0:bframes=3:keyint=9'}),
    'no_b.avi': ('libx264', 'yuv420p', {'bf': '0', 'g': '12'}),
    'xvid.avi': ('mpeg4', 'yuv420p', {'bf': '2', 'g': '12', 'b': '2M'}),
    'plain.avi': ('mpeg4', 'yuv420p', {'g': '12', 'b': '2M'}),
    'mpeg2.ts': ('mpeg2video', 'yuv420p', {'bf': '2', 'g': '12', 'b': '2M'}),
    'h264.ts': ('libx264', 'yuv420p', {'bf': '2', 'g': '12'}),
    'a.wmv': ('wmv2', 'yuv420p', {'b': '2M'}),
    'h264.wmv': ('libx264', 'yuv420p', {'bf': '2', 'g': '12'}),
    'no_b.wmv': ('libx264', 'yuv420p', {'bf': '0', 'g': '12'}),
    'raw.m1v': ('mpeg1video', 'yuv420p', {'bf': '2', 'g': '9', 'b': '2M'}),
    'raw.m2v': ('mpeg2video', 'yuv420p', {'bf': '2', 'g': '9', 'b': '2M'}),
    'a.webm': ('libvpx-vp9', 'yuv420p', {'g': '9', 'lag-in-frames': '12', 'auto-alt-ref': '1'}),
}


@pytest.mark.parametrize('name', KINDS)
def test_frames_and_times_are_the_same_in_every_reader(tmp_path, name):
    codec, pix_fmt, options = KINDS[name]
    path = made_videos.write(tmp_path / name, TIMES, codec=codec, pix_fmt=pix_fmt, **options)
    assert_numbered_everywhere(path)
    assert made_videos.numbers(benchmark(path)[0]) == list(range(COUNT))


def test_an_avi_whose_b_frames_share_packets(tmp_path):
    path = made_videos.write_packed_avi(tmp_path / 'packed.avi', COUNT, RATE)
    assert_numbered_everywhere(path)
    for name in ('packed.mp4', 'packed.mkv'):  # As when it is put into another container.
        _remux(path, tmp_path / name, _decoded_when_shown)
        assert_numbered_everywhere(tmp_path / name)


def _decoded_when_shown(number, packet):
    packet.pts = packet.dts
    return packet


def test_an_avi_with_a_palette(tmp_path):
    images = [made_videos.picture(number) for number in range(COUNT)]
    path = made_videos.write_grey_avi(tmp_path / 'grey.avi', images, RATE)
    assert_numbered_everywhere(path)
    for read in (forwards, backwards, benchmark):
        np.testing.assert_array_equal(read(path)[0], images[: len(read(path)[0])])


@pytest.mark.parametrize('codec, name', [('libx264', 'a.h264'), ('libx265', 'a.hevc')])
@pytest.mark.parametrize('rate', [10, 25])
def test_streams_without_times_are_read_at_the_assumed_rate(tmp_path, codec, name, rate):
    options = {'x265-params': 'log-level=none'} if codec == 'libx265' else {'bf': '2'}
    path = made_videos.write(tmp_path / name, TIMES, codec=codec, **options)
    assert_numbered_everywhere(path, rate)
    assert footage.open_footage(path, rate).frame_rate == pytest.approx(rate)


def corner():
    image = np.zeros((48, 64, 3), np.uint8)
    image[:16, :16] = 230  # Top left as stored.
    return image


@pytest.mark.parametrize(
    'matrix, expected',
    [
        ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
        ((1, 0, 0, -1), lambda image: image[::-1]),
        ((-1, 0, 0, -1), lambda image: image[::-1, ::-1]),
        ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda image: image.swapaxes(0, 1)[::-1, ::-1]),
        ((0, 1, -1, 0), lambda image: image.swapaxes(0, 1)[:, ::-1]),
        ((0, -1, 1, 0), lambda image: image.swapaxes(0, 1)[::-1]),
        ((0, 0, 0, 0), lambda image: image),
    ],
)
def test_mirrored_and_turned_frames_are_shown_as_players_do(tmp_path, matrix, expected):
    path = tmp_path / 'a.mp4'
    made_videos.write(path, np.arange(12) / 10, lambda number: corner())
    made_videos.show_by_matrix(path, *matrix)
    expected = expected(corner()).astype(int)
    found = [read(path)[0][3] for read in (forwards, backwards, prepared, benchmark)]
    found.append(video.read_clip(str(path), 0.5, 2, 8.0)[1])
    for image in found:
        assert image.shape == expected.shape and np.abs(image - expected).mean() < 5
    assert footage.open_footage(str(path)).size == expected.shape[:2]


def test_the_shape_of_pixels_is_known_and_kept(tmp_path):
    path = tmp_path / 'dv.mp4'
    aspect = fractions.Fraction(4, 3)
    made_videos.write(path, np.arange(6) / 10, pixel_aspect=aspect)
    opened = footage.open_footage(str(path))
    assert (opened.size, opened.pixel_aspect) == ((48, 64), aspect)
    images = (frame.image for frame in opened.frames())
    times = np.arange(6) / 10
    written = str(tmp_path / 'overlay.mp4')
    video_writer.write_timed_video(written, zip(times, images), 10, opened.pixel_aspect)
    assert footage.open_footage(written).pixel_aspect == aspect
    made_videos.show_by_matrix(path, 0, 1, -1, 0)
    assert footage.open_footage(str(path)).pixel_aspect == 1 / aspect
    square = made_videos.write(tmp_path / 'square.mp4', times)
    assert footage.open_footage(square).pixel_aspect == 1


@pytest.mark.parametrize(
    'name, codec, options',
    [
        ('held.mp4', 'libx264', {'bf': '0'}),
        ('held.mkv', 'libx264', {'bf': '0'}),
        ('held.webm', 'libvpx-vp9', {}),
        ('held_vp9.mp4', 'libvpx-vp9', {}),  # Its last packet does not say how long it lasts.
        ('held.mov', 'mjpeg', {'pix_fmt': 'yuvj420p'}),
    ],
)
def test_a_last_frame_that_is_held_is_not_a_missing_end(tmp_path, name, codec, options):
    durations = [0.1] * 19 + [5.0]
    times = np.arange(20) / 10
    path = made_videos.write(tmp_path / name, times, codec=codec, durations=durations, **options)
    for read in (forwards, backwards, prepared, benchmark):
        assert made_videos.numbers(read(path)[0]) == list(range(20 - (read is backwards)))


def test_frames_with_equal_times_all_count(tmp_path):
    whole = made_videos.write(
        tmp_path / 'w.mkv', np.arange(20) / 10, codec='mjpeg', pix_fmt='yuvj420p'
    )
    path = tmp_path / 'equal.mkv'

    def changed(number, packet):
        packet.pts = packet.dts = 600 if number in (7, 8) else packet.pts
        return packet

    _remux(whole, path, changed)
    with av.open(str(path)) as container:
        stamps = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert len(stamps) == 20 and stamps.count(600) == 3
    times = np.where(np.isin(np.arange(20), (7, 8)), 0.6, np.arange(20) / 10)
    for read in (forwards, backwards, prepared):
        images, seconds = read(path)
        assert made_videos.numbers(images) == list(range(20 - (read is backwards)))
        assert np.all(np.diff(seconds) > 0)
        np.testing.assert_allclose(seconds, times[: len(images)], atol=0.0021)


@pytest.mark.parametrize(
    'name, codec',
    [('a.ts', 'libx264'), ('m.ts', 'mpeg2video'), ('a.mkv', 'mpeg4'), ('a.h264', 'libx264')],
)
@pytest.mark.parametrize('dropped', [1, 4])
def test_a_stream_that_begins_within_a_group_starts_at_its_first_key_frame(
    tmp_path, name, codec, dropped
):
    whole = tmp_path / f'whole_{name}'
    options = {'g': '10', 'bf': '0', 'b': '4M'}
    options['x264-params' if codec == 'libx264' else 'sc_threshold'] = (
        'scenecut=0' if codec == 'libx264' else '1000000000'
    )
    made_videos.write(whole, TIMES, codec=codec, **options)
    path = tmp_path / name
    _remux(whole, path, lambda number, packet: packet if number >= dropped else None)
    for read in (forwards, backwards, prepared, benchmark):
        images, seconds = read(path, RATE) if read is not benchmark else read(path)
        assert made_videos.numbers(images) == list(range(10, 10 + len(images))), read
        assert len(images) >= 29
        assert seconds[0] == 0
    first = made_videos.numbers(video.read_clip(str(path), 0.0, 4, 8.0, RATE))
    assert first[0] == 10 and np.abs(np.diff(first) - RATE / 8).max() <= 1


@pytest.mark.parametrize('dropped', [3, 10])
@pytest.mark.parametrize(
    'name, codec',
    [
        ('a.h264', 'libx264'),
        ('a.avi', 'libx264'),
        ('a.m2v', 'mpeg2video'),
        ('x.avi', 'mpeg4'),
        ('a.mkv', 'libx264'),
    ],
)
def test_clips_reach_the_end_of_a_stream_whose_first_frames_cannot_be_shown(
    tmp_path, name, codec, dropped
):
    options = {'bf': '3', 'g': '10', 'b': '2M', 'sc_threshold': '1000000000'}
    if codec == 'libx264':
        options = {'x264-params': 'open-gop=1:scenecut=0:bframes=3:keyint=10'}
    whole = made_videos.write(tmp_path / f'whole_{name}', TIMES, codec=codec, **options)
    path = tmp_path / name
    _remux(whole, path, lambda number, packet: packet if number >= dropped else None)
    shown = made_videos.numbers(forwards(path)[0])
    for position in (0.0, 0.5, 0.999):
        clip = made_videos.numbers(video.read_clip(str(path), position, 4, 8.0, RATE))
        assert np.abs(np.diff(clip) - RATE / 8).max() <= 1
        wanted = shown[0] + position * (len(shown) - 1 - 3 * RATE / 8)
        assert abs(clip[0] - wanted) < 1.5, (clip, shown)


def _remux(source_path, path, change):
    """Copy a video; `change` takes a packet's number and the packet, and returns it, or None."""
    with av.open(str(source_path)) as whole, av.open(str(path), 'w') as part:
        stream = part.add_stream_from_template(whole.streams.video[0])
        for number, packet in enumerate(whole.demux(video=0)):
            if packet.size and change(number, packet) is not None:
                if packet.dts is None:
                    packet.pts = packet.dts = number
                packet.stream = stream
                part.mux(packet)


def test_colons_in_names(tmp_path):
    path = made_videos.write(tmp_path / '12:30.mp4', TIMES)
    assert_numbered_everywhere(path)
    written = tmp_path / 'run:1' / 'out:put.mp4'
    steady_videos.write(written, forwards(path)[0], RATE)
    assert made_videos.numbers(forwards(written)[0]) == list(range(COUNT))


def errors_of(path):
    """Return each reader's error about a video that it does not read to its end."""
    with pytest.raises(source.UnreadableVideo) as one:
        forwards(path)
    with pytest.raises(source.UnreadableVideo) as other:
        benchmark(path)
    reader = segments.SegmentedVideo(str(path), Settings())
    list(reader.segments())
    return [one.value.reason, other.value.reason, reader.problem]


@pytest.mark.parametrize('codec', ['libx264', 'mpeg2video'])
def test_a_transport_stream_with_a_hole(tmp_path, codec):
    whole = made_videos.write(tmp_path / 'w.ts', TIMES, made_videos.noisy_picture, codec, g='10')
    with open(whole, 'rb') as file:
        content = file.read()
    middle = len(content) // 188 // 2 * 188
    path = tmp_path / 'hole.ts'
    path.write_bytes(content[:middle] + content[middle + 6 * 188 :])
    for reason in errors_of(path):
        assert 'cannot be decoded' in reason or 'corrupt at' in reason


def test_files_that_were_joined(tmp_path):
    one = made_videos.write(tmp_path / 'one.ts', TIMES)
    path = tmp_path / 'two.ts'
    with open(one, 'rb') as file:
        content = file.read()
    path.write_bytes(content + content)
    for reason in errors_of(path):
        assert 'its time stamps go back after' in reason or 'corrupt at 1.5' in reason


def test_a_name_that_is_not_utf_8(tmp_path):
    made_videos.write(tmp_path / 'a.mp4', TIMES[:5])
    path = os.fsencode(tmp_path) + b'/caf\xe9.mp4'
    os.rename(tmp_path / 'a.mp4', path)
    assert made_videos.numbers(forwards(os.fsdecode(path))[0]) == list(range(5))


def test_frames_that_the_decoder_drops_are_missed(tmp_path):
    """The packets of some frames contain no pictures: FFmpeg continues without them."""
    path = tmp_path / 'a.mp4'
    made_videos.write(path, TIMES, g='10', bf='0', **{'x264-params': 'scenecut=0'})
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    for position, size in packets[14:18]:
        # One NAL unit of type 12, filler data, in place of the slice.
        content[position : position + size] = (
            (size - 4).to_bytes(4, 'big') + b'\x0c' + bytes([255] * (size - 6)) + b'\x80'
        )
    path.write_bytes(content)
    for reason in errors_of(path):
        assert 'frame at 0.560 s' in reason or 'Invalid data' in reason
    with pytest.raises(source.UnreadableVideo):
        video.read_clip(str(path), 0.45, 6, 25.0)
    clip = video.read_clip(str(path), 0.99, 4, 25.0)
    assert made_videos.numbers(clip)[-1] == 39


@pytest.mark.parametrize(
    'name, codec, options',
    [
        ('a.mp4', 'libsvtav1', {'preset': '10', 'svtav1-params': 'keyint=10'}),
        ('m.mp4', 'mpeg2video', {'g': '10', 'b': '2M'}),
        ('a.avi', 'cinepak', {'pix_fmt': 'rgb24'}),
        ('m.avi', 'msmpeg4', {'g': '10', 'b': '2M'}),
    ],
)
def test_packets_of_zeros_are_no_frames(tmp_path, name, codec, options):
    path = pathlib.Path(made_videos.write(tmp_path / name, TIMES, codec=codec, **options))
    assert_numbered_everywhere(path)
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for position, size in packets[14:18]:
        content[position : position + size] = bytes(size)
    path.write_bytes(content)
    assert all(errors_of(path))
    with pytest.raises(source.UnreadableVideo):
        video.read_clip(str(path), 0.45, 6, 25.0)


def test_an_avi_with_a_hole_is_recognised_by_the_count_of_its_header(tmp_path):
    whole = made_videos.write(tmp_path / 'w.avi', TIMES, codec='mjpeg', pix_fmt='yuvj420p')
    with open(whole, 'rb') as file:
        content = file.read()
    path = tmp_path / 'hole.avi'
    begin, end = (_nth(content, b'00dc', number) for number in (12, 18))
    index = content.index(b'idx1')
    path.write_bytes(content[:begin] + content[end:index])
    for reason in errors_of(path):
        assert 'holds 34 frames, its header says 40' in reason


def _nth(content, tag, number):
    at = content.index(b'movi')
    for _ in range(number + 1):
        at = content.index(tag, at + 1)
    return at


def test_a_video_that_is_cut_between_two_passes_ends_with_an_error(tmp_path):
    path = tmp_path / 'a.mkv'
    made_videos.write(path, TIMES, made_videos.noisy_picture, g='10')
    opened = footage.open_footage(str(path))
    whole = path.read_bytes()
    assert len(list(opened.frames())) == COUNT
    for share in (0.9, 0.5, 0.2):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises((source.UnreadableVideo, errors.UserError)):
            list(opened.backwards(COUNT))
        with pytest.raises((source.UnreadableVideo, errors.UserError)):
            list(opened.frames())
    path.unlink()
    with pytest.raises(source.UnreadableVideo, match='No such file'):
        list(opened.backwards(COUNT))


@pytest.mark.parametrize('name', ['a.mkv', 'a.avi', 'a.ts'])
def test_random_cuts_between_two_passes_give_right_pictures_or_an_error(
    name, tmp_path, monkeypatch
):
    path = tmp_path / name
    codec = 'mpeg4' if name == 'a.avi' else 'libx264'
    made_videos.write(path, TIMES, made_videos.noisy_picture, codec=codec, g='10')
    whole, random = path.read_bytes(), np.random.default_rng(3)
    monkeypatch.setattr(footage, 'CHUNK_BYTES', 60_000)
    refused = 0
    for _ in range(20):
        path.write_bytes(whole)
        opened = footage.open_footage(str(path))
        frames = {frame.number: frame.image for frame in opened.frames()}
        path.write_bytes(whole[: random.integers(len(whole))])
        stop = COUNT
        try:
            for frame in opened.backwards(COUNT):
                stop -= 1
                assert frame.number == stop
                np.testing.assert_array_equal(frame.image, frames[stop])
        except (source.UnreadableVideo, errors.UserError):
            refused += 1
        else:
            assert stop == 0
    assert refused > 10


def test_a_video_that_is_replaced_between_two_passes_gives_no_other_pictures(tmp_path):
    path = tmp_path / 'a.mp4'
    made_videos.write(path, TIMES, g='10')
    opened = footage.open_footage(str(path))
    assert len(list(opened.frames())) == COUNT
    made_videos.write(path, TIMES, lambda number: made_videos.picture(number + 1), g='10')
    for read in (lambda: opened.backwards(COUNT), opened.frames):
        with pytest.raises(source.UnreadableVideo, match='the file changed'):
            next(read())


def test_times_that_are_all_equal_are_refused(tmp_path):
    whole = made_videos.write(tmp_path / 'w.mkv', TIMES, g='10', bf='0')
    path = tmp_path / 'equal.mkv'

    def at_once(number, packet):
        packet.pts = packet.dts = 0
        return packet

    _remux(whole, path, at_once)
    for reason in errors_of(path):
        assert reason.startswith('more than 16 frames in a row have the time 0.000 s')


def test_a_pause_at_the_end_is_no_missing_end(tmp_path):
    """As screens are recorded: no frame while nothing moves, and a length up to the last second."""
    times = np.concatenate([np.arange(20) / 25, 2 + np.arange(20) / 25])
    path = pathlib.Path(made_videos.write(tmp_path / 'a.mkv', times, bf='0'))
    contents = path.read_bytes()
    at = contents.index(b'DURATION')
    stated = contents.index(b'00:00:02.800', at)
    changed = contents[:stated] + b'00:00:03.700' + contents[stated + 12 :]
    path.write_bytes(changed)
    assert made_videos.numbers(forwards(path)[0]) == list(range(40))
    path.write_bytes(changed.replace(b'00:00:03.700', b'00:00:04.900'))
    for reason in errors_of(path):
        assert 'its header says 4.90 s: it seems cut off' in reason


@pytest.mark.parametrize('name, codec', [('a.mkv', 'libx264'), ('a.webm', 'libvpx-vp9')])
def test_a_short_file_that_is_cut_off_is_told_by_its_header(tmp_path, name, codec):
    path = tmp_path / name
    made_videos.write(path, TIMES, made_videos.noisy_picture, codec)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    for reason in errors_of(path):
        assert 'its header says 1.60 s: it seems cut off' in reason


@pytest.mark.parametrize(
    'contents, cause',
    [
        (lambda whole: b'', 'it is empty'),
        (lambda whole: whole[: len(whole) // 2], 'the moov atom, is missing'),
        (lambda whole: b'no video' * 99, 'it is not a video'),
    ],
)
def test_why_a_file_is_no_video_is_said(tmp_path, contents, cause):
    path = tmp_path / 'a.mp4'
    made_videos.write(path, TIMES, made_videos.noisy_picture)
    path.write_bytes(contents(path.read_bytes()))
    with pytest.raises(errors.UserError, match=f'a.mp4 cannot be read as a video.*{cause}'):
        footage.open_footage(str(path))


def write_animation(path):
    images = [Image.fromarray(made_videos.picture(number)) for number in range(3)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=40)
    return path


@pytest.mark.parametrize('name', ['a.gif', 'a.png'])
def test_an_animated_picture_that_is_cut_anywhere_is_refused(tmp_path, name):
    path = write_animation(tmp_path / name)
    assert made_videos.numbers(benchmark(path)[0]) == [0, 1, 2]
    contents = path.read_bytes()
    for length in np.linspace(0, len(contents) - 1, 40).astype(int):
        path.write_bytes(contents[:length])
        with pytest.raises(source.UnreadableVideo):
            benchmark(path)


def test_animated_webp_is_read_or_refused_with_the_way_out(tmp_path):
    path = write_animation(tmp_path / 'a.webp')
    if int(av.__version__.split('.')[0]) >= 19:
        assert made_videos.numbers(benchmark(path)[0]) == [0, 1, 2]
        return
    with pytest.raises(source.UnreadableVideo, match='animated WebP; convert it'):
        benchmark(path)


def test_damage_that_the_decoder_of_mjpeg_notices_is_named(tmp_path):
    path = made_videos.write(tmp_path / 'a.avi', TIMES, codec='mjpeg', pix_fmt='yuvj420p')
    contents = bytearray(pathlib.Path(path).read_bytes())
    # A row of ones that no code of the format begins with, in the data of frame 3.
    start = _nth(contents, b'\xff\xda', 3) + 40
    contents[start : start + 40] = b'\xfe' * 40
    pathlib.Path(path).write_bytes(contents)
    assert all(errors_of(path))
