"""The stream of clips: every sample a pure function of seed and index."""

import collections
import itertools

import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf import clips, errors
from stfc3_tf.clips import frame_folders, source


class Numbers(source.Source):
    """Videos whose frames spell out what was asked for; some of them broken."""

    def __init__(self, count, broken=(), half_broken=()):
        self.count, self.broken, self.half_broken = count, set(broken), set(half_broken)
        self.opened = collections.Counter()

    def __len__(self):
        return self.count

    def name(self, video):
        return f'video-{video}.mp4'

    def read(self, video, position, count, frame_rate):
        self.opened[video] += 1
        if video in self.broken:
            raise source.UnreadableVideo(self.name(video), 'no moov atom')
        if video in self.half_broken and position > 0.5:
            raise source.UnreadableVideo(self.name(video), 'cut off', everywhere=False)
        assert 0 <= position < 1
        clip = np.zeros((count, 2, 3, 3), np.uint8)
        clip[..., 0], clip[..., 1] = video, int(position * 256)
        return clip


def _take(videos, count, skipped=None, **settings):
    skipped = skipped or clips.SkippedVideos()
    dataset = clips.clip_dataset(videos, skipped=skipped, **settings)
    return [
        (int(e['index']), int(e['video']), e['frames'].tobytes())
        for e in dataset.take(count).as_numpy_iterator()
    ]


def test_an_epoch_holds_every_video_the_same_number_of_times_in_a_new_order():
    samples = _take(Numbers(7), 42, clips_per_video=3, seed=5)
    assert [index for index, _, _ in samples] == list(range(42))
    epochs = [[video for _, video, _ in samples[k : k + 21]] for k in (0, 21)]
    for epoch in epochs:
        assert collections.Counter(epoch) == dict.fromkeys(range(7), 3)
    assert epochs[0] != epochs[1]
    assert len({frames for _, _, frames in samples}) > 35  # positions differ


def test_elements_say_what_they_are():
    dataset = clips.clip_dataset(Numbers(3), frames=5, skipped=clips.SkippedVideos())
    assert dataset.element_spec == {
        'frames': tf.TensorSpec([5, None, None, 3], tf.uint8),
        'index': tf.TensorSpec([], tf.int64),
        'video': tf.TensorSpec([], tf.int64),
    }
    element = next(iter(dataset))
    assert element['frames'].shape == (5, 2, 3, 3)
    assert element['frames'][0, 0, 0, 0].numpy() == element['video'].numpy()


def test_the_seed_alone_decides():
    one = _take(Numbers(9), 60, seed=3, parallel_reads=4)
    assert one == _take(Numbers(9), 60, seed=3, parallel_reads=1)
    assert one != _take(Numbers(9), 60, seed=4)


def test_resuming_equals_the_unbroken_stream():
    broken = {'broken': {1, 4}, 'half_broken': {2, 6}}
    whole = _take(Numbers(9, **broken), 80, seed=1)
    for start in (1, 44, 45, 46, 70):
        resumed = _take(Numbers(9, **broken), 10, seed=1, start_index=start)
        assert resumed == whole[start : start + 10]


@pytest.mark.parametrize('start', [0, 5, 12])
def test_shards_share_the_stream_without_overlap(start):
    whole = _take(Numbers(6), 60, seed=2, start_index=start)
    parts = [
        _take(Numbers(6), 20, seed=2, start_index=start, shard_count=3, shard_index=shard)
        for shard in range(3)
    ]
    for shard, part in enumerate(parts):
        assert all(index % 3 == shard for index, _, _ in part)
    assert sorted(itertools.chain(*parts)) == whole


def test_broken_videos_are_reported_once_opened_once_and_replaced():
    videos, skipped = Numbers(10, broken={2, 7}), clips.SkippedVideos()
    samples = _take(videos, 100, skipped, seed=0, parallel_reads=1)
    assert {video for _, video, _ in samples} == set(range(10)) - {2, 7}
    assert skipped.reasons() == {'video-2.mp4': 'no moov atom', 'video-7.mp4': 'no moov atom'}
    assert skipped.count == 2
    assert '2 videos' in skipped.report() and 'video-7.mp4: no moov atom' in skipped.report()
    assert videos.opened[2] == videos.opened[7] == 1


def test_a_video_broken_in_one_place_is_still_read_elsewhere():
    videos, skipped = Numbers(4, half_broken={3}), clips.SkippedVideos()
    samples = _take(videos, 80, skipped, seed=0)
    assert 3 in {video for _, video, _ in samples[40:]}
    assert skipped.count == 1


def test_a_folder_with_pictures_of_two_sizes_is_read_where_they_agree(tmp_path):
    """Whether a sampler met a fault before does not change what it reads afterwards."""
    for number in range(24):
        size = (8, 8) if number < 16 else (8, 12)
        image = tf.io.encode_png(np.full([*size, 3], 10 * number, np.uint8)).numpy()
        (tmp_path / f'{number}.png').write_bytes(image)
    folders = frame_folders.FrameFolders([str(tmp_path)], 8.0)
    one = clips.ClipSampler(folders, 3, 8.0, 5, 0, clips.SkippedVideos())
    for index in range(20):
        fresh = clips.ClipSampler(folders, 3, 8.0, 5, 0, clips.SkippedVideos())
        np.testing.assert_array_equal(one.sample(index)[0], fresh.sample(index)[0])
    with pytest.raises(clips.UnreadableVideo, match='differ in size'):
        folders.read(0, 15 / 22, 3, 8.0)


def test_a_warning_is_logged_once_a_video(caplog):
    skipped = clips.SkippedVideos()
    with caplog.at_level('WARNING'):
        for _ in range(3):
            skipped.add('a.mp4', 'empty')
    assert len([r for r in caplog.records if 'a.mp4' in r.getMessage()]) == 1
    assert skipped.count == 1


def test_the_report_of_skipped_videos_has_an_end():
    skipped = clips.SkippedVideos()
    for number in range(30):
        skipped.add(f'{number}.mp4', 'empty')
    assert '30 videos' in skipped.report(limit=4) and '26 more' in skipped.report(limit=4)


def test_nothing_readable_ends_with_the_names_of_the_files():
    dataset = clips.clip_dataset(Numbers(3, broken={0, 1, 2}), skipped=clips.SkippedVideos())
    with pytest.raises(tf.errors.UnknownError, match=r'(?s)UserError.*video-1\.mp4: no moov atom'):
        next(iter(dataset))


@pytest.mark.parametrize(
    'setting',
    [
        {'frames': 0},
        {'frame_rate': 0.0},
        {'frame_rate': (8.0, 4.0)},
        {'frame_rate': (4.0, 0.0)},
        {'frame_rate': (4.0, 8.0, 16.0)},
        {'clips_per_video': 0},
        {'seed': -1},
        {'start_index': -1},
        {'shard_index': 2, 'shard_count': 2},
    ],
)
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(errors.UserError, match=next(iter(setting))):
        clips.clip_dataset(Numbers(3), skipped=clips.SkippedVideos(), **setting)
    with pytest.raises(errors.UserError, match='no videos'):
        clips.clip_dataset(Numbers(0), skipped=clips.SkippedVideos())


class Lengths(Numbers):
    """Videos of given lengths in seconds; a clip shows its rate, in a hundredth of a frame."""

    def __init__(self, *lengths):
        super().__init__(len(lengths))
        self.lengths = lengths

    def read(self, video, position, count, frame_rate):
        source.clip_times(self.name(video), 0.0, self.lengths[video], position, count, frame_rate)
        return np.full((count, 1, 1, 3), round(frame_rate * 10), np.uint8)


def _rates(videos, count, **settings):
    taken = _take(videos, count, clips_per_video=100, **settings)
    return [video for _, video, _ in taken], np.array([frames[0] / 10 for *_, frames in taken])


def test_of_two_rates_each_clip_draws_its_own_evenly_on_a_logarithmic_scale():
    skipped = clips.SkippedVideos()
    _, rates = _rates(Lengths(10.0), 400, frame_rate=(4.0, 16.0), skipped=skipped)
    assert 4.0 <= rates.min() < 4.1 and 15.5 < rates.max() <= 16.0
    counts = np.histogram(np.log2(rates), bins=np.linspace(2, 4, 5))[0]
    # 100 are expected in each quarter; the standard deviation is 9.
    assert np.all(np.abs(counts - 100) < 35)
    assert not skipped.reasons()
    resumed = _rates(Lengths(10.0), 100, frame_rate=(4.0, 16.0), start_index=300)[1]
    np.testing.assert_array_equal(resumed, rates[300:])
    other = _rates(Lengths(10.0), 400, frame_rate=(4.0, 16.0), seed=1)[1]
    assert abs(np.corrcoef(rates, other)[0, 1]) < 0.2


def test_a_video_too_short_for_its_rate_is_read_at_the_highest():
    """4 frames span 3 / rate seconds: 0.75 at 4 per second, 0.19 at 16."""
    skipped = clips.SkippedVideos()
    # The third video is too short for every rate.
    videos, rates = _rates(Lengths(1.0, 0.3, 0.1), 900, frame_rate=(4.0, 16.0), skipped=skipped)
    rates_of = [rates[np.array(videos) == number] for number in range(3)]
    assert len(rates_of[1]) and not len(rates_of[2])
    assert rates_of[1].min() >= 3 / 0.3 - 0.1
    # Two of three draws on the logarithmic scale are below 3 / 0.3 = 10.
    assert 0.55 < np.mean(rates_of[1] == 16.0) < 0.75
    assert np.mean(rates_of[0] < 10) > 0.55
    assert list(skipped.reasons()) == ['video-2.mp4']
    assert 'at 16 per second' in skipped.reasons()['video-2.mp4']


def test_one_rate_and_two_equal_rates_are_the_same_stream():
    one = _take(Numbers(5), 20, frame_rate=8.0)
    assert _take(Numbers(5), 20, frame_rate=(8.0, 8.0)) == one
    # Rates do not change which videos are drawn, nor the positions.
    assert _take(Numbers(5), 20, frame_rate=(4.0, 16.0)) == one


def test_clips_are_placed_by_time():
    times = source.clip_times('v', 2.0, 5.0, 0.5, 5, 4.0)
    np.testing.assert_allclose(times, [3.0, 3.25, 3.5, 3.75, 4.0])
    np.testing.assert_allclose(source.clip_times('v', 0.0, 1.0, 0.9, 5, 4.0), np.arange(5) / 4)
    with pytest.raises(source.UnreadableVideo, match='too short'):
        source.clip_times('v', 0.0, 0.9, 0.0, 5, 4.0)


def test_the_nearest_frame_is_taken():
    times = np.array([0.0, 0.125, 0.5, 0.625])
    targets = np.array([-1.0, 0.0, 0.0625, 0.07, 0.31, 0.32, 0.5625, 9.0])
    expected = [min(range(4), key=lambda k: (abs(times[k] - t), k)) for t in targets]
    assert source.nearest(times, targets).tolist() == expected
    assert source.nearest(np.array([3.0]), targets).tolist() == [0] * 8
