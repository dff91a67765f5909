"""Nothing unfinished looks finished, and nothing is lost before its successor exists."""

import errno
import os
import pathlib
import sys
import threading
import time

import forked_programs
from made_folders import make_folder
import pytest
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.storage import files, workplace, writing

ROOT = pathlib.Path(__file__).parents[2]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='needs /proc, of Linux')
def test_a_place_in_which_nothing_can_be_made_is_no_other_process():
    begin = time.monotonic()
    with pytest.raises(FileNotFoundError):
        workplace.Workplace('/proc/nothing', patience=60.0)
    assert time.monotonic() - begin < 10


def test_a_file_replaces_an_older_one_and_leaves_no_other(tmp_path):
    path = tmp_path / 'folder' / 'result.txt'
    for text in ('first', 'zweite Größe'):
        writing.write_text(str(path), text)
        assert path.read_text(encoding='utf-8') == text
    assert names(path.parent) == ['result.txt']


def test_a_name_without_folder_is_written_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writing.write_bytes('result', b'\x00\xff')
    assert (tmp_path / 'result').read_bytes() == b'\x00\xff'


def test_a_folder_replaces_an_older_one_with_all_it_held(tmp_path):
    path = tmp_path / 'folder'
    writing.write_whole(str(path), make_folder('a', 'b'))
    writing.write_whole(str(path), make_folder('b', 'c'))
    assert names(path) == ['b', 'c'] and names(tmp_path) == ['folder']


@pytest.mark.parametrize('old', ['file', 'folder'])
def test_a_failure_leaves_what_was_there(tmp_path, old):
    path = tmp_path / 'x'
    writing.write_whole(str(path), make_folder('a')) if old == 'folder' else path.write_text('a')

    def fail(partial):
        make_folder('b')(partial)
        raise OSError('disk full')

    with pytest.raises(OSError, match='disk full'):
        writing.write_whole(str(path), fail)
    assert names(path) == ['a'] if old == 'folder' else path.read_text() == 'a'
    # What the failure left does not come back with the next attempt.
    writing.write_whole(str(path), make_folder('c'))
    assert names(path) == ['c'] and names(tmp_path) == ['x']


def test_a_file_that_can_be_written_is_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'old').write_text('kept')
    for path in ('old', 'new', f'{tmp_path}/folder/new'):
        writing.check_file(path)
    assert names(tmp_path) == ['folder', 'old'] and not names(tmp_path / 'folder')
    assert (tmp_path / 'old').read_text() == 'kept'


@pytest.mark.parametrize(
    'place, problem',
    [('folder', 'is a folder: name a file'), ('file/new', 'cannot be written.*Choose a folder')],
)
def test_a_file_that_cannot_be_written_is_known_before(tmp_path, place, problem):
    writing.write_text(f'{tmp_path}/folder/precious', 'kept')
    writing.write_text(f'{tmp_path}/file', 'kept')
    with pytest.raises(errors.UserError, match=f'{tmp_path}/{place} {problem}'):
        writing.check_file(f'{tmp_path}/{place}')
    assert names(tmp_path) == ['file', 'folder'] and names(tmp_path / 'folder') == ['precious']


def test_a_link_stays_and_what_it_points_at_is_replaced(tmp_path):
    writing.write_whole(str(tmp_path / 'v1'), make_folder('old'))
    (tmp_path / 'current').symlink_to('v1')
    (tmp_path / 'f.json').write_text('old')
    (tmp_path / 'link.json').symlink_to('f.json')
    writing.write_whole(str(tmp_path / 'current'), make_folder('new'))
    writing.write_text(str(tmp_path / 'link.json'), 'new')
    assert os.readlink(tmp_path / 'current') == 'v1' and names(tmp_path / 'v1') == ['new']
    assert os.readlink(tmp_path / 'link.json') == 'f.json'
    assert (tmp_path / 'f.json').read_text() == 'new'
    assert names(tmp_path) == ['current', 'f.json', 'link.json', 'v1']


def test_a_failure_behind_a_link_leaves_all(tmp_path):
    writing.write_whole(str(tmp_path / 'v1'), make_folder('old'))
    (tmp_path / 'current').symlink_to('v1')
    with pytest.raises(OSError, match='broken'):
        writing.write_whole(str(tmp_path / 'current'), fail_with(OSError('broken')))
    assert os.readlink(tmp_path / 'current') == 'v1' and names(tmp_path / 'v1') == ['old']


def fail_with(error):
    def write(path):
        make_folder('b')(path)
        raise error

    return write


def test_files_of_other_people_stay(tmp_path):
    others = ['mine.replaced', 'mine.partial', 'f.json.partial', 'f.json.replaced']
    for name in others[:2]:
        make_folder('precious')(tmp_path / name)
    for name in others[2:]:
        (tmp_path / name).write_text('precious')
    for _ in range(2):
        writing.write_whole(str(tmp_path / 'mine'), make_folder('a'))
        writing.write_text(str(tmp_path / 'f.json'), '{}')
        writing.check_file(str(tmp_path / 'f.json'))
    assert names(tmp_path) == sorted([*others, 'mine', 'f.json'])
    assert all((tmp_path / name / 'precious').read_text() for name in others[:2])
    assert all((tmp_path / name).read_text() == 'precious' for name in others[2:])


def test_of_two_writers_to_a_folder_one_wins_and_the_other_gets_an_error(tmp_path):
    path = str(tmp_path / 'folder')

    def write(partial):
        make_folder('first')(partial)
        with pytest.raises(errors.UserError, match=f'Another process is writing {path}'):
            writing.write_whole(path, make_folder('second'))

    writing.write_whole(path, write)
    assert names(tmp_path) == ['folder'] and names(tmp_path / 'folder') == ['first']


WRITE = """
import sys
from stfc3_tf.storage import writing
for number in range(60):
    writing.write_text(sys.argv[1], sys.argv[2] * 100_000)
"""


def test_two_processes_that_write_one_file_leave_it_whole(tmp_path):
    path = tmp_path / 'file'
    processes = [forked_programs.Program(WRITE, str(path), letter) for letter in 'ab']
    seen = set()
    while any(process.end(0) is None for process in processes):
        if path.exists():
            seen.add(path.read_text())
        time.sleep(0.001)
    assert [process.end() for process in processes] == [0, 0]
    assert seen | {path.read_text()} <= {'a' * 100_000, 'b' * 100_000}
    assert names(tmp_path) == ['file']


def killed_between_the_renames(folder):
    """Return what is left by a process that is killed between the two steps of an exchange."""
    place = folder / '.model.stfc3-writing'
    make_folder('old')(place / 'old')
    make_folder('half')(place / 'new' / 'model')
    (place / 'lock').write_bytes(b'')


def test_a_kill_between_the_renames_and_a_failing_retry_leave_the_old_folder(tmp_path):
    killed_between_the_renames(tmp_path)
    with pytest.raises(OSError, match='broken'):
        writing.write_whole(str(tmp_path / 'model'), fail_with(OSError('broken')))
    assert names(tmp_path) == ['model'] and names(tmp_path / 'model') == ['old']


def test_a_kill_between_the_renames_and_another_try_leave_the_new_folder(tmp_path):
    killed_between_the_renames(tmp_path)
    writing.write_whole(str(tmp_path / 'model'), make_folder('new'))
    assert names(tmp_path) == ['model'] and names(tmp_path / 'model') == ['new']


def test_remains_are_cleared_and_nothing_else(tmp_path):
    killed_between_the_renames(tmp_path / 'a')
    remains = tmp_path / 'b' / '.report.json.stfc3-writing'
    (remains / 'new').mkdir(parents=True)
    (remains / 'new' / 'report.json').write_text('half')
    (remains / 'lock').touch()
    own = tmp_path / 'b' / 'mine.stfc3-writing'
    own.write_text('kept')
    with workplace.Workplace(str(tmp_path / 'b' / 'held')) as held:
        pathlib.Path(held.partial).write_text('in work')
        writing.clear_remains(str(tmp_path))
        assert pathlib.Path(held.partial).read_text() == 'in work'
    assert names(tmp_path / 'b') == [own.name]
    # A model that was moved aside waits for the next who writes it.
    writing.write_whole(str(tmp_path / 'a' / 'model'), make_folder('new'))
    assert names(tmp_path / 'a') == ['model']


@pytest.mark.parametrize('can_exchange', [True, False])
def test_folders_replace_files_and_files_folders(tmp_path, monkeypatch, can_exchange):
    if not can_exchange:
        monkeypatch.setattr(workplace, '_exchange', lambda one, other: False)
    path = tmp_path / 'x'
    for _ in range(2):
        writing.write_whole(str(path), make_folder('a'))
        assert names(path) == ['a']
        writing.write_whole(str(path), lambda partial: pathlib.Path(partial).write_text('text'))
        assert path.read_text() == 'text' and names(tmp_path) == ['x']


@pytest.mark.skipif(sys.platform != 'linux', reason='other systems need two renames')
def test_the_old_folder_is_never_absent(tmp_path):
    path = tmp_path / 'model'
    writing.write_whole(str(path), make_folder('a'))
    over = threading.Event()
    missing = []

    def look():
        while not over.is_set():
            if not (path / 'a').exists():
                missing.append(1)

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(100):
        writing.write_whole(str(path), make_folder('a'))
    over.set()
    thread.join()
    assert not missing


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path, number):
    path = tmp_path / 'model'
    writing.write_whole(str(path), make_folder('old'))
    for error in (
        OSError(number, os.strerror(number)),
        tf.errors.ResourceExhaustedError(None, None, f'x; {os.strerror(number)}'),
    ):
        with pytest.raises(errors.UserError, match=f'{path} cannot be written.*no room') as caught:
            writing.write_whole(str(path), fail_with(error))
        assert '\n' not in str(caught.value)
    assert names(tmp_path) == ['model'] and names(path) == ['old']


def test_long_names_can_be_written(tmp_path):
    for name in ('x' * 255, 'é' * 127):
        writing.write_text(str(tmp_path / name), 'text')
        assert (tmp_path / name).read_text() == 'text'


def test_removing_a_link_keeps_what_it_points_at(tmp_path):
    make_folder('a')(tmp_path / 'v1')
    (tmp_path / 'current').symlink_to('v1')
    writing.remove(str(tmp_path / 'current'))
    assert names(tmp_path) == ['v1'] and names(tmp_path / 'v1') == ['a']


def test_names_that_are_not_text_are_refused_before_the_work(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b'/caf\xe9')
    pathlib.Path(path).write_text('there')
    for use in (writing.check_folder, writing.check_file, files.read_bytes):
        with pytest.raises(errors.UserError, match=r'caf\\udce9.: the name is not in UTF-8'):
            use(path)


def test_a_file_never_replaces_a_folder(tmp_path):
    make_folder('a')(tmp_path / 'results')
    with pytest.raises(errors.UserError, match='results is a folder: name a file to write'):
        writing.write_text(str(tmp_path / 'results'), 'text')
    assert names(tmp_path) == ['results'] and names(tmp_path / 'results') == ['a']
