"""The page's server: who may ask, what is kept, propagation watched, stopped and resumed."""

import contextlib
import csv
import dataclasses
import gzip
import io
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile

import av
import forked_programs
import made_videos
import moving_patches
from moving_patches import FRAMES, HEIGHT, WIDTH, assert_masks_agree, scene
import numpy as np
import page_server
from PIL import Image
import pytest
from waiting import until

from stfc3_tf import errors
from stfc3_tf.annotation import video_job
from stfc3_tf.annotation.given_labels import GivenMasks, GivenPoints
from stfc3_tf.annotation.marks.inputs import MaskAnnotation, PointAnnotation
from stfc3_tf.annotation.page import server
from stfc3_tf.annotation.page.desk import Desk
from stfc3_tf.annotation.page.frame_store import FrameStore
from stfc3_tf.annotation.page.guard import Guard
from stfc3_tf.annotation.page.job import Job
from stfc3_tf.clips.footage import open_footage
from stfc3_tf.clips.frame import Frame

ROOT = pathlib.Path(__file__).parents[2]
OBJECTS = [
    {'number': 2, 'name': 'left', 'colour': '#e69f00'},
    {'number': 5, 'name': 'right', 'colour': '#56b4e9'},
]
POINTS = [{'number': 1, 'name': 'corner', 'colour': '#ffffff'}]


@pytest.fixture
def videos(tmp_path):
    root = tmp_path / 'videos'
    root.mkdir()
    moving_patches.write_folder(root / 'patches')
    (tmp_path / 'secret.mp4').write_bytes(b'not for others')
    (root / 'link.mp4').symlink_to(tmp_path / 'secret.mp4')
    return root


@pytest.fixture
def client(videos, tmp_path):
    with page_server.serving(page_server.options(videos, tmp_path / 'kept')) as found:
        yield found


def truth(number):
    return list(scene(number))[1]


def opened(client):
    state = client.done('POST', 'open', {'name': 'patches'})
    client.done('PUT', 'v/patches/things', {'objects': OBJECTS, 'points': POINTS})
    return state


def wait(client, state='done', seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        progress = client.done('GET', 'v/patches/progress')
        if progress['state'] != 'running':
            assert progress['state'] == state, progress
            return progress
        time.sleep(0.05)
    raise AssertionError('it goes on and on')


def propagated(client, frame=0, **merge):
    client.done('POST', 'v/patches/propagate', {'frame': frame, **merge})
    return wait(client)


def exported_folder(client):
    client.done('POST', 'v/patches/export', {'formats': []})
    return pathlib.Path(wait(client)['changes'][-1]['folder'])


def mask_of(client, frame):
    status, contents = client.get(f'v/patches/masks/{frame}')
    assert status == 200
    return np.frombuffer(gzip.decompress(contents), np.uint8).reshape(HEIGHT, WIDTH)


# Who may ask.


def test_without_the_secret_everything_is_refused(client):
    opened(client)
    paths = ['/', '/favicon.ico', '/static/main.js', '/videos', '//', '/x/v/patches/state']
    wrong = '/' + client.secret.strip('/')[:-1] + '/'
    for path in [*paths, wrong, wrong + 'v/patches/state', '/%00/', '/..' + client.secret]:
        for method in ('GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'HEAD', 'PATCH'):
            status, _, contents = client.ask(method, path)
            assert status == 403 and b'frames' not in contents, (method, path)


@pytest.mark.parametrize('host', ['evil.example', 'evil.example:80', '127.0.0.1.evil.example', ''])
def test_another_sites_name_for_this_machine_is_refused(client, host):
    status, _, _ = client.ask('GET', client.secret, headers={'Host': host})
    assert status in (400, 403)


def test_this_machines_own_names_are_taken(client):
    for host in (f'localhost:{client.port}', f'127.0.0.1:{client.port}', f'[::1]:{client.port}'):
        status, _, contents = client.ask('GET', client.secret, headers={'Host': host})
        assert status == 200 and b'<title>' in contents


def test_all_interfaces_are_reached_by_addresses_and_not_by_foreign_names():
    guard = Guard('secret', '0.0.0.0')
    assert guard.allows('/secret/', '192.168.1.5:8000') and guard.allows('/secret/', '[fe80::1]:80')
    assert guard.allows('/secret/', f'{socket.gethostname()}:80')
    assert not guard.allows('/secret/', 'evil.example:8000')
    assert not Guard('secret', '127.0.0.1').allows('/secret/', '192.168.1.5:8000')


def test_the_page_may_load_nothing_from_elsewhere(client):
    _, headers, contents = client.ask('GET', client.secret)
    policy = headers['Content-Security-Policy']
    assert "default-src 'none'" in policy and "script-src 'self'" in policy
    assert 'unsafe' not in policy and 'http' not in policy
    assert headers['X-Content-Type-Options'] == 'nosniff' and headers['Referrer-Policy']
    assert 'Access-Control-Allow-Origin' not in headers
    for name in re.findall(r'(?:src|href)="(static/[a-z_.]+)', contents.decode()):
        status, headers, part = client.ask('GET', client.secret + name)
        assert status == 200 and part
        assert not re.search(rb'https?://(?!www\.w3\.org/)', part), name


def test_only_the_pages_own_parts_are_static(client):
    for name in ('server.py', '../server.py', '..%2fserver.py', '%2e%2e/guard.py', '/etc/passwd'):
        status, contents = client.get(f'static/{name}')
        assert status in (403, 404) and b'import' not in contents


def test_only_videos_of_the_folder_are_opened(client, videos):
    (videos / 'far').symlink_to(videos.parent)
    (videos / 'again.mp4').symlink_to(videos / 'patches' / '0.png')
    found = client.done('GET', 'videos')
    assert found == {'names': ['again.mp4', 'patches'], 'more': 0, 'outside': 2}
    for name in (
        '../secret.mp4',
        'far/secret.mp4',
        str(videos.parent / 'secret.mp4'),
        'link.mp4',
        'a\x00b',
        '.',
        '',
        '\ud800',
        './patches',
        'patches/../patches',
        '../videos/patches',
    ):
        status, found = client.json('POST', 'open', {'name': name})
        assert status == 404 and 'no video' in found['error'], name
    assert client.json('GET', 'v/..%2f..%2fsecret.mp4/state')[0] == 404
    status, found = client.json('GET', 'v/%FF/state')
    assert status == 400 and found['error'] == 'This request cannot be read.'


def test_sessions_are_no_videos(videos):
    with page_server.serving(page_server.options(videos, videos / 'kept')) as client:
        opened(client)
        client.done('PUT', 'v/patches/masks/0', body=page_server.png(truth(0)))
        client.done('POST', 'v/patches/export', {'formats': []})
        wait(client)
        assert (videos / 'kept' / 'patches' / 'exports' / '001' / 'overlay.mp4').exists()
        assert client.done('GET', 'videos')['names'] == ['patches']


def test_videos_beyond_those_that_are_listed_are_counted_and_opened(client, videos):
    for number in range(1003):
        (videos / f'v{number:04d}.mp4').touch()
    found = client.done('GET', 'videos')
    assert found['names'] == [f'v{number:04d}.mp4' for number in range(1000)]
    assert found['more'] == 4
    assert client.done('POST', 'open', {'name': 'patches'})['name'] == 'patches'


def test_one_given_video_is_the_only_one(videos, tmp_path):
    moving_patches.write_folder(videos / 'other')
    chosen = page_server.options(videos, tmp_path / 'kept', video='patches')
    with page_server.serving(chosen) as client:
        assert client.done('GET', 'videos')['names'] == ['patches']
        assert client.json('POST', 'open', {'name': 'other'})[0] == 404
        assert client.done('POST', 'open', {'name': 'patches'})['name'] == 'patches'


# What is refused.

GOOD = np.zeros((HEIGHT, WIDTH), np.uint8)


@pytest.mark.parametrize(
    'method, path, body, words',
    [
        ('POST', 'open', b'', 'not readable as JSON'),
        ('POST', 'open', b'[1]', 'damaged'),
        ('POST', 'open', b'{"name": 7}', 'damaged'),
        ('PUT', 'v/patches/things', b'{"objects": [{"number": 0}]}', 'damaged'),
        ('PUT', 'v/patches/things', b'[' * 100000, 'nested too deeply|not readable'),
        (
            'PUT',
            'v/patches/things',
            json.dumps({'objects': [OBJECTS[0], OBJECTS[0]]}).encode(),
            'rename one',
        ),
        (
            'PUT',
            'v/patches/masks/0',
            b'',
            r'^The mask that was sent is not a readable image \(its format is not known\)\. Reload',
        ),
        (
            'PUT',
            'v/patches/masks/0',
            b'\x89PNG\r\n\x1a\n' + b'\0' * 40,
            r'not a readable image \(.*\)\. Reload the page\.$',
        ),
        ('PUT', 'v/patches/masks/0', page_server.png(GOOD[:-1]), f'{WIDTH}x{HEIGHT}'),
        ('PUT', 'v/patches/masks/0', page_server.png(GOOD, 'RGB'), 'RGB'),
        ('PUT', 'v/patches/masks/0', page_server.png(GOOD)[:-30], r'\). Reload the page\.$'),
        ('PUT', 'v/patches/masks/0', page_server.png(GOOD + 9), 'no object 9'),
        ('PUT', 'v/patches/masks/0?objects=x', page_server.png(GOOD), 'damaged'),
        ('PUT', 'v/patches/masks/0?objects=300', page_server.png(GOOD), 'damaged'),
        ('PUT', 'v/patches/masks/0?objects=9', page_server.png(GOOD), 'no object 9'),
        ('PUT', f'v/patches/masks/{FRAMES}', page_server.png(GOOD), 'no frame'),
        ('PUT', 'v/patches/points/0', b'{"1": [1]}', 'damaged'),
        ('PUT', 'v/patches/points/0', b'{"1": [1e999, 1]}', 'too large|damaged'),
        ('PUT', 'v/patches/points/0', b'{"1": [NaN, 1]}', 'outside|damaged'),
        ('PUT', 'v/patches/points/0', b'{"1": [500, 1]}', 'outside'),
        ('PUT', 'v/patches/points/0', b'{"7": [1, 1]}', 'no point 7'),
        ('PUT', f'v/patches/points/{FRAMES}', b'{"1": [1, 1]}', 'no frame'),
        ('POST', 'v/patches/propagate', b'{"frame": -1}', 'damaged'),
        ('POST', 'v/patches/propagate', b'{"missing": 7}', 'damaged'),
        ('POST', 'v/patches/propagate', b'{"first": 4, "last": 3}', 'swap the two'),
        ('POST', 'v/patches/propagate', b'{}', 'Nothing is marked'),
        ('POST', 'v/patches/export', b'{"formats": []}', 'nothing to export'),
        ('POST', 'v/patches/export', b'', 'not readable as JSON'),
        ('POST', 'v/patches/export', b'{"formats": "coco"}', 'damaged'),
        ('POST', 'v/patches/export', b'{"formats": ["coco", "../x"]}', "no format '../x'"),
        ('GET', 'v/patches/progress?since=-1', None, 'damaged'),
        ('GET', 'v/patches/progress?since=x', None, 'damaged'),
        ('GET', f'v/patches/frames/{FRAMES}', None, 'no frame'),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(client, method, path, body, words):
    opened(client)
    until(lambda: client.done('GET', 'v/patches/state')['frames'])
    status, found = client.json(method, path, body=body)
    assert status == 400 and re.search(words, found['error']), found
    assert client.done('GET', 'v/patches/state')['masks'] == {}


def test_a_body_that_is_too_large_is_not_read(client):
    opened(client)
    with socket.create_connection((client.host, client.port), 10) as raw:
        head = f'PUT {client.secret}v/patches/masks/0 HTTP/1.1\r\nHost: 127.0.0.1\r\n'
        raw.sendall(f'{head}Content-Length: 999999999999\r\n\r\n'.encode())
        assert b' 400 ' in raw.recv(100)
    assert client.done('GET', 'v/patches/state')['masks'] == {}


def test_what_is_not_there(client):
    opened(client)
    for path in ('v/patches/masks/3', 'v/patches/exports/001.zip', 'v/other/state', 'nothing'):
        status, found = client.json('GET', path)
        assert status == 404 and found['error'], path


# Marking, propagating, correcting.


def test_frames_come_as_they_are(client):
    opened(client)
    for number in (4, 0, 6, 5, 1):
        status, contents = client.get(f'v/patches/frames/{number}')
        image = np.asarray(Image.open(io.BytesIO(contents))).astype(int)
        assert status == 200 and np.abs(image - list(scene(number))[0]).mean() < 12


def counted(client, name):
    video = client.done('POST', 'open', {'name': name})['id']

    def state_when_counted():
        state = client.done('GET', f'v/{video}/state')
        return state if state['frames'] is not None else None

    return until(state_when_counted)


@pytest.mark.parametrize('ending', ['avi', 'mp4'])
@pytest.mark.parametrize(
    'places, uneven', [([0, 1, 2, 4, 5, 9, 10], True), ([0, 1, 2, 3, 4, 5, 6], False)]
)
def test_the_page_learns_the_times_of_frames_at_uneven_distances(tmp_path, ending, places, uneven):
    times = np.array(places) / 10
    codec = 'mpeg4' if ending == 'avi' else 'libx264'
    made_videos.write(tmp_path / f'a.{ending}', times, codec=codec)
    with page_server.serving(page_server.options(tmp_path, tmp_path / 'kept')) as client:
        state = counted(client, f'a.{ending}')
        assert state['uneven'] == uneven
        status, contents = client.get(f'v/{state["id"]}/times')
        assert status == 200
        np.testing.assert_allclose(np.frombuffer(contents, '<f8'), times, atol=1e-6)


def test_times_before_the_count(tmp_path):
    goes_on = threading.Event()

    class Slow:
        name = 'video'

        def frames(self, start=0):
            for number in range(start, 3):
                yield Frame.of_image(number, [0, 0.5, 0.6][number], next(scene(number)))
            goes_on.wait(60)

    frames = FrameStore(Slow)
    until(lambda: frames.seen >= 3)
    assert frames.times().size == 0
    goes_on.set()
    until(lambda: frames.count is not None)
    assert frames.times().tolist() == [0, 0.5, 0.6]


def test_masks_are_propagated_corrected_and_found_again(client, videos, tmp_path):
    opened(client)
    client.done('PUT', 'v/patches/masks/3', body=page_server.png(truth(3)))
    changes = propagated(client, 3)['changes']
    # Onwards first, as they come; the marked frame begins both ways.
    assert [each['frame'] for each in changes] == [3, 4, 5, 6, 3, 2, 1, 0]
    for number in range(FRAMES):
        assert_masks_agree(mask_of(client, number), truth(number), within=2)
    state = client.done('GET', 'v/patches/state')
    assert [each['done'] for each in state['stretches']] == [True, True]
    assert client.get('v/patches/masks/1?before=1') == (204, b'')
    # A wrong "correction" at frame 5 changes what lies on its sides. It is also the second marked
    # frame, and so the context of those before the first.
    before = [mask_of(client, number) for number in range(FRAMES)]
    shifted = np.roll(truth(5), -16, axis=0)
    client.done('PUT', 'v/patches/masks/5', body=page_server.png(shifted))
    np.testing.assert_array_equal(mask_of(client, '5?before=1'), before[5])
    state = client.done('GET', 'v/patches/state')
    assert [(s['first'], s['last'], s['done']) for s in state['stretches']] == [
        (0, 3, False),
        (3, 5, False),
        (5, None, False),
    ]
    changes = propagated(client, 5)['changes']
    assert {each['frame'] for each in changes} == set(range(FRAMES))
    np.testing.assert_array_equal(mask_of(client, 5), shifted)
    assert (mask_of(client, 6) != before[6]).any()
    np.testing.assert_array_equal(mask_of(client, '6?before=1'), before[6])
    # In the marked frame itself, what the person replaced is still known.
    np.testing.assert_array_equal(mask_of(client, '5?before=1'), before[5])
    assert propagated(client)['changes'] == []
    # One more changes nothing beyond the next marked frame.
    before = [mask_of(client, number) for number in range(5)]
    client.done('PUT', 'v/patches/masks/6', body=page_server.png(truth(6)))
    assert {each['frame'] for each in propagated(client, 6)['changes']} == {5, 6}
    for number in range(5):
        np.testing.assert_array_equal(mask_of(client, number), before[number])
    results = client.done('GET', 'v/patches/results')
    client.desk.close()
    # Another process finds it all, and has nothing to do.
    with page_server.serving(page_server.options(videos, tmp_path / 'kept')) as other:
        state = other.done('POST', 'open', {'name': 'patches'})
        assert state['masks'] == {'3': [2, 5], '5': [2, 5], '6': [2, 5]}
        assert state['things']['objects'] == OBJECTS
        assert other.done('GET', 'v/patches/results') == results
        assert propagated(other)['changes'] == []
        other.done('DELETE', 'v/patches/masks/5')
        np.testing.assert_array_equal(mask_of(other, 5), shifted)


def test_only_some_frames_change_if_that_is_asked_for(client):
    opened(client)
    client.done('PUT', 'v/patches/masks/3', body=page_server.png(truth(3)))
    propagated(client, first=4, last=5, missing=True)
    assert [client.get(f'v/patches/masks/{n}')[0] for n in range(FRAMES)] == [404] * 3 + [
        200,
        200,
        200,
        404,
    ]
    before = mask_of(client, 4)
    client.done('PUT', 'v/patches/masks/3', body=page_server.png(np.roll(truth(3), -16, axis=0)))
    changes = propagated(client, missing=True)['changes']
    assert sorted(each['frame'] for each in changes) == [0, 1, 2, 3, 6]
    np.testing.assert_array_equal(mask_of(client, 4), before)
    done = lambda: [s['done'] for s in client.done('GET', 'v/patches/state')['stretches']]
    # Frames 4 and 5 are from other labels: the stretch is not done.
    assert done() == [True, False]
    propagated(client, first=5, last=6)
    np.testing.assert_array_equal(mask_of(client, 4), before)
    propagated(client)
    assert done() == [True, True] and (mask_of(client, 4) != before).any()


def test_the_encoder_sees_each_frame_once(videos, tmp_path):
    seen = []

    def colours_seen(frames):
        seen.append(frames.tobytes())
        return page_server.colours(frames)

    def options():
        load = lambda: page_server.encoder(colours_seen)
        return page_server.options(videos, tmp_path / 'kept', load)

    with page_server.serving(options()) as client:
        opened(client)
        client.done('PUT', 'v/patches/masks/3', body=page_server.png(truth(3)))
        propagated(client, 3)
        client.done('PUT', 'v/patches/masks/5', body=page_server.png(truth(5)))
        propagated(client, 5)
    with page_server.serving(options()) as client:
        client.done('POST', 'open', {'name': 'patches'})
        client.done('PUT', 'v/patches/masks/6', body=page_server.png(truth(6)))
        propagated(client, 6)
    # The page also tries the encoder on two frames of noise, at each start.
    assert FRAMES <= len(set(seen)) <= FRAMES + 2
    assert len(seen) <= len(set(seen)) + 2


def test_frames_beyond_a_range_are_not_looked_at(videos, tmp_path):
    seen = []

    def colours_seen(frames):
        seen.append(frames.tobytes())
        return page_server.colours(frames)

    options = page_server.options(
        videos, tmp_path / 'kept', lambda: page_server.encoder(colours_seen)
    )
    # Where nothing is kept, nothing is searched while a person marks.
    with page_server.serving(dataclasses.replace(options, features_bytes=0)) as client:
        until(lambda: opened(client)['frames'])
        client.done('PUT', 'v/patches/masks/3', body=page_server.png(truth(3)))
        changes = propagated(client, 3, first=2, last=4)['changes']
        assert [each['frame'] for each in changes] == [3, 4, 3, 2]
        # Those of the range, and two frames of noise.
        assert len(set(seen)) == 3 + 2
        done = [each['done'] for each in client.done('GET', 'v/patches/state')['stretches']]
        assert done == [False, False]


def test_an_object_that_a_mask_says_nothing_about_goes_on(client):
    opened(client)
    only = np.where(truth(0) == 2, 2, 0).astype(np.uint8)
    client.done('PUT', 'v/patches/masks/0', body=page_server.png(only))
    only = np.where(truth(4) == 5, 5, 0).astype(np.uint8)
    client.done('PUT', 'v/patches/masks/4', body=page_server.png(only))
    propagated(client)
    for number in range(FRAMES):
        assert_masks_agree(mask_of(client, number), truth(number), within=2)


def test_an_object_that_is_not_there_any_more(client):
    opened(client)
    client.done('PUT', 'v/patches/masks/0', body=page_server.png(truth(0)))
    left = np.where(truth(4) == 2, 2, 0).astype(np.uint8)
    client.done('PUT', 'v/patches/masks/4?objects=2,5', body=page_server.png(left))
    propagated(client)
    assert set(np.unique(mask_of(client, 2))) == {0, 2, 5}
    for number in (4, 5, 6):
        assert set(np.unique(mask_of(client, number))) == {0, 2}


def test_points_are_propagated_each_from_its_own_marks(client):
    opened(client)
    points = [*POINTS, {'number': 4, 'name': 'other', 'colour': '#000000'}]
    client.done('PUT', 'v/patches/things', {'objects': OBJECTS, 'points': points})
    at = lambda number: [28 + 8 * number, 28]  # noqa: E731 In object 2.
    client.done('PUT', 'v/patches/points/0', {'1': at(0), '4': at(0)})
    propagated(client)
    results = client.done('GET', 'v/patches/results')['points']
    assert [each['frame'] for each in results] == list(range(FRAMES))
    for each in results:
        np.testing.assert_allclose(each['points']['1'], at(each['frame']), atol=2.5)
    client.done('PUT', 'v/patches/points/3', {'4': None})
    changes = propagated(client)['changes']
    assert all('1' not in each['confidence'] for each in changes)
    # Where the other was is told with the change, and afterwards.
    told = {each['frame']: each['before'] for each in changes}
    gone = [told[number] for number in range(3, FRAMES)]
    assert gone == [{'4': each['points']['4']} for each in results[3:]]
    after = client.done('GET', 'v/patches/results')['points']
    assert [each['points']['1'] for each in after] == [each['points']['1'] for each in results]
    assert [each['points']['4'] is None for each in after] == [False] * 3 + [True] * 4
    assert [each['before'] for each in after[3:]] == gone


def test_what_is_removed_leaves_nothing_behind(client, videos, tmp_path):
    opened(client)
    client.done('PUT', 'v/patches/masks/0', body=page_server.png(truth(0)))
    client.done('PUT', 'v/patches/points/0', {'1': [28, 28]})
    propagated(client)
    propagated(client)
    client.done('PUT', 'v/patches/things', {'objects': OBJECTS[1:], 'points': []})
    for number in range(FRAMES):
        expected = np.where(truth(number) == 5, 5, 0)
        assert_masks_agree(mask_of(client, number), expected, within=2)
        assert client.get(f'v/patches/masks/{number}?before=1') == (204, b'')
    results = client.done('GET', 'v/patches/results')
    assert all(list(each['confidence']) == ['5'] for each in results['masks'])
    assert all(each['points'] == {} for each in results['points'])
    # A new object with the old number begins without labels, also in another process.
    client.done('PUT', 'v/patches/things', {'objects': OBJECTS, 'points': POINTS})
    client.desk.close()
    with page_server.serving(page_server.options(videos, tmp_path / 'kept')) as other:
        opened(other)
        assert other.done('GET', 'v/patches/results') == results
        assert set(np.unique(mask_of(other, 3))) == {0, 5}


def test_an_export_holds_what_was_given_and_propagated(client, tmp_path):
    opened(client)
    client.done('PUT', 'v/patches/masks/2', body=page_server.png(truth(2)))
    client.done('PUT', 'v/patches/points/2', {'1': [44, 28]})
    propagated(client)
    name = client.done('POST', 'v/patches/export', {'formats': ['cvat']})['name']
    change = wait(client)['changes'][-1]
    folder = pathlib.Path(change['folder'])
    assert change['name'] == name == '001' and (tmp_path / 'kept') in folder.parents
    assert sorted(os.listdir(folder)) == [
        *('confidence.csv', 'cvat_masks.xml', 'cvat_points.xml', 'masks', 'overlay.mp4'),
        *('result.json', 'tracks.csv', 'tracks.json'),
    ]
    assert f'label="{OBJECTS[0]["name"]}"' in (folder / 'cvat_masks.xml').read_text()
    mask = Image.open(folder / 'masks' / '000002.png')
    np.testing.assert_array_equal(np.asarray(mask), truth(2))
    for number in range(FRAMES):
        mask = np.asarray(Image.open(folder / 'masks' / f'{number:06d}.png'))
        np.testing.assert_array_equal(mask, mask_of(client, number))
    with open(folder / 'tracks.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['frame'] for row in rows] == [str(number) for number in range(FRAMES)]
    assert (rows[2]['name'], float(rows[2]['x']), float(rows[2]['confidence'])) == ('corner', 44, 1)
    with av.open(str(folder / 'overlay.mp4')) as container:
        drawn = [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
    assert len(drawn) == FRAMES
    # The colours of the page, not those of the numbers.
    frame, mask = list(moving_patches.scene(2))
    off = drawn[2][: mask.shape[0], : mask.shape[1]] - 0.55 * frame
    for thing in OBJECTS:
        tint = 0.45 * np.array(list(bytes.fromhex(thing['colour'][1:])))
        assert np.abs(np.median(off[mask == thing['number']], axis=0) - tint).max() < 20
    assert drawn[2][28, 44].min() > 200
    record = json.loads((folder / 'result.json').read_text())
    assert record['labelled_frames'] == [2] and record['objects'] == OBJECTS
    status, contents = client.get(f'v/patches/exports/{name}.zip')
    with zipfile.ZipFile(io.BytesIO(contents)) as archive:
        assert status == 200 and len(archive.namelist()) == FRAMES + 7


def test_an_export_is_what_a_propagation_of_the_same_labels_writes(client, videos, tmp_path):
    # Object 2 leaves in frame 3.
    for number in range(3, FRAMES):
        image = next(scene(number))
        image[truth(number) == 2] = 128
        Image.fromarray(image).save(videos / 'patches' / f'{number}.png')
    alone = np.where(truth(3) == 5, 5, 0).astype(np.uint8)
    opened(client)
    client.done('PUT', 'v/patches/masks/0', body=page_server.png(truth(0)))
    client.done('PUT', 'v/patches/masks/3?objects=2,5', body=page_server.png(alone))
    client.done('PUT', 'v/patches/points/0', {'1': [28, 28]})
    client.done('PUT', 'v/patches/points/3', {'1': None})
    propagated(client)
    folder = exported_folder(client)
    points = {0: {0: np.array([28.0, 28.0])}, 3: {0: np.full(2, np.nan)}}
    for name, annotation, table, count in (
        ('m', MaskAnnotation(GivenMasks({0: truth(0), 3: alone})), 'confidence.csv', 10),
        ('p', PointAnnotation(('corner',), GivenPoints(1, points)), 'tracks.csv', FRAMES),
    ):
        footage = open_footage(str(videos / 'patches'), 10)
        encoder, expected = page_server.encoder(), tmp_path / name
        video_job.annotate_video(encoder, footage, annotation, str(expected))
        found, wanted = (table_of(each / table) for each in (folder, expected))
        assert len(wanted) == count and list(found) == list(wanted)
        record, asked = (json.loads((f / 'result.json').read_text()) for f in (folder, expected))
        assert {*asked} - {*record} == {'labels_sha256'}
        for key in ('input_size', 'propagation', 'visible_above', 'frames', 'stopped_by'):
            assert record[key] == asked[key], key
        np.testing.assert_allclose([*found.values()], [*wanted.values()], atol=5e-3)
    for number in range(FRAMES):
        found, wanted = (each / 'masks' / f'{number:06d}.png' for each in (folder, tmp_path / 'm'))
        # Which of equal grey cells are the most similar is not the same.
        assert (np.asarray(Image.open(found)) == np.asarray(Image.open(wanted))).mean() > 0.98


def table_of(path):
    """Return (frame, object or point) -> the numbers of its line; NaN for an empty field."""
    with open(path, newline='') as file:
        rows = list(csv.DictReader(file))
    keys = [(row.pop('frame'), row.pop('object', None) or row.pop('name')) for row in rows]
    return {key: [float(text or 'nan') for text in row.values()] for key, row in zip(keys, rows)}


def test_an_export_is_also_written_in_the_formats_that_are_chosen(client):
    stated = opened(client)['formats']
    assert [each['name'] for each in stated if each['chosen']] == ['cvat']
    client.done('PUT', 'v/patches/masks/2', body=page_server.png(truth(2)))
    # Each that may be chosen says so; there are no points yet.
    for each in stated:
        asked = {'formats': [each['name'], 'yolo']}
        status, found = client.json('POST', 'v/patches/export', asked)
        assert status == (400 if each['for_points'] else 200), each
        if each['for_points']:
            assert f'{each["name"]} is for points' in found['error']
        wait(client)
    client.done('PUT', 'v/patches/points/2', {'1': [44, 28]})

    def written(*formats):
        client.done('POST', 'v/patches/export', {'formats': formats})
        change = wait(client)['changes'][-1]
        folder = pathlib.Path(change['folder'])
        found = {name.rstrip('/'): name.endswith('/') for name in change['written']}
        assert found == {path.name: path.is_dir() for path in folder.iterdir()}
        return folder, set(change['written'])

    _, usual = written()
    folder, found = written('yolo', 'tapvid', 'yolo')
    assert found - usual == {'yolo_segmentation/', 'yolo_pose/', 'tapvid.npz'} and usual < found
    with np.load(folder / 'tapvid.npz') as arrays:
        np.testing.assert_array_equal(arrays['tracks'], [[[44.5, 28.5]]])


def test_pictures_keep_the_numbers_in_their_names(client, videos):
    moving_patches.write_folder(videos / 'later')
    for number in reversed(range(FRAMES)):
        os.rename(
            videos / 'later' / f'{number}.png', videos / 'later' / f'{43 + 5 * number:04d}.png'
        )
    numbers = [43 + 5 * number for number in range(FRAMES)]
    assert client.done('POST', 'open', {'name': 'later'})['numbers'] == numbers
    assert opened(client)['numbers'] is None
    client.done('PUT', 'v/later/things', {'objects': OBJECTS, 'points': POINTS})
    client.done('PUT', 'v/later/masks/2', body=page_server.png(truth(2)))
    client.done('PUT', 'v/later/points/2', {'1': [44, 28]})
    client.done('POST', 'v/later/propagate', {'frame': 2})
    ended = lambda: client.done('GET', 'v/later/progress')['state'] != 'running'
    until(ended)
    client.done('POST', 'v/later/export', {'formats': ['cvat']})
    until(ended)
    progress = client.done('GET', 'v/later/progress')
    folder = pathlib.Path(progress['changes'][-1]['folder'])
    assert sorted(os.listdir(folder / 'masks')) == [f'{number:06d}.png' for number in numbers]
    mask = np.asarray(Image.open(folder / 'masks' / '000053.png'))
    np.testing.assert_array_equal(mask, truth(2))
    for table in ('tracks.csv', 'confidence.csv'):
        with open(folder / table, newline='') as file:
            assert sorted({int(row['frame']) for row in csv.DictReader(file)}) == numbers
    record = json.loads((folder / 'result.json').read_text())
    kept = record['first_frame'], record['last_frame'], record['labelled_frames']
    assert kept == (43, numbers[-1], [53])
    with av.open(str(folder / 'overlay.mp4')) as container:
        assert len(list(container.decode(video=0))) == FRAMES


def test_requests_of_more_than_64_mib_are_refused_before_they_are_read(client):
    opened(client)

    def answer(size, seconds):
        head = (
            f'PUT {client.secret}v/patches/masks/0 HTTP/1.1\r\n'
            f'Host: {client.host}:{client.port}\r\nContent-Length: {size}\r\n\r\n'
        )
        address = client.host, client.port
        with socket.create_connection(address, timeout=seconds) as connection:
            connection.sendall(head.encode())
            return connection.recv(100)

    assert answer((64 << 20) + 1, 60).startswith(b'HTTP/1.1 400 ')
    with pytest.raises(TimeoutError):  # It waits for the contents.
        answer(64 << 20, 1)
    assert client.done('GET', 'v/patches/state')['masks'] == {}


def test_an_export_needs_no_encoder_and_names_the_one_that_propagated(videos, tmp_path):
    with page_server.serving(page_server.options(videos, tmp_path / 'kept')) as client:
        opened(client)
        client.done('PUT', 'v/patches/masks/2', body=page_server.png(truth(2)))
        exported = lambda other: json.loads((exported_folder(other) / 'result.json').read_text())
        client.done('PUT', 'v/patches/masks/4', body=page_server.png(truth(4)))
        record = exported(client)  # All was marked by hand.
        assert record['stopped_by'] == '1 frame between them not propagated yet'
        assert record['model'] == record['propagation'] == record['input_size'] == {}
        propagated(client)
    release = threading.Event()

    def load():
        release.wait(60)
        raise errors.UserError('no/such/model: there is no such file or folder.')

    with page_server.serving(page_server.options(videos, tmp_path / 'kept', load)) as client:
        client.done('POST', 'open', {'name': 'patches'})
        try:
            record = exported(client)
            assert client.done('GET', 'v/patches/state')['encoder']['state'] == 'loading'
        finally:
            release.set()
        assert record['model']['class'] == 'FunctionExtractor' and record['frames'] == FRAMES
        assert record['input_size'] and record['propagation']['radius'] > 0
        until(lambda: client.done('GET', 'v/patches/state')['encoder']['state'] != 'loading')
        assert exported(client) == record
        # A damaged note is no reason not to export.
        (tmp_path / 'kept' / 'patches' / 'results' / 'model.json').write_text('{"cl')
        assert exported(client) == {**record, 'model': {}}


# What goes wrong.


def test_work_stops_at_once_and_goes_on_later(videos, tmp_path):
    encoded, has_stopped = [], threading.Event()

    def features(frames):
        # The first two give a result; until the stop is through, each of the others takes long.
        if len(encoded) >= 2:
            has_stopped.wait(3)
        encoded.append(len(frames))
        return page_server.colours(frames)

    chosen = page_server.options(videos, tmp_path / 'k', lambda: page_server.encoder(features))
    with page_server.serving(chosen) as client:
        opened(client)
        client.done('PUT', 'v/patches/masks/0', body=page_server.png(truth(0)))
        client.done('POST', 'v/patches/propagate', {'frame': 0})
        status, found = client.json('POST', 'v/patches/propagate', {'frame': 0})
        assert status == 400 and 'stop it first' in found['error']
        status, found = client.json('PUT', 'v/patches/things', {'objects': [], 'points': []})
        assert status == 400 and 'stop that' in found['error']
        until(lambda: client.done('GET', 'v/patches/progress')['changes'])
        client.done('POST', 'v/patches/stop')
        assert client.done('GET', 'v/patches/progress')['state'] == 'stopped'
        assert sum(encoded) < FRAMES
        has_stopped.set()
        state = client.done('GET', 'v/patches/state')
        assert [each['done'] for each in state['stretches']] == [False]
        propagated(client)
        assert_masks_agree(mask_of(client, FRAMES - 1), truth(FRAMES - 1), within=2)


def test_an_encoder_that_cannot_be_loaded_is_a_sentence(videos, tmp_path):
    def load():
        raise errors.UserError('no/such/model: there is no such file or folder.')

    with page_server.serving(page_server.options(videos, tmp_path / 'kept', load)) as client:
        opened(client)
        client.done('PUT', 'v/patches/masks/0', body=page_server.png(truth(0)))
        client.done('POST', 'v/patches/propagate', {'frame': 0})
        assert 'no such file' in wait(client, 'failed')['message']
        assert client.done('GET', 'v/patches/state')['encoder']['state'] == 'failed'


def test_a_fault_of_the_program_is_a_sentence_too(videos, tmp_path):
    def load():
        return page_server.encoder(lambda frames: 1 // 0)

    with page_server.serving(page_server.options(videos, tmp_path / 'kept', load)) as client:
        opened(client)
        client.done('PUT', 'v/patches/masks/0', body=page_server.png(truth(0)))
        client.done('POST', 'v/patches/propagate', {'frame': 0})
        assert 'ZeroDivisionError' in wait(client, 'failed')['message']
        client.done('PUT', 'v/patches/masks/1', body=page_server.png(truth(1)))


def test_a_video_that_ends_early_is_used_as_far_as_it_goes(videos, tmp_path):
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(videos / 'patches' / '5.png')
    with page_server.serving(page_server.options(videos, tmp_path / 'kept')) as client:
        opened(client)
        client.done('PUT', 'v/patches/masks/0', body=page_server.png(truth(0)))
        client.done('POST', 'v/patches/propagate', {'frame': 0})
        message = wait(client, 'failed')['message']
        assert '5.png' in message and '30x20' in message
        state = client.done('GET', 'v/patches/state')
        assert state['frames'] == 5 and '5.png' in state['trouble']
        assert_masks_agree(mask_of(client, 4), truth(4), within=2)


def test_marks_after_the_end_are_refused_until_they_are_removed(videos, tmp_path):
    chosen = page_server.options(videos, tmp_path / 'kept')
    session = tmp_path / 'kept' / 'patches'
    with page_server.serving(chosen) as client:
        opened(client)
        client.done('PUT', 'v/patches/masks/0', body=page_server.png(truth(0)))
        client.done('PUT', 'v/patches/points/0', {'1': [30, 20]})
    for kind, ending in (('masks', 'png'), ('points', 'json')):
        shutil.copy(session / kind / f'000000.{ending}', session / kind / f'000099.{ending}')
    with page_server.serving(chosen) as client:
        client.done('POST', 'open', {'name': 'patches'})
        until(lambda: client.done('GET', 'v/patches/state')['frames'])
        status, found = client.json('POST', 'v/patches/propagate', {'frame': 0})
        assert status == 400
        assert f'Frame 99 is marked, but the video has only {FRAMES} frames' in found['error']
        client.done('DELETE', 'v/patches/masks/99')
        assert client.json('POST', 'v/patches/propagate', {'frame': 0})[0] == 400
        client.done('PUT', 'v/patches/points/99', {})
        propagated(client)
        assert_masks_agree(mask_of(client, FRAMES - 1), truth(FRAMES - 1), within=2)
    assert os.listdir(session / 'masks') == ['000000.png']
    assert os.listdir(session / 'points') == ['000000.json']


def test_a_frame_whose_reading_failed_is_read_again():
    class Failing:
        """Frames of a disk that does not answer once, after the first pass."""

        name, passes = 'video', 0

        def frames(self, start=0):
            self.passes += 1
            for number in range(start, FRAMES):
                if self.passes == 2 and number == 4:
                    raise errors.UserError('The disk does not answer.')
                yield Frame.of_image(number, number / 10, list(scene(number))[0])

    footage = Failing()
    frames = FrameStore(lambda: footage)
    until(lambda: frames.count is not None)
    with pytest.raises(errors.UserError, match='disk'):
        frames.jpeg(4)
    image = np.asarray(Image.open(io.BytesIO(frames.jpeg(4)))).astype(int)
    assert np.abs(image - list(scene(4))[0]).mean() < 12


# Several windows.


def test_a_change_that_another_window_knows_nothing_of_is_not_overwritten(client):
    known = opened(client)['version']
    status, found = client.json('PUT', f'v/patches/points/0?known={known}', {'1': [3, 4]})
    assert status == 400 and 'another window' in found['error']
    known = client.done('GET', 'v/patches/state')['version']
    first = client.done('PUT', f'v/patches/points/0?known={known}', {'1': [3, 4]})['version']
    mask = page_server.png(truth(0))
    second = client.done('PUT', f'v/patches/masks/0?known={first}', body=mask)['version']
    assert len({known, first, second}) == 3
    for method, path, value in [
        ('PUT', 'things', {'objects': [], 'points': []}),
        ('PUT', 'points/0', {}),
        ('DELETE', 'masks/0', None),
    ]:
        assert client.json(method, f'v/patches/{path}?known={first}', value)[0] == 400
    state = client.done('GET', 'v/patches/state')
    assert state['version'] == second and state['things']['objects'] == OBJECTS
    assert state['masks'] == {'0': [2, 5]} and state['points'] == {'0': {'1': [3, 4]}}


def test_what_was_opened_first_stays_usable_when_others_are_opened(client, videos):
    known = opened(client)['version']
    known = client.done('GET', 'v/patches/state')['version']
    for number in range(4):
        moving_patches.write_folder(videos / f'other{number}')
        client.done('POST', 'open', {'name': f'other{number}'})
    client.done('PUT', f'v/patches/points/0?known={known}', {'1': [3, 4]})
    assert client.done('GET', 'v/patches/state')['points'] == {'0': {'1': [3, 4]}}


def test_what_is_missing_for_now_is_asked_for_again(client):
    """Browsers may keep frames, but no errors."""
    opened(client)
    for path, cached in [('frames/0', True), (f'frames/{FRAMES}', False), ('small/99', False)]:
        _, headers, _ = client.ask('GET', f'{client.secret}v/patches/{path}')
        assert ('no-store' not in headers['Cache-Control']) == cached, path


def test_the_state_does_not_repeat_all_that_changed(client):
    opened(client)
    assert client.done('GET', 'v/patches/progress')['changes'] == []
    client.done('PUT', 'v/patches/masks/0', body=page_server.png(truth(0)))
    first = propagated(client)
    job = client.done('GET', 'v/patches/state')['job']
    assert len(first['changes']) == FRAMES == job['seen'] and job['changes'] == []
    assert propagated(client)['number'] != job['number'] == first['number']


def test_stopped_work_changes_nothing_more():
    made, told = [], threading.Event()

    def work(advance):
        advance(1, 2, lambda: made.append(1))
        told.wait(10)
        advance(2, 2, lambda: made.append(2))

    job = Job('propagate', work)
    until(lambda: made)
    job.stop()
    told.set()
    job.wait(10)
    assert made == [1] and job.progress()['state'] == 'stopped'


# Several commands.


def started(*flags):
    """Start the command; return it and a client of its page."""
    program = forked_programs.command('tools.annotate', *flags)
    lines = [program.output.readline() for _ in range(2)]
    address = re.search(r'http://\S+', ''.join(lines)).group()
    return program, page_server.Client(address, None)


@pytest.mark.slow
def test_a_session_belongs_to_one_command_until_that_ends_however_it_ends(videos, tmp_path):
    moving_patches.write_folder(videos / 'other')
    flags = f'--root={videos}', f'--output_dir={tmp_path / "kept"}'
    with contextlib.ExitStack() as programs:
        (first, client), (second, late) = [started(*flags) for _ in range(2)]
        programs.enter_context(first)
        programs.enter_context(second)
        opened(client)
        client.done('PUT', 'v/patches/masks/3', body=page_server.png(truth(3)))
        for path in ('open', 'v/patches/stop'):
            status, found = late.json('POST', path, {'name': 'patches'})
            assert status == 400, found
            assert re.search(rf'kept/patches is in use .*process {first.pid} on ', found['error'])
            assert 'open another video' in found['error']
        assert late.done('POST', 'open', {'name': 'other'})['masks'] == {}
        assert 'in use' in client.json('POST', 'open', {'name': 'other'})[1]['error']
        # What was refused changes nothing for the first.
        client.done('PUT', 'v/patches/masks/4', body=page_server.png(truth(4)))
        first.signal(signal.SIGKILL)
        assert first.end() == -signal.SIGKILL
        state = late.done('POST', 'open', {'name': 'patches'})
        assert state['masks'] == {'3': [2, 5], '4': [2, 5]}


def test_a_video_that_was_closed_is_free_for_another_command(client, videos, tmp_path):
    opened(client)
    with page_server.serving(page_server.options(videos, tmp_path / 'kept')) as other:
        assert other.json('POST', 'open', {'name': 'patches'})[0] == 400
        for number in range(3):
            moving_patches.write_folder(videos / f'other{number}')
            client.done('POST', 'open', {'name': f'other{number}'})
        other.done('POST', 'open', {'name': 'patches'})
        # A window of the first command still shows it.
        status, found = client.json('PUT', 'v/patches/points/0', {'1': [3, 4]})
        assert status == 400 and f'process {os.getpid()} on ' in found['error']
        assert other.done('GET', 'v/patches/state')['points'] == {}
    client.done('PUT', 'v/patches/points/0', {'1': [3, 4]})


def test_a_signal_closes_the_videos(videos, tmp_path):
    chosen = page_server.options(videos, tmp_path / 'kept')
    desk = Desk(chosen)

    def exit_now(*_):
        raise SystemExit(143)

    def say(_):
        desk.open('patches')
        main = threading.main_thread().ident
        threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGUSR1)).start()

    before = signal.signal(signal.SIGUSR1, exit_now)
    try:
        with pytest.raises(SystemExit):
            server.serve(desk, '127.0.0.1', 0, say)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert Desk(chosen).open('patches').state()['masks'] == {}


def test_work_that_does_not_stop_keeps_its_session_and_does_not_hold_up_the_end(videos, tmp_path):
    chosen = page_server.options(videos, tmp_path / 'kept')
    desk, told = Desk(chosen), threading.Event()
    video = desk.open('patches')
    video.job = Job('propagate', lambda advance: told.wait(60))
    begun = time.monotonic()
    desk.close(0.2)
    assert time.monotonic() - begun < 10 and not video.job.is_running
    with pytest.raises(errors.UserError, match='in use'):
        Desk(chosen).open('patches')
    told.set()
    video.close()
    Desk(chosen).open('patches')


# The command.


@pytest.mark.slow
def test_the_command_prints_an_address_and_ends_on_a_signal(tmp_path):
    video = ROOT / 'stfc3_tf' / 'samples' / 'cup.mp4'
    command = [sys.executable, '-m', 'tools.annotate', f'--video={video}']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        lines = [process.stdout.readline() for _ in range(3)]
        address = re.search(r'http://127\.0\.0\.1:\d+/\S{32}/', ''.join(lines)).group()
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert answer.status == 200
        request = urllib.request.Request(address + 'open', b'{"name": "cup.mp4"}')
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer)['width'] == 320
        port = int(address.split(':')[2].split('/')[0])
        others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), port)}
        for other in others - {'127.0.0.1'}:
            with pytest.raises(OSError):
                socket.create_connection((other, port), 2)
        assert os.listdir(tmp_path / 'annotations') == ['cup.mp4']
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143


@pytest.mark.slow
def test_the_command_refuses_what_it_cannot_do(tmp_path):
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    for flags, words in [
        (['--video=none.mp4'], 'none.mp4: there is no such video'),
        (['--root=none'], '--root=none is not a folder'),
        (['--video=a', '--root=b'], 'either --video or --root'),
        (['--root=.', '--host=192.0.2.1'], 'cannot be listened on'),
    ]:
        command = [sys.executable, '-m', 'tools.annotate', *flags]
        found = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert found.returncode == 1 and re.search(words, found.stderr), found.stderr
        assert len(found.stderr.splitlines()) == 1


@pytest.mark.slow
def test_without_the_servers_library_the_command_says_what_to_install(tmp_path):
    text = 'raise ModuleNotFoundError("No module named tornado", name="tornado")'
    (tmp_path / 'tornado.py').write_text(text)
    environment = {**os.environ, 'PYTHONPATH': f'{tmp_path}:{ROOT}'}
    command = [sys.executable, '-m', 'tools.annotate']
    found = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 1
    assert found.stderr == (
        'error: The page needs the package tornado: pip install "stfc3-tf[web]"\n'
    )
