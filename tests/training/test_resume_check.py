"""What identifies a run: settings that change what is learnt, and the data."""

import json
import pathlib
import shutil

import gin
import pytest

from stfc3_tf import clips, errors
from stfc3_tf.commands import configuration
from stfc3_tf.training import resume_check
from stfc3_tf.training.run_folder import RunFolder
from stfc3_tf.training.settings import Settings
from stfc3_tf.views.sampler import ViewSampler

ROOT = pathlib.Path(__file__).parents[2]


def operative(file, *bindings):
    """Return the configuration that a run on a shipped file stores, as far as `train` reads it."""
    gin.clear_config()
    configuration.parse_gin([str(ROOT / 'gin' / file)], bindings)
    settings = Settings()
    small = {'width': 4, 'head_widths': (8, 6)} if 'width' not in file else {}
    settings.learner(settings.encoder(**small))
    settings.optimizer()
    text = gin.operative_config_str()
    gin.clear_config()
    return text


def begin(folder, config, data=None):
    """Store a run that began with a configuration and data."""
    run = RunFolder(str(folder))
    data = {'videos': 3, 'files': 3, 'bytes': 100, 'sha256': 'a'} if data is None else data
    resume_check.check(run, config, data, None)
    run.write_config(config)
    return run, data


def differences(run, config, data):
    with pytest.raises(errors.UserError) as raised:
        resume_check.check(run, config, data, 100)
    message = str(raised.value)
    assert '--allow_changes' in message and '\n' not in message and run.path in message
    return message.partition('began differently: ')[2].partition('. Resume')[0].split('; ')


def test_another_method_is_listed_setting_by_setting(tmp_path):
    run, data = begin(tmp_path, operative('small/stfc3.gin'))
    assert differences(run, operative('small/fc3_zero.gin'), data) == [
        'ViewSampler.colours was (None, None), is (None,)',
        'ViewSampler.tracks was 2, is 1',
        "resnet18.padding was 'reflect', is 'zero'",
    ]


@pytest.mark.parametrize(
    'binding,difference',
    [
        ('train.clip_frames = 3', 'train.clip_frames was 4, is 3'),
        ('train.frame_rate = 4.0', 'train.frame_rate was 8.0, is 4.0'),
        ('train.frame_rate = (4.0, 16.0)', 'train.frame_rate was 8.0, is (4.0, 16.0)'),
        ('Learner.temperature = 0.1', 'Learner.temperature was 0.05, is 0.1'),
        ('LEARNING_RATE = 0.5', "Adam.learning_rate was '@CosineDecay()', is 0.5"),
        (
            "PRECISION = 'mixed_bfloat16'",
            "resnet18.dtype_policy was 'float32', is 'mixed_bfloat16'",
        ),
    ],
)
def test_a_setting_that_changes_what_is_learnt_is_refused(tmp_path, binding, difference):
    run, data = begin(tmp_path, operative('small/stfc3.gin'))
    assert differences(run, operative('small/stfc3.gin', binding), data) == [difference]


def test_other_colours_than_the_default_are_refused(tmp_path):
    """A default that gin cannot write down would be on neither side."""
    run, data = begin(tmp_path, views_of('ViewSampler.view_size = 32'))
    now = views_of('ViewSampler.view_size = 32', 'ViewSampler.colours = (None, None)')
    assert differences(run, now, data) == ["ViewSampler.colours was 'paper', is (None, None)"]


def views_of(*bindings):
    """Return the operative configuration of a sampler alone."""
    gin.clear_config()
    configuration.parse_gin([], bindings)
    ViewSampler()
    config = gin.operative_config_str()
    gin.clear_config()
    return config


def test_an_initial_encoder_is_refused_for_a_run_of_before_there_was_one(tmp_path):
    config = operative('small/stfc3.gin')
    older = ''.join(
        line for line in config.splitlines(True) if not line.startswith('train.initial_encoder')
    )
    assert older != config
    run, data = begin(tmp_path, older)
    resume_check.check(run, config, data, 100)
    now = operative('small/stfc3.gin', "train.initial_encoder = 'stfc3-small'")
    assert differences(run, now, data) == ["train.initial_encoder was None, is 'stfc3-small'"]


@pytest.mark.parametrize(
    'bindings',
    [
        ['train.steps = 10', 'train.keep_checkpoints = 9', 'train.checkpoint_interval = 7'],
        ["train.strategy = 'default'", "train.devices = ['CPU:0']", "train.data_servers = ['a:1']"],
        ['watch.log_interval = 1', 'watch.held_out_score = None'],
        # The same value by another way.
        ['Adam.learning_rate = @CosineDecay()', 'train.clips_per_video = 5'],
        ['ViewSampler.colours = [None, None]'],
    ],
)
def test_what_does_not_change_what_is_learnt_may_change(tmp_path, bindings):
    run, data = begin(tmp_path, operative('small/stfc3.gin'))
    resume_check.check(run, operative('small/stfc3.gin', *bindings), data, 100)


def make_data(folder, sizes):
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in sizes.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(bytes(size))
    return resume_check.data_of(clips.open_source(str(folder)))


def test_data_are_known_by_relative_names_and_sizes(tmp_path):
    sizes = {'x/a.mp4': 5, 'y/b.mp4': 7}
    data = make_data(tmp_path / 'here', sizes)
    assert {name: data[name] for name in ('videos', 'files', 'bytes')} == {
        'videos': 2,
        'files': 2,
        'bytes': 12,
    }
    shutil.copytree(tmp_path / 'here', tmp_path / 'elsewhere' / 'moved')
    assert resume_check.data_of(clips.open_source(str(tmp_path / 'elsewhere'))) == data
    run, _ = begin(tmp_path / 'run', 'train.seed = 0\n', data)
    for name, other, difference in (
        ('names', {'x/a.mp4': 5, 'y/c.mp4': 7}, 'the files of the data have other names or sizes'),
        (
            'swapped',
            {'x/a.mp4': 7, 'y/b.mp4': 5},
            'the files of the data have other names or sizes',
        ),
        ('sizes', {'x/a.mp4': 5, 'y/b.mp4': 8}, 'bytes of the data were 12, are 13'),
    ):
        found = make_data(tmp_path / name, other)
        assert differences(run, 'train.seed = 0\n', found) == [difference]
    scenes = resume_check.data_of(clips.open_source(None))
    assert 'files of the data were 2, are 0' in differences(run, 'train.seed = 0\n', scenes)


def test_folders_of_pictures_are_known_by_their_number_of_pictures(tmp_path):
    one = make_data(tmp_path / 'one', {'v/0.png': 3, 'v/1.png': 3, 'w/0.png': 3})
    other = make_data(tmp_path / 'other', {'v/0.png': 3, 'w/0.png': 3, 'w/1.png': 3})
    assert one['videos'] == other['videos'] == 2 and one['sha256'] != other['sha256']
    added = ('v/.DS_Store', 'v/._0.png', 'w/Thumbs.db')  # By systems, while a run was stopped.
    assert make_data(tmp_path / 'one', dict.fromkeys(added, 3)) == one


def test_a_run_of_an_older_version_resumes_on_what_it_stored(tmp_path):
    old = {'seed': 0, 'videos': 3, 'clips_per_video': 5}
    config = operative('small/stfc3.gin')
    run, data = begin(tmp_path, config)
    pathlib.Path(run.identity).write_text(json.dumps(old))
    assert differences(run, config, {**data, 'videos': 4}) == ['videos of the data were 3, are 4']
    # The older version had one setting less than this one.
    pathlib.Path(run.config).write_text(config.replace('Learner.cycles =', '# Learner.cycles ='))
    resume_check.check(run, config, data, 100)
    assert json.loads(pathlib.Path(run.identity).read_text()) == data


@pytest.mark.parametrize('text', [None, '', '[1]', '{"videos": ', '[' * 100_000])
def test_without_a_readable_description_a_run_resumes_only_if_allowed(tmp_path, text):
    run, data = begin(tmp_path, 'train.seed = 0\n')
    for path in (pathlib.Path(run.identity), pathlib.Path(run.config)):
        before = path.read_bytes()
        path.unlink()
        if text is not None:
            path.write_text(text)
        if text == '' and path.name == 'config.gin':
            resume_check.check(run, 'train.seed = 0\n', data, 100)  # Nothing to differ from.
        else:
            with pytest.raises(errors.UserError, match=path.name):
                resume_check.check(run, 'train.seed = 0\n', data, 100)
            resume_check.check(run, 'train.seed = 0\n', data, 100, allow_changes=True)
        path.write_bytes(before)


def test_allowed_changes_add_up(tmp_path):
    run, data = begin(tmp_path, 'train.seed = 0\n')
    for step, seed in ((100, 1), (200, 2)):
        config = f'train.seed = {seed}\n'
        resume_check.check(run, config, data, step, allow_changes=True)
        run.write_config(config)
    resume_check.check(run, config, data, 300)
    stored = json.loads(pathlib.Path(run.identity).read_text())
    assert stored.pop('changes') == [
        {'step': 100, 'changes': ['train.seed was 0, is 1']},
        {'step': 200, 'changes': ['train.seed was 1, is 2']},
    ]
    assert stored == data
