"""Names from data sets become file names that stay inside their folder and stay different."""

import os
import pathlib

from hypothesis import given, settings, strategies
import pytest

from stfc3_tf import errors
from stfc3_tf.storage import names

TEXT = strategies.text(strategies.characters(codec=None), max_size=400) | strategies.text(
    '/.\\%a\0\n: ', max_size=12
)


@pytest.mark.parametrize('name', ['bear', 'dance-twirl', 'S_U.N R (1)_é', '0000', 'a.b.npz', '人'])
def test_ordinary_names_stay_as_they_are(name):
    assert names.file_name(name) == name
    assert names.path_inside(f'joint_positions/{name}') == f'joint_positions/{name}'


@settings(max_examples=300, derandomize=True, deadline=None)
@given(name=TEXT)
def test_a_path_stays_inside_and_can_be_written(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp('names')
    single = names.file_name(name)
    assert '/' not in single and single not in ('', '.', '..')
    assert not set(single) & set('<>:"|?*\\') and single[-1] not in '. '
    path = pathlib.Path(os.path.normpath(folder / names.path_inside(name)))
    assert folder in path.parents
    (folder / single).with_name(f'{single}.json.part-0123456789abcdef').write_text('x')


@settings(max_examples=300, derandomize=True, deadline=None)
@given(one=TEXT, other=TEXT)
def test_different_names_stay_different(one, other):
    assert (names.file_name(one) == names.file_name(other)) == (one == other)


@pytest.mark.parametrize(
    'name, expected',
    [
        ('nul', '%6Eul'),
        ('Con.npz', '%43on.npz'),
        ('lpt1', '%6Cpt1'),
        ('console', 'console'),
        ('end.', 'end%2E'),
        ('end ', 'end%20'),
        ('a:b', 'a%3Ab'),
        ('50%', '50%25'),
        ('a\0b\n', 'a%00b%0A'),
    ],
)
def test_names_that_some_file_system_cannot_have_are_written_in_codes(name, expected):
    assert names.file_name(name) == expected


def test_very_deep_names_become_one_name():
    assert '/' not in names.path_inside('a/' * 5000) and len(names.path_inside('a/' * 5000)) <= 160


def test_names_that_differ_in_capitals_alone_are_told(caplog):
    names.check_apart(['goat', 'bear', 'Goat'])
    assert "'goat' and 'Goat' differ only in capital letters" in caplog.text
    caplog.clear()
    names.check_apart(['goat', 'bear'])
    assert not caplog.text


@pytest.mark.parametrize('name', ['a/b', '', '.', '..', '%', 'a\n', 'x' * 300])
def test_a_name_that_is_another_ones_file_name_gets_a_file_name_of_its_own(name):
    assert names.file_name(names.file_name(name)) != names.file_name(name)


def test_long_names_keep_their_ending():
    first, second = 'x' * 300 + '1.npz', 'x' * 300 + '2.npz'
    assert names.file_name(first).endswith('.npz')
    assert len(names.file_name(first)) <= 160 and names.file_name(first) != names.file_name(second)


@pytest.mark.parametrize('paths', [['a', 'a'], ['a/b', 'a'], ['a', 'a-b', 'a/b']])
def test_a_file_is_not_the_folder_of_another(paths):
    with pytest.raises(errors.UserError, match="'a' and"):
        names.check_apart(paths)
    names.check_apart(['a-b', 'ab', 'a/b', 'a/c'])
