"""The parts of a plan: order, recipes, and mistakes that are found before anything runs."""

import json
import shutil

import pytest
from small_reproduction import (
    PLAN,
    ROOT,
    TINY,
    all_parts,
    write_plan,
)

from stfc3_tf import errors
from stfc3_tf.reproduction import plan as plans
from stfc3_tf.serving import shipped


def work_of(part):
    (argument,) = [text for text in part.arguments if text.startswith('--work=')]
    return json.loads(argument.removeprefix('--work='))


def test_what_a_child_is_asked_to_do_is_what_the_plan_says(tmp_path):
    text = PLAN + "scenes/Benchmark.sequences = ['scene-001']\n"
    plan = plans.read_plan(write_plan(tmp_path, text))
    work = {part.name: work_of(part) for part in all_parts(tmp_path, plan)}
    folder = tmp_path / 'out/rows/tiny/seed-0'
    assert work['tiny, seed 0: train'] == {
        'train': {
            'gin_file': f'{tmp_path}/tiny.gin',
            'gin_bindings': ['SEED = 0'],
            'data': None,
            'model_dir': f'{folder}/train',
        }
    }
    trained, untrained = (
        work[f'{row}, seed 0: scenes']['evaluate'] for row in ('tiny', 'untrained')
    )
    assert trained['task'] == 'synthetic' and trained['sequences'] == ['scene-001']
    assert trained['saved_model'] == f'{folder}/train/saved_model'
    assert trained['output_dir'] == f'{folder}/scenes' and trained['baseline'] is None
    assert trained['gin_files'] == [str(ROOT / 'gin/eval/synthetic.gin')]
    assert untrained['baseline'] == 'random' and untrained['saved_model'] is None
    added = set(untrained['gin_bindings']) - set(trained['gin_bindings'])
    assert added == {'resnet18.width = 4', 'RandomFeatures.seed = 0'}


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
    assert part.name == 'large: scenes'
    assert work_of(part)['evaluate']['saved_model'] == str(model)
    before = part.settings()
    (model / 'saved_model.pb').write_bytes(b'another')
    assert part.settings() != before
    with pytest.raises(errors.UserError, match='already has a row tiny'):
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
        (("Baseline.baseline = 'random'", "Baseline.baseline = 'colour'"), 'colour is not random'),
        (("untrained/Baseline.baseline = 'random'", ''), 'baseline'),
        (("Baseline.baseline = 'random'", "Baseline.baseline = 'rondom'"), 'rondom'),
    ],
)
def test_mistakes_in_a_plan_are_named_before_anything_runs(tmp_path, change, named):
    path = write_plan(tmp_path, PLAN.replace(*change))
    with pytest.raises(errors.UserError, match=named):
        all_parts(tmp_path, plans.read_plan(path))


def test_a_row_of_the_encoder_in_the_package_follows_its_weights(tmp_path):
    plan = plans.read_plan(write_plan(tmp_path))
    folder = tmp_path / 'compact'
    shutil.copytree(shipped.folder('stfc3-small'), folder)
    part = next(p for p in all_parts(tmp_path, plan, {'given': str(folder)}) if p.row == 'given')
    assert work_of(part)['evaluate']['saved_model'] == str(folder)
    for name in ('weights.npz', 'stfc3.json'):
        before = part.settings()
        (folder / name).write_bytes((folder / name).read_bytes() + b' ')
        assert part.settings() != before


def test_data_and_models_that_are_not_there_are_named_before_anything_runs(tmp_path):
    path = write_plan(tmp_path, PLAN + "scenes/Benchmark.data_dir = 'absent'\n")
    with pytest.raises(errors.UserError, match='absent.*--benchmarks'):
        all_parts(tmp_path, plans.read_plan(path))
    plan = plans.read_plan(write_plan(tmp_path))
    with pytest.raises(errors.UserError, match='--saved_model=given: .* neither'):
        all_parts(tmp_path, plan, {'given': str(tmp_path)})
    with pytest.raises(errors.UserError, match='no benchmark nothing; it has scenes'):
        plans.with_benchmarks(plan, ['nothing'])
