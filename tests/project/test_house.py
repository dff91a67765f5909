"""The rules of CONTRIBUTING.md about folders and docstrings, read off the source itself."""

from __future__ import annotations

import ast
import functools
import graphlib
from pathlib import Path
import re
from typing import NamedTuple, Union

_ROOT = Path(__file__).parents[2]
_FILES = [
    path for folder in ('stfc3_tf', 'tools') for path in sorted((_ROOT / folder).rglob('*.py'))
]
_Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]


def _name(path: Path) -> str:
    name = '.'.join(path.relative_to(_ROOT).with_suffix('').parts)
    return name[: -len('.__init__')] if name.endswith('.__init__') else name


_MODULES = {_name(path): path for path in _FILES}


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@functools.cache
def _imports(path: Path) -> set[str]:
    """Return the modules of this project that a file imports anywhere, also within functions."""
    found = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            whole = {f'{node.module}.{name.name}' for name in node.names}
            found |= {name if name in _MODULES else str(node.module) for name in whole}
    return found & set(_MODULES)


def _folder(module: str) -> str:
    """Return the folder of stfc3_tf in which a module is, or '' for a module beside the folders."""
    parts = module.split('.')
    inside = len(parts) > 2 or _MODULES[module].name == '__init__.py'
    return parts[1] if parts[0] == 'stfc3_tf' and len(parts) > 1 and inside else ''


def _documented_order() -> list[str]:
    table = (_ROOT / 'CONTRIBUTING.md').read_text().split('## The house')[1].split('## ')[0]
    return re.findall(r'^\| `(\w+)/` \|', table, flags=re.MULTILINE)


def test_the_table_of_folders_is_complete():
    folders = {path.parent.name for path in (_ROOT / 'stfc3_tf').glob('*/__init__.py')}
    assert sorted(_documented_order()) == sorted(folders)


def test_folders_import_only_folders_above_them_in_the_table():
    order = _documented_order()
    upwards = [
        f'{module} imports {other}'
        for module, path in _MODULES.items()
        for other in _imports(path)
        if _folder(module)
        and _folder(other)
        and order.index(_folder(other)) > order.index(_folder(module))
    ]
    assert not upwards


def test_maps_of_folders_name_what_is_there():
    """The lines `    name, name   what they do` in the docstrings of packages."""
    gone, left_out, maps = [], [], 0
    for path in (_ROOT / 'stfc3_tf').rglob('__init__.py'):
        text = ast.get_docstring(_tree(path), clean=False) or ''
        lines = re.findall(r'^    (\w+/?(?:, \w+/?)*)  +\S', text, re.MULTILINE)
        maps += bool(lines)
        there = {other.stem for other in path.parent.glob('[!_]*.py')} if lines else set()
        left_out += [
            f'{path.parent.name}: {name}' for name in there - set(re.findall(r'\w+', text))
        ]
        for name in (name for line in lines for name in line.split(', ')):
            if not any((path.parent / f'{name.rstrip("/")}{end}').exists() for end in ('', '.py')):
                gone.append(f'{path.parent.name}: {name}')
    assert maps > 10 and not gone and not left_out


def test_no_module_imports_itself_through_others():
    graph = {name: _imports(path) - {name} for name, path in _MODULES.items()}
    graphlib.TopologicalSorter(graph).prepare()  # Raises CycleError, which names the circle.


def test_the_readme_stays_short():
    text = (_ROOT / 'README.md').read_text()
    assert len(text.split()) <= 1200
    assert not [line for line in text.splitlines() if len(line) > 100]


class _Documented(NamedTuple):
    where: str
    function: _Function
    owner: str


def _public(body: list[ast.stmt], where: str, owner: str = ''):
    """Yield the public functions and methods of a body; `owner` is the docstring of their class."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
            yield from _public(node.body, f'{where}.{node.name}', ast.get_docstring(node) or '')
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (
            not node.name.startswith('_') or node.name in ('__init__', '__call__')
        ):
            yield _Documented(f'{where}.{node.name}', node, owner)


def _undescribed(documented: _Documented) -> list[str]:
    """Return the parameters without an entry under `Args:`."""
    arguments = documented.function.args
    names = [a.arg for a in arguments.posonlyargs + arguments.args + arguments.kwonlyargs]
    names = [name for name in names if name not in ('self', 'cls')]
    name = documented.function.name
    text = ast.get_docstring(documented.function) or (
        documented.owner if name == '__init__' else ''
    )
    if len(names) < 3 or re.match(rf'See `[\w.]+\.{name}`', text):
        return []
    entries = text.partition('Args:')[2]
    return [each for each in names if not re.search(rf'^ +\**{each}:', entries, re.MULTILINE)]


def test_three_or_more_parameters_are_described():
    """Or a docstring says which method, of the same name, describes them: "See `Source.read`"."""
    functions = [
        each for name, path in _MODULES.items() for each in _public(_tree(path).body, name)
    ]
    missing = {each.where: names for each in functions if (names := _undescribed(each))}
    assert not missing


def test_the_test_of_descriptions_finds_what_is_missing():
    source = '''
class A:
    """A.

    Args:
      a: one.
    """
    def __init__(self, a, b, c): ...
    def read(self, a, b, c):
        """See `Source.read`."""
    def write(self, a, b, c):
        """See `Source.read`."""
    def two(self, a, b): ...
'''
    found = {each.where: _undescribed(each) for each in _public(ast.parse(source).body, 'm')}
    assert found == {
        'm.A.__init__': ['b', 'c'],
        'm.A.read': [],
        'm.A.write': ['a', 'b', 'c'],
        'm.A.two': [],
    }
