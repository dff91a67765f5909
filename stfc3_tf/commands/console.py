"""The console command `stfc3 VERB [flags]`: one verb for each command of the project."""

from __future__ import annotations

import ast
import difflib
import os
import pathlib
import re
import runpy
import signal
import sys

from stfc3_tf import stopping
from stfc3_tf.commands import flag_check

_PACKAGE = pathlib.Path(__file__).parents[1]


def verbs() -> dict[str, str]:
    """Return verb -> module, such as prepare-clips -> tools.prepare_clips."""
    found = {'train': 'stfc3_tf.train'}
    for path in sorted(_tools().glob('*.py')):
        if path.stem != '__init__':
            found[path.stem.replace('_', '-')] = f'{_tools_package()}.{path.stem}'
    return found


def _tools() -> pathlib.Path:
    """Return the folder of the commands: in the installed package, or at the top of a checkout."""
    installed = _PACKAGE / 'tools'
    return installed if installed.is_dir() else _PACKAGE.parent / 'tools'


def _tools_package() -> str:
    return 'stfc3_tf.tools' if _tools().parent == _PACKAGE else 'tools'


def usage() -> str:
    """Return what `stfc3 --help` prints."""
    lines = [f'  {verb:16} {_summary(verb)}' for verb in verbs()]
    return '\n'.join(
        ['usage: stfc3 VERB [flags]; stfc3 VERB --help shows the flags.', '', *lines, '']
    )


def _summary(verb: str) -> str:
    """Return the first sentence of a command's docstring, without importing it."""
    folder = _PACKAGE if verb == 'train' else _tools()
    source = (folder / f'{verb.replace("-", "_")}.py').read_text(encoding='utf-8')
    first = (ast.get_docstring(ast.parse(source)) or '').split('\n')[0]
    return re.sub(r': `python.*', '.', first)


def main() -> int:
    """Run the command that the arguments name; return the exit status."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ('-h', '--help', '--helpfull', 'help'):
        stopping.end_on_closed_pipe(True)
        print(usage())
        return 0 if arguments else 1
    verb, *rest = arguments
    modules = verbs()
    if verb not in modules:
        close = difflib.get_close_matches(verb, modules, 1)
        hint = f': do you mean {close[0]}?' if close else '. stfc3 --help lists the commands.'
        print(f'error: stfc3 has no command {verb}{hint}', file=sys.stderr)
        return 1
    _make_importable()
    if not flag_check.is_checked():
        script = sys.argv[0]
        started = ['-m', 'stfc3_tf'] if os.path.basename(script) == '__main__.py' else [script]
        command = [*started, *arguments]
        flag_check.check_and_start_again(f'stfc3 {verb}', modules[verb], rest, command)
    # Until the command handles Ctrl-C itself.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.argv = [f'stfc3 {verb}', *rest]
    runpy.run_module(modules[verb], run_name='__main__', alter_sys=True)
    return 0


def _make_importable() -> None:
    """Put the checkout on the import path if the commands lie outside the package."""
    if _tools_package() == 'tools':
        sys.path.insert(0, str(_PACKAGE.parent))


if __name__ == '__main__':
    sys.exit(main())
