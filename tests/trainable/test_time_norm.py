"""Batch norm over time and batch: it leaves the start as it is, is folded into what runs, and follows the batches."""

import numpy as np
import pytest

from nspike.registry.plugins import registry
from nspike.trainable.spiking import DifferentiableNetwork
from nspike.trainable.time_norm import EPSILON, MOMENTUM
from tests.graphs import chain
from tests.trainable.networks import everything, unet
from tests.trainable.test_general import pixels_for, spiking_model
from tests.trainable.test_spiking import agrees_with_the_engine

NETWORKS = {"chain": chain(8, 16, 8), "no_bias": chain(8, 6, bias=False), "everything": everything(), "unet": unet()}


def network(name, batch_norm=True, neuron="mprn", **options):
    graph = NETWORKS[name]
    parts = registry().neurons[neuron], registry().heads["membrane"]
    plane = pixels_for(graph) if batch_norm else None
    return DifferentiableNetwork(spiking_model(graph, neuron), *parts, batch_norm=plane, **options)


def statistics(net, plane):
    """Mean and variance of V * s for each convolution with batch norm, from the currents of a run."""
    running = net._running(plane, None)
    for activation in net.model.network.activations:
        running.tensor(activation.name)
    found = {}
    for name, norm in net._norms.items():
        written, folded = running.made[name], norm.folded()
        unit = np.ldexp(1.0, -written.integer.exponent)
        currents = written.currents()[:, : running.shared.timesteps] * unit
        factor = norm.gain.data / np.sqrt(norm.variance.data + EPSILON)
        y = (currents - folded.bias.data) / factor
        found[name] = y.mean(axis=(0, 1, 2, 3)), y.var(axis=(0, 1, 2, 3))
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_the_start_is_the_network_as_it_was(name):
    plain, normed = network(name, False), network(name)
    before, after = plain.to_model().spiking, normed.to_model().spiking
    for conv, weight in before.weights.items():
        np.testing.assert_allclose(after.weights[conv], weight, rtol=1e-5, atol=1e-7)
        bias = before.biases.get(conv, np.zeros(len(weight)))
        np.testing.assert_allclose(after.biases.get(conv, np.zeros(len(weight))), bias, atol=1e-5)
    assert set(normed._norms) == {c.name for c in NETWORKS[name].convs} - {NETWORKS[name].output, "tail"}


@pytest.mark.parametrize("name", NETWORKS)
def test_currents_are_normalised(name):
    """With γ = 1 and β = 0 the currents of the batch of the start have mean 0 and variance 1, but for rounding."""
    net, plane = network(name), pixels_for(NETWORKS[name])
    first = next(iter(net._norms))
    norm = net._norms[first]
    norm.gain.data = np.ones_like(norm.gain.data)
    norm.shift.data = np.zeros_like(norm.shift.data)
    running = net._running(plane, None)
    for activation in NETWORKS[name].activations:
        running.tensor(activation.name)
    written = running.made[first]
    currents = written.currents()[:, : running.shared.timesteps] * np.ldexp(1.0, -written.integer.exponent)
    np.testing.assert_allclose(currents.mean(axis=(0, 1, 2, 3)), 0, atol=0.02)
    np.testing.assert_allclose(currents.var(axis=(0, 1, 2, 3)), 1, atol=0.05)


def test_a_batch_enters_the_statistics_after_it_has_run():
    net, plane = network("chain"), pixels_for(NETWORKS["chain"], 2, seed=8)
    expected = statistics(net, plane)
    before = {name: (norm.mean.data, norm.variance.data) for name, norm in net._norms.items()}
    model = net.to_model()
    net.run(plane)
    for name, norm in net._norms.items():
        for own, kept, new in zip(before[name], (norm.mean.data, norm.variance.data), expected[name], strict=True):
            np.testing.assert_allclose(kept, own + MOMENTUM * (new - own), rtol=1e-3, atol=1e-3)
    assert not np.array_equal(net.to_model().spiking.weights["conv1"], model.spiking.weights["conv1"])


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_trained_is_what_runs(name):
    net, plane = network(name), pixels_for(NETWORKS[name])
    before = {key: tensor.data for key, tensor in net.parameters().items()}
    for _ in range(3):
        model = net.to_model()
        outcome = net.run(plane)
        same = DifferentiableNetwork(model, net.neuron, net.head)
        spikes = agrees_with_the_engine(same, plane).trains
        for layer, train in outcome.trains.items():
            np.testing.assert_array_equal(train.dense(), spikes[layer].dense(), err_msg=layer)
        outcome.restored.square().mean().backward()
        for tensor in net.parameters().values():
            if tensor.grad is not None:
                tensor.data = tensor.data - tensor.data.dtype.type(0.003) * tensor.grad
                tensor.grad = None
        net.constrain()
    still = [key for key, tensor in net.parameters().items() if np.array_equal(tensor.data, before[key])]
    assert still == []
    kinds = {key.rpartition(".")[2] for key in before}
    assert {"norm_gain", "norm_shift", "norm_mean", "norm_variance"} <= kinds


def test_gradients_are_those_of_the_folded_kernel():
    """∂L/∂V, ∂L/∂γ and ∂L/∂β from ∂L/∂W and ∂L/∂b of the same network without batch norm."""
    net, plane = network("chain"), pixels_for(NETWORKS["chain"])
    folded = DifferentiableNetwork(net.to_model(), net.neuron, net.head)
    norm = net._norms["conv1"]
    root, mean, gain = np.sqrt(norm.variance.data + EPSILON), norm.mean.data.copy(), norm.gain.data
    for each in (net, folded):
        each.run(plane).restored.square().mean().backward()
    weight, bias = (folded.parameters()[f"conv1.{key}"].grad for key in ("weight", "bias"))
    own = net.parameters()
    close = {"rtol": 1e-3, "atol": 1e-6}
    np.testing.assert_allclose(own["conv1.weight"].grad, weight * (gain / root)[:, None, None, None], **close)
    np.testing.assert_allclose(own["conv1.norm_shift"].grad, bias, **close)
    of_gain = ((weight * norm.weight.data).sum(axis=(1, 2, 3)) - bias * mean) / root
    np.testing.assert_allclose(own["conv1.norm_gain"].grad, of_gain, **close)
