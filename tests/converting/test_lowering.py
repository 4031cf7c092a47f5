"""Lowering: what runs as spikes afterwards, and the same function before and after."""

import re
from dataclasses import replace

import numpy as np
import pytest
from nspike_plugins import aodnet, dncnn, vdsr

from nspike.ann import run as ann
from nspike.converting.lowering import lower
from nspike.errors import UsageError
from nspike.graph.layer import (
    IMAGE,
    Activation,
    Add,
    AveragePool,
    Concat,
    Constant,
    Conv,
    Gate,
    Nearest,
    PixelShuffle,
    Slice,
)
from nspike.graph.network import Network
from nspike.graph.plain_layer import (
    FUNCTIONS,
    Attention,
    ChannelPool,
    FrequencySplit,
    GlobalPool,
    LayerNorm,
    MaxPool,
    Multiply,
    Pointwise,
    Prompt,
    Shrink,
)
from nspike.graph.values import not_spiking
from nspike.integer.components import components
from tests.ann.networks import random_network, random_parameters
from tests.plugins.chains import aod, chain


def network_of(*layers, channels=1, mode="image", **options):
    return Network("net", channels, layers, layers[-1].name, mode, **options)


def outputs(network, parameters, seed=0, side=16):
    draw = np.random.default_rng(seed)
    side = network.size_multiple * max(1, side // network.size_multiple)
    plane = draw.uniform(-0.2, 1.2, (1, network.channels, side, side)).astype(np.float32)
    return ann.run(network, parameters, plane)


def lowered(network, parameters=None):
    """The lowered network, after it was checked that it runs as spikes, does the same, and stays as it is."""
    parameters = random_parameters(network, 1) if parameters is None else parameters
    low, kept = lower(network, parameters)
    assert not_spiking(low.layers, low.output) == []
    components(low)  # every current reaches neurons
    before, after = outputs(network, parameters), outputs(low, kept)
    np.testing.assert_allclose(after, before, atol=2e-5 * max(1, np.abs(before).max()))
    again, same = lower(low, kept)
    assert again == low
    assert list(same) == list(kept)
    for name, array in same.items():
        np.testing.assert_array_equal(array, kept[name])
    return low, kept


@pytest.mark.parametrize("seed", range(150))
def test_a_random_network_does_the_same_and_runs_as_spikes(seed):
    network = random_network(seed)
    low, _ = lowered(network, random_parameters(network, seed))
    read = {source for layer in low.layers for source in layer.sources} | {low.output}
    assert {layer.name for layer in low.layers} <= read


def test_the_random_networks_need_every_rewriting():
    names = " ".join(layer.name for seed in range(150) for layer in lower_random(seed).layers)
    for made in (r"\.in\b", r"\.current", r"\.joined", r"\.image\b", r"\.spikes", "image.smaller"):
        assert re.search(made, names), made


def lower_random(seed):
    network = random_network(seed)
    return lower(network, random_parameters(network, seed))[0]


@pytest.mark.parametrize(
    ("plugin", "tensors"), [(dncnn, chain(4, 6)), (vdsr, chain(4, 6, stem="vdsr", bias=False)), (aodnet, aod())]
)
def test_the_first_networks_stay_as_they_are(plugin, tensors):
    network, parameters = plugin.read(tensors)
    low, kept = lower(network, parameters)
    assert low.to_dict() == network.to_dict()
    assert list(kept) == list(parameters)
    for name, array in kept.items():
        np.testing.assert_array_equal(array, parameters[name])


def test_the_residual_stream_of_edsr_gets_signed_neurons():
    network = network_of(
        Conv("head", IMAGE, 1, 4, 3),
        Conv("a", "head", 4, 4, 3),
        Activation("relu", "a", 4),
        Conv("b", "relu", 4, 4, 3),
        Add("sum", ("b", "head")),
        Conv("up", "sum", 4, 4, 3),
        PixelShuffle("shuffle", "up", 2),
    )
    low, _ = lowered(network)
    assert [(a.name, a.source, a.signed) for a in low.activations] == [
        ("a.in", "head", True),
        ("relu", "a", False),
        ("up.in", "sum", True),
    ]
    assert [layer.name for layer in low.layers] == ["head", "a.in", "a", "relu", "b", "sum", "up.in", "up", "shuffle"]


def test_what_a_slice_leaves_out_is_not_made():
    network = network_of(
        Conv("a", IMAGE, 1, 4, 3),
        Conv("b", IMAGE, 1, 3, 3),
        Concat("both", ("a", "b")),
        Slice("part", "both", 5, 2),
        Activation("relu", "part", 2),
        Conv("last", "relu", 2, 1, 3),
    )
    low, _ = lowered(network)
    assert [layer.name for layer in low.layers] == ["b", "part", "relu", "last"]
    assert low.layer("part") == Slice("part", "b", 1, 2)


def test_two_convolutions_of_one_current_share_neurons():
    layers = (Conv("c", IMAGE, 1, 4, 3), Conv("a", "c", 4, 4, 3), Conv("b", "c", 4, 4, 1), Add("sum", ("a", "b")))
    low, _ = lowered(network_of(*layers, Conv("end", "sum", 4, 1, 1)))
    assert [a.name for a in low.activations] == ["a.in", "end.in"]


def test_the_average_of_spikes_is_a_convolution_and_not_negative():
    network = network_of(
        Conv("a", IMAGE, 1, 4, 3),
        Activation("relu", "a", 4),
        AveragePool("pool", "relu", 2),
        Conv("b", "pool", 4, 4, 3),
        PixelShuffle("up", "b", 2),
    )
    low, kept = lowered(network)
    pool, after = low.layer("pool"), low.layer("b.in")
    assert (pool.kernel, pool.stride, pool.groups, pool.padding) == (2, 2, 4, (0, 0))
    np.testing.assert_array_equal(kept["pool.weight"], np.full((4, 1, 2, 2), 0.25))
    assert not after.signed


def test_a_concatenation_of_image_and_spikes_is_split():
    network = network_of(
        Conv("a", IMAGE, 1, 4, 3),
        Activation("relu", "a", 4),
        Constant("noise", IMAGE, (0.1,), "sigma"),
        Concat("all", ("noise", "relu", IMAGE)),
        Conv("end", "all", 6, 1, 3),
    )
    low, kept = lowered(network)
    assert low.layer("end").sources == ("end.image", "end.spikes")
    assert low.layer(low.layer("end.image").source).sources == ("noise", IMAGE)
    assert (kept["end.image.weight"].shape, kept["end.spikes.weight"].shape) == ((1, 2, 3, 3), (1, 4, 3, 3))
    assert "end.spikes.bias" in kept
    assert "end.image.bias" not in kept


def test_the_split_of_shared_weights():
    owner = Conv("owner", "all", 5, 1, 3)
    network = network_of(
        Conv("a", IMAGE, 1, 4, 3),
        Activation("relu", "a", 4),
        Concat("all", ("relu", IMAGE)),
        owner,
        Conv("b", "owner", 1, 4, 3),
        Activation("relu2", "b", 4),
        Concat("all2", ("relu2", "owner")),
        replace(owner, name="second", source="all2", tied="owner"),
        Add("end", ("owner", "second")),
    )
    low, _ = lowered(network)
    assert all(conv.tied is None for conv in low.convs)


def test_shared_weights_stay_shared():
    first = Conv("c1", "r0", 4, 4, 3)
    network = network_of(
        Conv("c0", IMAGE, 1, 4, 3),
        Activation("r0", "c0", 4),
        first,
        Activation("r1", "c1", 4),
        replace(first, name="c2", source="r1", tied="c1"),
        Add("sum", ("c1", "c2")),
        Activation("r2", "sum", 4),
        Conv("end", "r2", 4, 1, 3),
    )
    low, kept = lowered(network)
    assert low == network
    assert "c2.weight" not in kept


@pytest.mark.parametrize("signed", [False, True])
def test_the_activation_at_the_end(signed):
    layers = (Conv("a", IMAGE, 1, 4, 3), PixelShuffle("up", "a", 2), Activation("end", "up", 1, signed=signed))
    low, _ = lowered(network_of(*layers))
    assert (low.output, low.rectify, low.activations) == ("up", not signed, ())
    moved = (Conv("a", IMAGE, 1, 4, 3), Activation("relu", "a", 4, signed=signed), PixelShuffle("up", "relu", 2))
    low, _ = lowered(network_of(*moved))
    assert (low.output, low.rectify, low.activations) == ("up", not signed, ())


def test_a_clipped_end_is_read_from_spikes():
    low, _ = lowered(network_of(Conv("a", IMAGE, 1, 1, 3), Activation("end", "a", 1, ceiling=(0.5,))))
    assert (low.output, low.rectify) == ("end.current", False)


def test_what_moves_parts_of_several_kinds():
    network = network_of(
        Conv("a", IMAGE, 1, 4, 3, stride=2),
        Activation("plain", "a", 4),
        Activation("both", "a", 4, signed=True),
        Concat("all", ("plain", "both")),
        Nearest("up", "all", 2),
        Slice("some", "up", 2, 4),
        Conv("end", "some", 4, 1, 3),
    )
    low, _ = lowered(network)
    assert {layer.name for layer in low.of_kind(Nearest)} == {"up.plain", "up.both"}
    assert [(s.source, s.first, s.channels) for s in low.of_kind(Slice)] == [("up.plain", 2, 2), ("up.both", 0, 2)]


def test_a_gate_that_reads_a_current():
    network = network_of(Conv("k", IMAGE, 3, 3, 3), Gate("gate", "k", 3), channels=3)
    low, _ = lowered(network)
    assert low.layer("gate").source == "gate.in"


def test_flat_slopes_are_relus():
    layers = (
        Conv("a", IMAGE, 1, 4, 3),
        Pointwise("flat", "a", 4, "prelu"),
        Conv("b", "flat", 4, 4, 3),
        Pointwise("leak", "b", 4, "leaky_relu", slope=0.0),
        Conv("end", "leak", 4, 1, 3),
    )
    network = network_of(*layers)
    parameters = random_parameters(network)
    parameters["flat.weight"] = np.zeros(4, np.float32)
    low, kept = lowered(network, parameters)
    assert [a.name for a in low.activations] == ["flat", "leak"]
    assert "flat.weight" not in kept
    parameters["flat.weight"][2] = 0.1
    with pytest.raises(
        UsageError, match=r"prelu 'flat': neurons give nothing below their threshold.*ReLU and fine-tune"
    ):
        lower(network, parameters)


def test_everything_that_has_no_spiking_form_is_named_at_once():
    layers = [Conv("a", IMAGE, 1, 4, 3)]
    for i, function in enumerate(FUNCTIONS):
        layers.append(Pointwise(f"f{i}", layers[-1].name, 4, function))
    layers += [
        MaxPool("max", layers[-1].name, 2),
        LayerNorm("norm", "max", 4),
        Attention("attention", ("norm", "norm", "norm"), 4, 2),
        GlobalPool("mean", "attention"),
        Multiply("times", ("attention", "mean")),
        Conv("scores", "mean", 4, 2, 1),
        Prompt("prompt", ("times", "scores"), 1, 2, 4),
        FrequencySplit("split", ("prompt", "scores"), 1),
        ChannelPool("pool", "split"),
        Shrink("small", "pool", 2),
        Nearest("large", "small", 2),
        Concat("both", ("times", "large", "pool")),
        Conv("join", "both", 8, 4, 1),
        PixelShuffle("end", "join", 2),
    ]
    network = network_of(*layers)
    with pytest.raises(UsageError) as error:
        lower(network, random_parameters(network))
    message = str(error.value)
    assert f"{len(FUNCTIONS) + 9} of its layers have no spiking form" in message
    named = ("max", "norm", "attention", "mean", "times", "prompt", "split", "pool", "small")
    for name in (*(f"'f{i}'" for i in range(len(FUNCTIONS))), *(f"'{name}'" for name in named)):
        assert message.count(name) == 1
    assert "convolution of stride 2 or an average pool" in message
    assert "distil" in message
