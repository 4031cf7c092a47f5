"""The rate's gradient: that of an ANN of the same counts, straight through the rounding, written out tap by tap in float64."""

from dataclasses import replace

import numpy as np
import pytest

from nspike.autograd.tensor import Tensor
from nspike.errors import PluginError, UsageError
from nspike.graph.layer import Conv, Gate
from nspike.integer.normalise import gate_scale
from nspike.integer.rounding import build
from nspike.model.model import OUTPUT
from nspike.registry.plugins import registry
from nspike.runtime import parallel
from nspike.trainable.spiking import DifferentiableNetwork
from tests.graphs import branched, chain, image, random_model
from tests.own_neurons import BURST, LEAKY, TERNARY
from tests.trainable.test_spiking import agrees_with_the_engine, model_of

SLOW_BURST = replace(BURST.fast, amplitude=lambda p, t, timesteps: 1.0 if t <= timesteps else 0.5)

NETWORKS = {
    "narrow": (chain(3, 2, channels=3, kernels=(3, 5)), "mprn", "membrane"),
    "wide": (chain(16, 48, 16), "if", "membrane"),
    "words": (chain(65, 16, kernels=(3, 1)), "mprn", "membrane"),
    "worth": (chain(16, 9), "mprn_beta", "membrane"),
    "branched": (branched(3, 9, 2, channels=3), "mprn", "membrane"),
    "gate": (branched(3, 3, 2, channels=3, gate=True), "mprn", "membrane"),
    "no_bias": (chain(5, 8, bias=False), "if", "membrane"),
    "leak": (chain(16, 48, 16), "lif", "membrane"),
    "signed": (chain(16, 9), "signed", "membrane"),
    "own": (chain(16, 48, 16), LEAKY.fast, "membrane"),
    "own_narrow": (chain(3, 2, channels=3, kernels=(3, 5)), LEAKY.fast, "membrane"),
    "own_gate": (branched(3, 3, 2, channels=3, gate=True), LEAKY.fast, "membrane"),
    "planes": (chain(9, 33), TERNARY.fast, "membrane"),
    "gains": (branched(3, 9, 23, channels=3), BURST.fast, "membrane"),
    "gains_worth": (chain(9, 8), SLOW_BURST, "membrane"),
}


def rated(network, neuron, head, seed=2, **options):
    """A network that trains along the rate."""
    if isinstance(neuron, str) and neuron not in ("lif", "signed"):
        model, neuron = model_of(network, neuron, head, seed), registry().neurons[neuron]
    else:
        model = random_model(network, seed, level=0.4)
        neuron = registry().neurons[neuron] if isinstance(neuron, str) else neuron
    return DifferentiableNetwork(model, neuron, registry().heads[head], gradient="rate", **options)


@pytest.mark.parametrize("case", NETWORKS.values(), ids=NETWORKS)
def test_spikes_equal_the_engines(case):
    network = case[0]
    agrees_with_the_engine(rated(*case), image(1, 3, network.channels, 9, 7, dtype=np.int32) // 3)


@pytest.mark.parametrize("neuron", ["mprn", TERNARY.fast, BURST.fast], ids=["mprn", "ternary", "burst"])
def test_counts_are_weighted_sums_of_spikes(neuron):
    train = rated(chain(65, 3), neuron, "membrane").run(image(0, 2, 1, 9, 7).astype(np.int32) * 257).trains["act0"]
    dense = train.dense()
    worth, gains = np.linspace(0.5, 2.0, dense.shape[1]), np.array(train.planes)
    planes = dense.reshape(*dense.shape[:2], gains.size, 65, *dense.shape[3:])
    np.testing.assert_allclose(train.weighted(worth), np.einsum("t,g,ntgchw->nhwc", worth, gains, planes), rtol=1e-6)


def counts_of(net, trains):
    """n of every layer, float64 (N, C, H, W)."""
    found, timesteps = {}, net.model.spiking.timesteps
    for name, train in trains.items():
        dense, gains = train.dense(), net.neuron.planes
        values = net.to_model().spiking.neuron_parameters[net.neuron.name][name]
        worth = [net.neuron.amplitude(values, t + 1, timesteps) for t in range(dense.shape[1])]
        planes = dense.reshape(*dense.shape[:2], len(gains), -1, *dense.shape[3:])
        found[name] = np.einsum("t,g,ntgchw->nchw", worth, gains, planes)
    return found


def kernel_of(net, integer, sources):
    """The rounded kernel for spikes worth 1: of several planes, the first's."""
    if not sources:
        return integer.weights[0].astype(float)
    gains, at, parts = net.neuron.planes, 0, []
    for source in sources:
        values = net.to_model().spiking.neuron_parameters[net.neuron.name][source.name]
        worth = gains[0] * net.neuron.amplitude(values, 1, net.model.spiking.timesteps)
        parts.append(integer.weights[0][:, at : at + source.channels] / worth)
        at += source.channels * len(gains)
    return np.concatenate(parts, axis=1)


def reference(net, pixels, weigh, price):
    """The gradients of Σ weigh·output + price·Σ mean spikes of a neuron and step up to T, by their definition."""
    model, spiking = net.model, net.model.spiking
    network, timesteps = model.network, spiking.timesteps
    trains = net.run(pixels).trains
    plane = pixels / 65535.0
    counts = counts_of(net, trains)
    wanted = {name: np.zeros_like(array) for name, array in counts.items()}
    gains = np.array(net.neuron.planes)
    found = {}
    stages = {stage.name: stage for stage in build(net.to_model(), net.neuron, net.head).stages}
    for layer in reversed([layer for layer in network.layers if isinstance(layer, Conv | Gate)]):
        name = next((a.name for a in network.activations if a.source == layer.name), OUTPUT)
        integer = stages[name].integer
        unit = np.ldexp(1.0, -integer.exponent)
        theta, bias = (integer.theta * unit)[:, None, None], (integer.bias * unit)[:, None, None]
        sources = network.activations_into(layer.name)
        read = np.concatenate([counts[s.name] for s in sources], axis=1) if sources else plane * timesteps
        if isinstance(layer, Gate):
            scale = gate_scale(network, spiking, layer.name)[:, None, None]
            gates = np.rint((plane - 1) * scale / unit[:, None, None]) * unit[:, None, None]
            charge = read * gates
        else:
            weight = kernel_of(net, integer, sources) * unit[:, None, None, None]
            charge = correlate(read, weight)
        charge = charge + timesteps * bias
        if name == OUTPUT:
            of_charge = weigh * np.asarray(spiking.scales[OUTPUT])[:, None, None] / timesteps
        else:
            n = counts[name]
            values = net.to_model().spiking.neuron_parameters[net.neuron.name][name]
            worth = sum(net.neuron.amplitude(values, t + 1, timesteps) for t in range(trains[name].data.shape[3]))
            least, most = worth * gains[gains < 0].sum(), worth * gains[gains > 0].sum()
            follows = ((charge > theta * least) | (n > least)) & (charge < theta * most)
            slope = price / (timesteps * n.size) * timesteps * gains.size / (worth * np.abs(gains).sum())
            signs = np.where((charge < 0) & (least < 0), -1, 1)
            of_charge = (wanted[name] + slope * signs) * follows / theta
            ratio = spiking.thresholds[name] / np.mean(spiking.thresholds[name])
            found[f"{name}.threshold"] = -np.sum(of_charge * n * ratio[:, None, None])
        if isinstance(layer, Gate):
            of_read = of_charge * gates
        else:
            found[f"{layer.name}.weight"] = products(read, of_charge, layer.kernel)
            found[f"{layer.name}.bias"] = timesteps * of_charge.sum(axis=(0, 2, 3))
            of_read = correlate(of_charge, weight.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1])
        at = 0
        for source in sources:
            wanted[source.name] += of_read[:, at : at + source.channels]
            at += source.channels
    return found


def correlate(x, kernel):
    r = kernel.shape[2] // 2
    padded = np.pad(x, ((0, 0), (0, 0), (r, r), (r, r)))
    height, width = x.shape[2:]
    return sum(
        np.einsum("nihw,oi->nohw", padded[:, :, dy : dy + height, dx : dx + width], kernel[:, :, dy, dx])
        for dy, dx in np.ndindex(kernel.shape[2:])
    )


def products(x, g, size):
    r = size // 2
    padded = np.pad(x, ((0, 0), (0, 0), (r, r), (r, r)))
    height, width = x.shape[2:]
    out = np.zeros((g.shape[1], x.shape[1], size, size))
    for dy, dx in np.ndindex(size, size):
        out[:, :, dy, dx] = np.einsum("nohw,nihw->oi", g, padded[:, :, dy : dy + height, dx : dx + width])
    return out


@pytest.mark.parametrize("price", [0.0, 50.0])
@pytest.mark.parametrize("case", NETWORKS.values(), ids=NETWORKS)
def test_the_gradient_is_that_of_the_counts(case, price):
    network = case[0]
    net = rated(*case)
    pixels = image(4, 2, network.channels, 10, 9).astype(np.int32) * 257
    weigh = np.random.default_rng(0).normal(size=pixels.shape)
    outcome = net.run(pixels)
    loss = (outcome.output * Tensor(weigh)).sum()
    for rate in outcome.rates.values():
        loss = loss + rate * price
    loss.backward()
    expected = reference(net, pixels, weigh, price)
    for name, tensor in net.parameters().items():
        size = np.abs(expected[name]).max()
        np.testing.assert_allclose(
            tensor.grad, np.reshape(expected[name], tensor.shape), atol=1e-4 * size, err_msg=name
        )


@pytest.mark.parametrize("neuron", ["mprn", LEAKY.fast, TERNARY.fast], ids=["mprn", "leaky", "ternary"])
@pytest.mark.parametrize("head", ["cpm", "rate", "recycling"])
def test_training_along_it_lowers_the_loss_on_the_engines_spikes(neuron, head):
    net = rated(chain(8, 8), neuron, head)
    pixels = image(1, 2, 1, 16, 16).astype(np.int32) * 257
    wanted = Tensor(np.full(pixels.shape, 0.4))
    losses = []
    for _ in range(60):
        outcome = agrees_with_the_engine(net, pixels) if len(losses) == 5 else net.run(pixels)
        loss = (outcome.restored - wanted).square().mean()
        losses.append(loss.item())
        loss.backward()
        for tensor in net.parameters().values():
            if tensor.grad is not None and np.any(tensor.grad):
                tensor.data = (tensor.data - 0.02 * tensor.grad / np.linalg.norm(tensor.grad)).astype(tensor.data.dtype)
            tensor.grad = None
        net.constrain()
    assert min(losses[-5:]) < 0.6 * losses[0]


@pytest.mark.parametrize("neuron", ["mprn", LEAKY.fast, BURST.fast], ids=["mprn", "leaky", "burst"])
def test_threads_change_no_spike(neuron):
    pixels = image(2, 3, 1, 13, 11).astype(np.int32) * 257
    found = []
    try:
        for threads in (1, 3):
            parallel.set_threads(threads)
            net = rated(chain(16, 9), neuron, "cpm")
            outcome = net.run(pixels)
            outcome.restored.square().mean().backward()
            found.append((outcome.trains, {name: tensor.grad for name, tensor in net.parameters().items()}))
    finally:
        parallel.set_threads(None)
    (one, gradients), (other, others) = found
    for name, train in one.items():
        np.testing.assert_array_equal(train.data, other[name].data)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, others[name], rtol=1e-4, atol=1e-6 * np.abs(gradient).max())


def test_rates_are_spikes_of_a_neuron():
    net = rated(chain(9, 8), BURST.fast, "membrane")
    outcome = net.run(image(4, 2, 1, 8, 9).astype(np.int32) * 257)
    for name, train in outcome.trains.items():
        expected = train.dense()[:, : net.model.spiking.timesteps].sum() / (4 * 2 * 8 * 9 * train.neurons)
        assert outcome.rates[name].item() == pytest.approx(expected)


def test_what_it_trains():
    names = set(rated(chain(9, 8), "mprn_beta", "cpm").parameters())
    assert {name.rpartition(".")[2] for name in names} == {"weight", "bias", "threshold"}, "nothing else of the neuron"


def test_which_gradient():
    model, parts = random_model(chain(3)), (registry().neurons["if"], registry().heads["membrane"])
    assert DifferentiableNetwork(model, *parts).gradient == "time"
    assert DifferentiableNetwork(model, registry().neurons["lif"], parts[1]).gradient == "time"
    own = LEAKY.fast
    assert DifferentiableNetwork(model, own, parts[1]).gradient == "rate"
    with pytest.raises(PluginError, match=r"neuron leaky has a kernel of its own, .* trains with the gradient 'rate'"):
        DifferentiableNetwork(model, own, parts[1], gradient="time")
    with pytest.raises(UsageError, match=r"no gradient 'rates'\. Did you mean 'rate'"):
        DifferentiableNetwork(model, *parts, gradient="rates")
