"""Every optional part that a message, a script or a page tells people to install exists."""

import pathlib
import re
import runpy

import pytest
import setuptools

ROOT = pathlib.Path(__file__).parents[2]
NAMED = re.compile(r'EXTRAS=([a-z][a-z,0-9]*)|stfc3-tf\[([a-z,0-9]+)\]')


@pytest.fixture
def declared(monkeypatch):
    """The extras of setup.py."""
    given = {}
    monkeypatch.setattr(setuptools, 'setup', lambda **settings: given.update(settings))
    runpy.run_path(str(ROOT / 'setup.py'))
    return set(given['extras_require'])


def texts():
    """Every script, module and page of the project, by path."""
    for folder, pattern in (
        ('', '*.md'),
        ('docs', '**/*.md'),
        ('tools', '*'),
        ('stfc3_tf', '**/*.py'),
        ('.ci', 'run'),
    ):
        for path in (ROOT / folder).glob(pattern):
            if path.is_file():
                yield path, path.read_text()


def test_extras_that_are_named_exist(declared):
    named = {
        (str(path.relative_to(ROOT)), extra)
        for path, text in texts()
        for found in NAMED.findall(text)
        for extra in ''.join(found).split(',')
        if extra
    }
    assert {extra for _, extra in named} >= {'dev', 'serving', 'beam', 'onnx', 'tflite', 's3'}
    assert {extra for _, extra in named} - declared == set(), named
    # What setup.sh always installs.
    always = re.findall(r'always=([a-z0-9,]+)', (ROOT / 'tools' / 'setup.sh').read_text())
    assert always
    assert set(','.join(always).split(',')) <= declared
