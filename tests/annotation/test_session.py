"""A session: what was given is found again, whole, whatever happened in between."""

import dataclasses
import os
import signal
import time
import types

import forked_programs
import made_videos
import numpy as np
from PIL import Image
import pytest

from stfc3_tf import errors
from stfc3_tf.annotation import session as session_lib
from stfc3_tf.annotation.session import Session, Thing, Things, VideoIdentity
from stfc3_tf.annotation.session_export import PointSource
from stfc3_tf.annotation.session_results import Record, Results, Stretch
from stfc3_tf.clips import footage
from stfc3_tf.storage import writing

VIDEO = VideoIdentity('clip.mp4', 1000, 'a' * 64, 30, 40, 25.0)
CUP = Thing(1, 'cup', '#e69f00')
HAND = Thing(2, 'hand', '#56b4e9')
NOSE = Thing(1, 'nose', '#e69f00')


def mask_of(*numbers):
    mask = np.zeros((30, 40), np.uint8)
    for number in numbers:
        mask[4 * number : 4 * number + 3, 5:9] = number
    return mask


@pytest.fixture
def session(tmp_path):
    opened = Session(str(tmp_path / 's'), VIDEO)
    opened.set_things(Things([CUP, HAND], [NOSE]))
    return opened


def again(session):
    session.close()
    return Session(session.folder, VIDEO)


def test_a_session_is_found_again(session):
    session.put_mask(7, mask_of(1), [1])
    session.put_mask(9, mask_of(2), [1, 2])
    session.put_points(7, {1: (3.25, 29.5)})
    session.put_points(12, {1: None})
    found = again(session)
    assert found.things == Things([CUP, HAND], [NOSE])
    assert {frame: given.objects for frame, given in found.masks.items()} == {7: (1,), 9: (1, 2)}
    np.testing.assert_array_equal(found.masks[9].mask, mask_of(2))
    assert found.points == {7: {1: (3.25, 29.5)}, 12: {1: None}}
    image = Image.open(os.path.join(session.folder, 'masks', '000009.png'))
    assert image.mode == 'P' and np.array_equal(np.asarray(image), mask_of(2))


def test_an_object_that_only_a_mask_shows_gets_a_name_of_its_own(session):
    session.set_things(Things([CUP, dataclasses.replace(HAND, name='object 3')], [NOSE]))
    session.put_mask(7, mask_of(1), [1])
    Image.fromarray(mask_of(2, 3)).save(os.path.join(session.folder, 'masks', '000007.png'))
    for _ in range(2):
        session = again(session)
        assert [each.name for each in session.things.objects] == ['cup', 'object 3', "object 3'"]
        # As the page does when something is renamed.
        session.set_things(session.things)


def test_what_is_removed_is_gone(session):
    session.put_mask(7, mask_of(1, 2), [])
    session.put_mask(8, mask_of(1), [])
    session.put_points(8, {1: (1, 1)})
    session.put_mask(8, mask_of(), [])
    session.put_points(8, {})
    session.set_things(Things([HAND], [NOSE]))
    for each in (session, again(session)):
        assert list(each.masks) == [7] and each.points == {}
        assert each.masks[7].objects == (2,)
        np.testing.assert_array_equal(each.masks[7].mask, mask_of(2))


def test_what_does_not_fit_is_refused_and_nothing_changes(session):
    session.put_mask(7, mask_of(1), [])
    for frame_mask, words in [
        (mask_of(3), 'no object 3'),
        (np.zeros((30, 41), np.uint8), r'\[30, 41\]'),
        (mask_of(1).astype(int), 'int64'),
    ]:
        with pytest.raises(errors.UserError, match=words):
            session.put_mask(7, frame_mask, [])
    for points, words in [
        ({1: (39.6, 1)}, 'outside'),
        ({1: (float('nan'), 1)}, 'outside'),
        ({2: (1, 1)}, 'no point 2'),
    ]:
        with pytest.raises(errors.UserError, match=words):
            session.put_points(7, points)
    with pytest.raises(errors.UserError, match='called cup'):
        session.set_things(Things([CUP, Thing(2, 'cup', '#ffffff')]))
    found = again(session)
    assert list(found.masks) == [7] and found.points == {}


def test_a_session_of_another_video_is_refused(session):
    session.close()
    other = VideoIdentity('clip.mp4', 1000, 'b' * 64, 30, 40, 25.0)
    with pytest.raises(errors.UserError, match='another video'):
        Session(session.folder, other)
    moved = VideoIdentity('elsewhere/clip.mp4', 1000, 'a' * 64, 30, 40, 25.0)
    assert Session(session.folder, moved).things == session.things


@pytest.mark.parametrize('contents', ['', '{', '[]', '{"version": 2}', '\x00\xff' * 50])
@pytest.mark.parametrize('name', ['session.json', 'points/000007.json'])
def test_a_damaged_file_is_named(session, name, contents):
    session.put_points(7, {1: (1, 1)})
    path = os.path.join(session.folder, name)
    with open(path, 'w') as file:
        file.write(contents)
    with pytest.raises(errors.UserError, match=name):
        again(session)


def test_a_mask_that_cannot_be_read_is_named_with_what_to_do(session):
    session.put_mask(3, mask_of(2), [2])
    path = os.path.join(session.folder, 'masks', '000003.png')
    with open(path, 'rb') as file:
        whole = file.read()
    with open(path, 'wb') as file:
        file.write(whole[: len(whole) // 2])
    advice = 'Put back a copy of the file, or move the folder of the session away to begin again.'
    with pytest.raises(errors.UserError) as caught:
        again(session)
    found = str(caught.value)
    assert found.startswith(f'{path} is not a readable image (') and found.endswith(f'). {advice}')
    colours = np.zeros((*mask_of(2).shape, 3), np.uint8)
    colours[5] = 1, 2, 3
    Image.fromarray(colours).save(path)
    with pytest.raises(errors.UserError, match=f'^{path} .* not in the DAVIS palette.*{advice}$'):
        again(session)


@pytest.mark.parametrize(
    'contents, words',
    [
        ('{"2": [1, 1]}', 'Point 2 is not listed in session.json'),
        ('{"1": [40, 1]}', 'lies outside'),
    ],
)
def test_points_of_a_file_that_do_not_fit_are_named(session, contents, words):
    session.put_points(4, {1: (1, 1)})
    path = os.path.join(session.folder, 'points', '000004.json')
    with open(path, 'w') as file:
        file.write(contents)
    with pytest.raises(errors.UserError, match=f'^{path}: .*{words}.* Put back a copy of the file'):
        again(session)


def test_a_mask_of_another_program_is_about_all_objects(session):
    path = os.path.join(session.folder, 'masks', '000003.png')
    os.makedirs(os.path.dirname(path))
    Image.fromarray(mask_of(2, 5)).save(path)
    found = again(session)
    assert found.masks[3].objects == (1, 2, 5)
    assert [thing.name for thing in found.things.objects] == ['cup', 'hand', 'object 5']


KILLED = """
import sys
import numpy as np
from stfc3_tf.annotation.session import Session, VideoIdentity, Things, Thing
session = Session(sys.argv[1], VideoIdentity('v', 1, 'a', 300, 400, 25.0))
session.set_things(Things([Thing(1, 'cup', '#e69f00')], [Thing(1, 'nose', '#e69f00')]))
for number in range(100000):
    mask = np.random.default_rng(number).integers(0, 2, (300, 400), np.uint8)
    session.put_mask(number % 50, mask, [1])
    session.put_points(number % 50, {1: (number % 400, 7)})
    print(number, flush=True)
"""


def test_killed_at_any_moment_nothing_given_is_lost(tmp_path):
    folder = str(tmp_path / 's')
    with forked_programs.Program(KILLED, folder) as writer:
        for _ in range(20):
            writer.output.readline()
        time.sleep(0.0173)
        writer.signal(signal.SIGKILL)
        last = int((writer.output.read().split() or ['19'])[-1])
    found = Session(folder, VideoIdentity('v', 1, 'a', 300, 400, 25.0))
    for number in range(max(0, last - 49), last + 1):
        expected = np.random.default_rng(number).integers(0, 2, (300, 400), np.uint8)
        later = np.random.default_rng(number + 50).integers(0, 2, (300, 400), np.uint8)
        mask = found.masks[number % 50].mask
        # The write that the kill came into may be done or not.
        assert (mask == expected).all() or (number == last - 49 and (mask == later).all())
        assert found.points[number % 50][1][1] == 7


def test_results_are_found_again_even_if_the_last_line_is_cut(tmp_path):
    folder = str(tmp_path / 'r')
    results = Results(folder)
    for number in range(3):
        record = Record(number, number / 25, {1: 0.5}, {1: (1.5, 2.0), 2: None})
        results.put(record, mask_of(1))
    results.put(Record(1, 1 / 25, {1: 0.75}))
    results.finish(Stretch(0, 2, (1, 2), 'k'))
    with open(os.path.join(folder, 'frames.jsonl'), 'a') as file:
        file.write('{"frame": 4, "ti')
    for _ in range(2):
        found = Results(folder)
        assert [record.frame for record in found.records] == [0, 1, 2]
        assert found.get(1).confidence == {1: 0.75}
        assert found.get(2).points == {1: (1.5, 2.0), 2: None}
        assert found.done == [Stretch(0, 2, (1, 2), 'k')]
        found.put(Record(2, 2 / 25, {1: 0.5}, {1: (1.5, 2.0), 2: None}))
    np.testing.assert_array_equal(found.mask(2), mask_of(1))
    assert found.mask(3) is None


def test_lines_that_later_ones_replace_are_dropped_on_opening(tmp_path):
    folder, table = str(tmp_path / 'r'), tmp_path / 'r' / 'frames.jsonl'
    results = Results(folder)
    for sure in np.linspace(0, 1, 50):
        for number in range(3):
            results.put(Record(number, number / 25, {1: sure}, {1: (sure, 2.0)}))
    results.finish(Stretch(0, 2, (1,), 'k'))
    assert len(table.read_text().splitlines()) == 150
    for _ in range(2):
        found = Results(folder)
        assert found.records == results.records and found.done == results.done
        assert len(table.read_text().splitlines()) == 3


OPENED_AGAIN = """
import sys
from stfc3_tf.annotation.session_results import Record, Results
for number in range(100000):
    results = Results(sys.argv[1])
    for frame in range(40):
        results.put(Record(frame, 0.5, {1: number}))
    print(number, flush=True)
"""


@pytest.mark.parametrize('moment', [0.003, 0.011, 0.019, 0.027])
def test_killed_while_lines_are_dropped_nothing_is_lost(tmp_path, moment):
    folder = str(tmp_path / 'r')
    with forked_programs.Program(OPENED_AGAIN, folder) as writer:
        for _ in range(20):
            writer.output.readline()
        time.sleep(moment)
        writer.signal(signal.SIGKILL)
        last = int((writer.output.read().split() or ['19'])[-1])
    numbers = [record.confidence[1] for record in Results(folder).records]
    assert len(numbers) == 40
    # The round that the kill came into has written some of its frames.
    assert set(numbers) <= {last, last + 1} and numbers == sorted(numbers, reverse=True)


def test_results_are_not_dropped_where_nothing_can_be_written(tmp_path, monkeypatch):
    results = Results(str(tmp_path / 'r'))
    for sure in (0.25, 0.75):
        results.put(Record(1, 0.5, {1: sure}), mask_of(1))

    def full(path, contents):
        raise errors.UserError(f'{path} cannot be written: the disk is full.')

    with monkeypatch.context() as patched:
        patched.setattr(writing, 'write_text', full)
        with pytest.raises(errors.UserError, match='disk is full'):
            Results(str(tmp_path / 'r'))
    assert Results(str(tmp_path / 'r')).records == results.records


def test_points_that_a_later_result_does_not_name_stay(tmp_path):
    results = Results(str(tmp_path / 'r'))
    results.put(Record(4, 0.5, {1: 0.5, 2: 0.6}, {1: (1.0, 2.0), 2: (3.0, 4.0)}))
    results.put(Record(4, 0.5, {2: 0.7}, {2: None}))
    expected = Record(4, 0.5, {1: 0.5, 2: 0.7}, {1: (1.0, 2.0), 2: None}, {2: (3.0, 4.0)})
    assert results.get(4) == Results(str(tmp_path / 'r')).get(4) == expected


def test_what_was_before_is_what_was_last_different(tmp_path):
    results = Results(str(tmp_path / 'r'))
    for x, numbers in [(1.0, (1,)), (2.0, (1, 2)), (2.0, (1, 2))]:
        results.put(Record(4, 0.5, {1: 0.5}, {1: (x, 2.0)}), None)
        results.put(Record(5, 0.5, {1: 0.5}), mask_of(*numbers))
    for found in (results, Results(str(tmp_path / 'r'))):
        assert found.get(4).before == {1: (1.0, 2.0)}
        np.testing.assert_array_equal(found.mask_before(5), mask_of(1))
    results.put(Record(4, 0.5, {1: 0.5}, {1: None}))
    assert results.get(4).before == {1: (2.0, 2.0)}


def test_damaged_results_are_dropped(tmp_path):
    results = Results(str(tmp_path / 'r'))
    results.put(Record(1, 0.5, {}), mask_of(1))
    with open(tmp_path / 'r' / 'frames.jsonl', 'a') as file:
        file.write('damaged\n')
    assert Results(str(tmp_path / 'r')).records == []


def test_a_propagation_that_kept_no_frame_is_said_to_be_stopped(tmp_path, caplog):
    folder = tmp_path / 'r'
    Results(str(folder)).put(Record(1, 0.5, {}), mask_of(1))
    (folder / 'frames.jsonl').write_bytes(b'')
    found = Results(str(folder))
    assert found.records == [] and not found.has_mask(1)
    assert 'stopped before its first frame was kept' in caplog.text
    assert 'propagate again' in caplog.text and 'copy or unpack' not in caplog.text
    caplog.clear()
    Results(str(folder))
    assert not caplog.text


def test_an_export_of_a_long_video_looks_up_its_frames_at_once(session):
    session.put_points(7, {1: (3.25, 29.5)})
    records = [Record(number, 0.5, {1: 0.5}, {1: (1.5, 2.0)}) for number in range(0, 200_000, 2)]
    source = PointSource(session, types.SimpleNamespace(records=records))
    start = time.process_time()
    found = [number for number in range(200_000) if number in source.frames]
    assert time.process_time() - start < 5
    assert found == sorted(source.frames) and len(found) == 100_001 and 7 in found


@pytest.mark.parametrize('contents', [b'', b'\x89PNG\r\n\x1a\n damaged'])
def test_a_damaged_mask_is_dropped_and_computed_again(tmp_path, contents, caplog):
    results = Results(str(tmp_path / 'r'))
    stretches = [Stretch(0, 5, (1, 2), 'a'), Stretch(5, None, (1, 2), 'b')]
    for record in (Record(5, 0.5, {1: 0.5}), Record(6, 0.6, {1: 0.5, 2: 0.5})):
        results.put(record, mask_of(1, 2))
    for stretch in stretches:
        results.finish(stretch)
    path = tmp_path / 'r' / '000005.png'
    path.write_bytes(contents)
    # A new one takes its place.
    results.put(Record(5, 0.5, {1: 0.7}), mask_of(1))
    np.testing.assert_array_equal(results.mask(5), mask_of(1))
    assert results.mask_before(5) is None
    assert '000005.png' in caplog.text and 'dropped; propagate again' in caplog.text
    # Who reads one finds none, and its stretches are computed again.
    results.finish(stretches[0])
    (tmp_path / 'r' / '000006.png').write_bytes(contents)
    assert results.mask(6) is None and not results.has_mask(6)
    assert results.done == Results(str(tmp_path / 'r')).done == stretches[:1]
    path.write_bytes(contents)
    results.keep_only([2])
    assert not results.has_mask(5) and results.done == []


def test_a_stretch_that_is_computed_again_is_not_done(tmp_path):
    results = Results(str(tmp_path / 'r'))
    for first, last, things, key in (
        (0, 5, (1,), 'a'),
        (5, 9, (1,), 'b'),
        (9, None, (1,), 'c'),
        (5, 9, (2,), 'other'),
    ):
        results.finish(Stretch(first, last, things, key))
    results.begin(Stretch(5, 8, (1, 3), 'd'))
    assert [each.key for each in results.done] == ['a', 'c', 'other']
    results.finish(Stretch(5, 9, (1,), 'd'))
    assert [each.key for each in results.done] == ['a', 'c', 'other', 'd']


def test_the_identity_of_a_video(tmp_path):
    path = made_videos.write(tmp_path / 'a.mp4', [0, 0.04, 0.08])
    found = session_lib.identity_of(footage.open_footage(path))
    assert (found.height, found.width, found.bytes) == (48, 64, os.path.getsize(path))
    os.rename(path, tmp_path / 'b.mp4')
    moved = session_lib.identity_of(footage.open_footage(str(tmp_path / 'b.mp4')))
    assert found.is_same(moved)
    with open(tmp_path / 'b.mp4', 'r+b') as file:
        file.seek(-1, os.SEEK_END)
        file.write(b'!')
    changed = session_lib.identity_of(footage.open_footage(str(tmp_path / 'b.mp4')))
    assert not found.is_same(changed)
