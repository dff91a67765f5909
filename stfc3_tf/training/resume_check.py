"""Refuses to resume a run with other data, or other settings that change what is learnt.

A run that resumes with other settings or other data would be neither the old run nor a new one. So
both are compared with the `config.gin` and the `stream.json` of the model folder. The length of a
run, how it is watched, how often it is saved and its devices do not count.

Settings that exist on one side only are not compared: they belong to parts that are not used, which
shows in another setting, or to another version of this package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import concurrent.futures
import hashlib
import json
import posixpath
import re
from typing import Any

from absl import logging
from gin import config_parser
import tensorflow as tf

from stfc3_tf import clips, errors
from stfc3_tf.storage import files, folders, object_store, writing
from stfc3_tf.training.run_folder import RunFolder, reporting_writes

_OTHER_SETTINGS = {
    *('train.steps', 'train.watch'),
    *('train.checkpoint_interval', 'train.checkpoint_minutes', 'train.keep_checkpoints'),
    *('train.strategy', 'train.devices', 'train.data_servers'),
}
_OTHER_CONFIGURABLES = {'watch', 'HeldOutScore', 'MultiWorker', 'PropagationSettings'}
# Settings that older versions did not have, and the value that stands for what they did.
_ADDED = {'train.initial_encoder': None}
# On object stores it takes too long to ask for the sizes of very many files.
_MOST_SIZES_ON_STORES = 1000
_FILES_AT_A_TIME = 16


class _AsText(config_parser.ParserDelegate):
    """Reads references and macros as text, without importing or calling anything."""

    def configurable_reference(self, name: str, evaluate: bool) -> str:
        return f'@{name}()' if evaluate else f'@{name}'

    def macro(self, name: str) -> str:
        return f'%{name}'


def settings_of(config: str) -> dict[str, Any]:
    """Return the settings that identify a run.

    Args:
      config: gin statements, an operative configuration.

    Returns:
      Value by name; references are text, macros are replaced by their values.

    Raises:
      Exception: of nearly any kind: the statements are damaged.
    """
    found = {}
    for statement in config_parser.ConfigParser(config, _AsText()):
        if isinstance(statement, config_parser.BindingStatement):
            scope = f'{statement.scope}/' if statement.scope else ''
            selector = statement.selector.rpartition('.')[2]
            found[f'{scope}{selector}.{statement.arg_name}'.rstrip('.')] = statement.value
    macros = {name: value for name, value in found.items() if '.' not in name}
    watching = _OTHER_CONFIGURABLES | _referenced(found.get('train.watch'))
    return {
        name: _resolved(value, macros)
        for name, value in found.items()
        if '.' in name
        and name not in _OTHER_SETTINGS
        and name.rpartition('/')[2].partition('.')[0] not in watching
    }


def _referenced(value: Any) -> set[str]:
    """Return the name of the configurable that a value refers to, if it does."""
    return set(re.findall(r'^@(?:.*[/.])?(\w+)', value)) if isinstance(value, str) else set()


def _resolved(value: Any, macros: Mapping[str, Any], depth: int = 20) -> Any:
    """Return a value with its macros replaced, and lists as tuples."""
    if isinstance(value, str) and value.startswith('%') and value[1:] in macros and depth:
        return _resolved(macros[value[1:]], macros, depth - 1)
    if isinstance(value, (list, tuple)):
        return tuple(_resolved(item, macros, depth) for item in value)
    return value


def data_of(source: clips.Source) -> dict[str, int | str]:
    """Describe the data of a run by the relative names and sizes of its files.

    On object stores only the sizes of up to 1,000 files, evenly spread, are used.

    Returns:
      'videos' and 'files': how many; 'bytes': the sum of the sizes; 'sha256': a digest of names and
      sizes. A folder of pictures counts as one file, with its number of entries as its size.
    """
    files = source.files()
    step = 1
    if files and object_store.is_object_store(files[0]):
        step = -(-len(files) // _MOST_SIZES_ON_STORES)
    with concurrent.futures.ThreadPoolExecutor(_FILES_AT_A_TIME) as pool:
        sizes = dict(zip(files[::step], pool.map(_size, files[::step])))
    root = posixpath.commonpath([posixpath.dirname(file) for file in files]) if files else ''
    lines = (f'{posixpath.relpath(file, root or ".")} {sizes.get(file)}\n' for file in files)
    return {
        'videos': len(source),
        'files': len(files),
        'bytes': sum(sizes.values()),
        'sha256': _digest(lines),
    }


def _size(path: str) -> int:
    if tf.io.gfile.isdir(path):
        # Hidden files, which systems add, are no change of the data.
        return len(folders.names_in(path))
    return tf.io.gfile.stat(path).length


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode('utf-8', 'surrogateescape'))
    return digest.hexdigest()


def check(
    folder: RunFolder,
    config: str,
    data: Mapping[str, Any],
    step: int | None,
    allow_changes: bool = False,
) -> None:
    """Compare a run that is resumed with its earlier description, and store the new one.

    Args:
      folder: of the run.
      config: gin statements, the operative configuration.
      data: see `data_of`.
      step: of the newest checkpoint; None for a new run, which is not compared.
      allow_changes: whether to warn of differences, and record them, instead of refusing them.

    Raises:
      errors.UserError: the run began with other settings or data, or it is unknown with which.
    """
    changes: list[Any] = []
    if step is not None:
        stored = _read(folder, allow_changes)
        changes = list(stored.get('changes', []))
        found = [*_different_settings(folder, config), *_different_data(stored, data)]
        if found and not allow_changes:
            raise errors.UserError(
                f'The run in {folder.path} began differently: {"; ".join(found)}. Resume with '
                'the former settings and data, train into another --model_dir, or give '
                '--allow_changes to continue with the new ones.'
            )
        if found:
            logging.warning(
                'The run in %s continues with changes: %s', folder.path, '; '.join(found)
            )
            changes.append({'step': step, 'changes': found})
    described = {**data, 'changes': changes} if changes else dict(data)
    with reporting_writes(folder.identity):
        writing.write_text(folder.identity, json.dumps(described, indent=1))


def _read(folder: RunFolder, allow_changes: bool) -> dict[str, Any]:
    """Return the stored description of the data."""
    remedy = 'The data of the run cannot be compared: give --allow_changes to resume anyway.'
    try:
        stored = files.read_json(folder.identity, dict[str, Any], remedy)
        if not isinstance(stored.get('changes', []), list):
            raise errors.UserError(f'{folder.identity} does not describe data. {remedy}')
    except errors.UserError:
        if allow_changes:
            return {}
        raise
    return stored


def _different_settings(folder: RunFolder, config: str) -> list[str]:
    try:
        began = {**_ADDED, **settings_of(folder.read_config())}
    # Damaged text fails in gin, in Python's tokenizer and in its parser of literals.
    except Exception as error:
        return [f'{folder.config} is missing or damaged ({type(error).__name__})']
    now = settings_of(config)
    return [
        f'{name} was {began[name]!r}, is {now[name]!r}'
        for name in sorted(began.keys() & now.keys())
        if began[name] != now[name]
    ]


def _different_data(began: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the differences in what both describe; older versions stored less."""
    names = [name for name in ('videos', 'files', 'bytes') if name in began]
    found = [
        f'{name} of the data were {began[name]!r}, are {now[name]!r}'
        for name in names
        if began[name] != now[name]
    ]
    if not found and began.get('sha256', now['sha256']) != now['sha256']:
        found = ['the files of the data have other names or sizes']
    return found
