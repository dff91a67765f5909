"""The runner: finished sequences are kept, killed runs end the same, changes are noticed."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys

import forked_programs
import numpy as np
from PIL import Image
import pytest

from stfc3_tf import errors
from stfc3_tf.benchmarks import davis, records, runner
from stfc3_tf.propagation import propagator
from stfc3_tf.propagation import tracker as tracking
from stfc3_tf.storage import writing

FRAMES = 5


@pytest.fixture
def data(tmp_path):
    root = tmp_path / 'data'
    (root / 'ImageSets/2017').mkdir(parents=True)
    (root / 'ImageSets/2017/val.txt').write_text('one\ntwo\nthree\n')
    picture = (
        np.random.default_rng(1)
        .integers(0, 256, (6, 10, 3), dtype=np.uint8)
        .repeat(8, 0)
        .repeat(8, 1)
    )
    for shift, name in enumerate(('one', 'two', 'three')):
        for kind in ('JPEGImages', 'Annotations'):
            (root / kind / '480p' / name).mkdir(parents=True)
        for number in range(FRAMES):
            left = 8 + shift * number
            mask = np.zeros((48, 80), np.uint8)
            mask[16:40, left : left + 24] = 1
            Image.fromarray(mask).save(root / 'Annotations/480p' / name / f'{number:05d}.png')
            Image.fromarray(np.roll(picture, left, 1)).save(
                root / 'JPEGImages/480p' / name / f'{number:05d}.jpg'
            )
    return root


class Colours:
    """Mean colours of 8x8 blocks, centred and normalised."""

    class cell_grid:
        first, stride = 3.5, 8

    def __init__(self, name='colours'):
        self.name = name

    def features(self, frames):
        blocks = (
            frames.reshape(1, frames.shape[1] // 8, 8, -1, 8, 3).mean((2, 4)).astype(np.float32)
            - 127
        )
        return blocks / np.linalg.norm(blocks, axis=-1, keepdims=True)

    def identity(self):
        return {'name': self.name}


class Tracker(tracking.PropagationTracker):
    """Counts the frames it has tracked; dies at the frame `last`."""

    def __init__(self, name='colours', last=None, radius=3.0, die=None):
        settings = propagator.PropagationSettings(context=2, radius=radius, top_k=3)
        super().__init__(Colours(name), settings, tracking.InputSize())
        self.frames, self._last, self._die = 0, last, die

    def track(self, *arguments):
        for label in super().track(*arguments):
            if self.frames == self._last:
                self._die()
            self.frames += 1
            yield label


def evaluate(data, output, tracker, **named):
    return runner.evaluate(davis.Davis(str(data)), tracker, str(output), protocol='test', **named)


def without_seconds(path):
    contents = json.loads(path.read_text())
    for part in (contents, *contents['sequences'].values()):
        assert part.pop('seconds') > 0
    return contents


def tree(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted((folder / 'predictions').rglob('*'))
        if p.is_file()
    }


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from test_runner import Tracker, evaluate
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
evaluate({data!r}, {output!r}, Tracker(last={last}, die=die))
"""


def test_a_killed_run_continues_and_ends_the_same(data, tmp_path):
    whole = Tracker()
    evaluate(data, tmp_path / 'whole', whole)
    assert whole.frames == 3 * FRAMES
    program = KILLED.format(
        tests=str(pathlib.Path(__file__).parent),
        data=str(data),
        output=str(tmp_path / 'killed'),
        last=FRAMES + 3,
    )
    with forked_programs.Program(program) as killed:
        assert killed.end(120) == -signal.SIGKILL
    # The killed run left the first sequence complete, and nothing that looks like the second.
    assert (tmp_path / 'killed/sequences/one.json').exists()
    assert not (tmp_path / 'killed/sequences/two.json').exists()
    assert not (tmp_path / 'killed/predictions/two').exists()
    assert not (tmp_path / 'killed/results.json').exists()
    rest = Tracker()
    evaluate(data, tmp_path / 'killed', rest)
    assert rest.frames == 2 * FRAMES
    assert without_seconds(tmp_path / 'killed/results.json') == without_seconds(
        tmp_path / 'whole/results.json'
    )
    assert tree(tmp_path / 'killed') == tree(tmp_path / 'whole')


def test_killed_between_predictions_and_record(data, tmp_path, monkeypatch):
    evaluate(data, tmp_path / 'out', Tracker())
    old = tree(tmp_path / 'out')
    real = writing.write_text

    def killed(path, text):
        if 'sequences' in path:
            raise KeyboardInterrupt
        real(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(writing, 'write_text', killed)
        with pytest.raises(KeyboardInterrupt):
            evaluate(data, tmp_path / 'out', Tracker(radius=0.5), only=['three'])
    assert tree(tmp_path / 'out') != old
    # The last sequence's predictions have another radius: its old record must not count for them.
    again = Tracker()
    evaluate(data, tmp_path / 'out', again)
    assert again.frames == FRAMES and tree(tmp_path / 'out') == old


def test_other_code_runs_again(data, tmp_path, monkeypatch):
    evaluate(data, tmp_path / 'out', Tracker())
    monkeypatch.setattr(records, 'code_digest', lambda: 'a changed metric')
    again = Tracker()
    assert evaluate(data, tmp_path / 'out', again)['versions']['code_sha256'] == 'a changed metric'
    assert again.frames == 3 * FRAMES


@pytest.mark.slow
def test_the_code_digest_covers_all_that_an_evaluation_imports(monkeypatch):
    program = """
import sys
from stfc3_tf.benchmarks import baselines, tasks
print(*(module.__file__ for name, module in sys.modules.items() if name.startswith('stfc3_tf.')))
"""
    command = [sys.executable, '-c', program]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    imported = {pathlib.Path(path).resolve() for path in found.split()}
    package = pathlib.Path(runner.__file__).resolve().parents[1]
    covered = {path for pattern in records._CODE for path in package.glob(pattern)}
    assert imported - covered == set()
    digest, read = records.code_digest.__wrapped__, pathlib.Path.read_bytes
    before = digest()
    assert before == digest()
    monkeypatch.setattr(
        pathlib.Path, 'read_bytes', lambda path: read(path) + b'#' * (path.name == 'masks.py')
    )
    assert digest() != before


def test_a_rerun_computes_nothing_and_says_the_same(data, tmp_path):
    first = evaluate(data, tmp_path / 'out', Tracker())
    again = Tracker()
    assert evaluate(data, tmp_path / 'out', again) == first
    assert again.frames == 0


@pytest.mark.parametrize('changed', [dict(name='other weights'), dict(radius=4.0)])
def test_another_model_or_setting_runs_again(data, tmp_path, changed):
    evaluate(data, tmp_path / 'out', Tracker())
    again = Tracker(**changed)
    results = evaluate(data, tmp_path / 'out', again)
    assert again.frames == 3 * FRAMES
    assert results['settings']['model']['name'] == changed.get('name', 'colours')
    assert results['settings']['propagation']['radius'] == changed.get('radius', 3.0)


def test_changed_data_run_again_and_only_they(data, tmp_path):
    evaluate(data, tmp_path / 'out', Tracker())
    path = data / 'Annotations/480p/two/00002.png'
    Image.fromarray(np.fliplr(Image.open(path))).save(path)
    again = Tracker()
    evaluate(data, tmp_path / 'out', again)
    assert again.frames == FRAMES


def test_frames_of_other_names_run_again(data, tmp_path):
    evaluate(data, tmp_path / 'out', Tracker())
    for kind, ending in (('JPEGImages', 'jpg'), ('Annotations', 'png')):
        for number in reversed(range(FRAMES)):
            folder = data / kind / '480p/two'
            (folder / f'{number:05d}.{ending}').rename(folder / f'{number + 1:05d}.{ending}')
    again = Tracker()
    evaluate(data, tmp_path / 'out', again)
    assert again.frames == FRAMES
    assert (tmp_path / f'out/predictions/two/{FRAMES:05d}.png').exists()


def test_a_place_that_cannot_be_written_is_named_before_anything_is_tracked(data, tmp_path):
    (tmp_path / 'out').write_text('a file')
    tracker = Tracker()
    with pytest.raises(errors.UserError, match='out.* cannot be written'):
        evaluate(data, tmp_path / 'out', tracker)
    assert tracker.frames == 0


def test_deleted_predictions_are_made_again(data, tmp_path):
    evaluate(data, tmp_path / 'out', Tracker())
    shutil.rmtree(tmp_path / 'out/predictions/three')
    again = Tracker()
    evaluate(data, tmp_path / 'out', again)
    assert again.frames == FRAMES
    assert len(list((tmp_path / 'out/predictions/three').iterdir())) == FRAMES


def test_what_takes_long_is_announced_before_it_begins(data, tmp_path, caplog, monkeypatch):
    said = []
    real_digest, real_check = runner.files.digest, davis.DavisSequence.check
    monkeypatch.setattr(
        runner.files, 'digest', lambda path: said.append(caplog.text) or real_digest(path)
    )
    monkeypatch.setattr(
        davis.DavisSequence, 'check', lambda self: said.append(caplog.text) or real_check(self)
    )
    with caplog.at_level('INFO', logger='absl'):
        evaluate(data, tmp_path / 'out', Tracker())
    assert 'Reading the files of 3 sequences' in said[0]
    assert 'Checking the data' not in said[0] and 'Checking the data of 3 sequences' in said[-1]


def test_a_subset_and_later_the_rest(data, tmp_path):
    part = evaluate(data, tmp_path / 'out', Tracker(), only=['three', 'one'])
    assert list(part['sequences']) == ['three', 'one'] and part['frames'] == 2 * FRAMES
    assert part['sequences_of'] == 3
    rest = Tracker()
    assert list(evaluate(data, tmp_path / 'out', rest)['sequences']) == ['one', 'two', 'three']
    assert rest.frames == FRAMES
    with pytest.raises(errors.UserError, match='four.*one, two, three'):
        evaluate(data, tmp_path / 'out', Tracker(), only=['four'])


def test_a_failure_leaves_no_half_written_sequence(data, tmp_path):
    def die():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(data, tmp_path / 'out', Tracker(last=3, die=die))
    assert (
        not (tmp_path / 'out/predictions/one').exists()
        and not (tmp_path / 'out/results.json').exists()
    )


def test_results_hold_what_makes_the_number(data, tmp_path):
    results = evaluate(data, tmp_path / 'out', Tracker(), saved_model='models/a')
    assert results['saved_model'] == 'models/a' and results['protocol'] == 'test'
    assert results['settings']['codec'] == {
        'shrink': 'bilinear',
        'normalise': 'none',
        'decide_at': 'label',
    }
    assert results['settings']['input_size']['rule'] == 'native'
    assert (
        results['settings']['propagation']['context'] == 2 and results['settings']['year'] == 2017
    )
    assert set(results['versions']) >= {'stfc3_tf', 'tensorflow'}
    assert 'data_dir' not in results['settings']


def test_the_table_has_a_line_for_every_sequence_and_figure(data, tmp_path):
    lines = runner.table(evaluate(data, tmp_path / 'out', Tracker())).splitlines()
    assert [line.split()[0] for line in lines[:4]] == ['sequence', 'one', 'two', 'three']
    assert 'J&F-Mean' in lines[0].split() and 'J&F-Mean' in [line.split()[0] for line in lines[5:]]


def test_undefined_and_infinite_values_are_valid_json(tmp_path):
    writing.write_text(
        str(tmp_path / 'x.json'),
        json.dumps(
            records.plain(
                {'a': np.float32('nan'), 'b': np.inf, 'c': np.array([1, 2]), 3: (True, None)}
            ),
            allow_nan=False,
        ),
    )
    assert json.loads((tmp_path / 'x.json').read_text()) == {
        'a': None,
        'b': 'inf',
        'c': [1, 2],
        '3': [True, None],
    }
