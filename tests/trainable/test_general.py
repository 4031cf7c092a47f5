"""Spiking training on networks that are no chains: the engine's spikes, and gradients of an obvious twin in PyTorch."""

from dataclasses import replace

import numpy as np
import pytest

from nspike.graph.geometry import GEOMETRY
from nspike.graph.layer import Activation, Gate
from nspike.graph.network import Network
from nspike.registry.plugins import registry
from nspike.trainable import current, moving
from nspike.trainable.kinds import KINDS
from nspike.trainable.running import MAKE
from nspike.trainable.spiking import DifferentiableNetwork
from tests.engine.handmade import NETWORKS as HANDMADE
from tests.graphs import image, random_case, random_model
from tests.naive import to_plane
from tests.own_neurons import BURST, LEAKY, TERNARY
from tests.random_graphs import image_shape, random_graph
from tests.trainable.networks import edsr, everything, unet
from tests.trainable.test_spiking import agrees_with_the_engine
from tests.trainable.twin import Twin

pytestmark = pytest.mark.slow


def signed(network: Network, wanted: bool) -> Network:
    """With signed activations, or without any."""
    return network.changed(Activation, lambda layer: replace(layer, signed=layer.signed and wanted))


NETWORKS = {
    "everything": everything(),
    "small_unet": unet(channels=3),
    "edsr": edsr(width=6, blocks=2),
    **HANDMADE,
}
TIMED = ["if", "mprn", "mprn_beta", "lif", "lif_hard", "signed"]
OWN = {"ternary": TERNARY, "burst": BURST, "leaky": LEAKY}


def spiking_model(network, neuron="if", head="membrane", seed=0, timesteps=4):
    """Random parameters, scales and thresholds, layers of every activity."""
    draw, c = np.random.default_rng(seed), network.channels
    given = {"mprn": {"beta": -0.7, "v_init": 0.2}, "mprn_beta": {"beta": 1.3, "alpha": 0.8}, "if": {"v_init": 0.5}}
    return random_model(
        network,
        seed,
        timesteps=timesteps,
        level=0.2,
        neuron_parameters={neuron: dict.fromkeys([a.name for a in network.activations], given.get(neuron, {}))},
        head_parameters={"cpm": {"weight": draw.normal(0, 0.3, (c, c, 3, 3)), "bias": draw.normal(0, 0.1, c)}},
    )


def trainable(network, neuron="if", head="membrane", seed=0, **options):
    model = spiking_model(network, neuron if isinstance(neuron, str) else "own", head, seed)
    kind = registry().neurons[neuron] if isinstance(neuron, str) else neuron.fast
    return DifferentiableNetwork(model, kind, registry().heads[head], **options)


def pixels_for(network, count=2, seed=1):
    multiple = network.size_multiple
    height, width = (-(-side // multiple) * multiple for side in (9, 14))
    return image(seed, count, network.channels, height, width, dtype=np.int32) // 4


@pytest.mark.parametrize("neuron", TIMED)
@pytest.mark.parametrize("name", NETWORKS)
def test_spikes_equal_the_engines(name, neuron):
    network = NETWORKS[name]
    outcome = agrees_with_the_engine(trainable(network, neuron), pixels_for(network))
    events = {layer: train.events().sum() for layer, train in outcome.trains.items()}
    assert min(events.values()) > 0, events


@pytest.mark.parametrize("neuron", OWN.values(), ids=OWN)
@pytest.mark.parametrize("name", ["everything", "small_unet", "grouped", "unet"])
def test_own_kernels_spike_as_in_the_engine(name, neuron):
    network = signed(NETWORKS[name], False)
    agrees_with_the_engine(trainable(network, neuron), pixels_for(network))


@pytest.mark.parametrize("options", [{}, {"recompute": True}, {"gradient": "rate"}], ids=["time", "recompute", "rate"])
@pytest.mark.parametrize("name", NETWORKS)
def test_training_lowers_the_loss_on_the_engines_spikes(name, options):
    network = NETWORKS[name]
    net = trainable(network, "mprn", "cpm", seed=3, **options)
    pixels = pixels_for(network, 2, 5)
    before = {key: tensor.data.copy() for key, tensor in net.parameters().items()}
    losses = []
    for _ in range(6):
        loss = net.run(pixels).restored.square().mean()
        losses.append(loss.item())
        loss.backward()
        norm = np.sqrt(sum(np.sum(np.square(t.grad)) for t in net.parameters().values() if t.grad is not None))
        for tensor in net.parameters().values():
            tensor.data = tensor.data - tensor.data.dtype.type(0.05 / norm) * tensor.grad
            tensor.grad = None
        net.constrain()
    assert min(losses[-2:]) < 0.9 * losses[0]
    agrees_with_the_engine(net, pixels)
    moved = [key for key, tensor in net.parameters().items() if not np.array_equal(tensor.data, before[key])]
    assert moved == list(before), "everything that is trained moves"


def gradients_agree(net, pixels):
    torch = pytest.importorskip("torch")
    target = np.random.default_rng(6).random(net.run(pixels).restored.shape)
    outcome = net.run(pixels)
    loss = (outcome.restored - target).square().mean() + sum(outcome.rates.values(), start=0.0) * 0.3
    loss.backward()
    twin = Twin(torch, net, pixels)
    restored, rates = twin.run()
    ((restored - torch.as_tensor(target)).square().mean() + 0.3 * sum(rates.values())).backward()
    for layer, value in rates.items():
        assert outcome.rates[layer].item() == pytest.approx(value.item(), abs=1e-12), layer
    np.testing.assert_allclose(outcome.restored.data, restored.detach().numpy(), atol=1e-12)
    errors = {}
    for key, tensor in net.parameters().items():
        other = twin.parameters[key].grad
        expected = np.zeros(tensor.shape) if other is None else other.numpy()
        grad = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad
        errors[key] = np.linalg.norm(grad - expected) / (np.linalg.norm(expected) or 1.0)
    assert max(errors.values()) < 1e-4, {key: error for key, error in errors.items() if error >= 1e-4}


@pytest.mark.parametrize("neuron", ["if", "mprn", "mprn_beta"])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_agree_with_a_twin_in_torch(name, neuron):
    gradients_agree(trainable(NETWORKS[name], neuron), pixels_for(NETWORKS[name]))


RANDOM = range(300, 330)


@pytest.mark.parametrize("seed", RANDOM)
def test_random_graphs_spike_as_in_the_engine(seed):
    """Any neuron, head and graph, kernels of their own included."""
    model, pixels, neuron, head = random_case(seed)
    kind = registry().neurons[neuron]
    options = {} if kind.step is None else {"gradient": "rate"}
    plane = to_plane(pixels).astype(np.int32)
    agrees_with_the_engine(DifferentiableNetwork(model, kind, registry().heads[head], **options), plane)


@pytest.mark.parametrize("seed", RANDOM)
def test_gradients_of_random_graphs(seed):
    network = random_graph(seed)
    neuron = ["if", "mprn", "mprn_beta"][seed % (2 if network.of_kind(Gate) else 3)]
    net = trainable(network, neuron, seed=seed)
    gradients_agree(net, image(seed, *image_shape(network, seed), dtype=np.int32) // 4)


def test_tables_of_kinds():
    roles = {kind: GEOMETRY[kind].role for kind in GEOMETRY}
    assert set(KINDS) == {kind for kind, role in roles.items() if role == "current"}
    assert set(current.FORWARD) == set(current.BACK) == {kind for kind, role in roles.items() if role == "linear"}
    assert {*moving.BACK, *moving.MAPS} == {kind for kind, role in roles.items() if role == "arrange"}
    assert set(MAKE) == set(roles.values()) - {"plain"}
