"""Runs that go on from the weights of an exported encoder."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from training_runs import STEPS, UNWATCHED, assert_same_run, final_values, run, run_until_signal

import stfc3_tf
from stfc3_tf import errors
from stfc3_tf.model import resnet
from stfc3_tf.training import initial_weights

SHIPPED = {'width': 32, 'stage_strides': (1, 2, 1), 'head_widths': (16, 8)}
FRAMES = np.random.default_rng(0).integers(0, 256, [2, 64, 96, 3], np.uint8)


def _features(encoder):
    return resnet.unit_features(encoder, FRAMES, 'stage3').numpy()


def test_the_encoder_has_the_features_of_the_exported_one_and_keeps_its_own_head():
    encoder = resnet.resnet18(**SHIPPED, seed=1)
    head = [v.numpy() for v in encoder.variables if v.name.startswith('head')]
    initial_weights.load_into(encoder, 'stfc3-small')
    expected = stfc3_tf.load('stfc3-small').features(FRAMES)
    np.testing.assert_allclose(_features(encoder), expected, atol=1e-5)
    kept = [v.numpy() for v in encoder.variables if v.name.startswith('head')]
    assert head and all(np.array_equal(a, b) for a, b in zip(head, kept))


def test_a_deeper_encoder_in_mixed_precision_takes_a_savedmodel(tmp_path):
    small = {'width': 4, 'head_widths': (8,)}
    exported = resnet.resnet18(**small, stage_strides=(1, 2, 1), seed=1)
    stfc3_tf.export(exported, str(tmp_path / 'one'))
    with tf.distribute.MirroredStrategy(['CPU:0']).scope():
        mixed = {'dtype_policy': 'mixed_bfloat16', 'synchronised_norm': True}
        encoder = resnet.resnet18(**small, **mixed, seed=2)
    assert not np.allclose(_features(encoder), _features(exported), atol=0.1)
    initial_weights.load_into(encoder, str(tmp_path / 'one'))
    assert len(encoder.get_weights()) > len(exported.get_weights())
    given = {v.name: v.numpy() for v in exported.variables if not v.name.startswith('head')}
    own = {v.name: v.numpy() for v in encoder.variables}
    assert given and all(np.array_equal(own[name], given[name]) for name in given)


@pytest.mark.parametrize(
    'changed, message',
    [
        ({'width': 16}, r"'stfc3-small' .*: resnet18.width = 32 there and 16 here\. Give both"),
        ({'stage_strides': (1, 1, 2)}, r'stage_strides = \(1, 2, 1\) there and \(1, 1, 2\) here'),
        ({'statistics': 'cifar10'}, 'resnet18.statistics = imagenet there and cifar10 here'),
    ],
)
def test_another_architecture_is_refused(changed, message):
    encoder = resnet.resnet18(**{**SHIPPED, **changed})
    before = encoder.get_weights()
    with pytest.raises(errors.UserError, match=message):
        initial_weights.load_into(encoder, 'stfc3-small')
    assert all(np.array_equal(a, b) for a, b in zip(before, encoder.get_weights()))


def test_an_encoder_of_another_kind_is_refused():
    made = resnet.resnet18(**SHIPPED)
    other = resnet.Encoder(made.input, made.output, made.cell_grid, made.statistics, 'mine')
    with pytest.raises(errors.UserError, match='train.encoder makes a mine'):
        initial_weights.load_into(other, 'stfc3-small')


def test_a_head_needs_the_stages_below_it(tmp_path):
    small = {'width': 4, 'head_widths': (8,)}
    exported = resnet.resnet18(**small, stage_strides=(1, 2, 1))
    stfc3_tf.export(exported, str(tmp_path / 'one'), layer='head')
    with pytest.raises(errors.UserError, match=r'\(1, 2, 1\) there and \(1, 2, 1, 1\) here'):
        initial_weights.load_into(resnet.resnet18(**small), str(tmp_path / 'one'))
    encoder = resnet.resnet18(**small, stage_strides=(1, 2, 1), seed=2)
    initial_weights.load_into(encoder, str(tmp_path / 'one'))
    assert all(np.array_equal(*pair) for pair in zip(encoder.get_weights(), exported.get_weights()))


@pytest.mark.slow
def test_a_run_goes_on_from_an_export_once_and_resumes_from_its_own_checkpoints(unbroken, tmp_path):
    start = tmp_path / 'first run' / 'saved_model'
    shutil.copytree(unbroken[0] / 'saved_model', start)
    source = f"train.initial_encoder = '{start}'"
    status, output = run(tmp_path / 'whole', bindings=[*UNWATCHED, source])
    assert status == 0, output
    status, output = run_until_signal(tmp_path / 'stopped', 15, 6, [source])
    assert status == 143, output
    shutil.rmtree(start)  # A run that resumes does not read it.
    status, output = run(tmp_path / 'stopped', bindings=[*UNWATCHED, source])
    assert status == 0 and 'Resuming from step 6' in output, output
    whole = final_values(tmp_path / 'whole')
    assert_same_run(whole, final_values(tmp_path / 'stopped'))
    # Other weights than those of the run that started from random ones, after as many steps.
    alone = final_values(unbroken[0])
    kernel = next(name for name in whole if 'encoder' in name and whole[name].ndim == 4)
    assert np.abs(whole[kernel] - alone[kernel]).max() > 1e-6
    card = (tmp_path / 'whole' / 'saved_model' / 'MODEL_CARD.md').read_text()
    assert 'going on from the weights of first run' in card
    status, output = run(tmp_path / 'whole', bindings=[*UNWATCHED, f'train.steps = {STEPS + 2}'])
    assert status != 0 and 'train.initial_encoder' in output, output


@pytest.mark.slow
def test_an_initial_encoder_that_is_not_there_is_named_before_anything_is_written(tmp_path):
    folder = tmp_path / 'run'
    status, output = run(folder, bindings=["train.initial_encoder = 'runs/none'"])
    assert status != 0 and "train.initial_encoder = 'runs/none': runs/none holds no" in output, (
        output
    )
    assert not folder.exists()
