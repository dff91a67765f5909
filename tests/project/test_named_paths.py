"""Flags of the form NAME=PATH."""

from absl import flags
import pytest

from stfc3_tf import errors
from stfc3_tf.commands import named_paths


def flag(*texts):
    values = flags.FlagValues()
    holder = flags.DEFINE_multi_string('run', [], 'Runs.', flag_values=values)
    values(['command', *(f'--run={text}' for text in texts)])
    return holder


def test_names_and_paths_are_read():
    assert named_paths.read(flag('a=b/c', 'd=e=f')) == {'a': 'b/c', 'd': 'e=f'}
    assert named_paths.read_or_last_parts(flag('a=b/c', 'd/e/')) == {'a': 'b/c', 'e': 'd/e/'}


@pytest.mark.parametrize('text', ['=b', 'a=', '=', ''])
@pytest.mark.parametrize('read', [named_paths.read, named_paths.read_or_last_parts])
def test_a_missing_part_is_refused(read, text):
    with pytest.raises(errors.UserError, match=f'--run={text}: give NAME=PATH'):
        read(flag(text))


def test_a_path_alone_is_refused_where_a_name_is_needed():
    with pytest.raises(errors.UserError, match='--run=b/c: give ROW=ENCODER'):
        named_paths.read(flag('b/c'), 'ROW=ENCODER')


def test_two_of_one_name_are_refused():
    with pytest.raises(errors.UserError, match='two are called c; give NAME=PATH with different'):
        named_paths.read_or_last_parts(flag('c=a', 'b/c'))
