"""The network that is trained is the one that runs: spikes against the engine, gradients against a twin in PyTorch."""

from pathlib import Path

import numpy as np
import pytest

from nspike.errors import ModelError, PluginError
from nspike.images import file as images
from nspike.model import file as weights
from nspike.model.model import OUTPUT
from nspike.registry.plugins import registry
from nspike.trainable.spiking import DifferentiableNetwork
from tests.graphs import branched, chain, image, random_model, run
from tests.own_neurons import LEAKY

NETWORKS = {
    "narrow": (chain(3, 2, channels=3, kernels=(3, 5)), "mprn", "membrane"),
    "narrow_cpm": (chain(4, 4), "mprn", "cpm"),
    "wide": (chain(16, 48, 16), "mprn", "cpm"),
    "words": (chain(65, 16, kernels=(3, 1)), "if", "recycling"),
    "colour": (chain(17, channels=3, mode="add"), "mprn_beta", "rate"),
    "worth": (chain(16, 16, 16), "mprn_beta", "cpm"),
    "branched": (branched(3, 9, 2, channels=3), "mprn_beta", "membrane"),
    "gate": (branched(3, 3, 2, channels=3, gate=True), "mprn", "cpm"),
    "gate_no_neuron": (branched(3, 3, 2, channels=3, gate=True), "mprn", "membrane"),
    "no_bias": (chain(5, 8, bias=False), "if", "rate"),
}


def model_of(network, neuron, head, seed=0, timesteps=4):
    draw = np.random.default_rng(seed)
    c = network.channels
    heads = {
        "cpm": {"weight": draw.normal(0, 0.3, (c, c, 3, 3)), "bias": draw.normal(0, 0.1, c)},
        "recycling": {"weight": draw.normal(0, 0.3, (c, c, 1, 1))},
    }
    given = {"mprn": {"beta": -0.7, "v_init": 0.2}, "mprn_beta": {"beta": 1.3, "alpha": 0.8}, "if": {"v_init": 0.5}}
    names = [a.name for a in network.activations]
    if "gate" in network.output and neuron == "mprn_beta":
        names = names[:-1]
    own = {neuron: dict.fromkeys(names, given[neuron])}
    return random_model(network, seed, timesteps=timesteps, level=0.4, neuron_parameters=own, head_parameters=heads)


def trainable(model, neuron, head, **options):
    return DifferentiableNetwork(model, registry().neurons[neuron], registry().heads[head], **options)


def agrees_with_the_engine(net, pixels):
    """Zero differences, in spikes and output, between a run and the engine's on the model as it would be saved."""
    outcome = net.run(pixels)
    output, _, spikes = run(net.to_model(), pixels, net.neuron, net.head, threads=1)
    for name, train in outcome.trains.items():
        np.testing.assert_array_equal(train.dense(), spikes[name], err_msg=name)
    assert sum(train.events().sum() for train in outcome.trains.values()) > 0
    np.testing.assert_array_equal(outcome.output.data, output)
    return outcome


@pytest.mark.parametrize("case", NETWORKS.values(), ids=NETWORKS)
def test_spikes_equal_the_engines(case):
    network, neuron, head = case
    net = trainable(model_of(*case), neuron, head)
    pixels = image(1, 3, network.channels, 9, 7, dtype=np.int32) // 3
    agrees_with_the_engine(net, pixels)


@pytest.mark.parametrize("name", ["dncnn-s25", "aodnet", "vdsr"])
def test_shipped_models_spike_as_in_the_engine(name):
    """Real weights and a real image: zero differences."""
    path = Path(__file__).parents[2] / "weights" / f"{name}.h5"
    if not path.exists():
        pytest.skip(f"{name} is not shipped")
    model = weights.load(path)
    pixels = images.read(Path(__file__).parents[2] / "nspike" / "images" / "bundled" / "camera.png").pixels[
        200:228, 200:230
    ]
    plane = 257 * np.repeat(pixels[None, None].astype(np.int32), model.network.channels, axis=1)
    agrees_with_the_engine(trainable(model, model.spiking.neuron, model.spiking.head), plane)


@pytest.mark.parametrize("recompute", [False, True])
def test_spikes_equal_the_engines_after_training(recompute):
    """Steps along the gradient, thresholds and what the neurons and the head train included."""
    net = trainable(model_of(*NETWORKS["worth"]), "mprn_beta", "cpm", per="channel", recompute=recompute)
    pixels = image(2, 2, 1, 8, 9, dtype=np.int32) // 4
    before = {name: tensor.data.copy() for name, tensor in net.parameters().items()}
    for _ in range(3):
        outcome = net.run(pixels)
        outcome.restored.square().mean().backward()
        for tensor in net.parameters().values():
            tensor.data = tensor.data - tensor.data.dtype.type(0.003) * tensor.grad
            tensor.grad = None
        net.constrain()
        agrees_with_the_engine(net, pixels)
    moved = {name for name, tensor in net.parameters().items() if not np.array_equal(tensor.data, before[name])}
    assert moved == set(before), "everything that is trained moves"
    kinds = {name.rpartition(".")[2] for name in before}
    assert kinds == {"weight", "bias", "threshold", "beta"}
    saved = trainable(net.to_model(), "mprn_beta", "cpm", per="channel")
    for name, tensor in saved.parameters().items():
        np.testing.assert_array_equal(tensor.data, net.parameters()[name].data)


def test_recomputing_changes_no_bit():
    pixels = image(3, 2, 1, 8, 9, dtype=np.int32) // 4
    found = []
    for recompute in (False, True):
        net = trainable(model_of(*NETWORKS["wide"]), "mprn", "cpm", recompute=recompute)
        net.run(pixels).restored.square().mean().backward()
        found.append({name: tensor.grad for name, tensor in net.parameters().items()})
    for name, gradient in found[0].items():
        np.testing.assert_array_equal(gradient, found[1][name])


def test_rates_are_the_engines_counts():
    net = trainable(model_of(*NETWORKS["wide"]), "mprn", "membrane")
    pixels = image(4, 2, 1, 8, 9)
    outcome = net.run(pixels.astype(np.int32) * 257)
    _, ledger, _ = run(net.to_model(), pixels, "mprn", "membrane")
    counts = {layer.name: layer.events[0, :4].sum() for layer in ledger.layers}
    for name, value in outcome.rates.items():
        channels = outcome.trains[name].channels
        assert value.item() == pytest.approx(counts[name] / (4 * 2 * 8 * 9 * channels))


def test_constrain():
    net = trainable(model_of(*NETWORKS["worth"]), "mprn_beta", "cpm")
    parameters = net.parameters()
    parameters["act0.threshold"].data[:] = -1.0
    parameters["act1.beta"].data = np.float64(-3.0)
    net.constrain()
    assert net.to_model().spiking.thresholds["act0"].min() == pytest.approx(0.05)
    assert net.to_model().spiking.neuron_parameters["mprn_beta"]["act1"]["beta"] == pytest.approx(1e-3)
    net.run(image(0, 1, 1, 5, 5, dtype=np.int32))


def test_what_a_gate_reads_stays_worth_one():
    net = trainable(model_of(branched(3, 3, 2, channels=3, gate=True), "mprn_beta", "cpm"), "mprn_beta", "cpm")
    names = {name for name in net.parameters() if name.endswith(".beta")}
    assert names == {"a.beta", "b.beta", "c.beta"}


def test_refusals():
    model = model_of(*NETWORKS["narrow"])
    with pytest.raises(PluginError, match="neuron leaky has a kernel of its own"):
        DifferentiableNetwork(model, LEAKY.fast, registry().heads["membrane"], gradient="time")
    with pytest.raises(PluginError, match="no surrogate 'step'"):
        trainable(model, "if", "membrane", surrogate="step")
    with pytest.raises(ModelError, match="no spiking form"):
        trainable(model.with_spiking(None), "if", "membrane")


# ----- gradients -----


def test_heads_against_differences():
    """The gradients that heads give of themselves, with respect to everything that they read."""
    from nspike.contracts.head import OutputLayer

    draw = np.random.default_rng(0)
    charge, spikes, residual = draw.normal(size=(2, 5, 4)), draw.normal(size=(2, 5, 4)), draw.normal(size=(2, 5, 4))
    k = np.array([10, 12])
    theta = np.array([1000.0, 5000.0])
    for name in ("membrane", "rate", "cpm", "mapper", "recycling"):
        head = registry().heads[name]
        parameters = {key: draw.normal(size=a.shape) for key, a in head.initial(2).items()}
        g = draw.normal(size=(2, 5, 4))

        def value(c, s, r, th, p, head=head, g=g):
            return float((g * head.read(OutputLayer(c, s, r, th, k, 3), p)).sum())

        unit = 2.0 ** k[:, None, None]
        at = (charge * unit, np.rint(9 * spikes), residual * unit, theta)
        layer = OutputLayer(at[0], at[1].astype(np.int32), at[2], at[3], k, 3)
        found = head.gradient(layer, parameters, g)
        for i, (key, h) in enumerate((("charge", 2.0**-8), ("spikes", 1.0), ("residual", 2.0**-8))):
            for place in ((0, 0, 0), (1, 2, 3), (1, 4, 0)):
                shift = np.zeros((2, 5, 4))
                shift[place] = h
                ends = [
                    [a + (sign * shift * (1 if key == "spikes" else unit) if j == i else 0) for j, a in enumerate(at)]
                    for sign in (1, -1)
                ]
                ends = [value(c, s.astype(np.int64), r, th, parameters) for c, s, r, th in ends]
                expected = (ends[0] - ends[1]) / (2 * h)
                assert found.get(key, np.zeros((2, 5, 4)))[place] == pytest.approx(expected, rel=1e-3, abs=1e-4)
        for channel in (0, 1):
            shift = np.zeros(2)
            shift[channel] = 1e-3 * unit[channel, 0, 0]
            ends = [value(at[0], at[1].astype(np.int64), at[2], theta + sign * shift, parameters) for sign in (1, -1)]
            expected = (ends[0] - ends[1]) / 2e-3
            assert found.get("theta", np.zeros(2))[channel] == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_what_no_spike_follows_has_its_exact_gradient():
    """The last convolution under the membrane head: the loss is a square in it, so differences are exact but for rounding."""
    net = trainable(model_of(chain(16, 16), "mprn", "membrane"), "mprn", "membrane")
    pixels = image(7, 2, 1, 9, 8, dtype=np.int32) // 4
    target = np.random.default_rng(8).random(pixels.shape)

    def loss():
        return (net.run(pixels).restored - target).square().mean()

    loss().backward()
    for name, places in (("conv2.weight", [(0, 3, 1, 1), (0, 7, 0, 2)]), ("conv2.bias", [(0,)])):
        tensor = net.parameters()[name]
        for place in places:
            ends, start = [], tensor.data.copy()
            for shift in (0.05, -0.05):
                tensor.data = start.copy()
                tensor.data[place] += np.float32(shift)
                ends.append(loss().item())
            tensor.data = start
            assert tensor.grad[place] == pytest.approx((ends[0] - ends[1]) / 0.1, rel=0.02, abs=1e-3)


def tensors_of(torch, net):
    """The parameters as float64 tensors of PyTorch."""
    made = {name: torch.tensor(t.data.astype(np.float64), requires_grad=True) for name, t in net.parameters().items()}
    fixed = {"output.threshold": torch.ones(1, dtype=torch.float64)}
    return fixed | made


def through(torch, exact, value):
    """`exact` forward, the gradient of `value` backward."""
    return value + (torch.as_tensor(exact) - value).detach()


def twin(torch, net, pixels, surrogate):
    """The network in PyTorch, float64, from the rounded integers and the definitions: restored images, rates, parameters."""
    from nspike.integer.rounding import build

    class Fire(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return (x >= 0).double()

        @staticmethod
        def backward(ctx, g):
            return g * torch.as_tensor(surrogate(ctx.saved_tensors[0].numpy()))

    p = tensors_of(torch, net)
    integers = build(net.to_model(), net.neuron, net.head)
    timesteps, total = integers.timesteps, integers.steps
    values = net.to_model().spiking.neuron_parameters[net.neuron.name]

    def own(name, key, default=None):
        return p.get(f"{name}.{key}", values.get(name, {}).get(key, default))

    def fires(name, t):
        if t <= timesteps or name == OUTPUT:
            return 1.0
        if net.neuron.name == "mprn":
            return 0.5 * torch.sigmoid(own(name, "beta")) + 0.5
        return own(name, "alpha")

    def worth(name, t):
        return own(name, "beta") if net.neuron.name == "mprn_beta" and t > timesteps and name != OUTPUT else 1.0

    x = torch.as_tensor(pixels / 65535.0)
    spikes = {}
    for stage in integers.stages:
        name, k = stage.name, stage.integer.exponent
        unit = np.ldexp(1.0, -k)[:, None, None]
        ratio = torch.as_tensor(net._neurons[name].ratio)
        theta = through(torch, np.ldexp(stage.integer.theta, -k), ratio * p[f"{name}.threshold"])[:, None, None]
        v = torch.as_tensor(np.ldexp(stage.v0, -k)[:, None, None]) + 0 * theta
        initial = own(name, "v_init", 0.0) if name != OUTPUT else 0.0
        v = through(torch, v.detach(), initial * theta).expand(x.shape[0], -1, *x.shape[2:])
        bias = torch.as_tensor(np.ldexp(stage.integer.bias, -k)[:, None, None])
        if f"{stage.layer.name}.bias" in p:
            bias = through(torch, bias, p[f"{stage.layer.name}.bias"][:, None, None])
        fired = []
        for t in range(1, total + 1):
            phase = min(int(t > timesteps), len(stage.integer.weights) - 1)
            exact = np.ldexp(stage.integer.weights[phase].astype(float), -k[:, None, None, None])
            if stage.gate.size:
                gate = np.rint((pixels / 65535.0 - 1) * stage.gate[:, None, None] / unit) * unit
                current = spikes[stage.sources[0]][t - 1] * torch.as_tensor(gate)
            else:
                weight = p[f"{stage.layer.name}.weight"]
                pad = exact.shape[-1] // 2
                if not stage.sources:
                    smooth = torch.nn.functional.conv2d(x, weight, padding=pad)
                    whole = torch.nn.functional.conv2d(
                        torch.as_tensor(pixels.astype(float)),
                        torch.as_tensor(stage.integer.weights[0].astype(float)),
                        padding=pad,
                    )
                    current = through(torch, np.rint(whole.numpy() / 65535.0) * unit, smooth) * (t <= timesteps)
                else:
                    read = torch.cat([spikes[s][t - 1] for s in stage.sources], dim=1)
                    of = {a.name: a.channels for a in net.model.network.activations}
                    scaled = torch.cat(
                        [
                            weight[:, f : f + of[s]] * worth(s, t)
                            for s, f in zip(
                                stage.sources, np.cumsum([0, *(of[s] for s in stage.sources)])[:-1], strict=True
                            )
                        ],
                        dim=1,
                    )
                    current = torch.nn.functional.conv2d(read, through(torch, exact, scaled), padding=pad)
            u = v + current + (bias if t <= timesteps else 0)
            silent = name == OUTPUT and (t > timesteps or not net.head.fires)
            if silent:
                s = torch.zeros_like(u)
                v = u
            else:
                at = through(torch, np.ldexp(stage.threshold[t - 1], -k)[:, None, None], fires(name, t) * theta)
                s = Fire.apply(u - at)
                spent = through(torch, np.ldexp(stage.reset[t - 1], -k)[:, None, None], worth(name, t) * theta)
                v = u - s * spent
            fired.append(s)
        spikes[name] = fired
    n = sum(spikes[OUTPUT][:timesteps])
    scale = torch.as_tensor(integers.output_scale)[:, None, None]
    if net.head.name == "membrane":
        read = (v + n * theta - torch.as_tensor(np.ldexp(stage.v0, -k)[:, None, None])) / timesteps
    elif net.head.name == "rate":
        read = n / timesteps
    else:
        grid = 15 - np.frexp(np.abs(p["head.weight"].detach().numpy()).max(axis=(1, 2, 3), keepdims=True))[1]
        kernel = p["head.weight"]
        kernel = through(torch, np.ldexp(np.rint(np.ldexp(kernel.detach().numpy(), grid)), -grid), kernel)
        read = torch.nn.functional.conv2d(n, kernel, padding=kernel.shape[-1] // 2) / timesteps + v / (
            timesteps * theta
        )
        if "head.bias" in p:
            read = read + p["head.bias"][:, None, None]
    output = read * scale
    restored = {"image": output, "subtract": x - output, "add": x + output}[net.model.network.mode]
    rates = {name: sum(s[:timesteps]).mean() / timesteps for name, s in spikes.items() if name != OUTPUT}
    return restored, rates, p


@pytest.mark.parametrize(
    ("name", "surrogate"), [*((name, "sigmoid") for name in NETWORKS), ("narrow", "triangle"), ("worth", "arctan")]
)
def test_gradients_agree_with_a_twin_in_torch(name, surrogate):
    torch = pytest.importorskip("torch")
    network, neuron, head = NETWORKS[name]
    net = trainable(model_of(*NETWORKS[name]), neuron, head, surrogate=surrogate)
    pixels = image(5, 2, network.channels, 9, 11, dtype=np.int32) // 4
    target = np.random.default_rng(6).random(pixels.shape)
    outcome = net.run(pixels)
    energy = sum(outcome.rates.values(), start=0.0) * 0.3
    loss = (outcome.restored - target).square().mean() + energy
    loss.backward()
    restored, rates, twins = twin(torch, net, pixels, net.surrogate)
    other = (restored - torch.as_tensor(target)).square().mean() + 0.3 * sum(rates.values())
    other.backward()
    for layer, value in rates.items():
        assert outcome.rates[layer].item() == pytest.approx(value.item(), abs=1e-12)
    np.testing.assert_allclose(outcome.restored.data, restored.detach().numpy(), atol=1e-12)
    assert loss.item() == pytest.approx(other.item(), rel=1e-10)
    for key, tensor in net.parameters().items():
        expected = np.zeros(tensor.shape) if twins[key].grad is None else twins[key].grad.numpy()
        error = np.linalg.norm(tensor.grad - expected) / (np.linalg.norm(expected) or 1.0)
        assert error < 1e-4, (key, error)
