"""The table: mean and spread, what is missing, and results of other machines."""

import dataclasses
import json

import numpy as np
import pytest
from small_reproduction import (
    ROOT,
    all_parts,
    python_part,
    write_plan,
)

from stfc3_tf import errors
from stfc3_tf.reproduction import parts as parts_lib
from stfc3_tf.reproduction import plan as plans
from stfc3_tf.reproduction import results, running


def table_of(tmp_path, figures_by_row):
    """Return a hand-made table: row -> the figure of each seed, None where the part failed."""
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
def test_undefined_figures_are_left_out_and_listed_as_missing(tmp_path, undefined):
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
    assert rows['a']['figures'] == rows['a']['sequences'] == {}
    assert rows['a']['missing'] == {'scenes J-Mean': 'undefined'}
    np.testing.assert_allclose(rows['b']['figures']['scenes J-Mean']['mean'], 0.6)
    markdown = (tmp_path / 'results.md').read_text()
    assert '| undefined |' in markdown and '| 2 of 3 | 60.0 ± 14.1 |' in markdown


def test_a_figure_of_fewer_seeds_than_its_row_says_so(tmp_path):
    benchmark = plans.Benchmark('synthetic', ['J-Mean'])
    plan = plans.Plan({'a.gin': ()}, {'some': benchmark, 'all': benchmark})
    found, outcomes = [], {}
    for kind, seed, state in (
        ('some', 0, 'finished'),
        ('some', 1, 'not run'),
        ('all', 0, 'finished'),
        ('all', 1, 'finished'),
        ('all', 2, 'failed'),
    ):
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

    del table['machines'][second[0].name]
    (tmp_path / 'cut.json').write_text(json.dumps(table))
    with pytest.raises(
        errors.UserError, match='cut.json: what it says of a, seed 0: .* is not complete'
    ):
        results.read_joined([str(tmp_path / 'cut.json')], second)
    other = scored(tmp_path / 'other', 0, 0.5, recipe='other settings')
    with pytest.raises(errors.UserError, match='seed 0: scenes was run there with other settings'):
        results.read_joined([str(there / 'results.json')], [other])
    (tmp_path / 'empty.json').write_text('{}')
    for path in ('empty.json', 'absent.json'):
        with pytest.raises(errors.UserError, match=f'--join: .*{path}'):
            results.read_joined([str(tmp_path / path)], second)


def test_the_loss_of_a_run_is_the_mean_over_its_last_tenth():
    steps = np.arange(5, 101, 5)
    values = np.where(steps > 90, steps, 1000.0)
    assert results._last_tenth(steps, values) == (95 + 100) / 2


def test_a_model_is_made_where_something_is_left_to_evaluate(tmp_path):
    plan = plans.read_plan(write_plan(tmp_path))
    found = [part for part in all_parts(tmp_path, plan) if part.row == 'tiny']
    train, scenes = found
    assert results.left_to_run(found, [train.name]) == found
    assert results.left_to_run(found, [scenes.name]) == [train]
    assert results.left_to_run(found, [train.name, scenes.name]) == []


def test_a_missing_figure_is_named(tmp_path):
    part = python_part(tmp_path, 'a', '', kind='scenes')
    part.folder.mkdir()
    part.result.write_text(json.dumps({'metrics': {'J-Mean': 0.5}}))
    plan = plans.Plan({}, {'scenes': plans.Benchmark('synthetic', ['J'])})
    with pytest.raises(errors.UserError, match="no 'J', only J-Mean"):
        results.write_table(plan, [part], {part.name: running.Outcome('finished')}, tmp_path)


@pytest.mark.parametrize(
    'table, bindings', [('small.json', []), ('small_400.json', ['STEPS = 400'])]
)
def test_published_tables_fit_the_plan_that_is_published(tmp_path, table, bindings):
    """The commands of docs/results_appendix.md; a protocol that changes must not break them."""
    plan = plans.read_plan(str(ROOT / 'gin/small/reproduce.gin'))
    for benchmark in plan.benchmarks.values():
        for folder in filter(None, [benchmark.data_dir, *benchmark.folders.values()]):
            (tmp_path / folder).mkdir(exist_ok=True, parents=True)
    places = parts_lib.Places('clips', str(tmp_path), tmp_path / 'out', ROOT / 'gin/eval')
    bindings = ["PRECISION = 'mixed_bfloat16'", *bindings]
    parts = parts_lib.all_parts(plan, places, bindings)
    path = ROOT / 'docs/results' / table
    joined = results.read_joined([str(path)], parts)
    assert set(joined) == set(json.loads(path.read_text())['recipes'])

    other = dataclasses.replace(plan.benchmarks['davis'], bindings=['Davis.year = 2017'])
    plan = dataclasses.replace(plan, benchmarks={**plan.benchmarks, 'davis': other})
    with pytest.raises(errors.UserError, match='with other settings'):
        results.read_joined([str(path)], parts_lib.all_parts(plan, places, bindings))
