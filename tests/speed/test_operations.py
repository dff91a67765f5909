"""The operations of networks and of training steps, counted by hand."""

import pytest
from resnet_work import of_stages
import tensorflow as tf

from stfc3_tf.model import learner, resnet
from stfc3_tf.speed import operations


def test_work_of_stage_3_by_hand():
    network = resnet.resnet18(head_widths=(8, 8))
    stage3 = tf.keras.Model(network.input, network.output['stage3'])
    expected = 2 * of_stages((20 * 28, 10 * 14, 5 * 7)) / 1e9
    assert operations.convolution_gflop(stage3, 40, 56) == pytest.approx(expected)


def test_work_of_a_clip_by_hand():
    model = learner.Learner(resnet.resnet18(head_widths=(16, 8)))
    nodes = 4 * 4
    stage4 = nodes * (9 * 256 * 512 + 3 * 9 * 512 * 512 + 256 * 512)
    head = nodes * (512 * 16 + 16 * 8)
    forward = of_stages((256, 64, 16)) + stage4 + head
    # Three transitions each to leave, to go on and to come home; five products of transitions.
    walk = 9 * nodes**2 * 8 + 5 * nodes**3
    assert operations.clip_gflop(model, 32) == pytest.approx(3 * 2 * (8 * forward + walk) / 1e9)
