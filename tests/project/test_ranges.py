"""Numbers that no run can use are refused, with the name of their setting and its range."""

import gin
import pytest
import training_runs

from stfc3_tf import checks, clips, errors
from stfc3_tf.benchmarks.synthetic_scenes import SyntheticBenchmark
from stfc3_tf.clips import frame_rates
from stfc3_tf.commands.configuration import parse_gin
from stfc3_tf.model import resnet
from stfc3_tf.preparation.settings import Settings as Preparation
from stfc3_tf.propagation.codecs import PointCodec
from stfc3_tf.propagation.input_size import MOST_LONG_SIDE, InputSize
from stfc3_tf.propagation.settings import PropagationSettings
from stfc3_tf.training import run, settings
from stfc3_tf.views.colour import ColourAugmentation
from stfc3_tf.views.patches import PatchSampler
from stfc3_tf.views.sampler import ViewSampler

HUGE = 10**400  # No float is so large.


@pytest.mark.parametrize(
    'binding, allowed',
    [
        ('train.batch_size = 3_000_000_000', 'a whole number from 1 to 65536'),
        ('train.clip_frames = 1_000_000', 'a whole number from 1 to 1000'),
        ('train.steps = 2**63', 'a whole number from 1 to 2147483647'),
        ('train.seed = 2**63', 'a whole number from 0 to 2147483647'),
        ('Learner.seed = 2**31', 'a whole number from 0 to 2147483647'),
        ('train.frame_rate = 1e-300', 'a number from 1e-06 to 1e+06'),
        ('train.frame_rate = (1e-300, 8.0)', 'a number from 1e-06 to 1e+06'),
        ('Learner.temperature = 1e-300', 'a number from 1e-06 to 1e+06'),
        ('ViewSampler.view_size = 1_000_000', 'a whole number from 1 to 4096'),
    ],
)
def test_a_run_is_refused_before_anything_is_written(tmp_path, binding, allowed):
    setting, value = binding.split(' = ')
    bindings = [*training_runs.BINDINGS, f'{setting} = {eval(value)}']
    gin.clear_config()
    with pytest.raises(errors.UserError) as refused:
        parse_gin([f'{training_runs.ROOT}/gin/stfc3.gin'], bindings)
        run.train(settings.Settings(), str(tmp_path / 'run'), None, bindings)
    gin.clear_config()
    assert f'give {allowed}.' in str(refused.value) and setting in str(refused.value)
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    'setting, make',
    [
        ('context', lambda: PropagationSettings(context=10**22)),
        ('top_k', lambda: PropagationSettings(top_k=10**12)),
        ('temperature', lambda: PropagationSettings(temperature=HUGE)),
        ('PointCodec.sigma', lambda: PointCodec(sigma=0.16)),
        ('PointCodec.sigma', lambda: PointCodec(sigma=1e300)),
        ('InputSize.size', lambda: InputSize('square', MOST_LONG_SIDE + 1)),
        ('PatchSampler.view_size', lambda: PatchSampler(view_size=10**6)),
        ('crop_aspect', lambda: ViewSampler(crop_aspect=(1.0, float('inf')))),
        ('crop_area', lambda: ViewSampler(crop_area=(1e-300, 1.0))),
        ('brightness', lambda: ColourAugmentation(brightness=float('inf'))),
        ('saturation', lambda: ColourAugmentation(saturation=float('nan'))),
        ('blur_sigma', lambda: ColourAugmentation(blur_sigma=(1e-300, 1e-300))),
        ('SyntheticScenes.count', lambda: clips.SyntheticScenes(count=10**20)),
        ('SyntheticScenes.height', lambda: clips.SyntheticScenes(height=10**6)),
        ('SyntheticBenchmark.scenes', lambda: SyntheticBenchmark(scenes=10**12)),
        ('SyntheticBenchmark.frame_rate', lambda: SyntheticBenchmark(frame_rate=1e300)),
        ('videos_per_task', lambda: Preparation(videos_per_task=10**20)),
        ('seed', lambda: Preparation(seed=10**20)),
        ('segment_seconds', lambda: Preparation(segment_seconds=HUGE)),
        ('resnet18.stage_strides', lambda: resnet.resnet18(stage_strides=(0, 2, 1))),
        ('resnet18.stage_strides', lambda: resnet.resnet18(stage_strides=(10**12, 2, 1))),
        ('frame_folder_rate', lambda: Preparation(frame_folder_rate=1e-300)),
    ],
)
def test_a_value_beyond_its_range_is_named(setting, make):
    with pytest.raises(errors.UserError, match=rf'{setting} ?=.*give .*(to|<=) '):
        make()


def test_a_radius_that_covers_every_grid_is_taken():
    assert PropagationSettings(radius=HUGE).radius == HUGE


def test_a_size_that_is_set_limits_the_long_side_and_a_native_one_does_not():
    assert InputSize('short_side', 480).of(100, 1706) == (480, 8188)
    with pytest.raises(errors.UserError, match=r'InputSize.size=480.* at most 8192'):
        InputSize('short_side', 480).of(100, 1707)
    assert InputSize().of(100, 20_000) == (100, 20_000)


def test_ends_of_a_range_belong_to_it():
    checks.whole_number('a', 5, 5, 6)
    checks.whole_number('a', 6, 5, 6)
    assert frame_rates.of_setting('rate', (1e-6, 1e6)) == (1e-6, 1e6)
    for value in (4, 7, 5.0, True):
        with pytest.raises(errors.UserError, match='give a whole number from 5 to 6'):
            checks.whole_number('a', value, 5, 6)
