"""Values of the wrong type in a gin configuration are refused before anything is done."""

from __future__ import annotations

import sys

import forked_commands
import gin
import pytest

from stfc3_tf import errors
from stfc3_tf.commands import configuration
from stfc3_tf.training import settings

pytestmark = pytest.mark.skipif(sys.version_info < (3, 10), reason='Python 3.9 cannot read `|`')


@gin.configurable
def unreadable(number: NotDefined = 1):  # noqa: F821
    """Has a type that only a type checker would find."""
    return number


@pytest.fixture(autouse=True)
def no_settings():
    gin.clear_config()
    yield
    gin.clear_config()


def refusal(*bindings):
    with pytest.raises(errors.UserError) as caught:
        configuration.parse_gin(['small/stfc3.gin'], bindings)
    return str(caught.value)


@pytest.mark.parametrize(
    'binding,message',
    [
        ("train.clip_frames = 'x'", "train.clip_frames='x': give a whole number."),
        ('train.steps = 1e3', 'train.steps=1000.0: give a whole number.'),
        ('train.keep_checkpoints = True', 'train.keep_checkpoints=True: give a whole number.'),
        ('train.frame_rate = None', 'train.frame_rate=None: give a number.'),
        ('train.jit_compile = 1', 'train.jit_compile=1: give True or False.'),
        ('train.initial_encoder = 5', 'train.initial_encoder=5: give a text in quotation marks.'),
        ("train.devices = 'CPU:0'", "train.devices='CPU:0': give a list"),
        ('train.view_sampler = 5', 'train.view_sampler=5: give an object, such as @Name().'),
        ('train.encoder = 5', 'train.encoder=5: give a function or class, such as @name.'),
        ('ViewSampler.crop_area = (0.1, 0.5, 1)', 'not 3'),
        ("SEED = 'a'", "train.seed='a': give a whole number."),
        ('here/train.steps = 1.5', 'here/train.steps=1.5: give a whole number.'),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_the_name_of_its_setting(binding, message):
    assert message in refusal(binding)


@pytest.mark.parametrize(
    'setting, written, value',
    [
        ('train.frame_rate', '8', 8),
        ('train.devices', 'None', None),
        ('train.devices', "('CPU:0',)", ('CPU:0',)),
        ('ViewSampler.crop_area', '[0.1, 1]', [0.1, 1]),
        ('PropagationSettings.radius', '1e999', float('inf')),
        ('watch.held_out_score', 'None', None),
        ('unreadable.number', "'one'", 'one'),
    ],
)
def test_other_ways_to_write_a_right_value_are_taken(setting, written, value):
    configuration.parse_gin(['small/stfc3.gin'], [f'{setting} = {written}'])
    assert gin.query_parameter(setting) == value


def test_a_macro_of_the_right_type_is_taken():
    configuration.parse_gin(['small/stfc3.gin'], ['SEED = 7', 'train.steps = %SEED'])
    assert settings.Settings().steps == 7


def test_what_is_not_known_before_it_is_used_is_left_to_its_user():
    bindings = ['train.devices = [%SEED]', 'A = %B', 'B = %A', 'train.steps = %A']
    configuration.parse_gin(['small/stfc3.gin'], bindings)


@pytest.fixture(scope='module')
def starter():
    with forked_commands.Starter() as started:
        yield started


@pytest.mark.slow
@pytest.mark.parametrize(
    'module, arguments, folder',
    [
        ('stfc3_tf.train', ['--gin_file=gin/quickstart.gin'], 'model_dir'),
        ('tools.evaluate', ['--task=synthetic', '--saved_model=stfc3-small'], 'output_dir'),
    ],
)
def test_a_command_ends_with_one_line_and_writes_nothing(
    module, arguments, folder, starter, tmp_path
):
    binding = "--gin_bindings=PropagationSettings.top_k = 'ten'"
    arguments = [*arguments, f'--{folder}={tmp_path / "out"}', binding]
    assert starter.run(module, arguments, tmp_path / 'log') == 1
    said = (tmp_path / 'log').read_text()
    last = said.strip().splitlines()[-1]
    assert last == "error: PropagationSettings.top_k='ten': give a whole number."
    assert 'Traceback' not in said and not (tmp_path / 'out').exists()
