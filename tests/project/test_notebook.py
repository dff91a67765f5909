"""The notebook runs from top to bottom, with few frames and few steps."""

import os
import pathlib

import nbclient
import nbformat
import pytest

NOTEBOOK = pathlib.Path(__file__).parents[2] / 'docs' / 'start.ipynb'


def of_code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == 'code']


def test_the_notebook_is_kept_without_outputs():
    for cell in of_code(nbformat.read(NOTEBOOK, as_version=4)):
        assert cell.outputs == [] and cell.execution_count is None


@pytest.mark.slow
def test_the_notebook_follows_and_trains(monkeypatch, tmp_path):
    monkeypatch.setenv('STFC3_FRAMES', '4')
    monkeypatch.setenv('STFC3_STEPS', '2')
    monkeypatch.setenv('PYTHONPATH', str(NOTEBOOK.parents[1]), prepend=os.pathsep)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = {'metadata': {'path': tmp_path}}
    nbclient.NotebookClient(notebook, timeout=600, resources=folder).execute()
    outputs = [output for cell in of_code(notebook) for output in cell.outputs]
    assert sum('image/png' in output.get('data', {}) for output in outputs) == 3
    printed = ''.join(output.get('text', '') for output in outputs)
    assert 'trained, step 2' in printed
    assert 'Error' not in printed and 'error:' not in printed
