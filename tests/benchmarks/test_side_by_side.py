"""Sequences in several processes: the same results, continued where they stopped."""

import json
import pathlib
import shutil

from absl import flags
from absl.testing import flagsaver
from made_davis import make_davis
from PIL import Image, ImageOps
import pytest


def evaluate(data, output, workers):
    from tools import evaluate as tool  # Its flags would meet those of other commands' tests.

    arguments = ['--task=davis', data, '--baseline=colour', f'--output_dir={output}']
    with flagsaver.flagsaver():
        flags.FLAGS(['evaluate', *arguments, f'--workers={workers}'])
        tool.main([])


@pytest.fixture
def data(tmp_path):
    flag = make_davis(tmp_path / 'davis')
    root = tmp_path / 'davis'
    (root / 'ImageSets/2017/val.txt').write_text('ball\nmirrored\n')
    for kind in ('JPEGImages', 'Annotations'):
        shutil.copytree(root / kind / '480p/ball', root / kind / '480p/mirrored')
        for path in (root / kind / '480p/mirrored').iterdir():
            ImageOps.mirror(Image.open(path)).save(path)
    return flag


def without_times(path):
    """Return the contents of all files, by name; of JSON, what does not depend on the speed."""

    def content(file):
        if file.suffix != '.json':
            return file.read_bytes()
        return json.loads(file.read_text(), object_hook=lambda d: {**d, 'seconds': 0})

    files = sorted(pathlib.Path(path).rglob('*'))
    return {str(file.relative_to(path)): content(file) for file in files if file.is_file()}


@pytest.mark.slow
def test_workers_change_nothing_and_continue(data, tmp_path):
    evaluate(data, tmp_path / 'alone', 1)
    evaluate(data, tmp_path / 'both', 2)
    expected = without_times(tmp_path / 'alone')
    assert {'sequences/ball.json', 'sequences/mirrored.json', 'results.json'} <= set(expected)
    assert without_times(tmp_path / 'both') == expected
    kept, lost = (tmp_path / 'both/sequences' / name for name in ('ball.json', 'mirrored.json'))
    before = kept.stat().st_mtime_ns
    lost.unlink()
    evaluate(data, tmp_path / 'both', 2)
    assert kept.stat().st_mtime_ns == before
    assert without_times(tmp_path / 'both') == expected
