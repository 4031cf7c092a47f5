"""The spiking module in PyTorch: the engine's spikes on every kind of layer and declared neuron, and nspike's own gradients."""

from dataclasses import replace

import numpy as np
import pytest

import nspike
from nspike.contracts.neuron import Neuron, Parameter
from nspike.graph.layer import Activation
from nspike.integer import reference
from nspike.integer.rounding import build
from nspike.model.model import OUTPUT
from nspike.registry.parts import head_of, neuron_of
from nspike.registry.plugins import registry
from nspike.trainable.spiking import DifferentiableNetwork
from tests import graphs
from tests.graphs import random_case
from tests.naive import to_plane
from tests.own_neurons import TERNARY
from tests.tiny import tiny_model
from tests.trainable.networks import everything
from tests.trainable.test_general import pixels_for, spiking_model

torch = pytest.importorskip("torch")

BURST = Neuron(
    "test_burst",
    "bursts of either sign that leak, with a post step",
    "here",
    parameters=(
        Parameter("v_init", 0.25, -1.0, 1.0, "v(0)"),
        Parameter("beta", 1.3, 0.1, 4.0, "worth", trainable=True),
    ),
    post_steps=1,
    fire=lambda p, t, timesteps: 1.0 if t <= timesteps else 0.7,
    amplitude=lambda p, t, timesteps: 1.0 if t <= timesteps else p["beta"],
    keep=lambda p: 0.8,
    input_factor=lambda p: 0.9,
    planes=(1, 2, -1, -2),
    most_spikes=3,
)
ZERO = replace(BURST, name="test_zero", reset="zero", planes=(1, 2, 4), most_spikes=5, keep=None)


@pytest.fixture
def own(monkeypatch):
    """Calls with a neuron: models are of it, whatever they say."""

    def use(neuron):
        for module in ("nspike.twin.spiking", "nspike.twin.state"):
            monkeypatch.setattr(f"{module}.neuron_of", lambda model: neuron)

    return use


def with_parts(model, neuron, head):
    return model.with_spiking(replace(model.spiking, neuron=neuron, head=head))


def images_of(pixels):
    return torch.from_numpy(to_plane(pixels) / 65535)


def agrees_with_the_reference(net, pixels, neuron, head):
    """Layer by layer, and the output, in evaluation and in training; returns the outcome in training."""
    integers = build(net.to_model(), neuron, head)
    images = images_of(pixels)
    with torch.no_grad():
        plain = net.eval().run(images)
    traced = net.train().run(images)
    for n in range(len(images)):
        expected = reference.simulate(reference.from_integers(integers), images[n].numpy())
        for outcome in (plain, traced):
            for name, spikes in outcome.spikes.items():
                np.testing.assert_array_equal(spikes[:, n].detach().numpy() > 0, expected.spikes[name], err_msg=name)
            assert set(expected.spikes) - set(outcome.spikes) <= {OUTPUT}
            np.testing.assert_array_equal(outcome.output[n].detach().numpy(), expected.output)
    return traced


@pytest.mark.parametrize("seed", range(24))
def test_random_graphs(seed):
    """Of all kinds of layers; neurons and heads take turns."""
    model, pixels, neuron, head = random_case(seed)
    net = nspike.to_torch(with_parts(model, neuron, head))
    agrees_with_the_reference(net, pixels, registry().neurons[neuron], registry().heads[head])
    assert nspike.from_torch(net) is net.model


@pytest.mark.parametrize("neuron", [BURST, ZERO], ids=["burst", "zero"])
@pytest.mark.parametrize("head", ["cpm", "membrane"])
def test_every_declared_neuron(own, neuron, head):
    own(neuron)
    network = everything().changed(Activation, lambda a: replace(a, signed=len(neuron.planes) == 4))
    net = nspike.to_torch(with_parts(spiking_model(network, seed=2), "if", head))
    outcome = agrees_with_the_reference(net, pixels_for(network), neuron, registry().heads[head])
    assert {planes.shape[2] // network.widths[name] for name, planes in outcome.spikes.items() if name != OUTPUT} == {
        len(neuron.planes)
    }
    tops = [s[:, :, -network.widths[name] :].any() for name, s in outcome.spikes.items() if name != OUTPUT]
    assert any(tops), "some neurons fire so often at a step that their highest planes are needed"


@pytest.mark.parametrize("name", ["aodnet", "dncnn-s25", "dncnn-s25-few", "vdsr"])
def test_shipped_models_fire_as_in_the_engine(name):
    model = nspike.load(name)
    pixels = graphs.image(3, 1, model.network.channels, 14, 19)
    output, _, spikes = graphs.run(model, pixels, neuron_of(model), head_of(model))
    net = nspike.to_torch(model)
    with torch.no_grad():
        outcome = net.run(images_of(pixels))
    if not head_of(model).fires:
        del spikes[OUTPUT]
    assert set(outcome.spikes) == set(spikes)
    for layer, fired in spikes.items():
        assert np.array_equal(outcome.spikes[layer].numpy().swapaxes(0, 1) > 0, fired), layer
    np.testing.assert_array_equal(outcome.output.numpy(), output)


def gradients(model, neuron, head, pixels, **options):
    """Of one loss, by nspike and by PyTorch: (key, ours, theirs)."""
    ours = DifferentiableNetwork(model, neuron, head, per="channel", gradient="time", **options)
    outcome = ours.run(pixels)
    target = np.random.default_rng(6).random(outcome.restored.shape)
    loss = (outcome.restored - target).square().mean() + sum(outcome.rates.values(), start=0.0) * 0.3
    loss.backward()
    net = nspike.to_torch(model, **options).train()
    theirs = net.run(images_of(pixels))
    ((theirs.restored - torch.as_tensor(target)).square().mean() + 0.3 * sum(theirs.rates.values())).backward()
    slots = {slot.key.replace("layers.", ""): net._tensor(slot).grad for slot in net.slots}
    for key, tensor in ours.parameters().items():
        grad = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad
        yield key, grad, np.zeros(tensor.shape) if slots[key] is None else slots[key].numpy()


def agree(compared):
    errors = {}
    for key, ours, theirs in compared:
        errors[key] = np.linalg.norm(ours - theirs) / (np.linalg.norm(theirs) or 1.0)
    assert len(errors) > 10
    assert max(errors.values()) < 2e-4, {key: error for key, error in errors.items() if error >= 2e-4}


@pytest.mark.parametrize(("neuron", "head"), [("mprn_beta", "cpm"), ("lif_hard", "membrane"), ("dietsnn", "membrane")])
def test_gradients_are_those_of_training_here(neuron, head):
    network = everything()
    network = replace(network, layers=tuple(_renamed(layer) for layer in network.layers))
    model = with_parts(spiking_model(network, neuron, head), neuron, head)
    agree(gradients(model, registry().neurons[neuron], registry().heads[head], pixels_for(network)))


@pytest.mark.parametrize("neuron", [BURST, ZERO], ids=["burst", "zero"])
def test_gradients_of_every_declared_neuron(own, neuron):
    own(neuron)
    network = everything().changed(Activation, lambda a: replace(a, signed=False))
    model = with_parts(spiking_model(network, seed=2), "if", "membrane")
    options = {"surrogate": "arctan", "follow_reset": False}
    agree(gradients(model, neuron, registry().heads["membrane"], pixels_for(network), **options))


def _renamed(layer):
    """Without a convolution called "head", whose kernel would have the key of a head's."""
    fields = {key: "first" for key in ("name", "source") if getattr(layer, key, None) == "head"}
    if isinstance(getattr(layer, "sources", None), tuple) and "source" not in vars(layer):
        fields["sources"] = tuple("first" if source == "head" else source for source in layer.sources)
    return replace(layer, **fields)


def test_a_trained_network_comes_back_as_it_fires():
    network = everything()
    model = with_parts(spiking_model(network, "mprn_beta", "cpm", seed=3), "mprn_beta", "cpm")
    net, pixels = nspike.to_torch(model).train(), pixels_for(network, 2, 5)
    optimiser, losses = torch.optim.Adam(net.parameters(), 0.02), []
    for _ in range(8):
        loss = net(images_of(pixels)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert min(losses[-2:]) < 0.8 * losses[0]
    for slot in net.slots:
        assert not np.array_equal(net._tensor(slot).detach().numpy(), slot.start), slot.key
    agrees_with_the_reference(net, pixels, registry().neurons["mprn_beta"], registry().heads["cpm"])
    back = nspike.from_torch(net)
    assert back.info.provenance["torch"]["trained_from"] == nspike.model.file.digest(model)
    again = nspike.to_torch(back)
    with torch.no_grad():
        assert torch.equal(again(images_of(pixels)), net.eval()(images_of(pixels)))


def test_parameters_stay_in_their_ranges():
    model = with_parts(spiking_model(everything(), "mprn_beta"), "mprn_beta", "membrane")
    net = nspike.to_torch(model)
    with torch.no_grad():
        net.layers["a"].threshold.fill_(-1.0)
        net.layers["a"].beta.fill_(9.0)
    own = nspike.from_torch(net).spiking
    assert set(own.thresholds["a"].tolist()) == {0.05}
    assert own.neuron_parameters["mprn_beta"]["a"]["beta"] == 4.0
    net.run(images_of(pixels_for(net.model.network)))
    assert net.layers["a"].beta.item() == 4.0


def test_each_image_has_its_noise_level():
    network = everything()
    net = nspike.to_torch(spiking_model(network))
    images = images_of(pixels_for(network, 2))
    with torch.no_grad():
        both = net.run(images, torch.tensor([10.0, 50.0]))
        for n, sigma in enumerate([10.0, 50.0]):
            alone = nspike.to_torch(net.model.at_noise(sigma)).run(images[n : n + 1])
            assert torch.equal(both.restored[n], alone.restored[0])
        assert not torch.equal(both.restored, net.run(images).restored)
    with pytest.raises(nspike.UsageError, match="one for each of 2 images"):
        net(images, torch.zeros(3))


def test_what_is_refused():
    net = nspike.to_torch(tiny_model())
    with pytest.raises(nspike.BadInputError, match=r"takes \(N, 1, H, W\), not \(1, 3, 8, 8\)"):
        net(torch.zeros(1, 3, 8, 8))
    with pytest.raises(nspike.BadInputError, match="on a scale of 255"):
        net(torch.full((1, 1, 8, 8), 128.0))
    with pytest.raises(nspike.BadInputError, match="on a scale of 255"):
        net(torch.full((1, 1, 8, 8), torch.nan))
    everything_ = nspike.to_torch(spiking_model(everything()))
    with pytest.raises(nspike.BadInputError, match="multiples of 4, not 8×9"):
        everything_(torch.zeros(1, everything().channels, 8, 9))


def test_a_kernel_of_its_own_is_refused(own):
    own(TERNARY.fast)
    with pytest.raises(nspike.PluginError, match="has a kernel of its own, which PyTorch cannot run"):
        nspike.to_torch(tiny_model())


def test_float32_gives_the_type_of_the_input_and_nearly_the_spikes():
    model = tiny_model()
    images = torch.rand(1, 1, 12, 12)
    with torch.no_grad():
        exact, fast = nspike.to_torch(model).run(images), nspike.to_torch(model, dtype=torch.float32).run(images)
    assert (exact.restored.dtype, fast.output.dtype, exact.output.dtype) == (
        torch.float32,
        torch.float32,
        torch.float64,
    )
    for name, spikes in exact.spikes.items():
        assert (spikes != fast.spikes[name]).double().mean() < 0.01
