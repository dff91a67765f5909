"""A flag that a command would read and ignore is an error, before there is work."""

import forked_commands
import pytest

PREPARE = ['prepare_clips', '--input=videos', '--output={}']
BENCHMARK = ['benchmark', '--output={}']
PROPAGATE = ['propagate', '--video=v.mp4', '--mask=m.png', '--output_dir={}']
REPRODUCE = ['reproduce', '--output_dir={}']
EVALUATE = ['evaluate', '--task=synthetic', '--baseline=identity', '--output_dir={}']
MOVED = ['moved_frames', '--frames=*.jpg', '--saved_model=a=b']
EXPORT = ['export', '--saved_model=stfc3-small', '--output_dir={}']


@pytest.fixture(scope='module')
def starter():
    with forked_commands.Starter() as started:
        yield started


@pytest.mark.parametrize(
    'given, idle, reason',
    [
        (PREPARE, ['--pipeline_options=--a=b'], '--runner=local does not use --pipeline_options'),
        (PREPARE, ['--verify'], '--verify does not use --input'),
        (PREPARE, ['--runner=DirectRunner', '--workers=2'], 'DirectRunner does not use --workers'),
        (
            BENCHMARK,
            ['--what=machine', '--year=2017', '--short_side=240'],
            '--what=machine does not use --year, --short_side',
        ),
        (BENCHMARK, ['--what=correction_time', '--davis=d'], 'time does not use --davis'),
        (PROPAGATE, ['--timeout=5'], 'A run without --server does not use --timeout'),
        (PROPAGATE, ['--visible_above=0.5'], '--mask does not use --visible_above'),
        (REPRODUCE, ['--commands'], 'A run without --list does not use --commands'),
        (EVALUATE, ['--data_dir=d'], '--task=synthetic does not use --data_dir'),
        (MOVED, ['--gin_bindings=a=1'], 'A run without --untrained does not use --gin_bindings'),
        (EXPORT, ['--layer=head'], '--saved_model does not use --layer'),
    ],
)
@pytest.mark.slow
def test_a_flag_without_effect_is_refused(given, idle, reason, starter, tmp_path):
    name, *arguments = [text.format(tmp_path / 'out') for text in given]
    status = starter.run(f'tools.{name}', [*arguments, *idle], tmp_path / 'log')
    assert status == 1 and not (tmp_path / 'out').exists()
    assert f'{reason}: leave it out.' in (tmp_path / 'log').read_text().splitlines()[-1]
