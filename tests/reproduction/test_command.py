"""`python -m tools.reproduce` as a user runs it, killed and run again."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from small_reproduction import ROOT, write_plan
import tensorflow as tf
import training_runs
from waiting import until

from stfc3_tf.training import reload
from stfc3_tf.training.run_folder import RunFolder

pytestmark = pytest.mark.slow


def command(folder, *arguments):
    return [
        sys.executable,
        *('-m', 'tools.reproduce', f'--plan={folder}/plan.gin', f'--output_dir={folder}/out'),
        *arguments,
    ]


def run(folder, *arguments):
    return training_runs.call(command(folder, *arguments))


@pytest.fixture(scope='module')
def killed_and_run_again(tmp_path_factory):
    """Killed while the first trained encoder is evaluated, then run to the end."""
    folder = tmp_path_factory.mktemp('reproduction')
    write_plan(folder)
    rows = folder / 'out' / 'rows'
    with subprocess.Popen(
        command(folder),
        cwd=ROOT,
        env=training_runs.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as first:
        evaluated = rows / 'tiny/seed-0/scenes.log'
        until(lambda: evaluated.exists() or first.poll() is not None, 300)
        assert evaluated.exists()
        first.kill()
    kept = {path: path.stat() for path in finished_parts(rows)}
    status, output = run(folder)
    return folder, kept, status, output


def finished_parts(rows):
    records = [path for path in rows.rglob('*.json') if path.with_suffix('.log').exists()]
    return [path for path in records if json.loads(path.read_text())['status'] == 0]


def test_what_was_finished_is_not_done_again(killed_and_run_again):
    _, kept, _, _ = killed_and_run_again
    names = {'/'.join(path.parts[-3:]) for path in kept}
    assert {'tiny/seed-0/train.json', 'untrained/seed-0/scenes.json'} <= names
    for path, before in kept.items():
        now = path.stat()
        assert (now.st_ino, now.st_mtime_ns) == (before.st_ino, before.st_mtime_ns), path


def test_the_table_holds_what_the_evaluations_found(killed_and_run_again):
    folder, _, _, output = killed_and_run_again
    out = folder / 'out'

    def evaluated(row):
        return json.loads((out / f'rows/{row}/scenes/results.json').read_text())['metrics']

    table = json.loads((out / 'results.json').read_text())
    figure = table['rows']['untrained']['figures']['scenes J-Mean']
    values = {seed: evaluated(f'untrained/seed-{seed}')['J-Mean'] for seed in '01'}
    assert figure['by_seed'] == values and values['0'] != values['1']
    np.testing.assert_allclose(figure['mean'], (values['0'] + values['1']) / 2)
    # Of two values the sample standard deviation is their distance over the root of 2.
    np.testing.assert_allclose(figure['spread'], abs(values['0'] - values['1']) / 2**0.5)
    assert f'{100 * figure["mean"]:.1f} ± {100 * figure["spread"]:.1f}' in output
    with open(out / 'results.csv') as file:
        lines = {line['row']: line for line in csv.DictReader(file)}
    assert list(lines) == ['untrained', 'tiny', 'broken']
    assert lines['untrained']['scenes J-Mean seeds'] == '2'
    for name in ('J-Mean', 'Position-Accuracy'):
        assert float(lines['tiny'][f'scenes {name} mean']) == evaluated('tiny/seed-0')[name]
    assert lines['untrained']['loss seeds'] == '0' and lines['tiny']['loss seeds'] == '1'


def test_a_row_that_fails_is_shown_and_does_not_stop_the_others(killed_and_run_again):
    folder, _, status, output = killed_and_run_again
    assert status == 1
    log = folder / 'out/rows/broken/seed-0/train.log'
    assert str(log) in output and 'accumulation_steps' in log.read_text()
    line = next(line for line in output.splitlines() if line.startswith('| `broken`'))
    assert 'failed' in line and 'not run' in line
    assert not (folder / 'out/rows/broken/seed-0/scenes').exists()


def test_curves_and_pictures_are_drawn(killed_and_run_again):
    folder, _, _, _ = killed_and_run_again
    with open(folder / 'out/curves.csv') as file:
        lines = list(csv.DictReader(file))
    values = {(line['figure'], int(line['step'])): float(line['value']) for line in lines}
    assert [step for figure, step in values if figure == 'train/loss'] == [1, 2, 3]
    assert [step for figure, step in values if figure == 'probe/collapse_ratio'] == [0, 3]
    found = json.loads((folder / 'out/results.json').read_text())['rows']['tiny']['figures']
    assert found['collapse ratio']['mean'] == values['probe/collapse_ratio', 3]
    assert found['loss']['mean'] == values['train/loss', 3]  # the last tenth of three steps
    for name in ('curves', 'loss_and_quality', 'affinity_48', 'features'):
        picture = tf.io.decode_png((folder / f'out/{name}.png').read_bytes(), channels=3)
        assert min(picture.shape[:2]) > 100 and len(np.unique(picture)) > 10


def test_a_run_gives_its_learner_back_with_settings_that_stand_in_macros(killed_and_run_again):
    folder, *_ = killed_and_run_again
    learner, step = reload.learner_of_run(RunFolder(str(folder / 'out/rows/tiny/seed-0/train')))
    assert (learner.temperature, step) == (0.06, 3)


def test_the_list_shows_the_state_of_each_part(killed_and_run_again):
    folder, _, _, _ = killed_and_run_again
    status, output = run(folder, '--list')
    assert status == 0 and 'python -m' not in output
    status, output = run(folder, '--list', '--commands')
    assert status == 0
    assert 'untrained, seed 1: scenes: finished' in output
    assert 'broken, seed 0: train: failed' in output
    assert 'broken, seed 0: scenes: not run' in output
    assert f'"model_dir": "{folder}/out/rows/broken/seed-0/train"' in output


def test_other_settings_are_refused_with_what_differs(killed_and_run_again):
    folder, _, _, _ = killed_and_run_again
    watched = [folder / 'out/rows/tiny/seed-0/train.json', folder / 'out/results.json']
    before = [path.read_bytes() for path in watched]
    status, output = run(folder, '--gin_bindings=train.steps = 4')
    assert status == 1
    assert '-train.steps = 3; +train.steps = 4' in output and '--output_dir' in output
    assert [path.read_bytes() for path in watched] == before


def test_the_encoder_of_the_package_is_a_row_by_its_name(tmp_path):
    write_plan(tmp_path)
    status, output = run(tmp_path, '--saved_model=given=stfc3-small', '--only=given')
    assert status == 0, output
    row = json.loads((tmp_path / 'out/results.json').read_text())['rows']['given']
    # As `tools.evaluate` finds it.
    settings = {'scenes': 2, 'frames': 3, 'height': 64, 'width': 80}
    status, output = training_runs.call(
        [
            *(sys.executable, '-m', 'tools.evaluate', '--task=synthetic'),
            *('--saved_model=stfc3-small', f'--output_dir={tmp_path}/alone'),
            *(f'--gin_bindings=SyntheticBenchmark.{k} = {v}' for k, v in settings.items()),
        ]
    )
    assert status == 0, output
    alone = json.loads((tmp_path / 'alone/results.json').read_text())['metrics']
    assert row['figures']['scenes J-Mean']['mean'] == alone['J-Mean'] > 0.4
    status, output = run(tmp_path, '--saved_model=given=stfc3-smal', '--only=given')
    assert status == 1 and 'which are: stfc3-small' in output and 'Traceback' not in output
