"""Back through leak, input factor, several spikes at a step and hard reset, against finite differences.

What is differentiated is the forward pass in float64 with each firing test H(x) replaced by H(x₀) + S(x) - S(x₀): its value is
that of the spikes, x₀ being x where the gradient is taken, its slope that of S, whose derivative is the surrogate.
"""

from dataclasses import replace

import numpy as np
import pytest

from nspike.contracts.neuron import NEVER, Neuron, Parameter
from nspike.errors import PluginError
from nspike.integer.dynamics import Dynamics
from nspike.kernels import back_in_time, through_time
from nspike.registry.plugins import registry
from nspike.trainable import surrogate
from nspike.trainable.spiking import DifferentiableNetwork
from nspike.trainable.time_rule import _flips
from tests.graphs import branched, chain, image, random_model
from tests.trainable.test_rate_layer import correlate
from tests.trainable.test_spiking import agrees_with_the_engine

KINDS = {
    "plain": {},
    "leak": {"keep": 0.75},
    "input": {"keep": 0.5, "factor": 0.5},
    "zero": {"zero": True},
    "leak to zero": {"keep": 0.5, "factor": 0.25, "zero": True},
    "signed": {"down": 1},
    "signed to zero": {"down": 1, "zero": True, "keep": 0.875},
    "burst": {"up": 3, "most": 7},
    "burst of five": {"up": 3, "most": 5, "keep": 0.75},
    "burst to zero": {"up": 2, "most": 3, "zero": True},
    "both": {"up": 2, "down": 3, "most": 6},
}
RARE = ("input", "leak to zero", "signed to zero", "burst to zero", "both")  # each compiles kernels of its own
MOST = [pytest.param(name, marks=pytest.mark.slow) if name in RARE else name for name in KINDS]


def smooth(x):
    return 1 / (1 + np.exp(-4 * x))


class Smooth:
    """A layer of neurons of any kind, with firing tests as above; the first call is where the gradient is taken."""

    def __init__(self, keep=1.0, factor=1.0, zero=False, up=1, down=0, most=1, follow=True):
        self.keep, self.factor, self.zero, self.follow = keep, factor, zero, follow
        self.planes = (up, down)
        self.counts = [min(most, 2**n - 1) for n in self.planes]
        self.at = {}

    def test(self, key, x):
        first = self.at.setdefault(key, x)
        return (first >= 0) + smooth(x) - smooth(first)

    def run(self, currents, theta, v0, fires, amplitudes):
        """Spikes [t][plane] and v at the end, of currents [t], theta and v0 in whatever shape; fires, amplitudes (steps,)."""
        v, spikes = v0, []
        for t, current in enumerate(currents):
            u = self.keep * v + self.factor * current
            if fires[t] == NEVER:
                v = u
                spikes.append([np.zeros_like(u)] * sum(self.planes))
                continue
            planes, n, any_fired = [], 0.0, 0.0
            for sign, count, bits in zip((1, -1), self.counts, self.planes, strict=True):
                tests = [
                    self.test((t, sign, k), sign * u - fires[t] * theta - k * amplitudes[t] * theta)
                    for k in range(count)
                ]
                for bit in range(bits):
                    flips = [((k + 1) >> bit & 1) - (k >> bit & 1) for k in range(count)]
                    planes.append(sum(f * h for f, h in zip(flips, tests, strict=True)))
                hard = [self.at[t, sign, k] >= 0 for k in range(count)]
                spent = tests if self.follow else [h + 0.0 for h in hard]
                n = n + sign * sum(spent, np.zeros_like(u))
                any_fired = any_fired + (spent[0] if count else 0.0)
            v = u * (1 - any_fired) if self.zero else u - amplitudes[t] * theta * n
            spikes.append(planes)
        return spikes, v


def differences(function, arrays, steps=1e-5):
    """The gradient of `function(*arrays)` in each element of each array."""
    found = []
    for i, array in enumerate(arrays):
        gradient = np.zeros(array.shape)
        for place in np.ndindex(array.shape):
            ends = []
            for h in (steps, -steps):
                moved = array.copy()
                moved[place] += h
                ends.append(function(*arrays[:i], moved, *arrays[i + 1 :]))
            gradient[place] = (ends[0] - ends[1]) / (2 * steps)
        found.append(gradient)
    return found


@pytest.mark.parametrize("follow", [True, False])
@pytest.mark.parametrize("name", KINDS)
def test_the_kernel(name, follow):
    """Every kind of declared neuron by itself, with an f and an a that change and a silent step."""
    kind, steps, channels = KINDS[name], 6, 5
    draw = np.random.default_rng(len(name))
    theta, v0 = draw.uniform(0.6, 1.4, channels), draw.uniform(-0.4, 0.4, channels)
    fires, amplitudes = np.array([1.0, 1.0, NEVER, 0.8, 1.0, 0.75]), np.array([1.0] * 5 + [1.2])
    currents = draw.normal(0.3, 1.2, (steps, channels)) / kind.get("factor", 1.0)
    layer = Smooth(**kind, follow=follow)
    planes = sum(layer.planes)
    of_spikes = draw.normal(size=(steps, planes, channels))
    added, of_v = draw.normal(size=steps).astype(np.float32), draw.normal(size=channels)

    def loss(currents, theta, v0):
        spikes, v = layer.run(currents, theta, v0, fires, amplitudes)
        return (
            sum((of_spikes[t] * spikes[t] + added[t] * np.array(spikes[t])).sum() for t in range(steps))
            + (of_v * v).sum()
        )

    loss(currents, theta, v0)
    fired = np.concatenate(list(layer.at.values())) >= 0
    assert fired.any()
    assert not fired.all()
    of_currents, of_theta, of_v0 = differences(loss, (currents, theta, v0))

    own = Dynamics(up=kind.get("up", 1), down=kind.get("down", 0), most=kind.get("most", 1))
    at = np.where(fires == NEVER, 0, fires)[:, None] * theta
    x = np.stack([layer.at.get((t, 1, 0), np.zeros(channels)) for t in range(steps)])[None].astype(np.float32)
    resets = amplitudes[:, None] * theta
    orders = [(1, k) for k in range(layer.counts[0])] + [(-1, k) for k in range(layer.counts[1])]
    nothing = np.full(channels, 99.0)
    tests = np.array([[layer.at.get((t, sign, k), nothing) for t in range(steps)] for sign, k in orders])[:, None]
    slopes = surrogate.sigmoid(tests).astype(np.float32)
    gradients = of_spikes.reshape(steps, 1, -1).astype(np.float32)
    g_v, sums = of_v[None].astype(np.float32), np.zeros((3, steps, channels))
    scratch, silent = np.empty((3, steps, channels), np.float32), np.where(fires == NEVER, -1, fires).astype(np.float32)
    numbers = (at.astype(np.float32), resets.astype(np.float32), _flips(own), layer.counts[0], layer.zero)
    factors = np.array([layer.keep, layer.factor], np.float32)
    through_time.backward_declared(
        x, slopes, gradients, added, silent, *numbers, factors, np.float32(follow), g_v, *sums, scratch, 0
    )
    found = gradients[:, 0, :channels]
    np.testing.assert_allclose(found, of_currents, atol=2e-5 * np.abs(of_currents).max())
    np.testing.assert_allclose(sums[0], of_currents, atol=2e-5 * np.abs(of_currents).max())
    np.testing.assert_allclose(g_v[0], of_v0, atol=2e-5 * np.abs(of_v0).max())
    of_fire = np.maximum(silent, 0) @ sums[1] + amplitudes @ sums[2]
    np.testing.assert_allclose(-of_fire, of_theta, atol=2e-5 * np.abs(of_theta).max())
    if name == "plain":
        for known in (slopes[0].reshape(-1), None):
            gradients, g_v = of_spikes.astype(np.float32), of_v[None].astype(np.float32)
            plain, followed = np.zeros((3, steps, channels)), (resets * follow).astype(np.float32)
            back_in_time.backward(
                x, known, np.float32(surrogate.SLOPE), gradients, added, silent, followed, g_v, *plain, scratch, 0
            )
            np.testing.assert_allclose(plain, sums, rtol=1e-5, atol=1e-5)


def neuron_of(name):
    kind = KINDS[name]
    up, down = kind.get("up", 1), kind.get("down", 0)
    return Neuron(
        "kind",
        "",
        "",
        keep=lambda p: kind.get("keep", 1.0),
        input_factor=lambda p: kind.get("factor", 1.0),
        reset="zero" if kind.get("zero") else "subtract",
        planes=(*(1 << i for i in range(up)), *(-(1 << i) for i in range(down))),
        most_spikes=kind.get("most"),
        post_steps=1,
        fire=lambda p, t, timesteps: 1.0 if t <= timesteps else 0.75,
        amplitude=lambda p, t, timesteps: 1.0 if t <= timesteps else 1.25,
    )


@pytest.mark.parametrize("name", MOST)
@pytest.mark.parametrize("wide", [False, True])
def test_spikes_equal_the_engines_before_and_after_steps(name, wide):
    network = chain(65, 16) if wide else branched(3, 9, 2, channels=3)
    neuron = neuron_of(name)
    net = DifferentiableNetwork(
        random_model(network, 3, level=0.4), neuron, registry().heads["membrane"], per="channel"
    )
    pixels = image(1, 2, network.channels, 6, 7, dtype=np.int32) // 3
    for _ in range(2):
        outcome = agrees_with_the_engine(net, pixels)
        assert {train.planes for train in outcome.trains.values()} == {neuron.planes}
        outcome.restored.square().mean().backward()
        for tensor in net.parameters().values():
            tensor.data = tensor.data - tensor.data.dtype.type(0.01) * tensor.grad / max(
                np.abs(tensor.grad).max(), 1e-9
            )
            tensor.grad = None
        net.constrain()
    agrees_with_the_engine(net, pixels)


@pytest.mark.parametrize("name", MOST[1:])
def test_recomputing_changes_no_bit(name):
    pixels, found = image(3, 2, 1, 6, 5, dtype=np.int32) // 4, []
    for recompute in (False, True):
        model, head = random_model(chain(9, 5), 3, level=0.4), registry().heads["membrane"]
        net = DifferentiableNetwork(model, neuron_of(name), head, recompute=recompute)
        net.run(pixels).restored.square().mean().backward()
        found.append({key: tensor.grad for key, tensor in net.parameters().items()})
    for key, gradient in found[0].items():
        np.testing.assert_array_equal(gradient, found[1][key])


@pytest.mark.parametrize("name", MOST)
def test_a_network(name):
    """Kernels, biases and thresholds of two layers of neurons, read by the membrane head; the rate has a price."""
    network, neuron, timesteps = chain(4, 3), neuron_of(name), 4
    model = random_model(network, 5, timesteps=timesteps, level=0.5)
    net = DifferentiableNetwork(model, neuron, registry().heads["membrane"], per="channel")
    pixels = image(4, 1, 1, 4, 3).astype(np.int32) * 257
    weigh = np.random.default_rng(0).normal(size=pixels.shape)
    outcome = net.run(pixels)
    loss = (outcome.output * weigh).sum() + outcome.rates["act0"] * 3.0
    loss.backward()
    layers = [Smooth(**KINDS[name]) for _ in range(2)]
    scale = np.asarray(model.spiking.scales["output"])[:, None, None]
    fires, amplitudes = [1.0] * timesteps + [0.75], [1.0] * timesteps + [1.25]
    gains = np.array(neuron.planes, float)
    parameters = net.parameters()

    def value(w0, b0, th0, w1, b1, th1, w2, b2):
        numbers, read = ((w0, b0, th0), (w1, b1, th1)), None
        rate = 0.0
        for i, (w, b, theta) in enumerate(numbers):
            if read is None:
                still = correlate(pixels / 65535.0, w)
                currents = [still + b[:, None, None]] * timesteps + [np.zeros_like(still)]
            else:
                currents = [correlate(x, w) + (b[:, None, None] if t < timesteps else 0) for t, x in enumerate(read)]
            v0 = np.zeros_like(currents[0])
            spikes, _ = layers[i].run(currents, theta[:, None, None], v0, fires, amplitudes)
            read = [
                amplitudes[t] * sum(g * s for g, s in zip(gains, spikes[t], strict=True)) for t in range(timesteps + 1)
            ]
            if i == 0:
                events = sum(np.sum(spikes[t]) for t in range(timesteps))
                rate = events / (timesteps * currents[0].size)
        charge = sum(correlate(x, w2) + (b2[:, None, None] if t < timesteps else 0) for t, x in enumerate(read))
        return float((weigh * charge / timesteps * scale).sum()) + 3.0 * rate

    names = ["conv0.weight", "conv0.bias", "act0.threshold", "conv1.weight", "conv1.bias", "act1.threshold"]
    names += ["conv2.weight", "conv2.bias"]
    arrays = [parameters[key].data.astype(np.float64) for key in names]
    assert value(*arrays) == pytest.approx(loss.item(), rel=0.05, abs=0.02)
    for key, expected in zip(names, differences(value, arrays), strict=True):
        gradient = parameters[key].grad
        np.testing.assert_allclose(gradient, expected, atol=4e-3 * np.abs(expected).max(), err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [{}, {"zero": True}, {"down": 1}, {"up": 2, "most": 3}], ids=str)
def test_a_leak_is_trained(kind):
    """∂L/∂tau of two layers against differences of the smooth network."""
    network, timesteps = chain(4, 3), 5
    up, down = kind.get("up", 1), kind.get("down", 0)
    neuron = Neuron(
        "n",
        "",
        "",
        parameters=(Parameter("tau", 2.0, 1.0, 9.0, "", trainable=True), Parameter("v_init", 0.25, -1.0, 1.0, "")),
        keep=lambda p: 1 - 1 / p["tau"],
        reset="zero" if kind.get("zero") else "subtract",
        planes=(*(1 << i for i in range(up)), *(-(1 << i) for i in range(down))),
        most_spikes=kind.get("most"),
    )
    model = random_model(network, 7, timesteps=timesteps, level=0.5)
    net = DifferentiableNetwork(model, neuron, registry().heads["membrane"], per="channel")
    pixels = image(4, 1, 1, 4, 3).astype(np.int32) * 257
    weigh = np.random.default_rng(0).normal(size=pixels.shape)
    loss = (net.run(pixels).output * weigh).sum()
    loss.backward()
    layers = [Smooth(**kind) for _ in range(2)]
    parameters, gains = net.parameters(), np.array(neuron.planes, float)
    floats = {key: tensor.data.astype(np.float64) for key, tensor in parameters.items()}
    scale = np.asarray(net.model.spiking.scales["output"])[:, None, None]

    def value(*taus):
        read = None
        for i, tau in enumerate(taus):
            layers[i].keep = 1 - 1 / tau
            w, b, theta = (floats[key] for key in (f"conv{i}.weight", f"conv{i}.bias", f"act{i}.threshold"))
            inputs = [pixels / 65535.0] * timesteps if read is None else read
            currents = [correlate(x, w) + b[:, None, None] for x in inputs]
            theta = theta[:, None, None]
            ones = [1.0] * timesteps
            spikes, _ = layers[i].run(currents, theta, 0.25 * theta + np.zeros_like(currents[0]), ones, ones)
            read = [sum(g * s for g, s in zip(gains, spikes[t], strict=True)) for t in range(timesteps)]
        charge = sum(correlate(x, floats["conv2.weight"]) + floats["conv2.bias"][:, None, None] for x in read)
        return float((weigh * charge / timesteps * scale).sum())

    assert value(floats["act0.tau"], floats["act1.tau"]) == pytest.approx(loss.item(), rel=0.05, abs=0.02)
    expected = differences(value, [floats["act0.tau"], floats["act1.tau"]])
    for key, number in zip(("act0.tau", "act1.tau"), expected, strict=True):
        assert abs(number) > 1e-4
        assert parameters[key].grad == pytest.approx(number, rel=2e-2)


def test_an_input_factor_is_not_trained():
    tau = Parameter("tau", 2.0, 1.0, 9.0, "", trainable=True)
    neuron = Neuron("n", "", "", parameters=(tau,), input_factor=lambda p: 1 / p["tau"])
    net = DifferentiableNetwork(random_model(chain(3)), neuron, registry().heads["membrane"])
    with pytest.raises(PluginError, match="neuron n: its input factor depends on 'tau'"):
        net.run(image(0, 1, 1, 3, 3, dtype=np.int32)).restored.mean().backward()


@pytest.mark.parametrize("neuron", ["lif", "lif_hard", "signed", "burst", "ternary", "atif", "dietsnn"])
def test_training_lowers_the_loss_on_the_engines_spikes(neuron):
    parts = replace(registry().neurons[neuron], name="tuned"), registry().heads["membrane"]
    net = DifferentiableNetwork(random_model(chain(8, 8), 2, level=0.4), *parts)
    pixels, losses = image(1, 2, 1, 12, 12).astype(np.int32) * 257, []
    for _ in range(40):
        outcome = agrees_with_the_engine(net, pixels) if len(losses) == 5 else net.run(pixels)
        loss = (outcome.restored - np.full(pixels.shape, 0.4)).square().mean()
        losses.append(loss.item())
        loss.backward()
        for tensor in net.parameters().values():
            tensor.data = (tensor.data - 0.02 * tensor.grad / np.linalg.norm(tensor.grad)).astype(tensor.data.dtype)
            tensor.grad = None
        net.constrain()
    assert min(losses[-5:]) < 0.6 * losses[0]
