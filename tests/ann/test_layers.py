"""Every kind of layer against its definition in float64, in tiles, and against PyTorch where that is installed."""

import dataclasses

import numpy as np
import pytest

from nspike.ann import run as ann
from nspike.ann.pointwise import POINTWISE
from nspike.errors import BadInputError, ModelError
from nspike.graph.geometry import needs_everything
from nspike.graph.layer import (
    IMAGE,
    KINDS,
    Activation,
    Add,
    AveragePool,
    Bilinear,
    ChannelShuffle,
    Conv,
    Gate,
    Nearest,
    PixelShuffle,
    PixelUnshuffle,
)
from nspike.graph.network import Network
from nspike.graph.plain_layer import FUNCTIONS, LayerNorm, Leaky, Pointwise, StepAttention, StepMean
from tests.ann import slow
from tests.ann.networks import random_network, random_parameters


def plane_for(network, seed=0, blocks=(3, 5)):
    height, width = (network.size_multiple * max(1, count * 4 // network.size_multiple) for count in blocks)
    return np.random.default_rng(seed).uniform(-0.2, 1.2, (1, network.channels, height, width)).astype(np.float32)


def rounds(network):
    """Whether values are rounded to levels or to spikes, where a float32 error becomes a whole step."""
    return any(activation.levels for activation in network.activations) or bool(network.of_kind(Leaky))


@pytest.mark.parametrize("seed", range(60))
def test_a_random_network_agrees_with_the_definitions_and_in_tiles(seed):
    network = random_network(seed, plain=True)
    parameters = random_parameters(network, seed)
    plane = plane_for(network, seed)
    captured = dict.fromkeys(layer.name for layer in network.layers)
    output = ann.run(network, parameters, plane, capture=captured, threads=1)
    expected = slow.run(network, parameters, plane[0])
    if not rounds(network):
        for name, values in (captured | {"output": output}).items():
            spread = max(1.0, np.abs(expected[name]).max())
            np.testing.assert_allclose(values[0], expected[name], atol=2e-4 * spread, err_msg=name)
    assert output.shape[2] == network.scale * plane.shape[2]
    np.testing.assert_array_equal(ann.run(network, parameters, plane, threads=3, memory=1), output)
    if needs_everything(network.layers):
        return
    tiles = list(ann.activations(network, parameters, [plane[0]], tile=16))
    for activation in network.activations:
        whole, parts = captured[activation.name][0], [tile[activation.name] for tile in tiles]
        assert sum(part[0].size for part in parts) == whole[0].size
        assert sorted(np.concatenate([p.ravel() for p in parts])) == sorted(whole.ravel())


def test_the_random_networks_have_every_kind():
    networks = [random_network(seed, plain=True) for seed in range(60)]
    kinds = {type(layer) for network in networks for layer in network.layers}
    assert {kind.__name__ for kind in set(KINDS.values()) - kinds} == {"Gate"}
    assert {layer.function for n in networks for layer in n.of_kind(Pointwise)} == set(FUNCTIONS) == set(POINTWISE)


@pytest.mark.parametrize(
    "conv",
    [
        Conv("conv", IMAGE, 3, 40, 3, stride=2),
        Conv("conv", IMAGE, 3, 7, 5, dilation=3),
        Conv("conv", IMAGE, 3, 3, 3, groups=3),
        Conv("conv", IMAGE, 3, 9, 3, groups=3, stride=2),
        Conv("conv", IMAGE, 3, 60, 3, groups=3, dilation=2),
        Conv("conv", IMAGE, 3, 120, 1, groups=3, bias=False),
        Conv("conv", IMAGE, 3, 33, 2, padding=(1, 0)),
        Conv("conv", IMAGE, 3, 5, 4, stride=4, padding=(0, 0)),
    ],
)
def test_a_convolution_in_tiles(conv):
    up = Nearest("up", "conv", conv.stride)
    layers = (conv, up, Conv("end", "up", conv.out_channels, 3, 1))
    network = Network("net", 3, layers, "end", "image")
    parameters = random_parameters(network)
    plane = np.random.default_rng(1).random((1, 3, 36, 52), dtype=np.float32)
    captured = {"conv": None}
    output = ann.run(network, parameters, plane, capture=captured)
    expected = slow.run(network, parameters, plane[0])
    np.testing.assert_allclose(captured["conv"][0], expected["conv"], atol=1e-5)
    np.testing.assert_array_equal(ann.run(network, parameters, plane, memory=1), output)


def test_a_gate_in_a_network_of_several_readers():
    layers = (
        Conv("k", IMAGE, 3, 3, 3),
        Activation("act", "k", 3, signed=True, ceiling=(0.2,)),
        Gate("gate", "act", 3),
        Conv("end", "gate", 3, 3, 3),
        Add("sum", ("end", "gate")),
    )
    network = Network("net", 3, layers, "sum", "image", rectify=True)
    parameters = random_parameters(network)
    plane = np.random.default_rng(1).random((1, 3, 40, 40), dtype=np.float32)
    output = ann.run(network, parameters, plane)
    np.testing.assert_allclose(output[0], slow.run(network, parameters, plane[0])["output"], atol=1e-5)
    np.testing.assert_array_equal(ann.run(network, parameters, plane, memory=1), output)


def test_sizes_that_the_network_does_not_take():
    layers = (PixelUnshuffle("down", IMAGE, 4), PixelShuffle("up", "down", 4))
    network = Network("net", 1, layers, "up", "image")
    with pytest.raises(BadInputError, match="multiples of 4, not 12×14"):
        ann.run(network, {}, np.zeros((1, 1, 12, 14), np.float32))
    with pytest.raises(BadInputError, match="multiples of 4"):
        list(ann.activations(network, {}, [np.zeros((1, 13, 12), np.float32)]))


@pytest.mark.parametrize("layer", [LayerNorm("part", IMAGE, 1), Pointwise("part", IMAGE, 1, "prelu")])
def test_parameters_that_are_missing(layer):
    network = Network("net", 1, (layer,), "part", "image")
    with pytest.raises(ModelError, match="'part' are missing"):
        ann.run(network, {}, np.zeros((1, 1, 8, 8), np.float32))


def torch_of(layer, torch):
    """PyTorch's function for a layer: (tensor, parameters) -> tensor; None if it has none of this form."""
    f = torch.nn.functional
    named = {
        "leaky_relu": lambda x, w: f.leaky_relu(x, layer.slope),
        "prelu": lambda x, w: f.prelu(x, w),
        "sigmoid": lambda x, w: torch.sigmoid(x),
        "tanh": lambda x, w: torch.tanh(x),
        "gelu": lambda x, w: f.gelu(x),
        "silu": lambda x, w: f.silu(x),
        "hard_sigmoid": lambda x, w: f.hardsigmoid(x),
        "hard_swish": lambda x, w: f.hardswish(x),
        "complement": lambda x, w: 1 - x,
        "PixelShuffle": lambda x, w: f.pixel_shuffle(x, layer.factor),
        "PixelUnshuffle": lambda x, w: f.pixel_unshuffle(x, layer.factor),
        "ChannelShuffle": lambda x, w: f.channel_shuffle(x, layer.groups),
        "Nearest": lambda x, w: f.interpolate(x, scale_factor=layer.factor, mode="nearest"),
        "Bilinear": lambda x, w: f.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False),
        "AveragePool": lambda x, w: f.avg_pool2d(x, layer.size),
        "MaxPool": lambda x, w: f.max_pool2d(x, layer.size),
        "LayerNorm": lambda x, w: f.layer_norm(x.permute(0, 2, 3, 1), (8,), w, eps=layer.eps).permute(0, 3, 1, 2),
    }
    return named[getattr(layer, "function", type(layer).__name__)]


@pytest.mark.parametrize(
    "layer",
    [Pointwise("part", "head", 8, function) for function in FUNCTIONS]
    + [PixelShuffle("part", "head", 2), PixelUnshuffle("part", "head", 2), ChannelShuffle("part", "head", 4)]
    + [Nearest("part", "head", 3), Bilinear("part", "head"), AveragePool("part", "head", 2)]
    + [KINDS["max_pool"]("part", "head", 2), LayerNorm("part", "head", 8)],
    ids=lambda layer: getattr(layer, "function", type(layer).__name__),
)
def test_pytorch_agrees(layer):
    torch = pytest.importorskip("torch")
    network = Network("net", 1, (Conv("head", IMAGE, 1, 8, 3), layer, Conv("end", IMAGE, 1, 1, 1)), "end", "image")
    parameters = random_parameters(network)
    if "part.bias" in parameters:
        parameters["part.bias"][:] = 0
    plane = np.random.default_rng(1).uniform(-2, 2, (1, 1, 12, 8)).astype(np.float32)
    captured = {"head": None, "part": None}
    ann.run(network, parameters, plane, capture=captured)
    weight = parameters.get("part.weight")
    weight = None if weight is None else torch.from_numpy(weight)
    with torch.no_grad():
        expected = torch_of(layer, torch)(torch.from_numpy(captured["head"]), weight).numpy()
    np.testing.assert_allclose(captured["part"], expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2, "padding": (1, 1)},
        {"dilation": 2, "padding": (2, 2)},
        {"groups": 4},
        {"groups": 8, "stride": 2, "padding": (1, 1)},
    ],
)
def test_pytorch_agrees_on_convolutions(options):
    torch = pytest.importorskip("torch")
    conv = dataclasses.replace(Conv("part", "head", 8, 16, 3), **options)
    network = Network("net", 1, (Conv("head", IMAGE, 1, 8, 3), conv, Conv("end", IMAGE, 1, 1, 1)), "end", "image")
    parameters = random_parameters(network)
    plane = np.random.default_rng(1).random((1, 1, 12, 8), dtype=np.float32)
    captured = {"head": None, "part": None}
    ann.run(network, parameters, plane, capture=captured)
    x, weight, bias = (
        torch.from_numpy(a) for a in (captured["head"], *(parameters[f"part.{p}"] for p in ("weight", "bias")))
    )
    given = {"stride": conv.stride, "dilation": conv.dilation, "groups": conv.groups, "padding": conv.pads[0]}
    with torch.no_grad():
        expected = torch.nn.functional.conv2d(x, weight, bias, **given).numpy()
    np.testing.assert_allclose(captured["part"], expected, atol=1e-5)


# ----- Spiking networks in floats, steps side by side -----


def alone(layer, channels):
    """A network that hands a layer what `head` gives, and its value on an image."""
    network = Network(
        "net", 1, (Conv("head", IMAGE, 1, channels, 3), layer, Conv("end", IMAGE, 1, 1, 1)), "end", "image"
    )
    parameters = random_parameters(network, 4)
    plane = np.random.default_rng(3).uniform(-2, 2, (1, 1, 12, 16)).astype(np.float32)
    captured = {"head": None, layer.name: None}
    ann.run(network, parameters, plane, capture=captured, threads=2)
    return captured["head"][0], captured[layer.name][0], parameters


def test_leaky_neurons_by_hand():
    """θ = 1, keep = 1/2: 0.75, 0.875, 1.0625 fires and resets, then 0.5."""
    layers = (
        Conv("currents", IMAGE, 1, 4, 1),
        Leaky("fired", "currents", 4, 4, 1.0),
        StepMean("end", "fired", 4),
    )
    network = Network("hand", 1, layers, "end", "image")
    parameters = {
        "currents.weight": np.zeros((4, 1, 1, 1), np.float32),
        "currents.bias": np.array([0.75, 0.5, 0.625, 0.5], np.float32),
    }
    captured = {"fired": None}
    output = ann.run(network, parameters, np.zeros((1, 1, 2, 2), np.float32), capture=captured)
    assert captured["fired"][0, :, 0, 0].tolist() == [0, 0, 1, 0]
    assert output[0, 0, 0, 0] == 0.25


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_leaky_neurons_fire_as_defined(steps):
    layer = Leaky("fired", "head", 8, steps, 0.3, 0.75)
    head, fired, _ = alone(layer, 8)
    expected = slow.SLOW["Leaky"](layer, None, None, head.astype(np.float64))
    assert (fired != expected).sum() == 0
    assert 0.1 < fired.mean() < 0.9


@pytest.mark.parametrize(("steps", "kernel"), [(1, 3), (2, 3), (4, 7)])
def test_step_attention(steps, kernel):
    layer = StepAttention("gated", "head", 8, steps, 1, 2, kernel)
    head, gated, parameters = alone(layer, 8)
    expected = slow.SLOW["StepAttention"](layer, None, parameters, head.astype(np.float64))
    np.testing.assert_allclose(gated, expected, atol=2e-6)
    assert 0.05 < (gated > 0).mean() < 0.95


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Leaky("x", "head", 8, 3, 0.3), "steps 3 and reads 8 channels"),
        (Leaky("x", "head", 8, 2, 0.0), "threshold 0"),
        (Leaky("x", "head", 8, 2, 0.3, 1.5), "keeps 1.5"),
        (StepAttention("x", "head", 8, 2, 0, 2), "expected positive integers"),
        (StepAttention("x", "head", 8, 2, 1, 2, 4), "an odd kernel"),
        (StepMean("x", "head", 5), "steps 5 and reads 8 channels"),
        (Conv("x", "head", 8, 6, 3, repeats=4), "repeats 8 and 6 channels 4 times"),
    ],
)
def test_steps_that_do_not_fit(layer, message):
    with pytest.raises(ModelError, match=message):
        alone(layer, 8)
