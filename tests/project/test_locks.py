"""The lock files are those that docs/installation.md reports on."""

import hashlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize('stack', ['2.15', 'current'])
def test_a_changed_lock_file_needs_new_rows_of_what_was_run(stack):
    digest = hashlib.sha256((ROOT / f'requirements-{stack}.lock').read_bytes()).hexdigest()
    assert f'`{digest[:8]}` ({stack})' in (ROOT / 'docs/installation.md').read_text('utf-8')
