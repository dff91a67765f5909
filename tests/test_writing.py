"""Nothing half-written looks finished, and nothing is lost before its successor is there."""

import pytest

from stfc3_tf import errors
from stfc3_tf import writing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


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


def make_folder(*files):
    def write(path):
        for name in files:
            writing.write_text(f'{path}/{name}', name)

    return write


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
