"""Videos from which frames vanished: found, or said; intact ones are read without a word."""

import pathlib
import struct
import time

import av
import made_videos
import numpy as np
import pytest

from stfc3_tf.clips import avi_chunks, footage, h264_numbers, jumps, source, video
from stfc3_tf.preparation import segments
from stfc3_tf.preparation.settings import Settings

COUNT, RATE = 40, 25
TIMES = np.arange(COUNT) / RATE
H264 = {'g': '20', 'bf': '0', 'x264-params': 'scenecut=0'}
AVIS = {
    'h264': ('libx264', H264),
    'h264_b': ('libx264', {**H264, 'bf': '2'}),
    'mpeg4': ('mpeg4', {'g': '20', 'b': '2M'}),
    'xvid': ('mpeg4', {'g': '20', 'b': '2M', 'bf': '2'}),
    'mjpeg': ('mjpeg', {'pix_fmt': 'yuvj420p'}),
}


def numbers_of(path):
    return made_videos.numbers([frame.image for frame in footage.open_footage(str(path)).frames()])


def whole_errors(path):
    """Return the errors of the readers of whole videos."""
    with pytest.raises(source.UnreadableVideo) as one:
        numbers_of(path)
    reader = segments.SegmentedVideo(str(path), Settings())
    list(reader.segments())
    return [one.value.reason, reader.problem]


def clip_error(path, position=0.7):
    with pytest.raises(source.UnreadableVideo) as found:
        video.read_clip(str(path), position, 4, RATE)
    return found.value


def without(path, dropped, name):
    """Copy a video, but for the packets with these numbers."""
    target = path.with_name(name)
    with av.open(str(path)) as whole, av.open(str(target), 'w') as part:
        stream = part.add_stream_from_template(whole.streams.video[0])
        for number, packet in enumerate(whole.demux(video=0)):
            if packet.size and number not in dropped:
                packet.stream = stream
                part.mux(packet)
    return target


@pytest.mark.parametrize('bf', ['0', '2'])
@pytest.mark.parametrize('ending', ['avi', 'mkv', 'flv', 'asf', 'ts', 'mp4'])
def test_a_lost_packet_of_h264_is_found_in_every_container(tmp_path, ending, bf):
    """The decoder puts a copy in its place, and goes on without an error."""
    path = tmp_path / f'whole.{ending}'
    made_videos.write(path, TIMES, **{**H264, 'bf': bf})
    holed = without(path, [28, 29, 30], f'holed.{ending}')
    for reason in (*whole_errors(holed), clip_error(holed, 0.8).reason):
        assert reason.startswith('frames are missing before 1.')
    assert not clip_error(holed, 0.8).everywhere
    clip = made_videos.numbers(video.read_clip(str(holed), 0.1, 4, RATE))
    assert clip[0] in (3, 4) and np.all(np.diff(clip) == 1)


SETTINGS_OF_X264 = [
    'bframes=4:b-pyramid=normal:ref=6:b-adapt=0',
    'keyint=10:open-gop=1:bframes=3:b-adapt=0',
    'keyint=40:intra-refresh=1',
    'slices=4:aud=1',
    'interlaced=1:bframes=2:b-adapt=0',
    'ref=16:bframes=16:b-adapt=0',
    'weightp=2:cabac=0',
    'qp=0',
]


def packets_of_h264(path):
    """Return the parameters, and of each packet: contents, is key, others depend on it."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [(bytes(p), p.is_keyframe) for p in container.demux(stream) if p.size]
        return bytes(stream.codec_context.extradata), packets


def is_reference(packet):
    at = 0
    while packet[at + 4] & 31 not in (1, 5):
        at += 4 + int.from_bytes(packet[at : at + 4], 'big')
    return packet[at + 4] >> 5 & 3 > 0


@pytest.mark.parametrize('settings', SETTINGS_OF_X264)
def test_numbers_of_h264_skip_only_where_a_frame_is_missing_that_others_need(tmp_path, settings):
    path = tmp_path / 'a.mkv'
    options = {'preset': 'medium', 'x264-params': settings}
    made_videos.write(path, np.arange(60) / 25, made_videos.noisy_picture, **options)
    extradata, packets = packets_of_h264(path)

    def found_without(dropped):
        numbers = h264_numbers.FrameNumbers(extradata)
        skips = [numbers.skips(*packet) for n, packet in enumerate(packets) if n != dropped]
        return any(skips)

    assert not found_without(None)
    inner = range(1, len(packets) - 1)
    assert not [n for n in inner if found_without(n) and not is_reference(packets[n][0])]
    # Before a key frame, nothing depends on the frame that is lost.
    lost = [n for n in inner if is_reference(packets[n][0])]
    lost = [n for n in lost if not packets[n][1] and not packets[n + 1][1]]
    assert len(lost) > 10 and all(map(found_without, lost))


def test_numbers_of_h264_that_begin_again_are_no_hole():
    """As after a reset of the decoder's memory, which leaves no trace at the start of a slice."""
    numbers = h264_numbers.FrameNumbers(b'')
    # A sequence of profile 66 with 4 bits per number, a picture, and slices, as in the standard.
    head = b'\0\0\1\x67\x42\0\x0a' + _bits('1', '1', '1', '1', '010', '0')
    head += b'\0\0\1\x68' + _bits('1', '1')
    steps = [numbers.skips(head + _slice(n) if not n else _slice(n), n == 0) for n in range(6)]
    assert not any(steps)
    assert [numbers.skips(_slice(n), False) for n in (1, 2, 3, 7)] == [False] * 4
    numbers = h264_numbers.FrameNumbers(b'')
    assert [numbers.skips(head + _slice(n), n == 0) for n in (0, 1, 3)] == [False, False, True]


def _slice(number):
    return b'\0\0\1\x61' + _bits('1', '1', '1', f'{number:04b}')


def _bits(*bits):
    text = ''.join(bits) + '1'
    text += '0' * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, 'big')


@pytest.mark.parametrize('seed', range(3))
def test_no_bytes_make_the_numbers_of_h264_fail(seed):
    random = np.random.default_rng(seed)
    for _ in range(300):
        numbers = h264_numbers.FrameNumbers(random.bytes(40) if seed else b'\1' + random.bytes(40))
        for _ in range(3):
            numbers.skips(
                b'\0\0\1' + bytes([random.choice([1, 5, 7, 8])]) + random.bytes(30), False
            )


def avi(path, kind):
    """Write an AVI; return its bytes and where each of its frames begins and ends."""
    if kind == 'packed':
        made_videos.write_packed_avi(path, COUNT, RATE)
    else:
        codec, options = AVIS[kind]
        made_videos.write(path, TIMES, made_videos.noisy_picture, codec=codec, **options)
    contents = path.read_bytes()
    at, places = contents.index(b'movi') + 4, []
    while contents[at : at + 4] == b'00dc':
        length = int.from_bytes(contents[at + 4 : at + 8], 'little')
        places.append((at, at + 8 + length + length % 2))
        at = places[-1][1]
    assert len(places) == COUNT
    return contents, places


@pytest.mark.parametrize('indexed', [True, False])
@pytest.mark.parametrize('kind', [*AVIS, 'packed'])
def test_an_avi_without_one_of_its_frames(tmp_path, kind, indexed):
    path = tmp_path / 'a.avi'
    contents, places = avi(path, kind)
    for lost in (13, 20, 33):
        path = tmp_path / f'{lost}.avi'
        begin, end = places[lost]
        holed = contents[:begin] + contents[end:]
        path.write_bytes(holed if indexed else holed[: holed.index(b'idx1')])
        assert all(whole_errors(path))
        error = clip_error(path)
        assert error.everywhere
        assert error.reason.startswith('some of the 40 frames that its header states are missing')
        assert not indexed or error.reason.endswith(f', from {lost / RATE:.3f} s on')


@pytest.mark.parametrize('kind', ['mpeg4', 'xvid', 'mjpeg'])
@pytest.mark.parametrize('damage', ['overwritten', 'bytes'])
def test_an_avi_whose_chain_is_broken_within(tmp_path, kind, damage):
    path = tmp_path / 'a.avi'
    contents, places = avi(path, kind)
    begin, end = places[12]
    rest = bytes(end - begin) if damage == 'overwritten' else contents[begin : begin + 60]
    path.write_bytes(contents[:begin] + rest + contents[end:])
    for reason in whole_errors(path):
        assert reason
        assert damage != 'overwritten' or reason.endswith('some are missing, from 0.480 s on')


@pytest.mark.parametrize('tag', [b'JUNK', b'01wb'])
@pytest.mark.parametrize('before', [0, 12])
def test_an_avi_with_a_damaged_length_between_its_frames(tmp_path, tag, before):
    path = tmp_path / 'a.avi'
    contents, places = avi(path, 'mpeg4')
    begin = places[before][0]
    path.write_bytes(contents[:begin] + tag + struct.pack('<I', 1 << 30) + contents[begin:])
    assert avi_chunks.first_loss(str(path), 0) == (before, before, False)


@pytest.mark.parametrize('kind', AVIS)
def test_an_intact_avi_whose_header_promises_two_frames_more(tmp_path, kind):
    path = tmp_path / 'a.avi'
    contents, _ = avi(path, kind)
    length = contents.index(b'strh') + 8 + 32
    assert contents[length : length + 4] == COUNT.to_bytes(4, 'little')
    more = (COUNT + 2).to_bytes(4, 'little')
    path.write_bytes(contents[:length] + more + contents[length + 4 :])
    assert numbers_of(path) == list(range(COUNT))
    assert np.all(np.diff(made_videos.numbers(video.read_clip(str(path), 0.3, 4, RATE))) == 1)


@pytest.mark.parametrize('kind', ['mpeg4', 'packed'])
def test_an_avi_whose_frames_are_in_groups(tmp_path, kind):
    """As for reading from compact discs: `LIST` chunks named `rec ` around the frames."""
    path = tmp_path / 'a.avi'
    contents, places = avi(path, kind)
    frames = [contents[begin:end] for begin, end in places]
    groups = [b'LIST' + struct.pack('<I', 4 + len(one)) + b'rec ' + one for one in frames]
    for lost in ((), (13,)):
        left = b''.join(group for number, group in enumerate(groups) if number not in lost)
        movie = contents.index(b'movi')
        length = struct.pack('<I', 4 + sum(map(len, groups)))
        path = tmp_path / f'{len(lost)}.avi'
        path.write_bytes(contents[: movie - 4] + length + b'movi' + left)
        if lost:
            assert all(whole_errors(path)) and clip_error(path).everywhere
        else:
            assert numbers_of(path) == list(range(COUNT))
            assert len(video.read_clip(str(path), 0.7, 4, RATE)) == 4


def test_a_hostile_avi_is_walked_in_no_time(tmp_path):
    for inner in (bytes(5 << 20), (b'LIST' + struct.pack('<I', 9) + b'rec ') * 99_999):
        path = tmp_path / 'a.avi'
        movie = b'LIST' + struct.pack('<I', 1 << 30) + b'movi' + inner
        path.write_bytes(b'RIFF' + struct.pack('<I', 1 << 30) + b'AVI ' + inner[: 5 << 19] + movie)
        began = time.process_time()
        avi_chunks.lengths_agree(str(path))
        avi_chunks.first_loss(str(path), 0)
        assert time.process_time() - began < 2


def test_of_an_avi_that_is_cut_off_training_uses_what_is_left(tmp_path):
    path = tmp_path / 'a.avi'
    contents, places = avi(path, 'mpeg4')
    path.write_bytes(contents[: places[30][0] + 40])
    assert all(whole_errors(path))
    clip = made_videos.numbers(video.read_clip(str(path), 0.5, 4, RATE))
    assert 10 < clip[0] < clip[-1] < 30 and np.all(np.diff(clip) >= 0)


def test_an_avi_that_leaves_out_frames_that_are_shown_again_is_whole(tmp_path):
    path = tmp_path / 'a.avi'
    avi(path, 'mpeg4')
    # FFmpeg writes an empty chunk for each, as J-HMDB has them.
    sparse = without(path, [36, 38], 'sparse.avi')
    assert numbers_of(sparse)[:36] == list(range(36))
    assert len(video.read_clip(str(sparse), 0.9, 4, RATE)) == 4


EVEN = np.arange(60) / 25


@pytest.mark.parametrize(
    'times, expected',
    [
        (EVEN, []),
        (np.round(np.arange(60) / 30, 3), []),
        (np.delete(EVEN, [20]), [19]),
        (np.delete(EVEN, [20, 21, 22, 40]), [19, 36]),
        (np.round(np.delete(np.arange(90) / 59.94, [50]), 3), [49]),
        (np.delete(EVEN, np.arange(5, 60, 10)), []),  # As encoders leave out still frames.
        (np.cumsum([0, *[1 / 30] * 30, *[1 / 15] * 30]), []),  # Two rates.
        (np.cumsum([0, *[1 / 24] * 30, *[1 / 30] * 40]), []),
        (np.cumsum(np.random.default_rng(0).uniform(0.01, 0.06, 60)), []),
        (np.delete(EVEN[:10], [5]), []),
        ([0.0], []),
    ],
)
def test_where_times_jump(times, expected):
    assert jumps.find(list(times)) == expected


@pytest.mark.parametrize('name', ['a.mkv', 'a.flv', 'a.asf', 'a.ts'])
def test_a_hole_that_only_times_show_is_said_once(tmp_path, caplog, name):
    codec, options = {'a.ts': ('mpeg2video', {'b': '2M'}), 'a.flv': ('flv', {'b': '2M'})}.get(
        name, ('mjpeg', {'pix_fmt': 'yuvj420p'}) if name == 'a.mkv' else ('wmv2', {'b': '2M'})
    )
    path = tmp_path / name
    made_videos.write(path, TIMES, codec=codec, **{'g': '10', **options})
    assert numbers_of(path) == list(range(COUNT)) and not caplog.text
    holed = without(path, range(13, 20), f'holed{pathlib.Path(name).suffix}')
    for _ in range(2):
        assert numbers_of(holed) == [*range(13), *range(20, COUNT)]
    assert caplog.text.count(f'{holed}: its times jump in 1 place, first from ') == 1


def test_times_of_formats_that_state_their_frames_may_jump(tmp_path, caplog):
    path = tmp_path / 'a.mp4'
    made_videos.write(path, np.delete(TIMES, [20, 21]), bf='0')
    assert len(numbers_of(path)) == COUNT - 2 and not caplog.text
