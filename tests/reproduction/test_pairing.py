"""Paired differences by hand, and in the files of the table."""

import csv
import json

import pytest
from small_reproduction import python_part

from stfc3_tf import errors
from stfc3_tf.reproduction import pairing, results, running
from stfc3_tf.reproduction import plan as plans


def test_a_pair_is_of_one_sequence_and_one_seed():
    row = {'0': {'dog': 0.5, 'cows': 0.25}, '1': {'dog': 0.75}, '3': {'dog': 9.0}}
    reference = {'0': {'dog': 0.25, 'cows': 0.5, 'libby': 1.0}, '1': {'dog': 0.25}, '2': {'dog': 7}}
    paired = pairing.differences(row, reference)
    assert paired == {'0': {'dog': 0.25, 'cows': -0.25}, '1': {'dog': 0.5}}
    found = pairing.summary(paired)
    assert found['by_seed'] == {'0': 0.0, '1': 0.5} and found['mean'] == 0.25
    assert found['spread'] == pytest.approx(0.125**0.5) and found['higher'] == 1
    assert found['sequences']['dog']['mean'] == 0.375
    assert found['sequences']['dog']['spread'] == pytest.approx(0.03125**0.5)
    assert found['sequences']['cows']['spread'] is None


def test_a_row_without_a_seed_meets_every_seed():
    reference = {'0': {'dog': 0.5}, '1': {'dog': 0.25}}
    copied = {'None': {'dog': 0.25}}
    assert pairing.differences(copied, reference) == {'0': {'dog': -0.25}, '1': {'dog': 0.0}}
    assert pairing.differences(reference, copied) == {'0': {'dog': 0.25}, '1': {'dog': 0.0}}
    assert pairing.differences(copied, {'None': {'dog': 0.0}}) == {'None': {'dog': 0.25}}
    assert pairing.differences(copied, {'0': {'dog': 0.0}}) == {'0': {'dog': 0.25}}


def scored(folder, row, seed, sequences):
    part = python_part(folder, f'{row}{seed}', '', row=row, seed=seed, kind='scenes')
    part.folder.mkdir()
    records = {name: {'metrics': {'J-Mean': value}} for name, value in sequences.items()}
    # The figure of the whole data set need not be the mean over its sequences.
    whole = {'metrics': {'J-Mean': 0.5}, 'sequences': records}
    part.result.write_text(json.dumps(whole))
    return part


def test_the_table_holds_the_differences_to_its_reference(tmp_path):
    benchmark = plans.Benchmark('synthetic', ['J-Mean'])
    plan = plans.Plan({'a.gin': (), 'b.gin': ()}, {'scenes': benchmark}, reference='b')
    here, there = tmp_path / 'here', tmp_path / 'there'
    first = [scored(there, 'b', 0, {'x': 0.5, 'y': 0.5}), scored(there, 'b', 1, {'x': 0.4, 'y': 0})]
    outcomes = {part.name: running.Outcome('finished') for part in first}
    results.write_table(plan, first, outcomes, there)
    # The reference was run on another machine; y is not defined for seed 1 of a.
    second = [
        scored(here, 'a', 0, {'x': 0.75, 'y': 0.25}),
        scored(here, 'a', 1, {'x': 0.5, 'y': None}),
        *(python_part(here, f'b{seed}', '', row='b', seed=seed, kind='scenes') for seed in (0, 1)),
    ]
    joined = results.read_joined([str(there / 'results.json')], second)
    states = ['finished', 'finished', 'not run', 'not run']
    outcomes = {part.name: running.Outcome(state) for part, state in zip(second, states)}
    results.write_table(plan, second, outcomes, here, joined)
    table = json.loads((here / 'results.json').read_text())
    assert list(table['paired']) == ['a']
    found = table['paired']['a']['scenes J-Mean']
    assert found['by_seed'] == pytest.approx({'0': 0.0, '1': 0.1})
    assert found['sequences']['x']['by_seed'] == pytest.approx({'0': 0.25, '1': 0.1})
    assert found['sequences']['y']['by_seed'] == pytest.approx({'0': -0.25})
    text = (here / 'results.md').read_text()
    assert '| minus `b` | scenes J-Mean |' in text and '| `a` | +5.0 ± 7.1 (1 of 2) |' in text
    with open(here / 'paired.csv') as file:
        rows = {line['sequence']: line for line in csv.DictReader(file)}
    assert float(rows['x']['mean']) == pytest.approx(0.175) and rows['x']['seeds'] == '2'
    assert rows['y']['spread'] == '' and rows['y']['minus'] == 'b'


def test_results_without_sequences_give_no_differences(tmp_path):
    part = python_part(tmp_path, 'a0', '', row='a', seed=0, kind='scenes')
    part.folder.mkdir()
    part.result.write_text('{"metrics": {"J-Mean": 0.5}}')
    benchmark = plans.Benchmark('synthetic', ['J-Mean'])
    plan = plans.Plan({'a.gin': (), 'b.gin': ()}, {'scenes': benchmark}, reference='b')
    results.write_table(plan, [part], {part.name: running.Outcome('finished')}, tmp_path)
    assert json.loads((tmp_path / 'results.json').read_text())['paired'] == {}
    assert 'minus' not in (tmp_path / 'results.md').read_text()


def test_a_reference_that_is_no_row_is_refused(tmp_path):
    path = tmp_path / 'plan.gin'
    path.write_text(
        "Plan.configurations = {'a.gin': (0,)}\nPlan.benchmarks = {'s': @Benchmark()}\n"
        "Benchmark.task = 'synthetic'\nBenchmark.figures = ['J-Mean']\nPlan.reference = 'b'\n"
    )
    with pytest.raises(errors.UserError, match="reference = 'b' is not a row: choose one of a"):
        plans.read_plan(str(path))
