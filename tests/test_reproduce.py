"""`python -m tools.reproduce` as a user runs it, killed in between; its parts and its table."""

import csv
import dataclasses
import fcntl
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import gin
import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf import errors, training
from stfc3_tf.reproduction import drawing, parts, plan as plans, results, running

ROOT = pathlib.Path(__file__).parent.parent
TINY = f"""
include '{ROOT}/gin/small/base.gin'
train.steps = 3
train.batch_size = 2
train.clip_frames = 2
resnet18.width = 4
resnet18.head_widths = (8, 6)
ViewSampler.view_size = 48
TAU = 0.06
Learner.temperature = %TAU
watch.log_interval = 1
watch.probe_interval = 3
watch.picture_interval = 3
watch.probe_videos = 2
"""
PLAN = """
Plan.configurations = {'tiny.gin': (0,), 'broken.gin': (0,)}
Plan.baselines = {'untrained': @untrained/Baseline()}
untrained/Baseline.baseline = 'random'
untrained/Baseline.bindings = ['resnet18.width = 4']
untrained/Baseline.seeds = (0, 1)
Plan.benchmarks = {'scenes': @scenes/Benchmark()}
scenes/Benchmark.task = 'synthetic'
scenes/Benchmark.bindings = [
    'SyntheticBenchmark.scenes = 2',
    'SyntheticBenchmark.frames = 3',
    'SyntheticBenchmark.height = 64',
    'SyntheticBenchmark.width = 80',
]
scenes/Benchmark.figures = ['J-Mean', 'Position-Accuracy']
Plan.published = {'tiny': '60.5'}
"""


@pytest.fixture(autouse=True)
def fresh_configuration():
    gin.clear_config()
    yield
    gin.clear_config()


def write_plan(folder, text=PLAN):
    (folder / 'tiny.gin').write_text(TINY)
    (folder / 'broken.gin').write_text("include 'tiny.gin'\nLearner.accumulation_steps = 3\n")
    (folder / 'plan.gin').write_text(text)
    return str(folder / 'plan.gin')


def command(folder, *arguments):
    return [
        sys.executable,
        *('-m', 'tools.reproduce', f'--plan={folder}/plan.gin', f'--output_dir={folder}/out'),
        *arguments,
    ]


def environment():
    return {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2', 'CUDA_VISIBLE_DEVICES': ''}


def run(folder, *arguments):
    done = subprocess.run(
        command(folder, *arguments),
        check=False,
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stdout


def wait_for(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it did not come'
        time.sleep(0.02)


@pytest.fixture(scope='module')
def killed_and_run_again(tmp_path_factory):
    """Killed while the first trained encoder is evaluated, then run to the end."""
    folder = tmp_path_factory.mktemp('reproduction')
    write_plan(folder)
    rows = folder / 'out' / 'rows'
    with subprocess.Popen(
        command(folder),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as first:
        wait_for((rows / 'tiny/seed-0/scenes.log').exists)
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
    learner, step = training.learner_of_run(str(folder / 'out/rows/tiny/seed-0/train'))
    assert (learner.temperature, step) == (0.06, 3)


def test_the_list_tells_how_parts_stand(killed_and_run_again):
    folder, _, _, _ = killed_and_run_again
    status, output = run(folder, '--list')
    assert status == 0
    assert 'untrained, seed 1: scenes: finished' in output
    assert 'broken, seed 0: train: failed' in output
    assert 'broken, seed 0: scenes: not run' in output
    assert f'--model_dir={folder}/out/rows/broken/seed-0/train' in output


def test_other_settings_are_refused_with_what_differs(killed_and_run_again):
    folder, _, _, _ = killed_and_run_again
    watched = [folder / 'out/rows/tiny/seed-0/train.json', folder / 'out/results.json']
    before = [path.read_bytes() for path in watched]
    status, output = run(folder, '--gin_bindings=train.steps = 4')
    assert status == 1
    assert '-train.steps = 3; +train.steps = 4' in output and '--output_dir' in output
    assert [path.read_bytes() for path in watched] == before


def python_part(folder, name, code, **changes):
    """A part whose command is a line of Python."""
    settings = {
        'row': name,
        'seed': 0,
        'kind': parts.TRAIN,
        'arguments': ('-c', code),
        'folder': folder / name / parts.TRAIN,
        'made_with': {'data': None, 'configuration': 'train.steps = 3'},
        'model': None,
        'needs': None,
        'minutes': 2.0,
        **changes,
    }
    (folder / name).mkdir(parents=True, exist_ok=True)
    return parts.Part(**settings)


def making(path, more=''):
    return f'import pathlib; pathlib.Path({str(path)!r}).mkdir(parents=True, exist_ok=True); {more}'


def run_parts(tmp_path, found):
    return running.run_all(found, [p.name for p in found], tmp_path, str(ROOT), lambda _: None)


def test_the_status_of_commands_is_the_state_of_parts(tmp_path):
    good = python_part(tmp_path, 'good', making(tmp_path / 'good/train/saved_model'))
    bad = python_part(tmp_path, 'bad', "import sys; print('why it failed'); sys.exit(3)")
    killed = python_part(tmp_path, 'killed', 'import os; os.kill(os.getpid(), 9)')
    needing = python_part(tmp_path, 'x', 'assert False', kind='scenes', needs=bad.name)
    outcomes, stopped_by = run_parts(tmp_path, [good, bad, killed, needing])
    assert stopped_by == 0
    states = [outcomes[part.name].state for part in (good, bad, killed, needing)]
    assert states == ['finished', 'failed', 'failed', 'not run']
    assert 'status 3' in outcomes[bad.name].why and 'why it failed' in outcomes[bad.name].why
    assert 'SIGKILL' in outcomes[killed.name].why
    assert running.outcomes_on_disk([good, bad, killed, needing]) == outcomes


def test_a_command_that_leaves_no_result_is_not_finished(tmp_path):
    part = python_part(tmp_path, 'empty', 'pass')
    run_parts(tmp_path, [part])
    assert running.outcomes_on_disk([part])[part.name].state == 'not run'


def test_what_is_left_is_estimated_from_what_was_measured(tmp_path):
    code = making(tmp_path / 'a/train/saved_model')
    first = python_part(tmp_path, 'a', code)
    second = python_part(tmp_path, 'b', code)
    waiting = {part.name: running.Outcome('not run') for part in (first, second)}
    assert running.seconds_left([first, second], waiting) == 240
    one_done = {**waiting, first.name: running.Outcome('finished', 30.0)}
    assert running.seconds_left([first, second], one_done) == 30


def test_sigterm_reaches_the_command_and_ends_the_program(tmp_path):
    ready = tmp_path / 'ready'
    code = (
        'import pathlib, signal, sys, time\n'
        'signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n'
        f'pathlib.Path({str(ready)!r}).touch(); time.sleep(60)'
    )
    slow = python_part(tmp_path, 'slow', code)
    later = python_part(tmp_path, 'later', 'assert False')

    def stop():
        wait_for(ready.exists, 60)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    outcomes, stopped_by = run_parts(tmp_path, [slow, later])
    thread.join()
    assert stopped_by == signal.SIGTERM
    assert [outcomes[part.name].state for part in (slow, later)] == ['not run', 'not run']
    assert not later.log.exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_folder_stays_locked_while_a_command_outlives_its_program(tmp_path):
    ready, go = tmp_path / 'ready', tmp_path / 'go'
    code = (
        f'import pathlib, time; pathlib.Path({str(ready)!r}).touch()\n'
        f'while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.02)'
    )
    script = (
        'import pathlib, sys; sys.path.insert(0, sys.argv[1]); import test_reproduce as t; '
        f't.run_parts(pathlib.Path({str(tmp_path)!r}), '
        f't.python_part(pathlib.Path({str(tmp_path)!r}), "a", {code!r}) and '
        f'[t.python_part(pathlib.Path({str(tmp_path)!r}), "a", {code!r})])'
    )
    program = subprocess.Popen(
        [sys.executable, '-c', script, str(ROOT / 'tests')],
        cwd=ROOT,
        env={**environment(), 'PYTHONPATH': str(ROOT)},
    )
    wait_for(ready.exists, 120)
    program.kill()
    program.wait()
    with open(tmp_path / 'lock', 'w') as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        go.touch()
        fcntl.flock(lock, fcntl.LOCK_EX)  # as soon as the command has ended


def table_of(tmp_path, figures_by_row):
    """A table of hand-made results: row -> the figure of each seed, None where the part failed."""
    benchmark = plans.Benchmark('synthetic', ['J-Mean'])
    plan = plans.Plan({f'{row}.gin': () for row in figures_by_row}, {'scenes': benchmark})
    found, outcomes = [], {}
    for row, values in figures_by_row.items():
        for seed, value in enumerate(values):
            part = python_part(tmp_path, f'{row}{seed}', '', row=row, seed=seed, kind='scenes')
            part.folder.mkdir()
            part.result.write_text(json.dumps({'metrics': {'J-Mean': value}}))
            state = 'failed' if value is None else 'finished'
            outcomes[part.name] = running.Outcome(state, why='no memory')
            found.append(part)
    results.write_table(plan, found, outcomes, tmp_path)
    return (
        json.loads((tmp_path / 'results.json').read_text()),
        (tmp_path / 'results.md').read_text(),
    )


def test_mean_and_spread_over_seeds_by_hand(tmp_path):
    table, text = table_of(tmp_path, {'a': [0.5, 0.6, 0.7], 'b': [0.25], 'c': [0.1, None]})
    figure = table['rows']['a']['figures']['scenes J-Mean']
    np.testing.assert_allclose(figure['mean'], 0.6)
    np.testing.assert_allclose(figure['spread'], (0.02 / 2) ** 0.5)
    assert table['rows']['b']['figures']['scenes J-Mean']['spread'] is None
    lines = {line.split('`')[1]: line for line in text.splitlines() if line.startswith('| `')}
    assert '| 60.0 ± 10.0 |' in lines['a'] and '| 3 |' in lines['a']
    assert '| 25.0 |' in lines['b']
    assert '| 1 of 2 |' in lines['c'] and '| 10.0 |' in lines['c']
    assert 'c, seed 1: scenes: no memory' in text


@pytest.mark.parametrize('undefined', ['null', 'NaN'])
def test_undefined_figures_are_left_out_and_called_so(tmp_path, undefined):
    table_of(tmp_path, {'a': [0.0, 0.0], 'b': [0.0, 0.5, 0.7]})
    plan = plans.Plan(
        {'a.gin': (), 'b.gin': ()}, {'scenes': plans.Benchmark('synthetic', ['J-Mean'])}
    )
    found = [
        python_part(tmp_path, f'{row}{seed}', '', row=row, seed=seed, kind='scenes')
        for row, seed in (('a', 0), ('a', 1), ('b', 0), ('b', 1), ('b', 2))
    ]
    for part in found[:3]:
        part.result.write_text(f'{{"metrics": {{"J-Mean": {undefined}}}}}')
    outcomes = {part.name: running.Outcome('finished') for part in found}
    results.write_table(plan, found, outcomes, tmp_path)
    text = (tmp_path / 'results.json').read_text()
    rows = json.loads(text, parse_constant=pytest.fail)['rows']
    assert rows['a'] == {'seeds': [0, 1], 'figures': {}, 'missing': {'scenes J-Mean': 'undefined'}}
    np.testing.assert_allclose(rows['b']['figures']['scenes J-Mean']['mean'], 0.6)
    markdown = (tmp_path / 'results.md').read_text()
    assert '| undefined |' in markdown and '| 2 of 3 | 60.0 ± 14.1 |' in markdown


def test_affinities_of_a_size_at_several_temperatures_have_names_of_their_own():
    names = drawing.affinity_names([(48, 0.05), (64, 0.05), (64, 0.07)])
    assert names == {
        (48, 0.05): 'affinity_48.png',
        (64, 0.05): 'affinity_64_temperature_0.05.png',
        (64, 0.07): 'affinity_64_temperature_0.07.png',
    }


def test_a_figure_of_fewer_seeds_than_its_row_says_so(tmp_path):
    benchmark = plans.Benchmark('synthetic', ['J-Mean'])
    plan = plans.Plan({'a.gin': ()}, {'some': benchmark, 'all': benchmark})
    found, outcomes = [], {}
    for kind, seed, state in (('some', 0, 'finished'), ('some', 1, 'not run'), ('all', 0, 'finished'),
                              ('all', 1, 'finished'), ('all', 2, 'failed')):
        part = python_part(tmp_path, f'{kind}{seed}', '', row='a', seed=seed, kind=kind)
        part = dataclasses.replace(part, folder=tmp_path / f'{kind}{seed}' / kind)
        part.folder.mkdir()
        part.result.write_text('{"metrics": {"J-Mean": 0.5}}')
        outcomes[part.name] = running.Outcome(state)
        found.append(part)
    results.write_table(plan, found, outcomes, tmp_path)
    text = (tmp_path / 'results.md').read_text()
    assert '| `a` | 2 of 3 | 50.0 (1 of 2 seeds) | 50.0 ± 0.0 |' in text


def test_machines_share_a_table(tmp_path):
    def scored(folder, seed, value, recipe='as planned'):
        changes = {'row': 'a', 'seed': seed, 'kind': 'scenes', 'recipe': recipe}
        part = python_part(folder, f'a{seed}', '', **changes)
        part.folder.mkdir()
        if value is not None:
            part.result.write_text(json.dumps({'metrics': {'J-Mean': value}}))
        return part

    plan = plans.Plan({'a.gin': ()}, {'scenes': plans.Benchmark('synthetic', ['J-Mean'])})
    there, here = tmp_path / 'there', tmp_path / 'here'
    first = [scored(there, 0, 0.5), scored(there, 1, 0.75), scored(there, 2, None)]
    states = ['finished', 'finished', 'not run']
    outcomes = {part.name: running.Outcome(state) for part, state in zip(first, states)}
    results.write_table(plan, first, outcomes, there)

    second = [scored(here, 0, 0.25), scored(here, 1, None), scored(here, 2, None)]
    joined = results.read_joined([str(there / 'results.json')], second)
    assert list(joined) == [part.name for part in second[:2]]
    assert results.left_to_run(second, joined) == [second[2]]
    states = ['finished', 'not run', 'failed']
    outcomes = {part.name: running.Outcome(state) for part, state in zip(second, states)}
    results.write_table(plan, second, outcomes, here, joined)
    table = json.loads((here / 'results.json').read_text())
    # What was found here goes before; seed 1 is taken over; seed 2 is nowhere.
    found = table['rows']['a']['figures']['scenes J-Mean']
    assert found['by_seed'] == {'0': 0.25, '1': 0.75} and found['mean'] == 0.5
    assert table['not_run'] == [] and list(table['failed']) == [second[2].name]
    assert set(table['machines']) == {part.name for part in second[:2]}
    again = results.read_joined([str(here / 'results.json')], second)
    assert again[second[1].name].figures == {'scenes J-Mean': 0.75}

    other = scored(tmp_path / 'other', 0, 0.5, recipe='other settings')
    with pytest.raises(errors.UserError, match='seed 0: scenes was run there with other settings'):
        results.read_joined([str(there / 'results.json')], [other])
    (tmp_path / 'empty.json').write_text('{}')
    for path in ('empty.json', 'absent.json'):
        with pytest.raises(errors.UserError, match=f'{path} is not the results.json'):
            results.read_joined([str(tmp_path / path)], second)


def test_a_model_is_made_where_something_is_left_to_evaluate(tmp_path):
    plan = plans.read_plan(write_plan(tmp_path))
    found = [part for part in all_parts(tmp_path, plan) if part.row == 'tiny']
    train, scenes = found
    assert results.left_to_run(found, [train.name]) == found
    assert results.left_to_run(found, [scenes.name]) == [train]
    assert results.left_to_run(found, [train.name, scenes.name]) == []


def test_recipes_tell_settings_and_not_places(tmp_path):
    plan = plans.read_plan(write_plan(tmp_path))

    def recipes(folder, plan):
        (folder / 'out').mkdir(parents=True, exist_ok=True)
        return {part.name: part.recipe for part in all_parts(folder, plan)}

    before = recipes(tmp_path, plan)
    assert len(set(before.values())) == len(before)
    moved = tmp_path / 'elsewhere'
    moved.mkdir()
    assert recipes(moved, plans.read_plan(write_plan(moved))) == before
    changed = plans.read_plan(write_plan(moved, PLAN.replace('scenes = 2', 'scenes = 3')))
    assert {name for name, recipe in recipes(moved, changed).items() if recipe != before[name]} == {
        name for name in before if 'scenes' in name
    }
    plan = plans.read_plan(write_plan(moved))
    (moved / 'tiny.gin').write_text(TINY + 'Learner.temperature = 0.1\n')
    now = recipes(moved, plan)
    changed = {name for name, recipe in now.items() if recipe != before[name]}
    assert changed == {name for name in before if name[:4] in ('tiny', 'brok')}


def test_a_figure_that_is_not_there_is_named(tmp_path):
    part = python_part(tmp_path, 'a', '', kind='scenes')
    part.folder.mkdir()
    part.result.write_text(json.dumps({'metrics': {'J-Mean': 0.5}}))
    plan = plans.Plan({}, {'scenes': plans.Benchmark('synthetic', ['J'])})
    with pytest.raises(errors.UserError, match="no 'J', only J-Mean"):
        results.write_table(plan, [part], {part.name: running.Outcome('finished')}, tmp_path)


def test_a_drawing_of_nothing_is_nothing(tmp_path):
    drawing.draw([], {}, None, tmp_path)
    assert not list(tmp_path.iterdir())


def test_rows_are_drawn_by_their_first_seeds_in_the_order_of_the_plan(tmp_path):
    order = [('fc3', 0), ('stfc3', 0), ('ablation', 2), ('fc3', 1), ('stfc3', 1)]
    runs = [python_part(tmp_path, f'{row}-{seed}', '', row=row, seed=seed) for row, seed in order]
    assert list(drawing.first_seeds(runs).items()) == [
        ('fc3', str(tmp_path / 'fc3-0/train')),
        ('stfc3', str(tmp_path / 'stfc3-0/train')),
        ('ablation', str(tmp_path / 'ablation-2/train')),
    ]


def all_parts(tmp_path, plan, saved_models=None):
    places = parts.Places(None, str(tmp_path), tmp_path / 'out', ROOT / 'gin/eval')
    return parts.all_parts(plan, places, saved_models=saved_models)


def test_first_seeds_of_all_rows_come_first_and_evaluations_after_their_training(tmp_path):
    plan = plans.read_plan(
        write_plan(tmp_path, PLAN.replace("'tiny.gin': (0,)", "'tiny.gin': (0, 5)"))
    )
    names = [part.name for part in all_parts(tmp_path, plan)]
    assert names == [
        'untrained, seed 0: scenes',
        'tiny, seed 0: train',
        'tiny, seed 0: scenes',
        'broken, seed 0: train',
        'broken, seed 0: scenes',
        'untrained, seed 1: scenes',
        'tiny, seed 5: train',
        'tiny, seed 5: scenes',
    ]


def test_an_encoder_trained_elsewhere_is_a_row_of_evaluations(tmp_path):
    plan = plans.read_plan(write_plan(tmp_path))
    model = tmp_path / 'given'
    model.mkdir()
    (model / 'saved_model.pb').write_bytes(b'one')
    (part,) = [p for p in all_parts(tmp_path, plan, {'large': str(model)}) if p.row == 'large']
    assert part.name == 'large: scenes' and f'--saved_model={model}' in part.arguments
    before = part.settings()
    (model / 'saved_model.pb').write_bytes(b'another')
    assert part.settings() != before
    with pytest.raises(errors.UserError, match='has a row tiny already'):
        all_parts(tmp_path, plan, {'tiny': str(model)})


def test_comments_are_no_settings_but_values_are(tmp_path):
    write_plan(tmp_path)
    text = plans.configuration_text([str(tmp_path / 'tiny.gin')], ['SEED = 1'])
    (tmp_path / 'tiny.gin').write_text('# gave a lot\n' + TINY)
    assert plans.configuration_text([str(tmp_path / 'tiny.gin')], ['SEED = 1']) == text
    assert plans.configuration_text([str(tmp_path / 'tiny.gin')], ['SEED = 2']) != text


@pytest.mark.parametrize(
    'change,named',
    [
        (("'tiny.gin'", "'absent.gin'"), 'absent.gin'),
        (("'tiny.gin': (0,)", "'tiny.gin': ()"), 'seeds'),
        (("'synthetic'", "'sythetic'"), 'sythetic'),
        (("{'untrained':", "{'tiny':"), 'two rows are called tiny'),
        (('scenes = 2', 'sceens = 2'), 'sceens'),
        (('Plan.published', 'Plan.publisht'), 'publisht'),
        (("Baseline.baseline = 'random'", "Baseline.baseline = 'colour'"), 'colour draws nothing'),
        (("untrained/Baseline.baseline = 'random'", ''), 'baseline'),
    ],
)
def test_mistakes_in_a_plan_are_named_before_anything_runs(tmp_path, change, named):
    path = write_plan(tmp_path, PLAN.replace(*change))
    with pytest.raises(errors.UserError, match=named):
        all_parts(tmp_path, plans.read_plan(path))


def test_data_and_models_that_are_not_there_are_named_before_anything_runs(tmp_path):
    path = write_plan(tmp_path, PLAN + "scenes/Benchmark.data_dir = 'absent'\n")
    with pytest.raises(errors.UserError, match='absent.*--benchmarks'):
        all_parts(tmp_path, plans.read_plan(path))
    plan = plans.read_plan(write_plan(tmp_path))
    with pytest.raises(errors.UserError, match='--saved_model=given='):
        all_parts(tmp_path, plan, {'given': str(tmp_path)})
    with pytest.raises(errors.UserError, match='no nothing, only scenes'):
        plans.with_benchmarks(plan, ['nothing'])
