"""The reference in PyTorch computes what this project computes."""

import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf.model import learner, resnet, torch_weights
from stfc3_tf.propagation import brute_force, settings
from stfc3_tf.speed import propagation
from stfc3_tf.views import geometry

torch = pytest.importorskip('torch', reason='PyTorch is optional')
from stfc3_tf.speed import (  # noqa: E402  imports torch
    against_pytorch,
    torch_network,
    torch_propagation,
    torch_walk,
)


@pytest.fixture
def networks():
    """An encoder and a network of PyTorch with the same weights."""
    torch.manual_seed(0)
    network = torch_network.ResNet18(8, (16, 12))
    encoder = resnet.resnet18(width=8, head_widths=(16, 12))
    weights = {name: array.numpy() for name, array in network.state_dict().items()}
    assert torch_weights.assign(encoder, weights) == []
    return encoder, network


def test_the_loss_and_its_gradient_are_the_same(networks):
    encoder, network = networks
    views = np.random.default_rng(0).integers(0, 256, (2, 2, 4, 48, 64, 3), np.uint8)[..., :48, :]
    boxes = [[[-0.9, -0.8, 0.7, 0.9], [-0.5, -1, 1, 0.6]], [[-0.2, -0.8, 0.7, 1], [-0.5, 0, 1, 1]]]
    matrices = geometry.view_from_frame(tf.constant(boxes), tf.constant([[False, True]] * 2))
    batch = {'views': views, 'view_from_frame': matrices, 'index': np.arange(2)}
    model = learner.Learner(encoder, edge_dropout=0.0)
    divisor = model.objective.divisor(*tf.unstack(model.objective.node_counts(batch)))
    with tf.GradientTape() as tape:
        ours = model.objective.sums(batch, divisor, training=True)['loss']
    kernel = encoder.get_layer('layer2.0.conv1').kernel
    gradient = tape.gradient(ours, kernel).numpy().transpose(3, 2, 0, 1)

    def encode(frames):
        return network(torch_network.normalised(frames))

    theirs = torch_walk.loss(
        encode, torch.from_numpy(views), torch.from_numpy(matrices.numpy()), edge_dropout=0.0
    )
    theirs.backward()
    assert theirs.item() == pytest.approx(ours.numpy(), rel=1e-5)
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(
        network.layer2[0].conv1.weight.grad / scale, gradient / scale, atol=1e-3
    )
    # The statistics of batch normalisation move in the same way.
    np.testing.assert_allclose(
        encoder.get_layer('head.bn').moving_variance, network.head.bn.running_var, rtol=1e-5
    )


def test_walks_without_some_edges_return_less_often(networks):
    _, network = networks
    generator = torch.Generator().manual_seed(0)
    views = torch.randint(0, 256, (1, 1, 4, 64, 64, 3), generator=generator, dtype=torch.uint8)
    views, matrices = views.repeat(1, 2, 1, 1, 1, 1), torch.eye(3).repeat(1, 2, 1, 1)
    losses = [
        torch_walk.loss(
            lambda frames: network(torch_network.normalised(frames)), views, matrices, rate
        ).item()
        for rate in (0.0, 0.9)
    ]
    assert losses[0] < losses[1]


def test_features_are_the_same(networks):
    encoder, network = networks
    frames = np.random.default_rng(0).integers(0, 256, (1, 40, 56, 3), np.uint8)
    ours = resnet.exported_features(encoder)(frames)
    with torch.no_grad():
        maps = network.eval().stage3(torch_network.normalised(torch.from_numpy(frames)))
    theirs = torch.nn.functional.normalize(maps, dim=1).permute(0, 2, 3, 1)
    np.testing.assert_allclose(theirs, ours, atol=1e-5)


@pytest.mark.parametrize('chunk', [50, 140])
def test_propagation_is_the_same(chunk):
    query, context, labels, free = propagation.full_context(10, 14, 16, labels=3, context=4)
    expected = brute_force.brute_force(
        query, context, labels, free, settings.crw_settings(4, radius=5.0)
    )
    found = torch_propagation.propagate(
        torch.from_numpy(query).flatten(0, 1),
        torch.from_numpy(context).flatten(1, 2),
        torch.from_numpy(labels).flatten(1, 2),
        torch_propagation.window_mask(10, 14, 5.0),
        chunk,
    )
    np.testing.assert_allclose(found.reshape(10, 14, 3), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    'compare, sizes',
    [
        (against_pytorch.step, (32, 2, 'mixed_bfloat16')),
        (against_pytorch.features, (40, 56)),
        (against_pytorch.propagation, (8, 10, 4)),
        (against_pytorch.whole_loop, (40, 56)),
    ],
)
def test_every_comparison_is_made(compare, sizes):
    figures = compare(*sizes, rounds=1)
    for variant in ('plain', 'tuned'):
        ratio = figures[f'PyTorch {variant} seconds'] / figures['here seconds']
        assert figures[f'PyTorch {variant} / here'] == pytest.approx(ratio)
