"""`tools.benchmark` as a command."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


PROGRAM = """
import os
from stfc3_tf.commands import command
from tools import benchmark
if __name__ == '__main__':
    benchmark._PARTS['input'] = [('small', dict, [('clips', 3)])]
    benchmark._PARTS['step'] = [('deadly', os._exit, 1)]
    command.run(benchmark.main)
"""


@pytest.mark.slow
def test_the_command_writes_its_file_whole_or_not(tmp_path):
    program = tmp_path / 'program.py'
    program.write_text(PROGRAM)
    output = tmp_path / 'folder' / 'speed.json'

    def benchmark(what):
        return subprocess.run(
            [sys.executable, str(program), f'--output={output}', f'--what={what}'],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, 'PYTHONPATH': str(ROOT), 'TF_CPP_MIN_LOG_LEVEL': '2'},
        )

    done = benchmark('input')
    assert done.returncode == 0, done.stderr
    measurements = json.loads(output.read_text())['measurements']
    assert measurements['small']['clips'] == 3 and 'small' in done.stdout
    assert benchmark('input,step').returncode != 0
    assert json.loads(output.read_text())['measurements'] == measurements
    assert [path.name for path in output.parent.iterdir()] == ['speed.json']


def test_what_cannot_be_compared_is_said(tmp_path):
    def benchmark(*flags):
        done = subprocess.run(
            [sys.executable, '-m', 'tools.benchmark', f'--output={tmp_path}/speed.json', *flags],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2'},
        )
        assert done.returncode != 0 and 'Traceback' not in done.stderr
        return done.stderr

    unknown = benchmark('--against=pytorch', '--what=walk')
    assert (
        '--what with --against=pytorch: choose among step, features, propagation, loop' in unknown
    )
    if importlib.util.find_spec('torch') is None:
        missing = benchmark('--against=pytorch')
        assert '--against=pytorch needs PyTorch, which is not installed' in missing
