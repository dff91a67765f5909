"""The console command: verbs, help and wrong flags without TensorFlow, gin files by name."""

import os
import pathlib
import resource
import signal
import subprocess
import sys

import pytest

from stfc3_tf import errors
from stfc3_tf.commands import configuration, console, gin_files

ROOT = pathlib.Path(__file__).parents[2]


def stfc3(*arguments, folder=ROOT):
    return module('stfc3_tf', *arguments, folder=folder)


def module(name, *arguments, folder=ROOT):
    return subprocess.run(
        [sys.executable, '-m', name, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        timeout=300,
    )


def test_every_command_has_a_verb():
    verbs = console.verbs()
    assert {'train', 'propagate', 'evaluate', 'export', 'prepare-clips', 'import-torch'} <= {*verbs}
    assert {'visualize', 'score', 'benchmark', 'reproduce'} <= {*verbs}
    assert verbs['prepare-clips'] == 'tools.prepare_clips'


def test_usage_lists_the_verbs_with_what_they_do(tmp_path):
    said = stfc3('--help', folder=tmp_path)
    assert said.returncode == 0
    for verb in console.verbs():
        assert f'  {verb} ' in said.stdout


# The import of TensorFlow alone takes more than two seconds of processor time.
def assert_quick(run, *arguments, folder):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = run(*arguments, folder=folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 1.0
    return said


@pytest.mark.parametrize('verb', console.verbs())
def test_a_verb_refuses_wrong_flags_and_helps_before_tensorflow_is_imported(verb, tmp_path):
    said = assert_quick(stfc3, verb, '--mistypd=1', folder=tmp_path)
    assert said.returncode == 1
    assert "Unknown command line flag 'mistypd'" in said.stderr
    assert f'stfc3 {verb}' in assert_quick(stfc3, verb, '--help', folder=tmp_path).stdout


@pytest.mark.parametrize(
    'given, message',
    [
        ([], 'Give --task and --output_dir.'),
        (['--tusk=davis'], "Unknown command line flag 'tusk' (do you mean --task?)."),
        (['--task=goose', '--output_dir=out'], '--task=goose: choose davis, jhmdb,'),
        (['--workers=few'], '--workers=few: give a whole number.'),
        (
            ['--task=davis', '--output_dir=out', 'extra', 'words'],
            'Unexpected arguments: extra words.',
        ),
    ],
)
def test_a_mistake_in_flags_is_one_line_that_says_what_to_do(given, message, tmp_path):
    said = stfc3('evaluate', *given, folder=tmp_path)
    assert said.returncode == 1 and not said.stdout
    assert said.stderr.startswith(f'error: {message}')
    assert said.stderr.endswith('. --help shows the flags.\n') and said.stderr.count('\n') == 1


@pytest.mark.parametrize('verb, flag', [('export', 'licence'), ('prepare-clips', 'input')])
def test_bytes_that_are_no_text_are_refused_at_once(verb, flag, tmp_path):
    value = os.fsdecode(b'a\xff')
    said = assert_quick(stfc3, verb, '--output_dir=out', f'--{flag}={value}', folder=tmp_path)
    assert said.returncode == 1 and said.stderr.count('\n') == 1
    assert said.stderr.startswith(f"error: '--{flag}=a\\udcff' is not in UTF-8: rename the file")


@pytest.mark.skipif(sys.version_info < (3, 10), reason='Python tells the name of the module late')
@pytest.mark.parametrize('name', ['stfc3_tf.train', 'tools.evaluate', 'tools.prepare_clips'])
def test_so_does_a_module(name, tmp_path):
    said = assert_quick(module, name, '--mistypd=1', folder=tmp_path)
    assert said.returncode == 1
    assert "Unknown command line flag 'mistypd'" in said.stderr
    assert f'python -m {name}' in assert_quick(module, name, '--help', folder=tmp_path).stdout


@pytest.mark.parametrize('verb', ['train', 'evaluate'])
def test_help_shows_the_flags_of_the_verb(verb, tmp_path):
    said = stfc3(verb, '--help', folder=tmp_path)
    assert '--gin_file' in said.stdout and 'Errors' not in said.stderr
    assert 'python -m tools' not in said.stdout


@pytest.mark.parametrize(
    'arguments',
    [['stfc3_tf', '--help'], ['stfc3_tf', 'propagate', '--help'], ['tools.score', '--help']],
)
def test_help_that_nobody_reads_ends_without_a_word(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, '-m', *arguments]
    ended = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, timeout=300)
    os.close(writer)
    assert ended.returncode == -signal.SIGPIPE and ended.stderr == b''


def test_a_mistyped_verb_is_answered_with_the_one_that_is_meant(tmp_path):
    said = stfc3('trian', folder=tmp_path)
    assert said.returncode == 1 and 'do you mean train?' in said.stderr


@pytest.mark.slow
def test_right_flags_reach_the_command(tmp_path):
    said = stfc3('score', f'--model_dir={tmp_path}', folder=tmp_path)
    assert said.returncode == 1
    assert said.stderr.startswith(f'error: {tmp_path}/config.gin does not exist')


def test_a_gin_file_is_found_by_name_and_the_working_folder_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('small/stfc3.gin', 'gin/small/stfc3.gin'):
        assert gin_files.find(name) == str(ROOT / 'gin/small/stfc3.gin')
    (tmp_path / 'small').mkdir()
    (tmp_path / 'small' / 'stfc3.gin').write_text('train.steps = 3\n')
    assert gin_files.find('small/stfc3.gin') == 'small/stfc3.gin'


def test_a_gin_file_that_is_nowhere_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.UserError, match='--gin_file=absent.gin: there is no such file'):
        configuration.parse_gin(['absent.gin'], [])
