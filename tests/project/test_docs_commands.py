"""Commands in the pages have flags and settings that exist."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from stfc3_tf.benchmarks import baselines, tasks  # noqa: F401  what settings name
from stfc3_tf.commands import configuration
from stfc3_tf.training import settings as train_settings  # noqa: F401

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted(ROOT.glob('docs/*.md'))]
# Parses the flags of a command as often as standard input has lines, each a list in JSON.
PARSE = """
import json, sys
from absl import flags
from stfc3_tf.commands import flag_check
for number, line in enumerate(sys.stdin):
    arguments = json.loads(line)
    if number == 0:
        flag_check.check('command', sys.argv[1], arguments)
    flags.FLAGS.unparse_flags()
    flags.FLAGS(['command', *arguments])
    print('right')
"""


def commands():
    """Return (page, module, arguments) of each command that a page spells out."""
    found = []
    for page in PAGES:
        blocks = re.findall(r'^```bash\n(.*?)^```$', page.read_text(), re.MULTILINE | re.DOTALL)
        for line in '\n'.join(blocks).replace('\\\n', ' ').splitlines():
            match = re.search(
                r'(?:python -m |\bstfc3 )((?:stfc3_tf|tools)\.?\w*|[a-z-]+) (.*)', line
            )
            if match and '...' not in line and '$' not in line:
                name, rest = match.groups()
                module = name if '.' in name else f'tools.{name.replace("-", "_")}'
                found.append((page.name, module, shlex.split(rest, comments=True)))
    return [row for row in found if row[1].startswith(('stfc3_tf.', 'tools.'))]


COMMANDS = commands()


def values(arguments, flag):
    return [text.partition('=')[2] for text in arguments if text.startswith(f'--{flag}=')]


def test_commands_are_found():
    assert len(COMMANDS) > 50
    assert len({page for page, _, _ in COMMANDS}) > 10


@pytest.mark.parametrize('module', sorted({module for _, module, _ in COMMANDS}))
def test_flags_exist_and_have_values_of_their_type(module):
    given = [arguments for _, name, arguments in COMMANDS if name == module]
    done = subprocess.run(
        [sys.executable, '-c', PARSE, module],
        input='\n'.join(json.dumps(arguments) for arguments in given if '--help' not in arguments),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('right') == len(given)


@pytest.mark.parametrize(
    'page, arguments',
    [
        (page, arguments)
        for page, _, arguments in COMMANDS
        if any('gin_' in text for text in arguments)
    ],
)
def test_settings_and_gin_files_exist(page, arguments, monkeypatch):
    monkeypatch.chdir(ROOT)
    configuration.parse_gin(values(arguments, 'gin_file'), values(arguments, 'gin_bindings'))
