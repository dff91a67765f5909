"""A configuration that comes with a model sets values; it imports and runs nothing."""

import os

import forked_commands
import gin
import pytest

from stfc3_tf import errors
from stfc3_tf.commands import received_config
from stfc3_tf.training import (
    reload,
    run,  # noqa: F401  registers what a run's configuration names
    run_folder,
)

DYNAMIC = """
from __gin__ import dynamic_registration
import subprocess
train.encoder = @subprocess.check_output
subprocess.check_output.args = ['touch', '{trap}']
"""


def test_settings_of_a_run_are_taken():
    text = (
        'WIDTH = 4\ntrain.encoder = @resnet18\nresnet18.width = %WIDTH\n'
        'watch.held_out_score = @HeldOutScore()\n'
        "train.optimizer = @Adam\nAdam.learning_rate = @CosineDecay()\nresnet18.padding = 'zero'\n"
    )
    received_config.parse(text, 'config.gin')
    assert gin.query_parameter('resnet18.padding') == 'zero'
    assert gin.get_bindings('resnet18')['width'] == 4


@pytest.mark.parametrize(
    'text, problem',
    [
        (DYNAMIC, 'imports'),
        ('import antigravity', 'imports antigravity'),
        ("include '/etc/hostname'", 'includes'),
        ('train.encoder = @train', '@train'),
        ('resnet18.width = @one/train()', '@one/train'),
        ('resnet18.width = @os.system()', 'os.system'),
        ('resnet18.width = [{"a": (@train(),)}]', '@train'),
        ('os.system.command = "true"', 'config.gin'),
        ('resnet18.width = ' + '(' * 5000, 'config.gin'),
        ('resnet18.width = ' + '-' * 100_000 + '1', 'config.gin'),
        ('resnet18.width = "', 'config.gin'),
        ('x' * 50 + '\0', 'config.gin'),
    ],
)
def test_everything_else_is_refused_in_one_line(text, problem, tmp_path):
    trap = tmp_path / 'trap'
    with pytest.raises(errors.UserError, match='config.gin is not the configuration') as caught:
        received_config.parse(text.replace('{trap}', str(trap)), 'config.gin')
    assert problem in str(caught.value) and '\n' not in str(caught.value)
    assert not trap.exists() and gin.config_str() == ''


HOSTILE = {
    'dynamic registration': DYNAMIC,
    'an import': 'import trap_of_this_test',
    'an include': "include '{folder}/more.gin'",
}
# Every command that gets the folder of a run.
COMMANDS = {
    'tools.export': (['--model_dir={run}', '--output_dir={folder}/out'], 'config.gin'),
    'tools.score': (['--model_dir={run}'], 'config.gin'),
    'stfc3_tf.train': (
        ['--model_dir={run}', '--gin_file=tests/support/tiny.gin'],
        '{run}',
    ),
    'tools.visualize': (
        ['--figure=curves', '--run=a={run}', '--output={folder}/a.png'],
        'holds no TensorBoard event files',
    ),
}


@pytest.fixture(scope='module')
def starter():
    with forked_commands.Starter() as started:
        yield started


@pytest.mark.skipif(not hasattr(os, 'pidfd_open'), reason='needs pidfd_open, of Linux')
@pytest.mark.parametrize('module', COMMANDS)
def test_a_run_that_a_stranger_sent_does_not_run_a_command(module, starter, tmp_path):
    trap, sent = tmp_path / 'trap', tmp_path / 'run'
    call = f"from __gin__ import dynamic_registration\nimport os\nos.mkdir.path = '{trap}'\n"
    (tmp_path / 'more.gin').write_text(f'{call}train.encoder = @os.mkdir()\n')
    # A checkpoint, so that training compares itself with the run.
    (sent / 'checkpoints' / 'last').mkdir(parents=True)
    (sent / 'checkpoints' / 'last' / 'step-1.index').write_bytes(b'')
    (sent / 'stream.json').write_text('{}')
    options, problem = COMMANDS[module]
    for text in HOSTILE.values():
        text = text.replace('{trap}', str(trap)).replace('{folder}', str(tmp_path))
        (sent / 'config.gin').write_text(text)
        arguments = [option.format(run=sent, folder=tmp_path) for option in options]
        status = starter.run(module, arguments, tmp_path / 'log')
        said = (tmp_path / 'log').read_text()
        assert status == 1 and 'Traceback' not in said, said
        (line,) = [line for line in said.splitlines() if line.startswith('error:')]
        assert problem.format(run=sent) in line, said
        assert not trap.exists() and 'No module named' not in said


@pytest.mark.parametrize(
    'setting, problem',
    [
        ('resnet18.width = 30000', 'width=30000: give at most'),
        ('resnet18.width = -1', 'width=-1: give a whole number'),
        ('resnet18.head_widths = (3000000, 8)', 'head_widths=3000000: give at most'),
        ('resnet18.statistics = "' + 'x' * 900_000 + '"', 'xxx...: choose one of imagenet'),
        ('A = %A\nresnet18.width = %A', 'config.gin names no encoder: RecursionError'),
        ('train.encoder = %train.encoder', 'config.gin names no encoder: TypeError'),
        ('train.encoder = "resnet18"', 'config.gin names no encoder: TypeError'),
    ],
)
def test_settings_that_no_network_has_are_one_short_line(tmp_path, setting, problem):
    (tmp_path / 'config.gin').write_text(f'train.encoder = @resnet18\n{setting}\n')
    with pytest.raises(errors.UserError) as caught:
        reload.encoder_of_run(run_folder.RunFolder(str(tmp_path)))
    message = str(caught.value)
    assert problem in message and '\n' not in message and len(message) < 700


def test_a_configuration_without_a_learner_is_named(tmp_path):
    (tmp_path / 'config.gin').write_text('train.encoder = @resnet18\nresnet18.width = 2\n')
    with pytest.raises(errors.UserError, match='config.gin names no learner: KeyError'):
        reload.learner_of_run(run_folder.RunFolder(str(tmp_path)), 'none')


@pytest.mark.slow
def test_what_is_not_text_is_named(tmp_path):
    path = tmp_path / 'config.gin'
    for contents in (b'train.steps = "\xff"', b'#' * (2 << 20)):
        path.write_bytes(contents)
        with pytest.raises(errors.UserError, match='config.gin is'):
            received_config.read(str(path))
    with pytest.raises(errors.UserError, match='absent cannot be read'):
        received_config.read(str(tmp_path / 'absent'))
