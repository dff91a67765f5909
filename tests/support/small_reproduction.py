"""A plan that runs in seconds, and parts whose commands are a line of Python."""

import pathlib

from stfc3_tf.reproduction import parts, running

ROOT = pathlib.Path(__file__).parents[2]
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


def write_plan(folder, text=PLAN):
    (folder / 'tiny.gin').write_text(TINY)
    (folder / 'broken.gin').write_text("include 'tiny.gin'\nLearner.accumulation_steps = 3\n")
    (folder / 'plan.gin').write_text(text)
    return str(folder / 'plan.gin')


def python_part(folder, name, code, **changes):
    """Return a part whose command is a line of Python."""
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
    return running.run_all(found, [p.name for p in found], tmp_path, lambda _: None)


def all_parts(tmp_path, plan, saved_models=None):
    places = parts.Places(None, str(tmp_path), tmp_path / 'out', ROOT / 'gin/eval')
    return parts.all_parts(plan, places, saved_models=saved_models)
