"""Every shipped training configuration takes a step; mistakes in configurations are named."""

import pathlib

import gin
import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf import clips, errors
from stfc3_tf.benchmarks import held_out_score
from stfc3_tf.commands import configuration
from stfc3_tf.model import resnet
from stfc3_tf.reproduction import plan as reproduction_plan
from stfc3_tf.training import input_pipeline
from stfc3_tf.training import settings as train_settings  # noqa: F401
from stfc3_tf.views import colour

ROOT = pathlib.Path(__file__).parents[2]
PLAN = ROOT / 'gin/small/reproduce.gin'
TRAINING_FILES = sorted(
    p
    for p in (ROOT / 'gin').rglob('*.gin')
    if 'eval' not in p.relative_to(ROOT).parts and p != PLAN
)
SMALL = ['resnet18.width = 4', 'resnet18.head_widths = (8, 6)', 'train.batch_size = 1']


def test_all_files_are_found():
    assert len(TRAINING_FILES) >= 32


def parse(path, *bindings):
    configuration.parse_gin([str(path)], [*SMALL, *bindings])
    return gin.get_bindings('train')


def view_size(path):
    """Return a small view size; valid convolutions need room for their borders."""
    return 256 if 'nopad' in path.name else 64


def training_files():
    """Each file as a case; those that differ from others in little are slow ones."""
    for path in TRAINING_FILES:
        name = str(path.relative_to(ROOT / 'gin'))
        fast = name in ('stfc3.gin', 'fc3_zero.gin', 'small/crw.gin', 'quickstart.gin')
        yield pytest.param(path, id=name, marks=() if fast else pytest.mark.slow)


@pytest.mark.parametrize('path', list(training_files()))
def test_configuration_builds_and_steps_once(path):
    if 'keras_cv' in path.name:
        pytest.importorskip('keras_cv')
    settings = parse(path, f'ViewSampler.view_size = {view_size(path)}')
    learner = settings['learner'](settings['encoder']())
    learner.compile(settings['optimizer'](), settings['clip_frames'])
    stream = input_pipeline.ClipStream(
        settings['clip_frames'],
        settings['frame_rate'],
        settings['clips_per_video'],
        settings['seed'],
        clips.SkippedVideos(),
    )
    dataset = stream.batches(
        clips.open_source(None), settings['view_sampler'], 1, 0, tf.distribute.InputContext()
    )
    batch = next(iter(dataset))
    before = [v.numpy() for v in learner.encoder.trainable_variables]
    result = learner.train_step(batch)
    assert np.isfinite(float(result['loss'])) and float(result['skipped_steps']) == 0
    assert any(np.any(a != b.numpy()) for a, b in zip(before, learner.encoder.trainable_variables))
    if gin.get_bindings('monitor.watch')['held_out_score'] is not None:
        # A run takes the score before its first step: its scenes must be large enough.
        scenes = held_out_score.held_out_benchmark(1, 2)
        frames = np.zeros([1, scenes.height, scenes.width, 3], np.uint8)
        features = resnet.unit_features(learner.encoder, frames, 'stage3')
        assert min(features.shape) > 0


def test_small_rows_differ_from_their_base_in_what_their_names_say():
    small = ROOT / 'gin/small'
    base = set(reproduction_plan.configuration_text([str(small / 'base.gin')], []).splitlines())
    allowed = {
        'fc3': {'ViewSampler.tracks', 'ViewSampler.colours', 'resnet18.padding'},
        'stfc3': set(),
        'stfc3_colour': {'ViewSampler.colours'},
        'shipped': {'STEPS'},
        'stfc3_released_warp': {'Learner.warp_convention'},
        'label_warp': {'Learner.warp'},
        'still_images': {'train.clip_frames', 'train.still_pictures', 'train.batch_size'},
        'crw': {
            *('train.learner', 'train.view_sampler', 'resnet18.head_widths'),
            *('CROP_AREA', 'PATCH_SIZE', 'PATCH_STRIDE'),
            'CosineDecay.initial_learning_rate',
        },
        'crop_area': {'CROP_AREA'},
        'fc3_nopad': {
            *('ViewSampler.tracks', 'ViewSampler.colours', 'resnet18.padding'),
            *('ViewSampler.view_size', 'train.batch_size', 'watch.held_out_score'),
        },
    }
    for path in small.glob('*.gin'):
        if path in (PLAN, small / 'base.gin'):
            continue
        row = set(reproduction_plan.configuration_text([str(path)], []).splitlines())
        changed = {line.split(' = ')[0] for line in row ^ base if ' = ' in line}
        # Parts that only CRW has.
        changed = {name for name in changed if not name.startswith('Patch')}
        family = path.stem if path.stem in allowed else path.stem.rpartition('_')[0]
        assert changed <= allowed[family], path.name


def test_the_plan_names_the_small_rows_and_the_width_of_their_base():
    plan = reproduction_plan.read_plan(str(PLAN))
    rows = {pathlib.Path(file).name for file in plan.configurations}
    files = {path.name for path in PLAN.parent.glob('*.gin')}
    assert rows == files - {'base.gin', 'reproduce.gin', 'crop_area_008.gin', 'shipped.gin'}
    assert set(plan.published) <= {pathlib.Path(file).stem for file in plan.configurations}
    configuration.parse_gin([str(PLAN.parent / 'base.gin')], [])
    width = gin.query_parameter('resnet18.width')
    assert list(plan.baselines['random'].bindings) == [f'resnet18.width = {width}']


def test_the_papers_settings():
    configuration.parse_gin([str(ROOT / 'gin' / 'stfc3.gin')], [])
    settings = gin.get_bindings('train', resolve_references=False)
    assert settings['batch_size'] == 64 and settings['clip_frames'] == 4
    assert gin.query_parameter('Learner.temperature') == 0.05
    assert gin.query_parameter('%LEARNING_RATE') == 1e-4
    assert gin.query_parameter('resnet18.head_widths') == (2048, 512)
    assert gin.query_parameter('ViewSampler.view_size') == 256
    assert gin.query_parameter('%CROP_AREA') == (0.08, 1.0)


@pytest.mark.parametrize(
    'binding,named',
    [
        ('Learner.temprature = 0.1', 'temprature'),
        ('Lerner.temperature = 0.1', 'Lerner'),
        ('train.steps = ', 'train.steps'),
    ],
)
def test_a_misspelt_binding_is_named(binding, named):
    with pytest.raises(errors.UserError, match=named):
        configuration.parse_gin([str(ROOT / 'gin' / 'stfc3.gin')], [binding])


def read_schedule():
    return gin.get_bindings('train')['optimizer']().learning_rate


SCHEDULE = ['LEARNING_RATE = @CosineDecay()', 'CosineDecay.initial_learning_rate = 0.5']


def test_a_setting_that_is_read_by_way_of_a_macro_is_used():
    bindings = [*SCHEDULE, 'CosineDecay.decay_steps = 10', 'Adam.learning_rate = %LEARNING_RATE']
    configuration.parse_gin([], [*bindings, 'train.optimizer = @Adam'])
    assert read_schedule() == 0.5
    configuration.check_bindings_used(bindings)


def test_a_setting_that_a_nearer_scope_overrides_is_not_used():
    bindings = [*SCHEDULE, 'CosineDecay.decay_steps = 10', 'Adam.learning_rate = %LEARNING_RATE']
    override = 'LEARNING_RATE/CosineDecay.decay_steps = 20'
    configuration.parse_gin([], [*bindings, override, 'train.optimizer = @Adam'])
    read_schedule()
    with pytest.raises(errors.UserError, match='setting CosineDecay.decay_steps: is it misspelt'):
        configuration.check_bindings_used(bindings)


def test_a_macro_of_a_file_that_nothing_reads_is_named(tmp_path):
    file = tmp_path / 'own.gin'
    file.write_text('LERNING_RATE = 0.1\nAdam.beta_1 = 0.8\n')
    bindings = [*SCHEDULE, 'CosineDecay.decay_steps = 10', 'Adam.learning_rate = %LEARNING_RATE']
    configuration.parse_gin([str(file)], [*bindings, 'train.optimizer = @Adam'])
    read_schedule()
    with pytest.raises(errors.UserError, match='uses the setting LERNING_RATE: is it misspelt'):
        configuration.check_bindings_used(bindings)


def test_the_released_colours_and_the_papers_are_those_of_the_library():
    for file, colours in (('stfc3.gin', colour.PAPER), ('stfc3_released.gin', colour.RELEASED)):
        gin.clear_config()
        assert parse(ROOT / 'gin' / file)['view_sampler'].colours == colours


def test_an_include_is_relative_to_the_file_that_names_it(tmp_path, monkeypatch):
    (tmp_path / 'stfc3.gin').write_text('train.steps = 1\n')
    monkeypatch.chdir(tmp_path)  # a file of the same name in the working folder must not matter
    configuration.parse_gin([str(tmp_path / 'stfc3.gin'), str(ROOT / 'gin' / 'fc3_zero.gin')], [])
    assert gin.query_parameter('train.steps') > 1
    assert gin.query_parameter('resnet18.padding') == 'zero'


def test_a_missing_include_is_named_with_the_file_that_names_it(tmp_path):
    (tmp_path / 'a.gin').write_text("# note\ninclude 'absent.gin'\n")
    with pytest.raises(errors.UserError, match="a.gin: include 'absent.gin'"):
        configuration.parse_gin([str(tmp_path / 'a.gin')], [])


def test_a_missing_file_is_named():
    with pytest.raises(errors.UserError, match='gin/absent.gin'):
        configuration.parse_gin(['gin/absent.gin'], [])


def test_bindings_override_files_and_later_files_earlier_ones(tmp_path):
    later = tmp_path / 'later.gin'
    later.write_text('train.steps = 7\n')
    configuration.parse_gin([str(ROOT / 'gin' / 'stfc3.gin'), str(later)], ['train.batch_size = 3'])
    assert gin.query_parameter('train.steps') == 7
    assert gin.query_parameter('train.batch_size') == 3
