"""Batch norm over time and batch: the batch's statistics there and back, what is folded, and the settled end of a run."""

import numpy as np
import pytest

from nspike.graph.initialise import initial_parameters
from nspike.graph.layer import IMAGE, Activation, Add, Conv, PixelShuffle
from nspike.graph.network import Network
from nspike.registry.plugins import registry
from nspike.trainable.spiking import DifferentiableNetwork
from nspike.trainable.time_norm import EPSILON, MOMENTUM
from tests.graphs import chain
from tests.trainable.networks import everything, unet
from tests.trainable.test_features import gradients
from tests.trainable.test_general import pixels_for, spiking_model
from tests.trainable.test_spiking import agrees_with_the_engine

NETWORKS = {"chain": chain(8, 16, 8), "no_bias": chain(8, 6, bias=False), "everything": everything(), "unet": unet()}


def tapped():
    """Normed currents of the image and of spikes, two sums of them to tap, channels that share their norm."""
    layers = (
        Conv("first", IMAGE, 3, 8, 3),
        Conv("second", IMAGE, 3, 8, 1, False),
        Add("analog", ("first", "second")),
        Activation("a", "analog", 8),
        Conv("third", "a", 8, 16, 3, False, groups=2),
        PixelShuffle("large", "third", 2),
        Conv("fourth", "a", 8, 16, 1, False),
        PixelShuffle("other", "fourth", 2),
        Add("sum", ("large", "other")),
        Activation("b", "sum", 4),
        Conv("out", "b", 4, 12, 2, stride=2),
        PixelShuffle("image_out", "out", 2),
        Activation("c", "image_out", 3),
        Conv("last", "c", 3, 3, 2, stride=2),
    )
    return Network("tapped", 3, layers, "last", "add")


NORMED = {"first": 1, "second": 1, "third": 4, "fourth": 4, "out": 1}


def network(name, batch_norm=True, neuron="mprn", **options):
    graph = NETWORKS[name]
    parts = registry().neurons[neuron], registry().heads["membrane"]
    plane = pixels_for(graph) if batch_norm else None
    return DifferentiableNetwork(spiking_model(graph, neuron), *parts, batch_norm=plane, **options)


def fresh(neuron="if", **options):
    graph = tapped()
    model = spiking_model(graph, neuron)
    for name, array in initial_parameters(graph, 5).items():
        model.parameters[name][...] = array
    parts = registry().neurons[neuron], registry().heads["membrane"]
    return DifferentiableNetwork(model, *parts, batch_norm=pixels_for(graph), normed=NORMED, **options)


def made(net, plane):
    """The convolutions after a run, and their currents up to T in units of their scale, (N, T, H, W, C)."""
    running = net._running(plane, None)
    for activation in net.model.network.activations:
        running.tensor(activation.name)
    for name in net._norms:
        written = running.made[name]
        yield (
            name,
            written,
            written.currents()[:, : running.shared.timesteps] * np.ldexp(1.0, -written.integer.exponent),
        )


@pytest.mark.parametrize("name", NETWORKS)
def test_the_start_is_the_network_as_it_was(name):
    plain, normed = network(name, False), network(name)
    before, after = plain.to_model().spiking, normed.to_model().spiking
    for conv, weight in before.weights.items():
        np.testing.assert_allclose(after.weights[conv], weight, rtol=1e-5, atol=1e-7)
        bias = before.biases.get(conv, np.zeros(len(weight)))
        np.testing.assert_allclose(after.biases.get(conv, np.zeros(len(weight))), bias, atol=1e-5)
    assert set(normed._norms) == {c.name for c in NETWORKS[name].convs} - {NETWORKS[name].output, "tail"}


def test_currents_have_the_moments_of_gain_and_shift():
    """Of a batch that the network has not seen; channels that share their norm together."""
    net, draw = fresh(), np.random.default_rng(4)
    for norm in net._norms.values():
        norm.gain.data = draw.uniform(0.5, 1.5, norm.gain.shape).astype(np.float32)
        norm.shift.data = draw.normal(size=norm.shift.shape).astype(np.float32)
    for name, _, currents in made(net, pixels_for(tapped(), 3, seed=9)):
        norm = net._norms[name]
        by_norm = currents.reshape(-1, norm.gain.size, norm.together)
        np.testing.assert_allclose(by_norm.mean(axis=(0, 2)), norm.shift.data, atol=0.02, err_msg=name)
        np.testing.assert_allclose(by_norm.std(axis=(0, 2)), norm.gain.data, rtol=0.02, err_msg=name)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_batch_enters_the_statistics_after_it_has_run(name):
    net, plane = network(name), pixels_for(NETWORKS[name], 2, seed=8)
    before, expected = {}, {}
    for conv, written, _ in made(net, plane):
        norm = net._norms[conv]
        factor = norm.gain.data / np.sqrt(norm.variance.data + EPSILON)
        given = written.norm.given[:, : written.shared.timesteps].astype(float)
        y = (given - written.integer.bias) * np.ldexp(1.0, -written.integer.exponent) / factor
        before[conv] = norm.mean.data, norm.variance.data
        expected[conv] = y.mean(axis=(0, 1, 2, 3)), y.var(axis=(0, 1, 2, 3))
    model = net.to_model()
    net.run(plane)
    for conv, norm in net._norms.items():
        for own, kept, new in zip(before[conv], (norm.mean.data, norm.variance.data), expected[conv], strict=True):
            np.testing.assert_allclose(kept, own + MOMENTUM * (new - own), rtol=1e-4, atol=1e-5)
    assert any(not np.array_equal(net.to_model().spiking.weights[c], model.spiking.weights[c]) for c in net._norms)

    net.settled = True
    frozen = {conv: norm.mean.data for conv, norm in net._norms.items()}
    net.run(plane)
    assert all(net._norms[conv].mean.data is mean for conv, mean in frozen.items())


@pytest.mark.parametrize("tap", ["analog", "sum"])
@pytest.mark.parametrize("gradient", ["time", "rate"])
def test_gradients_go_through_the_statistics(tap, gradient):
    """By differences, along a random direction of every kernel, γ and β that make a tapped current; the spikes stay."""
    net, draw, plane = fresh(gradient=gradient), np.random.default_rng(3), pixels_for(tapped(), 2, seed=6)
    shape = (2, *tapped().shapes(*plane.shape[2:])[tap])
    weights = np.square(draw.normal(size=shape)).astype(np.float32)
    running = {conv: (norm.mean.data, norm.variance.data) for conv, norm in net._norms.items()}

    def feature():
        for conv, (mean, variance) in running.items():  # else other grids, and a few other spikes before
            net._norms[conv].mean.data, net._norms[conv].variance.data = mean, variance
        return net.run(plane, taps=[tap]).features[tap]

    ours = gradients(net, (feature() * weights).sum())
    for conv in {"analog": ("first", "second"), "sum": ("third", "fourth")}[tap]:
        for part in ("weight", "norm_gain", "norm_shift"):
            if (tap, gradient, part) == ("sum", "rate", "weight"):
                continue  # rates are blind to how spikes and currents go together over time
            tensor = net.parameters()[f"{conv}.{part}"]
            kept, direction = tensor.data, draw.normal(size=tensor.shape).astype(np.float32)
            if part == "weight":  # away from the kernel's own size, which has no gradient
                direction[: len(direction) // 2] = 0
            step = 0.01 if part == "weight" else 0.2  # beside it the rounding of the grid is small
            ends = []
            for sign in (1, -1):
                tensor.data = kept + np.float32(sign * step) * direction
                ends.append(float((feature().data * weights).sum(dtype=np.float64)))
            tensor.data = kept
            expected = (ends[0] - ends[1]) / (2 * step)
            assert np.sum(ours[f"{conv}.{part}"] * direction) == pytest.approx(expected, rel=0.02), (conv, part)


def test_a_kernels_size_has_no_gradient():
    """What batch norm takes out: the gradient is at right angles to the kernel of each norm."""
    net, plane = fresh(), pixels_for(tapped(), 2, seed=6)
    ours = gradients(net, net.run(plane).restored.square().mean())
    for name, norm in net._norms.items():
        kernel, gradient = (x.reshape(norm.gain.size, -1) for x in (norm.weight.data, ours[f"{name}.weight"]))
        along = np.abs((kernel * gradient).sum(axis=1))
        size = np.linalg.norm(kernel, axis=1) * np.linalg.norm(gradient, axis=1)
        assert size.max() > 0
        assert along.max() < 0.02 * size.max(), name


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_settled_is_what_runs(name):
    net, plane = network(name), pixels_for(NETWORKS[name])
    before = {key: tensor.data for key, tensor in net.parameters().items()}
    for number in range(4):
        net.settled = number >= 2
        outcome = net.run(plane)
        if net.settled:
            same = DifferentiableNetwork(net.to_model(), net.neuron, net.head)
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


def test_settled_gradients_are_those_of_the_folded_kernel():
    """∂L/∂V, ∂L/∂γ and ∂L/∂β from ∂L/∂W and ∂L/∂b of the same network without batch norm."""
    net, plane = network("chain"), pixels_for(NETWORKS["chain"])
    net.settled = True
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


def test_any_number_of_threads_gives_the_same_statistics():
    from nspike.runtime.parallel import set_threads

    found = []
    for threads in (1, 3):
        set_threads(threads)
        net = fresh()
        net.run(pixels_for(tapped(), 2, seed=6))
        found.append({name: norm.variance.data for name, norm in net._norms.items()})
    set_threads(None)
    for name, variance in found[0].items():
        np.testing.assert_array_equal(variance, found[1][name], err_msg=name)
