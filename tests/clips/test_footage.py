"""A video read to its end: the same frames and times forwards and backwards, in bounded memory."""

import fractions
import tracemalloc
import wave

import av
import made_videos
import numpy as np
from PIL import Image
import pytest

from stfc3_tf import errors
from stfc3_tf.clips import decoder, footage, source, video_writer
from stfc3_tf.clips.frame import Frame

FORMATS = [
    ('a.mp4', 'libx264', {'g': '12', 'bf': '2'}),
    ('open.mkv', 'libx264', {'g': '10', 'bf': '3', 'x264-params': 'open-gop=1:scenecut=0'}),
    ('one_key.mp4', 'libx264', {'g': '9999', 'x264-params': 'scenecut=0'}),
    ('refresh.mkv', 'libx264', {'g': '10', 'x264-params': 'intra-refresh=1:bframes=0'}),
    ('a.webm', 'libvpx-vp9', {'g': '9', 'lag-in-frames': '12', 'auto-alt-ref': '1'}),
    ('a.avi', 'mpeg4', {'g': '8', 'bf': '2'}),
    ('a.mpg', 'mpeg1video', {'g': '7'}),
    ('a.mov', 'mjpeg', {}),
]


def pictures(count, height=48, width=64):
    """Smooth pictures, each of its own colours."""
    corners = np.random.default_rng(4).integers(0, 256, (count, 3, 4, 3), np.uint8)
    return [np.asarray(Image.fromarray(c).resize((width, height), Image.BILINEAR)) for c in corners]


def write(path, images, codec='libx264', options=(), times=None, rotation=None, rate=25):
    """Encode one frame at each time, in seconds; without times at the constant rate."""
    tick = fractions.Fraction(1, rate if times is None else 1000)
    times = np.arange(len(images)) / rate if times is None else times
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=rate, options=dict(options))
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = 'yuvj420p' if codec == 'mjpeg' else 'yuv420p'
        stream.codec_context.time_base = tick
        for time, image in zip(times, images):
            frame = av.VideoFrame.from_ndarray(image)
            frame.pts, frame.time_base = round(float(time) / tick), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return str(path) if rotation is None else made_videos.turn(path, rotation)


def assert_same(found, expected):
    assert [(f.number, f.time) for f in found] == [(f.number, f.time) for f in expected]
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one.image, other.image)


@pytest.mark.parametrize('name, codec, options', FORMATS)
@pytest.mark.parametrize('chunk', [1, 7])
def test_backwards_gives_the_same_frames_as_forwards(
    tmp_path, monkeypatch, name, codec, options, chunk
):
    path = write(tmp_path / name, pictures(40), codec, options)
    opened = footage.open_footage(path)
    forwards = list(opened.frames())
    assert [frame.number for frame in forwards] == list(range(40))
    monkeypatch.setattr(footage, 'CHUNK_BYTES', chunk * 64 * 48 * 3 // 2)
    opened = footage.open_footage(path)
    rest = opened.frames(33)
    next(rest)
    assert_same(list(opened.backwards(33)), forwards[32::-1])
    # The later frames continue from where they were.
    assert_same(list(rest), forwards[34:])


@pytest.mark.parametrize('name, codec, options', FORMATS)
def test_a_video_that_was_read_whole_goes_on_from_any_frame(tmp_path, name, codec, options):
    opened = footage.open_footage(write(tmp_path / name, pictures(40), codec, options))
    forwards = list(opened.frames())
    for start in (1, 12, 27, 39):
        assert_same(list(opened.frames(start)), forwards[start:])


def test_going_on_from_a_frame_seeks(tmp_path, monkeypatch):
    opened = footage.open_footage(write(tmp_path / 'a.mp4', pictures(40), options={'g': '10'}))
    forwards = list(opened.frames())
    monkeypatch.setattr(decoder.Video, 'frames', None)  # The part that decodes from the start.
    assert_same(list(opened.frames(33)), forwards[33:])


def test_going_on_from_a_frame_of_a_file_that_changed(tmp_path):
    path = write(tmp_path / 'a.mp4', pictures(40), options={'g': '10'})
    opened = footage.open_footage(path)
    list(opened.frames())
    write(path, pictures(41)[1:], options={'g': '10'})
    with pytest.raises(source.UnreadableVideo, match='the file changed'):
        list(opened.frames(33))


def test_times_are_those_of_the_source(tmp_path):
    times = np.cumsum([0, 40, 40, 500, 20, 20, 100, 33, 34]) / 1000
    path = write(tmp_path / 'variable.mkv', pictures(9), times=times)
    opened = footage.open_footage(path)
    np.testing.assert_allclose([frame.time for frame in opened.frames()], times, atol=1e-6)
    backwards = list(opened.backwards(9))
    np.testing.assert_allclose([frame.time for frame in backwards], times[::-1], atol=1e-6)


def test_a_turned_video_comes_upright(tmp_path):
    images = pictures(3)
    path = write(tmp_path / 'turned.mp4', images, options={'crf': '1'}, rotation=90)
    opened = footage.open_footage(path)
    assert opened.size == (64, 48)
    for frame in list(opened.frames()) + list(opened.backwards(3)):
        expected = np.rot90(images[frame.number]).astype(int)
        assert np.abs(frame.image - expected).mean() < 6


def test_a_folder_of_pictures(tmp_path):
    images = pictures(12)
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f'frame_{number}.png')
    opened = footage.open_footage(str(tmp_path), 10)
    assert (opened.size, opened.frame_rate, opened.stated_count) == ((48, 64), 10, 12)
    expected = [Frame.of_image(n, n / 10, image) for n, image in enumerate(images)]
    assert_same(list(opened.frames(4)), expected[4:])
    assert_same(list(opened.backwards(5)), expected[4::-1])


def test_pictures_of_different_sizes_are_reported(tmp_path):
    for number, size in enumerate([(48, 64), (48, 64), (48, 60)]):
        Image.fromarray(pictures(1, *size)[0]).save(tmp_path / f'{number}.png')
    frames = footage.open_footage(str(tmp_path)).frames()
    next(frames), next(frames)
    with pytest.raises(source.UnreadableVideo, match='2.png: is 60x48 .* first frame 64x48'):
        next(frames)


def cut(contents):
    return contents[: len(contents) * 6 // 10]


def damage(contents):
    half = len(contents) // 2
    noise = np.random.default_rng(1).integers(0, 256, 400, np.uint8).tobytes()
    return contents[:half] + noise + contents[half + 400 :]


@pytest.mark.parametrize(
    'name, codec, change, message',
    [
        ('a.mkv', 'libx264', cut, r'ends after 2.\d+ s, its header says 4.80 s: it seems cut off'),
        ('a.webm', 'libvpx-vp9', cut, 'it seems cut off'),
        ('a.mp4', 'libx264', damage, 'Invalid data'),
        ('a.avi', 'mpeg4', damage, 'corrupt at|Invalid data'),
    ],
)
def test_a_file_broken_in_the_middle(tmp_path, name, codec, change, message):
    path = tmp_path / name
    write(path, pictures(120), codec, {'g': '12'})
    whole = list(footage.open_footage(str(path)).frames())
    assert len(whole) == 120
    path.write_bytes(change(path.read_bytes()))
    found = []
    with pytest.raises(source.UnreadableVideo, match=message):
        for frame in footage.open_footage(str(path)).frames():
            found += [frame]
    assert 30 < len(found) < 90
    assert_same(found[:25], whole[:25])


@pytest.mark.parametrize('kind', ['folder', 'file'])
def test_a_frame_beyond_the_end(tmp_path, kind):
    path = tmp_path
    if kind == 'folder':
        for number, image in enumerate(pictures(3)):
            Image.fromarray(image).save(tmp_path / f'{number}.png')
    else:
        path = write(tmp_path / 'a.mp4', pictures(3))
    opened = footage.open_footage(str(path))
    with pytest.raises(errors.UserError, match='no frame 3: its last frame has the number 2'):
        next(opened.frames(3))


def sound(path):
    with wave.open(str(path), 'wb') as file:
        file.setnchannels(1), file.setsampwidth(2), file.setframerate(8000)
        file.writeframes(bytes(4000))


def no_frames(path):
    """Write a header without a frame after it."""
    whole = path.with_suffix('.whole.mkv')
    write(whole, pictures(2))
    contents = whole.read_bytes()
    path.write_bytes(contents[: contents.index(b'\x1f\x43\xb6\x75')])  # The first cluster.
    whole.unlink()


@pytest.mark.parametrize(
    'name, make, message',
    [
        ('missing.mp4', None, 'there is no such video'),
        ('text.mp4', lambda path: path.write_text('hello'), 'text.mp4 cannot be read as a video'),
        ('sound.wav', sound, 'has no video stream'),
        ('empty.mkv', no_frames, 'cannot be read as a video'),
        ('folder', lambda path: path.mkdir(), 'holds no pictures'),
    ],
)
def test_files_that_are_not_videos_are_refused(tmp_path, name, make, message):
    if make:
        make(tmp_path / name)
    with pytest.raises(errors.UserError, match=message) as raised:
        footage.open_footage(str(tmp_path / name))
    assert str(raised.value).count('.webp') <= 1  # Endings are listed once.


def peak_bytes(path, stop):
    """Return the peak of Python's and NumPy's memory while a video is read backwards."""
    opened = footage.open_footage(path)
    next(opened.frames(stop))
    tracemalloc.start()
    count = sum(1 for _ in opened.backwards(stop))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == stop
    return peak


def test_memory_does_not_grow_backwards(tmp_path, monkeypatch):
    monkeypatch.setattr(footage, 'CHUNK_BYTES', 10 * 64 * 48 * 3 // 2)
    most = []
    read = footage._File._within

    def within(self, *arguments):
        frames = read(self, *arguments)
        most.append(len(frames))
        return frames

    monkeypatch.setattr(footage._File, '_within', within)
    short = write(tmp_path / 'short.mp4', pictures(60), options={'g': '30'})
    long = write(tmp_path / 'long.mp4', pictures(300), options={'g': '30'})
    one, other = (peak_bytes(path, stop) for path, stop in ((short, 59), (long, 299)))
    assert 2 <= max(most) <= 10
    # The frames that the long one has more would be 2,200,000 bytes; their times are 40,000.
    assert other < one + 200_000, (one, other)


def test_an_overlay_keeps_irregular_times(tmp_path):
    times = np.cumsum([0, 40, 40, 500, 20, 20, 100, 33, 34, 1e-7]) / 1000
    path = tmp_path / 'overlay.mp4'
    images = pictures(10, 33, 47)
    assert video_writer.write_timed_video(str(path), zip(times, images), 20) == 10
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (48, 34)
        found = [frame.time for frame in container.decode(stream)]
    np.testing.assert_allclose(found, times, atol=1e-4)
    assert np.all(np.diff(found) > 0)
