"""Similar cells are searched while a person marks: the propagation then only carries labels."""

import contextlib
import dataclasses
import shutil
import threading
import time

import moving_patches
from moving_patches import FRAMES, scene
import numpy as np
import page_server
import pytest
from waiting import until

from stfc3_tf import errors
from stfc3_tf.annotation.page import search_ahead
from stfc3_tf.propagation import candidates
from stfc3_tf.storage import lock

OBJECTS = [{'number': n, 'name': str(n), 'colour': f'#00000{n}'} for n in (2, 5)]
POINTS = [{'number': 1, 'name': 'corner', 'colour': '#ffffff'}]


@pytest.fixture
def looked_at(monkeypatch):
    """Return the list that grows with each search, and each frame that the encoder sees."""
    seen = []
    for name in ('within_window', 'anywhere'):
        original = getattr(candidates, name)

        def counted(*arguments, name=name, original=original):
            seen.append(name)
            return original(*arguments)

        monkeypatch.setattr(candidates, name, counted)
    return seen


@contextlib.contextmanager
def opened(tmp_path, seen=None, **changes):
    """Yield a client of the page and its video of `FRAMES` frames."""
    root = tmp_path / 'videos'
    root.mkdir(parents=True, exist_ok=True)
    if not (root / 'patches').exists():
        moving_patches.write_folder(root / 'patches')

    def features(frames):
        # The page itself tries the encoder on noise.
        if seen is not None and (frames[:, 0, :4] == 128).all():
            seen.append('encoder')
        return page_server.colours(frames)

    options = page_server.options(root, tmp_path / 'kept', lambda: page_server.encoder(features))
    with page_server.serving(dataclasses.replace(options, **changes)) as client:
        client.done('POST', 'open', {'name': 'patches'})
        client.done('PUT', 'v/patches/things', {'objects': OBJECTS, 'points': POINTS})
        yield client, client.desk.open('patches')


def is_locked(session):
    try:
        with lock.held(str(session / 'session.lock'), str):
            return False
    except errors.UserError:
        return True


def put_mask(client, frame, mask):
    client.done('PUT', f'v/patches/masks/{frame}', body=page_server.png(mask))


def searched(video):
    until(lambda: video.search.job is not None and video.search.job.has_ended)


def propagated(client):
    client.done('POST', 'v/patches/propagate', {'frame': 0})
    until(lambda: client.done('GET', 'v/patches/progress')['state'] != 'running')
    assert client.done('GET', 'v/patches/progress')['state'] == 'done'


def results(video):
    points = [dataclasses.asdict(record) for record in video.results['points'].records]
    return [video.mask(frame) for frame in range(FRAMES)], points


def truth(frame):
    return list(scene(frame))[1]


def mark(client, video):
    """Mark two frames and a point in several strokes, each search ahead to its end."""
    for frame in (0, 4):
        put_mask(client, frame, np.where(truth(frame) == 2, 2, 0).astype(np.uint8))
        if video.search.job is not None:
            searched(video)
        put_mask(client, frame, truth(frame))
        if video.search.job is not None:
            searched(video)
    client.done('PUT', 'v/patches/points/0', {'1': [40, 40]})
    if video.search.job is not None:
        searched(video)


def test_the_propagation_finds_everything_searched_and_gives_the_same(tmp_path, looked_at):
    with opened(tmp_path / 'ahead', looked_at) as (client, video):
        mark(client, video)
        assert {'within_window', 'anywhere', 'encoder'} <= set(looked_at)
        looked_at.clear()
        propagated(client)
        assert looked_at == []
        masks, points = results(video)
    with opened(tmp_path / 'not', features_bytes=0) as (client, video):
        mark(client, video)
        assert video.search.job is None
        propagated(client)
        expected_masks, expected_points = results(video)
    np.testing.assert_array_equal(masks, expected_masks)
    assert points == expected_points and len(points) >= FRAMES - 1


def test_more_strokes_in_a_frame_do_not_begin_again(tmp_path):
    with opened(tmp_path) as (client, video):
        put_mask(client, 0, truth(0))
        first = video.search.job
        for shift in (8, 16, 24):
            put_mask(client, 0, np.roll(truth(0), shift, axis=0))
        assert video.search.job is first
        searched(video)
        put_mask(client, 0, truth(1))
        assert video.search.job is first
        put_mask(client, 3, truth(3))
        assert video.search.job is not first


def test_a_search_that_failed_begins_again_with_the_next_stroke(tmp_path):
    speck = np.zeros_like(truth(0))
    speck[50, 60] = 2  # Smaller than a cell.
    with opened(tmp_path) as (client, video):
        put_mask(client, 0, speck)
        searched(video)
        assert video.search.job.has_failed
        put_mask(client, 0, truth(0))
        searched(video)
        assert not video.search.job.has_failed
        # The page does not hear of it.
        assert client.done('GET', 'v/patches/progress')['state'] == 'none'


def test_a_propagation_does_not_wait_for_the_search(tmp_path):
    told, seen = threading.Event(), []

    def features(frames):
        seen.append(len(frames))
        if len(seen) > 4:  # Those of the page's own try, and the first frames of the search.
            told.wait(0.5)
        return page_server.colours(frames)

    load = lambda: page_server.encoder(features)
    with opened(tmp_path, load=load) as (client, video):
        put_mask(client, 0, truth(0))
        until(lambda: len(seen) > 4)
        client.done('POST', 'v/patches/propagate', {'frame': 0})
        assert not video.search.job.is_running
        told.set()
        until(lambda: client.done('GET', 'v/patches/progress')['state'] == 'done')
        moving_patches.assert_masks_agree(video.mask(FRAMES - 1), truth(FRAMES - 1), within=2)


def test_of_a_long_video_only_the_nearest_frames_are_searched(tmp_path, looked_at, monkeypatch):
    monkeypatch.setattr(search_ahead, '_MOST_STEPS', 2)
    with opened(tmp_path) as (client, video):
        put_mask(client, 0, truth(0))
        searched(video)
        assert video.search.job.progress()['state'] == 'done'
        # A step is noted when its labels are there; one more frame may have been read ahead.
        assert 2 <= looked_at.count('anywhere') <= 3


def test_work_never_runs_beside_work_that_was_stopped(tmp_path):
    running, most = [], []

    def features(frames):
        if (frames[:, 0, :4] == 128).all():  # The page itself tries the encoder on noise.
            running.append(1)
            most.append(len(running))
            time.sleep(0.1)
            running.pop()
        return page_server.colours(frames)

    with opened(tmp_path, load=lambda: page_server.encoder(features)) as (client, video):
        put_mask(client, 0, truth(0))
        searched(video)
        shutil.rmtree(tmp_path / 'kept' / 'patches' / 'features')
        for _ in range(3):  # No mark between: the search ended long ago.
            client.done('POST', 'v/patches/propagate', {'frame': 0})
            client.done('POST', 'v/patches/stop')
        put_mask(client, 3, truth(3))
        propagated(client)
    assert max(most) == 1


def test_opening_another_video_ends_the_search(tmp_path):
    told = threading.Event()

    def features(frames):
        told.wait(0.3)
        return page_server.colours(frames)

    (tmp_path / 'videos').mkdir()
    moving_patches.write_folder(tmp_path / 'videos' / 'other')
    with opened(tmp_path, load=lambda: page_server.encoder(features)) as (client, video):
        put_mask(client, 0, truth(0))
        assert video.search.job.is_running
        client.done('POST', 'open', {'name': 'other'})
        assert not video.search.job.is_running
        told.set()


def test_what_was_marked_during_a_propagation_is_searched_after_it(tmp_path, looked_at):
    told = threading.Event()

    def features(frames):
        told.wait(0.2)
        return page_server.colours(frames)

    with opened(tmp_path, load=lambda: page_server.encoder(features)) as (client, video):
        put_mask(client, 0, truth(0))
        client.done('POST', 'v/patches/propagate', {'frame': 0})
        until(lambda: client.done('GET', 'v/patches/progress')['changes'])
        before = video.search.job
        put_mask(client, 4, truth(4))
        assert video.search.job is before and video.job.is_running
        told.set()
        until(lambda: video.search.job is not before)
        searched(video)
        looked_at.clear()
        propagated(client)
        assert looked_at == []


def test_an_object_that_is_added_is_searched_too(tmp_path, looked_at):
    left = np.where(truth(4) == 2, 2, 0).astype(np.uint8)
    with opened(tmp_path) as (client, video):
        put_mask(client, 0, truth(0))
        searched(video)
        for mask in (np.zeros_like(left), left, truth(4)):  # Not here; but there; both objects.
            objects = 'objects=2' if mask is left else 'objects=2,5'
            client.done('PUT', f'v/patches/masks/4?{objects}', body=page_server.png(mask))
            searched(video)
        looked_at.clear()
        propagated(client)
        assert looked_at == []


def test_an_export_does_not_wait_for_an_encoder_that_the_search_waits_for(tmp_path):
    loaded = threading.Event()

    def load():
        loaded.wait(30)
        return page_server.encoder()

    with opened(tmp_path, load=load) as (client, video):
        put_mask(client, 0, truth(0))
        assert video.search.job.is_running
        client.done('POST', 'v/patches/export', {'formats': []})
        until(lambda: client.done('GET', 'v/patches/progress')['state'] == 'done')
        assert client.done('GET', 'v/patches/state')['encoder']['state'] == 'loading'
        loaded.set()
        searched(video)
        assert video.search.job.progress()['done'] == FRAMES - 1


def test_results_stay_valid_without_their_encoder(tmp_path):
    def no_encoder():
        raise errors.UserError('There is no such encoder.')

    for load in (page_server.encoder, no_encoder):
        with opened(tmp_path, load=load) as (client, _):
            if load is page_server.encoder:
                put_mask(client, 0, truth(0))
                propagated(client)
            until(lambda: client.done('GET', 'v/patches/state')['encoder']['state'] != 'loading')
            stretches = client.done('GET', 'v/patches/state')['stretches']
            assert [each['done'] for each in stretches] == [True]


def test_videos_are_closed_when_their_work_has_ended(tmp_path):
    for name in 'abcde':
        (tmp_path / 'videos').mkdir(exist_ok=True)
        moving_patches.write_folder(tmp_path / 'videos' / name)
    told = threading.Event()

    def features(frames):
        told.wait(20)
        return page_server.colours(frames)

    with opened(tmp_path, load=lambda: page_server.encoder(features)) as (client, _):
        for name in 'abcde':
            client.done('POST', 'open', {'name': name})
            client.done('PUT', f'v/{name}/things', {'objects': OBJECTS, 'points': []})
            client.done('PUT', f'v/{name}/masks/0', body=page_server.png(truth(0)))
            client.done('POST', f'v/{name}/propagate', {'frame': 0})
        told.set()
        progress = lambda: [client.done('GET', f'v/{name}/progress')['state'] for name in 'abcde']
        until(lambda: 'running' not in progress())
        locks = lambda: [is_locked(tmp_path / 'kept' / name) for name in 'abcde']
        client.done('GET', 'v/e/state')
        until(lambda: client.done('GET', 'v/e/state') and sum(locks()) <= 3)
        assert locks()[-1]
