"""The plain module in PyTorch: every kind of layer against its definition, batch norm, ceilings and QCFS."""

from dataclasses import replace

import numpy as np
import pytest

import nspike
from nspike.graph.layer import IMAGE, Activation, Conv
from nspike.graph.mode import restored
from nspike.graph.network import Network
from nspike.model.model import Info
from nspike.restoration.method import Model
from nspike.trainable.plain import DifferentiableAnn
from tests.ann import slow
from tests.ann.networks import random_network, random_parameters
from tests.small_models import small_ann
from tests.tiny import tiny_model

torch = pytest.importorskip("torch")


def model_of(network, parameters):
    return Model(Info("net", "denoise", "rgb" if network.channels == 3 else "gray"), network, parameters)


@pytest.mark.parametrize("seed", range(40))
def test_random_networks(seed):
    network = random_network(seed, plain=True)
    parameters = random_parameters(network, seed)
    height, width = (network.size_multiple * max(1, n * 4 // network.size_multiple) for n in (3, 5))
    plane = np.random.default_rng(seed).uniform(-0.2, 1.2, (1, network.channels, height, width)).astype(np.float32)
    net = nspike.to_torch(model_of(network, parameters))
    expected = slow.run(network, parameters, plane[0])
    with torch.no_grad():
        values = net.all(torch.from_numpy(plane))
        whole = net(torch.from_numpy(plane))
    if not any(a.levels for a in network.activations):  # where a float32 error becomes a whole step
        for layer in network.layers:
            spread = max(1.0, np.abs(expected[layer.name]).max())
            ours = values[layer.name][0].numpy()
            np.testing.assert_allclose(ours, expected[layer.name], atol=2e-4 * spread, err_msg=layer.name)
        image = restored(network.mode, plane[0], expected["output"])
        np.testing.assert_allclose(whole[0].numpy(), image, atol=2e-4 * max(1.0, np.abs(image).max()))
    assert whole.shape[2:] == tuple(network.scale * n for n in (height, width))
    assert nspike.from_torch(net) is net.model


def chain(**activation):
    layers = (
        Conv("first", IMAGE, 1, 3, 3),
        Activation("relu", "first", 3, **activation),
        Conv("last", "relu", 3, 1, 1),
    )
    network, draw = Network("chain", 1, layers, "last", "image"), np.random.default_rng(0)
    parameters = {}
    for conv in network.convs:
        parameters[f"{conv.name}.weight"] = draw.integers(-8, 9, conv.kernel_shape).astype(np.float32) / 16
        parameters[f"{conv.name}.bias"] = draw.integers(-4, 5, conv.out_channels).astype(np.float32) / 16
    return model_of(network, parameters)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("kind", "levels"), [("clipped", None), ("qcfs", 4)])
def test_values_and_gradients_are_those_of_training_here(kind, levels, signed):
    """On dyadic numbers, where float32 rounds nothing."""
    model = chain(ceiling=(1.0, 0.5, 2.0), levels=levels, signed=signed)
    plane = np.random.default_rng(1).integers(-16, 17, (2, 1, 6, 7)).astype(np.float32) / 16
    ceilings = {"relu": np.array([1.0, 0.5, 2.0])}
    ours = DifferentiableAnn(model, kind=kind, levels=levels or 8, ceilings=ceilings)
    expected = ours.run(plane)
    expected.square().mean().backward()
    net = nspike.to_torch(model).train()
    theirs = net(torch.from_numpy(plane))
    np.testing.assert_array_equal(theirs.detach().numpy(), expected.data)
    theirs.square().mean().backward()
    own = {key: tensor.grad for key, tensor in net.named_parameters()}
    for key, tensor in ours.parameters().items():
        np.testing.assert_allclose(own[f"layers.{key}"].numpy().ravel(), tensor.grad.ravel(), rtol=1e-4, err_msg=key)


def test_qcfs_for_the_converter():
    """Ceilings start from images, are trained, and come back as what the converter makes neurons of."""
    images = torch.rand(2, 1, 16, 16)
    with pytest.raises(nspike.UsageError, match="'qcfs' needs images"):
        nspike.to_torch(small_ann(), activation="qcfs")
    net = nspike.to_torch(small_ann(), activation="qcfs", levels=4, images=images, per="channel").train()
    start = net.layers["act1"].ceiling.detach().clone()
    assert start.shape == (4,)
    loss = net(images).square().mean()
    loss.backward()
    torch.optim.SGD(net.parameters(), 0.01).step()
    trained = nspike.from_torch(net)
    layer = trained.network.layer("act1")
    assert layer.levels == 4
    np.testing.assert_array_equal(np.float32(layer.ceiling), net.layers["act1"].ceiling.detach().numpy())
    assert not torch.equal(net.layers["act1"].ceiling, start)
    back = nspike.to_torch(trained, activation="relu")
    assert back.model.network.layer("act1").ceiling is None
    spiking, _ = nspike.convert(trained, [np.random.default_rng(0).random((1, 24, 24), np.float32)], converter="qcfs")
    assert spiking.spiking is not None


def test_batch_norm_follows_the_batches():
    net, images = nspike.to_torch(small_ann()).train(), torch.rand(4, 1, 16, 16)
    before = net.layers["conv2"].bn_mean.clone()
    net(images)
    moved = nspike.from_torch(net)
    assert not np.array_equal(moved.parameters["conv2.bn_mean"], before.numpy())
    values = net.eval().all(images)["conv2"]
    again = nspike.to_torch(moved)
    with torch.no_grad():
        assert torch.equal(again.all(images)["conv2"], values)
    assert "layers.conv2.bn_mean" not in dict(net.named_parameters())


def test_the_plain_network_of_a_spiking_model():
    model = tiny_model()
    with pytest.raises(nspike.UsageError, match="give ann=True"):
        nspike.to_torch(model, activation="relu")
    net = nspike.to_torch(model, ann=True)
    assert nspike.from_torch(net) == replace(model, spiking=None)
    with pytest.raises(nspike.UsageError, match="'surrogate' is an option of spiking modules"):
        nspike.to_torch(model, ann=True, surrogate="arctan")
    with pytest.raises(nspike.UsageError, match="no activation 'gelu'"):
        nspike.to_torch(model, ann=True, activation="gelu")
