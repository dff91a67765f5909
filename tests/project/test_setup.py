"""tools/setup.sh chooses Python and TensorFlow on machines that have few interpreters."""

import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PROGRAMS = ['bash', 'cat', 'dirname']
# What setup.sh asks an interpreter; it makes no environment, which ends setup.sh.
INTERPRETER = """#!/usr/bin/env bash
case "$1" in
  --version) echo 'Python 3.{minor}.1' ;;
  -) {{ echo 'import sys; sys.version_info = (3, {minor}, 1)'; cat; }} | '{python}' - "$2" ;;
  *) echo 'no environment' >&2; exit 1 ;;
esac
"""
UV = """#!/usr/bin/env bash
case "$2" in
  install) : > '{folder}/fetched' ;;
  find) [ ! -e '{folder}/fetched' ] || [ -z "$4" ] || echo '{folder}/of_uv/python'$4 ;;
esac
"""


def write(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def machine(tmp_path):
    """A function of the Pythons on the path and of variables, which returns what setup.sh says."""

    def set_up(*minors, uv=(), **variables):
        folder = tmp_path / 'bin'
        folder.mkdir()
        for program in PROGRAMS:
            (folder / program).symlink_to(shutil.which(program))
        (folder / 'env').symlink_to(shutil.which('env'))
        for minor in minors:
            text = INTERPRETER.format(minor=minor, python=sys.executable)
            write(folder / f'python3.{minor}', text)
            write(folder / 'python3', text)
        for minor in uv:
            text = INTERPRETER.format(minor=minor, python=sys.executable)
            write(tmp_path / 'of_uv' / f'python3.{minor}', text)
            write(folder / 'uv', UV.format(folder=tmp_path))
        said = subprocess.run(
            ['bash', ROOT / 'tools' / 'setup.sh'],
            env={'PATH': str(folder), 'HOME': str(tmp_path), 'VENV': str(tmp_path / 'v')}
            | variables,
            capture_output=True,
            text=True,
        )
        assert said.returncode == 1
        return said.stdout + said.stderr

    return set_up


@pytest.mark.parametrize(
    ('minors', 'variables', 'python', 'tensorflow'),
    [
        ([9], {}, '3.9.1', '2.15'),
        ([10], {}, '3.10.1', '2.15'),
        ([11], {}, '3.11.1', '2.15'),
        ([12], {}, '3.12.1', '(newest)'),
        ([13], {}, '3.13.1', '(newest)'),
        ([14], {}, '3.14.1', '(newest)'),
        ([14, 12], {}, '3.12.1', '(newest)'),
        ([13, 9, 10], {}, '3.10.1', '2.15'),
        ([11, 12], {'STACK': 'current'}, '3.12.1', '(newest)'),
        ([11, 12], {'PYTHON': '3.12'}, '3.12.1', '(newest)'),
        ([11], {'PYTHON': 'python3', 'STACK': 'current'}, '3.11.1', '(newest)'),
    ],
)
def test_the_stack_suits_the_python_that_is_there(machine, minors, variables, python, tensorflow):
    assert f'with Python {python}, TensorFlow {tensorflow} ' in machine(*minors, **variables)


@pytest.mark.parametrize(
    ('variables', 'python', 'tensorflow'),
    [
        ({}, '3.11.1', '2.15'),
        ({'STACK': 'current'}, '3.13.1', '(newest)'),
        ({'PYTHON': '3.12'}, '3.12.1', '(newest)'),
    ],
)
def test_uv_fetches_a_python_where_none_suits(machine, variables, python, tensorflow):
    said = machine(8, uv=[11, 12, 13], **variables)
    assert f'with Python {python}, TensorFlow {tensorflow} ' in said


def test_a_folder_that_is_no_environment_is_left_alone(machine, tmp_path):
    (tmp_path / 'v').mkdir()
    (tmp_path / 'v' / 'mine.txt').write_text('kept')
    said = machine(11)
    assert 'error: VENV=' in said and 'Setting up' not in said
    assert (tmp_path / 'v' / 'mine.txt').read_text() == 'kept'


@pytest.mark.parametrize(
    ('minors', 'variables', 'reason'),
    [
        ([], {}, 'no Python is found that suits.'),
        ([8], {}, 'no Python is found that suits.'),
        ([12], {'STACK': '2.15'}, 'no Python is found that suits STACK=2.15.'),
        ([12], {'PYTHON': '3.11'}, 'no Python 3.11 is found that suits.'),
        ([8], {'PYTHON': 'python3.8'}, 'PYTHON=python3.8 does not suit: Python 3.8.1'),
        ([12], {'STACK': '2.16'}, 'STACK=2.16 is neither 2.15 nor current.'),
    ],
)
def test_otherwise_it_says_what_to_do(machine, minors, variables, reason):
    said = machine(*minors, **variables)
    assert f'error: {reason}' in said and 'Get one in any of these ways' in said
