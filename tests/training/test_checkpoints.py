"""Checkpoints are written once, kept in number, found by name, and passed over where damaged."""

import os
import pathlib
import shutil
import types

import full_disk
import numpy as np
import pytest
import tensorflow as tf
from tiny_learners import tiny_learner

from stfc3_tf import errors
from stfc3_tf.training import checkpoint_files, checkpoints, reload, run_folder
from stfc3_tf.training.run_folder import RunFolder


@pytest.fixture(scope='module')
def learner():
    return tiny_learner()


def keeper_of(learner, folder, **settings):
    return checkpoints.Checkpoints(learner, RunFolder(str(folder)), **settings)


def save_steps(learner, folder, *steps, keep=3):
    """Save checkpoints whose first kernel is full of the step; return their folder."""
    keeper = keeper_of(learner, folder, keep=keep)
    for step in steps:
        kernel = learner.encoder.trainable_variables[0]
        kernel.assign(tf.fill(kernel.shape, float(step)))
        learner.counters['step'].assign(step)
        keeper.save()
    return pathlib.Path(folder) / 'checkpoints' / 'last'


def kernel_of(encoder):
    values = np.unique(encoder.trainable_variables[0].numpy())
    assert len(values) == 1
    return values[0]


def saves_of(folder):
    """Return how many checkpoints had been written when the last one was."""
    path = tf.train.latest_checkpoint(str(folder))
    return tf.train.load_checkpoint(path).get_tensor('save_counter/.ATTRIBUTES/VARIABLE_VALUE')


def test_a_checkpoint_is_written_once(learner, tmp_path):
    learner.counters['step'].assign(0)
    keeper, last = keeper_of(learner, tmp_path), tmp_path / 'checkpoints' / 'last'
    for _ in range(2):
        keeper.save()
    assert saves_of(last) == 1 and keeper.last_step == 0
    keeper.best_score.assign(0.5)  # The step is the same, but the best score must not be forgotten.
    keeper.save()
    assert saves_of(last) == 2
    learner.counters['step'].assign(1)
    keeper.save()
    assert saves_of(last) == 3 and keeper.last_step == 1


def test_the_last_ones_stay_and_tensorflow_finds_the_newest(learner, tmp_path):
    last = save_steps(learner, tmp_path, 2, 9, 10, 11, keep=2)
    assert {path.name for path in last.iterdir()} == {
        'checkpoint',
        *(f'step-{n}.{end}' for n in (10, 11) for end in ('index', 'data-00000-of-00001')),
    }
    assert tf.train.latest_checkpoint(str(last)) == str(last / 'step-11')
    assert keeper_of(learner, tmp_path).newest() == 11


@pytest.mark.parametrize('name', ['run [1]', 'run*', 'r?n', 'run\\1', 'run:1 100%'])
def test_names_of_runs_are_no_patterns(learner, tmp_path, name):
    save_steps(learner, tmp_path / name, 1, 2)
    save_steps(learner, tmp_path / 'run1', 5)  # Which some of the names would match.
    learner.encoder.trainable_variables[0].assign_add(tf.ones(kernel_shape(learner)))
    assert keeper_of(learner, tmp_path / name).restore() == 2
    assert kernel_of(learner.encoder) == 2
    assert reload.restore_encoder(learner.encoder, RunFolder(str(tmp_path / name))) == 2


def kernel_shape(learner):
    return learner.encoder.trainable_variables[0].shape


def test_only_the_best_is_kept_beside_the_last(learner, tmp_path):
    keeper = keeper_of(learner, tmp_path)
    kept = []
    for step, score in enumerate([0.25, float('nan'), 0.125, 0.5]):
        learner.counters['step'].assign(step)
        kept.append(keeper.save_if_best(score))
    assert kept == [True, False, False, True]
    best = sorted(path.name for path in (tmp_path / 'checkpoints' / 'best').glob('*.index'))
    assert best == ['step-3.index'] and not (tmp_path / 'checkpoints' / 'last').exists()


@pytest.mark.parametrize('state', [None, b'', b'\xff\x00garbage', b'model_checkpoint_path: "x"'])
def test_checkpoints_are_found_without_the_list_of_tensorflow(learner, tmp_path, state):
    last = save_steps(learner, tmp_path, 9, 10)
    (last / 'checkpoint').unlink()
    if state is not None:
        (last / 'checkpoint').write_bytes(state)
    learner.encoder.trainable_variables[0].assign_add(
        tf.ones_like(learner.encoder.trainable_variables[0])
    )
    keeper = keeper_of(learner, tmp_path, keep=2)
    assert keeper.restore() == 10 and kernel_of(learner.encoder) == 10
    assert reload.restore_encoder(learner.encoder, RunFolder(str(tmp_path))) == 10
    learner.counters['step'].assign(11)
    keeper.save()  # The older ones still count.
    assert sorted(path.name for path in last.glob('*.index')) == ['step-10.index', 'step-11.index']
    assert tf.train.latest_checkpoint(str(last)) == str(last / 'step-11')


def test_a_clock_that_was_set_back_hides_no_checkpoint(learner, tmp_path):
    last = save_steps(learner, tmp_path, 9, 10)
    for path in last.iterdir():
        os.utime(path, (4e9, 4e9))
    text = (last / 'checkpoint').read_text()
    stamps = 'all_model_checkpoint_timestamps: 4e9\n' * 2 + 'last_preserved_timestamp: 4e9\n'
    (last / 'checkpoint').write_text(text + stamps)  # as older versions wrote them
    keeper = keeper_of(learner, tmp_path, keep=2)
    assert keeper.restore() == 10
    learner.counters['step'].assign(11)
    keeper.save()
    assert sorted(path.name for path in last.glob('*.index')) == ['step-10.index', 'step-11.index']


def damages(contents):
    """Yield damaged versions of a file: cut, with flipped bits, with other bytes, gone."""
    rng = np.random.default_rng(0)
    for share in (0.0, 0.3, 0.9):
        yield contents[: int(share * len(contents))]
    for _ in range(13):
        changed = bytearray(contents)
        changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
        yield bytes(changed)
    for _ in range(13):
        changed, at = bytearray(contents), rng.integers(len(contents) - 20)
        changed[at : at + 20] = rng.bytes(20)
        yield bytes(changed)
    yield None


@pytest.mark.parametrize(
    'ending', ['index', pytest.param('data-00000-of-00001', marks=pytest.mark.slow)]
)
def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(learner, tmp_path, ending):
    last = save_steps(learner, tmp_path, 9, 10)
    path = last / f'step-10.{ending}'
    contents = path.read_bytes()
    keeper, fallen_back = keeper_of(learner, tmp_path), 0
    for damaged in damages(contents):
        path.unlink(missing_ok=True)
        if damaged is not None:
            path.write_bytes(damaged)
        # Neither raises; what is restored is whole, whichever checkpoint it is.
        step = keeper.restore()
        assert kernel_of(learner.encoder) == step in (9, 10)
        exported = reload.restore_encoder(learner.encoder, RunFolder(str(tmp_path)))
        assert kernel_of(learner.encoder) == exported in (9, 10)
        fallen_back += step == 9
    assert fallen_back >= 29  # of 30; a bit of padding may be flipped


def test_where_all_checkpoints_are_damaged_it_says_so_in_a_line(learner, tmp_path):
    last = save_steps(learner, tmp_path, 9, 10)
    for path in last.glob('*.index'):
        path.write_bytes(b'damaged')
    with pytest.raises(errors.UserError, match='No checkpoint can be restored.*step-10.*step-9'):
        keeper_of(learner, tmp_path).restore()
    with pytest.raises(errors.UserError, match='No checkpoint fits.*step-10.*step-9') as raised:
        reload.restore_encoder(learner.encoder, RunFolder(str(tmp_path)))
    assert '\n' not in str(raised.value)
    assert 'train again, into another --model_dir.' in str(raised.value)
    (tmp_path / 'saved_model').mkdir()
    with pytest.raises(
        errors.UserError, match=rf'an export, which remains: {tmp_path}/saved_model'
    ):
        reload.restore_encoder(learner.encoder, RunFolder(str(tmp_path)))
    shutil.copytree(last, last.parent / 'best')
    for which, other in (('last', 'best'), ('best', 'last')):
        with pytest.raises(errors.UserError, match=rf'--checkpoint={other}\.$'):
            reload.restore_encoder(learner.encoder, RunFolder(str(tmp_path)), which)


def test_an_empty_folder_is_a_new_run(learner, tmp_path):
    keeper = keeper_of(learner, tmp_path)
    assert keeper.newest() is None and keeper.restore() is None


def test_only_unfinished_checkpoints_are_cleared(learner, tmp_path):
    last = save_steps(learner, tmp_path, 9)
    for name in ('step-10_temp', 'mine_temp'):
        (last / name).mkdir()
        (last / name / 'part-00000-of-00001.data-00000-of-00001').write_bytes(b'half')
    before = {path.name for path in last.iterdir()}
    keeper_of(learner, tmp_path).clear_unfinished()
    assert before - {path.name for path in last.iterdir()} == {'step-10_temp'}


def test_a_full_disk_is_one_line_and_older_checkpoints_stay(learner, tmp_path):
    last = save_steps(learner, tmp_path, 9)
    before = {path.name: path.read_bytes() for path in last.iterdir()}
    learner.counters['step'].assign(10)
    message = 'Cannot write .*checkpoints/last'
    with (
        full_disk.files_of_at_most(1000),
        pytest.raises(errors.UserError, match=message) as raised,
    ):
        keeper_of(learner, tmp_path).save()
    assert '\n' not in str(raised.value)
    assert before.items() <= {p.name: p.read_bytes() for p in last.iterdir() if p.is_file()}.items()
    assert checkpoint_files.find(str(last)) == [str(last / 'step-9')]


def test_the_last_step_is_saved_before_the_training_loop_is_shut_down(learner, tmp_path):
    keeper = keeper_of(learner, tmp_path)
    saving = checkpoints.SaveCheckpoints(keeper, interval=4, minutes=60.0)
    saving.set_model(learner)
    for step in range(1, 7):
        learner.counters['step'].assign(step)
        saving.on_train_batch_end(step)
    assert keeper.last_step == 4
    saving.on_train_end()
    assert keeper.last_step == 6 and saves_of(tmp_path / 'checkpoints' / 'last') == 2


def test_a_worker_that_leaves_writing_to_the_chief_writes_nothing(learner, tmp_path):
    learner.counters['step'].assign(3)
    keeper = keeper_of(learner, tmp_path, writes=False)
    keeper.save()
    assert keeper.last_step == 3 and not list(tmp_path.rglob('step-*'))


@pytest.mark.parametrize('precision', ['float32', pytest.param('float16', marks=pytest.mark.slow)])
def test_the_learning_rate_of_a_resumed_run_is_that_of_its_configuration(tmp_path, precision):
    def optimizer(rate):
        made = tf.keras.optimizers.Adam(rate)
        return tf.keras.mixed_precision.LossScaleOptimizer(made) if precision == 'float16' else made

    for rate in (1e-2, 2e-3):
        learner = tiny_learner(optimizer=optimizer(rate))
        keeper = keeper_of(learner, tmp_path)
        assert keeper.restore() == (None if rate == 1e-2 else 0)
        np.testing.assert_allclose(learner.optimizer.learning_rate.numpy(), rate)
        keeper.save()


def test_room_is_needed_for_what_is_not_there_yet(tmp_path, monkeypatch):
    (tmp_path / 'checkpoints' / 'last').mkdir(parents=True)
    (tmp_path / 'checkpoints' / 'last' / 'step-1.data').write_bytes(bytes(600_000))
    usage = types.SimpleNamespace(free=500_000)
    monkeypatch.setattr(run_folder.shutil, 'disk_usage', lambda path: usage)
    folder = RunFolder(str(tmp_path))
    folder.check_writable(1_100_000)
    with pytest.raises(errors.UserError, match='0.00 GB left'):
        folder.check_writable(1_100_001)
