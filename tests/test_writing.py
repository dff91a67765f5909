"""Nothing half-written looks finished, and nothing is lost before its successor is there."""

import pytest

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
