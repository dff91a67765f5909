"""A flag that a command would read and ignore is an error, before there is work."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PREPARE = ['prepare_clips', '--input=videos', '--output={}']
BENCHMARK = ['benchmark', '--output={}']
PROPAGATE = ['propagate', '--video=v.mp4', '--mask=m.png', '--output_dir={}']
REPRODUCE = ['reproduce', '--output_dir={}']
EVALUATE = ['evaluate', '--task=synthetic', '--baseline=identity', '--output_dir={}']
MOVED = ['moved_frames', '--frames=*.jpg', '--saved_model=a=b']
EXPORT = ['export', '--saved_model=stfc3-small', '--output_dir={}']


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
def test_a_flag_without_effect_is_refused(given, idle, reason, tmp_path):
    arguments = [text.format(tmp_path / 'out') for text in given]
    done = subprocess.run(
        [sys.executable, '-m', f'tools.{arguments[0]}', *arguments[1:], *idle],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    assert done.returncode == 1 and not (tmp_path / 'out').exists()
    assert f'{reason}: leave it out.' in done.stderr.splitlines()[-1]
